//! Silences: `/api/v1/silences`. One that is over stays to be read and changes no more.

mod input;
mod preview;

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde::Serialize;
use serde_json::Value;
use utoipa::{OpenApi, ToSchema};

use self::input::Input;
use super::{
    API_BODY_BYTES, Api,
    auth::{Responder, Viewer},
    body,
    error::ApiError,
    etag,
    members::Members,
    openapi::policy::{ScheduleRule, SilenceInput},
    params::Params,
    render::{self, List},
    table::Call,
};
use crate::{
    domain::{
        id::{ServiceId, SilenceId},
        matcher::Match,
        silence::{Silence, SilenceState, When},
        time::Timestamp,
    },
    ingest::{ConfigAnswer, ConfigRequest},
    store::query::{Listed, SilenceFilter, StoredSilence},
};

/// Shown by answers, set by nobody.
const READ_ONLY: [&str; 7] =
    ["id", "state", "service_id", "created_by", "created_at", "managed_by", "warning"];

pub(super) const CALLS: &[Call] = &[
    Call::get("/api/v1/silences", || web::to(list)),
    Call::post("/api/v1/silences", || web::to(create)),
    Call::post("/api/v1/silences/preview", || web::to(preview::preview)),
    Call::get("/api/v1/silences/{id}", || web::to(show)),
    Call::put("/api/v1/silences/{id}", || web::to(replace)),
    Call::delete("/api/v1/silences/{id}", || web::to(delete)),
    Call::post("/api/v1/silences/{id}/expire", || web::to(expire)),
];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(list, create, preview::preview, show, replace, delete, expire))]
pub(super) struct Documented;

/// Alerts that it matches are stored and join no incident while it is active.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Silence)]
pub(super) struct SilenceView {
    #[schema(value_type = String, format = Uuid)]
    id: SilenceId,
    #[schema(required, example = "weekly patching")]
    name: Option<String>,
    /// `pending`, `active` or `expired`, by the clock. A weekly one that is not on now is pending.
    #[schema(value_type = String, example = "active")]
    state: SilenceState,
    comment: String,
    /// One of the lists has to hold, and of a list every matcher.
    #[schema(value_type = Vec<Vec<String>>)]
    matchers: Value,
    /// Name of the only service that it silences; null: all.
    #[schema(required, example = "payments")]
    service: Option<String>,
    #[schema(value_type = Option<String>, format = Uuid, required)]
    service_id: Option<ServiceId>,
    /// Null if it has a schedule.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    from: Option<Timestamp>,
    /// Null if it has a schedule. Of one that was ended earlier, when that was.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    until: Option<Timestamp>,
    /// When it is on, every week; null if it is on once.
    #[schema(value_type = Option<ScheduleRule>, required)]
    schedule: Value,
    #[schema(example = "token:admin")]
    created_by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// `policy` if a policy file made it, else null.
    #[schema(value_type = Option<String>, required)]
    managed_by: Option<&'static str>,
    /// There if it silences everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    warning: Option<String>,
}

impl SilenceView {
    fn of(silence: &Silence, service: Option<&str>, now: Timestamp) -> Self {
        let (from, until, schedule) = match &silence.when {
            When::Once { from, until } => (Some(*from), Some(*until), Value::Null),
            When::Weekly(schedule) => (None, None, schedule.to_json()),
        };
        Self {
            id: silence.id,
            name: silence.name.clone(),
            state: silence.state(now),
            comment: silence.comment.clone(),
            matchers: lists(&silence.matches),
            service: service.map(str::to_owned),
            service_id: silence.service_id,
            from,
            until: match silence.expired_at {
                Some(expired) => Some(until.map_or(expired, |until| until.min(expired))),
                None => until,
            },
            schedule,
            created_by: silence.created_by.clone(),
            created_at: silence.created_at,
            managed_by: silence.managed.then_some("policy"),
            warning: silence.accepts_everything().then(|| warning(service)),
        }
    }

    fn stored(stored: &StoredSilence, now: Timestamp) -> Self {
        Self::of(&stored.silence, stored.service.as_deref(), now)
    }
}

/// What to say of matchers that hold for everything.
fn warning(service: Option<&str>) -> String {
    match service {
        Some(service) => format!("it silences every alert of the service {service}"),
        None => "it silences every alert of every service".to_owned(),
    }
}

/// The form with alternatives, whatever form was given.
fn lists(matches: &Match) -> Value {
    match matches.to_json() {
        Value::Array(items) if items.first().is_some_and(Value::is_string) => {
            Value::Array(vec![Value::Array(items)])
        }
        lists => lists,
    }
}

async fn found(api: &Api, id_or_name: &str) -> Result<StoredSilence, ApiError> {
    let id = SilenceId::parse(id_or_name).or_else(|| {
        let directory = api.ingest.directory();
        let now = api.ingest.now();
        let mut named = directory
            .silences()
            .iter()
            .filter(|silence| silence.name.as_deref() == Some(id_or_name) && !silence.is_over(now));
        named.next().map(|silence| silence.id)
    });
    let id = id.ok_or(ApiError::NotFound("silence"))?;
    api.store.silence(id).await?.ok_or(ApiError::NotFound("silence"))
}

/// List silences
///
/// Also those that are over, for as long as alerts are kept.
#[utoipa::path(
    get, path = "/api/v1/silences", tag = "silences", operation_id = "list_silences",
    params(
        ("state" = Option<Vec<String>>, Query, description = "`pending`, `active` or `expired`; repeatable"),
        ("service" = Option<Vec<String>>, Query, description = "Limited to these services, by id or name; repeatable"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500, description = "Items on a page; 50 unless given"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("count" = Option<bool>, Query, description = "Adds `total`"),
    ),
    responses((status = 200, description = "Newest first", body = List<SilenceView>)),
)]
async fn list(
    _: Viewer,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let (store, now) = (&api.store, api.ingest.now());
    let mut params =
        Params::of_list(request.path(), request.query_string(), &[&["state", "service"]]);
    let filter = SilenceFilter {
        states: params.named("state", SilenceState::ALL, SilenceState::parse),
        services: params.owners("service", async |name| store.services_called(&name).await).await?,
        now,
    };
    let asked = params.page()?;
    let Listed { items, next, total } = store.silences(&filter, asked.page).await?;
    let items = items.iter().map(|stored| SilenceView::stored(stored, now)).collect();
    Ok(render::list(&asked, Listed { items, next, total }))
}

/// Make a silence
///
/// Needs the role responder. One that has no service and matches everything needs `"confirm": true`.
#[utoipa::path(
    post, path = "/api/v1/silences", tag = "silences", operation_id = "create_silence",
    request_body = SilenceInput,
    responses(
        (status = 201, description = "Made", body = SilenceView, headers(
            ("Location" = String, description = "Path of the silence"),
            ("ETag" = String, description = "Its version, for `If-Match`"),
        )),
        (status = 409, description = "A silence that is not over has the name"),
    ),
)]
async fn create(
    caller: Responder,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let object = body::read_json(payload, API_BODY_BYTES, api.limits.body_timeout).await?;
    let input = Input { now: api.ingest.now(), before: None };
    let draft = input.read(Members::of(object), &api.ingest.directory())?;
    let request = ConfigRequest::CreateSilence(draft);
    let silence = written(api.ingest.configure(request, caller.0.requested_by()).await?)?;
    let location = format!("{}/api/v1/silences/{}", api.path_prefix(), silence.id);
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, location));
    Ok(answer(response, &api, &silence))
}

/// Show a silence
#[utoipa::path(
    get, path = "/api/v1/silences/{id}", tag = "silences", operation_id = "get_silence",
    params(("id" = String, Path, description = "Id, or the name of one that is not over")),
    responses((status = 200, description = "The silence", body = SilenceView, headers(
        ("ETag" = String, description = "Its version, for `If-Match`"),
    ))),
)]
async fn show(
    _: Viewer,
    path: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let stored = found(&api, &path).await?;
    Ok(HttpResponse::Ok()
        .insert_header(etag::tag(stored.silence.version))
        .json(SilenceView::stored(&stored, api.ingest.now())))
}

/// Replace a silence
///
/// Replaces it whole: a missing member means its default. Open alerts are judged anew. Needs the
/// role responder.
#[utoipa::path(
    put, path = "/api/v1/silences/{id}", tag = "silences", operation_id = "replace_silence",
    params(
        ("id" = String, Path, description = "Id, or the name of one that is not over"),
        ("If-Match" = Option<String>, Header, description = "Only if this is still the version"),
    ),
    request_body = SilenceInput,
    responses(
        (status = 200, description = "As it is now", body = SilenceView, headers(
            ("ETag" = String, description = "Its new version"),
        )),
        (status = 409, description = "It is over, or another one that is not has the name"),
        (status = 412, description = "It was changed meanwhile"),
    ),
)]
async fn replace(
    caller: Responder,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let object = body::read_json(payload, API_BODY_BYTES, api.limits.body_timeout).await?;
    let StoredSilence { silence, .. } = found(&api, &path).await?;
    let version = etag::expected_version(&request, silence.version)?;
    let mut members = Members::of(object);
    members.ignore(&READ_ONLY);
    let input = Input { now: api.ingest.now(), before: Some(&silence) };
    let draft = input.read(members, &api.ingest.directory())?;
    let request = ConfigRequest::UpdateSilence { id: silence.id, version, draft };
    let silence = written(api.ingest.configure(request, caller.0.requested_by()).await?)?;
    Ok(answer(HttpResponse::Ok(), &api, &silence))
}

/// Delete a silence
///
/// Ends it: what is over stays to be read. Needs the role responder.
#[utoipa::path(
    delete, path = "/api/v1/silences/{id}", tag = "silences", operation_id = "delete_silence",
    params(
        ("id" = String, Path, description = "Id, or the name of one that is not over"),
        ("If-Match" = Option<String>, Header, description = "Only if this is still the version"),
    ),
    responses(
        (status = 204, description = "It is over"),
        (status = 412, description = "It was changed meanwhile"),
    ),
)]
async fn delete(
    caller: Responder,
    path: web::Path<String>,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    end(&caller, &path, &request, &api).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// End a silence now
///
/// What it silenced and is still open is grouped now. One that is over stays as it is. Needs the
/// role responder.
#[utoipa::path(
    post, path = "/api/v1/silences/{id}/expire", tag = "silences", operation_id = "expire_silence",
    params(
        ("id" = String, Path, description = "Id, or the name of one that is not over"),
        ("If-Match" = Option<String>, Header, description = "Only if this is still the version"),
    ),
    responses(
        (status = 200, description = "It is over", body = SilenceView, headers(
            ("ETag" = String, description = "Its new version"),
        )),
        (status = 412, description = "It was changed meanwhile"),
    ),
)]
async fn expire(
    caller: Responder,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let object = body::read_json(payload, API_BODY_BYTES, api.limits.body_timeout).await?;
    Members::of(object).finish()?;
    let stored = end(&caller, &path, &request, &api).await?;
    Ok(HttpResponse::Ok()
        .insert_header(etag::tag(stored.silence.version))
        .json(SilenceView::stored(&stored, api.ingest.now())))
}

/// Ends it, unless it is over.
async fn end(
    caller: &Responder,
    id_or_name: &str,
    request: &HttpRequest,
    api: &Api,
) -> Result<StoredSilence, ApiError> {
    let mut stored = found(api, id_or_name).await?;
    let version = etag::expected_version(request, stored.silence.version)?;
    if !stored.silence.is_over(api.ingest.now()) {
        let request = ConfigRequest::ExpireSilence { id: stored.silence.id, version };
        let ended = written(api.ingest.configure(request, caller.0.requested_by()).await?)?;
        stored.silence = Arc::unwrap_or_clone(ended);
    }
    Ok(stored)
}

fn answer(
    mut response: actix_web::HttpResponseBuilder,
    api: &Api,
    silence: &Silence,
) -> HttpResponse {
    let directory = api.ingest.directory();
    let service = silence.service_id.and_then(|id| directory.service(id));
    let service = service.map(|service| service.name.as_str());
    response.insert_header(etag::tag(silence.version)).json(SilenceView::of(
        silence,
        service,
        api.ingest.now(),
    ))
}

fn written(answer: ConfigAnswer) -> Result<Arc<Silence>, ApiError> {
    answer.silence().ok_or(ApiError::NotFound("silence"))
}
