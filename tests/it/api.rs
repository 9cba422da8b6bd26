//! What is sent is what is read: the JSON API end to end.

use serde_json::{Value, json};

use crate::{
    harness::{ADMIN, KEY, START, TestGateway, act, trigger, trigger_with},
    http::Request,
};

/// Numbers, order, spaces and escapes that a parser would not give back.
const DETAILS: &str = r#"{"b": 1.0, "a": 1e3, "big": 12345678901234567890.10, "a": "twice", "nested": {"z": [1, 2.50, null], "磁盘": "\u00e9\u0000 🐘"},"html":"<b>&amp;</b>"}"#;

/// The order in which stages decide.
const STAGES: [&str; 10] = [
    "route",
    "idempotency",
    "enrich",
    "drop",
    "dedup",
    "flapping",
    "silence",
    "inhibition",
    "group",
    "notify",
];

#[tokio::test]
async fn an_event_of_version_2_is_read_as_it_was_sent() {
    let gateway = TestGateway::start().await;
    let event = format!(
        r#"{{"routing_key":"{KEY}","event_action":"trigger","dedup_key":"srv01/磁盘 é",
        "client":"ElastAlert 2","client_url":"https://kibana.example/app?x=1&y=2",
        "links":[{{"href":"https://run.book/1","text":"runbook"}},{{"href":"javascript:alert(1)"}}],
        "images":[{{"src":"https://img.example/a.png","href":"https://img.example","alt":"图"}}],
        "payload":{{"summary":"DISK at 99% – 磁盘已满 🐘","source":"prod-datapipe03.example.com",
        "severity":"warning","timestamp":"2026-11-20T11:58:30.5+02:00","component":"mysql",
        "group":"prod-datapipe","class":"disk","custom_details":{DETAILS}}}}}"#
    );
    gateway.post("/v2/enqueue", event, 202).await;

    let listed = gateway.read("/alerts").await;
    let id = listed["items"][0]["id"].as_str().unwrap();
    let read = Request::get(&format!("/api/v1/alerts/{id}")).bearer(ADMIN);
    let answer = gateway.send(&read).await.expect(200);
    let alert = answer.json();

    assert!(answer.text().contains(&format!(r#""custom_details":{DETAILS},"#)), "{answer:?}");
    let now = START.to_string();
    for (member, value) in [
        ("dedup_key", json!("srv01/磁盘 é")),
        ("status", json!("triggered")),
        ("severity", json!("warning")),
        ("max_severity", json!("warning")),
        ("summary", json!("DISK at 99% – 磁盘已满 🐘")),
        ("source", json!("prod-datapipe03.example.com")),
        ("component", json!("mysql")),
        ("group", json!("prod-datapipe")),
        ("class", json!("disk")),
        ("client", json!("ElastAlert 2")),
        ("client_url", json!("https://kibana.example/app?x=1&y=2")),
        (
            "images",
            json!([{"src": "https://img.example/a.png", "href": "https://img.example", "alt": "图"}]),
        ),
        ("event_count", json!(1)),
        ("event_at", json!("2026-11-20T09:58:30.500Z")),
        ("first_event_at", json!(now)),
        ("last_event_at", json!(now)),
        ("acknowledged_at", json!(null)),
        ("resolved_at", json!(null)),
        ("integration", json!("default")),
        ("service", json!("default")),
        ("suppressed_by", json!([])),
        ("flapping", json!(false)),
    ] {
        assert_eq!(alert[member], value, "{member}");
    }
    assert_eq!(alert["links"][0], json!({"href": "https://run.book/1", "text": "runbook"}));
    assert_eq!(alert["links"][1]["href"], "javascript:alert(1)", "kept; not rendered as a link");
    assert_eq!(listed["items"][0], alert);
    gateway.drain().await;
}

#[tokio::test]
async fn an_event_of_version_1_is_read_as_it_was_sent() {
    let gateway = TestGateway::start().await;
    let event = format!(
        r#"{{"service_key":"{KEY}","event_type":"trigger","incident_key":"srv01/HTTP",
        "description":"FAILURE for production/HTTP on machine srv01","client":"Sample Monitor",
        "client_url":"https://monitoring.example","details":{DETAILS},
        "contexts":[{{"type":"link","href":"https://run.book","text":"runbook"}},
        {{"type":"image","src":"https://chart.example/c.png","href":"https://chart.example"}}]}}"#
    );
    gateway.post("/generic/2010-04-15/create_event.json", event, 200).await;

    let read = Request::get("/api/v1/alerts").bearer(ADMIN);
    let answer = gateway.send(&read).await.expect(200);
    let alert = &answer.json()["items"][0];

    assert!(answer.text().contains(&format!(r#""custom_details":{DETAILS},"#)), "{answer:?}");
    assert_eq!(alert["dedup_key"], "srv01/HTTP");
    assert_eq!(alert["summary"], "FAILURE for production/HTTP on machine srv01");
    assert_eq!(alert["severity"], "critical");
    assert_eq!(alert["source"], "Sample Monitor");
    assert_eq!(alert["client"], "Sample Monitor");
    assert_eq!(alert["client_url"], "https://monitoring.example");
    assert_eq!(alert["links"], json!([{"href": "https://run.book", "text": "runbook"}]));
    assert_eq!(alert["images"][0]["src"], "https://chart.example/c.png");
    gateway.drain().await;
}

#[tokio::test]
async fn details_of_any_type_and_size_are_read_as_they_were_sent() {
    let gateway = TestGateway::start().await;
    // The last is more than is copied from event to alert.
    let large = format!(r#"{{"log":"{}","n":1.50}}"#, "line\\n磁盘 ".repeat(2000));
    for (number, details) in
        [r#""text""#, "[1.0, 2]", "1e2", "true", "null", "{}", &large].into_iter().enumerate()
    {
        let event = trigger(&format!("k{number}"), "s").to_string();
        let event = event.replacen(
            r#""payload":{"#,
            &format!(r#""payload":{{"custom_details":{details},"#),
            1,
        );
        gateway.post("/v2/enqueue", event.as_str(), 202).await;
        gateway.post("/v2/enqueue", event, 202).await;

        let read = Request::get("/api/v1/alerts?limit=1").bearer(ADMIN);
        let text = gateway.send(&read).await.expect(200).text();
        assert!(text.contains(&format!(r#""custom_details":{details},"#)), "{details}: {text}");
    }
    gateway.drain().await;
}

#[tokio::test]
async fn a_repeat_brings_the_newest_content() {
    let gateway = TestGateway::start().await;
    gateway.enqueue(&trigger_with("k", &json!({"summary": "91%", "class": "disk"})), 202).await;
    gateway.advance("1m").await;
    let worse = json!({"summary": "99%", "source": "srv02", "severity": "critical"});
    gateway.enqueue(&trigger_with("k", &worse), 202).await;
    gateway.advance("1m").await;
    gateway.enqueue(&trigger_with("k", &json!({"summary": "95%", "severity": "info"})), 202).await;

    let alert = &gateway.read("/alerts").await["items"][0];
    assert_eq!(alert["summary"], "95%");
    assert_eq!(alert["class"], json!(null));
    assert_eq!((&alert["severity"], &alert["max_severity"]), (&json!("info"), &json!("critical")));
    assert_eq!(alert["event_count"], 3);
    let incident = &gateway.read("/incidents").await["items"][0];
    assert_eq!(incident["title"], "91%", "never changed by later ones");
    gateway.drain().await;
}

#[tokio::test]
async fn a_change_event_is_read_as_it_was_sent_and_shown_with_the_incident_after_it() {
    let gateway = TestGateway::start().await;
    let change = format!(
        r#"{{"routing_key":"{KEY}","payload":{{"summary":"Build 142 – 部署","source":"ci-7",
        "timestamp":"2026-11-20T09:59:59Z","custom_details":{DETAILS}}},
        "links":[{{"href":"https://ci.example/142","text":"build"}}]}}"#
    );
    gateway.post("/v2/change/enqueue", change, 202).await;
    gateway.advance("5m").await;
    gateway.enqueue(&trigger("k", "s"), 202).await;

    let answer = gateway.send(&Request::get("/api/v1/changes").bearer(ADMIN)).await.expect(200);
    assert!(answer.text().contains(&format!(r#""custom_details":{DETAILS}"#)), "{answer:?}");
    let change = &answer.json()["items"][0];
    assert_eq!(change["summary"], "Build 142 – 部署");
    assert_eq!(change["source"], "ci-7");
    assert_eq!(change["event_at"], "2026-11-20T09:59:59.000Z");
    assert_eq!(change["received_at"], START.to_string());
    assert_eq!(change["links"], json!([{"href": "https://ci.example/142", "text": "build"}]));
    let related = gateway.read("/incidents/1/changes").await;
    assert_eq!(related["items"][0]["id"], change["id"]);
    assert_eq!(gateway.read("/changes?q=build").await["items"][0]["id"], change["id"]);
    gateway.drain().await;
}

#[tokio::test]
async fn an_event_has_its_body_with_the_key_masked_and_a_trace_in_the_order_of_stages() {
    let gateway = TestGateway::start().await;
    let sent = format!(
        "{{ \"routing_key\" : \"{KEY}\",\n \"event_action\":\"trigger\", \"dedup_key\":\"k\", \
         \"payload\":{{\"summary\":\"s\",\"source\":\"x\",\"severity\":\"info\",\
         \"custom_details\":{DETAILS}}} }}"
    );
    gateway.post("/v2/enqueue", sent.as_str(), 202).await;
    gateway.enqueue(&trigger("k", "s"), 202).await;
    gateway.enqueue(&act("acknowledge", "k"), 202).await;
    gateway.enqueue(&act("resolve", "k"), 202).await;
    gateway.enqueue(&act("resolve", "k"), 202).await;

    let mut events = gateway.read_all("/events").await;
    events.reverse();
    let results: Vec<_> = events.iter().map(|e| e["disposition"].as_str().unwrap()).collect();
    assert_eq!(results, ["opened", "merged", "acknowledged", "resolved", "ignored"]);
    assert_eq!(events[0]["body"].as_str().unwrap(), sent.replace(KEY, "0123…"));
    for event in &events {
        let id = event["id"].as_str().unwrap();
        assert_eq!(gateway.read(&format!("/events/{id}")).await, *event);
        let stages: Vec<_> = event["trace"].as_array().unwrap().iter().collect();
        let place = |decision: &&Value| {
            assert!(decision["decision"].is_string() && decision["reason"].is_string());
            STAGES.iter().position(|stage| decision["stage"] == *stage).unwrap()
        };
        let places: Vec<_> = stages.iter().map(place).collect();
        assert!(!places.is_empty() && places.is_sorted_by(|a, b| a < b), "{event}");
        assert!(stages.iter().any(|decision| decision["stage"] == "dedup"), "{event}");
    }
    let stages = events[0]["trace"].as_array().unwrap();
    assert!(stages.iter().any(|decision| decision["stage"] == "group"), "{stages:?}");
    let alert = events[0]["alert_id"].as_str().unwrap();
    let of_alert = gateway.read_all(&format!("/alerts/{alert}/events")).await;
    assert_eq!(of_alert.len(), 4, "what was ignored belongs to no alert: {of_alert:?}");
    gateway.drain().await;
}
