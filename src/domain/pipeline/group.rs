//! Which incident an alert that opens belongs to.

use std::sync::Arc;

use super::{Batch, Moment, actor_of};
use crate::domain::{
    changes::{EventInput, TimelineKind},
    event::{Content, Severity},
    grouping::GroupChoice,
    id::{AlertId, IncidentId, ServiceId},
    incident::Incident,
    time::Timestamp,
    trace::{Stage, Trace},
    working::Working,
};

impl Batch<'_> {
    /// Finds, or opens, the incident of an alert that opens.
    pub(super) fn group(
        &mut self,
        input: &Arc<EventInput>,
        content: &Content,
        alert_id: AlertId,
        returning: Option<IncidentId>,
        at: &Moment,
        trace: &mut Trace,
    ) -> IncidentId {
        let actor = actor_of(input);
        let choice = input.prepared.group.as_ref();
        let open = |working: &Working<'_>, id: IncidentId| {
            working.incident(id).is_some_and(Incident::is_open)
        };
        if let Some(incident_id) = returning.filter(|id| open(&self.working, *id)) {
            let reason = "the key's last alert belongs to this incident, which is still open";
            let number = incident_id.seq().to_string();
            trace.decided(Stage::Group, "rejoined", reason, &[("incident", &number)]);
            let kind = TimelineKind::Rejoined;
            return self.join(incident_id, alert_id, content.severity, kind, reason, at, &actor);
        }
        let rule_number = choice.map(|choice| self.rule_number(at.service_id, choice));
        let rule_text = rule_number.map(|n| format!("grouping[{n}]")).unwrap_or_default();
        let candidate = choice.map_or(Err(None), |choice| self.candidate(choice, at));
        if let Ok(incident_id) = candidate {
            let shared = "the values of the rule are the same and the incident accepts";
            let number = incident_id.seq().to_string();
            let more = [("rule", rule_text.as_str()), ("incident", &number)];
            trace.decided(Stage::Group, "joined", shared, &more);
            let kind = TimelineKind::Joined;
            return self.join(incident_id, alert_id, content.severity, kind, shared, at, &actor);
        }
        let reason = match (choice, candidate.err().flatten()) {
            (None, _) => "no grouping rule matches: one incident an alert",
            (Some(_), Some(refused)) => refused,
            (Some(choice), None) if choice.hashes.is_empty() => {
                "a value of the rule is missing, which equals nothing"
            }
            (Some(_), None) => "no open incident has these values",
        };
        let incident_id = self.ids.incident(at.now);
        let number = incident_id.seq().to_string();
        let more = [("rule", rule_text.as_str()), ("incident", number.as_str())];
        let more = if choice.is_some() { &more[..] } else { &more[1..] };
        trace.decided(Stage::Group, "opened", reason, more);
        let title = content.summary.clone();
        let mut incident =
            Incident::open(incident_id, at.service_id, title, content.severity, choice, at.now);
        incident.add(content.severity, true, at.now);
        self.working.insert_incident(incident);
        self.working.count(at.service_id, at.now).incidents += 1;
        let (alert, incident) = (Some(alert_id), Some(incident_id));
        let kind = TimelineKind::Opened;
        self.working.tell(self.ids, at.now, alert, incident, kind, &actor, reason);
        incident_id
    }

    /// The newest open incident under the choice's hashes that accepts; else why the newest one
    /// does not, if there is one.
    pub(super) fn candidate(
        &mut self,
        choice: &GroupChoice,
        at: &Moment,
    ) -> Result<IncidentId, Option<&'static str>> {
        let rule = self
            .directory
            .service(at.service_id)
            .and_then(|s| s.policy.grouping.iter().find(|rule| rule.id == choice.rule));
        let Some(rule) = rule else { return Err(None) };
        let mut refused = None;
        let mut found: Option<IncidentId> = None;
        for hash in &choice.hashes {
            let Some(incident) = self.working.group(at.service_id, choice.rule, *hash) else {
                continue;
            };
            match rule.accepts(incident, at.now) {
                Ok(()) => found = found.max(Some(incident.id)),
                Err(reason) => refused = Some(reason),
            }
        }
        found.ok_or(refused)
    }

    pub(super) fn accepts(&self, id: IncidentId, now: Timestamp) -> bool {
        let Some(incident) = self.working.incident(id) else { return false };
        let service = self.directory.service(incident.service_id);
        service
            .zip(incident.group.as_ref())
            .and_then(|(service, group)| {
                service.policy.grouping.iter().find(|rule| rule.id == group.rule)
            })
            .is_some_and(|rule| rule.accepts(incident, now).is_ok())
    }

    pub(super) fn rule_number(&self, service_id: ServiceId, choice: &GroupChoice) -> usize {
        self.directory
            .service(service_id)
            .and_then(|s| s.policy.grouping.iter().position(|rule| rule.id == choice.rule))
            .unwrap_or_default()
    }

    #[expect(clippy::too_many_arguments, reason = "one join, said once")]
    pub(super) fn join(
        &mut self,
        incident_id: IncidentId,
        alert_id: AlertId,
        severity: Severity,
        kind: TimelineKind,
        reason: &str,
        at: &Moment,
        actor: &str,
    ) -> IncidentId {
        let (alert, incident) = (Some(alert_id), Some(incident_id));
        self.working.tell(self.ids, at.now, alert, incident, kind, actor, reason);
        let accepting = self.accepts(incident_id, at.now);
        let effect =
            self.working.change_incident(incident_id, |i| i.add(severity, accepting, at.now));
        if let Some(effect) = effect {
            self.tell_effect(incident_id, effect, at.now, actor);
        }
        incident_id
    }
}
