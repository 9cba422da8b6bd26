//! Noise reduction as the API shows it, over a restart.

use serde_json::{Value, json};

use crate::harness::{TestGateway, act, trigger_with};

async fn everything(gateway: &TestGateway) -> Value {
    let mut all = json!({});
    for path in ["/alerts", "/incidents", "/incidents/1/timeline", "/stats/noise"] {
        all[path] = gateway.read(path).await;
    }
    all
}

#[tokio::test]
async fn what_is_quiet_and_who_was_told_is_known_after_a_restart() {
    let gateway = TestGateway::start().await;
    let pager = json!({
        "name": "pager", "kind": "webhook", "url": "https://example.com/in",
        "secret_env": "HOOK_SECRET"
    });
    gateway.call("POST", "/receivers", Some(pager), 201).await;
    gateway
        .policy(json!({
            "flapping": {"max_changes": 2, "within": "60m", "mute": "30m", "mode": "mute"},
            "grouping": [{"by": "similarity"}],
            "notify": [{"receivers": ["pager"]}],
        }))
        .await;
    let silence = json!({
        "matchers": ["class=\"backup\""], "until": "2026-11-20T12:00:00Z", "comment": "restore"
    });
    gateway.call("POST", "/silences", Some(silence), 201).await;
    for (key, class) in [("told", "disk"), ("silenced", "backup"), ("flaps", "cpu")] {
        let payload = json!({"class": class, "summary": format!("{class} of db-1 is bad")});
        gateway.enqueue(&trigger_with(key, &payload), 202).await;
    }
    gateway.enqueue(&act("resolve", "flaps"), 202).await;
    gateway.enqueue(&trigger_with("flaps", &json!({"class": "cpu"})), 202).await;
    gateway.call("POST", "/incidents/1/snooze", Some(json!({"for": "4h"})), 200).await;
    gateway.call("POST", "/incidents/1/assign", Some(json!({"user": "ann"})), 200).await;
    let before = everything(&gateway).await;
    let event = trigger_with("next", &json!({"class": "disk", "summary": "disk of db-2 is bad"}));
    let explained = gateway.call("POST", "/explain", Some(event.clone()), 200).await;

    let gateway = gateway.restart().await;

    assert_eq!(everything(&gateway).await, before);
    let incident = gateway.read("/incidents/1").await;
    assert_eq!(incident["holdings"][0]["state"], "told");
    assert_eq!(
        (&incident["assignee"], &incident["title"]),
        (&json!("ann"), &json!("disk of db-1 is bad"))
    );
    assert_eq!(explained["incident_id"], incident["id"]);
    assert_eq!(gateway.call("POST", "/explain", Some(event), 200).await, explained);
    let suppressed = gateway.read_all("/alerts?suppressed=true").await;
    assert_eq!(suppressed[0]["suppressed_by"][0]["reason"], "restore");
    gateway.metrics().await.expect("dutygate_flapping_alerts", 1);

    gateway.advance("2h").await;
    assert_eq!(gateway.read_all("/alerts?suppressed=true").await.len(), 0);
    gateway.metrics().await.expect("dutygate_flapping_alerts", 0);
    gateway.advance("2h").await;
    assert_eq!(gateway.read("/incidents/1").await["snoozed_until"], Value::Null);
    gateway.drain().await;
}
