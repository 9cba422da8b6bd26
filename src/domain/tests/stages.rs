//! Single decisions, told as short stories.

use std::sync::Arc;

use serde_json::json;

use super::world::{What, World};
use crate::domain::{
    alert::{Alert, Status},
    changes::{ActionInput, ActionOutcome, Input, Outcome, Target, Verb},
    event::{Disposition, Severity},
    id::ReceiverId,
    incident::Incident,
    notify::Reason,
    receiver::{Receiver, ReceiverKind},
    time::Timestamp,
};

const SECOND: i64 = 1000;
const START: i64 = 1_763_600_000_000;

fn trigger(severity: Severity) -> What {
    What::Trigger { severity, class: "disk" }
}

/// Sends one event `seconds` after the start; says what became of it.
fn send(world: &mut World, seconds: i64, key: &str, what: What) -> Disposition {
    let input = world.event(START + seconds * SECOND, Some(key), what);
    match world.batch(&[input]).pop() {
        Some(Outcome::Event(receipt)) => receipt.disposition,
        other => panic!("{other:?}"),
    }
}

fn tick(world: &mut World, seconds: i64) {
    world.batch(&[Input::Tick(Timestamp::from_millis(START + seconds * SECOND))]);
}

fn act(world: &mut World, seconds: i64, target: Target, verb: Verb) -> ActionOutcome {
    act_as("token:ann", world, seconds, target, verb)
}

fn act_as(
    actor: &str,
    world: &mut World,
    seconds: i64,
    target: Target,
    verb: Verb,
) -> ActionOutcome {
    let received_at = Timestamp::from_millis(START + seconds * SECOND);
    let action = ActionInput { target, verb, actor: actor.to_owned(), received_at };
    match world.batch(&[Input::Action(Arc::new(action))]).pop() {
        Some(Outcome::Action(outcome)) => outcome,
        other => panic!("{other:?}"),
    }
}

fn alert<'w>(world: &'w World, key: &str) -> &'w Alert {
    let of_key = |alert: &&Alert| alert.dedup_key.as_str() == key;
    world.state.alerts.values().rfind(of_key).unwrap()
}

fn incident(world: &World, number: i64) -> &Incident {
    world.state.incidents.values().find(|incident| incident.id.seq() == number).unwrap()
}

fn incident_of(world: &World, key: &str) -> i64 {
    alert(world, key).incident_id.unwrap().seq()
}

#[test]
fn the_dedup_table() {
    let mut world = World::new(&json!({}));
    let expected = [
        (What::Acknowledge, Disposition::Ignored),
        (What::Resolve, Disposition::Ignored),
        (trigger(Severity::Error), Disposition::Opened),
        (trigger(Severity::Error), Disposition::Merged),
        (What::Acknowledge, Disposition::Acknowledged),
        (What::Acknowledge, Disposition::Ignored),
        (trigger(Severity::Error), Disposition::Merged),
        (What::Resolve, Disposition::Resolved),
        (What::Resolve, Disposition::Ignored),
        (trigger(Severity::Error), Disposition::Opened),
    ];
    for (step, (what, disposition)) in expected.into_iter().enumerate() {
        let got = send(&mut world, i64::try_from(step).unwrap(), "k", what);
        assert_eq!(got, disposition, "step {step}: {:?}", what.action());
    }
    assert_eq!(world.state.alerts.len(), 2, "after a resolve the key is free");
}

#[test]
fn an_acknowledged_alert_stays_so_when_it_is_merged() {
    let mut world = World::new(&json!({}));
    send(&mut world, 0, "k", trigger(Severity::Warning));
    send(&mut world, 1, "k", What::Acknowledge);
    send(&mut world, 2, "k", trigger(Severity::Critical));

    let alert = alert(&world, "k");
    assert_eq!((alert.status, alert.severity), (Status::Acknowledged, Severity::Critical));
    assert_eq!(incident(&world, 1).status, Status::Acknowledged, "its own severity wakes nobody");
}

#[test]
fn the_newest_trigger_counts_and_the_highest_severity_is_kept() {
    let mut world = World::new(&json!({}));
    send(&mut world, 0, "k", trigger(Severity::Critical));
    send(&mut world, 1, "k", trigger(Severity::Info));

    let alert = alert(&world, "k");
    assert_eq!((alert.severity, alert.max_severity), (Severity::Info, Severity::Critical));
    assert_eq!(alert.event_count, 2);
    assert_eq!(incident(&world, 1).severity, Severity::Info);
    assert_eq!(incident(&world, 1).max_severity, Severity::Critical);
}

#[test]
fn an_unchanged_repeat_adds_no_content_and_a_change_of_severity_no_text() {
    let mut world = World::new(&json!({}));
    send(&mut world, 0, "k", trigger(Severity::Error));
    let first = alert(&world, "k").content;
    send(&mut world, 1, "k", trigger(Severity::Error));
    assert_eq!(alert(&world, "k").content, first);
}

#[test]
fn alerts_with_the_same_values_share_an_incident_while_its_window_lasts() {
    let mut world = World::new(&json!({"grouping": [{"by": ["class"], "window": "10s"}]}));
    send(&mut world, 0, "a", trigger(Severity::Error));
    send(&mut world, 9, "b", trigger(Severity::Error));
    send(&mut world, 10, "c", trigger(Severity::Error));

    assert_eq!(["a", "b", "c"].map(|key| incident_of(&world, key)), [1, 1, 2]);
    assert_eq!(incident(&world, 1).title, "a is error");
}

#[test]
fn a_sliding_window_moves_with_each_alert_up_to_its_span() {
    let mut world = World::new(&json!({"grouping": [
        {"by": ["class"], "window": "10s", "window_type": "sliding", "max_span": "25s"}
    ]}));
    for (at, key) in [(0, "a"), (9, "b"), (18, "c"), (24, "d"), (25, "e")] {
        send(&mut world, at, key, trigger(Severity::Error));
    }

    let incidents = ["a", "b", "c", "d", "e"].map(|key| incident_of(&world, key));
    assert_eq!(incidents, [1, 1, 1, 1, 2]);
}

#[test]
fn a_full_incident_takes_no_more() {
    let mut world = World::new(&json!({"grouping": [{"by": ["class"], "max_alerts": 2}]}));
    for key in ["a", "b", "c"] {
        send(&mut world, 0, key, trigger(Severity::Error));
    }

    assert_eq!(["a", "b", "c"].map(|key| incident_of(&world, key)), [1, 1, 2]);
}

#[test]
fn a_resolved_incident_takes_no_alert() {
    let mut world = World::new(&json!({"grouping": [{"by": ["class"]}]}));
    send(&mut world, 0, "a", trigger(Severity::Error));
    send(&mut world, 1, "a", What::Resolve);
    send(&mut world, 2, "b", trigger(Severity::Error));

    assert_eq!(incident(&world, 1).status, Status::Resolved);
    assert_eq!(incident_of(&world, "b"), 2);
}

#[test]
fn a_key_that_comes_back_rejoins_its_incident_though_the_window_is_over() {
    let mut world = World::new(&json!({"grouping": [{"by": ["class"], "window": "10s"}]}));
    send(&mut world, 0, "a", trigger(Severity::Error));
    send(&mut world, 1, "b", trigger(Severity::Error));
    send(&mut world, 2, "a", What::Resolve);
    send(&mut world, 60, "a", trigger(Severity::Error));

    assert_eq!(incident_of(&world, "a"), 1);
    assert_eq!(incident(&world, 1).alert_count, 3);
    let (.., trace) = world.state.events.last().unwrap();
    assert!(trace.contains("rejoined"), "{trace}");
}

#[test]
fn a_missing_value_equals_a_missing_value_unless_strict() {
    for (strict, incidents) in [(false, [1, 1]), (true, [1, 2])] {
        let mut world = World::new(&json!({"grouping": [{"by": ["component"], "strict": strict}]}));
        send(&mut world, 0, "a", trigger(Severity::Error));
        send(&mut world, 1, "b", trigger(Severity::Error));

        assert_eq!(["a", "b"].map(|key| incident_of(&world, key)), incidents, "strict {strict}");
    }
}

#[test]
fn a_worse_alert_that_joins_makes_an_acknowledged_incident_triggered_again() {
    let mut world = World::new(&json!({"grouping": [{"by": ["class"]}]}));
    send(&mut world, 0, "a", trigger(Severity::Error));
    send(&mut world, 1, "a", What::Acknowledge);
    send(&mut world, 2, "b", trigger(Severity::Error));
    assert_eq!(incident(&world, 1).status, Status::Acknowledged, "as bad as what was acknowledged");

    send(&mut world, 3, "c", trigger(Severity::Critical));

    assert_eq!(incident(&world, 1).status, Status::Triggered);
    assert_eq!(alert(&world, "a").status, Status::Acknowledged);
    assert_eq!(alert(&world, "b").status, Status::Triggered, "sisters are not acknowledged");
}

#[test]
fn acknowledging_an_incident_acknowledges_its_open_alerts_and_resolving_resolves_them() {
    let mut world = World::new(&json!({"grouping": [{"by": ["class"]}]}));
    send(&mut world, 0, "a", trigger(Severity::Error));
    send(&mut world, 1, "b", trigger(Severity::Error));
    let id = Target::Incident(incident(&world, 1).id);

    assert_eq!(act(&mut world, 2, id, Verb::Acknowledge), ActionOutcome::Changed);
    assert_eq!(act(&mut world, 3, id, Verb::Acknowledge), ActionOutcome::Unchanged);
    assert!(["a", "b"].iter().all(|key| alert(&world, key).status == Status::Acknowledged));
    assert_eq!(act(&mut world, 4, id, Verb::Unacknowledge), ActionOutcome::Changed);
    assert!(["a", "b"].iter().all(|key| alert(&world, key).status == Status::Triggered));
    assert_eq!(act(&mut world, 5, id, Verb::Resolve), ActionOutcome::Changed);
    assert!(["a", "b"].iter().all(|key| alert(&world, key).status == Status::Resolved));
    assert_eq!(incident(&world, 1).status, Status::Resolved);
    assert!(matches!(act(&mut world, 6, id, Verb::Acknowledge), ActionOutcome::Conflict(_)));
    assert_eq!(act(&mut world, 7, id, Verb::Resolve), ActionOutcome::Unchanged);
}

#[test]
fn an_alert_resolves_by_itself_at_its_due_time_however_late_the_timer() {
    let policy = json!({"auto_resolve": {"after": "10s", "from": "last_event"}});
    let mut world = World::new(&policy);
    send(&mut world, 0, "k", trigger(Severity::Error));
    send(&mut world, 5, "k", trigger(Severity::Error));
    tick(&mut world, 14);
    assert_eq!(alert(&world, "k").status, Status::Triggered);

    tick(&mut world, 100);

    let due = Timestamp::from_millis(START + 15 * SECOND);
    assert_eq!(alert(&world, "k").resolved_at, Some(due));
    assert_eq!(incident(&world, 1).resolved_at, Some(due));
}

#[test]
fn a_trigger_after_the_due_time_opens_a_new_alert_though_the_timer_did_not_run() {
    let mut world = World::new(&json!({"auto_resolve": {"after": "10s", "from": "first_event"}}));
    send(&mut world, 0, "k", trigger(Severity::Error));

    assert_eq!(send(&mut world, 11, "k", trigger(Severity::Error)), Disposition::Opened);

    let resolved: Vec<_> = world.state.alerts.values().map(|alert| alert.resolved_at).collect();
    assert_eq!(resolved, [Some(Timestamp::from_millis(START + 10 * SECOND)), None]);
}

#[test]
fn an_acknowledgement_runs_out() {
    let mut world = World::new(&json!({"acknowledgement_timeout": "30s"}));
    send(&mut world, 0, "k", trigger(Severity::Error));
    send(&mut world, 5, "k", What::Acknowledge);
    tick(&mut world, 34);
    assert_eq!(incident(&world, 1).status, Status::Acknowledged);

    tick(&mut world, 35);

    assert_eq!(alert(&world, "k").status, Status::Triggered);
    assert_eq!(incident(&world, 1).status, Status::Triggered);
}

#[test]
fn a_trigger_without_a_key_always_opens_and_its_made_key_resolves_it() {
    let mut world = World::new(&json!({}));
    let at = START;
    for _ in 0..2 {
        let input = world.event(at, None, trigger(Severity::Error));
        world.batch(&[input]);
    }
    assert_eq!(world.state.alerts.len(), 2);
    let key = world.state.alerts.values().next().unwrap().dedup_key.clone();
    assert_eq!(key.as_str().len(), 32);

    let resolved = send(&mut world, 1, key.as_str(), What::Resolve);

    assert_eq!(resolved, Disposition::Resolved);
}

#[test]
fn the_trace_names_each_stage_in_order_with_its_reason() {
    let mut world = World::new(&json!({"grouping": [{"by": ["class"]}]}));
    send(&mut world, 0, "a", trigger(Severity::Error));

    let (.., trace) = world.state.events.last().unwrap();
    let trace: serde_json::Value = serde_json::from_str(trace).unwrap();
    let stages: Vec<_> =
        trace.as_array().unwrap().iter().map(|entry| entry["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["route", "dedup", "group", "notify"]);
    assert!(trace.as_array().unwrap().iter().all(|entry| entry["reason"].as_str() != Some("")));
    assert_eq!(trace[2]["rule"], "grouping[0]");
    assert_eq!(
        trace[2]["rule_id"],
        world.directory.services().next().unwrap().policy.grouping[0].id.to_string()
    );
    assert_eq!(trace[3]["reason"], "the service has no notify rules");
}

/// What is owed to receivers since the first `known`: receiver, reason, and whether it has to wake.
fn owed(world: &World, known: usize) -> Vec<(String, Reason, bool)> {
    let rest = world.state.deliveries.iter().skip(known);
    rest.map(|owed| (owed.receiver.to_string(), owed.reason, owed.wakes)).collect()
}

#[test]
fn an_acknowledgement_taken_back_at_a_receiver_does_not_end_and_begin_anew_there() {
    for (settings, of_alerts) in [(json!({}), false), (json!({"per_alert": true}), true)] {
        let mut world = World::new(&json!({"notify": [{"receivers": ["pd", "other"]}]}));
        let receiver = |seq: i64, name: &str| Receiver {
            id: ReceiverId::new(Timestamp::default(), seq, 0),
            name: name.to_owned(),
            kind: ReceiverKind::PagerDuty,
            settings: settings.as_object().unwrap().clone(),
            managed: false,
            version: 1,
            created_at: Timestamp::default(),
        };
        let receivers = vec![receiver(1, "pd"), receiver(2, "other")];
        world.directory = world.directory.with_receivers(receivers);
        send(&mut world, 0, "a", trigger(Severity::Error));
        let target = if of_alerts {
            Target::Alert(alert(&world, "a").id)
        } else {
            Target::Incident(incident(&world, 1).id)
        };
        let there = "pagerduty:pd";
        act_as(there, &mut world, 1, target, Verb::Acknowledge);
        let known = world.state.deliveries.len();

        act_as(there, &mut world, 2, target, Verb::Unacknowledge);

        let heard = owed(&world, known);
        assert_eq!(heard, [("other".to_owned(), Reason::Repeat, true)], "{settings}");
        // Worse: what is told next is not told to somebody who is taken to be asleep.
        send(&mut world, 3, "a", trigger(Severity::Critical));
        let raised = |name: &str| (name.to_owned(), Reason::SeverityRaised, false);
        assert_eq!(owed(&world, known + 1), [raised("pd"), raised("other")], "{settings}");
    }
}
