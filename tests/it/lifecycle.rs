//! From events to alerts to incidents, and back: timers, severities, what people do.

use serde_json::{Value, json};

use crate::harness::{START, TestGateway, act, trigger, trigger_with};

use dutygate::domain::time::Span;

/// So long after the start, as the API shows it.
fn at(span: &str) -> Value {
    json!(START.plus(Span::parse(span).unwrap()).to_string())
}

/// The newest alert of a key.
async fn alert(gateway: &TestGateway, dedup_key: &str) -> Value {
    gateway.read(&format!("/alerts?dedup_key={dedup_key}&limit=1")).await["items"][0].clone()
}

/// The incident that the newest alert of a key is in.
pub(crate) async fn incident(gateway: &TestGateway, dedup_key: &str) -> Value {
    let alert = alert(gateway, dedup_key).await;
    let id = alert["incident_id"].as_str().unwrap_or_else(|| panic!("{alert}"));
    gateway.read(&format!("/incidents/{id}")).await
}

async fn number(gateway: &TestGateway, dedup_key: &str) -> u64 {
    incident(gateway, dedup_key).await["number"].as_u64().unwrap()
}

/// Triggers with more in the payload; the number of the incident it is in.
pub(crate) async fn fire(gateway: &TestGateway, dedup_key: &str, payload: Value) -> u64 {
    gateway.enqueue(&trigger_with(dedup_key, &payload), 202).await;
    number(gateway, dedup_key).await
}

pub(crate) async fn resolve(gateway: &TestGateway, dedup_key: &str) {
    gateway.enqueue(&act("resolve", dedup_key), 202).await;
}

/// The kinds of a timeline's entries, oldest first.
async fn timeline(gateway: &TestGateway, path: &str) -> Vec<String> {
    let mut entries = gateway.read_all(&format!("{path}/timeline")).await;
    entries.reverse();
    entries.iter().map(|entry| entry["kind"].as_str().unwrap().to_owned()).collect()
}

pub(crate) async fn with_grouping(rule: Value) -> TestGateway {
    let gateway = TestGateway::start().await;
    gateway.policy(json!({"grouping": [rule]})).await;
    gateway
}

#[tokio::test]
async fn an_alert_resolves_by_itself_after_its_last_event() {
    let gateway = TestGateway::start().await;
    gateway.policy(json!({"auto_resolve": {"after": "1h", "from": "last_event"}})).await;
    gateway.enqueue(&trigger("k", "s"), 202).await;
    gateway.advance("50m").await;
    gateway.enqueue(&trigger("k", "s"), 202).await;

    gateway.advance("3599s").await;
    assert_eq!(alert(&gateway, "k").await["status"], "triggered");
    // However late the timer is, it takes effect when it was due.
    gateway.advance("7h").await;

    let alert = alert(&gateway, "k").await;
    assert_eq!((&alert["status"], &alert["resolved_at"]), (&json!("resolved"), &at("110m")));
    let incident = incident(&gateway, "k").await;
    assert_eq!((&incident["status"], &incident["resolved_at"]), (&json!("resolved"), &at("110m")));
    gateway.drain().await;
}

#[tokio::test]
async fn an_alert_resolves_by_itself_after_its_first_event() {
    let gateway = TestGateway::start().await;
    gateway.policy(json!({"auto_resolve": {"after": "1h", "from": "first_event"}})).await;
    gateway.enqueue(&trigger("k", "s"), 202).await;
    gateway.advance("59m").await;
    gateway.enqueue(&trigger("k", "s"), 202).await;

    gateway.advance("1m").await;

    let alert = alert(&gateway, "k").await;
    assert_eq!((&alert["status"], &alert["resolved_at"]), (&json!("resolved"), &at("1h")));
    gateway.drain().await;
}

#[tokio::test]
async fn what_was_due_takes_effect_before_a_later_event_whenever_timers_run() {
    let gateway = TestGateway::start().await;
    gateway.policy(json!({"auto_resolve": {"after": "1h", "from": "last_event"}})).await;
    gateway.enqueue(&trigger("k", "s"), 202).await;

    // No tick is asked for: the event itself comes an instant after the due time.
    gateway.clock.advance(Span::parse("3600001ms").unwrap());
    gateway.enqueue(&trigger("k", "s"), 202).await;

    let alerts = gateway.read_all("/alerts?dedup_key=k").await;
    assert_eq!(alerts.len(), 2, "{alerts:?}");
    assert_eq!((&alerts[1]["status"], &alerts[1]["resolved_at"]), (&json!("resolved"), &at("1h")));
    assert_eq!(alerts[0]["status"], "triggered");
    gateway.drain().await;
}

#[tokio::test]
async fn an_acknowledgement_runs_out() {
    let gateway = TestGateway::start().await;
    gateway.policy(json!({"acknowledgement_timeout": "30m"})).await;
    gateway.enqueue(&trigger("k", "s"), 202).await;
    gateway.advance("5m").await;
    gateway.enqueue(&act("acknowledge", "k"), 202).await;
    gateway.advance("29m").await;
    let acknowledged = alert(&gateway, "k").await;
    assert_eq!(acknowledged["status"], "acknowledged");
    assert_eq!(acknowledged["acknowledged_at"], at("5m"));
    assert_eq!(incident(&gateway, "k").await["status"], "acknowledged");

    gateway.advance("1m").await;

    let alert = alert(&gateway, "k").await;
    assert_eq!((&alert["status"], &alert["acknowledged_at"]), (&json!("triggered"), &json!(null)));
    let incident = incident(&gateway, "k").await;
    assert_eq!(incident["status"], "triggered");
    assert_eq!(incident["acknowledged_by"], json!(null));
    gateway.drain().await;
}

#[tokio::test]
async fn timers_survive_a_restart() {
    let gateway = TestGateway::start().await;
    gateway.policy(json!({"auto_resolve": {"after": "1h", "from": "last_event"}})).await;
    gateway.enqueue(&trigger("k", "s"), 202).await;

    let gateway = gateway.restart().await;
    gateway.advance("2h").await;

    assert_eq!(alert(&gateway, "k").await["resolved_at"], at("1h"));
    gateway.drain().await;
}

#[tokio::test]
async fn a_worse_alert_triggers_an_acknowledged_incident_again() {
    let gateway = with_grouping(json!({"by": ["class"]})).await;
    let disk = |severity: &str| json!({"class": "disk", "severity": severity});
    let first = fire(&gateway, "a", disk("warning")).await;
    let path = format!("/incidents/{first}");
    gateway.call("POST", &format!("{path}/acknowledge"), None, 200).await;

    // As bad as what was acknowledged: nobody is bothered.
    assert_eq!(fire(&gateway, "b", disk("warning")).await, first);
    assert_eq!(gateway.read(&path).await["status"], "acknowledged");

    assert_eq!(fire(&gateway, "c", disk("critical")).await, first);
    let shown = gateway.read(&path).await;
    assert_eq!((&shown["status"], &shown["severity"]), (&json!("triggered"), &json!("critical")));
    assert_eq!(shown["acknowledged_by"], json!(null));
    assert!(timeline(&gateway, &path).await.contains(&"triggered_again".to_owned()));
    gateway.drain().await;
}

#[tokio::test]
async fn an_acknowledged_alert_that_gets_worse_wakes_nobody() {
    let gateway = TestGateway::start().await;
    fire(&gateway, "a", json!({"severity": "warning"})).await;
    gateway.enqueue(&act("acknowledge", "a"), 202).await;

    fire(&gateway, "a", json!({"severity": "critical"})).await;

    let alert = alert(&gateway, "a").await;
    assert_eq!(
        (&alert["status"], &alert["severity"]),
        (&json!("acknowledged"), &json!("critical"))
    );
    let incident = incident(&gateway, "a").await;
    assert_eq!(incident["status"], "acknowledged");
    assert_eq!(incident["severity"], "critical");
    gateway.drain().await;
}

#[tokio::test]
async fn an_incident_is_as_severe_as_its_worst_open_alert() {
    let gateway = with_grouping(json!({"by": ["class"]})).await;
    let disk = |severity: &str| json!({"class": "disk", "severity": severity});
    let severity = async || incident(&gateway, "a").await["severity"].clone();

    fire(&gateway, "a", disk("warning")).await;
    fire(&gateway, "b", disk("critical")).await;
    assert_eq!(severity().await, "critical");
    fire(&gateway, "b", disk("info")).await;
    assert_eq!(severity().await, "warning");
    fire(&gateway, "b", disk("error")).await;
    assert_eq!(severity().await, "error");
    resolve(&gateway, "b").await;
    assert_eq!(severity().await, "warning");
    resolve(&gateway, "a").await;

    let shown = incident(&gateway, "a").await;
    assert_eq!(shown["status"], "resolved");
    assert_eq!(shown["severity"], "warning", "it keeps its last one");
    assert_eq!(shown["max_severity"], "critical");
    gateway.drain().await;
}

#[tokio::test]
async fn an_acknowledge_event_leaves_sister_alerts_alone_and_a_person_s_does_not() {
    let gateway = with_grouping(json!({"by": ["class"]})).await;
    let number = fire(&gateway, "a", json!({"class": "disk"})).await;
    fire(&gateway, "b", json!({"class": "disk"})).await;
    let path = format!("/incidents/{number}");

    gateway.enqueue(&act("acknowledge", "a"), 202).await;
    assert_eq!(alert(&gateway, "a").await["status"], "acknowledged");
    assert_eq!(alert(&gateway, "b").await["status"], "triggered");
    let shown = gateway.read(&path).await;
    assert_eq!(shown["status"], "acknowledged");

    let shown = gateway.call("POST", &format!("{path}/unacknowledge"), None, 200).await;
    assert_eq!(shown["status"], "triggered");
    let shown = gateway.call("POST", &format!("{path}/acknowledge"), None, 200).await;
    assert_eq!(shown["status"], "acknowledged");
    assert_eq!(shown["acknowledged_by"], "token:admin");
    assert_eq!(alert(&gateway, "b").await["status"], "acknowledged");
    // Again: the same answer.
    let again = gateway.call("POST", &format!("{path}/acknowledge"), None, 200).await;
    assert_eq!(again, shown);
    gateway.drain().await;
}

#[tokio::test]
async fn resolving_an_incident_resolves_its_alerts_and_frees_their_keys() {
    let gateway = with_grouping(json!({"by": ["class"]})).await;
    let number = fire(&gateway, "a", json!({"class": "disk"})).await;
    fire(&gateway, "b", json!({"class": "disk"})).await;
    let path = format!("/incidents/{number}");

    let shown = gateway.call("POST", &format!("{path}/resolve"), None, 200).await;
    assert_eq!((&shown["status"], &shown["open_alert_count"]), (&json!("resolved"), &json!(0)));
    for key in ["a", "b"] {
        assert_eq!(alert(&gateway, key).await["status"], "resolved");
    }
    assert_eq!(gateway.call("POST", &format!("{path}/resolve"), None, 200).await, shown);
    gateway.call("POST", &format!("{path}/acknowledge"), None, 409).await;
    gateway.call("POST", &format!("{path}/unacknowledge"), None, 409).await;

    // The source fires on: a new alert and a new incident.
    assert_ne!(fire(&gateway, "a", json!({"class": "disk"})).await, number);
    gateway.drain().await;
}

#[tokio::test]
async fn many_incidents_are_acted_on_at_once() {
    let gateway = TestGateway::start().await;
    let mut ids = Vec::new();
    for number in 0..120 {
        gateway.enqueue(&trigger(&format!("k{number}"), "s"), 202).await;
    }
    for incident in gateway.read_all("/incidents").await {
        ids.push(incident["id"].clone());
    }
    assert_eq!(ids.len(), 120);
    let bulk = async |action: &str, ids: &[Value]| {
        let body = json!({"action": action, "ids": ids});
        let answer = gateway.call("POST", "/incidents/bulk", Some(body), 200).await;
        let results = answer["results"].as_array().unwrap().clone();
        results.iter().map(|r| r["result"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };

    assert_eq!(bulk("acknowledge", &ids).await, vec!["changed"; 120]);
    assert_eq!(bulk("acknowledge", &ids[..2]).await, ["unchanged", "unchanged"]);
    assert_eq!(bulk("resolve", &ids[..1]).await, ["changed"]);
    let mixed = [ids[0].clone(), ids[1].clone(), json!("4711"), json!("no id")];
    let results = bulk("acknowledge", &mixed).await;
    assert_eq!(results, ["conflict", "unchanged", "not_found", "not_found"]);
    assert_eq!(bulk("resolve", &ids).await[..2], ["unchanged", "changed"]);

    let open = gateway.read("/incidents?status=triggered&status=acknowledged&count=true").await;
    assert_eq!(open["total"], 0);
    gateway.drain().await;
}

#[tokio::test]
async fn resolving_is_idempotent_for_emitters_and_people() {
    let gateway = TestGateway::start().await;
    gateway.enqueue(&trigger("k", "s"), 202).await;
    gateway.advance("1m").await;
    for _ in 0..3 {
        resolve(&gateway, "k").await;
        gateway.advance("1m").await;
    }

    let resolved = alert(&gateway, "k").await;
    assert_eq!(resolved["resolved_at"], at("1m"));
    let path = format!("/alerts/{}", resolved["id"].as_str().unwrap());
    let again = gateway.call("POST", &format!("{path}/resolve"), None, 200).await;
    assert_eq!(again, resolved);
    gateway.call("POST", &format!("{path}/acknowledge"), None, 409).await;
    assert_eq!(timeline(&gateway, &path).await, ["opened", "resolved"]);

    let events = gateway.read_all("/events?dedup_key=k").await;
    let dispositions: Vec<_> = events.iter().rev().map(|event| &event["disposition"]).collect();
    assert_eq!(dispositions, ["opened", "resolved", "ignored", "ignored"]);
    gateway.drain().await;
}

#[tokio::test]
async fn one_key_sent_by_many_at_once_is_one_alert() {
    let gateway = TestGateway::start().await;

    let event = trigger("k", "s");
    let sent = (0..64).map(|_| gateway.enqueue(&event, 202));
    futures_util::future::join_all(sent).await;

    let alerts = gateway.read_all("/alerts").await;
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0]["event_count"], 64);
    let incident = incident(&gateway, "k").await;
    assert_eq!((&incident["alert_count"], &incident["event_count"]), (&json!(1), &json!(64)));
    gateway.drain().await;
}

#[tokio::test]
async fn the_same_key_on_two_integrations_is_two_alerts() {
    let gateway = TestGateway::start().await;
    let other = "fedcba9876543210fedcba9876543210";
    let integration = json!({
        "name": "other", "service": "default", "type": "pagerduty", "key": other,
    });
    gateway.call("POST", "/integrations", Some(integration), 201).await;

    gateway.enqueue(&trigger("k", "s"), 202).await;
    let elsewhere = |event: &Value| event.to_string().replace(crate::harness::KEY, other);
    gateway.post("/v2/enqueue", elsewhere(&trigger("k", "s")), 202).await;
    resolve(&gateway, "k").await;

    let of = async |integration: &str| {
        let list = gateway.read(&format!("/alerts?integration={integration}")).await;
        list["items"][0]["status"].clone()
    };
    assert_eq!((of("default").await, of("other").await), (json!("resolved"), json!("triggered")));
    // Keys are case-sensitive.
    gateway.post("/v2/enqueue", elsewhere(&act("resolve", "K")), 202).await;
    assert_eq!(of("other").await, "triggered");
    gateway.drain().await;
}

#[tokio::test]
async fn a_clock_that_goes_back_does_no_harm() {
    let gateway = TestGateway::start().await;
    gateway.advance("1h").await;
    gateway.enqueue(&trigger("k", "s"), 202).await;
    gateway.clock.set(START);
    resolve(&gateway, "k").await;

    let alert = alert(&gateway, "k").await;
    assert_eq!(alert["status"], "resolved");
    assert_eq!((&alert["first_event_at"], &alert["resolved_at"]), (&at("1h"), &at("1h")));
    gateway.drain().await;
}
