//! From what a receiver is told to what is owed to it: one delivery for the incident, or one for
//! each of its alerts where the receiver wants it so.

use std::sync::Arc;

use super::Batch;
use crate::domain::{
    alert::{Alert, Status},
    changes::{ActionOutcome, NewNotification, TimelineKind},
    delivery::{Each, Lane, NewDelivery, Revision, ToldOf},
    event::Severity,
    id::{AlertId, DeliveryId, IncidentId, ReceiverId},
    incident::{StoodIn, Told},
    notify::{Holding, HoldingState, Notice, Reason},
    time::Timestamp,
};

/// A receiver that hears of each alert of an incident.
struct Listener {
    receiver: Arc<str>,
    revision: Revision,
    /// One of its rules is active.
    on: bool,
    /// And nobody is at work on the incident, or has put it off.
    awake: bool,
}

impl Batch<'_> {
    /// A receiver is told of an incident: noted, and owed.
    pub(super) fn notify(
        &mut self,
        incident_id: IncidentId,
        told: Told,
        severity: Severity,
        now: Timestamp,
    ) {
        let Some(service_id) = self.working.incident(incident_id).map(|i| i.service_id) else {
            return;
        };
        let Told { receiver, revision, notice } = told;
        self.working.count(service_id, now).notifications += 1;
        let what = format!("{receiver}: {}", notice.reason);
        let kind = TimelineKind::Notified;
        self.working.tell(self.ids, now, None, Some(incident_id), kind, "timer", what);
        let reason = notice.reason;
        if let Some(revision) = revision {
            match revision.each {
                Each::Incident => {
                    let lane = Lane::Incident(incident_id).number(revision.receiver);
                    let delivery = NewDelivery {
                        id: self.ids.delivery(now),
                        at: now,
                        service_id: Some(service_id),
                        incident_id: Some(incident_id),
                        alert_id: None,
                        receiver: Arc::clone(&receiver),
                        revision,
                        reason,
                        severity,
                        wakes: notice.wakes,
                        lane,
                    };
                    self.working.changes.deliveries.push(delivery);
                }
                Each::Alert | Each::Key => self.tell_each(incident_id, &receiver, reason, now),
            }
        }
        let notification =
            NewNotification { at: now, service_id, incident_id, receiver, reason, severity };
        self.working.changes.notifications.push(notification);
    }

    /// A receiver that is told of each alert is told of an incident: of those that it does not know
    /// yet, of what was held back, and as a reminder of those that it knows. All else it hears as
    /// the alerts change.
    fn tell_each(&mut self, incident: IncidentId, receiver: &str, reason: Reason, now: Timestamp) {
        if matches!(reason, Reason::Resolved | Reason::Test) {
            return;
        }
        self.working.ask_for_open_alerts(incident);
        for id in self.open_alerts_of(incident) {
            let known = self.working.alert(id).is_some_and(|alert| {
                alert.is_loud()
                    && alert.status == Status::Triggered
                    && alert.standing.told.iter().any(|told| *told.receiver == *receiver)
            });
            let owed = self.working.changes.deliveries.len();
            self.tell_all_of_alert(id, Some(receiver), now);
            let is_new = self.working.changes.deliveries.len() > owed;
            if known && !is_new && reason == Reason::Repeat {
                let told = self.working.alert(id).map(|alert| (alert.clone(), incident));
                let Some((alert, incident)) = told else { continue };
                for told in alert.standing.told.iter().filter(|told| *told.receiver == *receiver) {
                    self.owe(&alert, incident, told, reason.into(), now);
                }
            }
        }
    }

    /// Brings what receivers that are told of each alert know of this one in line with what it is.
    pub(super) fn tell_of_alert(&mut self, id: AlertId, now: Timestamp) {
        self.tell_all_of_alert(id, None, now);
    }

    /// The same; `also` was just told of its incident, whether a rule names it or not.
    fn tell_all_of_alert(&mut self, id: AlertId, also: Option<&str>, now: Timestamp) {
        let Some(alert) = self.working.alert(id) else { return };
        let (known, service_id) = (!alert.standing.told.is_empty(), alert.service_id);
        let Some(incident_id) = alert.incident_id else { return };
        let rules = self.policy(service_id).map_or(&[][..], |policy| &policy.notify);
        let Some(incident) = self.working.incident(incident_id) else { return };
        // Who is named no more is owed the resolve, and who waits to be told that it is open again
        // hears of its alerts then.
        let hears = |holding: &&Holding| {
            holding.revision.is_some_and(|revision| revision.each != Each::Incident)
                && holding.state == HoldingState::Told
                && !holding.pending.reopened
                && (holding.is_named(rules) || also == Some(&*holding.receiver))
        };
        if !known && !incident.notices.holdings.iter().any(|holding| hears(&holding)) {
            return;
        }
        // As of an incident: out of hours nothing is said, and of what somebody is at work on, or
        // has put off, only that it is so.
        let at_work = incident.status == Status::Acknowledged;
        let put_off = incident.snoozed_until.is_some_and(|until| until > now);
        let listening: Vec<Listener> = incident
            .notices
            .holdings
            .iter()
            .filter(hears)
            .filter_map(|holding| {
                let told_now = also == Some(&*holding.receiver);
                let on = told_now || holding.is_on(rules, now);
                Some(Listener {
                    receiver: Arc::clone(&holding.receiver),
                    revision: holding.revision?,
                    on,
                    awake: on && !at_work && (told_now || !put_off),
                })
            })
            .collect();
        let Some(alert) = self.working.alert(id).cloned() else { return };
        let mut told = alert.standing.told.clone();
        if !alert.is_open() {
            for told in told.drain(..) {
                self.owe(&alert, incident_id, &told, Reason::Resolved.into(), now);
            }
        }
        let speaks = alert.is_loud() && alert.status == Status::Triggered;
        for told in &mut told {
            let Some(listener) = listening.iter().find(|l| l.receiver == told.receiver) else {
                continue;
            };
            let is_acknowledged = alert.is_loud() && alert.status == Status::Acknowledged;
            let notice = if is_acknowledged && listener.on && !told.acknowledged {
                told.acknowledged = true;
                Reason::Acknowledged.into()
            } else if speaks && listener.on && told.acknowledged {
                told.acknowledged = false;
                told.severity = told.severity.max(alert.severity);
                Notice { reason: Reason::Repeat, wakes: true }
            } else if speaks && listener.awake && alert.severity > told.severity {
                told.severity = alert.severity;
                Reason::SeverityRaised.into()
            } else {
                continue;
            };
            self.owe(&alert, incident_id, told, notice, now);
        }
        if speaks {
            for Listener { receiver, revision, awake, .. } in listening {
                if !awake || told.iter().any(|told| told.receiver == receiver) {
                    continue;
                }
                let severity = alert.severity;
                let new = ToldOf { receiver, revision, severity, acknowledged: false };
                self.owe(&alert, incident_id, &new, Reason::Opened.into(), now);
                told.push(new);
            }
        }
        if told != alert.standing.told {
            self.working.change_alert(id, |alert| alert.standing.told = told);
        }
    }

    fn owe(
        &mut self,
        alert: &Alert,
        incident_id: IncidentId,
        told: &ToldOf,
        notice: Notice,
        now: Timestamp,
    ) {
        let lane = match told.revision.each {
            Each::Key => Lane::Key(&alert.dedup_key),
            Each::Alert | Each::Incident => Lane::Alert(alert.id),
        };
        let delivery = NewDelivery {
            id: self.ids.delivery(now),
            at: now,
            service_id: Some(alert.service_id),
            incident_id: Some(incident_id),
            alert_id: Some(alert.id),
            receiver: Arc::clone(&told.receiver),
            revision: told.revision,
            reason: notice.reason,
            severity: alert.severity,
            wakes: notice.wakes,
            lane: lane.number(told.revision.receiver),
        };
        self.working.changes.deliveries.push(delivery);
    }

    /// Somebody wants to see whether a receiver is reached. `None`: there is no such receiver.
    pub(super) fn test_receiver(
        &mut self,
        receiver: ReceiverId,
        now: Timestamp,
    ) -> Option<DeliveryId> {
        let receiver = self.directory.receiver(receiver)?;
        let id = self.ids.delivery(now);
        let delivery = NewDelivery {
            id,
            at: now,
            service_id: None,
            incident_id: None,
            alert_id: None,
            receiver: receiver.name.as_str().into(),
            revision: receiver.revision(),
            reason: Reason::Test,
            severity: Severity::Info,
            wakes: false,
            lane: Lane::Test(id).number(receiver.id),
        };
        self.working.changes.deliveries.push(delivery);
        Some(id)
    }

    /// One of the receivers of an incident cannot be reached: `to` is told in its place.
    pub(super) fn fall_back(
        &mut self,
        id: IncidentId,
        from: &str,
        to: &Arc<str>,
        now: Timestamp,
    ) -> ActionOutcome {
        let directory = self.directory;
        let stood_in = self
            .working
            .change_incident(id, |incident| incident.fall_back(from, to, directory, now));
        let told = match stood_in {
            Some(StoodIn::Told(told)) => told,
            Some(StoodIn::Known) | None => return ActionOutcome::Unchanged,
            Some(StoodIn::Later(why)) => return ActionOutcome::Conflict(why),
        };
        let severity = self.working.incident(id).map(|incident| incident.severity);
        self.notify(id, told, severity.unwrap_or(Severity::Critical), now);
        ActionOutcome::Changed
    }
}
