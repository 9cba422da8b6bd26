//! `POST /api/v1/policy/replay` beside what was really made.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{Gateway, KEY};
use crate::{clock::Clock as _, domain::time::Span};

/// Sends an event; its dedup key, which may have been made for it.
async fn send(gateway: &Gateway, action: &str, dedup_key: Option<&str>, payload: Value) -> String {
    let mut whole = json!({"summary": "DISK at 99%", "source": "srv01", "severity": "error"});
    for (name, value) in payload.as_object().into_iter().flatten() {
        whole[name] = value.clone();
    }
    let mut event = json!({"routing_key": KEY, "event_action": action, "payload": whole});
    if let Some(dedup_key) = dedup_key {
        event["dedup_key"] = dedup_key.into();
    }
    let answer = gateway.request(Method::POST, "/v2/enqueue", &[], event.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()["dedup_key"].as_str().unwrap().to_owned()
}

/// Moves the clock and lets everything that is due take effect.
async fn wait(gateway: &Gateway, span: &str) {
    gateway.clock.advance(Span::parse(span).unwrap());
    while gateway.api.ingest.tick(gateway.clock.now()).await.unwrap() > 0 {}
}

#[actix_web::test]
async fn under_the_policy_of_today_it_comes_to_what_was_made() {
    let gateway = Gateway::start().await;
    for name in ["pager", "mail"] {
        let hook = json!({"name": name, "kind": "webhook", "url": "https://example.com/in"});
        assert_eq!(gateway.post("/receivers", &hook).await.status, 201);
    }
    let policy = json!({
        "name": "default",
        "drop": [{"match": ["class=\"noise\""]}],
        "grouping": [{"match": ["class=\"disk\""], "by": ["class", "source"], "window": "30m"}],
        "notify": [
            {"receivers": ["pager"], "repeat": "1h"},
            {"match": ["severity=\"critical\""], "receivers": ["mail"], "delay": "10m"},
        ],
        "auto_resolve": {"after": "6h"}, "acknowledgement_timeout": "30m", "storm": [3],
    });
    let put = gateway.call(Method::PUT, "/services/default", &policy).await;
    assert_eq!(put.status, 200, "{}", put.text);
    let (disk, cpu) = (json!({"class": "disk"}), json!({"class": "cpu"}));
    let critical = json!({"class": "cpu", "severity": "critical"});

    send(&gateway, "trigger", Some("a"), disk.clone()).await;
    send(&gateway, "trigger", Some("a"), disk.clone()).await;
    let keyless = send(&gateway, "trigger", None, disk.clone()).await;
    send(&gateway, "trigger", None, disk.clone()).await;
    send(&gateway, "trigger", None, cpu.clone()).await;
    send(&gateway, "trigger", None, json!({"class": "noise"})).await;
    send(&gateway, "resolve", Some("unknown"), Value::Null).await;
    wait(&gateway, "5m").await;
    send(&gateway, "trigger", Some("b"), cpu.clone()).await;
    send(&gateway, "acknowledge", Some("b"), Value::Null).await;
    send(&gateway, "resolve", Some("a"), Value::Null).await;
    // The window is over by then: what is new makes another incident, what comes back rejoins its
    // own. What was acknowledged is not any more.
    wait(&gateway, "45m").await;
    send(&gateway, "trigger", Some("a"), disk.clone()).await;
    send(&gateway, "trigger", Some("e"), disk.clone()).await;
    send(&gateway, "trigger", Some("b"), critical.clone()).await;
    send(&gateway, "resolve", Some(&keyless), Value::Null).await;
    wait(&gateway, "20m").await;
    send(&gateway, "trigger", Some("c"), critical).await;
    send(&gateway, "resolve", Some("c"), Value::Null).await;
    // Repeats; at last all that is left resolves by itself.
    wait(&gateway, "3h").await;
    send(&gateway, "trigger", Some("d"), cpu).await;
    wait(&gateway, "9h").await;
    send(&gateway, "trigger", Some("a"), disk).await;

    let total =
        async |path: &str| gateway.get(&format!("{path}?count=true")).await.json()["total"].clone();
    let made = [total("/alerts").await, total("/incidents").await, total("/deliveries").await];
    assert_eq!(made[..2], [json!(10), json!(7)], "what the history is meant to come to");
    let same = json!({"policy": "services: []"});
    let answer = gateway.post("/policy/replay", &same).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let replayed = answer.json();
    assert_eq!(replayed["skipped"], 0, "{replayed}");
    for run in ["today", "candidate"] {
        let run = &replayed[run];
        let came_to = ["alerts", "incidents", "notifications"].map(|member| run[member].clone());
        assert_eq!(came_to, made, "{replayed}");
        assert_eq!(run["events"], total("/events").await);
    }
}
