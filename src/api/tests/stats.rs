//! `/api/v1/explain` and `/api/v1/stats/noise`.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{Gateway, KEY};
use crate::domain::time::{Span, Timestamp};

fn trigger(dedup_key: Option<&str>, class: &str) -> Value {
    json!({
        "routing_key": KEY, "event_action": "trigger", "dedup_key": dedup_key,
        "payload": {"summary": "DISK at 99%", "source": "srv01", "severity": "error",
            "class": class},
    })
}

fn act(action: &str, dedup_key: &str) -> Value {
    json!({"routing_key": KEY, "event_action": action, "dedup_key": dedup_key})
}

/// The trace with the numbers of incidents left out.
fn without_numbers(trace: &Value) -> Value {
    let mut trace = trace.clone();
    for decision in trace.as_array_mut().unwrap() {
        if decision.get("incident").is_some() {
            decision["incident"] = "some".into();
        }
    }
    trace
}

impl Gateway {
    async fn put_policy(&self, mut policy: Value) {
        policy["name"] = "default".into();
        let put = self.call(Method::PUT, "/services/default", &policy).await;
        assert_eq!(put.status, 200, "{}", put.text);
    }

    async fn explain(&self, event: &Value) -> Value {
        let answer = self.post("/explain", event).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    async fn enqueue(&self, event: &Value) {
        let answer = self.request(Method::POST, "/v2/enqueue", &[], event.to_string()).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }

    async fn noise(&self, query: &str) -> Value {
        let answer = self.get(&format!("/stats/noise{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text);
        answer.json()
    }
}

#[actix_web::test]
async fn what_is_explained_is_what_happens_then() {
    let gateway = Gateway::start().await;
    gateway
        .put_policy(json!({
            "grouping": [{"match": ["class=\"disk\""], "by": ["class"]}, {"by": "similarity"}],
            "flapping": {"max_changes": 2, "within": "60m", "mute": "10m", "mode": "mute"},
            "drop": [{"match": ["class=\"noise\""]}],
            "inhibition": [{"source": ["class=\"host\""], "target": ["class=\"cpu\""]}],
            "storm": [2],
        }))
        .await;
    for event in [
        trigger(Some("a"), "disk"),
        trigger(Some("a"), "disk"),
        trigger(Some("b"), "disk"),
        act("acknowledge", "b"),
        act("acknowledge", "b"),
        act("resolve", "a"),
        act("resolve", "a"),
        trigger(Some("a"), "disk"),
        trigger(Some("n"), "noise"),
        trigger(Some("h"), "host"),
        trigger(Some("c"), "cpu"),
        trigger(Some("d"), "else"),
        trigger(Some("e"), "else"),
        act("resolve", "h"),
        trigger(None, "disk"),
    ] {
        let before = gateway.get("/incidents?limit=500").await.json()["items"].clone();
        let stored = gateway.get("/events?count=true").await.json()["total"].clone();

        let explained = gateway.explain(&event).await;

        assert_eq!(gateway.get("/incidents?limit=500").await.json()["items"], before);
        assert_eq!(gateway.get("/events?count=true").await.json()["total"], stored);
        gateway.enqueue(&event).await;
        let happened = gateway.get("/events?limit=1").await.json()["items"][0].clone();
        assert_eq!(explained["disposition"], happened["disposition"], "{event}");
        let traces = [&explained["trace"], &happened["trace"]].map(without_numbers);
        assert_eq!(traces[0], traces[1], "{event}");
        let incident = match happened["alert_id"].as_str() {
            Some(alert) => {
                gateway.get(&format!("/alerts/{alert}")).await.json()["incident_id"].clone()
            }
            None => Value::Null,
        };
        let known = before.as_array().unwrap().iter().any(|known| known["id"] == incident);
        assert_eq!(explained["incident_id"], if known { incident } else { Value::Null }, "{event}");
    }
}

#[actix_web::test]
async fn explaining_invents_no_number_and_learns_nothing() {
    let gateway = Gateway::start().await;
    gateway.put_policy(json!({"grouping": [{"by": "similarity"}]})).await;

    let first = gateway.explain(&trigger(Some("a"), "disk")).await;
    let second = gateway.explain(&trigger(Some("b"), "disk")).await;

    assert_eq!(first["incident_id"], Value::Null);
    let group = |explained: &Value| -> Value {
        let trace = explained["trace"].as_array().unwrap().clone();
        trace.into_iter().find(|decision| decision["stage"] == "group").unwrap()
    };
    assert_eq!(group(&first)["incident"], "new");
    assert_eq!(group(&first)["score"], "new template");
    assert_eq!(group(&second), group(&first));
    gateway.enqueue(&trigger(Some("c"), "disk")).await;
    assert_eq!(gateway.get("/incidents/1").await.status, 200);
    let joins = gateway.explain(&trigger(Some("d"), "disk")).await;
    assert_eq!(group(&joins)["incident"], "1");
    assert_eq!(joins["incident_id"], gateway.get("/incidents/1").await.json()["id"]);
}

#[actix_web::test]
async fn an_event_that_would_be_refused_is_refused_with_its_fields() {
    let gateway = Gateway::start().await;
    let mut event = trigger(Some("a"), "disk");
    event["payload"]["severity"] = "bad".into();
    event["payload"]["source"] = "".into();
    let answer = gateway.post("/explain", &event).await;
    assert_eq!((answer.status.as_u16(), answer.wrong().len()), (400, 2));
    assert_eq!(answer.wrong(), ["payload.source", "payload.severity"]);
    assert_eq!(answer.json()["errors"][0]["message"], "is missing or blank");

    let mut event = trigger(Some("a"), "disk");
    event["routing_key"] = "0".repeat(32).into();
    assert_eq!(gateway.post("/explain", &event).await.wrong(), ["routing_key"]);
    event["routing_key"] = Value::Null;
    assert_eq!(gateway.post("/explain", &event).await.wrong(), ["routing_key"]);
    assert_eq!(gateway.post("/explain", &json!([])).await.wrong(), ["body"]);
    let token = format!("Bearer {}", gateway.admin);
    let headers = [("Authorization", token.as_str())];
    let large = vec![b' '; 600_000];
    let answer = gateway.request(Method::POST, "/api/v1/explain", &headers, large).await;
    assert_eq!(answer.status, 413);
}

#[actix_web::test]
async fn noise_is_counted_by_hour_and_by_day() {
    let gateway = Gateway::start().await;
    gateway.put_policy(json!({"grouping": [{"by": ["class"]}]})).await;
    // 2025-11-20T10:00:00Z
    gateway.clock.set(Timestamp::from_millis(1_763_632_800_000));
    let empty = gateway.noise("").await;
    assert_eq!((&empty["events"], &empty["noise_reduction_pct"]), (&json!(0), &Value::Null));
    assert_eq!((&empty["mtta_seconds"], &empty["mttr_seconds"]), (&Value::Null, &Value::Null));

    for key in ["a", "b", "a"] {
        gateway.enqueue(&trigger(Some(key), "disk")).await;
    }
    gateway.clock.advance(Span::from_secs(90));
    gateway.post("/incidents/1/acknowledge", &Value::Null).await;
    gateway.clock.advance(Span::from_secs(7200));
    gateway.enqueue(&act("resolve", "a")).await;
    gateway.enqueue(&act("resolve", "b")).await;
    gateway.enqueue(&trigger(Some("c"), "cpu")).await;

    let noise = gateway.noise("").await;
    for (member, value) in [
        ("events", json!(6)),
        ("alerts", json!(3)),
        ("incidents", json!(2)),
        ("notifications", json!(0)),
        ("noise_reduction_pct", json!(66.67)),
        ("mtta_seconds", json!(90.0)),
        ("mttr_seconds", json!(7290.0)),
        ("since", json!("2025-11-13T12:00:00.000Z")),
        ("until", json!("2025-11-20T13:00:00.000Z")),
    ] {
        assert_eq!(noise[member], value, "{member}: {noise}");
    }
    let buckets = noise["buckets"].as_array().unwrap();
    assert_eq!(buckets.len(), 169);
    let [first, .., _, _, last] = buckets.as_slice() else { panic!("{noise}") };
    assert_eq!(first["at"], "2025-11-13T12:00:00.000Z");
    assert_eq!(
        buckets[166],
        json!({"at": "2025-11-20T10:00:00.000Z", "events": 3, "alerts": 2, "incidents": 1,
            "notifications": 0})
    );
    assert_eq!((&last["at"], &last["events"]), (&json!("2025-11-20T12:00:00.000Z"), &json!(3)));
    let entry = |name: &str, events: u32| json!({"name": name, "events": events});
    assert_eq!(
        noise["top"],
        json!({
            "at_least": false, "sources": [entry("srv01", 6)],
            "classes": [entry("disk", 5), entry("cpu", 1)],
            "dedup_keys": [entry("a", 3), entry("b", 2), entry("c", 1)],
        })
    );

    let days = gateway.noise("?since=2025-11-01T00:00:00Z&until=2025-11-21T00:00:00Z").await;
    assert_eq!(days["buckets"].as_array().unwrap().len(), 20);
    assert_eq!(days["buckets"][19]["at"], "2025-11-20T00:00:00.000Z");
    assert_eq!(days["buckets"][19]["events"], 6);
    let early = gateway.noise("?since=2025-11-20T09:00:00Z&until=2025-11-20T11:00:00Z").await;
    assert_eq!((&early["events"], &early["buckets"][1]["events"]), (&json!(3), &json!(3)));
    assert_eq!(early["top"]["classes"], json!([entry("disk", 3)]));
}

#[actix_web::test]
async fn noise_is_told_by_service_and_within_bounds() {
    let gateway = Gateway::start().await;
    gateway.post("/services", &json!({"name": "payments"})).await;
    gateway.enqueue(&trigger(Some("a"), "disk")).await;

    assert_eq!(gateway.noise("?service=default").await["events"], 1);
    assert_eq!(gateway.noise("?service=default").await["top"]["sources"][0]["events"], 1);
    assert_eq!(gateway.noise("?service=payments").await["events"], 0);
    assert_eq!(gateway.noise("?service=payments").await["top"]["sources"], json!([]));
    assert_eq!(gateway.noise("?service=payments&service=default").await["events"], 1);
    for (query, fields) in [
        ("?service=typo", vec!["service"]),
        ("?limit=5&bucket=hour", vec!["bucket", "limit"]),
        ("?since=yesterday", vec!["since"]),
        ("?since=2025-01-02T00:00:00Z&until=2025-01-01T00:00:00Z", vec!["since"]),
        ("?since=1990-01-02T00:00:00Z", vec!["since"]),
        ("?since=2025-01-02T00:00:00Z&since=2025-01-03T00:00:00Z", vec!["since"]),
    ] {
        let answer = gateway.get(&format!("/stats/noise{query}")).await;
        assert_eq!((answer.status.as_u16(), answer.wrong()), (400, strings(&fields)), "{query}");
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
