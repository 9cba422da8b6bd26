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

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The dedup keys in a list, oldest first.
async fn keys(gateway: &TestGateway, path: &str) -> Vec<String> {
    let items = gateway.read_all(path).await;
    items.iter().rev().map(|item| item["dedup_key"].as_str().unwrap().to_owned()).collect()
}

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

#[tokio::test]
async fn every_filter_finds_what_it_names() {
    let gateway = TestGateway::start().await;
    for (key, payload) in [
        ("a", json!({"class": "disk", "group": "db", "component": "mysql", "source": "srv 1"})),
        ("b", json!({"class": "disk", "group": "web", "severity": "critical"})),
        ("c", json!({"class": "net", "group": "db", "custom_details": {"env": "prod"}})),
        ("d&e", json!({"summary": "nothing & everything", "severity": "info"})),
    ] {
        gateway.enqueue(&trigger_with(key, &payload), 202).await;
        gateway.advance("10m").await;
    }
    gateway.enqueue(&act("acknowledge", "b"), 202).await;
    gateway.enqueue(&act("resolve", "c"), 202).await;

    let matcher = |text: &str| format!("match={}", encoded(text));
    for (filter, found) in [
        (String::new(), vec!["a", "b", "c", "d&e"]),
        ("status=triggered".into(), vec!["a", "d&e"]),
        ("status=triggered&status=acknowledged".into(), vec!["a", "b", "d&e"]),
        ("status=resolved".into(), vec!["c"]),
        ("severity=critical&severity=info".into(), vec!["b", "d&e"]),
        ("class=disk".into(), vec!["a", "b"]),
        ("class=disk&group=db".into(), vec!["a"]),
        ("class=disk&class=net&group=db".into(), vec!["a", "c"]),
        ("component=mysql".into(), vec!["a"]),
        ("source=srv+1".into(), vec!["a"]),
        ("dedup_key=d%26e".into(), vec!["d&e"]),
        ("service=default".into(), vec!["a", "b", "c", "d&e"]),
        ("integration=default&severity=error".into(), vec!["a", "c"]),
        ("incident=2".into(), vec!["b"]),
        ("since=2026-11-20T10:10:00Z&until=2026-11-20T10:20:00Z".into(), vec!["b"]),
        ("since=2026-11-20T12:20:00%2B02:00".into(), vec!["c", "d&e"]),
        ("q=everyth".into(), vec!["d&e"]),
        ("suppressed=true".into(), vec![]),
        ("suppressed=false".into(), vec!["a", "b", "c", "d&e"]),
        (matcher(r#"class=~"di.*|net""#), vec!["a", "b", "c"]),
        (matcher(r#"details.env="prod""#), vec!["c"]),
        (format!("{}&{}", matcher("class!=\"net\""), matcher("group=\"db\"")), vec!["a"]),
    ] {
        let alerts = keys(&gateway, &format!("/alerts?{filter}")).await;
        assert_eq!(alerts, found, "{filter}");
        let counted = gateway.read(&format!("/alerts?count=true&limit=1&{filter}")).await;
        assert_eq!(counted["total"], json!(found.len()), "{filter}");
    }
    for (filter, found) in [
        ("action=trigger", vec!["a", "b", "c", "d&e"]),
        ("action=acknowledge&action=resolve", vec!["b", "c"]),
        ("disposition=resolved", vec!["c"]),
        ("api=v1", vec![]),
        ("api=v2&class=net&action=trigger", vec!["c"]),
    ] {
        assert_eq!(keys(&gateway, &format!("/events?{filter}")).await, found, "{filter}");
    }
    let incidents = gateway.read_all("/incidents?status=acknowledged").await;
    assert_eq!(incidents.len(), 1);
    assert_eq!(incidents[0]["number"], 2);
    gateway.drain().await;
}

#[tokio::test]
async fn a_cursor_goes_on_where_it_was_while_rows_are_added() {
    let gateway = TestGateway::start().await;
    let send = async |from: usize, to: usize| {
        for number in from..to {
            gateway.enqueue(&trigger(&format!("k{number:03}"), "disk full"), 202).await;
        }
    };
    send(0, 25).await;

    for list in ["/alerts?", "/events?", "/incidents?", "/alerts?q=disk&", "/events?q=full&"] {
        let mut seen: Vec<u64> = Vec::new();
        let mut cursor = String::new();
        let mut first = None;
        loop {
            let page = gateway.read(&format!("{list}limit=7{cursor}")).await;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 7);
            // The last digits of an id are as good as a number to tell items apart.
            seen.extend(items.iter().map(|item| {
                let id = item["id"].as_str().unwrap();
                let digits = u128::from_str_radix(&id.replace('-', ""), 16).unwrap();
                u64::try_from(digits >> 64).unwrap()
                    ^ u64::try_from(digits & u128::from(u64::MAX)).unwrap()
            }));
            first.get_or_insert_with(|| seen.len());
            // Meanwhile others send on.
            let next = 25 + seen.len();
            send(next * 1000, next * 1000 + 3).await;
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(first, Some(7), "{list}");
        let unique: std::collections::BTreeSet<_> = seen.iter().collect();
        assert_eq!(unique.len(), seen.len(), "{list}: something is shown twice");
        assert!(seen.len() >= 25, "{list}: {} were shown", seen.len());
    }
    gateway.drain().await;
}

#[tokio::test]
async fn what_was_sent_is_found_at_once_by_its_words() {
    let gateway = TestGateway::start().await;
    let find = async |words: &str| keys(&gateway, &format!("/alerts?q={}", encoded(words))).await;

    for number in 0..30 {
        let key = format!("host{number}/mysql");
        let payload = json!({
            "summary": format!("Replication of 数据库{number} is broken"),
            "source": format!("srv{number:02}.example.com"),
            "class": "replication-lag",
        });
        gateway.enqueue(&trigger_with(&key, &payload), 202).await;
        assert_eq!(find(&format!("SRV{number:02} broken")).await, [key]);
    }
    assert_eq!(find("repl lag mysql").await.len(), 30);
    assert_eq!(find("数据库7").await.len(), 1);
    assert_eq!(find("数据").await.len(), 30);
    assert_eq!(find("host29").await, ["host29/mysql"]);
    assert_eq!(find("broken nothing").await.len(), 0);
    assert_eq!(find("eplication").await.len(), 0, "a word is found by its beginning");
    assert_eq!(find("\"' OR 1=1 -- *").await.len(), 0, "no syntax");
    assert_eq!(find("-*\"").await.len(), 0, "no words, nothing found");
    gateway.drain().await;
}

#[tokio::test]
async fn a_resource_that_did_not_change_is_not_sent_again() {
    let gateway = TestGateway::start().await;
    gateway.enqueue(&trigger("k", "s"), 202).await;
    let read = || Request::get("/api/v1/incidents/1").bearer(ADMIN);
    let answer = gateway.send(&read()).await.expect(200);
    let tag = answer.header("ETag").unwrap().to_owned();

    let again = gateway.send(&read().header("If-None-Match", &tag)).await.expect(304);
    assert!(again.body.is_empty());
    gateway.enqueue(&trigger("k", "s"), 202).await;
    gateway.send(&read().header("If-None-Match", &tag)).await.expect(200);
    gateway.drain().await;
}

#[tokio::test]
async fn what_is_wrong_is_said_as_a_problem_with_its_fields() {
    let gateway = TestGateway::start().await;
    gateway.enqueue(&trigger("k", "s"), 202).await;
    let nobody = "0199aaaa-0000-7000-8000-000000000000";

    for (method, path, status, fields) in [
        ("GET", "/alerts?colour=red&limit=0&status=bad", 400, vec!["colour", "limit", "status"]),
        ("GET", "/alerts?since=yesterday", 400, vec!["since"]),
        ("GET", "/alerts?match=class", 400, vec!["match"]),
        ("GET", "/alerts?service=nobody's", 400, vec!["service"]),
        ("GET", "/events?cursor=zz&action=explode", 400, vec!["action", "cursor"]),
        ("GET", &format!("/alerts/{nobody}"), 404, vec![]),
        ("GET", "/alerts/1", 404, vec![]),
        ("GET", "/incidents/4711", 404, vec![]),
        ("POST", &format!("/alerts/{nobody}/resolve"), 404, vec![]),
        ("GET", "/nothing", 404, vec![]),
        ("DELETE", "/alerts", 405, vec![]),
        ("GET", "/incidents/1/resolve", 405, vec![]),
        ("POST", "/incidents/bulk", 400, vec!["action", "ids"]),
    ] {
        let request = Request::new(method, &format!("/api/v1{path}")).bearer(ADMIN);
        let answer = gateway.send(&request).await.expect(status);
        assert_eq!(answer.header("Content-Type"), Some("application/problem+json"), "{path}");
        assert_eq!(answer.header("Allow").is_some(), status == 405, "{path}");
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{path}");
        for member in ["type", "title", "detail"] {
            assert!(problem[member].is_string(), "{path}: {problem}");
        }
        let errors = problem["errors"].as_array().unwrap();
        let mut named: Vec<_> = errors.iter().map(|e| e["field"].as_str().unwrap()).collect();
        named.sort_unstable();
        assert_eq!(named, fields, "{path}: {problem}");
        assert!(errors.iter().all(|error| error["message"].is_string()), "{problem}");
    }
    gateway.drain().await;
}

#[tokio::test]
async fn nobody_reads_without_a_token_and_nobody_acts_beyond_a_role() {
    let gateway = TestGateway::start().await;
    gateway.enqueue(&trigger("k", "s"), 202).await;
    let mut tokens = Vec::new();
    for role in ["viewer", "responder", "admin"] {
        let body = json!({"name": format!("{role} of the tests"), "role": role});
        let token = gateway.call("POST", "/tokens", Some(body), 201).await;
        tokens.push((token["id"].clone(), token["token"].as_str().unwrap().to_owned()));
    }
    let service = json!({"name": "payments"});
    // What each role is answered: viewer, responder, admin.
    for (method, path, body, statuses) in [
        ("GET", "/alerts", None, [200, 200, 200]),
        ("GET", "/events", None, [200, 200, 200]),
        ("GET", "/services", None, [200, 200, 200]),
        ("POST", "/incidents/1/acknowledge", None, [403, 200, 200]),
        ("POST", "/incidents/1/notes", Some(json!({"text": "on it"})), [403, 201, 201]),
        ("POST", "/services", Some(service), [403, 403, 201]),
        ("GET", "/tokens", None, [403, 403, 200]),
        ("GET", "/audit", None, [403, 403, 200]),
    ] {
        let request = || {
            let request = Request::new(method, &format!("/api/v1{path}"));
            body.as_ref()
                .map_or_else(|| request.clone(), |b: &Value| request.clone().body(b.to_string()))
        };
        for ((_, token), status) in tokens.iter().zip(statuses) {
            let answer = gateway.send(&request().bearer(token)).await;
            assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        }
        for wrong in ["dg_nobodys", "", KEY] {
            let answer = gateway.send(&request().bearer(wrong)).await.expect(401);
            assert!(answer.header("WWW-Authenticate").is_some());
        }
        gateway.send(&request()).await.expect(401);
        gateway.send(&request().header("Authorization", "Basic YTpi")).await.expect(401);
    }

    for (id, token) in &tokens[..1] {
        gateway.call("DELETE", &format!("/tokens/{}", id.as_str().unwrap()), None, 204).await;
        gateway.send(&Request::get("/api/v1/alerts").bearer(token)).await.expect(401);
    }
    gateway.drain().await;
}

#[tokio::test]
async fn a_new_integration_works_at_once_and_a_deleted_one_no_more() {
    let gateway = TestGateway::start().await;
    gateway.call("POST", "/services", Some(json!({"name": "payments"})), 201).await;
    let new = json!({"name": "elastalert-prod", "service": "payments", "type": "pagerduty"});
    let made = gateway.call("POST", "/integrations", Some(new), 201).await;
    let key = made["key"].as_str().unwrap().to_owned();
    let path = format!("/integrations/{}", made["id"].as_str().unwrap());
    let send = async |key: &str, status: u16| {
        let event = trigger("k", "s").to_string().replace(KEY, key);
        gateway.post("/v2/enqueue", event, status).await;
    };

    send(&key, 202).await;
    assert_eq!(gateway.read("/alerts").await["items"][0]["service"], "payments");
    assert_eq!(gateway.read(&path).await["key"], json!(null), "shown once");

    let rotated =
        gateway.call("POST", &format!("{path}/rotate"), Some(json!({"overlap": "1h"})), 200).await;
    let newer = rotated["key"].as_str().unwrap().to_owned();
    send(&key, 202).await;
    send(&newer, 202).await;
    gateway.advance("1h").await;
    send(&key, 400).await;
    send(&newer, 202).await;

    gateway.call("DELETE", &path, None, 204).await;
    send(&newer, 400).await;
    assert_eq!(gateway.read("/alerts").await["items"][0]["event_count"], 4, "its alerts stay");
    gateway.drain().await;
}

#[tokio::test]
async fn the_openapi_document_lists_the_routes() {
    let gateway = TestGateway::start().await;
    let document = gateway.get("/api/openapi.json", 200).await.json();

    assert!(document["openapi"].as_str().unwrap().starts_with("3."), "{document}");
    for (path, methods) in [
        ("/api/v1/alerts", vec!["get"]),
        ("/api/v1/alerts/{id}", vec!["get"]),
        ("/api/v1/alerts/{id}/acknowledge", vec!["post"]),
        ("/api/v1/alerts/{id}/events", vec!["get"]),
        ("/api/v1/alerts/{id}/resolve", vec!["post"]),
        ("/api/v1/alerts/{id}/timeline", vec!["get"]),
        ("/api/v1/changes", vec!["get"]),
        ("/api/v1/events", vec!["get"]),
        ("/api/v1/events/{id}", vec!["get"]),
        ("/api/v1/incidents", vec!["get"]),
        ("/api/v1/incidents/bulk", vec!["post"]),
        ("/api/v1/incidents/{id}", vec!["get"]),
        ("/api/v1/incidents/{id}/acknowledge", vec!["post"]),
        ("/api/v1/incidents/{id}/notes", vec!["post"]),
        ("/api/v1/incidents/{id}/unacknowledge", vec!["post"]),
        ("/api/v1/integrations", vec!["get", "post"]),
        ("/api/v1/integrations/{id}", vec!["delete", "get", "put"]),
        ("/api/v1/integrations/{id}/rotate", vec!["post"]),
        ("/api/v1/services", vec!["get", "post"]),
        ("/api/v1/services/{id}", vec!["delete", "get", "put"]),
        ("/api/v1/tokens", vec!["get", "post"]),
        ("/v2/change/enqueue", vec!["post"]),
        ("/v2/enqueue", vec!["post"]),
    ] {
        for method in methods {
            assert!(document["paths"][path][method].is_object(), "{method} {path}");
        }
    }
    // And no route that is not there.
    let nobody = "0199aaaa-0000-7000-8000-000000000000";
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let target = path.replace("{id}", nobody).replace("{key}", KEY);
            let request = Request::new(&method.to_uppercase(), &target).bearer(ADMIN);
            let answer = gateway.send(&request).await;
            let detail = answer.text();
            assert_ne!(answer.status, 405, "{method} {path}: {detail}");
            assert!(!detail.contains("there is no such resource"), "{method} {path}: {detail}");
            assert!(!detail.contains("There is nothing at this path"), "{method} {path}");
        }
    }
    gateway.drain().await;
}
