//! A store of maps: what the pipeline decides, kept in memory only.
//!
//! It answers the same questions as a database, so that a candidate policy can be run over stored
//! events without writing anything.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{
    alert::Alert,
    changes::Changes,
    event::Content,
    id::{AlertId, IncidentId, RuleId, ServiceId},
    incident::Incident,
    key_state::KeyState,
    loading::{
        Asked, GroupHash, InhibitionKey, Inhibitor, LoadKeys, Loaded, SourceId, SourceKey,
        TARGETS_MAX,
    },
    similarity::Templates,
    time::Timestamp,
};

/// Something with a timer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timed {
    Key(SourceKey),
    Alert(AlertId),
    Incident(IncidentId),
}

/// Everything that was decided so far.
#[derive(Debug, Default)]
pub struct Memory {
    alerts: HashMap<AlertId, Alert>,
    /// The newest alert of each key, open or not; generated keys have none once they are resolved.
    newest: HashMap<SourceKey, AlertId>,
    incidents: HashMap<IncidentId, Incident>,
    /// The open alerts of each incident.
    members: HashMap<IncidentId, BTreeSet<AlertId>>,
    groups: HashMap<GroupHash, IncidentId>,
    dues: BTreeSet<(Timestamp, Timed)>,
    clocks: BTreeMap<ServiceId, Timestamp>,
    contents: HashMap<AlertId, Arc<Content>>,
    key_states: HashMap<SourceKey, (KeyState, Option<Timestamp>)>,
    inhibitors: HashMap<InhibitionKey, Inhibitor>,
    targets: BTreeSet<(InhibitionKey, AlertId)>,
    templates: HashMap<(ServiceId, RuleId), Arc<Templates>>,
    sent_ids: HashSet<SourceId>,
}

impl Memory {
    /// What [`super::pipeline::process`] asks for.
    pub fn load(&self, keys: &LoadKeys) -> Loaded {
        let mut alerts: HashSet<AlertId> = HashSet::new();
        // Alerts whose incident is not needed: mere repeats.
        let mut repeats: HashSet<AlertId> = HashSet::new();
        let latest = keys.due.map(|(now, _)| now);
        for (integration, key, severity) in &keys.alert_keys {
            let found = self.newest.get(&(*integration, key.clone()));
            let Some(alert) = found.and_then(|id| self.alerts.get(id)) else { continue };
            if alert.is_open() {
                alerts.insert(alert.id);
                let is_due = alert.dues.earliest().is_some_and(|at| Some(at) <= latest);
                if *severity == Some(alert.severity) && !is_due {
                    repeats.insert(alert.id);
                }
            }
        }
        let mut key_states: HashSet<&SourceKey> = keys.key_states.iter().collect();
        for key in &keys.returning_keys {
            let newest = self.newest.get(key).and_then(|id| self.alerts.get(id));
            if let Some(alert) = newest.filter(|alert| !alert.is_open()) {
                alerts.insert(alert.id);
                key_states.insert(key);
            }
        }
        for id in keys.incidents.iter().filter_map(|id| self.members.get(id)).flatten() {
            alerts.insert(*id);
            repeats.remove(id);
        }
        for id in keys.alerts.iter().filter(|id| self.alerts.contains_key(id)) {
            alerts.insert(*id);
            repeats.remove(id);
        }
        let mut incidents: HashSet<IncidentId> =
            keys.incidents.iter().chain(&keys.bare_incidents).copied().collect();
        let mut due_keys: Vec<(SourceKey, Timestamp)> = Vec::new();
        let mut more_due = false;
        if let Some((now, most)) = keys.due {
            let due = self.dues.iter().take_while(|(at, _)| *at <= now);
            for (taken, (at, timed)) in due.enumerate() {
                if taken >= most as usize {
                    more_due = true;
                    break;
                }
                match timed {
                    Timed::Key(key) => {
                        key_states.insert(key);
                        due_keys.push((key.clone(), *at));
                        alerts.extend(self.newest.get(key));
                    }
                    Timed::Alert(id) => {
                        alerts.insert(*id);
                        repeats.remove(id);
                    }
                    Timed::Incident(id) => {
                        incidents.insert(*id);
                    }
                }
            }
        }
        let mut targets = Vec::new();
        for key in &keys.targets {
            let ids: Vec<AlertId> = self.targets_under(key).take(TARGETS_MAX).collect();
            for id in &ids {
                alerts.insert(*id);
                repeats.remove(id);
            }
            targets.push((*key, ids));
        }
        let is_open = |key: &SourceKey| {
            let newest = self.newest.get(key).and_then(|id| self.alerts.get(id));
            newest.is_some_and(Alert::is_open)
        };
        let groups: Vec<(GroupHash, IncidentId)> = keys
            .groups_unless(is_open)
            .into_iter()
            .filter_map(|key| Some((key, *self.groups.get(&key)?)))
            .collect();
        incidents.extend(groups.iter().map(|(_, id)| *id));
        let needing = alerts.iter().filter(|id| !repeats.contains(id));
        incidents.extend(needing.filter_map(|id| self.alerts.get(id)?.incident_id));
        let asked: Vec<SourceKey> = key_states.iter().map(|key| (*key).clone()).collect();
        let state = |key: &SourceKey| Some((key.clone(), self.key_states.get(key)?.0.clone()));
        let inhibitor = |key: &InhibitionKey| Some((*key, self.inhibitors.get(key)?.clone()));
        let content = |id: &AlertId| Some((*id, Arc::clone(self.contents.get(id)?)));
        let learned = |rule: &(ServiceId, RuleId)| {
            (*rule, self.templates.get(rule).cloned().unwrap_or_default())
        };
        let mut loaded = Loaded {
            alerts: alerts.iter().filter_map(|id| self.alerts.get(id).cloned()).collect(),
            incidents: incidents.iter().filter_map(|id| self.incidents.get(id).cloned()).collect(),
            groups,
            service_clocks: self.clocks.iter().map(|(id, now)| (*id, *now)).collect(),
            more_due,
            key_states: key_states.into_iter().filter_map(state).collect(),
            due_keys,
            inhibitors: keys.inhibitors_unless(is_open).iter().filter_map(inhibitor).collect(),
            targets,
            contents: keys.contents.iter().filter_map(content).collect(),
            templates: keys.templates.iter().map(learned).collect(),
            sent_ids: keys
                .sent_ids
                .iter()
                .filter(|id| self.sent_ids.contains(id))
                .copied()
                .collect(),
            asked: Asked::default(),
        };
        loaded.answers(keys, is_open);
        loaded.asked.key_states.extend(asked);
        loaded
    }

    /// Whether something has to take effect by `now`.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.dues.first().is_some_and(|(at, _)| *at <= now)
    }

    fn targets_under(&self, key: &InhibitionKey) -> impl Iterator<Item = AlertId> {
        let first = (*key, AlertId::from_uuid(uuid::Uuid::nil()));
        let key = *key;
        self.targets.range(first..).take_while(move |(k, _)| *k == key).map(|(_, id)| *id)
    }

    /// Keeps what was decided.
    pub fn save(&mut self, changes: &Changes) {
        let updated = changes.merged_alerts.iter().chain(&changes.updated_alerts);
        for alert in changes.new_alerts.iter().chain(updated) {
            self.save_alert(alert);
        }
        for incident in changes.new_incidents.iter().chain(&changes.updated_incidents) {
            self.save_incident(incident);
        }
        self.groups.extend(changes.groups.iter().copied());
        for key in &changes.closed_groups {
            self.groups.remove(key);
        }
        for (service, now) in &changes.service_clocks {
            self.clocks.insert(*service, *now);
        }
        for row in &changes.contents {
            if let Some(content) = row.input.content() {
                self.contents.insert(row.alert_id, Arc::new(content.clone()));
            }
        }
        for (key, _, state, due) in &changes.key_states {
            let before = self.key_states.insert(key.clone(), (state.clone(), *due));
            let before = before.and_then(|(_, due)| due);
            self.time(before, *due, || Timed::Key(key.clone()));
        }
        self.inhibitors.extend(changes.inhibitors.iter().cloned());
        for sides in &changes.sides {
            for key in sides.targets_before() {
                self.targets.remove(&(key, sides.alert_id));
            }
            self.targets.extend(sides.targets().map(|key| (key, sides.alert_id)));
        }
        for (key, at) in &changes.woken {
            let woken: Vec<AlertId> = self.targets_under(key).collect();
            for id in woken {
                let Some(mut alert) = self.alerts.get(&id).cloned() else { continue };
                let due = alert.dues.judge.map_or(*at, |due| due.min(*at));
                alert.dues.judge = Some(due);
                self.save_alert(&alert);
            }
        }
        for (rule, learned, _) in &changes.templates {
            self.templates.insert(*rule, Arc::clone(learned));
        }
        self.sent_ids.extend(changes.sent_ids.iter().map(|(id, _)| *id));
    }

    fn save_alert(&mut self, alert: &Alert) {
        let before = self.alerts.insert(alert.id, alert.clone());
        let due_of = |alert: &Alert| alert.dues.earliest().filter(|_| alert.is_open());
        let (was, is) = (before.as_ref().and_then(due_of), due_of(alert));
        self.time(was, is, || Timed::Alert(alert.id));
        let member_of = |alert: &Alert| alert.incident_id.filter(|_| alert.is_open());
        let (was, is) = (before.as_ref().and_then(member_of), member_of(alert));
        if was != is {
            if let Some(members) = was.and_then(|id| self.members.get_mut(&id)) {
                members.remove(&alert.id);
            }
            if let Some(id) = is {
                self.members.entry(id).or_default().insert(alert.id);
            }
        }
        let key = (alert.integration_id, alert.dedup_key.clone());
        if alert.is_open() || !alert.generated_key {
            let newest = self.newest.entry(key).or_insert(alert.id);
            *newest = (*newest).max(alert.id);
        } else {
            self.newest.remove(&key);
            self.contents.remove(&alert.id);
        }
    }

    fn save_incident(&mut self, incident: &Incident) {
        let before = self.incidents.insert(incident.id, incident.clone());
        let was = before.as_ref().and_then(|incident| incident.due);
        self.time(was, incident.due, || Timed::Incident(incident.id));
        if !incident.is_open() {
            self.members.remove(&incident.id);
        }
    }

    fn time(&mut self, was: Option<Timestamp>, is: Option<Timestamp>, what: impl Fn() -> Timed) {
        if was == is {
            return;
        }
        if let Some(was) = was {
            self.dues.remove(&(was, what()));
        }
        self.dues.extend(is.map(|is| (is, what())));
    }
}
