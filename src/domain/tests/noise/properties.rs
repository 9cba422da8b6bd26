//! The laws.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::{
    consistent::{assert_consistent, assert_settled, assert_told_to_the_end, told},
    histories::{
        Happening, Step, end_all, event, gateway, policy, run, run_in_batches, run_with_ticks, step,
    },
};
use crate::domain::{
    alert::Status,
    changes::Input,
    id::{Ids, Sequences},
    memory::Memory,
    notify::Reason,
    pipeline,
    silence::When,
    tests::{
        gateway::{Gateway, SilenceText},
        laws::START,
        world::What,
    },
    time::Timestamp,
};

fn policies() -> impl Strategy<Value = Vec<serde_json::Value>> {
    prop::collection::vec(policy(), 1..4)
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..most)
}

/// What people see of a state, without ids that tell when something was written.
fn seen(gateway: &Gateway) -> (Vec<String>, Vec<String>, Vec<String>) {
    let state = &gateway.world.state;
    let alerts = state.alerts.values().map(|a| {
        let incident = a.incident_id.map(crate::domain::id::IncidentId::seq);
        format!("{} {} {:?} {} {incident:?}", a.id.seq(), a.status, a.resolved_at, a.severity)
    });
    let incidents = state.incidents.values().map(|i| {
        let times = (i.resolved_at, i.acknowledged_at, i.snoozed_until);
        format!("{} {} {times:?} {} {:?}", i.id.seq(), i.status, i.severity, i.notices)
    });
    let mut notifications: Vec<String> = state
        .notifications
        .iter()
        .map(|n| format!("{} {} {} {}", n.at, n.incident_id.seq(), n.receiver, n.reason))
        .collect();
    notifications.sort();
    (alerts.collect(), incidents.collect(), notifications)
}

/// A silence of everything from the start to `until_ms` after it.
fn silence_all(gateway: &mut Gateway, until_ms: i64) {
    let now = Timestamp::from_millis(START);
    let until = Timestamp::from_millis(START + until_ms);
    let when = When::Once { from: now, until };
    let text = SilenceText { name: "all", matchers: json!([]), service: None, when };
    gateway.put_silence(text, now);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn batches_never_show(
        policies in policies(),
        steps in steps(40),
        sizes in prop::collection::vec(1..12_usize, 1..6),
    ) {
        let (one_by_one, ops, _) = run(&policies, &steps, |_, _| {});
        let batched = run_in_batches(&policies, &ops, &sizes);

        let difference = batched.world.state.first_difference(&one_by_one.world.state);
        prop_assert!(difference.is_none(), "{}", difference.unwrap());
    }

    #[test]
    fn ticks_never_show(
        policies in policies(),
        steps in steps(40),
        ticks in prop::collection::vec(0..=1000_i64, 1..4),
    ) {
        let mut ticks = ticks;
        ticks.sort_unstable();
        let (mut without, _, at) = run(&policies, &steps, |_, _| {});
        let mut with = run_with_ticks(&policies, &steps, &ticks);
        for gateway in [&mut without, &mut with] {
            gateway.batch(&[Input::Tick(Timestamp::from_millis(at + 200_000))]);
        }

        let (without, with) = (seen(&without), seen(&with));
        prop_assert_eq!(with.2, without.2);
        prop_assert_eq!(with.0, without.0);
        prop_assert_eq!(with.1, without.1);
    }

    #[test]
    fn counters_agree_with_the_alerts_and_nothing_is_left_due(
        policies in policies(),
        steps in steps(40),
    ) {
        let mut resolved: BTreeMap<i64, (Option<Timestamp>, u32)> = BTreeMap::new();
        let (mut gateway, _, at) = run(&policies, &steps, |gateway, _| {
            assert_consistent(gateway);
            for incident in gateway.world.state.incidents.values() {
                let number = incident.id.seq();
                if incident.is_open() {
                    resolved.remove(&number);
                    continue;
                }
                let now = (incident.resolved_at, incident.alert_count);
                let before = resolved.insert(number, now).filter(|before| before.0 == now.0);
                assert!(before.is_none_or(|before| before == now), "a resolved incident never grows");
            }
        });
        for after in [0, 10_000, 100_000, 1_000_000] {
            let now = Timestamp::from_millis(at + after);
            gateway.batch(&[Input::Tick(now)]);
            assert_settled(&gateway, now);
            assert_consistent(&gateway);
        }
    }

    #[test]
    fn nobody_who_was_told_is_left_without_the_resolve(
        policies in policies(),
        steps in steps(40),
    ) {
        let (mut gateway, _, at) = run(&policies, &steps, |_, _| {});

        end_all(&mut gateway, at);

        assert_told_to_the_end(&gateway);
        assert_consistent(&gateway);
    }

    #[test]
    fn of_what_is_suppressed_from_first_to_last_nobody_hears(
        policy in policy(),
        events in prop::collection::vec((0..20_000_i64, event()), 1..30),
    ) {
        let mut gateway = gateway(&policy);
        silence_all(&mut gateway, 86_400_000);
        let mut at = START;
        for (after, what) in events {
            at += after;
            if let Happening::Event { key, what } = what {
                let key = key.map(|key| format!("k{key}"));
                let input = gateway.world.event(at, key.as_deref(), what);
                gateway.batch(&[input]);
            }
        }
        gateway.batch(&[Input::Tick(Timestamp::from_millis(at + 1_000_000))]);
        for alert in gateway.world.state.alerts.values().filter(|a| a.is_open()).cloned().collect::<Vec<_>>() {
            let resolve = gateway.world.event(at + 1_000_001, Some(alert.dedup_key.as_str()), What::Resolve);
            gateway.batch(&[resolve]);
        }
        gateway.batch(&[Input::Tick(Timestamp::from_millis(at + 900_000_000))]);

        prop_assert_eq!(&gateway.world.state.notifications, &[]);
        prop_assert_eq!(gateway.world.state.incidents.len(), 0);
    }

    #[test]
    fn the_end_of_a_silence_notifies_what_is_open_once(
        policy in policy(),
        events in prop::collection::vec((0..2_000_i64, event()), 1..30),
    ) {
        let mut policy = policy;
        policy["notify"] = json!([{"receivers": ["a"]}]);
        for member in ["inhibition", "auto_pause", "flapping", "auto_resolve", "acknowledgement_timeout"] {
            policy[member] = json!(null);
        }
        let mut gateway = gateway(&policy);
        silence_all(&mut gateway, 100_000);
        let mut at = START;
        for (after, what) in events {
            at += after;
            if let Happening::Event { key, what } = what {
                let key = key.map(|key| format!("k{key}"));
                let input = gateway.world.event(at, key.as_deref(), what);
                gateway.batch(&[input]);
            }
        }
        gateway.batch(&[Input::Tick(Timestamp::from_millis(START + 100_001))]);

        let state = &gateway.world.state;
        let all = told(&gateway);
        for alert in state.alerts.values().filter(|alert| alert.is_open()) {
            let incident = &state.incidents[&alert.incident_id.unwrap()];
            let told = all.get(&(incident.id, "a".to_owned()));
            let opened = told.into_iter().flatten().filter(|n| n.reason == Reason::Opened).count();
            // If one is acknowledged that opened it, it is until its timeout.
            let expected = usize::from(incident.status == Status::Triggered);
            prop_assert_eq!(opened, expected, "{:?}", incident);
        }
        prop_assert!(state.notifications.iter().all(|n| n.at == Timestamp::from_millis(START + 100_000)));
    }

    #[test]
    fn the_order_of_unrelated_keys_does_not_matter(
        policy in policy(),
        pairs in prop::collection::vec((0..20_000_i64, event(), event()), 1..25),
    ) {
        let mut policy = policy;
        policy["grouping"] = json!([{"by": ["class"]}]);
        policy["inhibition"] = json!([]);
        let outcome = |swapped: bool| {
            let mut gateway = gateway(&policy);
            let mut at = START;
            for (after, one, other) in &pairs {
                at += after;
                let mut two = [("disk", one), ("cpu", other)].map(|(class, what)| {
                    let Happening::Event { key, what } = what else { unreachable!() };
                    let key = format!("{class}{}", key.unwrap_or(0));
                    let what = match what {
                        What::Trigger { severity, .. } => {
                            What::Trigger { severity: *severity, class }
                        }
                        // Ids are the integration's, not the key's.
                        What::WithId { id, informs, .. } => {
                            let id = 2 * id + u8::from(class == "cpu");
                            What::WithId { id, informs: *informs, class }
                        }
                        other => *other,
                    };
                    gateway.world.event(at, Some(&key), what)
                });
                if swapped {
                    two.reverse();
                }
                gateway.batch(&two);
            }
            gateway.batch(&[Input::Tick(Timestamp::from_millis(at + 200_000))]);
            let state = &gateway.world.state;
            let mut alerts: Vec<String> = state
                .alerts
                .values()
                .map(|a| {
                    let title = a.incident_id.map(|id| &state.incidents[&id].title);
                    format!("{} {} {} {:?} {title:?}", a.dedup_key.as_str(), a.status, a.severity, a.resolved_at)
                })
                .collect();
            alerts.sort();
            let mut told: Vec<String> = state
                .notifications
                .iter()
                .map(|n| {
                    let title = &state.incidents[&n.incident_id].title;
                    format!("{title} {} {} {} {}", n.at, n.receiver, n.reason, n.severity)
                })
                .collect();
            told.sort();
            (alerts, told)
        };

        prop_assert_eq!(outcome(false), outcome(true));
    }

    #[test]
    fn another_store_that_replays_the_log_decides_the_same(
        policy in policy(),
        steps in steps(40),
        size in 1..8_usize,
    ) {
        let steps: Vec<Step> = steps
            .into_iter()
            .filter(|step| matches!(step.what, Happening::Event { .. } | Happening::Act { .. } | Happening::Tick))
            .collect();
        let (first, ops, _) = run(std::slice::from_ref(&policy), &steps, |_, _| {});
        let directory = &gateway(&policy).world.directory.clone();
        let inputs: Vec<Input> = ops
            .into_iter()
            .filter_map(|op| match op {
                super::histories::Op::Input(input) => Some(input),
                super::histories::Op::Change(..) => None,
            })
            .collect();
        let mut memory = Memory::default();
        let mut ids = Ids::new(Sequences::default(), [1; 32]);
        let (mut told, mut events) = (Vec::new(), Vec::new());
        for batch in inputs.chunks(size) {
            let (changes, _) = pipeline::run(batch, directory, &mut ids, |keys| memory.load(keys));
            memory.save(&changes);
            told.extend(changes.notifications);
            events.extend(changes.events.into_iter().map(|e| (e.id, e.alert_id, e.disposition, e.trace)));
        }

        prop_assert_eq!(&told, &first.world.state.notifications);
        prop_assert_eq!(&events, &first.world.state.events);
    }

    #[test]
    fn resolving_again_changes_nothing(policies in policies(), steps in steps(25), key in 0..4_u8) {
        let (mut gateway, _, at) = run(&policies, &steps, |_, _| {});
        let key = format!("k{key}");
        let resolve = |gateway: &Gateway| gateway.world.event(at + 1, Some(&key), What::Resolve);
        let first = resolve(&gateway);
        gateway.batch(&[first]);
        let before = (seen(&gateway), gateway.world.state.timeline.len());

        let second = resolve(&gateway);
        gateway.batch(&[second]);

        prop_assert_eq!((seen(&gateway), gateway.world.state.timeline.len()), before);
        let mut of_key = gateway.world.state.alerts.values().filter(|a| a.dedup_key.as_str() == key);
        prop_assert!(of_key.all(|alert| alert.status == Status::Resolved));
    }
}

#[test]
fn the_histories_are_rich_enough_to_mean_something() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut reasons: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..200 {
        let history = (policies(), steps(40)).new_tree(&mut runner).unwrap();
        let (policies, steps) = proptest::strategy::ValueTree::current(&history);
        let (mut gateway, _, mut at) = run(&policies, &steps, |_, _| {});
        at += 400_000;
        gateway.batch(&[Input::Tick(Timestamp::from_millis(at))]);
        end_all(&mut gateway, at);
        for told in &gateway.world.state.notifications {
            *reasons.entry(told.reason.as_str()).or_default() += 1;
        }
    }

    let decided = Reason::ALL.iter().filter(|reason| **reason != Reason::Test);
    let missing: Vec<_> = decided.filter(|reason| !reasons.contains_key(reason.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?} of {reasons:?}");
}
