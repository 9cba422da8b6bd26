//! The JSON API's reading side and its actions, over a whole gateway.

use std::{pin::Pin, rc::Rc, sync::Arc};

use actix_web::{
    App,
    http::{StatusCode, header::HeaderMap},
    test::{TestRequest, call_service, init_service, read_body},
};
use serde_json::{Value, json};

use crate::{
    app::Gateway,
    clock::SystemClock,
    config::Loaded,
    domain::service::Role,
    ingest::{ConfigAnswer, ConfigRequest, RequestedBy},
};

const KEY: &str = "0123456789abcdefghijklmnopqrstuv";

type Answer = (StatusCode, HeaderMap, Value);
type Answering = Pin<Box<dyn Future<Output = Answer>>>;

/// Asks one gateway.
struct Client {
    service: Box<dyn Fn(TestRequest) -> Answering>,
    token: String,
}

impl Client {
    async fn ask(&self, request: TestRequest) -> Answer {
        let authorization = ("Authorization", format!("Bearer {}", self.token));
        (self.service)(request.insert_header(authorization)).await
    }

    async fn send(&self, request: TestRequest) -> (StatusCode, Value) {
        let (status, _, body) = self.ask(request).await;
        (status, body)
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(TestRequest::get().uri(&format!("/api/v1{path}"))).await
    }

    /// The list at a path.
    async fn list(&self, path: &str) -> Value {
        let (status, list) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {list}");
        list
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.send(TestRequest::post().uri(&format!("/api/v1{path}")).set_json(body)).await
    }

    async fn event(&self, action: &str, key: &str, summary: &str) {
        let body = json!({
            "routing_key": KEY, "event_action": action, "dedup_key": key,
            "payload": {"summary": summary, "source": "srv-01", "severity": "error",
                "custom_details": {"free": "1%"}},
        });
        let request = TestRequest::post().uri("/v2/enqueue").set_json(&body);
        let (status, answer) = self.send(request).await;
        assert_eq!(status, 202, "{answer}");
    }
}

macro_rules! gateway {
    ($client:ident, $gateway:ident) => {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display();
        let yaml = format!(
            "listen: unix:{path}/socket\ndatabase_url: sqlite://{path}/test.db\n\
             default_integration_key: {KEY}\nadmin_token: dg_admin_token_of_the_test\n"
        );
        let settings = Loaded::from_texts(&yaml, [], []).unwrap().settings;
        let $gateway = Gateway::start(&settings, Arc::new(SystemClock)).await.unwrap();
        let app = App::new()
            .app_data($gateway.api.clone())
            .configure(|config| super::routes(config, true));
        let service = Rc::new(init_service(app).await);
        let $client = Client {
            service: Box::new(move |request| {
                let service = Rc::clone(&service);
                Box::pin(async move {
                    let response = call_service(&*service, request.to_request()).await;
                    let (status, headers) = (response.status(), response.headers().clone());
                    let body = read_body(response).await;
                    (status, headers, serde_json::from_slice(&body).unwrap_or_default())
                })
            }),
            token: "dg_admin_token_of_the_test".to_owned(),
        };
    };
}

#[actix_web::test]
async fn an_alert_is_listed_shown_acknowledged_and_resolved() {
    gateway!(client, gateway);
    client.event("trigger", "k1", "disk full").await;
    client.event("trigger", "k2", "cpu high").await;

    let alerts = client.list("/alerts?q=disk&count=true").await;
    assert_eq!(alerts["total"], 1);
    assert_eq!(alerts["next_cursor"], Value::Null);
    let id = alerts["items"][0]["id"].as_str().unwrap();
    assert_eq!(client.list(&format!("/alerts/{id}")).await["custom_details"]["free"], "1%");
    let by_service = client.list("/alerts?service=default&integration=default").await;
    assert_eq!(by_service["items"].as_array().unwrap().len(), 2);
    assert!(by_service.get("total").is_none());
    for _ in 0..2 {
        let (status, alert) = client.post(&format!("/alerts/{id}/acknowledge"), &json!({})).await;
        assert_eq!((status.as_u16(), &alert["status"]), (200, &json!("acknowledged")));
    }
    for _ in 0..2 {
        let (status, alert) = client.post(&format!("/alerts/{id}/resolve"), &json!({})).await;
        assert_eq!((status.as_u16(), &alert["status"]), (200, &json!("resolved")));
    }
    let (status, problem) = client.post(&format!("/alerts/{id}/acknowledge"), &json!({})).await;
    assert_eq!((status.as_u16(), &problem["detail"]), (409, &json!("the alert is resolved")));
    let timeline = client.list(&format!("/alerts/{id}/timeline")).await;
    let kinds: Vec<&str> =
        timeline["items"].as_array().unwrap().iter().filter_map(|e| e["kind"].as_str()).collect();
    assert_eq!(kinds, ["resolved", "acknowledged", "opened"]);
    assert_eq!(timeline["items"][0]["actor"], "token:admin");
    let events = client.list(&format!("/alerts/{id}/events")).await;
    assert_eq!(events["items"][0]["disposition"], "opened");
    assert!(!events["items"][0]["body"].as_str().unwrap().contains(KEY));
    let event = events["items"][0]["id"].as_str().unwrap();
    assert_eq!(client.list(&format!("/events/{event}")).await["alert_id"], id);
    drop(gateway);
}

#[actix_web::test]
async fn an_incident_is_acted_on_by_id_and_by_number() {
    gateway!(client, gateway);
    client.event("trigger", "k1", "disk full").await;
    client.event("trigger", "k2", "cpu high").await;

    let (status, incident) = client.post("/incidents/1/acknowledge", &json!({})).await;
    assert_eq!((status.as_u16(), &incident["acknowledged_by"]), (200, &json!("token:admin")));
    let id = incident["id"].as_str().unwrap();
    assert_eq!(
        client.list(&format!("/incidents/{id}/alerts")).await["items"][0]["dedup_key"],
        "k1"
    );
    let (status, incident) =
        client.post(&format!("/incidents/{id}/unacknowledge"), &json!({})).await;
    assert_eq!((status.as_u16(), &incident["status"]), (200, &json!("triggered")));
    let (status, note) = client.post("/incidents/1/notes", &json!({"text": "looking"})).await;
    assert_eq!((status.as_u16(), &note["reason"]), (201, &json!("looking")));
    let (status, problem) = client.post("/incidents/1/notes", &json!({"text": "", "x": 1})).await;
    assert_eq!((status.as_u16(), &problem["errors"][0]["field"]), (400, &json!("x")));
    let ids = json!([id, "2", "77", "nonsense"]);
    let bulk = json!({"action": "resolve", "ids": ids});
    let (status, answer) = client.post("/incidents/bulk", &bulk).await;
    let results: Vec<&str> =
        answer["results"].as_array().unwrap().iter().filter_map(|r| r["result"].as_str()).collect();
    assert_eq!(status, 200);
    assert_eq!(results, ["changed", "changed", "not_found", "not_found"]);
    let bulk = json!({"action": "acknowledge", "ids": ["1"]});
    let (_, answer) = client.post("/incidents/bulk", &bulk).await;
    assert_eq!(answer["results"][0]["result"], "conflict");
    assert_eq!(answer["results"][0]["detail"], "the incident is resolved");
    assert_eq!(client.list("/incidents?status=resolved&count=true").await["total"], 2);
    assert_eq!(client.list("/incidents?number=2").await["items"][0]["title"], "cpu high");
    assert_eq!(client.list("/incidents/2/changes").await["items"], json!([]));
    let timeline = client.list("/incidents/1/timeline?limit=2").await;
    assert_eq!(timeline["items"].as_array().unwrap().len(), 2);
    let cursor = timeline["next_cursor"].as_str().unwrap();
    let rest = client.list(&format!("/incidents/1/timeline?cursor={cursor}")).await;
    assert!(rest["items"].as_array().unwrap().len() >= 3);
    drop(gateway);
}

#[actix_web::test]
async fn what_is_wrong_is_a_problem_that_names_it() {
    gateway!(client, gateway);
    for (path, field) in [
        ("/alerts?colour=red", "colour"),
        ("/alerts?service=typo", "service"),
        ("/alerts?status=open", "status"),
        ("/alerts?match=colour%3D%22red%22", "match"),
        ("/alerts?limit=501", "limit"),
        ("/events?alert=1", "alert"),
        ("/changes?severity=error", "severity"),
        ("/incidents?cursor=00", "cursor"),
    ] {
        let (status, problem) = client.get(path).await;
        assert_eq!(
            (status.as_u16(), &problem["errors"][0]["field"]),
            (400, &json!(field)),
            "{path}"
        );
    }
    let nobody = "0199a7a0-0000-7000-8000-000000000000";
    for path in ["alerts", "incidents", "events", "changes"] {
        assert_eq!(client.get(&format!("/{path}/{nobody}")).await.0, 404);
        assert_eq!(client.get(&format!("/{path}/x")).await.0, 404);
    }
    assert_eq!(client.post(&format!("/alerts/{nobody}/resolve"), &json!({})).await.0, 404);
    assert_eq!(client.post("/alerts", &json!({})).await.0, 405);
    drop(gateway);
}

#[actix_web::test]
async fn a_viewer_reads_and_does_not_act() {
    gateway!(client, gateway);
    client.event("trigger", "k1", "disk full").await;
    let request =
        ConfigRequest::CreateToken { name: "eye".to_owned(), role: Role::Viewer, secret: None };
    let by = RequestedBy { actor: "token:admin".to_owned(), address: None };
    let answer = gateway.api.ingest.configure(request, by).await.unwrap();
    let ConfigAnswer::Token { secret, .. } = answer else { panic!("{answer:?}") };
    let viewer = Client { service: client.service, token: secret };

    let (status, incident) = viewer.get("/incidents/1").await;
    assert_eq!((status.as_u16(), &incident["number"]), (200, &json!(1)));
    assert_eq!(viewer.post("/incidents/1/resolve", &json!({})).await.0, 403);
    let stranger = Client { service: viewer.service, token: "x".to_owned() };
    assert_eq!(stranger.get("/incidents/1").await.0, 401);
}

#[actix_web::test]
async fn who_has_a_resource_already_is_told_so() {
    gateway!(client, gateway);
    client.event("trigger", "k1", "disk full").await;
    let get = || TestRequest::get().uri("/api/v1/incidents/1");

    let (_, headers, _) = client.ask(get()).await;
    let tag = ("If-None-Match", headers.get("etag").unwrap().clone());
    assert_eq!(client.send(get().insert_header(tag.clone())).await.0, 304);
    client.event("trigger", "k1", "disk full").await;
    assert_eq!(client.send(get().insert_header(tag)).await.0, 200);
    drop(gateway);
}
