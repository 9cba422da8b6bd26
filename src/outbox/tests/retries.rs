//! When what failed is tried again: the backoff, what a receiver asks for, the breaker, the pace.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    bench::{Bench, START},
    receivers::Weather,
};
use crate::{
    domain::{
        changes::{Input, Verb},
        event::Severity,
        notify::Reason,
        time::{Span, Timestamp},
    },
    notify::Outcome,
    store::outbox::{DeliveryState, Outbox as _},
};

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

fn policy() -> Value {
    json!({"notify": [{"receivers": ["a"]}]})
}

async fn bench_of(settings: Value) -> Bench {
    Bench::new(&policy(), &[("a", settings)]).await
}

/// One incident each, all at once.
async fn trigger_many(bench: &mut Bench, prefix: &str, many: usize) {
    for number in 0..many {
        bench.trigger(&format!("{prefix}{number}"), Severity::Error).await;
    }
}

fn after(span: i64) -> Timestamp {
    Timestamp::from_millis(START.as_millis() + span)
}

/// The times between tries.
fn waits(tried: &[(i64, Reason)]) -> Vec<i64> {
    tried.windows(2).map(|two| two[1].0 - two[0].0).collect()
}

fn between(low: i64, high: i64) -> impl Fn(&i64) -> bool {
    move |wait| (low..=high).contains(wait)
}

#[tokio::test]
async fn waits_double_from_5_seconds_to_15_minutes_a_fifth_more_or_less() {
    let mut bench = bench_of(json!({})).await;
    bench.receivers.weather("a", Weather::Unreachable);

    bench.trigger("k", Severity::Error).await;
    bench.run_for(Span::from_secs(3 * 3600)).await;

    let waits = waits(&bench.receivers.tried("a", START));
    for (number, wait) in waits.iter().enumerate() {
        let base = ((5 * SECOND) << number.min(20)).min(15 * MINUTE);
        assert!(between(base * 4 / 5, base * 6 / 5)(wait), "{number}: {wait} of {waits:?}");
    }
    assert!(waits.len() > 12, "{waits:?}");
}

#[tokio::test]
async fn it_is_given_up_48_hours_after_its_own_first_try() {
    let mut bench = bench_of(json!({})).await;
    bench.receivers.weather("a", Weather::Unreachable);
    bench.trigger("k", Severity::Error).await;
    bench.resolve("k").await;

    bench.run_until(after(48 * HOUR - 1)).await;
    let before = bench.states().await;
    bench.run_until(after(49 * HOUR)).await;

    assert_eq!(before, ["opened pending: Unreachable", "resolved pending"]);
    let given_up = "opened dead: Unreachable; given up 2d after the first try";
    // Nothing is left to resolve.
    let never = "resolved dead: never told: nothing of it has reached the receiver";
    assert_eq!(bench.states().await, [given_up, never]);
}

#[tokio::test]
async fn the_48_hours_of_what_waits_begin_when_it_is_first_in_its_lane() {
    let mut bench = bench_of(json!({})).await;
    bench.receivers.weather("a", Weather::Unanswered { arrives: false });
    bench.trigger("k", Severity::Error).await;
    bench.resolve("k").await;

    bench.run_until(after(49 * HOUR)).await;
    let halfway = bench.states().await;
    bench.run_until(after(96 * HOUR)).await;
    let later = bench.in_state(DeliveryState::Pending).await.len();
    bench.run_until(after(98 * HOUR)).await;

    assert!(halfway[0].starts_with("opened dead"), "{halfway:?}");
    assert!(halfway[1].starts_with("resolved pending"), "{halfway:?}");
    assert_eq!((later, bench.in_state(DeliveryState::Pending).await.len()), (1, 0));
}

#[tokio::test]
async fn only_a_failed_try_kills() {
    let mut bench = bench_of(json!({})).await;
    bench.receivers.weather("a", Weather::Unreachable);
    bench.trigger("k", Severity::Error).await;
    bench.settle().await;
    bench.receivers.clear_up();

    // Nothing ran for five days.
    bench.clock.set(after(120 * HOUR));
    bench.settle().await;

    assert_eq!(bench.states().await, ["opened delivered"]);
    assert_eq!(bench.receivers.tries()[1].payload["late"], "late by 5d");
}

#[tokio::test]
async fn what_a_receiver_asks_for_is_never_cut_short() {
    for weather in [
        Weather::Busy(Span::from_secs(100)),
        Weather::Throttles(Some(Span::from_secs(100))),
        Weather::Busy(Span::from_secs(3600)),
        Weather::Throttles(Some(Span::from_secs(3600))),
    ] {
        let (Weather::Busy(asked) | Weather::Throttles(Some(asked))) = weather else { continue };
        let mut bench = bench_of(json!({})).await;
        bench.receivers.weather("a", weather);

        bench.trigger("k", Severity::Error).await;
        bench.run_for(Span::from_secs(5 * 3600)).await;

        let waits = waits(&bench.receivers.tried("a", START));
        let asked = asked.as_millis();
        assert!(waits.len() >= 3, "{weather:?}: {waits:?}");
        assert!(waits.iter().all(between(asked, asked * 6 / 5)), "{weather:?}: {waits:?}");
    }
}

#[tokio::test]
async fn a_receiver_that_asks_for_no_wait_worth_the_name_is_left_alone_as_any_that_fails() {
    for asked in [0, 1, 4] {
        let asked = Span::from_secs(asked);
        for weather in [Weather::Busy(asked), Weather::Throttles(Some(asked))] {
            let mut bench = bench_of(json!({})).await;
            bench.receivers.weather("a", weather);

            bench.trigger("k", Severity::Error).await;
            bench.run_for(Span::from_secs(3 * 3600)).await;

            let waits = waits(&bench.receivers.tried("a", START));
            assert!(waits.len() > 10, "{weather:?}: {waits:?}");
            for (number, wait) in waits.iter().enumerate() {
                let base = ((5 * SECOND) << number.min(20)).min(15 * MINUTE);
                assert!(between(base, base * 6 / 5)(wait), "{weather:?}: {number}: {waits:?}");
            }
        }
    }
}

#[tokio::test]
async fn many_that_failed_together_do_not_come_back_together() {
    let mut bench = bench_of(json!({})).await;
    bench.receivers.weather("a", Weather::Broken { arrives: false });
    // Fewer than it takes to be thought down.
    trigger_many(&mut bench, "k", 4).await;
    bench.settle().await;
    bench.receivers.clear_up();

    bench.run_for(Span::from_secs(7)).await;

    let tried = bench.receivers.tried("a", START);
    let times: BTreeSet<i64> = tried.iter().map(|(at, _)| *at).filter(|at| *at > 0).collect();
    assert_eq!(tried.len(), 8);
    assert!(times.len() > 1, "{times:?}");
}

#[tokio::test]
async fn a_step_further_is_no_failure_and_waits_for_nothing_but_what_it_asks_for() {
    let mut bench = bench_of(json!({})).await;
    bench.receivers.weather("a", Weather::Slow(3, Span::ZERO));
    bench.trigger("k", Severity::Error).await;
    bench.settle().await;

    let tries = bench.receivers.tries();
    assert_eq!(tries.iter().map(|a| a.continues).collect::<Vec<_>>(), [false, true, true, true]);
    assert_eq!(bench.states().await, ["opened delivered"]);

    bench.receivers.weather("a", Weather::Slow(2, Span::from_secs(60)));
    bench.resolve("k").await;
    bench.run_for(Span::from_secs(600)).await;

    let tried = &bench.receivers.tried("a", START)[4..];
    assert_eq!(tried.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, MINUTE, 2 * MINUTE]);
    // Somebody else may have sent something in between.
    assert!(bench.receivers.tries()[4..].iter().all(|a| !a.continues));
    assert_eq!(bench.receivers.open_at("a"), 0);
}

#[tokio::test]
async fn after_a_crash_a_chain_of_steps_goes_on_where_it_was_stored_and_knows_of_the_crash() {
    let mut bench = bench_of(json!({})).await;
    bench.receivers.weather("a", Weather::Slow(1, Span::ZERO));
    bench.trigger("k", Severity::Error).await;
    bench.dispatcher().round().await;
    bench.dispatcher().round().await;
    bench.crash(true).await;

    bench.settle().await;

    let tries = bench.receivers.tries();
    let last = tries.last().unwrap();
    assert_eq!((last.outcome, last.continues), (Outcome::Delivered, false));
    assert_eq!(tries.len(), 2);
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_in_two_lanes_is_probed_lane_by_lane() {
    let mut bench = bench_of(json!({})).await;
    bench.receivers.weather("a", Weather::Unreachable);
    trigger_many(&mut bench, "k", 12).await;
    bench.settle().await;
    let until_open = bench.receivers.tries().len();
    assert!((5..=8).contains(&until_open), "{until_open} tries before it counts as down");
    assert_eq!(bench.outlook.down().get("a"), Some(&START));

    bench.run_for(Span::from_secs(60)).await;

    let probes = &bench.receivers.tries()[until_open..];
    assert_eq!(probes.len(), 6, "one in ten seconds");
    let lanes: BTreeSet<_> = probes.iter().map(|a| a.end.clone()).collect();
    assert_eq!(lanes.len(), 6, "each another lane");
}

#[tokio::test]
async fn one_lane_that_a_receiver_chokes_on_holds_no_other_up() {
    let mut bench = bench_of(json!({})).await;
    bench.receivers.weather("a", Weather::Chokes);
    bench.trigger("chokes", Severity::Error).await;
    bench.run_for(Span::from_secs(600)).await;
    assert!(bench.receivers.tries().len() >= 6);

    trigger_many(&mut bench, "k", 8).await;
    bench.settle().await;

    assert_eq!(bench.receivers.open_at("a"), 8);
    assert!(bench.outlook.down().is_empty());
}

#[tokio::test]
async fn refusals_do_not_count_as_an_outage() {
    for weather in [Weather::Refuses, Weather::Throttles(None)] {
        let mut bench = bench_of(json!({})).await;
        bench.receivers.weather("a", weather);
        trigger_many(&mut bench, "k", 12).await;

        bench.run_for(Span::from_secs(600)).await;

        assert!(bench.outlook.down().is_empty(), "{weather:?}");
    }
}

#[tokio::test]
async fn once_it_is_up_again_everything_goes_but_what_it_asked_to_wait() {
    let mut bench = bench_of(json!({})).await;
    bench.receivers.weather("a", Weather::Busy(Span::from_secs(4000)));
    bench.trigger("asked", Severity::Error).await;
    bench.settle().await;
    bench.receivers.weather("a", Weather::Slow(1, Span::from_secs(4000)));
    bench.trigger("step", Severity::Error).await;
    bench.settle().await;
    bench.receivers.weather("a", Weather::Unreachable);
    trigger_many(&mut bench, "k", 8).await;
    bench.run_for(Span::from_secs(3600)).await;
    assert!(!bench.outlook.down().is_empty());

    bench.receivers.clear_up();
    bench.run_for(Span::from_secs(15)).await;

    assert!(bench.outlook.down().is_empty());
    assert_eq!(bench.receivers.open_at("a"), 8);
    bench.run_until(after(3999 * SECOND)).await;
    assert_eq!(bench.receivers.open_at("a"), 8);
    bench.run_until(after(4800 * SECOND)).await;
    assert_eq!(bench.receivers.open_at("a"), 10);
}

#[tokio::test]
async fn who_has_come_back_gets_its_backlog_no_faster_than_it_answers() {
    let mut bench = bench_of(json!({"concurrency": 8})).await;
    bench.receivers.weather("a", Weather::Unreachable);
    trigger_many(&mut bench, "k", 60).await;
    bench.settle().await;
    assert!(!bench.outlook.down().is_empty());
    bench.receivers.clear_up();
    bench.clock.advance(Span::from_secs(10));

    // The probe, and then with each answer one more.
    let mut at_once = Vec::new();
    while bench.receivers.open_at("a") < 60 {
        let before = bench.receivers.tries().len();
        bench.dispatcher().round().await;
        at_once.push(bench.receivers.tries().len() - before);
    }

    at_once.retain(|sent| *sent > 0);
    assert_eq!(at_once[..6], [1, 1, 2, 4, 8, 8], "{at_once:?}");
}

#[tokio::test]
async fn somebody_who_wants_to_know_has_it_tried_at_once() {
    let mut bench = bench_of(json!({})).await;
    bench.receivers.weather("a", Weather::Broken { arrives: false });
    trigger_many(&mut bench, "k", 8).await;
    bench.run_for(Span::from_secs(5)).await;
    bench.receivers.clear_up();
    let (id, before) = (bench.gateway.receiver("a").unwrap(), bench.receivers.tries().len());
    let test = Input::Test { receiver: id, received_at: bench.now() };
    bench.gateway.batch(&[test]);
    bench.play().await;
    bench.settle().await;
    assert_eq!(bench.receivers.tries().len(), before, "it is down");

    bench.outlook.try_now(id.seq());
    bench.settle().await;

    assert_eq!(bench.receivers.tries()[before].reason, Reason::Test);
    assert!(bench.outlook.down().is_empty());
}

#[tokio::test]
async fn a_backlog_drains_no_faster_than_the_receivers_rate() {
    let mut bench = bench_of(json!({"rate_per_minute": 60, "concurrency": 50})).await;
    bench.receivers.weather("a", Weather::Unreachable);
    trigger_many(&mut bench, "k", 150).await;
    bench.run_for(Span::from_secs(120)).await;
    bench.receivers.clear_up();
    let up_at = bench.now().since(START).as_millis();

    bench.run_for(Span::from_secs(240)).await;

    assert_eq!(bench.receivers.open_at("a"), 150);
    let tried = bench.receivers.tried("a", START);
    let times: Vec<i64> = tried.iter().map(|(at, _)| *at).filter(|at| *at >= up_at).collect();
    for from in &times {
        let within = times.iter().filter(|at| (*from..*from + MINUTE).contains(*at)).count();
        assert!(within <= 60, "{within} in the minute from {from}");
    }
    // And not much slower either.
    assert!(times.last().unwrap() - up_at < 170 * SECOND, "{times:?}");
}

/// Two receivers that tell the same account of different things.
async fn two_of_one_key() -> Bench {
    let settings = json!({"url": "pd/0", "routing_key_env": "KEY", "rate_per_minute": 60});
    let policy = json!({"notify": [
        {"receivers": ["a"], "match": ["severity=\"error\""]},
        {"receivers": ["b"], "match": ["severity=\"warning\""]},
    ]});
    Bench::new(&policy, &[("a", settings.clone()), ("b", settings)]).await
}

#[tokio::test]
async fn receivers_with_one_key_share_its_rate() {
    let mut bench = two_of_one_key().await;
    for number in 0..40 {
        bench.trigger(&format!("a{number}"), Severity::Error).await;
        bench.trigger(&format!("b{number}"), Severity::Warning).await;
    }

    bench.settle().await;
    let at_once = bench.receivers.tries().len();
    bench.run_until(after(MINUTE - 1)).await;

    assert_eq!(at_once, 6);
    assert_eq!(bench.receivers.tries().len(), 60, "in the first minute");
}

#[tokio::test]
async fn what_takes_two_requests_counts_twice() {
    let mut bench = bench_of(json!({"rate_per_minute": 60, "concurrency": 50})).await;
    trigger_many(&mut bench, "k", 60).await;
    bench.run_for(Span::from_secs(120)).await;
    for number in 1..=60 {
        bench.act(number, Verb::Acknowledge).await;
    }
    bench.run_for(Span::from_secs(120)).await;
    let acknowledged = bench.receivers.tries().len();
    for number in 1..=60 {
        bench.act(number, Verb::Unacknowledge).await;
    }
    let from = bench.now();

    bench.run_until(from.plus(Span::from_secs(59))).await;
    let within = bench.receivers.tries().len() - acknowledged;
    bench.run_for(Span::from_secs(120)).await;

    let woken = &bench.receivers.tries()[acknowledged..];
    assert!(woken.iter().all(|a| a.payload["wakes"] == true), "{woken:?}");
    assert_eq!((within, woken.len()), (30, 60));
}

#[tokio::test]
async fn a_429_pauses_the_key_whoever_uses_it() {
    let mut bench = two_of_one_key().await;
    bench.trigger("b0", Severity::Warning).await;
    bench.settle().await;
    bench.receivers.weather("pd", Weather::Throttles(Some(Span::from_secs(300))));
    bench.trigger("a0", Severity::Error).await;
    bench.settle().await;
    bench.receivers.clear_up();

    bench.trigger("b1", Severity::Warning).await;
    bench.trigger("a1", Severity::Error).await;
    bench.run_until(after(300 * SECOND - 1)).await;
    let during = bench.receivers.tries().len();
    bench.run_until(after(361 * SECOND)).await;

    assert_eq!(during, 2, "the key is paused");
    assert_eq!(bench.receivers.open_at("pd"), 4);
}

#[tokio::test]
async fn of_a_hundred_receivers_one_that_hangs_delays_no_other() {
    let names: Vec<String> = (0..100).map(|number| format!("r{number}")).collect();
    let rules: Vec<Value> = names.chunks(20).map(|some| json!({"receivers": some})).collect();
    let policy = json!({"notify": rules});
    let receivers: Vec<(&str, Value)> = names.iter().map(|n| (n.as_str(), json!({}))).collect();
    let mut rounds = Vec::new();
    for hangs in [false, true] {
        let mut bench = Bench::new(&policy, &receivers).await;
        if hangs {
            bench.receivers.weather("r0", Weather::Hangs);
        }
        trigger_many(&mut bench, "k", 6).await;

        let mut taken = 0;
        while names[1..].iter().any(|name| bench.receivers.open_at(name) < 6) {
            bench.dispatcher().round().await;
            taken += 1;
            assert!(taken < 50, "others wait for the one that hangs");
        }

        rounds.push(taken);
    }
    assert_eq!(rounds[0], rounds[1]);
}

#[tokio::test]
async fn whatever_is_left_to_do_at_once_is_not_slept_over() {
    let mut bench = bench_of(json!({})).await;
    bench.trigger("k", Severity::Error).await;
    bench.resolve("k").await;
    bench.dispatcher().round().await;
    bench.dispatcher().step().await.unwrap();

    // The trigger is recorded, so its resolve is due.
    let now = bench.now();
    assert_eq!(bench.dispatcher().next_time(now), Some(now));
    bench.dispatcher().round().await;
    bench.dispatcher().round().await;
    assert_eq!(bench.receivers.taken_in("a"), ["opened k is error", "resolved k is error"]);
    let after = bench.after();
    assert_eq!(after, 0);
    assert!(bench.store().backlog().await.unwrap().is_empty());
}
