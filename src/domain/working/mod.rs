//! The working set: what a batch loaded, as the inputs before have left it.
//!
//! It only keeps state; what to do with it is the pipeline's. Whatever is looked up here and was
//! not loaded is noted as missing: the batch is then loaded further and processed from the start.

mod outcome;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet},
    sync::Arc,
};

use super::{
    alert::Alert,
    changes::{Changes, EventInput, HourlyCount, NewContent, TimelineEntry, TimelineKind},
    event::{Content, SentId},
    id::{AlertId, Ids, IncidentId, IntegrationId, RuleId, ServiceId},
    incident::Incident,
    key::DedupKey,
    key_state::KeyState,
    loading::{GroupHash, InhibitionKey, Inhibitor, LoadKeys, Loaded, SourceId, SourceKey},
    routing::Directory,
    service::Timers,
    similarity::Templates,
    standing::NewSides,
    time::Timestamp,
};

/// A loaded or new thing, and how it was before the batch.
#[derive(Debug)]
struct Slot<'l, T> {
    value: T,
    /// `None`: it is new.
    before: Option<&'l T>,
    touched: bool,
}

/// Something whose timer is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Key(SourceKey),
    Alert(AlertId),
    Incident(IncidentId),
}

/// State of one batch.
#[derive(Debug)]
pub(super) struct Working<'l> {
    directory: &'l Directory,
    loaded: &'l Loaded,
    missing: LoadKeys,
    /// Bounds of the timers of everything that is open here, earliest first. Entries of what has
    /// changed since stay in it and are passed over.
    due: BinaryHeap<Reverse<(Timestamp, Due)>>,
    alerts: HashMap<AlertId, Slot<'l, Alert>>,
    touched_alerts: Vec<AlertId>,
    incidents: HashMap<IncidentId, Slot<'l, Incident>>,
    touched_incidents: Vec<IncidentId>,
    open_keys: HashMap<IntegrationId, HashMap<DedupKey, AlertId>>,
    /// The newest alert of keys that have none open.
    returning: HashMap<IntegrationId, HashMap<DedupKey, AlertId>>,
    /// The incident that was the newest under a hash. It still is if it has that hash.
    groups: HashMap<GroupHash, IncidentId>,
    touched_groups: BTreeSet<GroupHash>,
    clocks: HashMap<ServiceId, (Timestamp, bool)>,
    counts: Vec<HourlyCount>,
    key_states: HashMap<SourceKey, KeyState>,
    touched_keys: BTreeMap<SourceKey, ServiceId>,
    inhibitors: HashMap<InhibitionKey, Inhibitor>,
    touched_inhibitors: BTreeSet<InhibitionKey>,
    targets: HashMap<InhibitionKey, BTreeSet<AlertId>>,
    /// What alerts say since an input of this batch.
    said: HashMap<AlertId, Arc<EventInput>>,
    templates: HashMap<(ServiceId, RuleId), Arc<Templates>>,
    touched_templates: BTreeSet<(ServiceId, RuleId)>,
    /// Ids of messages that came before, in this batch or an earlier one.
    sent_ids: HashSet<SourceId>,
    /// The latest time at which something took effect by itself.
    settled: Timestamp,
    pub(super) changes: Changes,
}

impl<'l> Working<'l> {
    pub(super) fn new(loaded: &'l Loaded, directory: &'l Directory) -> Self {
        let mut working = Self {
            directory,
            loaded,
            missing: LoadKeys::default(),
            due: BinaryHeap::new(),
            alerts: HashMap::new(),
            touched_alerts: Vec::new(),
            incidents: HashMap::new(),
            touched_incidents: Vec::new(),
            open_keys: HashMap::new(),
            returning: HashMap::new(),
            groups: loaded.groups.iter().copied().collect(),
            touched_groups: BTreeSet::new(),
            clocks: loaded.service_clocks.iter().map(|(id, now)| (*id, (*now, false))).collect(),
            counts: Vec::new(),
            key_states: loaded.key_states.iter().cloned().collect(),
            touched_keys: BTreeMap::new(),
            inhibitors: loaded.inhibitors.iter().cloned().collect(),
            touched_inhibitors: BTreeSet::new(),
            targets: HashMap::new(),
            said: HashMap::new(),
            templates: loaded
                .templates
                .iter()
                .map(|(rule, templates)| (*rule, Arc::clone(templates)))
                .collect(),
            touched_templates: BTreeSet::new(),
            sent_ids: loaded.sent_ids.iter().copied().collect(),
            settled: Timestamp::from_millis(i64::MIN),
            changes: Changes::default(),
        };
        for alert in &loaded.alerts {
            working.index(alert);
            working.watch_alert(alert);
            let slot = Slot { value: alert.clone(), before: Some(alert), touched: false };
            working.alerts.insert(alert.id, slot);
        }
        for incident in &loaded.incidents {
            working.watch_incident(incident);
            let slot = Slot { value: incident.clone(), before: Some(incident), touched: false };
            working.incidents.insert(incident.id, slot);
        }
        for (key, ids) in &loaded.targets {
            working.targets.entry(*key).or_default().extend(ids);
        }
        for (key, at) in &loaded.due_keys {
            working.due.push(Reverse((*at, Due::Key(key.clone()))));
        }
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
            let due = Due::Alert(alert.id);
            self.due.extend(alert.dues.earliest().map(|at| Reverse((at, due))));
        }
    }

    fn watch_incident(&mut self, incident: &Incident) {
        let due = Due::Incident(incident.id);
        self.due.extend(incident.due.map(|at| Reverse((at, due))));
    }

    fn watch_key(&mut self, key: &SourceKey, state: &KeyState) {
        let due = state.due(self.flapping_of(key));
        self.due.extend(due.map(|at| Reverse((at, Due::Key(key.clone())))));
    }

    /// What has just fired stays watched.
    pub(super) fn watch_again(&mut self, due: &Due) {
        let next = match due {
            Due::Alert(id) => self
                .alerts
                .get(id)
                .map(|slot| &slot.value)
                .and_then(|alert| alert.is_open().then(|| alert.dues.earliest()).flatten()),
            Due::Incident(id) => self.incidents.get(id).and_then(|slot| slot.value.due),
            // Its state is watched whenever it is set.
            Due::Key(_) => None,
        };
        self.due.extend(next.map(|at| Reverse((at, due.clone()))));
    }

    /// Takes out the earliest bound that is reached by `now`. Time does not go back: what a changed
    /// policy says was due before the change is due when that is noticed.
    pub(super) fn next_due(&mut self, now: Timestamp) -> Option<(Timestamp, Due)> {
        let Reverse((at, _)) = self.due.peek()?;
        if *at > now {
            return None;
        }
        let Reverse((at, due)) = self.due.pop()?;
        self.settled = self.settled.max(at);
        Some((self.settled, due))
    }

    /// The time at which an input of a service is judged: never before an earlier one's.
    pub(super) fn clock(&mut self, service: ServiceId, received_at: Timestamp) -> Timestamp {
        let (now, moved) = self.clocks.entry(service).or_insert((received_at, true));
        if received_at > *now {
            (*now, *moved) = (received_at, true);
        }
        *now
    }

    /// Whether a message with this id came to the integration before; now one has.
    pub(super) fn came_before(
        &mut self,
        integration: IntegrationId,
        id: Option<SentId>,
        now: Timestamp,
    ) -> bool {
        let Some(key) = id.map(|id| (integration, id)) else { return false };
        let is_new = self.sent_ids.insert(key);
        if is_new {
            self.changes.sent_ids.push((key, now));
        }
        !is_new
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

    /// The incident, if there is one; asks for it if it was not loaded.
    pub(super) fn incident(&mut self, id: IncidentId) -> Option<&Incident> {
        if !self.incidents.contains_key(&id) && !self.loaded.asked.incidents.contains(&id) {
            self.missing.bare_incidents.push(id);
        }
        self.incidents.get(&id).map(|slot| &slot.value)
    }

    /// Asks for all open alerts of an incident, if they were not loaded.
    pub(super) fn ask_for_open_alerts(&mut self, id: IncidentId) {
        let is_asked = self.loaded.asked.whole.contains(&id);
        self.missing.incidents.extend((!is_asked).then_some(id));
    }

    /// Asks for an alert, if it was not loaded.
    pub(super) fn ask_for_alert(&mut self, id: AlertId) {
        if !self.alerts.contains_key(&id) && !self.loaded.asked.alerts.contains(&id) {
            self.missing.alerts.push(id);
        }
    }

    /// The newest open incident that may be joined under a hash.
    pub(super) fn group(&mut self, key: GroupHash) -> Option<&Incident> {
        let Some(id) = self.groups.get(&key).copied() else {
            if !self.loaded.asked.groups.contains(&key) {
                self.missing.groups.push(key);
            }
            return None;
        };
        self.incident(id).filter(|incident| incident.is_found_under(key))
    }

    pub(super) fn key_state(&mut self, key: &SourceKey) -> KeyState {
        if !self.key_states.contains_key(key) && !self.loaded.asked.key_states.contains(key) {
            self.missing.key_states.push(key.clone());
        }
        self.key_states.get(key).cloned().unwrap_or_default()
    }

    pub(super) fn set_key_state(&mut self, key: &SourceKey, service: ServiceId, state: KeyState) {
        self.touched_keys.insert(key.clone(), service);
        self.watch_key(key, &state);
        self.key_states.insert(key.clone(), state);
    }

    /// The flapping settings that hold for a key: those of the service it was last heard of in.
    fn flapping_of(&self, (integration, key): &SourceKey) -> &'l super::settings::Flapping {
        let alert = self
            .open_alert(*integration, key)
            .or_else(|| self.newest_alert(*integration, key))
            .map(|alert| alert.service_id);
        let service = alert.or_else(|| Some(self.directory.integration(*integration)?.service_id));
        let policy = service.and_then(|id| self.directory.service(id));
        policy.map_or(&super::settings::Flapping::OFF, |service| &service.policy.flapping)
    }

    pub(super) fn inhibitor(&mut self, key: InhibitionKey) -> Inhibitor {
        if !self.inhibitors.contains_key(&key) && !self.loaded.asked.inhibitors.contains(&key) {
            self.missing.inhibitors.push(key);
        }
        self.inhibitors.get(&key).cloned().unwrap_or_default()
    }

    pub(super) fn set_inhibitor(&mut self, key: InhibitionKey, inhibitor: Inhibitor) {
        self.touched_inhibitors.insert(key);
        self.inhibitors.insert(key, inhibitor);
    }

    /// The open alerts that are targets under `key`, as far as they are here; and whether there
    /// may be more.
    pub(super) fn targets(&mut self, key: InhibitionKey) -> (Vec<AlertId>, bool) {
        if !self.loaded.asked.targets.contains(&key) {
            self.missing.targets.push(key);
        }
        let loaded = self.loaded.targets.iter().find(|(k, _)| *k == key);
        let more = loaded.is_some_and(|(_, ids)| ids.len() >= super::loading::TARGETS_MAX);
        let ids = self.targets.get(&key).map(|ids| ids.iter().copied().collect());
        (ids.unwrap_or_default(), more)
    }

    /// The part an alert has in inhibition rules has changed.
    pub(super) fn set_sides(&mut self, alert: &Alert, before: &[super::standing::Side]) {
        let now = alert.standing.matches.sides.as_slice();
        let now = if alert.is_open() { now } else { &[] };
        for side in before.iter().filter(|side| side.target) {
            let key = (alert.service_id, side.rule, side.hash);
            if let Some(ids) = self.targets.get_mut(&key) {
                ids.remove(&alert.id);
            }
        }
        for side in now.iter().filter(|side| side.target) {
            let key = (alert.service_id, side.rule, side.hash);
            self.targets.entry(key).or_default().insert(alert.id);
        }
        self.changes.sides.retain(|sides| sides.alert_id != alert.id);
        let (alert_id, service_id, sides) = (alert.id, alert.service_id, now.to_vec());
        let stored = self.alerts.get(&alert_id).and_then(|slot| slot.before);
        let stored = stored.filter(|alert| alert.is_open());
        let before = stored.map(|alert| alert.standing.matches.sides.clone()).unwrap_or_default();
        self.changes.sides.push(NewSides { alert_id, service_id, sides, before });
    }

    /// An alert says something else from now on.
    pub(super) fn say(&mut self, row: NewContent) {
        self.said.insert(row.alert_id, Arc::clone(&row.input));
        self.changes.contents.push(row);
    }

    /// What an alert says, if it is known here.
    pub(super) fn content(&mut self, id: AlertId) -> Option<Arc<Content>> {
        if let Some(input) = self.said.get(&id) {
            return input.content().cloned().map(Arc::new);
        }
        let found = self.loaded.contents.iter().find(|(known, _)| *known == id);
        if found.is_none() && !self.loaded.asked.contents.contains(&id) {
            self.missing.contents.push(id);
        }
        found.map(|(_, content)| Arc::clone(content))
    }

    /// The templates of a similarity rule, to be learned into.
    pub(super) fn templates(&mut self, rule: (ServiceId, RuleId)) -> &mut Templates {
        if !self.templates.contains_key(&rule) && !self.loaded.asked.templates.contains(&rule) {
            self.missing.templates.push(rule);
        }
        self.touched_templates.insert(rule);
        Arc::make_mut(self.templates.entry(rule).or_default())
    }

    pub(super) fn insert_alert(&mut self, mut alert: Alert) {
        alert.arm(&timers_of(self.directory, alert.service_id));
        self.watch_alert(&alert);
        self.index(&alert);
        self.touched_alerts.push(alert.id);
        self.alerts.insert(alert.id, Slot { value: alert, before: None, touched: true });
    }

    pub(super) fn insert_incident(&mut self, incident: Incident) {
        self.file(&incident);
        self.touched_incidents.push(incident.id);
        let slot = Slot { value: incident, before: None, touched: true };
        self.incidents.insert(slot.value.id, slot);
    }

    /// From now on an incident is found under its group's hashes, and none before it is.
    pub(super) fn file(&mut self, incident: &Incident) {
        for key in incident.found_under().collect::<Vec<_>>() {
            let other = self.group(key).map(|other| other.id).filter(|id| *id != incident.id);
            if let Some(other) = other {
                self.change_incident(other, |other| other.unfile(key));
            }
            self.groups.insert(key, incident.id);
            self.touched_groups.insert(key);
        }
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
        self.incident(id)?;
        let slot = self.incidents.get_mut(&id)?;
        let (due, was_open) = (slot.value.due, slot.value.is_open());
        let result = change(&mut slot.value);
        if was_open && !slot.value.is_open() {
            for key in slot.value.found_under() {
                self.groups.insert(key, id);
                self.touched_groups.insert(key);
            }
            slot.value.unfile_all();
        }
        let timers = timers_of(self.directory, slot.value.service_id);
        slot.value.due = slot.value.next_due(&timers);
        if !slot.touched {
            slot.touched = true;
            self.touched_incidents.push(id);
        }
        if due != slot.value.due {
            let next = slot.value.due;
            self.due.extend(next.map(|at| Reverse((at, Due::Incident(id)))));
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
            self.counts.push(HourlyCount::new(service_id, hour));
            self.counts.len() - 1
        });
        &mut self.counts[at]
    }
}

/// A service that is gone has no timers: nothing of its closed past happens by itself.
pub(super) fn timers_of(directory: &Directory, service: ServiceId) -> Timers {
    let timers = directory.service(service).map(|service| service.policy.timers);
    Timers { gap: directory.gap, ..timers.unwrap_or_default() }
}
