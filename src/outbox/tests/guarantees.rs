//! What the outbox promises, sentence by sentence.

use std::collections::BTreeMap;

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
        tests::world::What,
        time::{Span, Timestamp},
    },
    store::{
        outbox::{DeliveryState, Outbox as _, Retried},
        query::views::DeliveryView,
    },
};

const NEVER_TOLD: &str = "resolved dead: never told: nothing of it has reached the receiver";

fn policy() -> Value {
    json!({"grouping": [{"by": ["class"]}], "notify": [{"receivers": ["a"]}]})
}

async fn bench_of(settings: Value) -> Bench {
    Bench::new(&policy(), &[("a", settings)]).await
}

pub(super) async fn plain() -> Bench {
    let policy = json!({"notify": [{"receivers": ["a"]}]});
    Bench::new(&policy, &[("a", json!({"concurrency": 1}))]).await
}

impl Bench {
    pub(super) async fn of_reason(&self, reason: Reason) -> DeliveryView {
        let all = self.all(&crate::store::outbox::DeliveryFilter::default()).await;
        all.into_iter().find(|delivery| delivery.reason == reason).unwrap()
    }

    /// Retries by hand what is dead for this reason.
    pub(super) async fn revive(&self, reason: Reason) {
        let dead = self.in_state(DeliveryState::Dead).await;
        let dead = dead.into_iter().find(|delivery| delivery.reason == reason).unwrap();
        assert_eq!(self.retry(dead.id).await, Retried::Queued);
    }
}

#[tokio::test]
async fn the_next_of_a_lane_waits_for_the_one_before() {
    let mut bench = plain().await;
    bench.receivers.weather("a", Weather::Broken { arrives: false });
    bench.trigger("k", Severity::Error).await;
    bench.event("k", What::Acknowledge).await;
    bench.resolve("k").await;
    bench.run_for(Span::from_secs(600)).await;
    assert!(bench.receivers.tries().iter().all(|a| a.reason == Reason::Opened));

    bench.receivers.clear_up();
    bench.run_out().await;

    let told = ["opened k is error", "acknowledged k is error", "resolved k is error"];
    assert_eq!(bench.receivers.taken_in("a"), told);
}

#[tokio::test]
async fn an_incident_resolved_before_its_trigger_was_tried_is_told_both() {
    let mut bench = plain().await;

    bench.trigger("k", Severity::Error).await;
    bench.resolve("k").await;
    bench.run_out().await;

    assert_eq!(bench.receivers.taken_in("a"), ["opened k is error", "resolved k is error"]);
}

#[tokio::test]
async fn of_a_backlog_resolves_go_first_then_what_opens_then_the_rest() {
    let mut bench = plain().await;
    for key in ["worse", "over"] {
        bench.trigger(key, Severity::Warning).await;
    }
    bench.settle().await;

    bench.trigger("worse", Severity::Critical).await;
    bench.trigger("new", Severity::Error).await;
    bench.resolve("over").await;
    bench.settle().await;

    let told = ["resolved over is warning", "opened new is error"];
    assert_eq!(bench.receivers.taken_in("a")[2..4], told);
    assert!(bench.receivers.taken_in("a")[4].starts_with("severity_raised worse"));
}

#[tokio::test]
async fn updates_that_follow_one_another_are_folded_into_the_newest() {
    let mut bench = bench_of(json!({})).await;
    bench.trigger("k", Severity::Info).await;
    bench.settle().await;

    for severity in [Severity::Warning, Severity::Error, Severity::Critical] {
        bench.trigger("k", severity).await;
    }
    bench.settle().await;

    let states = bench.states().await;
    let newest = bench.all(&crate::store::outbox::DeliveryFilter::default()).await[3].id;
    let folded = format!("severity_raised delivered: folded into {newest}");
    assert_eq!(states, ["opened delivered", &folded, &folded, "severity_raised delivered"]);
    let tries = bench.receivers.tries();
    assert_eq!((tries.len(), &tries[1].payload["severity"]), (2, &json!("critical")));
    let log = bench.of_reason(Reason::SeverityRaised).await.id;
    let log = bench.store().delivery(log).await.unwrap().unwrap().attempt_log.unwrap();
    assert_eq!(log.len(), 1);
    assert!(log[0].error.as_ref().unwrap().starts_with("folded into"), "{log:?}");
}

#[tokio::test]
async fn what_is_folded_passes_on_that_it_wakes() {
    let mut bench = bench_of(json!({})).await;
    bench.trigger("k", Severity::Info).await;
    bench.act(1, Verb::Acknowledge).await;
    bench.settle().await;

    bench.clock.advance(Span::from_secs(1));
    bench.act(1, Verb::Unacknowledge).await;
    bench.clock.advance(Span::from_secs(1));
    bench.trigger("k", Severity::Critical).await;
    bench.settle().await;

    let tries = bench.receivers.tries();
    let reasons: Vec<Reason> = tries.iter().map(|a| a.reason).collect();
    assert_eq!(reasons, [Reason::Opened, Reason::Acknowledged, Reason::SeverityRaised]);
    assert_eq!(tries[2].payload["wakes"], true);
    assert!(bench.states().await[2].starts_with("repeat delivered: folded"));
}

#[tokio::test]
async fn folding_stops_at_what_matters() {
    let mut bench = bench_of(json!({})).await;
    bench.trigger("k", Severity::Info).await;
    bench.settle().await;

    bench.trigger("k", Severity::Warning).await;
    bench.act(1, Verb::Acknowledge).await;
    bench.act(1, Verb::Unacknowledge).await;
    bench.trigger("k", Severity::Critical).await;
    bench.resolve("k").await;
    bench.settle().await;

    let reasons: Vec<Reason> = bench.receivers.tries()[1..].iter().map(|a| a.reason).collect();
    assert_eq!(reasons, [Reason::SeverityRaised, Reason::Acknowledged, Reason::Resolved]);
}

#[tokio::test]
async fn what_got_worse_and_is_over_before_the_receiver_is_up_does_not_open_it_there_again() {
    let mut bench = bench_of(json!({})).await;
    bench.trigger("k", Severity::Warning).await;
    bench.settle().await;
    bench.receivers.weather("a", Weather::Unreachable);
    bench.trigger("k", Severity::Critical).await;
    bench.settle().await;
    bench.resolve("k").await;

    bench.receivers.clear_up();
    bench.run_out().await;

    let taken = bench.receivers.tries().into_iter().filter(|tried| tried.arrived);
    let taken: Vec<Reason> = taken.map(|tried| tried.reason).collect();
    assert_eq!(taken, [Reason::Opened, Reason::Resolved]);
}

#[tokio::test]
async fn what_certainly_did_not_arrive_is_composed_anew_and_says_how_late_it_is() {
    let mut bench = plain().await;
    bench.receivers.weather("a", Weather::Unreachable);
    bench.trigger("k", Severity::Warning).await;
    bench.settle().await;
    bench.trigger("k", Severity::Critical).await;
    bench.run_for(Span::from_secs(3600)).await;

    bench.receivers.clear_up();
    bench.run_out().await;

    let tries = bench.receivers.tries();
    let taken = tries.iter().find(|a| a.arrived).unwrap();
    assert_eq!(tries[0].payload["late"], Value::Null);
    assert_eq!(taken.payload["severity"], "critical");
    assert!(taken.payload["late"].as_str().unwrap().starts_with("late by "), "{taken:?}");
}

#[tokio::test]
async fn what_may_have_arrived_is_sent_as_it_was_also_after_a_restart() {
    for weather in [
        Weather::Unanswered { arrives: true },
        Weather::Unanswered { arrives: false },
        Weather::Broken { arrives: true },
    ] {
        let mut bench = plain().await;
        bench.receivers.weather("a", Weather::Unreachable);
        bench.trigger("k", Severity::Info).await;
        bench.settle().await;
        bench.receivers.weather("a", weather);
        bench.trigger("k", Severity::Warning).await;
        bench.run_for(Span::from_secs(20)).await;
        bench.trigger("k", Severity::Critical).await;
        bench.restart().await;
        bench.receivers.weather("a", Weather::Unreachable);
        bench.run_for(Span::from_secs(600)).await;

        bench.receivers.clear_up();
        bench.run_for(Span::from_secs(1200)).await;

        let tries = bench.receivers.tries();
        let of_it: Vec<_> = tries.iter().filter(|a| a.reason == Reason::Opened).collect();
        assert_eq!(of_it[0].payload["severity"], "info");
        let sent = &of_it[1].payload;
        assert_eq!(sent["severity"], "warning");
        assert!(of_it[1..].iter().all(|a| a.payload == *sent), "{weather:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_said_is_dead_and_says_why() {
    let mut bench = plain().await;

    bench.trigger("unspeakable", Severity::Error).await;
    bench.resolve("unspeakable").await;
    bench.run_out().await;

    assert_eq!(bench.states().await, ["opened dead: it cannot be said", NEVER_TOLD]);
}

#[tokio::test]
async fn a_notifier_with_a_mistake_costs_a_try_and_nothing_else() {
    let mut bench = plain().await;
    bench.receivers.weather("a", Weather::Panics);
    bench.trigger("k", Severity::Error).await;
    bench.settle().await;
    assert_eq!(bench.states().await, ["opened pending: an error of dutygate: see its log"]);

    bench.receivers.clear_up();
    bench.run_out().await;

    assert_eq!(bench.states().await, ["opened delivered"]);
}

#[tokio::test]
async fn a_secret_that_is_gone_is_a_dead_letter_that_says_so() {
    let mut bench = plain().await;
    bench.trigger("k", Severity::Error).await;
    bench.settle().await;
    bench.receivers.lock("a");
    bench.run_for(Span::from_secs(30)).await;

    bench.resolve("k").await;
    bench.run_out().await;

    assert_eq!(
        bench.states().await,
        ["opened delivered", "resolved dead: the secret of a is gone"]
    );
    let letters = bench.store().dead_letters().await.unwrap();
    let said: Vec<_> = letters.iter().map(|l| (&*l.name, l.reason, l.error.as_deref())).collect();
    assert_eq!(said, [("a", Reason::Resolved, Some("the secret of a is gone"))]);
    assert_eq!(bench.store().receivers_with_dead(Timestamp::default()).await.unwrap(), ["a"]);

    bench.store().dealt_with(&[letters[0].id]).await.unwrap();
    assert!(bench.store().dead_letters().await.unwrap().is_empty());
    bench.receivers.unlock("a");
    bench.run_for(Span::from_secs(30)).await;
    bench.revive(Reason::Resolved).await;
    bench.run_out().await;
    assert_eq!(bench.receivers.open_at("a"), 0);
    assert!(bench.store().receivers_with_dead(Timestamp::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lease_that_has_nearly_run_out_is_not_used_and_one_that_has_is_due_again() {
    let policy = json!({"notify": [{"receivers": ["a"]}]});
    let mut bench = Bench::new(&policy, &[("a", json!({}))]).await;
    bench.receivers.weather("a", Weather::Unreachable);
    // All are leased at once; a few find out that it is down, and then one in ten seconds goes.
    for number in 0..20 {
        bench.trigger(&format!("k{number}"), Severity::Error).await;
    }
    bench.run_for(Span::from_secs(58)).await;
    bench.receivers.clear_up();
    bench.run_for(Span::from_secs(20)).await;

    let mut first = BTreeMap::new();
    for tried in bench.receivers.tries() {
        first.entry(tried.delivery).or_insert(tried.at.since(START).as_millis());
    }
    // None was begun with less than 25 of the lease's 60 seconds left.
    assert!(first.values().all(|at| !(35_000..60_000).contains(at)), "{first:?}");
    assert!(first.values().any(|at| *at >= 60_000), "{first:?}");
    assert_eq!(bench.receivers.open_at("a"), 20);
}

#[tokio::test]
async fn what_a_dead_process_leased_is_due_when_the_lease_has_run_out() {
    let mut bench = plain().await;
    bench.trigger("k", Severity::Error).await;
    bench.step().await;
    assert_eq!(bench.receivers.tries().len(), 1);
    bench.lose_dispatcher();

    bench.run_for(Span::from_secs(59)).await;
    let during = bench.receivers.tries().len();
    bench.run_for(Span::from_secs(2)).await;

    assert_eq!(during, 1);
    assert_eq!(bench.receivers.taken_in("a"), ["opened k is error", "opened k is error again"]);
}

#[tokio::test]
async fn at_a_start_what_was_leased_is_sent_again_and_may_have_arrived() {
    for tried_before in [false, true] {
        let mut bench = plain().await;
        bench.trigger("k", Severity::Error).await;
        if tried_before {
            bench.receivers.weather("a", Weather::Unreachable);
            bench.settle().await;
            bench.receivers.clear_up();
            bench.clock.advance(Span::from_secs(10));
        }
        bench.step().await;
        bench.crash(true).await;
        bench.receivers.weather("a", Weather::Refuses);
        bench.settle().await;
        bench.receivers.clear_up();

        bench.resolve("k").await;
        bench.run_out().await;

        // It took the trigger in before the process died, so it is told that it is over.
        assert_eq!(bench.receivers.taken_in("a"), ["opened k is error", "resolved k is error"]);
        assert_eq!(bench.states().await, ["opened dead: Refuses", "resolved delivered"]);
    }
}

#[tokio::test]
async fn an_orderly_stop_lets_what_is_on_its_way_end_and_gives_the_rest_back_without_a_doubt() {
    let mut bench =
        Bench::new(&json!({"notify": [{"receivers": ["a"]}]}), &[("a", json!({}))]).await;
    bench.trigger("first", Severity::Error).await;
    bench.settle().await;
    for number in 0..9 {
        bench.trigger(&format!("k{number}"), Severity::Error).await;
    }
    bench.step().await;
    let on_the_way = bench.receivers.tries().len() - 1;
    bench.restart().await;
    assert_eq!(on_the_way, 4);
    assert_eq!(bench.in_state(DeliveryState::Delivered).await.len(), 5);

    bench.receivers.weather("a", Weather::Refuses);
    bench.settle().await;
    for number in 0..9 {
        bench.resolve(&format!("k{number}")).await;
    }
    bench.receivers.clear_up();
    bench.run_out().await;

    let states = bench.states().await;
    assert_eq!(states.iter().filter(|state| *state == NEVER_TOLD).count(), 5, "{states:?}");
    assert_eq!(bench.receivers.open_at("a"), 1);
}

#[tokio::test]
async fn a_step_of_many_that_was_taken_is_told_of_the_end() {
    let mut bench = plain().await;
    bench.receivers.weather("a", Weather::Slow(3, Span::from_secs(60)));
    bench.trigger("k", Severity::Error).await;
    bench.run_for(Span::from_secs(90)).await;
    bench.receivers.weather("a", Weather::RefusesNews);

    bench.run_for(Span::from_secs(90)).await;
    bench.resolve("k").await;
    bench.run_out().await;

    assert_eq!(bench.states().await, ["opened dead: RefusesNews", "resolved delivered"]);
}

#[tokio::test]
async fn a_test_is_tried_once_and_that_is_its_answer() {
    let test = async |weather| {
        let mut bench = plain().await;
        bench.receivers.weather("a", weather);
        let receiver = bench.gateway.receiver("a").unwrap();
        let test = Input::Test { receiver, received_at: bench.now() };
        bench.gateway.batch(&[test]);
        bench.play().await;
        bench
    };
    for (weather, state) in [
        (Weather::Fine, "test delivered"),
        (Weather::Unreachable, "test dead: Unreachable"),
        (Weather::Throttles(None), "test dead: Throttles(None)"),
    ] {
        let mut bench = test(weather).await;
        bench.run_for(Span::from_secs(600)).await;
        assert_eq!(bench.states().await, [state]);
        assert_eq!(bench.receivers.tries().len(), 1);
        // Whoever tests sees it; nobody else is to be told.
        assert!(bench.store().receivers_with_dead(Timestamp::default()).await.unwrap().is_empty());
        assert!(bench.store().dead_letters().await.unwrap().is_empty());
    }
    let mut bench = test(Weather::Fine).await;
    bench.step().await;
    bench.crash(false).await;
    bench.run_for(Span::from_secs(600)).await;
    assert_eq!(
        (bench.states().await, bench.receivers.tries().len()),
        (vec!["test dead".to_owned()], 1)
    );
}

#[tokio::test]
async fn what_was_told_through_a_revision_is_resolved_through_it() {
    let mut bench = plain().await;
    bench.trigger("k0", Severity::Error).await;
    bench.settle().await;
    bench.put_receiver("a", &json!({"url": "a/elsewhere"})).await;
    bench.trigger("k1", Severity::Error).await;
    bench.settle().await;
    bench.delete_receiver("a").await;
    bench.put_receiver("a", &json!({"url": "a/another"})).await;
    bench.trigger("k2", Severity::Error).await;
    bench.settle().await;
    bench.delete_receiver("a").await;
    bench.trigger("k3", Severity::Error).await;
    for number in 0..4 {
        bench.resolve(&format!("k{number}")).await;
    }
    bench.run_out().await;

    let tries = bench.receivers.tries();
    assert_eq!(tries.len(), 6);
    for url in ["a/0", "a/elsewhere", "a/another"] {
        let went = tries.iter().filter(|a| a.end.0 == url).map(|a| a.reason);
        assert_eq!(went.collect::<Vec<_>>(), [Reason::Opened, Reason::Resolved], "{url}");
    }
}

#[tokio::test]
async fn whoever_was_down_for_hours_hears_the_end() {
    let mut bench = plain().await;
    bench.trigger("k", Severity::Error).await;
    bench.settle().await;
    bench.receivers.weather("a", Weather::Unreachable);
    bench.resolve("k").await;
    bench.run_for(Span::from_secs(47 * 3600)).await;

    bench.receivers.clear_up();
    bench.run_out().await;

    assert_eq!(bench.receivers.open_at("a"), 0);
    let tries = bench.receivers.tries();
    assert!(tries.last().unwrap().payload["late"].as_str().unwrap().starts_with("late by 47h"));
}

#[tokio::test]
async fn what_waits_is_told_by_receiver() {
    let mut bench = plain().await;
    bench.receivers.weather("a", Weather::Unreachable);
    bench.trigger("k0", Severity::Error).await;
    bench.run_for(Span::from_secs(60)).await;
    bench.trigger("k1", Severity::Error).await;
    bench.settle().await;

    let backlog = bench.store().backlog().await.unwrap();
    let told: Vec<_> = backlog.iter().map(|b| (&*b.receiver, b.pending, b.oldest)).collect();
    assert_eq!(told, [("a", 2, Some(START))]);
}
