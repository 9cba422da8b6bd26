//! `/api/v1/services` and what a change of them does to what is open.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{Gateway, KEY};

#[actix_web::test]
async fn a_service_is_made_shown_replaced_and_deleted() {
    let gateway = Gateway::start().await;

    let made = gateway
        .post(
            "/services",
            &json!({
                "name": "  支付 1 ", "description": "money",
                "grouping": [{"by": ["class"], "window": "30m"}],
                "auto_resolve": {"after": "24h"}, "acknowledgement_timeout": "30m"
            }),
        )
        .await;

    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.header("etag"), "\"v1\"");
    let service = made.json();
    let id = service["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), format!("/duty/api/v1/services/{id}"));
    assert_eq!(
        service,
        json!({
            "id": id, "name": "支付 1", "description": "money", "enrich": [], "drop": [],
            "grouping": [{"by": ["class"], "aggregate": "all", "window": "30m",
                "window_type": "tumbling", "max_span": "1d", "strict": false, "max_alerts": 5000}],
            "storm": [], "inhibition": [], "auto_pause": null,
            "flapping": {"max_changes": 4, "within": "1h", "mute": "2h", "mode": "mark"},
            "auto_resolve": {"after": "1d", "from": "last_event"},
            "acknowledgement_timeout": "30m", "notify": [],
            "created_at": "2025-11-20T09:51:12.345Z", "managed_by": null
        })
    );
    let by_name = gateway.get("/services/%E6%94%AF%E4%BB%98%201").await;
    assert_eq!((by_name.json(), by_name.header("etag")), (service.clone(), "\"v1\""));

    // What was shown can be sent back.
    let mut changed = service.clone();
    changed["description"] = "all of it".into();
    let path = format!("/services/{id}");
    let replaced = gateway.if_match(Method::PUT, &path, "\"v1\"", &changed).await;
    assert_eq!((replaced.status.as_u16(), replaced.header("etag")), (200, "\"v2\""));
    assert_eq!(replaced.json(), changed);

    // A missing member means its default.
    let bare = gateway.call(Method::PUT, &path, &json!({"name": "pay"})).await.json();
    assert_eq!(
        (&bare["description"], &bare["grouping"], &bare["auto_resolve"]),
        (&json!(""), &json!([]), &Value::Null)
    );

    let deleted = gateway.if_match(Method::DELETE, &path, "\"v3\"", &Value::Null).await;
    assert_eq!((deleted.status.as_u16(), deleted.text.as_str()), (204, ""));
    assert_eq!(gateway.get(&path).await.status, 404);
    assert_eq!(gateway.call(Method::DELETE, &path, &Value::Null).await.status, 404);
}

#[actix_web::test]
async fn every_part_of_a_policy_is_kept_and_can_be_sent_back() {
    let gateway = Gateway::start().await;
    let hook = json!({"name": "hook", "kind": "webhook", "url": "https://example.com/in"});
    assert_eq!(gateway.post("/receivers", &hook).await.status, 201);
    let given = json!({
        "name": "payments", "description": "",
        "enrich": [
            {"extract": {"from": "summary", "regex": "on machine (?P<host>\\S+)"}},
            {"set": {"label": "team", "value": "core"}, "match": ["class=\"disk\""]},
            {"map": {"label": "tier", "from": "label.host", "table": {"db1": "gold"}}},
            {"severity": "warning", "match": ["component=\"canary\""]}
        ],
        "drop": [{"match": ["source=~\"test-.*\""]}],
        "grouping": [{"by": "similarity", "fields": ["summary", "source"], "threshold": 0.85,
            "window": "15m", "reopen_within": "1h"}],
        "storm": [50, 500],
        "flapping": {"max_changes": 6, "within": "30m", "mute": "1h", "mode": "mute"},
        "inhibition": [{"source": ["class=\"host down\""], "target": ["severity=\"info\""],
            "equal": ["source"], "release_delay": "90s"}],
        "auto_pause": {"for": "2m", "when": "always"},
        "auto_resolve": {"after": "1d", "from": "first_event"},
        "acknowledgement_timeout": "30m",
        "notify": [{"receivers": ["hook"], "delay": "10m", "repeat": "4h",
            "active": {"days": ["sat"], "from": "00:00", "to": "24:00", "timezone": "Asia/Shanghai"}}]
    });

    let made = gateway.post("/services", &given).await;

    assert_eq!(made.status, 201, "{}", made.text);
    let shown = made.json();
    for (name, value) in given.as_object().unwrap() {
        if !matches!(name.as_str(), "grouping" | "inhibition") {
            assert_eq!(shown[name], *value, "{name}");
        }
    }
    assert_eq!(shown["grouping"][0]["threshold"], 0.85);
    let back = gateway.call(Method::PUT, "/services/payments", &shown).await;
    assert_eq!((back.status.as_u16(), back.json()), (200, shown));
}

#[actix_web::test]
async fn all_that_is_wrong_is_said_at_once() {
    let gateway = Gateway::start().await;

    let answer = gateway
        .post(
            "/services",
            &json!({
                "name": "a\u{7}", "description": "x".repeat(2001),
                "grouping": [{"by": ["class"], "window": "31d"}, {"window_typ": "sliding"}],
                "auto_resolve": {"from": "never"}, "acknowledgement_timeout": 5,
                "colour": "red", "id": "1"
            }),
        )
        .await;

    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.wrong(),
        [
            "name",
            "description",
            "grouping[0].window",
            "grouping[1].window_typ",
            "grouping[1].by",
            "auto_resolve.from",
            "acknowledgement_timeout",
            "colour",
            "id"
        ]
    );
    for body in ["[]", "{", "\"a\""] {
        let token = format!("Bearer {}", gateway.admin);
        let headers = [("Authorization", token.as_str())];
        let answer = gateway.request(Method::POST, "/api/v1/services", &headers, body).await;
        assert_eq!((answer.status.as_u16(), answer.wrong()), (400, vec!["body".to_owned()]));
    }
    assert_eq!(gateway.post("/services", &Value::Null).await.wrong(), ["name"]);
}

#[actix_web::test]
async fn what_contradicts_what_is_there_is_a_conflict() {
    let gateway = Gateway::start().await;
    let payments = json!({"name": "payments"});
    assert_eq!(gateway.post("/services", &payments).await.status, 201);

    let taken = gateway.post("/services", &payments).await;
    assert_eq!(taken.status, 409);
    assert!(taken.text.contains("payments"), "{}", taken.text);
    assert_eq!(taken.header("content-type"), "application/problem+json");
    let default = "/services/default";
    assert_eq!(gateway.call(Method::PUT, default, &payments).await.status, 409);
    assert_eq!(gateway.call(Method::DELETE, default, &Value::Null).await.status, 409);
    let other = json!({"name": "other"});
    assert_eq!(gateway.post("/services", &other).await.status, 201);
    assert_eq!(gateway.call(Method::PUT, "/services/other", &payments).await.status, 409);

    let integration = json!({"name": "a", "service": "payments"});
    assert_eq!(gateway.post("/integrations", &integration).await.status, 201);
    let owned = gateway.call(Method::DELETE, "/services/payments", &Value::Null).await;
    assert_eq!(owned.status, 409);
    assert!(owned.text.contains("integrations (a)"), "{}", owned.text);
}

#[actix_web::test]
async fn a_stale_change_is_refused_and_changes_nothing() {
    let gateway = Gateway::start().await;
    gateway.post("/services", &json!({"name": "a"})).await;
    let path = "/services/a";
    let body = json!({"name": "a", "description": "second"});

    for fresh in ["*", "\"v2\"", "W/\"v3\"", "\"v9\", \"v4\""] {
        if fresh == "*" {
            let stale = gateway.if_match(Method::PUT, path, "\"v2\"", &body).await;
            assert_eq!(stale.status, 412);
            assert_eq!(gateway.get(path).await.header("etag"), "\"v1\"");
        }
        let written = gateway.if_match(Method::PUT, path, fresh, &body).await;
        assert_eq!(written.status, 200, "{fresh}: {}", written.text);
    }
    for stale in ["\"v1\"", "v5", "\"\"", "nonsense"] {
        let answer = gateway.if_match(Method::DELETE, path, stale, &Value::Null).await;
        assert_eq!(answer.status, 412, "{stale}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    assert_eq!(gateway.if_match(Method::PUT, "/services/b", "*", &body).await.status, 404);
}

#[actix_web::test]
async fn lists_are_newest_first_in_pages() {
    let gateway = Gateway::start().await;
    for n in 0..5 {
        gateway.clock.advance(crate::domain::time::Span::from_secs(1));
        gateway.post("/services", &json!({"name": format!("s{n}")})).await;
    }
    let mut names = Vec::new();
    let mut path = "/services?limit=2&count=true".to_owned();
    loop {
        let page = gateway.get(&path).await.json();
        assert_eq!(page["total"], 6);
        let items = page["items"].as_array().unwrap();
        names.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        path = format!("/services?limit=2&count=true&cursor={next}");
        // What is added meanwhile does not shift the pages.
        gateway.post("/services", &json!({"name": "default"})).await;
    }
    assert_eq!(names, ["s4", "s3", "s2", "s1", "s0", "default"]);

    let plain = gateway.get("/services").await.json();
    assert_eq!((plain.get("total"), &plain["next_cursor"]), (None, &Value::Null));
    let wrong = gateway.get("/services?limit=501&cursor=x&count=maybe&colour=red").await;
    assert_eq!(wrong.wrong(), ["limit", "cursor", "count", "colour"]);
    assert_eq!(gateway.get("/services?limit=0").await.status, 400);
}

#[actix_web::test]
async fn an_edit_splits_no_open_incident() {
    let gateway = Gateway::start().await;
    let rules = json!([{"by": ["component"]}, {"by": ["class"], "window": "30m"}]);
    let put = |body: Value| {
        let gateway = &gateway;
        async move {
            let answer = gateway.call(Method::PUT, "/services/default", &body).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
    };
    let incidents = || async {
        let counts = gateway.api.store.open_counts().await.unwrap();
        counts.incidents.iter().map(|(_, _, count)| count).sum::<i64>()
    };
    put(json!({"name": "default", "grouping": [rules[1]]})).await;
    assert_eq!(gateway.trigger(KEY, "a", "disk").await.status, 202);
    assert_eq!(incidents().await, 1);

    // The rule moves, another matches nothing before it, the description changes.
    let first = json!({"match": ["component=\"none\""], "by": ["component"]});
    let edit = json!({"name": "default", "description": "x", "grouping": [first, rules[1]]});
    put(edit).await;
    assert_eq!(gateway.trigger(KEY, "b", "disk").await.status, 202);

    assert_eq!(incidents().await, 1);
}

#[actix_web::test]
async fn a_service_that_is_deleted_resolves_what_is_open_in_it_and_says_so() {
    let gateway = Gateway::start().await;
    let hook = json!({"name": "hook", "kind": "webhook", "url": "https://example.com/in"});
    assert_eq!(gateway.post("/receivers", &hook).await.status, 201);
    let service = json!({
        "name": "payments", "grouping": [{"by": ["class"]}], "notify": [{"receivers": ["hook"]}]
    });
    assert_eq!(gateway.post("/services", &service).await.status, 201);
    let made = gateway.post("/integrations", &json!({"name": "es", "service": "payments"})).await;
    let made = made.json();
    let key = made["key"].as_str().unwrap();
    for (key, dedup_key) in [(key, "a"), (key, "b"), (KEY, "elsewhere")] {
        assert_eq!(gateway.trigger(key, dedup_key, "disk").await.status, 202);
    }
    for path in ["/integrations/es", "/services/payments"] {
        let deleted = gateway.call(Method::DELETE, path, &Value::Null).await;
        assert_eq!(deleted.status, 204, "{}", deleted.text);
    }

    let open = gateway.get("/alerts?status=triggered").await.json();
    let open = open["items"].as_array().unwrap();
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!(open[0]["dedup_key"], "elsewhere");
    let incident = gateway.get("/incidents/1").await.json();
    assert_eq!(
        (&incident["status"], &incident["open_alert_count"]),
        (&json!("resolved"), &json!(0))
    );
    let owed = gateway.get("/incidents/1/deliveries").await.json();
    let owed: Vec<_> = owed["items"].as_array().unwrap().iter().map(|d| &d["reason"]).collect();
    assert_eq!(owed, ["resolved", "opened"]);
    let alert = gateway.get("/alerts?dedup_key=a").await.json()["items"][0]["id"].clone();
    let path = format!("/alerts/{}/timeline", alert.as_str().unwrap());
    let timeline = gateway.get(&path).await.text;
    assert!(timeline.contains("its service was deleted"), "{timeline}");
    assert!(timeline.contains("token:admin"), "{timeline}");
}

#[actix_web::test]
async fn a_resolve_that_waits_for_a_mute_key_goes_when_its_service_is_deleted() {
    let gateway = Gateway::start().await;
    let hook = json!({"name": "hook", "kind": "webhook", "url": "https://example.com/in"});
    assert_eq!(gateway.post("/receivers", &hook).await.status, 201);
    let service = json!({
        "name": "payments", "notify": [{"receivers": ["hook"]}],
        "flapping": {"mode": "mute", "max_changes": 3, "within": "10m", "mute": "60m"}
    });
    assert_eq!(gateway.post("/services", &service).await.status, 201);
    let made = gateway.post("/integrations", &json!({"name": "es", "service": "payments"})).await;
    let key = made.json()["key"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        assert_eq!(gateway.trigger(&key, "k", "disk").await.status, 202);
        let resolve = json!({"routing_key": key, "event_action": "resolve", "dedup_key": "k"});
        let sent = gateway.request(Method::POST, "/v2/enqueue", &[], resolve.to_string()).await;
        assert_eq!(sent.status, 202);
    }
    let newest = |incident: serde_json::Value| incident["holdings"][0]["state"].clone();
    assert_eq!(newest(gateway.get("/incidents/2").await.json()), "told");

    for path in ["/integrations/es", "/services/payments"] {
        assert_eq!(gateway.call(Method::DELETE, path, &Value::Null).await.status, 204);
    }
    while gateway.api.ingest.tick(gateway.api.ingest.now()).await.unwrap() > 0 {}

    assert_eq!(newest(gateway.get("/incidents/2").await.json()), "ended");
}
