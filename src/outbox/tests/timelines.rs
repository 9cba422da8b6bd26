//! Timelines T27 to T29, and those of `tests/scenarios` as receivers see them that are told of each
//! alert.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use super::{
    bench::{Bench, START, time_of},
    laws::Laws,
    receivers::Weather,
};
use crate::{
    domain::{
        changes::{ActionInput, Input, Target, Verb},
        event::Severity,
        notify::Reason,
        tests::{scenarios, world::What},
        time::{Span, Timestamp},
    },
    store::outbox::{DeliveryState, Retried},
};

const NEVER_TOLD: &str = "resolved dead: never told: nothing of it has reached the receiver";

/// `HH:MM` after the start.
fn at(clock: &str) -> Timestamp {
    let (hours, minutes) = clock.split_once(':').unwrap();
    let minutes = hours.parse::<i64>().unwrap() * 60 + minutes.parse::<i64>().unwrap();
    START.plus(Span::from_secs(u32::try_from(minutes * 60).unwrap()))
}

impl Bench {
    /// The timer runs, and then it is that late.
    async fn until(&mut self, clock: &str) {
        self.run_until(at(clock)).await;
        self.tick().await;
        self.settle().await;
    }

    /// A source triggers.
    async fn opens(&mut self, clock: &str, key: &str, severity: Severity, class: &'static str) {
        self.until(clock).await;
        self.event(key, What::Trigger { severity, class }).await;
        self.settle().await;
    }

    async fn ends(&mut self, clock: &str, key: &str) {
        self.until(clock).await;
        self.resolve(key).await;
        self.settle().await;
    }

    fn assert_hears(&mut self, receiver: &str, expected: &[&str]) {
        let heard = self.receivers.taken_in(receiver);
        assert_eq!(heard, expected, "{receiver} at {}", self.after() / 60_000);
    }
}

fn one_receiver() -> Value {
    json!({"notify": [{"receivers": ["pd"]}]})
}

#[tokio::test]
async fn t27_after_60_hours_the_next_reason_introduces_it() {
    let mut bench = Bench::new(&one_receiver(), &[("pd", json!({}))]).await;
    bench.receivers.weather("pd", Weather::Unreachable);
    bench.opens("00:00", "k", Severity::Warning, "").await;
    bench.until("60:00").await;
    assert_eq!(bench.in_state(DeliveryState::Dead).await.len(), 1);
    bench.receivers.clear_up();

    bench.opens("60:30", "k", Severity::Critical, "").await;
    bench.ends("61:00", "k").await;

    bench.assert_hears("pd", &["severity_raised k is warning", "resolved k is warning"]);
    let tries = bench.receivers.tries();
    let raised = tries.iter().find(|a| a.reason == Reason::SeverityRaised).unwrap();
    assert_eq!(raised.payload["first"], true);
    assert_eq!(tries.last().unwrap().payload["first"], false);
}

#[tokio::test]
async fn t27_a_trigger_that_may_have_arrived_is_introduced_again() {
    let mut bench = Bench::new(&one_receiver(), &[("pd", json!({}))]).await;
    bench.receivers.weather("pd", Weather::Unanswered { arrives: false });
    bench.opens("00:00", "k", Severity::Warning, "").await;
    bench.until("60:00").await;
    bench.receivers.clear_up();

    bench.opens("60:30", "k", Severity::Critical, "").await;

    assert_eq!(bench.receivers.tries().last().unwrap().payload["first"], true);
}

#[tokio::test]
async fn t28_a_dead_trigger_retried_after_the_resolve_goes_out_before_it() {
    for each in [json!({}), json!({"per_alert": true}), json!({"passthrough": true})] {
        let mut bench = Bench::new(&one_receiver(), &[("pd", each)]).await;
        bench.receivers.weather("pd", Weather::Refuses);
        bench.opens("00:00", "k", Severity::Warning, "").await;
        bench.ends("00:10", "k").await;
        assert_eq!(bench.states().await, ["opened dead: Refuses", NEVER_TOLD]);
        bench.receivers.clear_up();

        let dead = bench.in_state(DeliveryState::Dead).await[0].id;
        assert_eq!(bench.retry(dead).await, Retried::Queued);
        assert_eq!(bench.in_state(DeliveryState::Pending).await.len(), 2);
        bench.until("00:20").await;

        let reasons = [Reason::Opened, Reason::Opened, Reason::Resolved];
        assert_eq!(bench.receivers.tries().iter().map(|a| a.reason).collect::<Vec<_>>(), reasons);
        assert_eq!(bench.states().await, ["opened delivered", "resolved delivered"]);
        assert_eq!(bench.receivers.open_at("pd"), 0);
    }
}

#[tokio::test]
async fn t29_what_was_refused_for_certain_is_not_resolved() {
    for weather in [Weather::Refuses, Weather::Unreachable, Weather::Throttles(None)] {
        let mut bench = Bench::new(&one_receiver(), &[("pd", json!({}))]).await;
        bench.receivers.weather("pd", weather);
        bench.opens("00:00", "k", Severity::Warning, "").await;
        bench.until("49:00").await;
        let tried = bench.receivers.tries().len();
        bench.receivers.clear_up();

        bench.ends("49:10", "k").await;

        assert_eq!(bench.states().await[1], NEVER_TOLD, "{weather:?}");
        assert_eq!(bench.receivers.tries().len(), tried, "{weather:?}");
    }
}

#[tokio::test]
async fn t29_after_any_doubtful_try_the_resolve_is_sent() {
    for doubtful in [
        Weather::Unanswered { arrives: false },
        Weather::Unanswered { arrives: true },
        Weather::Broken { arrives: false },
        Weather::Broken { arrives: true },
    ] {
        let mut bench = Bench::new(&one_receiver(), &[("pd", json!({}))]).await;
        bench.receivers.weather("pd", doubtful);
        bench.opens("00:00", "k", Severity::Warning, "").await;
        bench.receivers.weather("pd", Weather::Refuses);
        bench.until("00:05").await;
        assert_eq!(bench.states().await, ["opened dead: Refuses"]);
        bench.receivers.clear_up();

        bench.ends("00:10", "k").await;

        assert_eq!(bench.states().await[1], "resolved delivered", "{doubtful:?}");
        assert_eq!(bench.receivers.open_at("pd"), 0);
    }
}

#[tokio::test]
async fn of_two_alerts_with_one_key_each_that_was_told_is_resolved() {
    for (second, end) in [
        (Weather::Fine, "resolved delivered"),
        (Weather::Broken { arrives: true }, "resolved delivered"),
        (Weather::Refuses, NEVER_TOLD),
    ] {
        let passthrough = json!({"passthrough": true});
        let mut bench = Bench::new(&one_receiver(), &[("pd", passthrough)]).await;
        let service = bench.gateway.service("default").unwrap();
        bench.gateway.add_integration("other", service);
        bench.opens("00:00", "k", Severity::Warning, "").await;
        bench.receivers.weather("pd", second);
        let trigger = What::Trigger { severity: Severity::Warning, class: "" };
        bench.event_from("other", "k", trigger).await;
        bench.settle().await;
        if second != Weather::Fine {
            // It is given up, whether it arrived or not.
            bench.receivers.weather("pd", Weather::Refuses);
            bench.until("00:05").await;
        }
        bench.receivers.clear_up();

        bench.ends("00:10", "k").await;
        bench.until("00:20").await;
        bench.event_from("other", "k", What::Resolve).await;
        bench.settle().await;

        assert_eq!(bench.states().await[2..], ["resolved delivered", end], "{second:?}");
        assert_eq!(bench.receivers.open_at("pd"), 0);
    }
}

/// A receiver of each of the two kinds that are told of each alert.
fn of_each() -> [Value; 2] {
    [json!({"per_alert": true}), json!({"passthrough": true})]
}

#[tokio::test]
async fn t8_mute_holds_the_resolve_of_each_alert() {
    for each in of_each() {
        let flapping = json!({"max_changes": 3, "within": "60m", "mute": "120m", "mode": "mute"});
        let policy = json!({"flapping": flapping, "notify": [{"receivers": ["pd"]}]});
        let mut bench = Bench::new(&policy, &[("pd", each)]).await;
        bench.opens("00:00", "k", Severity::Error, "").await;
        bench.ends("00:05", "k").await;
        bench.opens("00:10", "k", Severity::Error, "").await;
        bench.assert_hears("pd", &["opened k", "resolved k", "opened k"]);

        bench.ends("00:15", "k").await;
        bench.opens("00:20", "k", Severity::Error, "").await;
        bench.opens("00:30", "k", Severity::Critical, "").await;
        bench.until("01:14").await;
        bench.assert_hears("pd", &["opened k", "resolved k", "opened k"]);

        bench.until("01:16").await;
        let mut heard = vec!["opened k", "resolved k", "opened k", "resolved k", "opened k"];
        bench.assert_hears("pd", &heard);
        bench.ends("01:20", "k").await;
        heard.push("resolved k");
        bench.assert_hears("pd", &heard);
    }
}

#[tokio::test]
async fn t8_what_a_person_resolves_is_never_held() {
    for each in of_each() {
        let flapping = json!({"max_changes": 2, "within": "60m", "mute": "120m", "mode": "mute"});
        let policy = json!({"flapping": flapping, "notify": [{"receivers": ["pd"]}]});
        let mut bench = Bench::new(&policy, &[("pd", each)]).await;
        bench.opens("00:00", "k", Severity::Error, "").await;
        bench.ends("00:05", "k").await;
        bench.opens("00:10", "k", Severity::Error, "").await;

        bench.until("00:20").await;
        bench.act(2, Verb::Resolve).await;
        bench.settle().await;

        assert_eq!(bench.receivers.open_at("pd"), 0, "{:?}", bench.receivers.taken_in("pd"));
    }
}

#[tokio::test]
async fn t15_reopened_each_alert_opens_again_and_the_delay_counts_anew() {
    for each in of_each() {
        let policy = json!({
            "grouping": [{"by": ["class"], "reopen_within": "1h"}],
            "notify": [
                {"receivers": ["pd"]},
                {"receivers": ["slow"], "delay": "10m"},
                {"receivers": ["boss"], "match": ["severity=\"critical\""]},
            ],
        });
        let receivers = ["pd", "slow", "boss"].map(|name| (name, each.clone()));
        let mut bench = Bench::new(&policy, &receivers).await;
        bench.opens("00:00", "a", Severity::Error, "disk").await;
        bench.opens("00:05", "b", Severity::Error, "disk").await;
        bench.ends("00:06", "a").await;
        bench.ends("00:07", "b").await;
        bench.assert_hears("pd", &["opened a", "opened b", "resolved a", "resolved b"]);
        bench.assert_hears("slow", &[]);

        bench.opens("00:20", "a", Severity::Critical, "disk").await;
        bench.opens("00:21", "b", Severity::Error, "disk").await;
        bench.opens("00:22", "c", Severity::Warning, "disk").await;
        let heard = bench.receivers.taken_in("pd");
        assert_eq!(heard[4..], ["opened a", "opened b", "opened c"]);
        bench.assert_hears("boss", &["opened a", "opened b", "opened c"]);
        bench.until("00:29").await;
        bench.assert_hears("slow", &[]);
        bench.until("00:40").await;
        bench.assert_hears("slow", &["opened a", "opened b", "opened c"]);

        for (clock, key) in [("00:45", "c"), ("00:50", "a"), ("00:51", "b")] {
            bench.ends(clock, key).await;
        }
        let resolved = ["resolved c", "resolved a", "resolved b"];
        for (name, before) in [("pd", 7), ("boss", 3), ("slow", 3)] {
            assert_eq!(bench.receivers.taken_in(name)[before..], resolved, "{name}");
        }

        // Who was told waits for the delay as well before it hears that it is open again.
        bench.opens("01:00", "a", Severity::Error, "disk").await;
        bench.until("01:09").await;
        assert_eq!(bench.receivers.taken_in("slow").len(), 6);
        assert_eq!(bench.receivers.taken_in("pd").last().unwrap(), "opened a");
        bench.until("01:11").await;
        assert_eq!(bench.receivers.taken_in("slow")[6..], ["opened a"]);
        bench.ends("01:12", "a").await;
        assert_eq!(bench.receivers.open_at("slow"), 0);
    }
}

#[tokio::test]
async fn t24_alerts_that_move_to_another_incident_stay_as_they_are_told() {
    for each in of_each() {
        let policy = json!({
            "grouping": [{"by": ["class"]}],
            "notify": [
                {"receivers": ["pd"]},
                {"receivers": ["boss"], "match": ["severity=\"critical\""]},
            ],
        });
        let mut bench = Bench::new(&policy, &[("pd", each.clone()), ("boss", each)]).await;
        bench.opens("00:00", "a", Severity::Critical, "a").await;
        bench.opens("00:00", "a2", Severity::Error, "a").await;
        bench.opens("00:01", "b", Severity::Error, "b").await;
        bench.assert_hears("pd", &["opened a", "opened a2", "opened b"]);
        bench.assert_hears("boss", &["opened a", "opened a2"]);

        bench.until("00:13").await;
        bench.act(1, Verb::Merge(bench.incident(2))).await;
        bench.settle().await;
        bench.assert_hears("pd", &["opened a", "opened a2", "opened b"]);
        bench.assert_hears("boss", &["opened a", "opened a2", "opened b"]);

        for (clock, key) in [("00:30", "a"), ("00:31", "a2"), ("00:32", "b")] {
            bench.ends(clock, key).await;
        }
        let heard =
            ["opened a", "opened a2", "opened b", "resolved a", "resolved a2", "resolved b"];
        bench.assert_hears("pd", &heard);
        bench.assert_hears("boss", &heard);
    }
}

#[tokio::test]
async fn t25_who_is_named_no_more_hears_the_resolve_and_nothing_else() {
    for each in of_each() {
        let policy = json!({
            "grouping": [{"by": ["class"]}],
            "notify": [{"receivers": ["pd"], "repeat": "1h"}],
        });
        let receivers = ["pd", "mail", "late"].map(|name| (name, each.clone()));
        let mut bench = Bench::new(&policy, &receivers).await;
        bench.opens("00:00", "a", Severity::Warning, "disk").await;
        bench.until("00:10").await;
        let policy = json!({
            "grouping": [{"by": ["class"]}],
            "notify": [{"receivers": ["mail"]}, {"receivers": ["late"], "delay": "10m"}],
        });
        let (service, now) = (bench.gateway.service("default").unwrap(), bench.now());
        bench.gateway.set_policy(service, &policy, now).unwrap();
        bench.play().await;
        bench.opens("00:30", "a", Severity::Warning, "disk").await;
        bench.assert_hears("mail", &[]);

        bench.opens("01:10", "a", Severity::Error, "disk").await;
        bench.opens("01:12", "b", Severity::Error, "disk").await;
        bench.until("01:20").await;
        bench.act(1, Verb::Acknowledge).await;
        bench.settle().await;

        let all = ["opened a", "opened b", "acknowledged a", "acknowledged b"];
        bench.assert_hears("mail", &all);
        bench.assert_hears("late", &all);
        bench.assert_hears("pd", &["opened a"]);
        bench.ends("01:30", "a").await;
        bench.ends("01:31", "b").await;
        bench.assert_hears("pd", &["opened a", "resolved a"]);
        let ended = ["resolved a", "resolved b"];
        assert_eq!(bench.receivers.taken_in("mail")[4..], ended);
        assert_eq!(bench.receivers.taken_in("late")[4..], ended);
    }
}

/// Ends everything that a timeline left open, and lets a long time pass.
fn end_all(bench: &mut Bench) {
    let mut now = bench.gateway.log.iter().map(time_of).max().unwrap();
    for alert in bench.open_alerts() {
        let (actor, target) = ("token:ann".to_owned(), Target::Alert(alert));
        let action = ActionInput { target, verb: Verb::Resolve, actor, received_at: now };
        bench.gateway.batch(&[Input::Action(Arc::new(action))]);
    }
    for _ in 0..3 {
        now = now.plus(Span::from_secs(40 * 86_400));
        bench.gateway.batch(&[Input::Tick(now)]);
    }
}

#[tokio::test]
async fn every_timeline_is_heard_in_order_and_to_the_end_by_every_kind_of_receiver() {
    let [per_alert, passthrough] = of_each();
    for (name, gateway) in scenarios::histories_with_receivers(&[json!({}), per_alert, passthrough])
    {
        let told = gateway.world.state.notifications.iter();
        let names: BTreeSet<String> = told.map(|told| told.receiver.to_string()).collect();
        let mut bench = Bench::over(gateway).await;
        end_all(&mut bench);
        for receiver in names {
            bench.receivers.weather(&receiver, Weather::Erratic);
        }
        while bench.waiting() > 0 {
            bench.run_until(bench.next_at()).await;
            bench.play_one().await;
            bench.settle().await;
        }
        bench.run_out().await;

        let retried = BTreeSet::new();
        Laws::of(&bench, &retried).await.assert();
        let open = bench.receivers.world().open.clone();
        assert!(open.is_empty(), "{name}: {open:?}");
    }
}
