//! Random histories of a gateway, its receivers and what is between them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::{Value, json};

use super::{
    bench::Bench,
    laws::{Laws, known, usual_weather},
    receivers::Weather,
};
use crate::{
    domain::{
        id::DeliveryId,
        tests::noise::histories::{self, RECEIVERS, Step},
    },
    store::outbox::{DeliveryState, Retried},
};

/// Of random histories; each writes a database.
const CASES: u32 = 48;

/// What happens besides what is decided.
#[derive(Clone, Debug)]
enum Outside {
    Weather(usize, Weather),
    /// A secret cannot be found, or is there again.
    Locked(usize, bool),
    /// The process is killed after so many steps of the dispatcher.
    Crash {
        steps: usize,
        reopens: bool,
    },
    Restart,
    /// Somebody retries one of the dead, by number.
    Retry(usize),
    /// The dispatcher gets to nothing while so much happens.
    Busy(usize),
}

fn outside() -> impl Strategy<Value = Vec<(usize, Outside)>> {
    let slot = 0..RECEIVERS.len();
    let weather = prop::sample::select(usual_weather());
    let what = prop_oneof![
        8 => (slot.clone(), weather).prop_map(|(slot, w)| Outside::Weather(slot, w)),
        1 => (slot, any::<bool>()).prop_map(|(slot, locked)| Outside::Locked(slot, locked)),
        2 => (0..4_usize, any::<bool>())
            .prop_map(|(steps, reopens)| Outside::Crash { steps, reopens }),
        1 => Just(Outside::Restart),
        5 => (0..10_usize).prop_map(Outside::Retry),
        3 => (1..10_usize).prop_map(Outside::Busy),
    ];
    prop::collection::vec((0..200_usize, what), 0..30)
}

/// A policy under which everybody is told of everything, besides what its own rules say.
fn policy() -> impl Strategy<Value = Value> {
    let all = json!({"receivers": RECEIVERS});
    histories::policy().prop_map(move |mut policy| {
        policy["notify"].as_array_mut().unwrap().push(all.clone());
        policy
    })
}

/// Policies, what happens at the gateway, and what besides.
fn strategy() -> impl Strategy<Value = (Vec<Value>, Vec<Step>, Vec<(usize, Outside)>)> {
    let policies = prop::collection::vec(policy(), 1..4);
    (policies, prop::collection::vec(histories::step(), 1..40), outside())
}

/// What came of a history.
#[derive(Debug, Default)]
struct Tally(BTreeMap<String, u32>);

impl Tally {
    fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }
}

async fn go_through(
    policies: &[Value],
    steps: &[Step],
    outside: &[(usize, Outside)],
    tally: &mut Tally,
) {
    let (mut gateway, _, at) = histories::run(policies, steps, |_, _| {});
    let end = gateway.log.len();
    let known = known(&gateway);
    histories::end_all(&mut gateway, at);
    let mut bench = Bench::over(gateway).await;
    let mut retried: BTreeSet<DeliveryId> = BTreeSet::new();
    let mut busy = 0;
    for number in 0..end {
        let at = bench.next_at().max(bench.now());
        if busy == 0 {
            bench.run_until(at).await;
        }
        bench.clock.set(at);
        bench.play_one().await;
        for (_, what) in outside.iter().filter(|(place, _)| place % end == number) {
            match what {
                Outside::Weather(slot, weather) => {
                    bench.receivers.weather(RECEIVERS[*slot], *weather);
                }
                Outside::Locked(slot, true) => bench.receivers.lock(RECEIVERS[*slot]),
                Outside::Locked(slot, false) => bench.receivers.unlock(RECEIVERS[*slot]),
                Outside::Crash { steps, reopens } => {
                    for _ in 0..*steps {
                        bench.step().await;
                    }
                    bench.crash(*reopens).await;
                }
                Outside::Restart => bench.restart().await,
                Outside::Retry(number) => {
                    let dead = bench.in_state(DeliveryState::Dead).await;
                    if let Some(dead) = dead.get(number % dead.len().max(1)) {
                        retried.insert(dead.id);
                        assert_eq!(bench.retry(dead.id).await, Retried::Queued);
                        tally.count("retried");
                    }
                }
                Outside::Busy(steps) => busy = *steps,
            }
        }
        busy = busy.saturating_sub(1);
        if busy == 0 {
            bench.settle().await;
        }
    }
    bench.receivers.clear_up();
    bench.run_out().await;
    Laws::of(&bench, &retried).await.assert_known(&known).await;

    while bench.waiting() > 0 {
        let at = bench.next_at();
        bench.run_until(at).await;
        bench.play_one().await;
        bench.settle().await;
    }
    bench.run_out().await;
    let laws = Laws::of(&bench, &retried).await;
    laws.assert();
    laws.assert_nothing_is_open();
    for word in laws.words() {
        tally.count(word);
    }
    for _ in &bench.cut_off {
        tally.count("cut off");
    }
}

#[test]
fn whatever_happens_everybody_hears_in_order_and_to_the_end() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Default::default()
    };

    let result = TestRunner::new(config).run(&strategy(), |(policies, steps, outside)| {
        runtime.block_on(go_through(&policies, &steps, &outside, &mut Tally::default()));
        Ok(())
    });

    if let Err(error) = result {
        panic!("{}", error.to_string().chars().take(12_000).collect::<String>());
    }
}

#[tokio::test]
async fn the_histories_are_rich_enough_to_mean_something() {
    let mut runner = TestRunner::deterministic();
    let mut tally = Tally::default();
    for _ in 0..24 {
        let history = strategy().new_tree(&mut runner).unwrap();
        let (policies, steps, outside) = history.current();
        go_through(&policies, &steps, &outside, &mut tally).await;
    }

    for word in ["delivered", "folded", "never told", "cut off", "retried", "tried again"] {
        assert!(tally.0.contains_key(word), "{word} of {tally:?}");
    }
}
