//! The pipeline: from inputs and loaded state to changes. Read [`process`] first.
//!
//! Stages run in one order (see [`super::trace::Stage`]); each says what it decided and why. What is
//! due on anything an input looks at takes effect at its due time *before* the input, so it never
//! matters when a timer got round to it, nor how the inputs were cut into batches.

mod actions;
mod events;
mod group;
mod timers;

use std::borrow::Cow;

use super::{
    changes::{Changes, EventInput, Input, LoadKeys, Loaded, Outcome, Prepared, Target},
    event::{Content, Event, Fingerprints, Intent},
    grouping,
    id::{EventId, Ids, ServiceId},
    key::DedupKey,
    matcher::{Field, Fields, details_at},
    routing::Directory,
    service::Integration,
    time::Timestamp,
    working::Working,
};

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
                    let severity = match &event.event.intent {
                        Intent::Trigger { content, .. } => Some(content.severity),
                        Intent::Acknowledge { .. } | Intent::Resolve { .. } => None,
                    };
                    keys.alert_keys.push((integration, key.clone(), severity));
                    if severity.is_some() {
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
            Input::Tick(_) => {}
            Input::CloseService { service_id, .. } => {
                keys.open_of_service = Some((*service_id, TICK_MAX));
                keys.services.push(*service_id);
            }
        }
    }
    // What is due takes effect before what comes later, whether a timer has got round to it or not.
    keys.due = inputs.iter().map(Input::received_at).max().map(|latest| (latest, TICK_MAX));
    keys.alert_keys.sort();
    keys.alert_keys.dedup_by(|later, kept| {
        let same = (later.0, &later.1) == (kept.0, &kept.1);
        if same && later.2 != kept.2 {
            kept.2 = None;
        }
        same
    });
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
    let mut batch = Batch { working: Working::new(loaded, directory), directory, ids };
    let outcomes = inputs
        .iter()
        .map(|input| match input {
            Input::Event(event) => Outcome::Event(batch.event(event)),
            Input::Change(change) => batch.change_event(change),
            Input::Action(action) => Outcome::Action(batch.action(action)),
            Input::Tick(now) => Outcome::Settled(batch.settle(*now)),
            Input::CloseService { service_id, actor, received_at } => {
                Outcome::Settled(batch.close_service(*service_id, actor, *received_at))
            }
        })
        .collect();
    (batch.working.into_changes(), outcomes)
}

struct Batch<'a> {
    working: Working<'a>,
    directory: &'a Directory,
    ids: &'a mut Ids,
}

/// When and where an event is.
struct Moment {
    now: Timestamp,
    event_at: Timestamp,
    event_id: EventId,
    service_id: ServiceId,
}

fn actor_of(input: &EventInput) -> String {
    format!("integration:{}", input.integration.name)
}
