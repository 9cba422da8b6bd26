//! What holds for every history of events, actions and ticks.

use std::{collections::HashMap, sync::Arc};

use proptest::prelude::*;
use serde_json::json;

use super::world::{What, World};
use crate::domain::{
    alert::Status,
    changes::{ActionInput, Input, Target, Verb},
    event::Severity,
    id::{AlertId, IncidentId},
    time::Timestamp,
};

/// One step of a history: how long after the one before, and what happens.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    after_ms: i64,
    what: Happening,
}

#[derive(Clone, Debug)]
enum Happening {
    Event {
        key: Option<u8>,
        what: What,
    },
    /// On the n-th alert or incident there is, if there are so many.
    Act {
        incident: bool,
        number: i64,
        verb: Verb,
    },
    Tick,
}

fn severity() -> impl Strategy<Value = Severity> {
    prop::sample::select(Severity::ALL)
}

fn what() -> impl Strategy<Value = What> {
    let class = prop::sample::select(&["disk", "cpu", ""][..]);
    prop_oneof![
        5 => (severity(), class).prop_map(|(severity, class)| What::Trigger { severity, class }),
        1 => Just(What::Acknowledge),
        2 => Just(What::Resolve),
    ]
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let event = (prop::option::weighted(0.9, 0..4_u8), what()).prop_map(|(key, what)| {
        // Only a trigger may come without a key.
        let key = match what {
            What::Trigger { .. } | What::WithId { .. } => key,
            What::Acknowledge | What::Resolve => Some(key.unwrap_or(0)),
        };
        Happening::Event { key, what }
    });
    let verb = prop_oneof![
        Just(Verb::Acknowledge),
        Just(Verb::Unacknowledge),
        Just(Verb::Resolve),
        Just(Verb::Note("n".to_owned())),
    ];
    let act = (any::<bool>(), 1..6_i64, verb).prop_map(|(incident, number, verb)| Happening::Act {
        incident,
        number,
        verb,
    });
    let what = prop_oneof![8 => event, 2 => act, 1 => Just(Happening::Tick)];
    (prop_oneof![3 => 0..2_000_i64, 1 => 0..90_000_i64], what)
        .prop_map(|(after_ms, what)| Step { after_ms, what })
}

pub(crate) fn policies() -> impl Strategy<Value = serde_json::Value> {
    prop::sample::select(vec![
        json!({}),
        json!({"grouping": [{"by": ["class"], "window": "30s"}]}),
        json!({"grouping": [{"by": ["class", "severity"], "aggregate": "any", "max_alerts": 3}]}),
        json!({"grouping": [{"by": ["class"], "strict": true, "window": "20s",
                             "window_type": "sliding", "max_span": "60s"}]}),
        json!({"auto_resolve": {"after": "40s"}, "acknowledgement_timeout": "15s",
               "grouping": [{"match": ["class=\"disk\""], "by": "time", "window": "10s"}]}),
        json!({"auto_resolve": {"after": "25s", "from": "first_event"},
               "acknowledgement_timeout": "25s", "grouping": [{"by": ["class"]}]}),
    ])
}

pub(crate) const START: i64 = 1_763_600_000_000;

/// The inputs of a history. Actions aim at rows by number: ids are made alike in every run.
fn inputs(world: &World, ids: &World, steps: &[Step]) -> Vec<Input> {
    let mut at = START;
    steps
        .iter()
        .map(|step| {
            at += step.after_ms;
            match &step.what {
                Happening::Event { key, what } => {
                    let key = key.map(|key| format!("k{key}"));
                    world.event(at, key.as_deref(), *what)
                }
                Happening::Tick => Input::Tick(Timestamp::from_millis(at)),
                Happening::Act { incident, number, verb } => {
                    let alert = ids.state.alerts.keys().find(|id| id.seq() == *number);
                    let found = ids.state.incidents.keys().find(|id| id.seq() == *number);
                    let target = if *incident {
                        let none = IncidentId::new(Timestamp::default(), 0, 0);
                        Target::Incident(found.copied().unwrap_or(none))
                    } else {
                        let none = AlertId::new(Timestamp::default(), 0, 0);
                        Target::Alert(alert.copied().unwrap_or(none))
                    };
                    Input::Action(Arc::new(ActionInput {
                        target,
                        verb: verb.clone(),
                        actor: "token:t".to_owned(),
                        received_at: Timestamp::from_millis(at),
                    }))
                }
            }
        })
        .collect()
}

/// The inputs of a history under a policy.
pub(crate) fn history(policy: &serde_json::Value, steps: &[Step]) -> Vec<Input> {
    // Run twice without knowing what actions aim at, to learn ids that rows are likely to have.
    let mut scout = World::new(policy);
    for _ in 0..2 {
        let mut world = World::new(policy);
        for input in inputs(&world, &scout, steps) {
            world.batch(&[input]);
        }
        scout = world;
    }
    inputs(&World::new(policy), &scout, steps)
}

/// Runs inputs in batches of these sizes, over and over.
pub(crate) fn run(policy: &serde_json::Value, inputs: &[Input], sizes: &[usize]) -> World {
    let mut world = World::new(policy);
    let mut rest = inputs;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (batch, later) = rest.split_at((*size).min(rest.len()));
        world.batch(batch);
        rest = later;
    }
    world
}

/// What the counters say against what is there.
fn assert_consistent(world: &World) {
    let mut open_keys: HashMap<_, u32> = HashMap::new();
    for alert in world.state.alerts.values().filter(|alert| alert.is_open()) {
        *open_keys.entry((alert.integration_id, alert.dedup_key.clone())).or_default() += 1;
    }
    assert!(open_keys.values().all(|n| *n == 1), "one open alert a key: {open_keys:?}");
    for incident in world.state.incidents.values() {
        let all: Vec<_> = world
            .state
            .alerts
            .values()
            .filter(|alert| alert.incident_id == Some(incident.id))
            .collect();
        let open: Vec<_> = all.iter().filter(|alert| alert.is_open()).collect();
        assert_eq!(incident.alert_count as usize, all.len());
        assert_eq!(incident.open.total() as usize, open.len());
        assert_eq!(incident.is_open(), !open.is_empty(), "resolved once nothing is open");
        if let Some(worst) = open.iter().map(|alert| alert.severity).max() {
            assert_eq!(incident.severity, worst);
        }
        assert!(incident.max_severity >= incident.severity);
        if let Some(resolved_at) = incident.resolved_at {
            let joined_later = all.iter().any(|alert| alert.first_event_at > resolved_at);
            assert!(!joined_later, "a resolved incident takes no alert");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn batches_never_show(
        policy in policies(),
        steps in prop::collection::vec(step(), 0..40),
        sizes in prop::collection::vec(1..12_usize, 1..6),
    ) {
        let inputs = history(&policy, &steps);
        let one_by_one = run(&policy, &inputs, &[1]);
        let batched = run(&policy, &inputs, &sizes);

        let difference = batched.state.first_difference(&one_by_one.state);
        prop_assert!(difference.is_none(), "{}", difference.unwrap());
        assert_consistent(&batched);
    }

    #[test]
    fn it_does_not_matter_when_a_timer_runs(
        policy in policies(),
        steps in prop::collection::vec(step(), 1..25),
        at in 0..200_000_i64,
        later in 0..200_000_i64,
    ) {
        let inputs = history(&policy, &steps);
        let ticked = |ticks: &[i64]| {
            let mut world = run(&policy, &inputs, &[1]);
            let end: i64 = START + steps.iter().map(|step| step.after_ms).sum::<i64>();
            for after in ticks {
                world.batch(&[Input::Tick(Timestamp::from_millis(end + after))]);
            }
            // Ids of timeline rows follow the order of writing; what they tell has to be the same.
            let mut told: Vec<_> = world
                .state
                .timeline
                .iter()
                .map(|e| (e.at, e.alert_id, e.incident_id, e.kind, e.reason.clone()))
                .collect();
            told.sort();
            (world.state.alerts, world.state.incidents, told)
        };

        let both = ticked(&[at, at + later]);
        let last = ticked(&[at + later]);

        prop_assert_eq!(both.0.values().map(|a| (a.id, a.status, a.resolved_at)).collect::<Vec<_>>(),
                        last.0.values().map(|a| (a.id, a.status, a.resolved_at)).collect::<Vec<_>>());
        prop_assert_eq!(both.1.values().map(|i| (i.id, i.status, i.resolved_at, i.severity)).collect::<Vec<_>>(),
                        last.1.values().map(|i| (i.id, i.status, i.resolved_at, i.severity)).collect::<Vec<_>>());
        prop_assert_eq!(both.2, last.2);
    }

    #[test]
    fn resolving_again_changes_nothing(
        policy in policies(),
        steps in prop::collection::vec(step(), 0..25),
        key in 0..4_u8,
    ) {
        let mut world = run(&policy, &history(&policy, &steps), &[1]);
        let at = START + 10_000_000;
        let key = format!("k{key}");
        let resolve = |world: &World| world.event(at, Some(&key), What::Resolve);
        let first = resolve(&world);
        world.batch(&[first]);
        let before: Vec<_> = world.state.alerts.values().cloned().collect();
        let timeline = world.state.timeline.len();

        let second = resolve(&world);
        world.batch(&[second]);

        prop_assert_eq!(world.state.alerts.values().cloned().collect::<Vec<_>>(), before);
        prop_assert_eq!(world.state.timeline.len(), timeline);
        prop_assert!(world.state.alerts.values()
            .filter(|alert| alert.dedup_key.as_str() == key)
            .all(|alert| alert.status == Status::Resolved));
    }

    #[test]
    fn the_clock_of_a_service_never_goes_back(
        steps in prop::collection::vec(step(), 1..25),
        back in 1..100_000_i64,
    ) {
        let policy = json!({"auto_resolve": {"after": "10s"}});
        let mut world = run(&policy, &history(&policy, &steps), &[3]);
        let newest = world.state.events.last().map(|(id, ..)| *id);
        let early = world.event(START - back, Some("k0"), What::Trigger { severity: Severity::Info, class: "" });

        world.batch(&[early]);

        let last = world.state.events.last().map(|(id, ..)| *id);
        prop_assert!(last > newest, "ids go on growing although the system's clock went back");
        assert_consistent(&world);
    }
}

/// A trigger of its own, for tests of other modules.
pub(crate) fn trigger(world: &World, after_ms: i64, key: &str) -> Input {
    let what = What::Trigger { severity: Severity::Error, class: "disk" };
    world.event(START + after_ms, Some(key), what)
}
