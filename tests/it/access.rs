//! Who may call the JSON API, what is said to mistaken callers, and what it says of itself.

use serde_json::{Value, json};

use crate::{
    harness::{ADMIN, KEY, TestGateway, trigger},
    http::Request,
};

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
