//! From a change of an alert to what its incident's receivers are told.

use std::sync::Arc;

use super::{Batch, group::quiet_severity};
use crate::domain::{
    alert::{Alert, Status},
    changes::TimelineKind,
    id::{AlertId, IncidentId},
    incident::{Effect, Incident},
    notify::{DIGEST, Holding, HoldingState},
    time::Timestamp,
    trace::{Stage, Trace},
};

impl Batch<'_> {
    /// Carries what has changed about an alert over to its incident, and judges whom it concerns.
    /// `policy_changed`: a rule that is new to the alert is heard of at the next reason only.
    pub(super) fn reflect(
        &mut self,
        before: &Alert,
        policy_changed: bool,
        now: Timestamp,
        actor: &str,
    ) {
        let Some(after) = self.working.alert(before.id).cloned() else { return };
        let Some(incident_id) = after.incident_id.filter(|_| before.incident_id.is_some()) else {
            return;
        };
        let unchanged = after.severity == before.severity
            && after.is_open() == before.is_open()
            && after.is_loud() == before.is_loud()
            && after.standing.matches.notify == before.standing.matches.notify;
        if unchanged && !policy_changed {
            return;
        }
        let wakes = after.is_loud() && after.status == Status::Triggered;
        let loudest_before = self.working.incident(incident_id).and_then(Incident::loudest);
        let effect = self.working.change_incident(incident_id, |incident| {
            incident.hush(quiet_severity(before), quiet_severity(&after));
            if !after.is_open() {
                return incident.remove(before.severity, now);
            }
            if after.severity != before.severity {
                return incident.change(before.severity, after.severity, wakes, now);
            }
            if wakes && !before.is_loud() {
                return incident.hear(after.severity, now);
            }
            Effect::Unchanged
        });
        self.voice(&after, Some((before, policy_changed)), now);
        if let Some(effect) = effect {
            self.tell_effect(incident_id, effect, now, actor);
        }
        self.end_snooze_if_worse(incident_id, loudest_before, now, actor);
        let heard_of = before.standing.announced || loudest_before.is_some();
        if after.is_loud() && !before.is_loud() && !heard_of {
            self.count_unheard(incident_id);
        }
        self.judge_incident(incident_id, now);
        if after.is_open() {
            self.tell_of_alert(after.id, now);
        }
    }

    /// Counts an incident that has become loud and that nobody is told of.
    pub(super) fn count_unheard(&mut self, id: IncidentId) {
        let nobody = self.working.incident(id).is_some_and(|incident| {
            incident.notices.holdings.is_empty() && incident.loudest().is_some()
        });
        self.working.changes.tally.unheard += u64::from(nobody);
    }

    /// A snooze lasts until its end or until it gets worse.
    pub(super) fn end_snooze_if_worse(
        &mut self,
        id: IncidentId,
        loudest_before: Option<crate::domain::event::Severity>,
        now: Timestamp,
        actor: &str,
    ) {
        let worse = self.working.incident(id).is_some_and(|incident| {
            incident.snoozed_until.is_some() && incident.loudest() > loudest_before
        });
        if worse {
            self.working.change_incident(id, |incident| incident.snoozed_until = None);
            let reason = "the snooze ends: it got worse";
            let kind = TimelineKind::Snoozed;
            self.working.tell(self.ids, now, None, Some(id), kind, actor, reason);
        }
    }

    /// Brings the receivers of an incident in line with how loud one of its alerts is, which had
    /// the say `before` so far (`None`: it just came in).
    pub(super) fn voice(&mut self, after: &Alert, before: Option<(&Alert, bool)>, now: Timestamp) {
        let Some(incident_id) = after.incident_id else { return };
        let policy_changed = before.is_some_and(|(_, changed)| changed);
        let before = before.map(|(alert, _)| alert);
        // One that comes back to its incident is no news, not even a reminder.
        let reminds = before.is_some() && !policy_changed;
        let had = before.filter(|alert| alert.is_loud());
        let becomes_loud = after.is_loud() && had.is_none();
        let is_worse =
            after.is_loud() && before.is_some_and(|before| after.severity > before.severity);
        let returns = before.is_none() && after.standing.announced;
        let is_reason = !policy_changed && (is_worse || (becomes_loud && !returns));
        let rules = self.policy(after.service_id).map_or(&[][..], |policy| &policy.notify);
        let spoken: Vec<_> = rules
            .iter()
            .filter(|rule| after.is_loud() && after.standing.matches.notify.contains(&rule.id))
            .collect();
        let known = after.standing.announced;
        // A delay runs beside a pause: the later of the two counts.
        let was_paused = before.is_some_and(|before| before.standing.quiet.paused_until.is_some());
        let since = if was_paused { after.first_event_at } else { now };
        let was_mute = before.is_some_and(|alert| alert.standing.quiet.muted_until.is_some());
        self.working.change_incident(incident_id, |incident| {
            let holdings = &mut incident.notices.holdings;
            for rule in had.iter().flat_map(|alert| &alert.standing.matches.notify) {
                for holding in holdings.iter_mut() {
                    holding.quieter(*rule);
                }
            }
            for rule in &spoken {
                let loud = holdings.iter().find_map(|holding| holding.loud_under(rule.id));
                for receiver in &rule.receivers {
                    let at = holdings.iter().position(|holding| holding.receiver == *receiver);
                    let at = at.unwrap_or_else(|| {
                        let mut holding = Holding::new(Arc::clone(receiver));
                        holding.dormant = policy_changed;
                        holdings.push(holding);
                        holdings.len() - 1
                    });
                    holdings[at].bring_in(rule.id, loud.unwrap_or(0), since);
                }
                for holding in holdings.iter_mut() {
                    holding.louder(rule.id);
                }
            }
            // It is the incident that a rule is for: who was told of it hears of all that joins.
            for holding in holdings {
                holding.dormant &= !is_reason;
                if !becomes_loud || holding.state != HoldingState::Told {
                    continue;
                }
                if known || was_mute {
                    holding.pending.repeat |= reminds;
                } else {
                    holding.pending.added += 1;
                    holding.pending.added_due.get_or_insert(now.plus(DIGEST));
                }
            }
        });
        if after.is_loud() && !known {
            self.working.change_alert(after.id, |alert| alert.standing.announced = true);
        }
    }

    /// `joined` alerts came in: says so if that reaches a threshold of the service's `storm`.
    pub(super) fn reach_storm(&mut self, id: IncidentId, joined: u32, now: Timestamp) {
        let Some(incident) = self.working.incident(id) else { return };
        let (count, service, spent) = (incident.alert_count, incident.service_id, incident.storm);
        let thresholds = self.policy(service).map_or(&[][..], |policy| &policy.storm);
        let before = count.saturating_sub(joined);
        let reached = thresholds.iter().filter(|t| (before + 1..=count).contains(*t)).max();
        let Some(reached) = reached.copied().filter(|t| spent < Some(*t)) else { return };
        self.working.changes.tally.storms += 1;
        self.working.change_incident(id, |incident| {
            incident.storm = Some(reached);
            for holding in &mut incident.notices.holdings {
                holding.pending.storm = true;
                holding.dormant = false;
            }
        });
        let reason = format!("{count} alerts: the threshold of {reached} is reached");
        let kind = TimelineKind::Storm;
        self.working.tell(self.ids, now, None, Some(id), kind, "timer", reason);
    }

    /// Decides what each receiver of an incident is told at `now`.
    pub(super) fn judge_incident(&mut self, id: IncidentId, now: Timestamp) {
        let Some(incident) = self.working.incident(id) else { return };
        if incident.notices.holdings.is_empty() {
            return;
        }
        let (service_id, severity) = (incident.service_id, incident.severity);
        let severity = incident.loudest().unwrap_or(severity);
        let rules = self.policy(service_id).map_or(&[][..], |policy| &policy.notify);
        let directory = self.directory;
        let told = self
            .working
            .change_incident(id, |incident| incident.judge_holdings(rules, directory, now));
        for told in told.into_iter().flatten() {
            self.notify(id, told, severity, now);
        }
    }

    /// Who is told of an event's alert and when, or why nobody is.
    pub(super) fn trace_notify(&mut self, id: AlertId, trace: &mut Trace) {
        let Some(alert) = self.working.alert(id).cloned() else { return };
        if self.policy(alert.service_id).is_none_or(|policy| policy.notify.is_empty()) {
            let reason = "the service has no notify rules";
            trace.decided(Stage::Notify, "none", reason, &[]);
            return;
        }
        let quiet = &alert.standing.quiet;
        let waits = quiet.paused_until.map(|until| ("pauses, in case it goes away", until));
        let waits =
            quiet.muted_until.map(|until| ("its key is flapping and mute", until)).or(waits);
        if let Some((reason, until)) = waits.filter(|_| alert.is_open()) {
            trace.decided(Stage::Notify, "waits", reason, &[("until", &until.to_string())]);
        }
        let Some(incident_id) = alert.incident_id else {
            trace.decided(Stage::Notify, "none", "suppressed: it is in no incident", &[]);
            return;
        };
        let Some(incident) = self.working.incident(incident_id) else { return };
        if incident.notices.holdings.is_empty() {
            let reason = "no notify rule matches a loud alert of the incident";
            trace.decided(Stage::Notify, "none", reason, &[]);
        }
        for holding in &incident.notices.holdings {
            let due = holding.due.map(|due| due.to_string());
            let mut more = vec![("receiver", &*holding.receiver)];
            more.extend(due.as_deref().map(|due| ("due", due)));
            trace.decided(Stage::Notify, holding.state.as_str(), &holding.why, &more);
        }
    }
}
