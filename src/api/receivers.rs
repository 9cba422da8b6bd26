//! Receivers: `/api/v1/receivers`. Their secrets are not here: settings say where the gateway finds
//! them.

mod test;

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{OpenApi, ToSchema};

use super::{
    API_BODY_BYTES, Api,
    auth::{Admin, Viewer},
    body,
    error::ApiError,
    etag,
    listing::{ListQuery, Listing},
    members::{Members, REQUIRED},
    openapi::policy::{ReceiverInput, ReceiverKindName},
    table::Call,
};
use crate::{
    domain::{
        id::ReceiverId,
        receiver::{Receiver, ReceiverKind},
        routing::Directory,
        time::Timestamp,
    },
    ingest::{ConfigAnswer, ConfigRequest},
    notify::{self, Guard},
};

/// Shown by answers, set by nobody.
const READ_ONLY: [&str; 3] = ["id", "created_at", "managed_by"];

pub(super) const CALLS: &[Call] = &[
    Call::get("/api/v1/receivers", || web::to(list)),
    Call::post("/api/v1/receivers", || web::to(create)),
    Call::get("/api/v1/receivers/{id}", || web::to(show)),
    Call::put("/api/v1/receivers/{id}", || web::to(replace)),
    Call::delete("/api/v1/receivers/{id}", || web::to(delete)),
    Call::post("/api/v1/receivers/{id}/test", || web::to(test::test)),
];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(list, create, show, replace, delete, test::test))]
pub(super) struct Documented;

/// Whom incidents are handed on to. The settings of its kind stand beside the members that all
/// have.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Receiver)]
pub(super) struct ReceiverView {
    #[schema(value_type = String, format = Uuid)]
    id: ReceiverId,
    #[schema(example = "pagerduty-main")]
    name: String,
    #[schema(value_type = ReceiverKindName)]
    kind: ReceiverKind,
    #[serde(flatten)]
    #[schema(ignore)]
    settings: Map<String, Value>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// `policy` if a policy file made it, else null.
    #[schema(value_type = Option<String>, required)]
    managed_by: Option<&'static str>,
}

impl ReceiverView {
    fn of(receiver: &Receiver) -> Self {
        Self {
            id: receiver.id,
            name: receiver.name.clone(),
            kind: receiver.kind,
            settings: receiver.settings.clone(),
            created_at: receiver.created_at,
            managed_by: receiver.managed.then_some("policy"),
        }
    }
}

pub(super) fn found(directory: &Directory, id_or_name: &str) -> Result<Arc<Receiver>, ApiError> {
    match ReceiverId::parse(id_or_name) {
        Some(id) => directory.receiver(id),
        None => directory.receiver_named(id_or_name),
    }
    .cloned()
    .ok_or(ApiError::NotFound("receiver"))
}

/// List receivers
#[utoipa::path(
    get, path = "/api/v1/receivers", tag = "receivers", operation_id = "list_receivers",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500, description = "Items on a page; 50 unless given"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("count" = Option<bool>, Query, description = "Adds `total`"),
    ),
    responses((status = 200, description = "Newest first", body = Listing<ReceiverView>)),
)]
async fn list(
    _: Viewer,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let query = ListQuery::read(&request, &[])?;
    let directory = api.ingest.directory();
    let all = directory.receivers().collect();
    Ok(query.answer(all, |receiver| receiver.id.uuid(), |receiver| ReceiverView::of(receiver)))
}

/// Make a receiver
///
/// Needs the role admin.
#[utoipa::path(
    post, path = "/api/v1/receivers", tag = "receivers", operation_id = "create_receiver",
    request_body = ReceiverInput,
    responses(
        (status = 201, description = "Made", body = ReceiverView, headers(
            ("Location" = String, description = "Path of the receiver"),
            ("ETag" = String, description = "Its version, for `If-Match`"),
        )),
        (status = 409, description = "The name is taken"),
    ),
)]
async fn create(
    caller: Admin,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let object = body::read_json(payload, API_BODY_BYTES, api.limits.body_timeout).await?;
    let Input { name, kind, settings } = Input::read(object, &[], api.guard)?;
    let request = ConfigRequest::CreateReceiver { name, kind, settings };
    let receiver = written(api.ingest.configure(request, caller.0.requested_by()).await?)?;
    let location = format!("{}/api/v1/receivers/{}", api.path_prefix(), receiver.id);
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, location));
    Ok(answer(response, &receiver))
}

/// Show a receiver
#[utoipa::path(
    get, path = "/api/v1/receivers/{id}", tag = "receivers", operation_id = "get_receiver",
    params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "The receiver", body = ReceiverView, headers(
        ("ETag" = String, description = "Its version, for `If-Match`"),
    ))),
)]
async fn show(
    _: Viewer,
    path: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let receiver = found(&api.ingest.directory(), &path)?;
    Ok(answer(HttpResponse::Ok(), &receiver))
}

/// Replace a receiver
///
/// Replaces it whole: a missing member means its default. Needs the role admin.
#[utoipa::path(
    put, path = "/api/v1/receivers/{id}", tag = "receivers", operation_id = "replace_receiver",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("If-Match" = Option<String>, Header, description = "Only if this is still the version"),
    ),
    request_body = ReceiverInput,
    responses(
        (status = 200, description = "As it is now", body = ReceiverView, headers(
            ("ETag" = String, description = "Its new version"),
        )),
        (status = 409, description = "The name is taken, or the old one is still named by a service"),
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
    let receiver = found(&api.ingest.directory(), &path)?;
    let version = etag::expected_version(&request, receiver.version)?;
    let Input { name, kind, settings } = Input::read(object, &READ_ONLY, api.guard)?;
    let id = receiver.id;
    let request = ConfigRequest::UpdateReceiver { id, version, name, kind, settings };
    let receiver = written(api.ingest.configure(request, caller.0.requested_by()).await?)?;
    Ok(answer(HttpResponse::Ok(), &receiver))
}

/// Delete a receiver
///
/// Needs the role admin.
#[utoipa::path(
    delete, path = "/api/v1/receivers/{id}", tag = "receivers", operation_id = "delete_receiver",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("If-Match" = Option<String>, Header, description = "Only if this is still the version"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, description = "A service or another receiver names it; the answer says which"),
        (status = 412, description = "It was changed meanwhile"),
    ),
)]
async fn delete(
    caller: Admin,
    path: web::Path<String>,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let receiver = found(&api.ingest.directory(), &path)?;
    let version = etag::expected_version(&request, receiver.version)?;
    let request = ConfigRequest::DeleteReceiver { id: receiver.id, version };
    api.ingest.configure(request, caller.0.requested_by()).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn answer(mut response: actix_web::HttpResponseBuilder, receiver: &Receiver) -> HttpResponse {
    response.insert_header(etag::tag(receiver.version)).json(ReceiverView::of(receiver))
}

fn written(answer: ConfigAnswer) -> Result<Arc<Receiver>, ApiError> {
    answer.receiver().ok_or(ApiError::NotFound("receiver"))
}

/// What is written of a receiver.
#[derive(Debug)]
struct Input {
    name: String,
    kind: ReceiverKind,
    settings: Map<String, Value>,
}

impl Input {
    fn read(object: Map<String, Value>, ignored: &[&str], guard: Guard) -> Result<Self, ApiError> {
        let mut members = Members::of(object);
        members.ignore(ignored);
        let name = members.name();
        let kinds = "\"pagerduty\", \"jira\", \"webhook\" or \"email\"";
        let kind = members.required_choice("kind", ReceiverKind::parse, kinds);
        let settings = members.take_rest();
        if let Some(kind) = kind {
            Receiver::check_settings(kind, &settings, "", &mut members.errors);
            let mistakes = notify::mistakes(kind, &settings, guard);
            members.errors.extend(mistakes.into_iter().map(|(at, what)| (at.to_owned(), what)));
        }
        members.finish()?;
        Ok(Self { name: name.expect(REQUIRED), kind: kind.expect(REQUIRED), settings })
    }
}
