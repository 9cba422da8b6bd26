//! Receivers that are told of each alert are told as little as others while somebody is at work on
//! the incident, has put it off, or it is out of hours; and what was held back is told then.

use std::sync::Arc;

use serde_json::json;

use super::{
    laws::START,
    world::{What, World},
};
use crate::domain::{
    changes::{ActionInput, Input, Target, Verb},
    event::Severity,
    id::ReceiverId,
    notify::Reason,
    receiver::{Receiver, ReceiverKind},
    time::{Span, Timestamp},
};

const MINUTE: i64 = 60_000;

/// A world whose receiver `pd` is told of each alert.
fn world(notify: &serde_json::Value) -> World {
    let policy = json!({
        "grouping": [{"by": ["class"]}],
        "flapping": {"mode": "off"},
        "notify": [notify],
    });
    let mut world = World::new(&policy);
    let receiver = Receiver {
        id: ReceiverId::new(Timestamp::default(), 1, 0),
        name: "pd".to_owned(),
        kind: ReceiverKind::PagerDuty,
        settings: json!({"per_alert": true}).as_object().unwrap().clone(),
        managed: false,
        version: 1,
        created_at: Timestamp::default(),
    };
    world.directory = world.directory.with_receivers(vec![receiver]);
    world
}

/// What is owed by a step: each alert's key and the reason.
fn owed(world: &mut World, input: Input) -> Vec<(String, Reason)> {
    let known = world.state.deliveries.len();
    world.batch(&[input]);
    let keys = |id| world.state.alerts[&id].dedup_key.as_str().to_owned();
    let new = world.state.deliveries.iter().skip(known);
    new.map(|owed| (owed.alert_id.map(keys).unwrap_or_default(), owed.reason)).collect()
}

fn trigger(
    world: &mut World,
    minutes: i64,
    key: &str,
    severity: Severity,
) -> Vec<(String, Reason)> {
    let what = What::Trigger { severity, class: "disk" };
    let input = world.event(START + minutes * MINUTE, Some(key), what);
    owed(world, input)
}

fn tick(world: &mut World, minutes: i64) -> Vec<(String, Reason)> {
    owed(world, Input::Tick(Timestamp::from_millis(START + minutes * MINUTE)))
}

fn act(world: &mut World, minutes: i64, verb: Verb) -> Vec<(String, Reason)> {
    let target = Target::Incident(*world.state.incidents.keys().next().unwrap());
    let received_at = Timestamp::from_millis(START + minutes * MINUTE);
    let input = ActionInput { target, verb, actor: "token:ann".to_owned(), received_at };
    owed(world, Input::Action(Arc::new(input)))
}

fn told(key: &str, reason: Reason) -> (String, Reason) {
    (key.to_owned(), reason)
}

#[test]
fn what_joins_an_acknowledged_incident_is_told_once_it_is_taken_back() {
    let mut world = world(&json!({"receivers": ["pd"]}));
    assert_eq!(trigger(&mut world, 0, "a", Severity::Error), [told("a", Reason::Opened)]);
    let acknowledged = act(&mut world, 1, Verb::Acknowledge);
    assert_eq!(acknowledged, [told("a", Reason::Acknowledged)]);

    assert_eq!(trigger(&mut world, 2, "b", Severity::Error), []);
    assert_eq!(tick(&mut world, 20), []);
    let taken_back = act(&mut world, 21, Verb::Unacknowledge);

    assert_eq!(taken_back, [told("b", Reason::Opened), told("a", Reason::Repeat)]);
}

#[test]
fn what_joins_an_acknowledged_incident_and_is_worse_is_told() {
    let mut world = world(&json!({"receivers": ["pd"]}));
    trigger(&mut world, 0, "a", Severity::Error);
    act(&mut world, 1, Verb::Acknowledge);

    let worse = trigger(&mut world, 2, "b", Severity::Critical);

    assert_eq!(worse, [told("b", Reason::Opened)]);
}

#[test]
fn what_joins_a_snoozed_incident_is_told_when_the_snooze_ends() {
    let mut world = world(&json!({"receivers": ["pd"]}));
    trigger(&mut world, 0, "a", Severity::Error);
    assert_eq!(act(&mut world, 1, Verb::Snooze(Span::from_secs(3600))), []);

    assert_eq!(trigger(&mut world, 2, "b", Severity::Error), []);
    let over = tick(&mut world, 62);

    assert_eq!(over, [told("a", Reason::Repeat), told("b", Reason::Opened)]);
}

#[test]
fn out_of_hours_nothing_is_told_but_the_resolve() {
    // The start is 2025-11-20, 00:53:20 UTC.
    let active = json!({"from": "00:00", "to": "01:00", "timezone": "UTC"});
    let mut world = world(&json!({"receivers": ["pd"], "active": active}));
    trigger(&mut world, 0, "a", Severity::Warning);

    assert_eq!(trigger(&mut world, 60, "b", Severity::Warning), []);
    assert_eq!(trigger(&mut world, 61, "a", Severity::Error), []);
    assert_eq!(trigger(&mut world, 62, "c", Severity::Warning), []);
    let resolve = world.event(START + 63 * MINUTE, Some("c"), What::Resolve);
    assert_eq!(owed(&mut world, resolve), []);
    let next_day = tick(&mut world, 24 * 60);

    assert_eq!(next_day, [told("a", Reason::SeverityRaised), told("b", Reason::Opened)]);
    let resolve = world.event(START + 26 * 60 * MINUTE, Some("b"), What::Resolve);
    assert_eq!(owed(&mut world, resolve), [told("b", Reason::Resolved)]);
}
