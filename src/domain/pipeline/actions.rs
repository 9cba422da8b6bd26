//! What is done to alerts and incidents: by events, by people, by timers.

use super::{Batch, timers::TIMER};
use crate::domain::{
    alert::{Alert, Dues, Status, Transition},
    changes::{ActionInput, ActionOutcome, Target, TimelineKind, Verb},
    delivery::ToldOf,
    event::Action,
    id::{AlertId, IncidentId, ServiceId},
    incident::Effect,
    notify::HoldingState,
    standing::Standing,
    time::Timestamp,
};

impl Batch<'_> {
    /// Acknowledges or resolves an open alert and draws the consequences: for its incident, for
    /// what it inhibits, for its key. `by_source` says that an event did it.
    pub(super) fn act_on_alert(
        &mut self,
        id: AlertId,
        action: Action,
        now: Timestamp,
        actor: &str,
        reason: &str,
        by_source: bool,
    ) -> Transition {
        let Some(before) = self.working.alert(id).filter(|alert| alert.is_open()).cloned() else {
            return Transition::Unchanged;
        };
        let transition = self
            .working
            .change_alert(id, |alert| alert.apply(action, now))
            .unwrap_or(Transition::Unchanged);
        let incident_id = before.incident_id;
        match transition {
            Transition::Acknowledged => {
                let kind = TimelineKind::Acknowledged;
                self.working.tell(self.ids, now, Some(id), incident_id, kind, actor, reason);
                self.count_sources(id, now, actor);
                if let Some(incident_id) = incident_id {
                    self.acknowledge_incident(incident_id, now, actor, "one of its alerts was");
                }
                self.tell_of_alert(id, now);
            }
            Transition::Resolved => self.close(&before, now, actor, reason, by_source),
            Transition::Merged | Transition::Unchanged => {}
        }
        transition
    }

    /// What follows from the end of an alert.
    fn close(
        &mut self,
        before: &Alert,
        now: Timestamp,
        actor: &str,
        reason: &str,
        by_source: bool,
    ) {
        let (id, incident_id) = (before.id, before.incident_id);
        let kind = TimelineKind::Resolved;
        self.working.tell(self.ids, now, Some(id), incident_id, kind, actor, reason);
        self.working.count(before.service_id, now).resolved_alerts += 1;
        let lasted = by_source.then(|| now.since(before.began_at()));
        let by_person = !by_source && actor != TIMER;
        let held = self.flap_on_resolve(before, lasted, by_person, now);
        if let Some((until, incident)) = held.incident.zip(incident_id) {
            self.working.change_incident(incident, |i| i.notices.held_until = Some(until));
        }
        self.reflect(before, false, now, actor);
        if !held.alert {
            self.tell_of_alert(id, now);
        }
        if before.standing != Standing::default() {
            self.count_sources(id, now, actor);
            let sides = &before.standing.matches.sides;
            let closed = self.working.alert(id).filter(|_| !sides.is_empty()).cloned();
            if let Some(closed) = closed {
                self.working.set_sides(&closed, sides);
            }
            // Nothing looks at it any more, and its row stays small.
            self.working.change_alert(id, |alert| {
                let told = std::mem::take(&mut alert.standing.told);
                // One that was suppressed throughout leaves its key the incident it would have
                // returned to.
                let returning = alert.standing.returning.filter(|_| alert.incident_id.is_none());
                alert.standing = Standing { told, returning, ..Standing::default() };
                alert.stale = false;
            });
        }
        self.working.change_alert(id, |alert| {
            alert.dues = Dues::default();
            alert.flapping = false;
        });
    }

    pub(super) fn acknowledge_incident(
        &mut self,
        id: IncidentId,
        now: Timestamp,
        actor: &str,
        reason: &str,
    ) {
        let triggered = self.working.incident(id).is_some_and(|i| i.status == Status::Triggered);
        if triggered {
            let created = self.working.change_incident(id, |incident| {
                incident.acknowledge(actor, now);
                (incident.service_id, incident.created_at)
            });
            let kind = TimelineKind::Acknowledged;
            self.working.tell(self.ids, now, None, Some(id), kind, actor, reason);
            if let Some((service, created_at)) = created {
                let count = self.working.count(service, now);
                count.acknowledged += 1;
                count.acknowledged_after_ms += now.since(created_at).as_millis();
            }
            self.judge_incident(id, now);
        }
    }

    pub(super) fn tell_effect(
        &mut self,
        id: IncidentId,
        effect: Effect,
        now: Timestamp,
        actor: &str,
    ) {
        let (kind, reason) = match effect {
            Effect::Unchanged => return,
            Effect::SeverityChanged { from, to } => {
                (TimelineKind::SeverityChanged, format!("from {from} to {to}"))
            }
            Effect::TriggeredAgain { from, to } => {
                self.working.change_incident(id, |incident| {
                    for holding in &mut incident.notices.holdings {
                        holding.pending.raised = holding.state == HoldingState::Told;
                        holding.acknowledged = false;
                    }
                });
                (TimelineKind::TriggeredAgain, format!("{to}, after {from} had been acknowledged"))
            }
            Effect::Resolved => {
                let incident = self.working.incident(id).map(|i| (i.service_id, i.created_at));
                if let Some((service, created_at)) = incident {
                    let count = self.working.count(service, now);
                    count.resolved += 1;
                    count.resolved_after_ms += now.since(created_at).as_millis();
                }
                (TimelineKind::Resolved, "its last open alert was resolved".to_owned())
            }
        };
        self.working.tell(self.ids, now, None, Some(id), kind, actor, reason);
    }

    /// What a person does.
    pub(super) fn action(&mut self, input: &ActionInput) -> ActionOutcome {
        let service = match input.target {
            Target::Alert(id) => self.working.alert(id).map(|alert| alert.service_id),
            Target::Incident(id) => self.working.incident(id).map(|incident| incident.service_id),
        };
        let Some(service) = service else { return ActionOutcome::NotFound };
        let now = self.working.clock(service, input.received_at);
        self.settle(now);
        match input.target {
            Target::Alert(id) => self.action_on_alert(id, input, now),
            Target::Incident(id) => self.action_on_incident(id, input, now),
        }
    }

    pub(super) fn action_on_alert(
        &mut self,
        id: AlertId,
        input: &ActionInput,
        now: Timestamp,
    ) -> ActionOutcome {
        let Some(alert) = self.working.alert(id) else { return ActionOutcome::NotFound };
        let (status, incident_id) = (alert.status, alert.incident_id);
        let actor = input.actor.as_str();
        match (&input.verb, status) {
            (Verb::Note(text), _) => {
                let kind = TimelineKind::Note;
                self.working.tell(self.ids, now, Some(id), incident_id, kind, actor, text.as_str());
                ActionOutcome::Changed
            }
            (Verb::Acknowledge, Status::Triggered) => {
                self.act_on_alert(id, Action::Acknowledge, now, actor, "by hand", false);
                ActionOutcome::Changed
            }
            (Verb::Resolve, Status::Triggered | Status::Acknowledged) => {
                self.act_on_alert(id, Action::Resolve, now, actor, "by hand", false);
                ActionOutcome::Changed
            }
            (Verb::Unacknowledge, Status::Acknowledged) => {
                self.unacknowledge_alert(id, now, actor, "by hand");
                ActionOutcome::Changed
            }
            (
                Verb::Snooze(_)
                | Verb::Assign(_)
                | Verb::Merge(_)
                | Verb::FallBack { .. }
                | Verb::Retry { .. },
                _,
            ) => ActionOutcome::Conflict("this is done to incidents, not to alerts"),
            (Verb::Acknowledge, Status::Acknowledged)
            | (Verb::Unacknowledge, Status::Triggered)
            | (Verb::Resolve, Status::Resolved) => ActionOutcome::Unchanged,
            (Verb::Acknowledge | Verb::Unacknowledge, Status::Resolved) => {
                ActionOutcome::Conflict("the alert is resolved")
            }
        }
    }

    pub(super) fn action_on_incident(
        &mut self,
        id: IncidentId,
        input: &ActionInput,
        now: Timestamp,
    ) -> ActionOutcome {
        let Some(status) = self.working.incident(id).map(|incident| incident.status) else {
            return ActionOutcome::NotFound;
        };
        let actor = input.actor.as_str();
        match (&input.verb, status) {
            (Verb::Note(text), _) => {
                let kind = TimelineKind::Note;
                self.working.tell(self.ids, now, None, Some(id), kind, actor, text.as_str());
                ActionOutcome::Changed
            }
            (Verb::Acknowledge, Status::Triggered) => {
                self.acknowledge_incident(id, now, actor, "by hand");
                let reason = "its incident was acknowledged";
                for alert in self.open_alerts_of(id) {
                    self.act_on_alert(alert, Action::Acknowledge, now, actor, reason, false);
                }
                ActionOutcome::Changed
            }
            // One of its alerts was, and others are not.
            (Verb::Acknowledge, Status::Acknowledged) => {
                let is_triggered = |id: &AlertId| {
                    self.working.alert(*id).is_some_and(|alert| alert.status == Status::Triggered)
                };
                let triggered: Vec<AlertId> =
                    self.open_alerts_of(id).into_iter().filter(is_triggered).collect();
                let reason = "its incident was acknowledged";
                for alert in &triggered {
                    self.act_on_alert(*alert, Action::Acknowledge, now, actor, reason, false);
                }
                if triggered.is_empty() { ActionOutcome::Unchanged } else { ActionOutcome::Changed }
            }
            (Verb::Unacknowledge, Status::Acknowledged) => {
                let kind = TimelineKind::Unacknowledged;
                self.working.tell(self.ids, now, None, Some(id), kind, actor, "by hand");
                self.heard_there(id, actor);
                self.wake_incident(id, now);
                let reason = "its incident's acknowledgement was taken back";
                for alert in self.open_alerts_of(id) {
                    self.unacknowledge_alert(alert, now, actor, reason);
                }
                ActionOutcome::Changed
            }
            (Verb::Resolve, Status::Triggered | Status::Acknowledged) => {
                let reason = "its incident was resolved by hand";
                for alert in self.open_alerts_of(id) {
                    self.act_on_alert(alert, Action::Resolve, now, actor, reason, false);
                }
                ActionOutcome::Changed
            }
            // Once somebody is at work, nobody else has to be told.
            (Verb::FallBack { from, to }, Status::Triggered) => self.fall_back(id, from, to, now),
            (Verb::Retry { receiver, reason }, _) => {
                let kind = TimelineKind::Retried;
                let what = format!("{receiver}: {reason}");
                self.working.tell(self.ids, now, None, Some(id), kind, actor, what);
                ActionOutcome::Changed
            }
            (Verb::Assign(user), _) => self.assign(id, user.as_deref(), now, actor),
            (Verb::Snooze(span), Status::Triggered | Status::Acknowledged) => {
                self.snooze(id, *span, now, actor)
            }
            (Verb::Merge(into), Status::Triggered | Status::Acknowledged) => {
                self.merge_incidents(id, *into, now, actor)
            }
            (Verb::Unacknowledge, Status::Triggered)
            | (Verb::Resolve, Status::Resolved)
            | (Verb::FallBack { .. }, Status::Acknowledged | Status::Resolved) => {
                ActionOutcome::Unchanged
            }
            (
                Verb::Acknowledge | Verb::Unacknowledge | Verb::Snooze(_) | Verb::Merge(_),
                Status::Resolved,
            ) => ActionOutcome::Conflict("the incident is resolved"),
        }
    }

    /// A receiver at which the acknowledgement was taken back need not be told so.
    fn heard_there(&mut self, id: IncidentId, actor: &str) {
        let Some(receiver) = receiver_of(actor) else { return };
        self.working.change_incident(id, |incident| {
            let holdings = incident.notices.holdings.iter_mut();
            for holding in holdings.filter(|holding| &*holding.receiver == receiver) {
                holding.acknowledged = false;
                holding.asleep = false;
            }
        });
    }

    pub(super) fn unacknowledge_alert(
        &mut self,
        id: AlertId,
        now: Timestamp,
        actor: &str,
        reason: &str,
    ) {
        let Some(alert) = self.working.alert(id) else { return };
        if alert.status == Status::Acknowledged {
            let incident_id = alert.incident_id;
            self.working.change_alert(id, |alert| {
                alert.unacknowledge();
                let heard = |told: &&mut ToldOf| receiver_of(actor) == Some(&*told.receiver);
                for told in alert.standing.told.iter_mut().filter(heard) {
                    told.acknowledged = false;
                }
            });
            let kind = TimelineKind::Unacknowledged;
            self.working.tell(self.ids, now, Some(id), incident_id, kind, actor, reason);
            self.count_sources(id, now, actor);
            self.tell_of_alert(id, now);
        }
    }

    pub(super) fn open_alerts_of(&self, incident: IncidentId) -> Vec<AlertId> {
        let belongs = |id: &AlertId| {
            self.working
                .alert(*id)
                .is_some_and(|alert| alert.is_open() && alert.incident_id == Some(incident))
        };
        self.working.alert_ids().into_iter().filter(belongs).collect()
    }

    pub(super) fn close_service(
        &mut self,
        service: ServiceId,
        actor: &str,
        received_at: Timestamp,
    ) -> usize {
        let now = self.working.clock(service, received_at);
        self.settle(now);
        let mut closed = 0;
        for id in self.working.alert_ids() {
            let open = self
                .working
                .alert(id)
                .is_some_and(|alert| alert.is_open() && alert.service_id == service);
            if open {
                let reason = "its service was deleted";
                self.act_on_alert(id, Action::Resolve, now, actor, reason, false);
                closed += 1;
            }
        }
        closed
    }
}

/// The receiver at which somebody did it.
fn receiver_of(actor: &str) -> Option<&str> {
    actor.strip_prefix("pagerduty:")
}
