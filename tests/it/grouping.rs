//! Which alerts share an incident.

use serde_json::json;

use crate::{
    harness::TestGateway,
    lifecycle::{fire, incident, resolve, with_grouping},
};

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
