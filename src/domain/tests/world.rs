//! A store of maps: the simplest thing that keeps what the pipeline decides.
//!
//! It loads exactly what [`LoadKeys`] asks for, like a database, so a pipeline that looks at more
//! than it asked for is caught here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::domain::{
    alert::Alert,
    changes::{Changes, EventInput, HourlyCount, Input, NewNotification, Outcome, TimelineEntry},
    delivery::NewDelivery,
    event::{
        Action, Api, Content, Disposition, Event, Intent, SentId, SentTime, Severity, StoredBody,
    },
    id::{AlertId, EventId, Ids, IncidentId, IntegrationId, RuleId, Sequences, ServiceId},
    incident::Incident,
    key::DedupKey,
    key_state::KeyState,
    loading::{
        Asked, InhibitionKey, Inhibitor, LoadKeys, Loaded, SourceId, SourceKey, TARGETS_MAX,
    },
    pipeline,
    routing::Directory,
    service::{Integration, IntegrationType, Service, ServicePolicy},
    similarity::Templates,
    time::Timestamp,
};

/// Everything that was ever decided.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct State {
    pub(crate) alerts: BTreeMap<AlertId, Alert>,
    pub(crate) incidents: BTreeMap<IncidentId, Incident>,
    pub(crate) timeline: Vec<TimelineEntry>,
    /// Event, its alert, what became of it, its trace.
    pub(crate) events: Vec<(EventId, Option<AlertId>, Disposition, String)>,
    pub(crate) counts: BTreeMap<(ServiceId, i64), [u32; 4]>,
    groups: BTreeMap<(ServiceId, RuleId, i64), IncidentId>,
    clocks: BTreeMap<ServiceId, Timestamp>,
    contents: BTreeMap<AlertId, Arc<Content>>,
    pub(crate) key_states: BTreeMap<SourceKey, (KeyState, Option<Timestamp>)>,
    pub(crate) inhibitors: BTreeMap<InhibitionKey, Inhibitor>,
    targets: BTreeSet<(InhibitionKey, AlertId)>,
    templates: BTreeMap<(ServiceId, RuleId), Arc<Templates>>,
    pub(crate) notifications: Vec<NewNotification>,
    pub(crate) sent_ids: BTreeMap<SourceId, Timestamp>,
    pub(crate) deliveries: Vec<NewDelivery>,
}

/// A gateway without disk, network or clock.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) directory: Directory,
    pub(crate) integration: Arc<Integration>,
    pub(crate) ids: Ids,
}

impl World {
    /// One service with this policy (its JSON members) and one integration.
    pub(crate) fn new(policy: &serde_json::Value) -> Self {
        let mut parsed = ServicePolicy::default();
        let mut errors = Vec::new();
        let mut rules = 0;
        let mut rule_id = || {
            rules += 1;
            RuleId::new(Timestamp::default(), rules, 0)
        };
        for (name, value) in policy.as_object().unwrap() {
            parsed.read_member(name, value, &mut rule_id, &mut errors);
        }
        assert_eq!(errors, [], "the policy of the test");
        let service = Service {
            id: ServiceId::new(Timestamp::default(), 1, 0),
            name: "default".to_owned(),
            description: String::new(),
            policy: parsed,
            managed: false,
            version: 1,
            created_at: Timestamp::default(),
        };
        let integration = Integration {
            id: IntegrationId::new(Timestamp::default(), 1, 0),
            name: "default".to_owned(),
            service_id: service.id,
            kind: IntegrationType::PagerDuty,
            shared: false,
            key_hint: String::new(),
            managed: false,
            version: 1,
            created_at: Timestamp::default(),
        };
        let directory =
            Directory::new(1, vec![service], vec![integration.clone()], Vec::new(), Vec::new());
        Self {
            state: State::default(),
            directory,
            integration: Arc::new(integration),
            ids: Ids::new(Sequences::default(), [1; 32]),
        }
    }

    /// An event as it comes out of a handler.
    pub(crate) fn event(&self, at: i64, key: Option<&str>, what: What) -> Input {
        let dedup_key = key.map(|key| DedupKey::parse(key).unwrap());
        let intent = match what {
            What::Trigger { severity, class } => Intent::Trigger {
                dedup_key,
                content: Box::new(content(key.unwrap_or("none"), severity, class)),
            },
            What::WithId { informs, class, .. } => {
                let severity = if informs { Severity::Info } else { Severity::Error };
                let content = Box::new(content(key.unwrap_or("none"), severity, class));
                Intent::Trigger { dedup_key, content }
            }
            What::Acknowledge => Intent::Acknowledge { dedup_key: dedup_key.unwrap() },
            What::Resolve => Intent::Resolve { dedup_key: dedup_key.unwrap() },
        };
        let mut event = Event::new(Api::V2, intent, SentTime::default());
        if let What::WithId { id, informs, .. } = what {
            event.sent_id = Some(SentId::of(&id.to_string()));
            event.informs = informs;
        }
        self.event_input(&self.integration, Timestamp::from_millis(at), event)
    }

    /// The same of any integration and with any content.
    pub(crate) fn input(
        &self,
        integration: &Arc<Integration>,
        received_at: Timestamp,
        intent: Intent,
    ) -> Input {
        let event = Event::new(Api::V2, intent, SentTime::default());
        self.event_input(integration, received_at, event)
    }

    pub(crate) fn event_input(
        &self,
        integration: &Arc<Integration>,
        received_at: Timestamp,
        event: Event,
    ) -> Input {
        let prepared = pipeline::prepare(&event, integration, &self.directory);
        Input::Event(Arc::new(EventInput {
            integration: Arc::clone(integration),
            received_at,
            event,
            body: StoredBody { text: "{}".to_owned(), details: None },
            prepared,
        }))
    }

    /// One batch.
    pub(crate) fn batch(&mut self, inputs: &[Input]) -> Vec<Outcome> {
        let (changes, outcomes) =
            pipeline::run(inputs, &self.directory, &mut self.ids, |keys| self.state.load(keys));
        self.state.save(&changes);
        outcomes
    }
}

/// What an event of a test wants.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    Trigger {
        severity: Severity,
        class: &'static str,
    },
    /// A trigger with an id of its sender's, of an error or one that only informs.
    WithId {
        id: u8,
        informs: bool,
        class: &'static str,
    },
    Acknowledge,
    Resolve,
}

impl What {
    pub(crate) fn action(self) -> Action {
        match self {
            Self::Trigger { .. } | Self::WithId { .. } => Action::Trigger,
            Self::Acknowledge => Action::Acknowledge,
            Self::Resolve => Action::Resolve,
        }
    }
}

fn content(key: &str, severity: Severity, class: &str) -> Content {
    Content {
        summary: format!("{key} is {severity}"),
        source: Some("host".to_owned()),
        severity,
        component: None,
        group: None,
        class: (!class.is_empty()).then(|| class.to_owned()),
        custom_details: None,
        client: None,
        client_url: None,
        links: Vec::new(),
        images: Vec::new(),
        labels: BTreeMap::new(),
    }
}

impl State {
    /// The first line in which two states differ; a whole state is too much to read.
    pub(crate) fn first_difference(&self, other: &Self) -> Option<String> {
        if self == other {
            return None;
        }
        let (ours, theirs) = (format!("{self:#?}"), format!("{other:#?}"));
        let differing = ours.lines().zip(theirs.lines()).enumerate().find(|(_, (a, b))| a != b);
        let around = |text: &str, at: usize| {
            text.lines().skip(at.saturating_sub(12)).take(16).collect::<Vec<_>>().join("\n")
        };
        let at = differing.map_or(0, |(at, _)| at);
        Some(format!("{}\n--- against ---\n{}", around(&ours, at), around(&theirs, at)))
    }

    /// A silence or the policy of this service (`None`: of any) was changed: what is open is to be
    /// matched anew, and keys that flap are to be looked at, as soon as something looks at them.
    pub(crate) fn configured(&mut self, service: Option<ServiceId>, now: Timestamp) {
        let concerned = |id: ServiceId| service.is_none_or(|service| service == id);
        for alert in self.alerts.values_mut().filter(|a| a.is_open() && concerned(a.service_id)) {
            alert.stale = true;
            alert.dues.judge = Some(alert.dues.judge.map_or(now, |due| due.min(now)));
        }
        for (_, due) in self.key_states.values_mut() {
            *due = due.map(|due| due.min(now));
        }
    }

    fn load(&self, keys: &LoadKeys) -> Loaded {
        let mut alerts: HashMap<AlertId, Alert> = HashMap::new();
        let mut take = |alert: &Alert| {
            alerts.insert(alert.id, alert.clone());
        };
        let of_key = |integration: IntegrationId, key: &DedupKey| {
            self.alerts
                .values()
                .filter(|a| a.integration_id == integration && a.dedup_key == *key)
                .cloned()
                .collect::<Vec<_>>()
        };
        let newest = |integration: IntegrationId, key: &DedupKey| {
            let all = of_key(integration, key);
            all.into_iter().filter(|a| !a.generated_key).max_by_key(|a| a.id)
        };
        let mut without_incident = Vec::new();
        for (integration, key, severity) in &keys.alert_keys {
            for alert in of_key(*integration, key).iter().filter(|a| a.is_open()) {
                if *severity == Some(alert.severity) {
                    without_incident.push(alert.id);
                }
                take(alert);
            }
        }
        for (integration, key) in &keys.returning_keys {
            if !of_key(*integration, key).iter().any(Alert::is_open) {
                newest(*integration, key).iter().for_each(&mut take);
            }
        }
        for id in &keys.alerts {
            without_incident.retain(|other| other != id);
            self.alerts.get(id).into_iter().for_each(&mut take);
        }
        if let Some((service, most)) = keys.open_of_service {
            let open = self.alerts.values().filter(|a| a.is_open() && a.service_id == service);
            for alert in open.take(most as usize) {
                without_incident.retain(|other| *other != alert.id);
                take(alert);
            }
        }
        for id in &keys.incidents {
            let of_incident = |a: &&Alert| a.incident_id == Some(*id) && a.is_open();
            self.alerts.values().filter(of_incident).for_each(&mut take);
        }
        let mut key_states: BTreeMap<SourceKey, KeyState> = BTreeMap::new();
        let came_back = |key: &&SourceKey| {
            let all = of_key(key.0, &key.1);
            !all.is_empty() && !all.iter().any(Alert::is_open)
        };
        let came_back: Vec<SourceKey> =
            keys.returning_keys.iter().filter(came_back).cloned().collect();
        for key in keys.key_states.iter().chain(&came_back) {
            key_states.extend(self.key_states.get(key).map(|(s, _)| (key.clone(), s.clone())));
        }
        let mut due_keys = Vec::new();
        if let Some((now, _)) = keys.due {
            let due = |a: &&Alert| a.is_open() && a.dues.earliest().is_some_and(|at| at <= now);
            for alert in self.alerts.values().filter(due) {
                without_incident.retain(|id| *id != alert.id);
                take(alert);
            }
            for (key, (state, due)) in &self.key_states {
                if let Some(at) = due.filter(|at| *at <= now) {
                    due_keys.push((key.clone(), at));
                    key_states.insert(key.clone(), state.clone());
                    newest(key.0, &key.1).iter().for_each(&mut take);
                }
            }
        }
        let mut targets = Vec::new();
        for key in &keys.targets {
            let ids: Vec<AlertId> = self
                .targets
                .range((*key, AlertId::from_uuid(uuid::Uuid::nil()))..)
                .take_while(|(k, _)| k == key)
                .map(|(_, id)| *id)
                .take(TARGETS_MAX)
                .collect();
            for id in &ids {
                without_incident.retain(|other| other != id);
                take(&self.alerts[id]);
            }
            targets.push((*key, ids));
        }
        let mut incidents: BTreeMap<IncidentId, Incident> = BTreeMap::new();
        let is_open = |(integration, key): &SourceKey| {
            let mut alerts = self.alerts.values();
            alerts.any(|a| a.is_open() && a.integration_id == *integration && a.dedup_key == *key)
        };
        let groups: Vec<_> = keys
            .groups_unless(is_open)
            .into_iter()
            .filter_map(|key| Some((key, *self.groups.get(&key)?)))
            .collect();
        let due_incidents = keys.due.into_iter().flat_map(|(now, _)| {
            let due = move |i: &&Incident| i.due.is_some_and(|at| at <= now);
            self.incidents.values().filter(due).map(|i| i.id)
        });
        let wanted = alerts
            .values()
            .filter(|alert| !without_incident.contains(&alert.id))
            .filter_map(|alert| alert.incident_id)
            .chain(keys.incidents.iter().copied())
            .chain(keys.bare_incidents.iter().copied())
            .chain(groups.iter().map(|(_, id)| *id))
            .chain(due_incidents);
        for id in wanted {
            incidents.extend(self.incidents.get(&id).map(|incident| (id, incident.clone())));
        }
        let found = |key: &InhibitionKey| Some((*key, self.inhibitors.get(key)?.clone()));
        let said = |id: &AlertId| Some((*id, Arc::clone(self.contents.get(id)?)));
        let learned = |rule: &(ServiceId, RuleId)| {
            (*rule, self.templates.get(rule).cloned().unwrap_or_default())
        };
        let mut loaded = Loaded {
            alerts: alerts.into_values().collect(),
            incidents: incidents.into_values().collect(),
            groups,
            service_clocks: self.clocks.iter().map(|(id, now)| (*id, *now)).collect(),
            more_due: false,
            key_states: key_states.into_iter().collect(),
            due_keys,
            inhibitors: keys.inhibitors_unless(is_open).iter().filter_map(found).collect(),
            targets,
            contents: keys.contents.iter().filter_map(said).collect(),
            templates: keys.templates.iter().map(learned).collect(),
            sent_ids: keys
                .sent_ids
                .iter()
                .filter(|id| self.sent_ids.contains_key(id))
                .copied()
                .collect(),
            asked: Asked::default(),
        };
        loaded.answers(keys, is_open);
        loaded.asked.key_states.extend(came_back);
        loaded
    }

    fn save(&mut self, changes: &Changes) {
        let updated = changes.merged_alerts.iter().chain(&changes.updated_alerts);
        for alert in changes.new_alerts.iter().chain(updated) {
            self.alerts.insert(alert.id, alert.clone());
        }
        for incident in changes.new_incidents.iter().chain(&changes.updated_incidents) {
            self.incidents.insert(incident.id, incident.clone());
        }
        self.groups.extend(changes.groups.iter().copied());
        self.groups.retain(|key, _| !changes.closed_groups.contains(key));
        let found_under = |incident: &Incident| {
            let id = incident.id;
            incident.found_under().map(move |key| (key, id)).collect::<Vec<_>>()
        };
        let told_by_incidents: BTreeMap<_, _> =
            self.incidents.values().flat_map(found_under).collect();
        assert_eq!(self.groups, told_by_incidents, "what is found follows from the incidents");
        self.timeline.extend(changes.timeline.iter().cloned());
        self.events.extend(
            changes.events.iter().map(|e| (e.id, e.alert_id, e.disposition, e.trace.clone())),
        );
        for count in &changes.counts {
            let HourlyCount {
                service_id, hour, events, alerts, incidents, resolved_alerts, ..
            } = *count;
            let sum = self.counts.entry((service_id, hour)).or_default();
            for (sum, by) in sum.iter_mut().zip([events, alerts, incidents, resolved_alerts]) {
                *sum += by;
            }
        }
        for (service, now) in &changes.service_clocks {
            self.clocks.insert(*service, *now);
        }
        for row in &changes.contents {
            let content = Arc::new(row.input.content().unwrap().clone());
            self.contents.insert(row.alert_id, content);
        }
        for (key, _, state, due) in &changes.key_states {
            self.key_states.insert(key.clone(), (state.clone(), *due));
        }
        self.inhibitors.extend(changes.inhibitors.iter().cloned());
        for sides in &changes.sides {
            let id = sides.alert_id;
            let listed: Vec<_> =
                self.targets.iter().filter(|(_, of)| *of == id).map(|(key, _)| *key).collect();
            let mut before: Vec<_> = sides.targets_before().collect();
            before.sort_unstable();
            assert_eq!(listed, before, "rows are deleted by what the alert was: {id}");
            self.targets.retain(|(_, target)| *target != id);
            self.targets.extend(sides.targets().map(|key| (key, id)));
        }
        for (key, at) in &changes.woken {
            for (_, id) in self.targets.iter().filter(|(k, _)| k == key) {
                let due = &mut self.alerts.get_mut(id).unwrap().dues.judge;
                *due = Some(due.map_or(*at, |due| due.min(*at)));
            }
        }
        for (rule, learned, _) in &changes.templates {
            self.templates.insert(*rule, Arc::clone(learned));
        }
        self.notifications.extend(changes.notifications.iter().cloned());
        self.sent_ids.extend(changes.sent_ids.iter().copied());
        self.deliveries.extend(changes.deliveries.iter().cloned());
    }
}
