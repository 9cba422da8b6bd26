//! Random policies and histories, and running them.

use std::{fmt, sync::Arc};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::domain::{
    changes::{ActionInput, Input, Target, Verb},
    event::Severity,
    id::{AlertId, IncidentId},
    receiver::ReceiverKind,
    silence::When,
    tests::{
        gateway::{Gateway, SilenceText},
        laws::START,
        world::{State, What},
    },
    time::{Span, Timestamp},
};

#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) after_ms: i64,
    pub(crate) what: Happening,
}

/// In one line: a history has many.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:?}", self.what);
        write!(f, "+{}ms {text}", self.after_ms)
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Event {
        key: Option<u8>,
        what: What,
    },
    Act {
        incident: bool,
        number: i64,
        verb: Verb,
        /// Of a merge: into which.
        into: i64,
    },
    Silence {
        slot: usize,
        matchers: &'static [&'static str],
        from_ms: i64,
        for_ms: i64,
    },
    Expire {
        slot: usize,
    },
    /// The policy becomes the n-th of the history's.
    Policy {
        number: usize,
    },
    /// A receiver is made or edited; without a form it is deleted.
    Receiver {
        slot: usize,
        form: Option<usize>,
    },
    Tick,
}

/// What a step came to: something that can be done again, in other batches.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Input(Input),
    Change(Happening, i64),
}

const SLOTS: [&str; 2] = ["S0", "S1"];
pub(crate) const RECEIVERS: [&str; 3] = ["a", "b", "c"];

/// Settings of a receiver: what it is told of, and where it is, by number.
fn form(name: &str, number: usize) -> Value {
    let mut settings = json!({"url": format!("{name}/{}", number / 3)});
    match number % 3 {
        0 => {}
        1 => settings["per_alert"] = json!(true),
        _ => settings["passthrough"] = json!(true),
    }
    settings
}

fn grouping() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!([]),
        json!([{"by": ["class"]}]),
        json!([{"by": ["class"], "window": "30s"}]),
        json!([{"by": ["class"], "reopen_within": "60s"}]),
        json!([{"by": ["dedup_key"], "reopen_within": "10m"}]),
        json!([{"by": ["class", "severity"], "aggregate": "any", "max_alerts": 3}]),
        json!([{"match": ["class=\"disk\""], "by": ["class"], "strict": true, "window": "20s",
                "window_type": "sliding", "max_span": "60s"}, {"by": "time", "window": "1m"}]),
        json!([{"by": "similarity", "reopen_within": "30s"}]),
    ])
}

fn notify() -> impl Strategy<Value = Value> {
    let rule = (
        prop::sample::subsequence(vec!["a", "b", "c"], 1..3),
        prop::sample::select(vec![
            json!([]),
            json!([]),
            json!(["class=\"disk\""]),
            json!(["severity=~\"critical|error\""]),
        ]),
        prop::sample::select(vec!["0s", "0s", "5s", "40s"]),
        prop::sample::select(vec![Value::Null, json!("30s"), json!("2m")]),
        // The histories begin at 00:53:20.
        prop::sample::select(vec![
            Value::Null,
            Value::Null,
            Value::Null,
            json!({"from": "00:54", "to": "00:55"}),
            json!({"from": "00:53", "to": "00:54"}),
        ]),
    );
    let rule = rule.prop_map(|(receivers, matches, delay, repeat, active)| {
        json!({"receivers": receivers, "match": matches, "delay": delay, "repeat": repeat,
               "active": active})
    });
    prop::collection::vec(rule, 0..3).prop_map(Value::from)
}

fn flapping() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        Value::Null,
        json!({"mode": "off"}),
        json!({"mode": "mark", "max_changes": 3, "within": "60s"}),
        json!({"mode": "mute", "max_changes": 3, "within": "60s", "mute": "30s"}),
        json!({"mode": "mute", "max_changes": 2, "within": "90s", "mute": "5m"}),
    ])
}

fn inhibition() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!([]),
        json!([{"source": ["class=\"disk\""], "target": ["class=\"cpu\""], "equal": ["source"],
                "release_delay": "10s"}]),
        json!([{"source": ["severity=~\"critical|error\""],
                "target": ["severity=~\"error|warning\""], "release_delay": "5s",
                "acknowledged_sources": false}]),
        json!([{"source": ["class=\"disk\""], "target": ["class=\"cpu\""], "release_delay": "1s"},
               {"source": ["class=\"cpu\""], "target": ["severity=\"info\""]}]),
    ])
}

pub(crate) fn policy() -> impl Strategy<Value = Value> {
    let timers = prop::sample::select(vec![
        (Value::Null, Value::Null),
        (json!({"after": "40s"}), json!("15s")),
        (json!({"after": "100s", "from": "first_event"}), json!("45s")),
        (Value::Null, json!("20s")),
    ]);
    let pause = prop::sample::select(vec![
        Value::Null,
        Value::Null,
        json!({"for": "10s", "when": "always"}),
        json!({"for": "20s", "when": "transient"}),
    ]);
    let storm = prop::sample::select(vec![json!([]), json!([2, 4])]);
    (grouping(), notify(), flapping(), inhibition(), timers, pause, storm).prop_map(
        |(grouping, notify, flapping, inhibition, timers, pause, storm)| {
            json!({"grouping": grouping, "notify": notify, "flapping": flapping,
                   "inhibition": inhibition, "auto_resolve": timers.0,
                   "acknowledgement_timeout": timers.1, "auto_pause": pause, "storm": storm})
        },
    )
}

pub(super) fn event() -> impl Strategy<Value = Happening> {
    let class = prop::sample::select(&["disk", "cpu", ""][..]);
    let trigger = (prop::sample::select(Severity::ALL), class)
        .prop_map(|(severity, class)| What::Trigger { severity, class });
    let with_id = (0..9_u8, any::<bool>(), prop::sample::select(&["disk", "cpu", ""][..]))
        .prop_map(|(id, informs, class)| What::WithId { id, informs, class });
    let what = prop_oneof![
        5 => trigger,
        1 => with_id,
        1 => Just(What::Acknowledge),
        3 => Just(What::Resolve),
    ];
    (prop::option::weighted(0.95, 0..4_u8), what).prop_map(|(key, what)| {
        // Only a trigger may come without a key.
        let key = match what {
            What::Trigger { .. } | What::WithId { .. } => key,
            What::Acknowledge | What::Resolve => Some(key.unwrap_or(0)),
        };
        Happening::Event { key, what }
    })
}

fn act() -> impl Strategy<Value = Happening> {
    let verb = prop_oneof![
        2 => Just(Verb::Acknowledge),
        1 => Just(Verb::Unacknowledge),
        1 => Just(Verb::Resolve),
        1 => Just(Verb::Snooze(Span::from_secs(20))),
        1 => Just(Verb::Snooze(Span::ZERO)),
        1 => Just(Verb::Assign(Some("ann".to_owned()))),
        2 => Just(Verb::Merge(IncidentId::new(Timestamp::default(), 0, 0))),
    ];
    let incident = prop::bool::weighted(0.8);
    (incident, 1..6_i64, verb, 1..6_i64).prop_map(|(incident, number, verb, into)| Happening::Act {
        incident,
        number,
        verb,
        into,
    })
}

pub(super) fn silence() -> impl Strategy<Value = Happening> {
    let matchers: &[&[&str]] =
        &[&["class=\"disk\""], &["severity=\"critical\""], &[], &["dedup_key=\"k1\""]];
    let matchers = prop::sample::select(matchers.to_vec());
    let from = prop_oneof![3 => Just(0), 1 => 0..20_000_i64];
    (0..SLOTS.len(), matchers, from, 1..60_000_i64).prop_map(|(slot, matchers, from_ms, for_ms)| {
        Happening::Silence { slot, matchers, from_ms, for_ms }
    })
}

fn after() -> impl Strategy<Value = i64> {
    prop_oneof![10 => 0..2_000_i64, 10 => 0..15_000_i64, 5 => 0..90_000_i64, 5 => Just(0),
        5 => 0..400_000_i64, 1 => 0..4_000_000_i64]
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let what = prop_oneof![
        12 => event(),
        3 => act(),
        1 => silence(),
        1 => (0..SLOTS.len()).prop_map(|slot| Happening::Expire { slot }),
        1 => (0..3_usize).prop_map(|number| Happening::Policy { number }),
        1 => (0..RECEIVERS.len(), prop::option::weighted(0.8, 0..9_usize))
            .prop_map(|(slot, form)| Happening::Receiver { slot, form }),
        1 => Just(Happening::Tick),
    ];
    (after(), what).prop_map(|(after_ms, what)| Step { after_ms, what })
}

/// A gateway under a policy.
pub(super) fn gateway(policy: &Value) -> Gateway {
    let mut gateway = Gateway::new();
    let service = gateway.service("default").unwrap();
    let now = Timestamp::from_millis(START);
    for (number, name) in RECEIVERS.iter().enumerate() {
        gateway.put_receiver(name, ReceiverKind::Webhook, &form(name, number), now);
    }
    gateway.set_policy(service, policy, now).unwrap();
    gateway
}

fn change(gateway: &mut Gateway, policies: &[Value], change: &Happening, at: i64) {
    let now = Timestamp::from_millis(at);
    match change {
        Happening::Silence { slot, matchers, from_ms, for_ms } => {
            let from = Timestamp::from_millis(at + from_ms);
            let until = Timestamp::from_millis(at + from_ms + for_ms);
            let text = SilenceText {
                name: SLOTS[*slot],
                matchers: json!(matchers),
                service: None,
                when: When::Once { from, until },
            };
            gateway.put_silence(text, now);
        }
        Happening::Expire { slot } => {
            gateway.end_silence(SLOTS[*slot], now);
        }
        Happening::Policy { number } => {
            let service = gateway.service("default").unwrap();
            gateway.set_policy(service, &policies[number % policies.len()], now).unwrap();
        }
        Happening::Receiver { slot, form: Some(number) } => {
            let name = RECEIVERS[*slot];
            gateway.put_receiver(name, ReceiverKind::Webhook, &form(name, *number), now);
        }
        Happening::Receiver { slot, form: None } => {
            gateway.delete_receiver(RECEIVERS[*slot], now);
        }
        Happening::Event { .. } | Happening::Act { .. } | Happening::Tick => {}
    }
}

fn alert_of(state: &State, number: i64) -> AlertId {
    let found = state.alerts.keys().find(|id| id.seq() == number);
    found.copied().unwrap_or_else(|| AlertId::new(Timestamp::default(), 0, 0))
}

fn incident_of(state: &State, number: i64) -> IncidentId {
    let found = state.incidents.keys().find(|id| id.seq() == number);
    found.copied().unwrap_or_else(|| IncidentId::new(Timestamp::default(), 0, 0))
}

fn input(gateway: &Gateway, what: &Happening, at: i64) -> Option<Input> {
    let state = &gateway.world.state;
    Some(match what {
        Happening::Event { key, what } => {
            let key = key.map(|key| format!("k{key}"));
            gateway.world.event(at, key.as_deref(), *what)
        }
        Happening::Tick => Input::Tick(Timestamp::from_millis(at)),
        Happening::Act { incident, number, verb, into } => {
            let target = if *incident {
                Target::Incident(incident_of(state, *number))
            } else {
                Target::Alert(alert_of(state, *number))
            };
            let verb = match verb {
                Verb::Merge(_) => Verb::Merge(incident_of(state, *into)),
                other => other.clone(),
            };
            let (actor, received_at) = ("token:t".to_owned(), Timestamp::from_millis(at));
            Input::Action(Arc::new(ActionInput { target, verb, actor, received_at }))
        }
        Happening::Silence { .. }
        | Happening::Expire { .. }
        | Happening::Policy { .. }
        | Happening::Receiver { .. } => return None,
    })
}

/// People act on what they see, and that is what is there at that time.
fn look_first(gateway: &mut Gateway, what: &Happening, at: i64, ops: &mut Vec<Op>) {
    if matches!(what, Happening::Act { .. }) {
        let tick = Input::Tick(Timestamp::from_millis(at));
        gateway.batch(std::slice::from_ref(&tick));
        ops.push(Op::Input(tick));
    }
}

/// Runs a history step by step under the first of `policies`; `look` sees the gateway after each,
/// at what time. Also says what was done.
pub(crate) fn run(
    policies: &[Value],
    steps: &[Step],
    mut look: impl FnMut(&Gateway, i64),
) -> (Gateway, Vec<Op>, i64) {
    let mut gateway = gateway(&policies[0]);
    let (mut ops, mut at) = (Vec::new(), START);
    for step in steps {
        at += step.after_ms;
        look_first(&mut gateway, &step.what, at, &mut ops);
        if let Some(input) = input(&gateway, &step.what, at) {
            gateway.batch(std::slice::from_ref(&input));
            ops.push(Op::Input(input));
        } else {
            change(&mut gateway, policies, &step.what, at);
            ops.push(Op::Change(step.what.clone(), at));
        }
        look(&gateway, at);
    }
    (gateway, ops, at)
}

/// The same in batches of these sizes, over and over; a change of the configuration ends one.
pub(super) fn run_in_batches(policies: &[Value], ops: &[Op], sizes: &[usize]) -> Gateway {
    let mut gateway = gateway(&policies[0]);
    let mut sizes = sizes.iter().cycle();
    let mut batch: Vec<Input> = Vec::new();
    let mut room = 0;
    for op in ops {
        match op {
            Op::Input(input) => {
                if batch.is_empty() {
                    room = *sizes.next().unwrap();
                }
                batch.push(input.clone());
                if batch.len() >= room {
                    gateway.batch(&std::mem::take(&mut batch));
                }
            }
            Op::Change(what, at) => {
                if !batch.is_empty() {
                    gateway.batch(&std::mem::take(&mut batch));
                }
                change(&mut gateway, policies, what, *at);
            }
        }
    }
    if !batch.is_empty() {
        gateway.batch(&batch);
    }
    gateway
}

/// The same with a timer that runs at fractions (in thousandths) of the time between two steps.
pub(super) fn run_with_ticks(policies: &[Value], steps: &[Step], ticks: &[i64]) -> Gateway {
    let mut gateway = gateway(&policies[0]);
    let mut at = START;
    for step in steps {
        for tick in ticks {
            let now = at + step.after_ms * tick / 1000;
            gateway.batch(&[Input::Tick(Timestamp::from_millis(now))]);
        }
        at += step.after_ms;
        look_first(&mut gateway, &step.what, at, &mut Vec::new());
        if let Some(input) = input(&gateway, &step.what, at) {
            gateway.batch(&[input]);
        } else {
            change(&mut gateway, policies, &step.what, at);
        }
    }
    gateway
}

/// Ends everything: silences, alerts; and lets time pass until nothing waits any more.
pub(crate) fn end_all(gateway: &mut Gateway, mut at: i64) -> i64 {
    for slot in SLOTS {
        gateway.end_silence(slot, Timestamp::from_millis(at));
    }
    let open = |gateway: &Gateway| {
        let alerts = gateway.world.state.alerts.values();
        let open = alerts.filter(|alert| alert.is_open());
        open.map(|alert| alert.dedup_key.as_str().to_owned()).collect::<Vec<_>>()
    };
    for key in open(gateway) {
        at += 1;
        let resolve = gateway.world.event(at, Some(&key), What::Resolve);
        gateway.batch(&[resolve]);
    }
    for _ in 0..3 {
        at += 40 * 86_400_000;
        gateway.batch(&[Input::Tick(Timestamp::from_millis(at))]);
    }
    at
}
