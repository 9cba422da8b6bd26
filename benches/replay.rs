//! How many events a second the pure core takes on one core: what `dutygate replay` is made of.
//!
//! `cargo bench --bench replay`. The baseline in the same run is the same events under no policy.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::{sync::Arc, time::Instant};

use dutygate::domain::{
    changes::{EventInput, Input},
    event::{Api, Content, Event, Intent, SentTime, Severity, StoredBody},
    id::{IntegrationId, RuleId, ServiceId},
    key::DedupKey,
    pipeline,
    replay::Replay,
    routing::Directory,
    service::{Integration, IntegrationType, Service, ServicePolicy},
    time::{Span, Timestamp},
};

// As the gateway itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EVENTS: i64 = 400_000;
/// As many inputs as a batch of the gateway has under load.
const BATCH: usize = 128;
const START: i64 = 1_790_000_000_000;

fn main() {
    let ten_rules = serde_json::json!({
        "enrich": [
            {"extract": {"from": "summary", "regex": "on machine (?P<host>\\S+)"}},
            {"set": {"label": "team", "value": "core"}, "match": ["class=\"disk\""]},
        ],
        "drop": [{"match": ["source=~\"test-.*\""]}],
        "grouping": [
            {"match": ["class=\"disk\""], "by": ["group", "class"], "window": "30m"},
            {"match": ["class=\"cpu\""], "by": ["source"], "window": "30m"},
            {"by": ["class", "component"], "window": "1h", "window_type": "sliding"},
        ],
        "inhibition": [
            {"source": ["class=\"host down\""], "target": ["severity=~\"warning|info\""],
             "equal": ["source"]},
        ],
        "storm": [50, 500],
        "flapping": {"mode": "mark"},
        "auto_resolve": {"after": "24h", "from": "last_event"},
        "notify": [
            {"receivers": ["pd"], "match": ["severity=~\"critical|error\""], "repeat": "4h"},
            {"receivers": ["jira"], "delay": "10m"},
            {"receivers": ["mail"], "match": ["class=\"disk\""]},
        ],
    });
    for (name, policy) in [("no rules", serde_json::json!({})), ("ten rules", ten_rules)] {
        let directory = Arc::new(directory(&policy));
        let integration = Arc::clone(directory.integrations().next().expect("there is one"));
        let events: Vec<(i64, Event)> = (0..EVENTS).map(|n| (START + n * 5, event(n))).collect();
        let started = Instant::now();
        let mut replay = Replay::new(Arc::clone(&directory), Timestamp::default());
        for batch in events.chunks(BATCH) {
            let inputs: Vec<Input> = batch
                .iter()
                .map(|(at, event)| {
                    let prepared = pipeline::prepare(event, &integration, &directory);
                    Input::Event(Arc::new(EventInput {
                        integration: Arc::clone(&integration),
                        received_at: Timestamp::from_millis(*at),
                        event: event.clone(),
                        body: StoredBody { text: String::new(), details: None },
                        prepared,
                    }))
                })
                .collect();
            replay.run(&inputs);
        }
        replay.settle(Timestamp::from_millis(START + EVENTS * 5).plus(Span::from_secs(86_400)));
        let took = started.elapsed();
        let totals = replay.totals().values().next().copied().unwrap_or_default();
        let rate = u128::from(EVENTS.unsigned_abs()) * 1_000_000_000 / took.as_nanos().max(1);
        println!(
            "{name}: {rate} events/s on one core ({} events, {} alerts, {} incidents, {} \
             notifications)",
            totals.events, totals.alerts, totals.incidents, totals.notifications
        );
    }
}

fn directory(policy: &serde_json::Value) -> Directory {
    let mut parsed = ServicePolicy::default();
    let mut errors = Vec::new();
    let mut rules = 0;
    let mut rule_id = || {
        rules += 1;
        RuleId::new(Timestamp::default(), rules, 0)
    };
    for (name, value) in policy.as_object().expect("an object") {
        parsed.read_member(name, value, &mut rule_id, &mut errors);
    }
    assert!(errors.is_empty(), "{errors:?}");
    let service = Service {
        id: ServiceId::new(Timestamp::default(), 1, 0),
        name: "default".to_owned(),
        description: String::new(),
        policy: parsed,
        managed: false,
        version: 1,
        created_at: Timestamp::default(),
    };
    let integration = Integration {
        id: IntegrationId::new(Timestamp::default(), 1, 0),
        name: "bench".to_owned(),
        service_id: service.id,
        kind: IntegrationType::PagerDuty,
        shared: false,
        key_hint: String::new(),
        managed: false,
        version: 1,
        created_at: Timestamp::default(),
    };
    Directory::new(1, vec![service], vec![integration], Vec::new(), Vec::new())
}

/// 2,000 keys, of which a tenth comes and goes; a seventh of the events resolves something.
fn event(n: i64) -> Event {
    let key = n * 7919 % 2000;
    let dedup_key = DedupKey::parse(&format!("host-{}/check-{}", key % 100, key)).expect("a key");
    let resolves = key % 10 == 0 && n / 2000 % 2 == 1;
    let intent = if resolves {
        Intent::Resolve { dedup_key }
    } else {
        let class = ["disk", "cpu", "memory", "host down"][usize::try_from(key % 4).unwrap_or(0)];
        Intent::Trigger {
            dedup_key: Some(dedup_key),
            content: Box::new(Content {
                summary: format!("{class} alarm on machine host-{} check {key}", key % 100),
                source: Some(format!("host-{}", key % 100)),
                severity: Severity::ALL[usize::try_from(key % 3).unwrap_or(0)],
                component: Some(format!("component-{}", key % 20)),
                group: Some(format!("group-{}", key % 5)),
                class: Some(class.to_owned()),
                custom_details: Some(r#"{"value": 99, "limit": 90}"#.into()),
                client: None,
                client_url: None,
                links: Vec::new(),
                images: Vec::new(),
                labels: std::collections::BTreeMap::new(),
            }),
        }
    };
    Event::new(Api::V2, intent, SentTime::default())
}
