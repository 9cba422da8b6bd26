//! The pipeline: from inputs and loaded state to changes. Read [`process`] first.
//!
//! Stages run in one order (see [`super::trace::Stage`]); each says what it decided and why. What is
//! due on anything an input looks at takes effect at its due time *before* the input, so it never
//! matters when a timer got round to it, nor how the inputs were cut into batches.

use std::{borrow::Cow, sync::Arc};

use super::{
    alert::{Alert, ContentRef, Status, Transition},
    changes::{
        ActionInput, ActionOutcome, ChangeInput, Changes, EventInput, Input, LoadKeys, Loaded,
        NewChange, NewContent, NewEvent, Outcome, Prepared, Receipt, Target, TimelineKind, Verb,
    },
    event::{Action, Api, Content, Disposition, Event, Fingerprints, Intent, Severity},
    grouping::{self, GroupChoice},
    id::{AlertId, ContentSeq, EventId, EventSeq, Ids, IncidentId, ServiceId},
    incident::{Effect, Incident},
    key::DedupKey,
    matcher::{Field, Fields, details_at},
    routing::Directory,
    service::{AutoResolveFrom, Integration},
    time::Timestamp,
    trace::{Stage, Trace},
    working::{Working, timers_of},
};

/// Who acts when a timer does.
const TIMER: &str = "timer";

/// How many due alerts one tick takes, so that a long list of them delays no event for long.
pub const TICK_MAX: u32 = 500;

/// Works out what follows from an event and the directory alone: its service, the grouping rule
/// that matches, the fingerprints of its content. Runs before the batch is loaded, wherever there
/// is time, because the result says what to load.
pub fn prepare(event: &Event, integration: &Integration, directory: &Directory) -> Prepared {
    let service = directory.service(integration.service_id);
    let (group, fingerprints) = match &event.intent {
        Intent::Trigger { content, .. } => {
            let view = TriggerView {
                content,
                event,
                integration: &integration.name,
                service: service.map_or("", |service| &service.name),
            };
            let group =
                service.and_then(|service| grouping::choose(&service.policy.grouping, &view));
            (group, content.fingerprints())
        }
        Intent::Acknowledge { .. } | Intent::Resolve { .. } => (None, Fingerprints::default()),
    };
    Prepared {
        directory_version: directory.version,
        service_id: integration.service_id,
        group,
        fingerprints,
    }
}

/// What a trigger looks like to matchers and grouping rules.
struct TriggerView<'a> {
    content: &'a Content,
    event: &'a Event,
    integration: &'a str,
    service: &'a str,
}

impl Fields for TriggerView<'_> {
    fn field(&self, field: &Field) -> Cow<'_, str> {
        let content = self.content;
        let optional = |value: &'_ Option<String>| -> Cow<'_, str> {
            Cow::Owned(value.clone().unwrap_or_default())
        };
        match field {
            Field::Summary => content.summary.as_str().into(),
            Field::Source => content.source.as_deref().unwrap_or(self.integration).into(),
            Field::Severity => content.severity.as_str().into(),
            Field::Component => optional(&content.component),
            Field::Group => optional(&content.group),
            Field::Class => optional(&content.class),
            Field::Client => optional(&content.client),
            Field::DedupKey => self.event.intent.dedup_key().map_or("", DedupKey::as_str).into(),
            Field::Integration => self.integration.into(),
            Field::Service => self.service.into(),
            Field::Action => self.event.intent.action().as_str().into(),
            Field::Label(name) => content.labels.get(name).map_or("", String::as_str).into(),
            Field::Details(path) => content
                .custom_details
                .as_deref()
                .and_then(|details| details_at(details, path))
                .unwrap_or_default()
                .into(),
        }
    }
}

/// What has to be loaded for `inputs`.
pub fn load_keys(inputs: &[Input]) -> LoadKeys {
    let mut keys = LoadKeys::default();
    for input in inputs {
        match input {
            Input::Event(event) => {
                let integration = event.integration.id;
                if let Some(key) = event.event.intent.dedup_key() {
                    keys.alert_keys.push((integration, key.clone()));
                    if event.event.intent.action() == Action::Trigger {
                        keys.returning_keys.push((integration, key.clone()));
                    }
                }
                if let Some(choice) = &event.prepared.group {
                    let service = event.prepared.service_id;
                    let hashes = choice.hashes.iter();
                    keys.groups.extend(hashes.map(|hash| (service, choice.rule, *hash)));
                }
                keys.services.push(event.prepared.service_id);
            }
            Input::Change(change) => keys.services.push(change.integration.service_id),
            Input::Action(action) => match action.target {
                Target::Alert(id) => keys.alerts.push(id),
                Target::Incident(id) => keys.incidents.push(id),
            },
            Input::Tick(now) => keys.due = Some((*now, TICK_MAX)),
            Input::CloseService { service_id, .. } => {
                keys.open_of_service = Some((*service_id, TICK_MAX));
                keys.services.push(*service_id);
            }
        }
    }
    keys.alert_keys.sort();
    keys.alert_keys.dedup();
    keys.returning_keys.sort();
    keys.returning_keys.dedup();
    keys.groups.sort();
    keys.groups.dedup();
    keys.alerts.sort();
    keys.alerts.dedup();
    keys.incidents.sort();
    keys.incidents.dedup();
    keys.services.sort();
    keys.services.dedup();
    keys
}

/// Takes the inputs in their order; each sees what the ones before it did. `[a, b]` in one call
/// has the same result as `a` and then `b` in two.
pub fn process(
    inputs: &[Input],
    loaded: Loaded,
    directory: &Directory,
    ids: &mut Ids,
) -> (Changes, Vec<Outcome>) {
    let mut batch = Batch { working: Working::new(loaded), directory, ids };
    let outcomes = inputs
        .iter()
        .map(|input| match input {
            Input::Event(event) => Outcome::Event(batch.event(event)),
            Input::Change(change) => batch.change_event(change),
            Input::Action(action) => Outcome::Action(batch.action(action)),
            Input::Tick(now) => Outcome::Settled(batch.tick(*now)),
            Input::CloseService { service_id, actor, received_at } => {
                Outcome::Settled(batch.close_service(*service_id, actor, *received_at))
            }
        })
        .collect();
    (batch.working.into_changes(directory), outcomes)
}

struct Batch<'a> {
    working: Working,
    directory: &'a Directory,
    ids: &'a mut Ids,
}

/// What the merge stage made of an event.
struct Merged {
    disposition: Disposition,
    alert_id: Option<AlertId>,
    previous: Option<EventSeq>,
    content: Option<ContentSeq>,
}

impl Batch<'_> {
    /// One event through the stages.
    fn event(&mut self, input: &Arc<EventInput>) -> Receipt {
        let mut trace = Trace::default();
        let integration = &input.integration;
        let given_key = input.event.intent.dedup_key();
        let key = given_key.cloned().unwrap_or_else(|| DedupKey::generated(self.ids.random_128()));

        // An open alert decides its service; only a trigger that opens one is routed.
        let routed = input.prepared.service_id;
        let open = self.working.open_alert(integration.id, &key).map(|a| (a.id, a.service_id));
        let now =
            self.working.clock(open.map_or(routed, |(_, service)| service), input.received_at);
        if let Some((id, _)) = open {
            self.settle_alert(id, now);
        }
        let open = self.working.open_alert(integration.id, &key).map(|a| (a.id, a.service_id));
        let service_id = open.map_or(routed, |(_, service)| service);
        let (event_at, doubt) = input.event_at(now);
        self.route(&mut trace, service_id, open.is_some(), &integration.name, doubt);

        let event_id = self.ids.event(now);
        self.working.count(service_id, now).events += 1;
        let at = Moment { now, event_at, event_id, service_id };
        let merged = match (&input.event.intent, open) {
            (Intent::Trigger { content, .. }, Some((id, _))) => {
                self.merge(input, content, id, &at, &mut trace)
            }
            (Intent::Trigger { content, dedup_key }, None) => {
                let generated = dedup_key.is_none();
                self.open(input, content, key.clone(), generated, &at, &mut trace)
            }
            (Intent::Acknowledge { .. } | Intent::Resolve { .. }, Some((id, _))) => {
                self.transition(input, id, &at, &mut trace)
            }
            (Intent::Acknowledge { .. } | Intent::Resolve { .. }, None) => {
                let reason = "no open alert with this key on this integration";
                trace.decided(Stage::Dedup, "ignored", reason, &[]);
                let disposition = Disposition::Ignored;
                Merged { disposition, alert_id: None, previous: None, content: None }
            }
        };
        let Merged { disposition, alert_id, previous, content } = merged;
        self.working.changes.events.push(NewEvent {
            id: event_id,
            input: Arc::clone(input),
            service_id,
            received_at: now,
            event_at,
            dedup_key: key.clone(),
            disposition,
            alert_id,
            previous,
            content,
            trace: trace.into_json(),
        });
        Receipt { event_id, alert_id, dedup_key: key, disposition }
    }

    fn route(
        &self,
        trace: &mut Trace,
        service_id: ServiceId,
        follows_open_alert: bool,
        integration: &str,
        doubt: Option<&str>,
    ) {
        let service = self.directory.service(service_id).map_or("", |s| s.name.as_str());
        let reason = if follows_open_alert {
            "events follow the open alert of their key"
        } else {
            "the service of the integration"
        };
        let more = [("service", service), ("integration", integration)];
        match doubt {
            None => trace.decided(Stage::Route, "service", reason, &more),
            Some(doubt) => {
                let [service, integration] = more;
                let more = [service, integration, ("timestamp", doubt)];
                trace.decided(Stage::Route, "service", reason, &more);
            }
        }
    }

    /// A trigger finds its alert open.
    fn merge(
        &mut self,
        input: &Arc<EventInput>,
        content: &Content,
        id: AlertId,
        at: &Moment,
        trace: &mut Trace,
    ) -> Merged {
        let fingerprints = input.prepared.fingerprints;
        let Some(before) = self.working.alert(id).cloned() else {
            unreachable!("the alert was just looked up")
        };
        let content_id = if fingerprints.all == before.content.hash {
            None
        } else {
            let text =
                (fingerprints.text == before.content.text_hash).then_some(before.content.text);
            Some(self.new_content(input, id, at, text))
        };
        self.working.change_alert(id, |alert| {
            alert.merge(content.severity, at.event_at, at.now);
            alert.last_event = at.event_id.row();
            if let Some(reference) = content_id {
                alert.content = reference;
            }
        });
        let status = before.status.as_str();
        if before.severity == content.severity {
            let reason = "an alert with this key is open";
            trace.decided(Stage::Dedup, "merged", reason, &[("status", status)]);
        } else {
            let change = format!("{} to {}", before.severity, content.severity);
            let reason = "an alert with this key is open; its severity changes";
            let more = [("status", status), ("severity", change.as_str())];
            trace.decided(Stage::Dedup, "merged", reason, &more);
            self.severity_changed(&before, content.severity, at, &actor_of(input), trace);
        }
        Merged {
            disposition: Disposition::Merged,
            alert_id: Some(id),
            previous: Some(before.last_event),
            content: Some(content_id.map_or(before.content.id, |reference| reference.id)),
        }
    }

    fn severity_changed(
        &mut self,
        before: &Alert,
        to: Severity,
        at: &Moment,
        actor: &str,
        trace: &mut Trace,
    ) {
        let incident = before.incident_id;
        let reason = format!("from {} to {to}", before.severity);
        let kind = TimelineKind::SeverityChanged;
        self.working.tell(self.ids, at.now, Some(before.id), incident, kind, actor, reason);
        let Some(incident_id) = incident else { return };
        self.settle_incident(incident_id, at.now);
        let effect = self.working.change_incident(incident_id, |incident| {
            incident.change(before.severity, to, before.status, at.now)
        });
        if let Some(effect) = effect {
            self.tell_effect(incident_id, effect, at.now, actor);
            if let Effect::TriggeredAgain { .. } = effect {
                let reason = "worse than what was acknowledged: the incident is triggered again";
                let number = incident_id.seq().to_string();
                trace.decided(Stage::Group, "triggered_again", reason, &[("incident", &number)]);
            }
        }
    }

    /// A trigger finds no alert open.
    fn open(
        &mut self,
        input: &Arc<EventInput>,
        content: &Content,
        dedup_key: DedupKey,
        generated_key: bool,
        at: &Moment,
        trace: &mut Trace,
    ) -> Merged {
        let id = self.ids.alert(at.now);
        let reason = if generated_key {
            "it came without a dedup key, so one was made"
        } else {
            "no open alert with this key on this integration"
        };
        trace.decided(Stage::Dedup, "opened", reason, &[]);
        let returning = if generated_key {
            None
        } else {
            self.working
                .newest_alert(input.integration.id, &dedup_key)
                .filter(|alert| alert.service_id == at.service_id)
                .and_then(|alert| alert.incident_id)
        };
        let reference = self.new_content(input, id, at, None);
        let incident_id = self.group(input, content, id, returning, at, trace);
        self.working.insert_alert(Alert {
            id,
            integration_id: input.integration.id,
            service_id: at.service_id,
            incident_id: Some(incident_id),
            dedup_key,
            generated_key,
            status: Status::Triggered,
            severity: content.severity,
            max_severity: content.severity,
            event_count: 1,
            event_at: at.event_at,
            first_event_at: at.now,
            last_event_at: at.now,
            acknowledged_at: None,
            resolved_at: None,
            last_event: at.event_id.row(),
            content: reference,
            dues: super::alert::Dues::default(),
        });
        self.working.count(at.service_id, at.now).alerts += 1;
        Merged {
            disposition: Disposition::Opened,
            alert_id: Some(id),
            previous: None,
            content: Some(reference.id),
        }
    }

    fn new_content(
        &mut self,
        input: &Arc<EventInput>,
        alert_id: AlertId,
        at: &Moment,
        unchanged_text: Option<ContentSeq>,
    ) -> ContentRef {
        let id = self.ids.content();
        let text = unchanged_text.unwrap_or(id);
        let event_id = at.event_id;
        let input_ref = Arc::clone(input);
        let row = NewContent { id, alert_id, event_id, text, input: input_ref };
        self.working.changes.contents.push(row);
        let Fingerprints { all, text: text_hash } = input.prepared.fingerprints;
        ContentRef { id, hash: all, text, text_hash }
    }

    /// Finds, or opens, the incident of an alert that opens.
    fn group(
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
        let open =
            |working: &Working, id: IncidentId| working.incident(id).is_some_and(Incident::is_open);
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
    fn candidate(
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

    fn accepts(&self, id: IncidentId, now: Timestamp) -> bool {
        let Some(incident) = self.working.incident(id) else { return false };
        let service = self.directory.service(incident.service_id);
        service
            .zip(incident.group.as_ref())
            .and_then(|(service, group)| {
                service.policy.grouping.iter().find(|rule| rule.id == group.rule)
            })
            .is_some_and(|rule| rule.accepts(incident, now).is_ok())
    }

    fn rule_number(&self, service_id: ServiceId, choice: &GroupChoice) -> usize {
        self.directory
            .service(service_id)
            .and_then(|s| s.policy.grouping.iter().position(|rule| rule.id == choice.rule))
            .unwrap_or_default()
    }

    #[expect(clippy::too_many_arguments, reason = "one join, said once")]
    fn join(
        &mut self,
        incident_id: IncidentId,
        alert_id: AlertId,
        severity: Severity,
        kind: TimelineKind,
        reason: &str,
        at: &Moment,
        actor: &str,
    ) -> IncidentId {
        self.settle_incident(incident_id, at.now);
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

    /// An acknowledge or resolve finds its alert open.
    fn transition(
        &mut self,
        input: &Arc<EventInput>,
        id: AlertId,
        at: &Moment,
        trace: &mut Trace,
    ) -> Merged {
        let action = input.event.intent.action();
        let actor = actor_of(input);
        let previous = self.working.alert(id).map(|alert| alert.last_event);
        let transition = self.act_on_alert(id, action, at.now, &actor, "by an event");
        self.working.change_alert(id, |alert| alert.last_event = at.event_id.row());
        let disposition = match transition {
            Transition::Acknowledged => {
                let reason = "the open alert and its incident are acknowledged";
                trace.decided(Stage::Dedup, "acknowledged", reason, &[]);
                Disposition::Acknowledged
            }
            Transition::Resolved => {
                trace.decided(Stage::Dedup, "resolved", "the open alert is resolved", &[]);
                Disposition::Resolved
            }
            Transition::Unchanged | Transition::Merged => {
                trace.decided(Stage::Dedup, "ignored", "the alert is acknowledged already", &[]);
                Disposition::Ignored
            }
        };
        Merged { disposition, alert_id: Some(id), previous, content: None }
    }

    /// Acknowledges or resolves an open alert and draws the consequences for its incident.
    fn act_on_alert(
        &mut self,
        id: AlertId,
        action: Action,
        now: Timestamp,
        actor: &str,
        reason: &str,
    ) -> Transition {
        let Some(before) = self.working.alert(id).filter(|alert| alert.is_open()).cloned() else {
            return Transition::Unchanged;
        };
        if let Some(incident) = before.incident_id {
            self.settle_incident(incident, now);
        }
        let transition = self
            .working
            .change_alert(id, |alert| alert.apply(action, now))
            .unwrap_or(Transition::Unchanged);
        let incident_id = before.incident_id;
        match transition {
            Transition::Acknowledged => {
                let kind = TimelineKind::Acknowledged;
                self.working.tell(self.ids, now, Some(id), incident_id, kind, actor, reason);
                if let Some(incident_id) = incident_id {
                    self.acknowledge_incident(incident_id, now, actor, "one of its alerts was");
                }
            }
            Transition::Resolved => {
                let kind = TimelineKind::Resolved;
                self.working.tell(self.ids, now, Some(id), incident_id, kind, actor, reason);
                self.working.count(before.service_id, now).resolved_alerts += 1;
                if let Some(incident_id) = incident_id {
                    let effect = self
                        .working
                        .change_incident(incident_id, |i| i.remove(before.severity, now));
                    if let Some(effect) = effect {
                        self.tell_effect(incident_id, effect, now, actor);
                    }
                }
            }
            Transition::Merged | Transition::Unchanged => {}
        }
        transition
    }

    fn acknowledge_incident(&mut self, id: IncidentId, now: Timestamp, actor: &str, reason: &str) {
        let triggered = self.working.incident(id).is_some_and(|i| i.status == Status::Triggered);
        if triggered {
            self.working.change_incident(id, |incident| incident.acknowledge(actor, now));
            let kind = TimelineKind::Acknowledged;
            self.working.tell(self.ids, now, None, Some(id), kind, actor, reason);
        }
    }

    fn tell_effect(&mut self, id: IncidentId, effect: Effect, now: Timestamp, actor: &str) {
        let (kind, reason) = match effect {
            Effect::Unchanged => return,
            Effect::SeverityChanged { from, to } => {
                (TimelineKind::SeverityChanged, format!("from {from} to {to}"))
            }
            Effect::TriggeredAgain { from, to } => {
                (TimelineKind::TriggeredAgain, format!("{to}, after {from} had been acknowledged"))
            }
            Effect::Resolved => {
                (TimelineKind::Resolved, "its last open alert was resolved".to_owned())
            }
        };
        self.working.tell(self.ids, now, None, Some(id), kind, actor, reason);
    }

    fn change_event(&mut self, input: &Arc<ChangeInput>) -> Outcome {
        let now = self.working.clock(input.integration.service_id, input.received_at);
        let id = self.ids.change(now);
        let (event_at, _) = input.event_at(now);
        self.working.changes.change_events.push(NewChange {
            id,
            input: Arc::clone(input),
            received_at: now,
            event_at,
        });
        Outcome::Change(id)
    }

    /// What a person does.
    fn action(&mut self, input: &ActionInput) -> ActionOutcome {
        let service = match input.target {
            Target::Alert(id) => self.working.alert(id).map(|alert| alert.service_id),
            Target::Incident(id) => self.working.incident(id).map(|incident| incident.service_id),
        };
        let Some(service) = service else { return ActionOutcome::NotFound };
        let now = self.working.clock(service, input.received_at);
        match input.target {
            Target::Alert(id) => {
                self.settle_alert(id, now);
                self.action_on_alert(id, input, now)
            }
            Target::Incident(id) => {
                self.settle_incident(id, now);
                for alert in self.open_alerts_of(id) {
                    self.settle_alert(alert, now);
                }
                self.action_on_incident(id, input, now)
            }
        }
    }

    fn action_on_alert(
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
                self.act_on_alert(id, Action::Acknowledge, now, actor, "by hand");
                ActionOutcome::Changed
            }
            (Verb::Resolve, Status::Triggered | Status::Acknowledged) => {
                self.act_on_alert(id, Action::Resolve, now, actor, "by hand");
                ActionOutcome::Changed
            }
            (Verb::Unacknowledge, Status::Acknowledged) => {
                self.working.change_alert(id, Alert::unacknowledge);
                let kind = TimelineKind::Unacknowledged;
                self.working.tell(self.ids, now, Some(id), incident_id, kind, actor, "by hand");
                ActionOutcome::Changed
            }
            (Verb::Acknowledge, Status::Acknowledged)
            | (Verb::Unacknowledge, Status::Triggered)
            | (Verb::Resolve, Status::Resolved) => ActionOutcome::Unchanged,
            (Verb::Acknowledge | Verb::Unacknowledge, Status::Resolved) => {
                ActionOutcome::Conflict("the alert is resolved")
            }
        }
    }

    fn action_on_incident(
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
                    self.act_on_alert(alert, Action::Acknowledge, now, actor, reason);
                }
                ActionOutcome::Changed
            }
            (Verb::Unacknowledge, Status::Acknowledged) => {
                self.working.change_incident(id, Incident::unacknowledge);
                let kind = TimelineKind::Unacknowledged;
                self.working.tell(self.ids, now, None, Some(id), kind, actor, "by hand");
                let reason = "its incident's acknowledgement was taken back";
                for alert in self.open_alerts_of(id) {
                    self.unacknowledge_alert(alert, now, actor, reason);
                }
                ActionOutcome::Changed
            }
            (Verb::Resolve, Status::Triggered | Status::Acknowledged) => {
                let reason = "its incident was resolved by hand";
                for alert in self.open_alerts_of(id) {
                    self.act_on_alert(alert, Action::Resolve, now, actor, reason);
                }
                ActionOutcome::Changed
            }
            (Verb::Acknowledge, Status::Acknowledged)
            | (Verb::Unacknowledge, Status::Triggered)
            | (Verb::Resolve, Status::Resolved) => ActionOutcome::Unchanged,
            (Verb::Acknowledge | Verb::Unacknowledge, Status::Resolved) => {
                ActionOutcome::Conflict("the incident is resolved")
            }
        }
    }

    fn unacknowledge_alert(&mut self, id: AlertId, now: Timestamp, actor: &str, reason: &str) {
        let Some(alert) = self.working.alert(id) else { return };
        if alert.status == Status::Acknowledged {
            let incident_id = alert.incident_id;
            self.working.change_alert(id, Alert::unacknowledge);
            let kind = TimelineKind::Unacknowledged;
            self.working.tell(self.ids, now, Some(id), incident_id, kind, actor, reason);
        }
    }

    fn open_alerts_of(&self, incident: IncidentId) -> Vec<AlertId> {
        let belongs = |id: &AlertId| {
            self.working
                .alert(*id)
                .is_some_and(|alert| alert.is_open() && alert.incident_id == Some(incident))
        };
        self.working.alert_ids().into_iter().filter(belongs).collect()
    }

    /// Everything that is due by `now` among what was loaded, earliest first.
    fn tick(&mut self, now: Timestamp) -> usize {
        let mut due: Vec<(Timestamp, AlertId)> = Vec::new();
        for id in self.working.alert_ids() {
            let Some(alert) = self.working.alert(id) else { continue };
            let timers = timers_of(self.directory, alert.service_id);
            let next = [alert.ack_timeout_due(&timers), alert.auto_resolve_due(&timers)];
            // A bound that fired early, or has no timer behind it any more, is set again.
            let stale = [alert.dues.ack_timeout, alert.dues.auto_resolve];
            match next.into_iter().flatten().filter(|at| *at <= now).min() {
                Some(at) => due.push((at, id)),
                None if stale.into_iter().flatten().any(|at| at <= now) => {
                    self.working.change_alert(id, |alert| {
                        alert.dues = super::alert::Dues::default();
                        alert.arm(&timers);
                    });
                }
                None => {}
            }
        }
        due.sort();
        let mut settled = 0;
        for id in self.working.incident_ids() {
            settled += usize::from(self.settle_incident(id, now));
        }
        for (_, id) in due {
            settled += usize::from(self.settle_alert(id, now));
        }
        settled
    }

    fn close_service(&mut self, service: ServiceId, actor: &str, received_at: Timestamp) -> usize {
        let now = self.working.clock(service, received_at);
        let mut closed = 0;
        for id in self.working.alert_ids() {
            let open = self
                .working
                .alert(id)
                .is_some_and(|alert| alert.is_open() && alert.service_id == service);
            if open {
                self.act_on_alert(id, Action::Resolve, now, actor, "its service was deleted");
                closed += 1;
            }
        }
        closed
    }

    /// Lets the timers of an alert that are due by `now` fire, each at its due time.
    fn settle_alert(&mut self, id: AlertId, now: Timestamp) -> bool {
        let mut fired = false;
        loop {
            let Some(alert) = self.working.alert(id) else { return fired };
            let timers = timers_of(self.directory, alert.service_id);
            let acknowledgement = alert.ack_timeout_due(&timers).filter(|at| *at <= now);
            let resolve = alert.auto_resolve_due(&timers).filter(|at| *at <= now);
            match (acknowledgement, resolve) {
                (Some(at), resolve) if resolve.is_none_or(|resolve| at <= resolve) => {
                    let reason = "the acknowledgement timed out";
                    self.unacknowledge_alert(id, at, TIMER, reason);
                }
                (_, Some(at)) => {
                    let reason = match timers.auto_resolve {
                        Some(auto) => {
                            let from = match auto.from {
                                AutoResolveFrom::FirstEvent => "its first event",
                                AutoResolveFrom::LastEvent => "its last event",
                            };
                            format!("automatically, {} after {from}", auto.after)
                        }
                        None => String::new(),
                    };
                    self.act_on_alert(id, Action::Resolve, at, TIMER, &reason);
                }
                (_, None) => return fired,
            }
            fired = true;
        }
    }

    /// The same for an incident's acknowledgement.
    fn settle_incident(&mut self, id: IncidentId, now: Timestamp) -> bool {
        let Some(incident) = self.working.incident(id) else { return false };
        let timers = timers_of(self.directory, incident.service_id);
        let Some(at) = incident.ack_timeout_due(&timers).filter(|at| *at <= now) else {
            // As for alerts: a bound without a timer behind it is set again when it is written.
            if incident.ack_timeout_due.is_some_and(|bound| bound <= now) {
                self.working.change_incident(id, |_| ());
            }
            return false;
        };
        self.working.change_incident(id, Incident::unacknowledge);
        let kind = TimelineKind::Unacknowledged;
        let reason = "the acknowledgement timed out";
        self.working.tell(self.ids, at, None, Some(id), kind, TIMER, reason);
        true
    }
}

/// When and where an event is.
struct Moment {
    now: Timestamp,
    event_at: Timestamp,
    event_id: EventId,
    service_id: ServiceId,
}

fn actor_of(input: &EventInput) -> String {
    match input.api() {
        Api::V1 | Api::V2 | Api::Change | Api::Guance => {
            format!("integration:{}", input.integration.name)
        }
    }
}
