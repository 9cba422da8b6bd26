//! What a person does to a whole incident besides acknowledging and resolving it.

use super::Batch;
use crate::domain::{
    alert::Status,
    changes::{ActionOutcome, TimelineKind},
    id::IncidentId,
    incident::Incident,
    notify::HoldingState,
    time::{Span, Timestamp},
};

impl Batch<'_> {
    /// Nobody is notified of it for a while, unless it gets worse. Zero ends that.
    pub(super) fn snooze(
        &mut self,
        id: IncidentId,
        span: Span,
        now: Timestamp,
        actor: &str,
    ) -> ActionOutcome {
        let until = (span > Span::ZERO).then(|| now.plus(span));
        let before = self.working.incident(id).and_then(|incident| incident.snoozed_until);
        if before == until {
            return ActionOutcome::Unchanged;
        }
        let reason = until.map_or("not any more".to_owned(), |until| format!("until {until}"));
        self.working.tell(self.ids, now, None, Some(id), TimelineKind::Snoozed, actor, reason);
        self.working.change_incident(id, |incident| {
            incident.snoozed_until = until;
            if until.is_none() {
                for holding in &mut incident.notices.holdings {
                    holding.pending.repeat = holding.state == HoldingState::Told;
                    holding.dormant = false;
                }
            }
        });
        self.judge_incident(id, now);
        ActionOutcome::Changed
    }

    pub(super) fn assign(
        &mut self,
        id: IncidentId,
        user: Option<&str>,
        now: Timestamp,
        actor: &str,
    ) -> ActionOutcome {
        let before = self.working.incident(id).and_then(|incident| incident.assignee.clone());
        if before.as_deref() == user {
            return ActionOutcome::Unchanged;
        }
        let reason = user.map_or("to nobody".to_owned(), |user| format!("to {user}"));
        self.working.tell(self.ids, now, None, Some(id), TimelineKind::Assigned, actor, reason);
        self.working.change_incident(id, |incident| incident.assignee = user.map(str::to_owned));
        ActionOutcome::Changed
    }

    /// Moves the open alerts of an incident into another one of its service. The one that is
    /// emptied is resolved, and who was told of it hears so; to the other's receivers the alerts
    /// are as if they joined.
    pub(super) fn merge_incidents(
        &mut self,
        from: IncidentId,
        into: IncidentId,
        now: Timestamp,
        actor: &str,
    ) -> ActionOutcome {
        if from == into {
            return ActionOutcome::Conflict("an incident cannot be merged into itself");
        }
        let Some(target) = self.working.incident(into).cloned() else {
            return ActionOutcome::Conflict("there is no such incident to merge into");
        };
        if target.status == Status::Resolved {
            return ActionOutcome::Conflict("the incident to merge into is resolved");
        }
        let service = self.working.incident(from).map(|incident| incident.service_id);
        if service != Some(target.service_id) {
            return ActionOutcome::Conflict("the incident to merge into is another service's");
        }
        let alerts = self.open_alerts_of(from);
        let kind = TimelineKind::Merged;
        let (source, number) = (from.seq(), into.seq());
        let reason = format!("{} open alerts of incident {source} into {number}", alerts.len());
        for incident in [from, into] {
            self.working.tell(self.ids, now, None, Some(incident), kind, actor, reason.as_str());
        }
        let loudest_before = target.loudest();
        for id in &alerts {
            self.move_alert(*id, from, into, now);
        }
        self.working.change_incident(from, |incident| incident.merged_away(now));
        let reason = format!("merged into incident {number}");
        let kind = TimelineKind::Resolved;
        self.working.tell(self.ids, now, None, Some(from), kind, actor, reason);
        self.judge_incident(from, now);
        let moved = u32::try_from(alerts.len()).unwrap_or(u32::MAX);
        self.reach_storm(into, moved, now);
        self.end_snooze_if_worse(into, loudest_before, now, actor);
        self.judge_incident(into, now);
        for id in alerts {
            self.tell_of_alert(id, now);
        }
        ActionOutcome::Changed
    }

    /// Takes an open alert out of one incident and puts it into another, judging nothing yet.
    fn move_alert(
        &mut self,
        id: crate::domain::id::AlertId,
        from: IncidentId,
        into: IncidentId,
        now: Timestamp,
    ) {
        let Some(alert) = self.working.alert(id).cloned() else { return };
        self.working.change_incident(from, |incident| incident.lose(&alert));
        self.working.change_alert(id, |alert| {
            alert.incident_id = Some(into);
            alert.standing.announced = false;
        });
        let Some(moved) = self.working.alert(id).cloned() else { return };
        let wakes = moved.is_loud() && moved.status == Status::Triggered;
        let effect = self.working.change_incident(into, |incident: &mut Incident| {
            let effect = incident.add(moved.severity, wakes, false, now);
            incident.hush(None, super::group::quiet_severity(&moved));
            effect
        });
        self.voice(&moved, None, now);
        if let Some(effect) = effect {
            self.tell_effect(into, effect, now, "timer");
        }
    }
}
