//! What somebody retries by hand.

use serde_json::json;

use super::{bench::Bench, guarantees::plain, receivers::Weather};
use crate::{
    domain::{
        changes::Verb,
        event::Severity,
        id::DeliveryId,
        notify::Reason,
        tests::world::What,
        time::{Span, Timestamp},
    },
    store::outbox::{DeliveryState, Outbox as _, Retried},
};

#[tokio::test]
async fn only_what_is_dead_is_retried_by_hand() {
    let mut bench = plain().await;
    bench.receivers.weather("a", Weather::Unreachable);
    bench.trigger("k", Severity::Error).await;
    bench.settle().await;
    let id = bench.of_reason(Reason::Opened).await.id;

    let nothing = DeliveryId::new(Timestamp::default(), 77, 0);
    assert_eq!(bench.retry(nothing).await, Retried::NotFound);
    assert_eq!(bench.retry(id).await, Retried::NotDead);
    bench.receivers.clear_up();
    bench.run_out().await;
    assert_eq!(bench.retry(id).await, Retried::NotDead);
    bench.run_out().await;
    assert_eq!(bench.receivers.tries().iter().filter(|a| a.arrived).count(), 1);
}

#[tokio::test]
async fn what_is_retried_by_hand_has_48_hours_again_and_keeps_its_log() {
    let mut bench = plain().await;
    bench.receivers.weather("a", Weather::Unreachable);
    bench.trigger("k", Severity::Error).await;
    bench.run_for(Span::from_secs(50 * 3600)).await;
    let tried = bench.receivers.tries().len();

    bench.revive(Reason::Opened).await;
    let from = bench.now();
    bench.run_for(Span::from_secs(60)).await;

    let again = bench.receivers.tried("a", from);
    assert_eq!(again[tried].0, 0, "at once");
    assert!((4000..=6000).contains(&again[tried + 1].0), "from the shortest wait on");
    let view = bench.of_reason(Reason::Opened).await;
    assert_eq!(view.state, DeliveryState::Pending);
    let log = bench.store().delivery(view.id).await.unwrap().unwrap().attempt_log.unwrap();
    assert_eq!(log.len(), bench.receivers.tries().len());
}

#[tokio::test]
async fn a_trigger_retried_while_its_resolve_is_on_its_way_is_followed_by_it() {
    let mut bench = plain().await;
    bench.receivers.weather("a", Weather::Unanswered { arrives: false });
    bench.trigger("k", Severity::Error).await;
    bench.settle().await;
    bench.receivers.weather("a", Weather::Refuses);
    bench.run_for(Span::from_secs(60)).await;
    bench.receivers.clear_up();
    bench.resolve("k").await;
    bench.step().await;
    assert_eq!(bench.of_reason(Reason::Resolved).await.state, DeliveryState::Leased);
    let tried = bench.receivers.tries().len();

    bench.revive(Reason::Opened).await;
    bench.step().await;
    assert_eq!(bench.receivers.tries().len(), tried, "one of a lane at a time");
    bench.run_out().await;

    assert_eq!(bench.receivers.open_at("a"), 0, "{:?}", bench.receivers.taken_in("a"));
    assert_eq!(bench.states().await, ["opened delivered", "resolved delivered"]);
}

#[tokio::test]
async fn what_fails_after_one_before_it_was_retried_waits_for_that() {
    let mut bench = plain().await;
    bench.receivers.weather("a", Weather::Refuses);
    bench.trigger("k", Severity::Error).await;
    bench.settle().await;
    bench.receivers.weather("a", Weather::Broken { arrives: false });
    bench.act(1, Verb::Acknowledge).await;
    bench.step().await;
    assert_eq!(bench.of_reason(Reason::Acknowledged).await.state, DeliveryState::Leased);

    bench.revive(Reason::Opened).await;
    bench.run_for(Span::from_secs(600)).await;

    let reasons: Vec<Reason> = bench.receivers.tries().iter().map(|a| a.reason).collect();
    assert_eq!(reasons[..2], [Reason::Opened, Reason::Acknowledged]);
    assert!(reasons[2..].iter().all(|reason| *reason == Reason::Opened), "{reasons:?}");
}

#[tokio::test]
async fn an_old_trigger_retried_does_not_end_what_was_told_since() {
    // Told of each key: the newer alert of the key is open there.
    let policy = json!({"notify": [{"receivers": ["a"]}]});
    let mut bench = Bench::new(&policy, &[("a", json!({"passthrough": true}))]).await;
    bench.receivers.weather("a", Weather::Refuses);
    bench.trigger("k", Severity::Error).await;
    bench.resolve("k").await;
    bench.settle().await;
    bench.receivers.clear_up();
    bench.trigger("k", Severity::Error).await;
    bench.settle().await;

    bench.revive(Reason::Opened).await;
    bench.run_out().await;
    assert_eq!(bench.receivers.open_at("a"), 1, "{:?}", bench.receivers.taken_in("a"));

    bench.resolve("k").await;
    bench.run_out().await;
    assert_eq!(bench.receivers.open_at("a"), 0);
}

#[tokio::test]
async fn a_trigger_retried_after_its_alert_moved_is_followed_by_the_resolve() {
    let policy = json!({"grouping": [{"by": ["class"]}], "notify": [{"receivers": ["a"]}]});
    let mut bench = Bench::new(&policy, &[("a", json!({"per_alert": true}))]).await;
    bench.receivers.weather("a", Weather::Refuses);
    for (key, class) in [("k", "disk"), ("other", "cpu")] {
        bench.event(key, What::Trigger { severity: Severity::Error, class }).await;
    }
    bench.settle().await;
    bench.act(1, Verb::Merge(bench.incident(2))).await;
    bench.resolve("k").await;
    bench.settle().await;
    bench.receivers.clear_up();

    bench.revive(Reason::Opened).await;
    bench.run_out().await;

    assert_eq!(bench.receivers.taken_in("a"), ["opened k", "resolved k"]);
}
