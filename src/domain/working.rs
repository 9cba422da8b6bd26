//! The working set: what a batch loaded, as the inputs before have left it.
//!
//! It only keeps state; what to do with it is the pipeline's.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use super::{
    alert::Alert,
    changes::{Changes, GroupHash, HourlyCount, Loaded, TimelineEntry, TimelineKind},
    id::{AlertId, Ids, IncidentId, IntegrationId, RuleId, ServiceId},
    incident::Incident,
    key::DedupKey,
    routing::Directory,
    service::Timers,
    time::Timestamp,
};

/// A loaded or new thing, and how it was before the batch.
#[derive(Debug)]
struct Slot<T> {
    value: T,
    /// `None`: it is new.
    before: Option<T>,
    touched: bool,
}

/// Something whose timer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Alert(AlertId),
    Incident(IncidentId),
}

/// State of one batch.
#[derive(Debug)]
pub(super) struct Working<'d> {
    directory: &'d Directory,
    /// Bounds of the timers of everything that is open here, earliest first. Entries of what has
    /// changed since stay in it and are passed over.
    due: BinaryHeap<Reverse<(Timestamp, Due)>>,
    alerts: HashMap<AlertId, Slot<Alert>>,
    touched_alerts: Vec<AlertId>,
    incidents: HashMap<IncidentId, Slot<Incident>>,
    touched_incidents: Vec<IncidentId>,
    open_keys: HashMap<IntegrationId, HashMap<DedupKey, AlertId>>,
    /// The newest alert of keys that have none open.
    returning: HashMap<IntegrationId, HashMap<DedupKey, AlertId>>,
    groups: HashMap<GroupHash, IncidentId>,
    touched_groups: Vec<GroupHash>,
    clocks: HashMap<ServiceId, (Timestamp, bool)>,
    counts: Vec<HourlyCount>,
    pub(super) changes: Changes,
}

impl<'d> Working<'d> {
    pub(super) fn new(loaded: Loaded, directory: &'d Directory) -> Self {
        let mut working = Self {
            directory,
            due: BinaryHeap::new(),
            alerts: HashMap::new(),
            touched_alerts: Vec::new(),
            incidents: HashMap::new(),
            touched_incidents: Vec::new(),
            open_keys: HashMap::new(),
            returning: HashMap::new(),
            groups: HashMap::new(),
            touched_groups: Vec::new(),
            clocks: HashMap::new(),
            counts: Vec::new(),
            changes: Changes::default(),
        };
        for alert in loaded.alerts {
            working.index(&alert);
            working.watch_alert(&alert);
            let slot = Slot { before: Some(alert.clone()), value: alert, touched: false };
            working.alerts.insert(slot.value.id, slot);
        }
        for incident in loaded.incidents {
            working.watch_incident(&incident);
            let slot = Slot { before: Some(incident.clone()), value: incident, touched: false };
            working.incidents.insert(slot.value.id, slot);
        }
        working.groups = loaded.groups.into_iter().collect();
        working.clocks =
            loaded.service_clocks.into_iter().map(|(id, now)| (id, (now, false))).collect();
        working
    }

    fn index(&mut self, alert: &Alert) {
        let key = alert.dedup_key.clone();
        if alert.is_open() {
            if let Some(keys) = self.returning.get_mut(&alert.integration_id) {
                keys.remove(&key);
            }
            self.open_keys.entry(alert.integration_id).or_default().insert(key, alert.id);
        } else {
            if let Some(keys) = self.open_keys.get_mut(&alert.integration_id)
                && keys.get(&key) == Some(&alert.id)
            {
                keys.remove(&key);
            }
            let newest = self.returning.entry(alert.integration_id).or_default();
            let entry = newest.entry(key).or_insert(alert.id);
            *entry = (*entry).max(alert.id);
        }
    }

    fn watch_alert(&mut self, alert: &Alert) {
        if alert.is_open() {
            let bounds = [alert.dues.auto_resolve, alert.dues.ack_timeout];
            let due = Due::Alert(alert.id);
            self.due.extend(bounds.into_iter().flatten().min().map(|at| Reverse((at, due))));
        }
    }

    fn watch_incident(&mut self, incident: &Incident) {
        let due = Due::Incident(incident.id);
        self.due.extend(incident.ack_timeout_due.map(|at| Reverse((at, due))));
    }

    /// Takes out the earliest bound that is reached by `now`.
    pub(super) fn next_due(&mut self, now: Timestamp) -> Option<(Timestamp, Due)> {
        let Reverse((at, _)) = self.due.peek()?;
        if *at > now {
            return None;
        }
        self.due.pop().map(|Reverse(earliest)| earliest)
    }

    /// The time at which an input of a service is judged: never before an earlier one's.
    pub(super) fn clock(&mut self, service: ServiceId, received_at: Timestamp) -> Timestamp {
        let (now, moved) = self.clocks.entry(service).or_insert((received_at, true));
        if received_at > *now {
            (*now, *moved) = (received_at, true);
        }
        *now
    }

    pub(super) fn open_alert(&self, integration: IntegrationId, key: &DedupKey) -> Option<&Alert> {
        let id = self.open_keys.get(&integration)?.get(key)?;
        self.alert(*id)
    }

    /// The newest alert of a key that has none open, as far as it was loaded.
    pub(super) fn newest_alert(
        &self,
        integration: IntegrationId,
        key: &DedupKey,
    ) -> Option<&Alert> {
        let id = self.returning.get(&integration)?.get(key)?;
        self.alert(*id)
    }

    pub(super) fn alert(&self, id: AlertId) -> Option<&Alert> {
        self.alerts.get(&id).map(|slot| &slot.value)
    }

    pub(super) fn alert_ids(&self) -> Vec<AlertId> {
        let mut ids: Vec<_> = self.alerts.keys().copied().collect();
        ids.sort();
        ids
    }

    pub(super) fn incident(&self, id: IncidentId) -> Option<&Incident> {
        self.incidents.get(&id).map(|slot| &slot.value)
    }

    /// The newest open incident that may be joined under a hash.
    pub(super) fn group(&self, service: ServiceId, rule: RuleId, hash: i64) -> Option<&Incident> {
        let id = self.groups.get(&(service, rule, hash))?;
        self.incident(*id).filter(|incident| incident.is_open())
    }

    pub(super) fn insert_alert(&mut self, mut alert: Alert) {
        alert.arm(&timers_of(self.directory, alert.service_id));
        self.watch_alert(&alert);
        self.index(&alert);
        self.touched_alerts.push(alert.id);
        self.alerts.insert(alert.id, Slot { value: alert, before: None, touched: true });
    }

    pub(super) fn insert_incident(&mut self, incident: Incident) {
        if let Some(group) = &incident.group {
            for hash in &group.hashes {
                let key = (incident.service_id, group.rule, *hash);
                self.groups.insert(key, incident.id);
                self.touched_groups.push(key);
            }
        }
        self.touched_incidents.push(incident.id);
        let slot = Slot { value: incident, before: None, touched: true };
        self.incidents.insert(slot.value.id, slot);
    }

    /// Changes an alert; `None` if it was not loaded.
    pub(super) fn change_alert<R>(
        &mut self,
        id: AlertId,
        change: impl FnOnce(&mut Alert) -> R,
    ) -> Option<R> {
        let slot = self.alerts.get_mut(&id)?;
        let (was_open, dues) = (slot.value.is_open(), slot.value.dues);
        let result = change(&mut slot.value);
        slot.value.arm(&timers_of(self.directory, slot.value.service_id));
        if !slot.touched {
            slot.touched = true;
            self.touched_alerts.push(id);
        }
        if was_open != slot.value.is_open() || dues != slot.value.dues {
            let alert = slot.value.clone();
            self.index(&alert);
            self.watch_alert(&alert);
        }
        Some(result)
    }

    /// Changes an incident; `None` if it was not loaded.
    pub(super) fn change_incident<R>(
        &mut self,
        id: IncidentId,
        change: impl FnOnce(&mut Incident) -> R,
    ) -> Option<R> {
        let slot = self.incidents.get_mut(&id)?;
        let due = slot.value.ack_timeout_due;
        let result = change(&mut slot.value);
        let timers = timers_of(self.directory, slot.value.service_id);
        slot.value.ack_timeout_due = slot.value.ack_timeout_due(&timers);
        if !slot.touched {
            slot.touched = true;
            self.touched_incidents.push(id);
        }
        if due != slot.value.ack_timeout_due {
            let incident = slot.value.clone();
            self.watch_incident(&incident);
        }
        Some(result)
    }

    #[expect(clippy::too_many_arguments, reason = "a row of a timeline has these columns")]
    pub(super) fn tell(
        &mut self,
        ids: &mut Ids,
        at: Timestamp,
        alert_id: Option<AlertId>,
        incident_id: Option<IncidentId>,
        kind: TimelineKind,
        actor: &str,
        reason: impl Into<String>,
    ) {
        let id = ids.timeline(at);
        let (actor, reason) = (actor.to_owned(), reason.into());
        self.changes.timeline.push(TimelineEntry {
            id,
            at,
            alert_id,
            incident_id,
            kind,
            actor,
            reason,
        });
    }

    /// The counters of a service's hour.
    pub(super) fn count(&mut self, service_id: ServiceId, now: Timestamp) -> &mut HourlyCount {
        let hour = now.as_millis() / 3_600_000;
        let found = self.counts.iter().position(|c| c.service_id == service_id && c.hour == hour);
        let at = found.unwrap_or_else(|| {
            self.counts.push(HourlyCount {
                service_id,
                hour,
                events: 0,
                alerts: 0,
                incidents: 0,
                resolved_alerts: 0,
            });
            self.counts.len() - 1
        });
        &mut self.counts[at]
    }

    /// What is to be written, in the order in which things were first touched.
    pub(super) fn into_changes(mut self) -> Changes {
        self.touched_groups.sort();
        self.touched_groups.dedup();
        for key in std::mem::take(&mut self.touched_groups) {
            let (service, rule, hash) = key;
            match self.group(service, rule, hash).map(|incident| incident.id) {
                Some(id) => self.changes.groups.push((key, id)),
                None => self.changes.closed_groups.push(key),
            }
        }
        let Self {
            mut alerts,
            touched_alerts,
            mut incidents,
            touched_incidents,
            clocks,
            counts,
            mut changes,
            ..
        } = self;
        for id in touched_alerts {
            let Some(Slot { value: alert, before, .. }) = alerts.remove(&id) else { continue };
            let service = alert.service_id;
            if let Some(before) = before.as_ref().filter(|before| before.is_open()) {
                add(&mut changes.open_alerts, (service, before.severity), -1);
            }
            if alert.is_open() {
                add(&mut changes.open_alerts, (service, alert.severity), 1);
            }
            match before {
                None => changes.new_alerts.push(alert),
                Some(before) if before == alert => {}
                Some(before) if indexed(&before) == indexed(&alert) => {
                    changes.merged_alerts.push(alert);
                }
                Some(_) => changes.updated_alerts.push(alert),
            }
        }
        for id in touched_incidents {
            let Some(Slot { value: incident, before, .. }) = incidents.remove(&id) else {
                continue;
            };
            let service = incident.service_id;
            if let Some(before) = before.as_ref().filter(|before| before.is_open()) {
                add(&mut changes.open_incidents, (service, before.status), -1);
            }
            if incident.is_open() {
                add(&mut changes.open_incidents, (service, incident.status), 1);
            }
            match before {
                None => changes.new_incidents.push(incident),
                Some(before) if before == incident => {}
                Some(_) => changes.updated_incidents.push(incident),
            }
        }
        changes.service_clocks = clocks
            .into_iter()
            .filter_map(|(id, (now, moved))| moved.then_some((id, now)))
            .collect();
        changes.service_clocks.sort();
        changes.counts = counts;
        changes
    }
}

/// Adds to the number of a service and label.
fn add<L: PartialEq>(
    numbers: &mut Vec<(ServiceId, L, i64)>,
    (service, label): (ServiceId, L),
    by: i64,
) {
    match numbers.iter_mut().find(|(s, l, _)| *s == service && *l == label) {
        Some((_, _, number)) => *number += by,
        None => numbers.push((service, label, by)),
    }
}

/// The columns of an alert that indexes and rare updates look at.
fn indexed(alert: &Alert) -> impl PartialEq + use<> {
    (alert.status, alert.acknowledged_at, alert.resolved_at, alert.incident_id, alert.dues)
}

/// A service that is gone has no timers: nothing of its closed past happens by itself.
pub(super) fn timers_of(directory: &Directory, service: ServiceId) -> Timers {
    directory.service(service).map(|service| service.policy.timers).unwrap_or_default()
}
