//! Guance as a sender: what its monitors' webhook sends becomes alerts, incidents and changes.

use serde_json::{Value, json};

use crate::{
    fixtures,
    harness::{KEY, TestGateway},
    http::{Answer, Request},
    wire::assert_holds,
};

const WORKSPACE: &str = "wksp_968577392a1c4714a464cd2f6ee42a9c";
const DISK: &str = "guance:wksp_968577392a1c4714a464cd2f6ee42a9c:13713ac25e993a37d2ca5899e2a7bba6";

/// The event that Guance's own guide prints, with other values for some fields.
fn monitor(fields: &Value) -> Value {
    let seed = fixtures::guance().into_iter().find(|fixture| fixture.name == "seed_003").unwrap();
    let mut event: Value = serde_json::from_slice(&seed.body()).unwrap();
    for (name, value) in fields.as_object().unwrap() {
        event[name] = value.clone();
    }
    event
}

async fn push(gateway: &TestGateway, body: &Value, status: u16) -> Answer {
    let path = format!("/event/push/alert/guance?integration_key={KEY}");
    gateway.post(&path, body.to_string(), status).await
}

async fn only(gateway: &TestGateway, path: &str) -> Value {
    let mut items = gateway.read_all(path).await;
    assert_eq!(items.len(), 1, "{items:#?}");
    items.remove(0)
}

async fn count(gateway: &TestGateway, path: &str) -> usize {
    gateway.read_all(path).await.len()
}

#[tokio::test]
async fn every_row_of_the_contract_holds_over_http() {
    let gateway = TestGateway::start().await;

    for fixture in fixtures::guance() {
        match fixture.needs.as_deref() {
            None | Some("unknown_key" | "http") => assert_holds(&gateway, &fixture).await,
            Some("throttle" | "unavailable") => {}
            Some(other) => panic!("{} needs {other}: nobody tests that", fixture.name),
        }
    }
    gateway.drain().await;
}

#[tokio::test]
async fn a_fault_becomes_an_alert_with_all_that_is_known_of_it_and_its_end_resolves_it() {
    let gateway = TestGateway::start().await;

    let answer = push(&gateway, &monitor(&json!({})), 200).await;

    assert_eq!(answer.json()["dedup_key"], DISK);
    let alert = only(&gateway, "/alerts").await;
    let sent = monitor(&json!({}));
    let expected = json!({
        "dedup_key": DISK, "status": "triggered", "severity": "critical", "event_count": 1,
        "summary": "实例名称为 share 磁盘使用率过高", "source": "share",
        "component": "实例名称为 {{host}} 磁盘使用率过高", "group": "默认", "class": "custom_metric",
        "client": "Guance observer", "client_url": sent["df_event_link"],
        "links": [{"href": sent["df_event_link"], "text": "Event in Guance"}],
        "labels": {"host": "share", "workspace": WORKSPACE},
        "event_at": "2023-08-26T07:29:00.000Z", "first_event_at": "2026-11-20T10:00:00.000Z",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&alert[name], value, "{name}");
    }
    let details = &alert["custom_details"];
    assert_eq!(details["description"], sent["df_message"]);
    assert_eq!((&details["result"], &details["date"]), (&json!(100), &json!(1_693_034_940)));
    assert_eq!(details["df_monitor_checker_value"], "100");
    let incident = only(&gateway, "/incidents").await;
    assert_eq!(
        (&incident["title"], &incident["severity"]),
        (&alert["summary"], &json!("critical"))
    );
    let event = only(&gateway, "/events").await;
    assert_eq!((&event["api"], &event["disposition"]), (&json!("guance"), &json!("opened")));
    let event = gateway.read(&format!("/events/{}", event["id"].as_str().unwrap())).await;
    let body = event["body"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), sent);

    let over = json!({"df_event_id": "event-2", "df_status": "ok", "df_sub_status": "ok"});
    let answer = push(&gateway, &monitor(&over), 200).await;

    assert_eq!(answer.json()["dedup_key"], DISK);
    assert_eq!(only(&gateway, "/alerts").await["status"], "resolved");
    assert_eq!(only(&gateway, "/incidents").await["status"], "resolved");
    let metrics = gateway.metrics().await;
    for (action, result) in [("trigger", "opened"), ("resolve", "resolved")] {
        let labels = format!("action=\"{action}\",api=\"guance\",integration=\"default\"");
        metrics
            .expect(&format!("dutygate_events_received_total{{{labels},result=\"{result}\"}}"), 1);
    }
    gateway.drain().await;
}

#[tokio::test]
async fn an_event_that_came_before_changes_nothing_also_after_a_restart() {
    let gateway = TestGateway::start().await;
    let fault = monitor(&json!({}));
    let first = push(&gateway, &fault, 200).await.text();
    let before = only(&gateway, "/alerts").await;

    assert_eq!(push(&gateway, &fault, 200).await.text(), first);
    let changed = monitor(&json!({"df_status": "ok"}));
    assert_eq!(push(&gateway, &changed, 200).await.text(), first);
    let gateway = gateway.restart().await;
    assert_eq!(push(&gateway, &fault, 200).await.text(), first);
    push(&gateway, &json!([fault, fault]), 200).await;

    assert_eq!(only(&gateway, "/alerts").await, before);
    assert_eq!(count(&gateway, "/events?disposition=duplicate").await, 5);
    let duplicate = gateway.read("/events?disposition=duplicate&limit=1").await["items"][0].clone();
    let duplicate = gateway.read(&format!("/events/{}", duplicate["id"].as_str().unwrap())).await;
    let stages = duplicate["trace"].as_array().unwrap();
    let stages: Vec<_> = stages.iter().map(|it| it["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["route", "idempotency"]);

    // Another integration has ids of its own.
    let other = json!({"name": "guance-hz", "service": "default", "type": "guance"});
    let made = gateway.call("POST", "/integrations", Some(other), 201).await;
    let url = made["url"].as_str().unwrap();
    let path = &url[url.find("/event").unwrap()..];
    assert!(path.starts_with("/event/push/alert/guance?integration_key="), "{path}");
    gateway.post(path, fault.to_string(), 200).await;
    assert_eq!(count(&gateway, "/alerts").await, 2);
    gateway.drain().await;
}

#[tokio::test]
async fn news_leave_a_fault_alone_and_go_by_themselves() {
    let gateway = TestGateway::start().await;
    let event = |number: u32, status: &str| {
        monitor(&json!({
            "df_event_id": format!("event-{number}"), "df_status": status,
            "df_sub_status": status, "df_title": format!("{status} {number}"),
        }))
    };
    push(&gateway, &event(1, "error"), 200).await;

    push(&gateway, &event(2, "info"), 200).await;

    let alert = only(&gateway, "/alerts").await;
    let seen = [&alert["status"], &alert["severity"], &alert["summary"], &alert["event_count"]];
    assert_eq!(seen, [&json!("triggered"), &json!("error"), &json!("error 1"), &json!(1)]);
    assert_eq!(count(&gateway, "/events?disposition=ignored").await, 1);

    push(&gateway, &event(3, "ok"), 200).await;
    push(&gateway, &event(4, "info"), 200).await;
    let news = only(&gateway, "/alerts?status=triggered").await;
    assert_eq!((&news["severity"], &news["summary"]), (&json!("info"), &json!("info 4")));
    let gateway = gateway.restart().await;
    gateway.advance("59m").await;
    assert_eq!(count(&gateway, "/alerts?status=triggered").await, 1);
    gateway.advance("1m").await;
    assert_eq!(count(&gateway, "/alerts?status=triggered").await, 0);

    push(&gateway, &event(5, "info"), 200).await;
    push(&gateway, &event(6, "critical"), 200).await;
    let gateway = gateway.restart().await;
    gateway.advance("7d").await;
    let fault = only(&gateway, "/alerts?status=triggered").await;
    assert_eq!((&fault["severity"], &fault["event_count"]), (&json!("critical"), &json!(2)));
    gateway.drain().await;
}

#[tokio::test]
async fn of_a_list_all_is_taken_or_nothing() {
    let gateway = TestGateway::start().await;
    let event = |number: u32| {
        monitor(&json!({
            "df_event_id": format!("event-{number}"), "df_title": format!("disk {number}"),
            "df_monitor_checker_event_ref": format!("ref-{number}"),
        }))
    };

    let answer =
        push(&gateway, &json!({"events": [event(1), {"title": "x"}, event(2)]}), 400).await;

    let error =
        "'events[1]' is invalid (must be an object with fields whose names begin with 'df_')";
    assert_eq!(answer.json()["errors"], json!([error]));
    assert_eq!(count(&gateway, "/events").await, 0);
    let integration = gateway.read("/integrations/default").await;
    let rejection = &integration["rejections"][0];
    assert_eq!((&rejection["api"], &rejection["reason"]), (&json!("guance"), &json!("invalid")));
    gateway
        .metrics()
        .await
        .expect("dutygate_events_rejected_total{api=\"guance\",reason=\"invalid\"}", 1);

    let many: Vec<Value> = (1..=700).map(event).collect();
    let body = json!({ "events": many }).to_string();
    let small: Vec<Value> = (1..=700)
        .map(|number| {
            json!({"df_status": "error", "df_event_id": format!("event-{number}"),
                             "df_monitor_checker_event_ref": format!("ref-{number}")})
        })
        .collect();
    assert!(body.len() > 524_288, "so many real events are more than a body may have");
    push(&gateway, &json!({ "events": many }), 400).await;
    let answer = push(&gateway, &json!({ "events": small }), 200).await.json();

    let keys: Vec<Value> = (1..=700).map(|number| json!(format!("guance::ref-{number}"))).collect();
    assert_eq!(answer["dedup_keys"], json!(keys));
    assert_eq!(count(&gateway, "/alerts").await, 700);
    assert_eq!(count(&gateway, "/events").await, 700);
    // Each was stored by itself.
    let event = gateway.read("/events?dedup_key=guance::ref-7").await["items"][0].clone();
    let event = gateway.read(&format!("/events/{}", event["id"].as_str().unwrap())).await;
    let body: Value = serde_json::from_str(event["body"].as_str().unwrap()).unwrap();
    assert_eq!(body, small[6]);
    gateway.drain().await;
}

#[tokio::test]
async fn audits_and_changes_are_shown_with_the_incidents_that_follow() {
    let gateway = TestGateway::start().await;
    let audit = json!({
        "df_source": "audit", "df_event_id": "event-a", "df_title": "ann changed the monitor",
        "df_user_name": "ann", "df_workspace_uuid": WORKSPACE, "host": "console",
        "df_event_link": "https://console.guance.com/a", "timestamp": 1_795_168_800,
    });

    let answer = push(&gateway, &audit, 200).await;

    assert_eq!(answer.text(), r#"{"status":"success","message":"Change event processed"}"#);
    push(&gateway, &audit, 200).await;
    let change = only(&gateway, "/changes").await;
    assert_eq!(change["summary"], "ann changed the monitor");
    assert_eq!(
        (&change["source"], &change["event_at"]),
        (&json!("console"), &json!("2026-11-20T10:00:00.000Z"))
    );
    assert_eq!(change["custom_details"]["df_user_name"], "ann");
    assert_eq!(change["links"][0]["href"], "https://console.guance.com/a");
    assert_eq!(count(&gateway, "/events").await, 0);
    push(&gateway, &monitor(&json!({})), 200).await;
    let shown = gateway.read("/incidents/1/changes").await;
    assert_eq!(shown["items"][0]["id"], change["id"]);
    gateway.drain().await;
}

#[tokio::test]
async fn rules_see_the_fields_of_an_event_so_levels_can_be_mapped() {
    let gateway = TestGateway::start().await;
    gateway
        .policy(json!({
            "enrich": [
                {"severity": "error", "match": ["details.df_status=\"nodata\""]},
                {"severity": "critical", "match": ["details.df_status=\"fatal\""]},
            ],
            "grouping": [{"by": ["label.host"], "window": "30m"}],
        }))
        .await;
    for (number, status) in ["nodata", "fatal", "warning"].into_iter().enumerate() {
        let fields = json!({
            "df_event_id": format!("event-{number}"), "df_status": status, "df_sub_status": status,
            "df_monitor_checker_event_ref": status,
        });
        push(&gateway, &monitor(&fields), 200).await;
    }

    let incident = only(&gateway, "/incidents").await;
    assert_eq!((&incident["severity"], &incident["alert_count"]), (&json!("critical"), &json!(3)));
    for (status, severity) in [("nodata", "error"), ("fatal", "critical"), ("warning", "warning")] {
        let alert = only(&gateway, &format!("/alerts?dedup_key=guance:{WORKSPACE}:{status}")).await;
        assert_eq!(alert["severity"], severity, "{status}");
    }
    gateway.drain().await;
}

#[tokio::test]
async fn a_list_counts_as_many_events_and_one_that_is_too_long_takes_the_minute() {
    let list = |events: usize| json!(vec![json!({"df_status": "ok"}); events]);
    let gateway = TestGateway::with("limits: {events_per_minute: 3}").await;
    push(&gateway, &list(2), 200).await;
    let throttled = push(&gateway, &list(2), 429).await;
    assert!(throttled.header("Retry-After").is_some());
    push(&gateway, &list(1), 200).await;
    for fixture in fixtures::guance().iter().filter(|f| f.needs.as_deref() == Some("throttle")) {
        assert_holds(&gateway, fixture).await;
    }
    gateway.drain().await;

    let gateway = TestGateway::with("limits: {events_per_minute: 3}").await;
    push(&gateway, &list(10), 200).await;
    push(&gateway, &list(1), 429).await;
    gateway.drain().await;
}

#[tokio::test]
async fn what_could_not_be_stored_is_taken_when_it_comes_again() {
    let gateway = TestGateway::start().await;
    let (database, away) = (gateway.database(), gateway.database().with_extension("away"));
    std::fs::rename(&database, &away).unwrap();

    for fixture in fixtures::guance().iter().filter(|f| f.needs.as_deref() == Some("unavailable")) {
        assert_holds(&gateway, fixture).await;
    }
    push(&gateway, &monitor(&json!({})), 503).await;

    std::fs::rename(&away, &database).unwrap();
    push(&gateway, &monitor(&json!({})), 200).await;
    assert_eq!(only(&gateway, "/events").await["disposition"], "opened");
    gateway.drain().await;
}

#[tokio::test]
async fn stored_events_can_be_replayed() {
    let gateway = TestGateway::start().await;
    let event = |number: u32, status: &str, host: &str| {
        monitor(&json!({
            "df_event_id": format!("event-{number}"), "df_status": status, "df_sub_status": status,
            "df_monitor_checker_event_ref": host, "host": host,
        }))
    };
    let list = json!([event(1, "error", "a"), event(2, "error", "b"), event(2, "error", "b")]);
    push(&gateway, &list, 200).await;
    push(&gateway, &json!([event(3, "ok", "a"), event(4, "ok", "b"), event(5, "info", "a")]), 200)
        .await;
    let body = json!({"policy": "services: [{name: default, grouping: [{by: [class]}]}]"});

    let result = gateway.call("POST", "/policy/replay", Some(body), 200).await;

    assert_eq!(result["skipped"], 0);
    let totals = |of: &str| ["events", "alerts", "incidents"].map(|name| result[of][name].clone());
    assert_eq!(totals("today"), [json!(6), json!(3), json!(3)]);
    assert_eq!(totals("candidate"), [json!(6), json!(3), json!(2)]);
    gateway.drain().await;
}

#[tokio::test]
async fn the_path_takes_posts_with_and_without_slashes() {
    let gateway = TestGateway::start().await;
    for slash in ["", "/", "//"] {
        let path = format!("/event/push/alert/guance{slash}?integration_key={KEY}");
        gateway.post(&path, r#"{"df_status":"ok"}"#, 200).await;
        for method in ["GET", "PUT", "DELETE"] {
            let answer = gateway.send(&Request::new(method, &path)).await.expect(405);
            assert_eq!(answer.header("Allow"), Some("POST"));
        }
    }
    assert!(gateway.get("/", 200).await.text().contains("/event/push/alert/guance"));
    gateway.drain().await;
}
