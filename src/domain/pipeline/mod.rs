//! The pipeline: from inputs and loaded state to changes. Read [`process`] first.
//!
//! Stages run in one order (see [`super::trace::Stage`]); each says what it decided and why. What is
//! due on anything an input looks at takes effect at its due time *before* the input, so it never
//! matters when a timer got round to it, nor how the inputs were cut into batches.

mod actions;
mod deliver;
mod events;
mod flap;
mod group;
mod incidents;
mod inhibit;
mod notify;
mod prepare;
mod quiet;
mod timers;

use super::{
    changes::{Changes, EventInput, Input, Outcome, Target, Verb},
    event::Intent,
    id::{AlertId, EventId, Ids, ServiceId},
    loading::{LoadKeys, Loaded},
    routing::Directory,
    service::{Service, ServicePolicy},
    time::Timestamp,
    working::Working,
};

pub use prepare::prepare;

/// How many due alerts one tick takes, so that a long list of them delays no event for long.
pub const TICK_MAX: u32 = 500;

/// What has to be loaded for `inputs`.
pub fn load_keys(inputs: &[Input]) -> LoadKeys {
    let mut keys = LoadKeys::default();
    for input in inputs {
        match input {
            Input::Event(event) => {
                let integration = event.integration.id;
                keys.sent_ids.extend(event.event.sent_id.map(|id| (integration, id)));
                if let Some(key) = event.event.intent.dedup_key() {
                    let severity = match &event.event.intent {
                        Intent::Trigger { .. } => event.content().map(|c| c.severity),
                        Intent::Acknowledge { .. } | Intent::Resolve { .. } => None,
                    };
                    keys.alert_keys.push((integration, key.clone(), severity));
                    match event.event.intent {
                        Intent::Trigger { .. } => {
                            keys.returning_keys.push((integration, key.clone()));
                        }
                        Intent::Resolve { .. } => keys.key_states.push((integration, key.clone())),
                        Intent::Acknowledge { .. } => {}
                    }
                }
                let service = event.prepared.service_id;
                let sides = event.prepared.matches.sides.iter().filter(|side| side.target);
                keys.inhibitors.extend(sides.map(|side| (service, side.rule, side.hash)));
                if let Some(choice) = &event.prepared.group {
                    let hashes = choice.hashes.iter();
                    keys.groups.extend(hashes.map(|hash| (service, choice.rule, *hash)));
                }
                keys.services.push(event.prepared.service_id);
            }
            Input::Change(change) => {
                let integration = &change.integration;
                keys.sent_ids.extend(change.change.sent_id.map(|id| (integration.id, id)));
                keys.services.push(integration.service_id);
            }
            Input::Action(action) => match action.target {
                Target::Alert(id) => keys.alerts.push(id),
                Target::Incident(id) => {
                    keys.incidents.push(id);
                    if let Verb::Merge(into) = action.verb {
                        keys.bare_incidents.push(into);
                    }
                }
            },
            Input::Tick(_) | Input::Test { .. } => {}
            Input::CloseService { service_id, .. } => {
                keys.open_of_service = Some((*service_id, TICK_MAX));
                keys.services.push(*service_id);
            }
        }
    }
    // What is due takes effect before what comes later, whether a timer has got round to it or not.
    keys.due = inputs.iter().map(Input::received_at).max().map(|latest| (latest, TICK_MAX));
    keys.dedup();
    keys
}

/// Takes the inputs in their order; each sees what the ones before it did. `[a, b]` in one call
/// has the same result as `a` and then `b` in two. `Err` says what else has to be loaded before
/// the batch can be decided: then it is called again, with ids that have not moved.
pub fn process(
    inputs: &[Input],
    loaded: &Loaded,
    directory: &Directory,
    ids: &mut Ids,
) -> Result<(Changes, Vec<Outcome>), Box<LoadKeys>> {
    let working = Working::new(loaded, directory);
    let mut batch = Batch { working, directory, ids, rematching: Vec::new() };
    let outcomes = inputs
        .iter()
        .map(|input| match input {
            Input::Event(event) => Outcome::Event(batch.event(event)),
            Input::Change(change) => batch.change_event(change),
            Input::Action(action) => Outcome::Action(batch.action(action)),
            Input::Tick(now) => Outcome::Settled(batch.settle(*now)),
            Input::Test { receiver, received_at } => {
                Outcome::Test(batch.test_receiver(*receiver, *received_at))
            }
            Input::CloseService { service_id, actor, received_at } => {
                Outcome::Settled(batch.close_service(*service_id, actor, *received_at))
            }
        })
        .collect();
    let mut changes = batch.working.into_changes()?;
    changes.now = inputs.iter().map(Input::received_at).max().unwrap_or_default();
    Ok((changes, outcomes))
}

/// Loads and processes until nothing is missing; `load` looks things up, in one transaction.
/// What [`process`] is for a store that is at hand at once.
pub fn run(
    inputs: &[Input],
    directory: &Directory,
    ids: &mut Ids,
    load: impl Fn(&LoadKeys) -> Loaded,
) -> (Changes, Vec<Outcome>) {
    let mut loaded = load(&load_keys(inputs));
    loop {
        let mut attempt = ids.clone();
        match process(inputs, &loaded, directory, &mut attempt) {
            Ok(decided) => {
                *ids = attempt;
                return decided;
            }
            Err(missing) => loaded.merge(load(&missing)),
        }
    }
}

struct Batch<'a> {
    working: Working<'a>,
    directory: &'a Directory,
    ids: &'a mut Ids,
    /// Alerts whose part in inhibition rules is just changing: they are judged when that is done.
    rematching: Vec<AlertId>,
}

impl<'a> Batch<'a> {
    fn service(&self, id: ServiceId) -> Option<&'a Service> {
        self.directory.service(id).map(std::sync::Arc::as_ref)
    }

    fn policy(&self, id: ServiceId) -> Option<&'a ServicePolicy> {
        self.service(id).map(|service| &service.policy)
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
    format!("integration:{}", input.integration.name)
}
