//! Silences, routes and receivers: what people set up is there after a restart.

use serde_json::{Value, json};

use crate::harness::{TestGateway, trigger};

async fn everything(gateway: &TestGateway) -> Value {
    let mut all = json!({});
    for path in ["/services", "/integrations", "/silences", "/routes", "/receivers"] {
        all[path] = gateway.read(&format!("{path}?count=true")).await;
    }
    all
}

#[tokio::test]
async fn silences_routes_and_receivers_are_there_after_a_restart() {
    let gateway = TestGateway::start().await;
    gateway.call("POST", "/services", Some(json!({"name": "payments"})), 201).await;
    let hook = json!({
        "name": "hook", "kind": "webhook", "url": "https://example.com/in",
        "secret_env": "HOOK_SECRET"
    });
    gateway.call("POST", "/receivers", Some(hook), 201).await;
    let nightly = json!({
        "matchers": [["class=\"disk\""], ["group=~\"db-.*\"", "severity!=\"critical\""]],
        "schedule": {"days": ["sat", "sun"], "from": "22:00", "to": "02:00", "timezone": "Asia/Shanghai"},
        "comment": "备份", "name": "nightly", "service": "payments"
    });
    gateway.call("POST", "/silences", Some(nightly), 201).await;
    let once =
        json!({"matchers": ["source=\"a\""], "until": "2026-11-21T00:00:00Z", "comment": "x"});
    let once = gateway.call("POST", "/silences", Some(once), 201).await;
    let expire = format!("/silences/{}/expire", once["id"].as_str().unwrap());
    gateway.call("POST", &expire, None, 200).await;
    for (class, position) in [("a", json!(null)), ("b", json!(0))] {
        let matches = [format!("class=\"{class}\"")];
        let route = json!({"match": matches, "service": "payments", "position": position});
        gateway.call("POST", "/routes", Some(route), 201).await;
    }
    let mut service = gateway.read("/services/payments").await;
    service["notify"] = json!([{"receivers": ["hook"], "repeat": "4h"}]);
    gateway.call("PUT", "/services/payments", Some(service), 200).await;
    let before = everything(&gateway).await;

    let gateway = gateway.restart().await;

    assert_eq!(everything(&gateway).await, before);
    assert_eq!(before["/routes"]["items"][0]["match"], json!(["class=\"b\""]));
    // Numbers go on where they were: nothing new looks like something old.
    let made =
        json!({"matchers": ["source=\"b\""], "until": "2026-11-21T00:00:00Z", "comment": "y"});
    gateway.call("POST", "/silences", Some(made), 201).await;
    assert_eq!(gateway.read_all("/silences").await.len(), 3);
    gateway.drain().await;
}

#[tokio::test]
async fn a_silence_keeps_alerts_quiet_until_it_is_ended() {
    let gateway = TestGateway::start().await;
    gateway.enqueue(&trigger("before", "s"), 202).await;
    let silence =
        json!({"matchers": ["source=\"srv01\""], "until": "2026-11-21T00:00:00Z", "comment": "x"});
    let silence = gateway.call("POST", "/silences", Some(silence), 201).await;
    gateway.enqueue(&trigger("after", "s"), 202).await;
    gateway.advance("1s").await;
    let alert = async |key: &str| {
        gateway.read(&format!("/alerts?dedup_key={key}")).await["items"][0].clone()
    };

    let (before, after) = (alert("before").await, alert("after").await);
    assert_eq!(before["suppressed_by"][0]["id"], silence["id"], "{before}");
    assert!(before["incident_id"].is_string(), "it stays in its incident");
    assert_eq!(after["suppressed_by"][0]["id"], silence["id"], "{after}");
    assert_eq!(after["incident_id"], json!(null), "it joins none");

    gateway
        .call("DELETE", &format!("/silences/{}", silence["id"].as_str().unwrap()), None, 204)
        .await;
    gateway.advance("1s").await;
    for key in ["before", "after"] {
        let alert = alert(key).await;
        assert_eq!((&alert["suppressed_by"], alert["incident_id"].is_string()), (&json!([]), true));
    }
    gateway.drain().await;
}
