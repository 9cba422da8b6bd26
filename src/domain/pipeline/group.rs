//! Which incident an alert belongs to.

use std::sync::Arc;

use super::Batch;
use crate::domain::{
    alert::{Alert, Status},
    changes::TimelineKind,
    grouping::{By, GroupChoice, GroupingRule},
    id::{AlertId, IncidentId, RuleId, ServiceId},
    incident::Incident,
    similarity::{Masked, Template},
    time::{Span, Timestamp},
    trace::{Stage, Trace},
};

/// What similarity found, for the trace.
struct Likeness {
    score: String,
    tokens: String,
}

impl<'d> Batch<'d> {
    /// Finds, or opens, the incident of an alert that is not suppressed, and puts it in.
    pub(super) fn group(
        &mut self,
        id: AlertId,
        title: &str,
        now: Timestamp,
        actor: &str,
        mut trace: Option<&mut Trace>,
    ) {
        let Some(alert) = self.working.alert(id).cloned() else { return };
        let mut explain = |decision: &str, reason: &str, more: &[(&str, &str)]| {
            if let Some(trace) = trace.as_deref_mut() {
                trace.decided(Stage::Group, decision, reason, more);
            }
        };
        let returning = alert.standing.returning;
        let last = returning.and_then(|id| self.working.incident(id).cloned());
        if let Some(incident) = last.as_ref().filter(|incident| incident.is_open()) {
            let reason = "the key's last alert belongs to this incident, which is still open";
            explain("rejoined", reason, &[("incident", &incident.id.seq().to_string())]);
            self.attach(id, incident.id, TimelineKind::Rejoined, reason, now, actor);
            return;
        }
        let mut choice = alert.standing.group.clone();
        let rule = choice.as_ref().and_then(|choice| self.rule(alert.service_id, choice.rule));
        let likeness = match (&mut choice, rule) {
            (Some(choice), Some(rule)) => self.find_alike(alert.service_id, rule, choice),
            _ => None,
        };
        let rule_text = choice
            .as_ref()
            .map(|choice| format!("grouping[{}]", self.rule_number(alert.service_id, choice.rule)));
        let rule_id = choice.as_ref().map(|choice| choice.rule.to_string());
        let window = rule.map(|rule| rule.window).filter(|window| *window > Span::ZERO);
        let window = window.map(|window| window.to_string());
        let values = choice.as_deref().map(shown_values);
        let mut more: Vec<(&str, &str)> = Vec::new();
        more.extend(rule_text.as_deref().map(|rule| ("rule", rule)));
        more.extend(rule_id.as_deref().map(|id| ("rule_id", id)));
        more.extend(window.as_deref().map(|window| ("window", window)));
        more.extend(values.as_deref().filter(|v| !v.is_empty()).map(|values| ("values", values)));
        if let Some(Likeness { score, tokens }) = &likeness {
            more.extend([("score", score.as_str()), ("tokens", tokens.as_str())]);
        }
        let candidate = match (&choice, rule) {
            (Some(choice), Some(rule)) => self.candidate(alert.service_id, rule, choice, now),
            _ => Err(None),
        };
        if let Ok(incident_id) = candidate {
            let shared = "the values of the rule are the same and the incident accepts";
            let number = incident_id.seq().to_string();
            more.push(("incident", &number));
            explain("joined", shared, &more);
            self.attach(id, incident_id, TimelineKind::Joined, shared, now, actor);
            return;
        }
        if let Some(incident) = last.filter(|incident| self.reopens(incident, now)) {
            let reason = "its key's incident was resolved within reopen_within";
            explain("reopened", reason, &[("incident", &incident.id.seq().to_string())]);
            self.reopen(&incident, id, choice.as_deref(), reason, now, actor);
            return;
        }
        let reason = match (&choice, candidate.err().flatten()) {
            (None, _) => "no grouping rule matches: one incident an alert",
            (Some(_), Some(refused)) => refused,
            (Some(choice), None) if choice.hashes.is_empty() => {
                "a value of the rule is missing, which equals nothing"
            }
            (Some(_), None) => "no open incident has these values",
        };
        let incident_id = self.ids.incident(now);
        let number = incident_id.seq().to_string();
        more.push(("incident", &number));
        explain("opened", reason, &more);
        let (service, title) = (alert.service_id, title.to_owned());
        let mut incident =
            Incident::open(incident_id, service, title, alert.severity, choice.as_deref(), now);
        if alert.status == Status::Acknowledged {
            incident.acknowledge(actor, alert.acknowledged_at.unwrap_or(now));
        }
        self.working.insert_incident(incident);
        self.working.count(service, now).incidents += 1;
        self.attach(id, incident_id, TimelineKind::Opened, reason, now, actor);
        self.count_unheard(incident_id);
    }

    fn rule(&self, service: ServiceId, rule: RuleId) -> Option<&'d GroupingRule> {
        self.policy(service)?.grouping.iter().find(|known| known.id == rule)
    }

    pub(super) fn rule_number(&self, service: ServiceId, rule: RuleId) -> usize {
        self.policy(service)
            .and_then(|policy| policy.grouping.iter().position(|known| known.id == rule))
            .unwrap_or_default()
    }

    /// Under a similarity rule the template decides; it learns from the text.
    fn find_alike(
        &mut self,
        service: ServiceId,
        rule: &GroupingRule,
        choice: &mut Arc<GroupChoice>,
    ) -> Option<Likeness> {
        let threshold = rule.similarity_threshold()?;
        let masked = Masked::of_fields(choice.texts.iter().map(String::as_str));
        let templates = self.working.templates((service, rule.id));
        let found = templates.learn(&masked, threshold);
        let shown = templates.iter().find(|template| template.id == found.template);
        let fields = match &rule.by {
            By::Similarity { fields, .. } => fields.as_slice(),
            By::Fields(_) | By::Time => &[],
        };
        let found_by = Arc::make_mut(choice);
        found_by.values =
            fields.first().cloned().zip(shown.map(Template::shown)).into_iter().collect();
        found_by.hashes = vec![found.template];
        let score = if found.is_new { "new template".to_owned() } else { ratio(found.score) };
        Some(Likeness { score, tokens: found.tokens })
    }

    /// The newest open incident under the choice's hashes that accepts; else why the newest one
    /// does not, if there is one.
    fn candidate(
        &mut self,
        service: ServiceId,
        rule: &GroupingRule,
        choice: &GroupChoice,
        now: Timestamp,
    ) -> Result<IncidentId, Option<&'static str>> {
        let mut refused = None;
        let mut found: Option<IncidentId> = None;
        for hash in &choice.hashes {
            let Some(incident) = self.working.group((service, choice.rule, *hash)) else {
                continue;
            };
            match rule.accepts(incident, now) {
                Ok(()) => found = found.max(Some(incident.id)),
                Err(reason) => refused = Some(reason),
            }
        }
        found.ok_or(refused)
    }

    fn accepts(&mut self, id: IncidentId, now: Timestamp) -> bool {
        let group =
            |incident: &Incident| Some((incident.service_id, incident.group.as_ref()?.rule));
        let Some((service, rule)) = self.working.incident(id).and_then(group) else { return false };
        let Some(rule) = self.rule(service, rule) else { return false };
        self.working.incident(id).is_some_and(|incident| rule.accepts(incident, now).is_ok())
    }

    /// Whether the incident of a key that comes back is opened again for it.
    fn reopens(&self, incident: &Incident, now: Timestamp) -> bool {
        let rule = incident.group.as_ref().and_then(|g| self.rule(incident.service_id, g.rule));
        let within = rule.and_then(|rule| rule.reopen_within);
        incident.resolved_at.zip(within).is_some_and(|(at, within)| at.plus(within) >= now)
    }

    fn reopen(
        &mut self,
        incident: &Incident,
        alert: AlertId,
        choice: Option<&GroupChoice>,
        reason: &str,
        now: Timestamp,
        actor: &str,
    ) {
        let reopened = self.working.change_incident(incident.id, |incident| {
            incident.reopen(choice, now);
            incident.clone()
        });
        if let Some(incident) = reopened {
            self.working.file(&incident);
        }
        self.attach(alert, incident.id, TimelineKind::Reopened, reason, now, actor);
    }

    /// Puts an open alert into an open incident: counted, told, and judged whom it concerns.
    pub(super) fn attach(
        &mut self,
        id: AlertId,
        incident_id: IncidentId,
        kind: TimelineKind,
        reason: &str,
        now: Timestamp,
        actor: &str,
    ) {
        let (alert, incident) = (Some(id), Some(incident_id));
        self.working.tell(self.ids, now, alert, incident, kind, actor, reason);
        let accepting = self.accepts(incident_id, now);
        self.working.change_alert(id, |alert| {
            alert.incident_id = Some(incident_id);
            alert.standing.group = None;
            alert.standing.returning = None;
            if kind == TimelineKind::Rejoined && alert.first_event_at == now {
                // It is known there: when it is loud that is no news. It is if it was suppressed
                // until now: the end of a silence is heard of.
                alert.standing.announced = true;
            }
        });
        let Some(alert) = self.working.alert(id).cloned() else { return };
        let wakes = alert.is_loud() && alert.status == Status::Triggered;
        let loudest_before = self.working.incident(incident_id).and_then(Incident::loudest);
        let effect = self.working.change_incident(incident_id, |incident| {
            let effect = incident.add(alert.severity, wakes, accepting, now);
            incident.hush(None, quiet_severity(&alert));
            effect
        });
        self.voice(&alert, None, now);
        self.reach_storm(incident_id, 1, now);
        if let Some(effect) = effect {
            self.tell_effect(incident_id, effect, now, actor);
        }
        self.end_snooze_if_worse(incident_id, loudest_before, now, actor);
        self.judge_incident(incident_id, now);
        self.tell_of_alert(id, now);
    }
}

/// The severity with which an open alert counts among the quiet ones.
pub(super) fn quiet_severity(alert: &Alert) -> Option<crate::domain::event::Severity> {
    (alert.is_open() && !alert.is_loud()).then_some(alert.severity)
}

fn shown_values(choice: &GroupChoice) -> String {
    let pairs = choice.values.iter().map(|(field, value)| format!("{field}={value:?}"));
    pairs.collect::<Vec<_>>().join(", ")
}

/// Ten-thousandths as people write them: `0.8512`.
fn ratio(score: u32) -> String {
    format!("{}.{:04}", score / 10_000, score % 10_000)
}
