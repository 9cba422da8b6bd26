//! Calls of the API, in process, over a real temporary database.

mod chained;
mod deliveries;
mod description;
mod doubt;
mod incidents;
mod inhibition_rules;
mod integrations;
mod noise;
mod pages;
mod policy;
mod receivers;
mod replay;
mod replayed_and_made;
mod routes;
mod services;
mod silences;
mod stats;
mod tokens;
mod webhooks;

use std::{sync::Arc, time::Duration};

use actix_web::{
    App,
    http::{Method, StatusCode, header::HeaderMap},
    middleware::from_fn,
    test, web,
};
use arc_swap::ArcSwap;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Api, Limits, middleware::observe};
use crate::{
    clock::{Clock, ManualClock},
    domain::{
        id::Ids,
        key::RoutingKey,
        service::{IntegrationType, Role, ServicePolicy},
        time::Timestamp,
    },
    ingest::{
        ConfigAnswer, ConfigRequest, Ingest, RequestedBy,
        committer::{Committer, DatabaseHealth},
    },
    outbox::Outlook,
    store::{Store, sqlite::SqliteStore},
    telemetry::metrics::Metrics,
};

/// The key of the integration `default`.
const KEY: &str = "0123456789abcdefghijklmnopqrstuv";

/// What the environment says that `PAYMENTS_KEY` is.
const KEY_OF_PAYMENTS: &str = "vutsrqponmlkjihgfedcba9876543210";

/// What the environment says that `SIGNING_SECRET` is.
const SIGNING_SECRET: &str = "rX0/2mB+signing+secret==";

/// A gateway without a socket; it goes when it is dropped.
struct Gateway {
    api: web::Data<Api>,
    clock: Arc<ManualClock>,
    /// A token with the role admin.
    admin: String,
    _committing: DropGuard,
    directory: tempfile::TempDir,
}

/// What came back.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The paths of the fields that a problem names.
    fn wrong(&self) -> Vec<String> {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        let errors = self.json()["errors"].as_array().unwrap().clone();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }
}

impl Gateway {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = SqliteStore::open(&directory.path().join("dutygate.db")).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_763_632_272_345)));
        let shared_clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let metrics = Arc::new(Metrics::new("test", 0.0).unwrap());
        let health = Arc::new(DatabaseHealth::default());
        let known = Arc::new(ArcSwap::from_pointee(store.directory(1, clock.now()).await.unwrap()));
        let (ingest, commands) =
            Ingest::new(1000, Arc::clone(&known), Arc::clone(&shared_clock), Arc::clone(&metrics));
        let committer = Committer {
            commands,
            store: Arc::clone(&store),
            directory: known,
            ids: Ids::new(store.sequences().await.unwrap(), [7; 32]),
            clock: shared_clock,
            metrics: Arc::clone(&metrics),
            health: Arc::clone(&health),
            max_batch: 100,
            directory_is_stale: false,
            in_doubt: false,
            templates: crate::store::decide::Learned::new(),
        };
        let closing = CancellationToken::new();
        actix_web::rt::spawn(committer.run(closing.clone()));
        let admin = set_up(&ingest).await;
        let api = web::Data::new(Api {
            ingest,
            store,
            metrics,
            health,
            rejections: super::Rejections::default(),
            token_uses: super::TokenUses::default(),
            webhooks: super::webhooks::Seen::default(),
            limits: Limits::new(524_288, Duration::from_secs(5), None),
            environment: |name| match name {
                "PAYMENTS_KEY" => Some(KEY_OF_PAYMENTS.to_owned()),
                "SIGNING_SECRET" => Some(SIGNING_SECRET.to_owned()),
                _ => None,
            },
            base_url: "https://gate.example.com/duty".to_owned(),
            phase: Arc::default(),
            outlook: Outlook::default(),
            guard: crate::notify::Guard::new(false),
        });
        Self { api, clock, admin, _committing: closing.drop_guard(), directory }
    }

    /// One request with these headers.
    async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<web::Bytes>,
    ) -> Answer {
        let app = App::new()
            .app_data(self.api.clone())
            .wrap(from_fn(observe))
            .configure(|config| super::routes(config, true));
        let app = test::init_service(app).await;
        let mut request = test::TestRequest::default().method(method).uri(path).set_payload(body);
        for header in headers {
            request = request.append_header(*header);
        }
        let response = test::call_service(&app, request.to_request()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = String::from_utf8_lossy(&test::read_body(response).await).into_owned();
        Answer { status, headers, text }
    }

    /// A call of the JSON API with the admin's token.
    async fn call(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.call_as(&self.admin, method, path, body).await
    }

    async fn call_as(&self, token: &str, method: Method, path: &str, body: &Value) -> Answer {
        let path = format!("/api/v1{path}");
        let token = format!("Bearer {token}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.request(method, &path, &[("Authorization", token.as_str())], body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &Value::Null).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, body).await
    }

    async fn if_match(&self, method: Method, path: &str, tag: &str, body: &Value) -> Answer {
        let token = format!("Bearer {}", self.admin);
        let headers = [("Authorization", token.as_str()), ("If-Match", tag)];
        self.request(method, &format!("/api/v1{path}"), &headers, body.to_string()).await
    }

    /// A token of this role.
    async fn token(&self, role: &str) -> String {
        let made = self.post("/tokens", &json!({"name": role, "role": role})).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.json()["token"].as_str().unwrap().to_owned()
    }

    /// Triggers through the door that emitters use.
    async fn trigger(&self, key: &str, dedup_key: &str, class: &str) -> Answer {
        let event = json!({
            "routing_key": key, "event_action": "trigger", "dedup_key": dedup_key,
            "payload": {"summary": "s", "source": "x", "severity": "error", "class": class},
        });
        self.request(Method::POST, "/v2/enqueue", &[], event.to_string()).await
    }
}

/// What the first start makes.
async fn set_up(ingest: &Ingest) -> String {
    let by = || RequestedBy { actor: "start".to_owned(), address: None };
    let create = ConfigRequest::CreateService {
        name: "default".to_owned(),
        description: String::new(),
        policy: ServicePolicy::default(),
    };
    let ConfigAnswer::Service(service) = ingest.configure(create, by()).await.unwrap() else {
        panic!("a service is answered with itself");
    };
    let create = ConfigRequest::CreateIntegration {
        name: "default".to_owned(),
        service_id: service.id,
        kind: IntegrationType::PagerDuty,
        shared: false,
        key: Some(RoutingKey::parse(KEY).unwrap()),
    };
    ingest.configure(create, by()).await.unwrap();
    let name = "admin".to_owned();
    let create = ConfigRequest::CreateToken { name, role: Role::Admin, secret: None };
    match ingest.configure(create, by()).await.unwrap() {
        ConfigAnswer::Token { secret, .. } => secret,
        other => panic!("{other:?}"),
    }
}

#[actix_web::test]
async fn without_a_token_nothing_is_told() {
    let gateway = Gateway::start().await;
    for path in ["/services", "/integrations/default", "/tokens", "/audit"] {
        let path = format!("/api/v1{path}");
        let none = gateway.request(Method::GET, &path, &[], "").await;
        let wrong = [("Authorization", "Bearer dg_0000")];
        let unknown = gateway.request(Method::GET, &path, &wrong, "").await;

        for answer in [none, unknown] {
            assert_eq!(answer.status, 401, "{path}");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
            assert_eq!(answer.header("content-type"), "application/problem+json");
        }
    }
}

#[actix_web::test]
async fn a_role_may_what_it_may() {
    let gateway = Gateway::start().await;
    let (viewer, responder) = (gateway.token("viewer").await, gateway.token("responder").await);
    for token in [&viewer, &responder] {
        for (path, status) in [
            ("/services", 200),
            ("/services/default", 200),
            ("/integrations", 200),
            ("/integrations/default", 200),
            ("/tokens", 403),
            ("/audit", 403),
        ] {
            let answer = gateway.call_as(token, Method::GET, path, &Value::Null).await;
            assert_eq!(answer.status, status, "{path}");
        }
        for (method, path) in [
            (Method::POST, "/services"),
            (Method::PUT, "/services/default"),
            (Method::DELETE, "/services/default"),
            (Method::POST, "/integrations"),
            (Method::PUT, "/integrations/default"),
            (Method::DELETE, "/integrations/default"),
            (Method::POST, "/integrations/default/rotate"),
            (Method::POST, "/integrations/default/test"),
            (Method::POST, "/tokens"),
            (Method::DELETE, "/tokens/admin"),
        ] {
            let answer = gateway.call_as(token, method, path, &json!({"name": "x"})).await;
            assert_eq!(answer.status, 403, "{path}");
            assert!(answer.text.contains("role admin"), "{}", answer.text);
        }
    }
    assert_eq!(gateway.trigger(KEY, "k", "c").await.status, 202);
}

#[actix_web::test]
async fn a_wrong_method_or_path_is_told_as_a_problem() {
    let gateway = Gateway::start().await;
    for (method, path, allow) in [
        (Method::DELETE, "/api/v1/services", "GET, HEAD, POST"),
        (Method::POST, "/api/v1/services/default", "GET, HEAD, PUT, DELETE"),
        (Method::GET, "/api/v1/integrations/default/test", "POST"),
        (Method::GET, "/api/v1/tokens/admin", "DELETE"),
        (Method::PUT, "/api/openapi.json", "GET, HEAD"),
        (Method::POST, "/livez", "GET, HEAD"),
    ] {
        let answer = gateway.request(method, path, &[], "").await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, allow), "{path}");
        assert_eq!(answer.json()["status"], 405);
    }
    for path in ["/api", "/api/v1", "/api/v1/nothing", "/api/v1/services/a/b"] {
        let answer = gateway.request(Method::GET, path, &[], "").await;
        assert_eq!((answer.status.as_u16(), answer.json()["status"].as_u64()), (404, Some(404)));
    }
    let elsewhere = gateway.request(Method::GET, "/nothing", &[], "").await;
    assert_eq!(elsewhere.json()["status"], "not found");
    assert_eq!(elsewhere.header("x-content-type-options"), "nosniff");
}
