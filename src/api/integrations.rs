//! Inbound integrations and their keys: `/api/v1/integrations`.
//!
//! A key is in the answers of creating and rotating and in no other.

use std::{collections::BTreeMap, sync::Arc};

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::{OpenApi, ToSchema};

use super::{
    API_BODY_BYTES, Api,
    auth::{Admin, Viewer},
    body,
    error::ApiError,
    etag,
    listing::{ListQuery, Listing},
    members::{Members, REQUIRED},
    openapi::schemas::{IntegrationInput, IntegrationUpdate, RotateInput},
    rejections::RejectionNote,
    services,
    table::Call,
};
use crate::{
    domain::{
        event::{self, Content, Event, Intent, SentTime, Severity, StoredBody},
        id::{AlertId, EventId, IntegrationId, ServiceId},
        key::{DedupKey, RoutingKey},
        routing::Directory,
        service::{Integration, IntegrationType},
        time::{Span, Timestamp},
    },
    ingest::{ConfigAnswer, ConfigRequest},
};

/// How long a rotated key still works unless said otherwise: a day to reach every sender.
const OVERLAP_DEFAULT: Span = Span::from_secs(86_400);
const OVERLAP_MAX: Span = Span::from_secs(30 * 86_400);

/// The one key of test events, so that testing twice does not leave two alerts.
const TEST_KEY: &str = "dutygate-test";

/// Shown by answers, set by nobody.
const READ_ONLY: [&str; 7] =
    ["id", "service_id", "key_hint", "created_at", "managed_by", "url", "rejections"];

pub(super) const CALLS: &[Call] = &[
    Call::get("/api/v1/integrations", || web::to(list)),
    Call::post("/api/v1/integrations", || web::to(create)),
    Call::get("/api/v1/integrations/{id}", || web::to(show)),
    Call::put("/api/v1/integrations/{id}", || web::to(replace)),
    Call::delete("/api/v1/integrations/{id}", || web::to(delete)),
    Call::post("/api/v1/integrations/{id}/rotate", || web::to(rotate)),
    Call::post("/api/v1/integrations/{id}/test", || web::to(test)),
];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(list, create, show, replace, delete, rotate, test))]
pub(super) struct Documented;

/// An inbound integration: owns a routing key, belongs to a service.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Integration)]
pub(super) struct IntegrationView {
    #[schema(value_type = String, format = Uuid)]
    id: IntegrationId,
    #[schema(example = "elastalert-prod")]
    name: String,
    #[schema(value_type = String, format = Uuid)]
    service_id: ServiceId,
    /// The service's name.
    #[schema(example = "payments")]
    service: String,
    /// What it speaks.
    #[serde(rename = "type")]
    #[schema(value_type = super::openapi::schemas::IntegrationKind)]
    kind: IntegrationType,
    /// Its events may be routed to other services.
    shared: bool,
    /// The first four characters of the key.
    #[schema(example = "k3yf")]
    key_hint: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// `policy` if a policy file made it, else null.
    #[schema(value_type = Option<String>, required)]
    managed_by: Option<&'static str>,
    /// The whole key, in the answers of creating and rotating only: it is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    key: Option<String>,
    /// Where to send to. With the key where the answer has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    url: Option<String>,
    /// The last 100 requests that were not accepted, newest first, since the gateway's start: why
    /// did my alert not arrive? Only when one integration is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rejections: Option<Vec<RejectionNote>>,
}

impl IntegrationView {
    fn of(integration: &Integration, directory: &Directory) -> Self {
        let service = directory.service(integration.service_id);
        Self {
            id: integration.id,
            name: integration.name.clone(),
            service_id: integration.service_id,
            service: service.map(|service| service.name.clone()).unwrap_or_default(),
            kind: integration.kind,
            shared: integration.shared,
            key_hint: integration.key_hint.clone(),
            created_at: integration.created_at,
            managed_by: integration.managed.then_some("policy"),
            key: None,
            url: None,
            rejections: None,
        }
    }

    /// With its address; the key is part of that only while it is shown.
    fn with_url(mut self, api: &Api, key: Option<&RoutingKey>) -> Self {
        let path = match self.kind {
            IntegrationType::PagerDuty => "pagerduty",
            IntegrationType::Guance => "guance",
        };
        let mut url = format!("{}/event/push/alert/{path}", api.base_url);
        if let Some(key) = key {
            url.push_str("?integration_key=");
            url.push_str(key.reveal());
        }
        self.url = Some(url);
        self.key = key.map(|key| key.reveal().to_owned());
        self
    }
}

/// What came of a test event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TestOutcome)]
pub(super) struct TestView {
    /// The alert it opened, resolved again by now.
    #[schema(value_type = Option<String>, format = Uuid, required)]
    alert_id: Option<AlertId>,
    #[schema(example = "dutygate-test")]
    dedup_key: String,
    /// The trigger and the resolve.
    #[schema(value_type = Vec<String>)]
    event_ids: [EventId; 2],
}

fn found(api: &Api, id_or_name: &str) -> Result<Arc<Integration>, ApiError> {
    let directory = api.ingest.directory();
    match IntegrationId::parse(id_or_name) {
        Some(id) => directory.integration(id),
        None => directory.integration_named(id_or_name),
    }
    .cloned()
    .ok_or(ApiError::NotFound("integration"))
}

/// List integrations
#[utoipa::path(
    get, path = "/api/v1/integrations", tag = "integrations", operation_id = "list_integrations",
    params(
        ("service" = Option<Vec<String>>, Query, description = "Of these services, by id or name; repeatable"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500, description = "Items on a page; 50 unless given"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("count" = Option<bool>, Query, description = "Adds `total`"),
    ),
    responses((status = 200, description = "Newest first", body = Listing<IntegrationView>)),
)]
async fn list(
    _: Viewer,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let query = ListQuery::read(&request, &["service"])?;
    let directory = api.ingest.directory();
    let named = query.values("service");
    let wanted: Vec<Option<ServiceId>> = named
        .iter()
        .map(|service| services::find(&directory, service).map(|service| service.id))
        .collect();
    let mut all: Vec<_> = directory.integrations().collect();
    all.retain(|integration| wanted.is_empty() || wanted.contains(&Some(integration.service_id)));
    Ok(query.answer(all, |it| it.id.uuid(), |it| IntegrationView::of(it, &directory)))
}

/// Make an integration
///
/// The key is in this answer and not shown again. Events can be sent at once. Needs the role admin.
#[utoipa::path(
    post, path = "/api/v1/integrations", tag = "integrations", operation_id = "create_integration",
    request_body = IntegrationInput,
    responses(
        (status = 201, description = "Made; with its `key` and `url`", body = IntegrationView, headers(
            ("Location" = String, description = "Path of the integration"),
            ("ETag" = String, description = "Its version, for `If-Match`"),
        )),
        (status = 409, description = "The name or the key is taken"),
    ),
)]
async fn create(
    caller: Admin,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let object = body::read_json(payload, API_BODY_BYTES, api.limits.body_timeout).await?;
    let mut members = Members::of(object);
    let key = given_key(&mut members);
    let Input { name, service_id, kind, shared } = Input::read(members, &api.ingest.directory())?;
    let request = ConfigRequest::CreateIntegration { name, service_id, kind, shared, key };
    let (integration, key) =
        written(api.ingest.configure(request, caller.0.requested_by()).await?)?;
    let location = format!("{}/api/v1/integrations/{}", api.path_prefix(), integration.id);
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, location));
    Ok(with_key(response, &api, &integration, key.as_ref()))
}

/// Show an integration
///
/// With where to send to, and the last requests that were not accepted.
#[utoipa::path(
    get, path = "/api/v1/integrations/{id}", tag = "integrations", operation_id = "get_integration",
    params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "The integration", body = IntegrationView, headers(
        ("ETag" = String, description = "Its version, for `If-Match`"),
    ))),
)]
async fn show(
    _: Viewer,
    path: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let integration = found(&api, &path)?;
    Ok(answer(&api, &integration))
}

/// Replace an integration
///
/// Replaces it whole: a missing member means its default. The key stays. Needs the role admin.
#[utoipa::path(
    put, path = "/api/v1/integrations/{id}", tag = "integrations",
    operation_id = "replace_integration",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("If-Match" = Option<String>, Header, description = "Only if this is still the version"),
    ),
    request_body = IntegrationUpdate,
    responses(
        (status = 200, description = "As it is now", body = IntegrationView, headers(
            ("ETag" = String, description = "Its new version"),
        )),
        (status = 409, description = "The name is taken"),
        (status = 412, description = "It was changed meanwhile"),
    ),
)]
async fn replace(
    caller: Admin,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let object = body::read_json(payload, API_BODY_BYTES, api.limits.body_timeout).await?;
    let integration = found(&api, &path)?;
    let version = etag::expected_version(&request, integration.version)?;
    let mut members = Members::of(object);
    members.ignore(&READ_ONLY);
    let Input { name, service_id, kind, shared } = Input::read(members, &api.ingest.directory())?;
    let id = integration.id;
    let request = ConfigRequest::UpdateIntegration { id, version, name, service_id, kind, shared };
    let (integration, _) = written(api.ingest.configure(request, caller.0.requested_by()).await?)?;
    Ok(answer(&api, &integration))
}

/// Delete an integration
///
/// Its keys are revoked at once; its alerts stay. Needs the role admin.
#[utoipa::path(
    delete, path = "/api/v1/integrations/{id}", tag = "integrations",
    operation_id = "delete_integration",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("If-Match" = Option<String>, Header, description = "Only if this is still the version"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = 412, description = "It was changed meanwhile"),
    ),
)]
async fn delete(
    caller: Admin,
    path: web::Path<String>,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let integration = found(&api, &path)?;
    let version = etag::expected_version(&request, integration.version)?;
    let request = ConfigRequest::DeleteIntegration { id: integration.id, version };
    api.ingest.configure(request, caller.0.requested_by()).await?;
    api.rejections.forget(integration.id);
    Ok(HttpResponse::NoContent().finish())
}

/// Give an integration a new key
///
/// The new key is in this answer and not shown again. The old one works until the overlap ends.
/// Needs the role admin.
#[utoipa::path(
    post, path = "/api/v1/integrations/{id}/rotate", tag = "integrations",
    operation_id = "rotate_integration_key",
    params(("id" = String, Path, description = "Id or name")),
    request_body(content = Option<RotateInput>),
    responses((status = 200, description = "With the new `key` and `url`", body = IntegrationView, headers(
        ("ETag" = String, description = "Its new version"),
    ))),
)]
async fn rotate(
    caller: Admin,
    path: web::Path<String>,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let object = body::read_json(payload, API_BODY_BYTES, api.limits.body_timeout).await?;
    let integration = found(&api, &path)?;
    let mut members = Members::of(object);
    let overlap = members.span("overlap", OVERLAP_DEFAULT, OVERLAP_MAX);
    members.finish()?;
    let request = ConfigRequest::RotateKey { id: integration.id, overlap, key: None };
    let (integration, key) =
        written(api.ingest.configure(request, caller.0.requested_by()).await?)?;
    Ok(with_key(HttpResponse::Ok(), &api, &integration, key.as_ref()))
}

/// Send a test event
///
/// It goes the way of every event: one alert of severity info, triggered and resolved again. Needs
/// the role admin.
#[utoipa::path(
    post, path = "/api/v1/integrations/{id}/test", tag = "integrations",
    operation_id = "test_integration",
    params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "It is stored", body = TestView)),
)]
async fn test(
    _: Admin,
    path: web::Path<String>,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let object = body::read_json(payload, API_BODY_BYTES, api.limits.body_timeout).await?;
    Members::of(object).finish()?;
    let integration = found(&api, &path)?;
    let dedup_key = DedupKey::parse(TEST_KEY).expect("it is short and not empty");
    let (trigger, body) = test_trigger(dedup_key.clone(), &integration.key_hint);
    let triggered = api.ingest.submit_event(Arc::clone(&integration), trigger, body).await?;
    let (resolve, body) = test_resolve(dedup_key, &integration.key_hint);
    let resolved = api.ingest.submit_event(integration, resolve, body).await?;
    Ok(HttpResponse::Ok().json(TestView {
        alert_id: triggered.alert_id,
        dedup_key: TEST_KEY.to_owned(),
        event_ids: [triggered.event_id, resolved.event_id],
    }))
}

fn test_trigger(dedup_key: DedupKey, key_hint: &str) -> (Event, StoredBody) {
    let content = Content {
        summary: "Test event from dutygate".to_owned(),
        source: Some("dutygate".to_owned()),
        severity: Severity::Info,
        component: None,
        group: None,
        class: None,
        custom_details: Some(r#"{"test":true}"#.into()),
        client: None,
        client_url: None,
        links: Vec::new(),
        images: Vec::new(),
        labels: BTreeMap::new(),
    };
    let body = json!({
        "routing_key": format!("{key_hint}…"),
        "event_action": "trigger",
        "dedup_key": TEST_KEY,
        "payload": {
            "summary": content.summary, "source": content.source, "severity": content.severity,
            "custom_details": {"test": true},
        },
    });
    let intent = Intent::Trigger { dedup_key: Some(dedup_key), content: Box::new(content) };
    (v2_event(intent), stored(&body))
}

fn test_resolve(dedup_key: DedupKey, key_hint: &str) -> (Event, StoredBody) {
    let body = json!({
        "routing_key": format!("{key_hint}…"), "event_action": "resolve", "dedup_key": TEST_KEY,
    });
    (v2_event(Intent::Resolve { dedup_key }), stored(&body))
}

fn v2_event(intent: Intent) -> Event {
    Event::new(event::Api::V2, intent, SentTime::default())
}

fn stored(body: &Value) -> StoredBody {
    StoredBody { text: body.to_string(), details: None }
}

fn answer(api: &Api, integration: &Integration) -> HttpResponse {
    let mut view = IntegrationView::of(integration, &api.ingest.directory()).with_url(api, None);
    view.rejections = Some(api.rejections.of(integration.id));
    HttpResponse::Ok().insert_header(etag::tag(integration.version)).json(view)
}

/// The answer that shows a key; nothing on the way is to keep it.
fn with_key(
    mut response: actix_web::HttpResponseBuilder,
    api: &Api,
    integration: &Integration,
    key: Option<&RoutingKey>,
) -> HttpResponse {
    let view = IntegrationView::of(integration, &api.ingest.directory()).with_url(api, key);
    response
        .insert_header(etag::tag(integration.version))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(view)
}

fn written(answer: ConfigAnswer) -> Result<(Arc<Integration>, Option<RoutingKey>), ApiError> {
    answer.integration().ok_or(ApiError::NotFound("integration"))
}

/// A key of the sender's own, so that keys from PagerDuty can be kept.
fn given_key(members: &mut Members) -> Option<RoutingKey> {
    let value = members.take("key")?;
    let parsed = match value.as_str().map(RoutingKey::parse) {
        Some(Ok(key)) => return Some(key),
        Some(Err(error)) => error.to_string(),
        None => "must be text".to_owned(),
    };
    members.wrong("key", parsed);
    None
}

/// What is written of an integration, besides its key.
#[derive(Debug)]
struct Input {
    name: String,
    service_id: ServiceId,
    kind: IntegrationType,
    shared: bool,
}

impl Input {
    fn read(mut members: Members, directory: &Directory) -> Result<Self, ApiError> {
        let name = members.name();
        let service = members.required_service(directory);
        let kind = members.choice("type", IntegrationType::parse, "\"pagerduty\" or \"guance\"");
        let shared = members.flag("shared");
        members.finish()?;
        Ok(Self {
            name: name.expect(REQUIRED),
            service_id: service.expect(REQUIRED),
            kind: kind.unwrap_or(IntegrationType::PagerDuty),
            shared,
        })
    }
}
