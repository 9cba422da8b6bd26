//! From events to alerts to incidents, and back: timers, grouping, what people do.

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
async fn incident(gateway: &TestGateway, dedup_key: &str) -> Value {
    let alert = alert(gateway, dedup_key).await;
    let id = alert["incident_id"].as_str().unwrap_or_else(|| panic!("{alert}"));
    gateway.read(&format!("/incidents/{id}")).await
}

async fn number(gateway: &TestGateway, dedup_key: &str) -> u64 {
    incident(gateway, dedup_key).await["number"].as_u64().unwrap()
}

/// Triggers with more in the payload; the number of the incident it is in.
async fn fire(gateway: &TestGateway, dedup_key: &str, payload: Value) -> u64 {
    gateway.enqueue(&trigger_with(dedup_key, &payload), 202).await;
    number(gateway, dedup_key).await
}

async fn resolve(gateway: &TestGateway, dedup_key: &str) {
    gateway.enqueue(&act("resolve", dedup_key), 202).await;
}

/// The kinds of a timeline's entries, oldest first.
async fn timeline(gateway: &TestGateway, path: &str) -> Vec<String> {
    let mut entries = gateway.read_all(&format!("{path}/timeline")).await;
    entries.reverse();
    entries.iter().map(|entry| entry["kind"].as_str().unwrap().to_owned()).collect()
}

async fn with_grouping(rule: Value) -> TestGateway {
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
async fn without_rules_every_alert_is_an_incident_of_its_own() {
    let gateway = TestGateway::start().await;

    let first = fire(&gateway, "a", json!({"class": "disk"})).await;
    let second = fire(&gateway, "b", json!({"class": "disk"})).await;

    assert_ne!(first, second);
    assert_eq!(incident(&gateway, "a").await["group_key"], json!(null));
    gateway.drain().await;
}

#[tokio::test]
async fn alerts_with_the_same_values_share_an_incident() {
    let gateway = with_grouping(json!({"by": ["class", "group"]})).await;

    let disk = fire(&gateway, "a", json!({"class": "disk", "group": "db"})).await;
    assert_eq!(fire(&gateway, "b", json!({"class": "disk", "group": "db"})).await, disk);
    assert_ne!(fire(&gateway, "c", json!({"class": "disk", "group": "web"})).await, disk);
    assert_ne!(fire(&gateway, "d", json!({"class": "disk"})).await, disk);

    let incident = incident(&gateway, "b").await;
    assert_eq!(incident["title"], "a");
    assert_eq!(incident["alert_count"], 2);
    assert_eq!(incident["group_key"]["values"], json!({"class": "disk", "group": "db"}));
    gateway.drain().await;
}

#[tokio::test]
async fn missing_values_are_equal_unless_strict() {
    for (strict, shared) in [(false, true), (true, false)] {
        let gateway = with_grouping(json!({"by": ["class", "group"], "strict": strict})).await;

        let first = fire(&gateway, "a", json!({"class": "disk"})).await;
        let second = fire(&gateway, "b", json!({"class": "disk"})).await;

        assert_eq!(first == second, shared, "strict: {strict}");
        gateway.drain().await;
    }
}

#[tokio::test]
async fn any_shared_value_is_enough_if_the_rule_says_so() {
    let gateway = with_grouping(json!({"by": ["class", "group"], "aggregate": "any"})).await;

    let first = fire(&gateway, "a", json!({"class": "disk", "group": "db"})).await;
    assert_eq!(fire(&gateway, "b", json!({"class": "disk", "group": "web"})).await, first);
    assert_eq!(fire(&gateway, "c", json!({"class": "cpu", "group": "db"})).await, first);
    assert_ne!(fire(&gateway, "d", json!({"class": "net", "group": "edge"})).await, first);
    // Nothing in common is not the same nothing.
    let none = fire(&gateway, "e", json!({})).await;
    assert_ne!(fire(&gateway, "f", json!({})).await, none);
    gateway.drain().await;
}

#[tokio::test]
async fn the_first_rule_that_matches_decides() {
    let gateway = TestGateway::start().await;
    gateway
        .policy(json!({"grouping": [
            {"match": ["severity=\"critical\"", "source=~\"db-.*\""], "by": ["source"]},
            {"match": ["details.env=\"prod\""], "by": ["class"]},
        ]}))
        .await;
    let critical = |source: &str| json!({"severity": "critical", "source": source});
    let prod = |class: &str| json!({"class": class, "custom_details": {"env": "prod"}});

    let db = fire(&gateway, "a", critical("db-1")).await;
    assert_eq!(fire(&gateway, "b", critical("db-1")).await, db);
    assert_ne!(fire(&gateway, "c", critical("db-2")).await, db);
    let disk = fire(&gateway, "d", prod("disk")).await;
    assert_eq!(fire(&gateway, "e", prod("disk")).await, disk);
    let other = fire(&gateway, "f", json!({"class": "disk"})).await;
    assert!(other != disk && other != db);
    gateway.drain().await;
}

#[tokio::test]
async fn a_tumbling_window_counts_from_the_first_alert() {
    let gateway = with_grouping(json!({"by": ["class"], "window": "10m"})).await;
    let disk = || json!({"class": "disk"});

    let first = fire(&gateway, "a", disk()).await;
    gateway.advance("6m").await;
    assert_eq!(fire(&gateway, "b", disk()).await, first);
    gateway.advance("239999ms").await;
    assert_eq!(fire(&gateway, "c", disk()).await, first);
    gateway.advance("1ms").await;
    let second = fire(&gateway, "d", disk()).await;

    assert_ne!(second, first);
    assert_eq!(fire(&gateway, "e", disk()).await, second);
    // An alert of the older one that goes on stays where it is.
    assert_eq!(fire(&gateway, "a", disk()).await, first);
    gateway.drain().await;
}

#[tokio::test]
async fn a_sliding_window_moves_with_every_alert_up_to_its_span() {
    let rule = json!({
        "by": ["class"], "window": "10m", "window_type": "sliding", "max_span": "25m",
    });
    let gateway = with_grouping(rule).await;
    let disk = || json!({"class": "disk"});

    let first = fire(&gateway, "a", disk()).await;
    for key in ["b", "c", "d"] {
        gateway.advance("8m").await;
        assert_eq!(fire(&gateway, key, disk()).await, first, "{key}");
    }
    // The window is open until 34 minutes, the span until 25.
    gateway.advance("1m").await;
    let second = fire(&gateway, "e", disk()).await;
    assert_ne!(second, first);
    gateway.advance("10m").await;
    assert_ne!(fire(&gateway, "f", disk()).await, second);
    gateway.drain().await;
}

#[tokio::test]
async fn time_alone_can_group() {
    let gateway = with_grouping(json!({"by": "time", "window": "5m"})).await;

    let first = fire(&gateway, "a", json!({"class": "disk"})).await;
    assert_eq!(fire(&gateway, "b", json!({"class": "net"})).await, first);
    gateway.advance("5m").await;
    assert_ne!(fire(&gateway, "c", json!({"class": "disk"})).await, first);
    gateway.drain().await;
}

#[tokio::test]
async fn a_full_incident_takes_no_more_alerts() {
    let gateway = with_grouping(json!({"by": ["class"], "max_alerts": 2})).await;
    let disk = || json!({"class": "disk"});

    let first = fire(&gateway, "a", disk()).await;
    assert_eq!(fire(&gateway, "b", disk()).await, first);
    let second = fire(&gateway, "c", disk()).await;
    assert_ne!(second, first);
    // A repeat is no further alert.
    assert_eq!(fire(&gateway, "a", disk()).await, first);
    assert_eq!(fire(&gateway, "d", disk()).await, second);
    gateway.drain().await;
}

#[tokio::test]
async fn a_key_that_comes_back_rejoins_its_open_incident() {
    let gateway = with_grouping(json!({"by": ["class"], "window": "10m"})).await;
    let disk = || json!({"class": "disk"});
    let first = fire(&gateway, "a", disk()).await;
    fire(&gateway, "b", disk()).await;
    gateway.advance("30m").await;
    resolve(&gateway, "b").await;

    // Long after the window, but its incident is still open.
    assert_eq!(fire(&gateway, "b", disk()).await, first);
    let shown = incident(&gateway, "b").await;
    assert_eq!((&shown["alert_count"], &shown["open_alert_count"]), (&json!(3), &json!(2)));

    // A resolved incident never grows.
    resolve(&gateway, "a").await;
    resolve(&gateway, "b").await;
    assert_eq!(incident(&gateway, "a").await["status"], "resolved");
    assert_ne!(fire(&gateway, "b", disk()).await, first);
    gateway.drain().await;
}

#[tokio::test]
async fn an_edited_rule_splits_no_open_incident() {
    let gateway = with_grouping(json!({"by": ["class"], "window": "10m"})).await;
    let first = fire(&gateway, "a", json!({"class": "disk"})).await;

    gateway.policy(json!({"grouping": [{"by": ["class"], "window": "1h"}]})).await;
    gateway.advance("30m").await;

    assert_eq!(fire(&gateway, "b", json!({"class": "disk"})).await, first);
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
