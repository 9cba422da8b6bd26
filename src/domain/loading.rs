//! What a batch looks at: what has to be loaded for it, and what was found.

use std::{collections::HashSet, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    alert::Alert,
    event::{Content, SentId, Severity},
    id::{AlertId, IncidentId, IntegrationId, RuleId, ServiceId},
    incident::Incident,
    key::DedupKey,
    key_state::KeyState,
    similarity::Templates,
    time::Timestamp,
};

/// What an incident is looked up by: its service, the grouping rule, the hash of the values.
pub type GroupHash = (ServiceId, RuleId, i64);

/// A key of an integration: what an alert is known by to its source.
pub type SourceKey = (IntegrationId, DedupKey);

/// The id that a sender of an integration gave a message.
pub type SourceId = (IntegrationId, SentId);

/// The `equal` values under an inhibition rule of a service, as a hash.
pub type InhibitionKey = (ServiceId, RuleId, i64);

/// What has to be loaded before a batch can be processed. [`super::pipeline::process`] says what
/// else it needs when it comes to look at more.
#[derive(Clone, Debug, Default)]
pub struct LoadKeys {
    /// The open alert of each key. Its incident too, unless nothing but triggers of this severity
    /// come and it has that severity already: repeats, which are most of all events, leave the
    /// incident alone.
    pub alert_keys: Vec<(IntegrationId, DedupKey, Option<Severity>)>,
    /// Of these keys, if none is open, also the newest alert: a trigger may rejoin its incident.
    /// With it comes the state of the key, which has changed by coming back.
    pub returning_keys: Vec<SourceKey>,
    /// The newest open incident under each of these.
    pub groups: Vec<GroupHash>,
    /// The same if no alert of the key is open: one is opened then, and grouped.
    pub groups_of_new: Vec<(SourceKey, GroupHash)>,
    pub alerts: Vec<AlertId>,
    /// With all their open alerts.
    pub incidents: Vec<IncidentId>,
    /// Without their alerts.
    pub bare_incidents: Vec<IncidentId>,
    pub services: Vec<ServiceId>,
    /// Alerts, incidents and keys whose timers are due by then, earliest first, at most this many
    /// of each.
    pub due: Option<(Timestamp, u32)>,
    /// Open alerts of a service, at most this many.
    pub open_of_service: Option<(ServiceId, u32)>,
    pub key_states: Vec<SourceKey>,
    pub inhibitors: Vec<InhibitionKey>,
    /// The same if no alert of the key is open.
    pub inhibitors_of_new: Vec<(SourceKey, InhibitionKey)>,
    /// Open alerts that are targets under these, at most [`TARGETS_MAX`] of each.
    pub targets: Vec<InhibitionKey>,
    /// What these alerts say.
    pub contents: Vec<AlertId>,
    /// The templates of similarity rules.
    pub templates: Vec<(ServiceId, RuleId)>,
    /// Which of these came before.
    pub sent_ids: Vec<SourceId>,
}

/// Most targets of an inhibition that one batch looks at; the rest are woken in the database.
pub const TARGETS_MAX: usize = 500;

impl LoadKeys {
    /// Asks for each thing once. Of a key that is asked for with different severities the incident
    /// is needed.
    pub fn dedup(&mut self) {
        fn once<T: Ord>(items: &mut Vec<T>) {
            items.sort_unstable();
            items.dedup();
        }
        self.alert_keys.sort_unstable();
        self.alert_keys.dedup_by(|later, kept| {
            let same = (later.0, &later.1) == (kept.0, &kept.1);
            if same && later.2 != kept.2 {
                kept.2 = None;
            }
            same
        });
        once(&mut self.returning_keys);
        once(&mut self.groups);
        once(&mut self.alerts);
        once(&mut self.incidents);
        once(&mut self.bare_incidents);
        once(&mut self.services);
        once(&mut self.key_states);
        once(&mut self.inhibitors);
        once(&mut self.targets);
        once(&mut self.contents);
        once(&mut self.templates);
        once(&mut self.sent_ids);
    }

    /// The groups to look up, once it is known which keys have an open alert.
    pub fn groups_unless(&self, is_open: impl Fn(&SourceKey) -> bool) -> Vec<GroupHash> {
        unless(&self.groups, &self.groups_of_new, is_open)
    }

    /// The same for the inhibitors.
    pub fn inhibitors_unless(&self, is_open: impl Fn(&SourceKey) -> bool) -> Vec<InhibitionKey> {
        unless(&self.inhibitors, &self.inhibitors_of_new, is_open)
    }

    pub fn is_empty(&self) -> bool {
        let Self {
            alert_keys,
            returning_keys,
            groups,
            groups_of_new,
            alerts,
            incidents,
            bare_incidents,
            services,
            due,
            open_of_service,
            key_states,
            inhibitors,
            inhibitors_of_new,
            targets,
            contents,
            templates,
            sent_ids,
        } = self;
        alert_keys.is_empty()
            && returning_keys.is_empty()
            && groups.is_empty()
            && groups_of_new.is_empty()
            && alerts.is_empty()
            && incidents.is_empty()
            && bare_incidents.is_empty()
            && services.is_empty()
            && due.is_none()
            && open_of_service.is_none()
            && key_states.is_empty()
            && inhibitors.is_empty()
            && inhibitors_of_new.is_empty()
            && targets.is_empty()
            && contents.is_empty()
            && templates.is_empty()
            && sent_ids.is_empty()
    }
}

fn unless<T: Copy + Ord>(
    always: &[T],
    of_new: &[(SourceKey, T)],
    is_open: impl Fn(&SourceKey) -> bool,
) -> Vec<T> {
    let new = of_new.iter().filter(|(key, _)| !is_open(key)).map(|(_, item)| *item);
    let mut all: Vec<T> = always.iter().copied().chain(new).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// What was found. Each alert that may change its incident comes with it.
#[derive(Debug, Default)]
pub struct Loaded {
    pub alerts: Vec<Alert>,
    pub incidents: Vec<Incident>,
    pub groups: Vec<(GroupHash, IncidentId)>,
    pub service_clocks: Vec<(ServiceId, Timestamp)>,
    /// More was due than [`LoadKeys::due`] allowed.
    pub more_due: bool,
    pub key_states: Vec<(SourceKey, KeyState)>,
    /// When those among them are due that are: as stored, for a changed policy moves it.
    pub due_keys: Vec<(SourceKey, Timestamp)>,
    pub inhibitors: Vec<(InhibitionKey, Inhibitor)>,
    pub targets: Vec<(InhibitionKey, Vec<AlertId>)>,
    pub contents: Vec<(AlertId, Arc<Content>)>,
    pub templates: Vec<((ServiceId, RuleId), Arc<Templates>)>,
    pub sent_ids: Vec<SourceId>,
    /// What was asked for. What is in it and not above does not exist.
    pub asked: Asked,
}

/// What was asked for besides what a batch always asks for.
#[derive(Debug, Default)]
pub struct Asked {
    pub alerts: HashSet<AlertId>,
    pub groups: HashSet<GroupHash>,
    pub incidents: HashSet<IncidentId>,
    /// With all their open alerts.
    pub whole: HashSet<IncidentId>,
    pub key_states: HashSet<SourceKey>,
    pub inhibitors: HashSet<InhibitionKey>,
    pub targets: HashSet<InhibitionKey>,
    pub contents: HashSet<AlertId>,
    pub templates: HashSet<(ServiceId, RuleId)>,
}

impl Loaded {
    /// Notes what was asked for to get this; `is_open` says which keys have an open alert.
    pub fn answers(&mut self, keys: &LoadKeys, is_open: impl Fn(&SourceKey) -> bool) {
        let asked = &mut self.asked;
        asked.alerts.extend(&keys.alerts);
        asked.groups.extend(keys.groups_unless(&is_open));
        asked.incidents.extend(keys.bare_incidents.iter().chain(&keys.incidents));
        asked.whole.extend(&keys.incidents);
        asked.key_states.extend(keys.key_states.iter().cloned());
        asked.inhibitors.extend(keys.inhibitors_unless(&is_open));
        asked.targets.extend(&keys.targets);
        asked.contents.extend(&keys.contents);
        asked.templates.extend(&keys.templates);
    }

    /// Adds what was loaded later in the same transaction.
    pub fn merge(&mut self, more: Self) {
        let Self {
            alerts,
            incidents,
            groups,
            service_clocks: _,
            more_due,
            key_states,
            due_keys,
            inhibitors,
            targets,
            contents,
            templates,
            sent_ids,
            asked,
        } = more;
        let known: HashSet<AlertId> = self.alerts.iter().map(|alert| alert.id).collect();
        self.alerts.extend(alerts.into_iter().filter(|alert| !known.contains(&alert.id)));
        let known: HashSet<IncidentId> = self.incidents.iter().map(|i| i.id).collect();
        self.incidents.extend(incidents.into_iter().filter(|i| !known.contains(&i.id)));
        self.groups.extend(groups);
        self.more_due |= more_due;
        self.key_states.extend(key_states);
        self.due_keys.extend(due_keys);
        self.inhibitors.extend(inhibitors);
        self.targets.extend(targets);
        self.contents.extend(contents);
        self.templates.extend(templates);
        self.sent_ids.extend(sent_ids);
        self.asked.alerts.extend(asked.alerts);
        self.asked.groups.extend(asked.groups);
        self.asked.incidents.extend(asked.incidents);
        self.asked.whole.extend(asked.whole);
        self.asked.key_states.extend(asked.key_states);
        self.asked.inhibitors.extend(asked.inhibitors);
        self.asked.targets.extend(asked.targets);
        self.asked.contents.extend(asked.contents);
        self.asked.templates.extend(asked.templates);
    }
}

/// The open sources under one [`InhibitionKey`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inhibitor {
    /// Open alerts that are sources only.
    pub plain: u32,
    /// Open alerts that are sources and targets at once: they inhibit no source.
    pub both: u32,
    /// When the last of each went.
    pub plain_ended: Option<Timestamp>,
    pub both_ended: Option<Timestamp>,
    /// The newest of each, a few.
    pub sources: Vec<AlertId>,
    pub both_sources: Vec<AlertId>,
}

impl Inhibitor {
    /// The newest that inhibits `target`, as far as they are known by name.
    pub fn newest_source(&self, target_is_source: bool, target: AlertId) -> Option<AlertId> {
        let both = if target_is_source { &[][..] } else { &self.both_sources };
        self.sources.iter().chain(both).copied().filter(|source| *source != target).max()
    }

    /// Since when there is no source, if there is none.
    pub fn idle_since(&self) -> Option<Timestamp> {
        if self.plain + self.both > 0 { None } else { self.plain_ended.max(self.both_ended) }
    }
}
