//! What the API shows of noise reduction, and what people do about it.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{Answer, Gateway, KEY};
use crate::{
    clock::Clock as _,
    domain::{changes::TimelineKind, time::Span},
};

fn event(action: &str, dedup_key: &str, payload: &Value) -> Value {
    let mut whole = json!({"summary": "DISK at 99%", "source": "srv01", "severity": "error"});
    for (name, value) in payload.as_object().into_iter().flatten() {
        whole[name] = value.clone();
    }
    json!({
        "routing_key": KEY, "event_action": action, "dedup_key": dedup_key, "payload": whole,
    })
}

impl Gateway {
    /// With the receiver `pager` and this policy of the service `default`.
    async fn with_policy(policy: Value) -> Self {
        let gateway = Self::start().await;
        let pager = json!({
            "name": "pager", "kind": "webhook", "url": "https://example.com/in",
            "secret_env": "HOOK_SECRET"
        });
        let made = gateway.post("/receivers", &pager).await;
        assert_eq!(made.status, 201, "{}", made.text);
        gateway.policy(policy).await;
        gateway
    }

    async fn policy(&self, mut policy: Value) {
        policy["name"] = "default".into();
        let put = self.call(Method::PUT, "/services/default", &policy).await;
        assert_eq!(put.status, 200, "{}", put.text);
    }

    async fn send(&self, event: &Value) {
        let answer = self.request(Method::POST, "/v2/enqueue", &[], event.to_string()).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }

    async fn fire(&self, dedup_key: &str, payload: Value) {
        self.send(&event("trigger", dedup_key, &payload)).await;
    }

    async fn resolve(&self, dedup_key: &str) {
        self.send(&event("resolve", dedup_key, &Value::Null)).await;
    }

    /// Moves the clock and lets everything that is due take effect.
    async fn advance(&self, span: &str) {
        self.clock.advance(Span::parse(span).unwrap());
        while self.api.ingest.tick(self.clock.now()).await.unwrap() > 0 {}
    }

    /// The newest alert of a key.
    async fn alert(&self, dedup_key: &str) -> Value {
        self.get(&format!("/alerts?dedup_key={dedup_key}")).await.json()["items"][0].clone()
    }

    async fn incident(&self, number: u32) -> Value {
        let answer = self.get(&format!("/incidents/{number}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    /// A member of each item of a list.
    async fn column(&self, path: &str, member: &str) -> Vec<Value> {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        let items = answer.json()["items"].as_array().unwrap().clone();
        items.into_iter().map(|item| item[member].clone()).collect()
    }

    /// The value of a series; `None` if there is no such series.
    async fn metric(&self, series: &str) -> Option<String> {
        let text = self.request(Method::GET, "/metrics", &[], "").await.text;
        let found = text.lines().find(|line| line.starts_with(&format!("{series} ")));
        found.map(|line| line.rsplit(' ').next().unwrap().to_owned())
    }
}

fn in_time(span: &str, gateway: &Gateway) -> String {
    gateway.clock.now().plus(Span::parse(span).unwrap()).to_string()
}

#[actix_web::test]
async fn a_silenced_alert_names_its_silence_until_it_is_released() {
    let gateway = Gateway::start().await;
    let until = in_time("10m", &gateway);
    let silence = json!({"matchers": ["class=\"disk\""], "until": until, "comment": "ask Ann"});
    let silence = gateway.post("/silences", &silence).await.json();
    gateway.fire("disk", json!({"class": "disk"})).await;
    gateway.fire("cpu", json!({"class": "cpu"})).await;

    let expected =
        json!([{"kind": "silence", "id": silence["id"], "reason": "ask Ann", "until": until}]);
    let alert = gateway.alert("disk").await;
    assert_eq!(alert["suppressed_by"], expected);
    assert_eq!(alert["incident_id"], Value::Null);
    let path = format!("/alerts/{}", alert["id"].as_str().unwrap());
    assert_eq!(gateway.get(&path).await.json()["suppressed_by"], expected);
    let preview = gateway.post("/silences/preview", &json!({"matchers": ["class=\"disk\""]})).await;
    assert_eq!(preview.json()["open"]["alerts"][0]["suppressed_by"], expected);
    for (query, keys) in [
        ("suppressed=true", vec!["disk"]),
        ("suppressed=false", vec!["cpu"]),
        ("suppressed=true&status=triggered&q=disk", vec!["disk"]),
        ("suppressed=true&class=cpu", vec![]),
        ("suppressed=true&suppressed=false", vec!["cpu", "disk"]),
    ] {
        let path = format!("/alerts?{query}&count=true");
        assert_eq!(gateway.column(&path, "dedup_key").await, keys, "{query}");
        assert_eq!(gateway.get(&path).await.json()["total"], keys.len(), "{query}");
        let path = format!("/events?{query}&count=true");
        assert_eq!(gateway.column(&path, "dedup_key").await, keys, "{query}");
        assert_eq!(gateway.get(&path).await.json()["total"], keys.len(), "{query}");
    }
    let suppressed = "dutygate_alerts_suppressed_total{reason=\"silence\"}";
    assert_eq!(gateway.metric(suppressed).await.as_deref(), Some("1"));

    gateway.advance("10m").await;

    let alert = gateway.alert("disk").await;
    assert_eq!(alert["suppressed_by"], json!([]));
    assert!(alert["incident_id"].is_string(), "{alert}");
    assert_eq!(gateway.column("/alerts?suppressed=true", "dedup_key").await, [""; 0]);
    assert_eq!(gateway.get("/alerts?suppressed=perhaps").await.wrong(), ["suppressed"]);
}

#[actix_web::test]
async fn an_inhibited_alert_names_a_source_that_is_still_open() {
    let rule = json!({
        "source": ["class=\"host\""], "target": ["class=\"disk\""], "equal": ["source"],
        "release_delay": "60s"
    });
    let gateway = Gateway::with_policy(json!({"inhibition": [rule]})).await;
    for (key, summary) in [("host1", "host down"), ("host2", "host gone")] {
        gateway.fire(key, json!({"class": "host", "summary": summary})).await;
    }
    gateway.fire("disk", json!({"class": "disk"})).await;
    let by = async || gateway.alert("disk").await["suppressed_by"].clone();
    let source = async |key: &str| gateway.alert(key).await["id"].clone();

    let newest = json!([{
        "kind": "inhibition", "id": source("host2").await,
        "reason": "its source alert is open: host gone", "until": null
    }]);
    assert_eq!(by().await, newest);
    assert_eq!(gateway.column("/alerts?suppressed=true", "dedup_key").await, ["disk"]);

    gateway.resolve("host2").await;
    let other = by().await;
    assert_eq!(other[0]["id"], source("host1").await);
    assert_eq!(other[0]["reason"], "its source alert is open: host down");

    gateway.resolve("host1").await;
    let last = by().await;
    assert_eq!(last[0]["until"], in_time("60s", &gateway), "{last}");
    assert!(last[0]["reason"].as_str().unwrap().starts_with("its source alert has ended"));
    gateway.advance("60s").await;
    assert_eq!(by().await, json!([]));
}

#[actix_web::test]
async fn an_incident_with_a_silenced_alert_is_found() {
    let gateway = Gateway::with_policy(json!({"grouping": [{"by": ["source"]}]})).await;
    gateway.fire("a", json!({"class": "disk"})).await;
    gateway.fire("b", json!({"class": "cpu"})).await;
    gateway.fire("c", json!({"class": "cpu", "source": "srv02"})).await;
    let until = in_time("1h", &gateway);
    let silence = json!({"matchers": ["class=\"disk\""], "until": until, "comment": "x"});
    gateway.post("/silences", &silence).await;

    gateway.advance("1s").await;

    for (query, numbers) in [
        ("suppressed=true", vec![1]),
        ("suppressed=true&class=cpu", vec![]),
        ("suppressed=false", vec![2, 1]),
        ("suppressed=true&status=triggered", vec![1]),
    ] {
        let path = format!("/incidents?{query}&count=true");
        assert_eq!(gateway.column(&path, "number").await, numbers, "{query}");
        assert_eq!(gateway.get(&path).await.json()["total"], numbers.len(), "{query}");
    }
    assert_eq!(gateway.column("/incidents/1/alerts?suppressed=true", "dedup_key").await, ["a"]);
}

#[actix_web::test]
async fn flapping_and_storms_are_shown_and_counted() {
    let flapping = json!({"max_changes": 2, "within": "60m", "mute": "120m", "mode": "mute"});
    let policy = json!({
        "flapping": flapping, "storm": [2], "grouping": [{"by": ["class"]}],
        "notify": [{"receivers": ["pager"]}]
    });
    let gateway = Gateway::with_policy(policy).await;
    gateway.fire("other", json!({"class": "disk"})).await;
    let quiet = gateway.incident(1).await;
    assert_eq!((&quiet["flapping"], &quiet["storm"]), (&json!(false), &Value::Null));

    gateway.fire("k", json!({"class": "disk"})).await;
    gateway.resolve("k").await;
    gateway.fire("k", json!({"class": "disk"})).await;

    let alert = gateway.alert("k").await;
    assert_eq!(alert["flapping"], true);
    assert_eq!(alert["muted_until"], in_time("60m", &gateway));
    assert_eq!(alert["suppressed_by"], json!([]));
    let incident = gateway.incident(1).await;
    assert_eq!((&incident["flapping"], &incident["storm"]), (&json!(true), &json!(2)));
    for (series, value) in [
        ("dutygate_flapping_alerts", "1"),
        ("dutygate_storms_total", "1"),
        ("dutygate_alerts_suppressed_total{reason=\"flapping\"}", "1"),
        ("dutygate_notifications_decided_total{reason=\"opened\"}", "1"),
        ("dutygate_notifications_decided_total{reason=\"storm\"}", "1"),
        ("dutygate_notifications_decided_total{reason=\"repeat\"}", "0"),
    ] {
        assert_eq!(gateway.metric(series).await.as_deref(), Some(value), "{series}");
    }
    assert_eq!(gateway.api.store.open_counts().await.unwrap().flapping, 1);

    gateway.resolve("k").await;
    assert_eq!(gateway.metric("dutygate_flapping_alerts").await.as_deref(), Some("0"));
    assert_eq!(gateway.incident(1).await["flapping"], false);
    assert_eq!(gateway.alert("k").await["flapping"], false);
}

#[actix_web::test]
async fn an_incident_that_nobody_is_told_of_is_counted_once_it_is_loud() {
    let gateway = Gateway::start().await;
    gateway.policy(json!({"auto_pause": {"for": "2m", "when": "always"}})).await;
    let unheard = "dutygate_incidents_unheard_total";
    gateway.fire("k", json!({})).await;
    assert_eq!(gateway.metric(unheard).await.as_deref(), Some("0"));

    gateway.advance("2m").await;

    assert_eq!(gateway.metric(unheard).await.as_deref(), Some("1"));
}

#[actix_web::test]
async fn holdings_say_who_was_told_and_who_waits() {
    let policy = json!({
        "notify": [
            {"receivers": ["pager"], "match": ["severity=\"critical\""]},
            {"receivers": ["mail"], "delay": "10m"},
        ],
        "auto_pause": {"for": "2m", "when": "always"},
    });
    let gateway = Gateway::start().await;
    for name in ["pager", "mail"] {
        let receiver = json!({
            "name": name, "kind": "webhook", "url": "https://example.com/in",
            "secret_env": "HOOK_SECRET"
        });
        gateway.post("/receivers", &receiver).await;
    }
    gateway.policy(policy).await;
    gateway.fire("k", json!({"severity": "critical"})).await;
    assert_eq!(gateway.alert("k").await["paused_until"], in_time("2m", &gateway));
    // The delay runs beside the pause.
    let due = in_time("10m", &gateway);
    gateway.advance("2m").await;

    let holdings = json!([
        {"receiver": "pager", "state": "told", "severity": "critical", "due": null,
            "why": "opened"},
        {"receiver": "mail", "state": "held", "severity": null, "due": due,
            "why": "waits for the delay of its rule"},
    ]);
    assert_eq!(gateway.incident(1).await["holdings"], holdings);
    assert_eq!(gateway.alert("k").await["paused_until"], Value::Null);
    let kinds = gateway.column("/incidents/1/timeline", "kind").await;
    assert!(kinds.contains(&json!("notified")), "{kinds:?}");
    let told = gateway.column("/incidents/1/timeline", "reason").await;
    assert!(told.contains(&json!("pager: opened")), "{told:?}");

    gateway.resolve("k").await;
    let holdings = gateway.incident(1).await["holdings"].clone();
    assert_eq!((&holdings[0]["state"], &holdings[1]["state"]), (&json!("ended"), &json!("ended")));
}

#[actix_web::test]
async fn an_incident_is_snoozed_until_then_or_until_that_is_ended() {
    let gateway = Gateway::with_policy(json!({"notify": [{"receivers": ["pager"]}]})).await;
    gateway.fire("k", json!({})).await;
    let snooze = async |span: &str| -> Answer {
        gateway.post("/incidents/1/snooze", &json!({"for": span})).await
    };

    let snoozed = snooze("4h").await;
    assert_eq!(snoozed.status, 200, "{}", snoozed.text);
    assert_eq!(snoozed.json()["snoozed_until"], in_time("4h", &gateway));
    assert_eq!(snooze("0s").await.json()["snoozed_until"], Value::Null);
    assert_eq!(snooze("30d").await.status, 200);
    assert_eq!(snooze("1s").await.json()["snoozed_until"], in_time("1s", &gateway));
    gateway.advance("1s").await;
    assert_eq!(gateway.incident(1).await["snoozed_until"], Value::Null);

    for wrong in ["31d", "500ms", "-1s", "soon", ""] {
        assert_eq!(snooze(wrong).await.wrong(), ["for"], "{wrong}");
    }
    for body in [json!({}), json!({"for": 5}), json!({"for": null})] {
        assert_eq!(gateway.post("/incidents/1/snooze", &body).await.wrong(), ["for"]);
    }
    let both = gateway.post("/incidents/1/snooze", &json!({"for": "x", "why": "y"})).await;
    assert_eq!(both.wrong(), ["for", "why"]);
    let unknown = gateway.post("/incidents/77/snooze", &json!({"for": "1h"})).await;
    assert_eq!(unknown.status, 404);
    gateway.resolve("k").await;
    let late = snooze("1h").await;
    assert_eq!(
        (late.status.as_u16(), late.json()["detail"].as_str()),
        (409, Some("the incident is resolved"))
    );
}

#[actix_web::test]
async fn an_incident_is_assigned_and_taken_back() {
    let gateway = Gateway::start().await;
    gateway.fire("k", json!({})).await;
    let assign = async |body: Value| gateway.post("/incidents/1/assign", &body).await;

    assert_eq!(assign(json!({"user": " 安 "})).await.json()["assignee"], "安");
    assert_eq!(assign(json!({"user": "a".repeat(100)})).await.status, 200);
    assert_eq!(assign(json!({"user": null})).await.json()["assignee"], Value::Null);
    for wrong in [
        json!({}),
        json!({"user": ""}),
        json!({"user": 7}),
        json!({"user": "a".repeat(101)}),
        json!({"user": "a\nb"}),
    ] {
        assert_eq!(assign(wrong.clone()).await.wrong(), ["user"], "{wrong}");
    }
    let kinds = gateway.column("/incidents/1/timeline", "kind").await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "assigned").count(), 3);
}

#[actix_web::test]
async fn an_incident_is_merged_into_another_of_its_service() {
    let gateway = Gateway::start().await;
    gateway.post("/services", &json!({"name": "payments"})).await;
    let made = json!({"name": "pay", "service": "payments", "type": "pagerduty"});
    let made = gateway.post("/integrations", &made).await.json();
    for key in ["a", "b", "c"] {
        gateway.fire(key, json!({})).await;
    }
    assert_eq!(gateway.trigger(made["key"].as_str().unwrap(), "d", "c").await.status, 202);
    gateway.resolve("c").await;
    let merge = async |id: &str, into: Value| {
        gateway.post(&format!("/incidents/{id}/merge"), &json!({"into": into})).await
    };

    for (into, why) in [
        (json!("1"), "an incident cannot be merged into itself"),
        (json!(3), "the incident to merge into is resolved"),
        (json!("4"), "the incident to merge into is another service's"),
    ] {
        let refused = merge("1", into).await;
        assert_eq!(refused.status, 409);
        assert_eq!(refused.json()["detail"], why);
    }
    assert_eq!(merge("3", json!("1")).await.status, 409);
    assert_eq!(merge("1", json!("77")).await.status, 404);
    assert_eq!(merge("77", json!("1")).await.status, 404);
    for wrong in [json!("x"), json!(null), json!(-1), json!([])] {
        assert_eq!(merge("1", wrong).await.wrong(), ["into"]);
    }

    let second = gateway.incident(2).await["id"].clone();
    let merged = merge("1", second.clone()).await;
    assert_eq!(merged.status, 200, "{}", merged.text);
    assert_eq!(
        (&merged.json()["number"], &merged.json()["status"]),
        (&json!(1), &json!("resolved"))
    );
    assert_eq!(gateway.alert("a").await["incident_id"], second);
    assert_eq!(gateway.incident(2).await["open_alert_count"], 2);
}

#[actix_web::test]
async fn many_incidents_are_snoozed_assigned_and_merged_at_once() {
    let gateway = Gateway::start().await;
    for key in ["a", "b", "c"] {
        gateway.fire(key, json!({})).await;
    }
    let bulk = async |body: Value| gateway.post("/incidents/bulk", &body).await;
    let results = |answer: Answer| -> Vec<Value> {
        assert_eq!(answer.status, 200, "{}", answer.text);
        let results = answer.json()["results"].as_array().unwrap().clone();
        results.into_iter().map(|result| result["result"].clone()).collect()
    };

    let snooze = json!({"action": "snooze", "ids": ["1", 2, "9"], "for": "1h"});
    assert_eq!(results(bulk(snooze).await), ["changed", "changed", "not_found"]);
    assert_eq!(gateway.incident(2).await["snoozed_until"], in_time("1h", &gateway));
    let assign = json!({"action": "assign", "ids": ["1", "2"], "user": "ann"});
    assert_eq!(results(bulk(assign).await), ["changed", "changed"]);
    let merge = json!({"action": "merge", "ids": ["1", "2", "3"], "into": 3});
    assert_eq!(results(bulk(merge).await), ["changed", "changed", "conflict"]);
    assert_eq!(gateway.incident(3).await["open_alert_count"], 3);

    for (body, fields) in [
        (json!({"action": "snooze", "ids": ["1"]}), vec!["for"]),
        (json!({"action": "resolve", "ids": ["1"], "for": "1h"}), vec!["for"]),
        (json!({"action": "assign", "ids": []}), vec!["ids", "user"]),
        (json!({"action": "merge", "ids": ["1"], "into": "x"}), vec!["into"]),
        (json!({"action": "vanish", "ids": "1"}), vec!["ids", "action"]),
    ] {
        assert_eq!(bulk(body.clone()).await.wrong(), fields, "{body}");
    }
    let nowhere = bulk(json!({"action": "merge", "ids": ["1"], "into": "77"})).await;
    assert_eq!(nowhere.status, 404);
}

#[actix_web::test]
async fn past_incidents_with_a_title_like_it_are_found() {
    let gateway = Gateway::start().await;
    for (key, summary) in [
        ("old", "DISK at 97% on srv-01"),
        ("other", "replication of the ledger stopped"),
        ("near", "DISK at 12% on srv-07"),
        ("now", "DISK at 99% on srv-02"),
    ] {
        gateway.advance("1h").await;
        gateway.fire(key, json!({"summary": summary})).await;
        gateway.resolve(key).await;
    }

    let found = gateway.get("/incidents/4/similar").await;
    assert_eq!(found.status, 200, "{}", found.text);
    let items = found.json()["items"].clone();
    let titles: Vec<&str> =
        items.as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["DISK at 12% on srv-07", "DISK at 97% on srv-01"]);
    assert_eq!((&items[0]["score"], &items[0]["number"]), (&json!(1.0), &json!(3)));
    // Only what was before it, and not for ever.
    assert_eq!(gateway.column("/incidents/1/similar", "number").await, [0; 0]);
    gateway.advance("30d").await;
    gateway.fire("late", json!({"summary": "DISK at 50% on srv-03"})).await;
    assert_eq!(gateway.column("/incidents/5/similar", "number").await, [4]);
    assert_eq!(gateway.get("/incidents/77/similar").await.status, 404);
    assert_eq!(gateway.get("/incidents/5/similar?x=1").await.wrong(), ["x"]);
}

#[actix_web::test]
async fn who_looks_on_may_not_snooze_assign_or_merge() {
    let gateway = Gateway::start().await;
    let (viewer, responder) = (gateway.token("viewer").await, gateway.token("responder").await);
    gateway.fire("a", json!({})).await;
    gateway.fire("b", json!({})).await;
    for (path, body) in [
        ("/incidents/1/snooze", json!({"for": "1h"})),
        ("/incidents/1/assign", json!({"user": "ann"})),
        ("/incidents/1/merge", json!({"into": "2"})),
        ("/incidents/bulk", json!({"action": "snooze", "ids": ["2"], "for": "1h"})),
    ] {
        assert_eq!(gateway.call_as(&viewer, Method::POST, path, &body).await.status, 403, "{path}");
        let allowed = gateway.call_as(&responder, Method::POST, path, &body).await;
        assert_eq!(allowed.status, 200, "{path}: {}", allowed.text);
    }
    for path in ["/incidents/2/similar", "/incidents/2/changes", "/stats/noise"] {
        assert_eq!(gateway.call_as(&viewer, Method::GET, path, &Value::Null).await.status, 200);
    }
    let event = event("trigger", "c", &Value::Null);
    assert_eq!(gateway.call_as(&viewer, Method::POST, "/explain", &event).await.status, 200);
    assert_eq!(gateway.call_as("x", Method::POST, "/explain", &event).await.status, 401);
}

#[test]
fn every_kind_of_a_timeline_is_documented() {
    let document = serde_json::to_value(crate::api::openapi::document()).unwrap();
    let kind = &document["components"]["schemas"]["TimelineEntry"]["properties"]["kind"];
    for known in TimelineKind::ALL {
        let description = kind["description"].as_str().unwrap();
        assert!(description.contains(&format!("`{known}`")), "{known}: {description}");
    }
}
