//! Incidents: lists, one, what belongs to it, and what people do to it.
//!
//! An incident is addressed by its id or by its number, which is what people read to each other.

pub mod actions;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;
use utoipa::{OpenApi, ToSchema};

use super::{
    API_BODY_BYTES, Api,
    alerts::{FilterParameters, PageParameters, explain_silences},
    auth::{Responder, Viewer},
    body,
    deliveries::{self as outgoing, DeliveryParameters},
    error::ApiError,
    params::{FILTERS, Params},
    render::{self, List},
    table::Call,
};
use crate::{
    domain::{
        changes::{Target, TimelineKind, Verb},
        id::IncidentId,
        time::{Span, Timestamp},
    },
    store::query::{
        AlertFilter, ChangeFilter, IncidentFilter, IncidentRef, Page,
        views::{AlertView, ChangeView, DeliveryView, IncidentView, SimilarIncident, TimelineView},
    },
};

/// How long before an incident a change may have caused it.
const CHANGES_BEFORE: Span = Span::from_secs(3600);

/// Longest note, in characters.
pub(super) const NOTE_MAX_CHARS: usize = 10_000;

pub(super) const CALLS: &[Call] = &[
    Call::get("/api/v1/incidents", || web::to(list)),
    Call::post("/api/v1/incidents/bulk", || web::to(actions::bulk)),
    Call::get("/api/v1/incidents/{id}", || web::to(read)),
    Call::get("/api/v1/incidents/{id}/alerts", || web::to(alerts)),
    Call::get("/api/v1/incidents/{id}/timeline", || web::to(timeline)),
    Call::get("/api/v1/incidents/{id}/deliveries", || web::to(deliveries)),
    Call::get("/api/v1/incidents/{id}/changes", || web::to(changes)),
    Call::get("/api/v1/incidents/{id}/similar", || web::to(similar)),
    Call::post("/api/v1/incidents/{id}/acknowledge", || web::to(acknowledge)),
    Call::post("/api/v1/incidents/{id}/unacknowledge", || web::to(unacknowledge)),
    Call::post("/api/v1/incidents/{id}/resolve", || web::to(resolve)),
    Call::post("/api/v1/incidents/{id}/snooze", || web::to(actions::snooze)),
    Call::post("/api/v1/incidents/{id}/assign", || web::to(actions::assign)),
    Call::post("/api/v1/incidents/{id}/merge", || web::to(actions::merge)),
    Call::post("/api/v1/incidents/{id}/notes", || web::to(note)),
];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(
    list,
    actions::bulk,
    read,
    alerts,
    timeline,
    deliveries,
    changes,
    similar,
    acknowledge,
    unacknowledge,
    resolve,
    actions::snooze,
    actions::assign,
    actions::merge,
    note
))]
pub(super) struct Documented;

/// Incidents, newest first. Without filters also those that are resolved.
///
/// Status, severity, service and times are the incident's own. The other filters hold if one of its
/// alerts fits all of them together.
#[utoipa::path(get, path = "/api/v1/incidents", tag = "incidents",
    params(FilterParameters, PageParameters),
    responses((status = 200, description = "Incidents", body = List<IncidentView>),
        (status = 400, description = "A parameter is wrong or unknown")))]
pub async fn list(
    _: Viewer,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let mut params = Params::of_list(request.path(), request.query_string(), &[&FILTERS]);
    let filter = incident_filter(params.alert_filter(&*api.store).await?);
    let asked = params.page()?;
    Ok(render::list(&asked, api.store.incidents(&filter, asked.page).await?))
}

/// Which of the filters are the incident's own.
fn incident_filter(given: AlertFilter) -> IncidentFilter {
    let AlertFilter { status, severity, services, incidents, since, until, .. } = given;
    let AlertFilter { integrations, texts, suppressed, matches, q, .. } = given;
    let alert =
        AlertFilter { integrations, texts, suppressed, matches, q, ..AlertFilter::default() };
    IncidentFilter { status, severity, services, incidents, since, until, alert }
}

/// One incident.
#[utoipa::path(get, path = "/api/v1/incidents/{id}", tag = "incidents",
    params(("id" = String, Path, description = "Id or number of the incident")),
    responses((status = 200, description = "The incident", body = IncidentView),
        (status = 404, description = "There is no such incident")))]
pub async fn read(
    _: Viewer,
    request: HttpRequest,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    Ok(render::resource(&request, &find(&api, &id).await?))
}

/// The alerts of an incident, newest first.
#[utoipa::path(get, path = "/api/v1/incidents/{id}/alerts", tag = "incidents",
    params(("id" = String, Path, description = "Id or number of the incident"), FilterParameters,
        PageParameters),
    responses((status = 200, description = "Alerts", body = List<AlertView>),
        (status = 404, description = "There is no such incident")))]
pub async fn alerts(
    _: Viewer,
    request: HttpRequest,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let incident = find(&api, &id).await?;
    let mut params = Params::of_list(request.path(), request.query_string(), &[&FILTERS]);
    let mut filter = params.alert_filter(&*api.store).await?;
    filter.incidents = vec![IncidentRef::Id(incident.id)];
    let asked = params.page()?;
    let mut alerts = api.store.alerts(&filter, asked.page).await?;
    explain_silences(&api, &mut alerts.items);
    Ok(render::list(&asked, alerts))
}

/// What happened to an incident and its alerts, newest first.
#[utoipa::path(get, path = "/api/v1/incidents/{id}/timeline", tag = "incidents",
    params(("id" = String, Path, description = "Id or number of the incident"), PageParameters),
    responses((status = 200, description = "Entries", body = List<TimelineView>),
        (status = 404, description = "There is no such incident")))]
pub async fn timeline(
    _: Viewer,
    request: HttpRequest,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let incident = find(&api, &id).await?;
    let asked = Params::of_list(request.path(), request.query_string(), &[]).page()?;
    Ok(render::list(&asked, api.store.incident_timeline(incident.id, asked.page).await?))
}

/// What receivers are owed, or were told, of an incident, newest first.
#[utoipa::path(get, path = "/api/v1/incidents/{id}/deliveries", tag = "incidents",
    params(("id" = String, Path, description = "Id or number of the incident"),
        DeliveryParameters, PageParameters),
    responses((status = 200, description = "Deliveries, without their attempts",
            body = List<DeliveryView>),
        (status = 404, description = "There is no such incident")))]
pub async fn deliveries(
    _: Viewer,
    request: HttpRequest,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let incident = find(&api, &id).await?;
    let mut params = Params::of_list(request.path(), request.query_string(), &[&outgoing::FILTERS]);
    let mut filter = outgoing::filter(&mut params, &api).await?;
    filter.incidents = vec![IncidentRef::Id(incident.id)];
    let asked = params.page()?;
    Ok(render::list(&asked, api.store.deliveries(&filter, asked.page).await?))
}

/// Change events of the incident's service in the hour before it began, newest first.
#[utoipa::path(get, path = "/api/v1/incidents/{id}/changes", tag = "incidents",
    params(("id" = String, Path, description = "Id or number of the incident"), PageParameters),
    responses((status = 200, description = "Change events", body = List<ChangeView>),
        (status = 404, description = "There is no such incident")))]
pub async fn changes(
    _: Viewer,
    request: HttpRequest,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let incident = find(&api, &id).await?;
    let asked = Params::of_list(request.path(), request.query_string(), &[]).page()?;
    let filter = ChangeFilter {
        services: vec![incident.service_id],
        since: Some(incident.created_at.minus(CHANGES_BEFORE)),
        // What came in the same millisecond is shown, and `until` is exclusive.
        until: Some(Timestamp::from_millis(incident.created_at.as_millis() + 1)),
        ..ChangeFilter::default()
    };
    Ok(render::list(&asked, api.store.changes(&filter, asked.page).await?))
}

/// Past incidents of the same service that are like this one, the most alike first.
///
/// Those that were opened in the 30 days before it, by their titles. One page has all that are
/// shown, so there are no parameters and `next_cursor` is null.
#[utoipa::path(get, path = "/api/v1/incidents/{id}/similar", tag = "incidents",
    params(("id" = String, Path, description = "Id or number of the incident")),
    responses((status = 200, description = "At most 20", body = List<SimilarIncident>),
        (status = 404, description = "There is no such incident")))]
pub async fn similar(
    _: Viewer,
    request: HttpRequest,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let incident = find(&api, &id).await?;
    Params::of_call(request.query_string(), &[]).finish()?;
    let items = api.store.similar_incidents(incident.id).await?;
    Ok(HttpResponse::Ok().json(List { items, next_cursor: None, total: None }))
}

/// Acknowledges an incident and its open alerts. Acknowledged already: the same answer.
#[utoipa::path(post, path = "/api/v1/incidents/{id}/acknowledge", tag = "incidents",
    params(("id" = String, Path, description = "Id or number of the incident")),
    responses((status = 200, description = "The incident as it is now", body = IncidentView),
        (status = 404, description = "There is no such incident"),
        (status = 409, description = "The incident is resolved")))]
pub async fn acknowledge(
    caller: Responder,
    request: HttpRequest,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    act(&caller, &request, &api, &id, Verb::Acknowledge).await
}

/// Takes an acknowledgement back. Not acknowledged: the same answer.
#[utoipa::path(post, path = "/api/v1/incidents/{id}/unacknowledge", tag = "incidents",
    params(("id" = String, Path, description = "Id or number of the incident")),
    responses((status = 200, description = "The incident as it is now", body = IncidentView),
        (status = 404, description = "There is no such incident"),
        (status = 409, description = "The incident is resolved")))]
pub async fn unacknowledge(
    caller: Responder,
    request: HttpRequest,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    act(&caller, &request, &api, &id, Verb::Unacknowledge).await
}

/// Resolves an incident and its open alerts. Resolved already: the same answer.
#[utoipa::path(post, path = "/api/v1/incidents/{id}/resolve", tag = "incidents",
    params(("id" = String, Path, description = "Id or number of the incident")),
    responses((status = 200, description = "The incident as it is now", body = IncidentView),
        (status = 404, description = "There is no such incident")))]
pub async fn resolve(
    caller: Responder,
    request: HttpRequest,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    act(&caller, &request, &api, &id, Verb::Resolve).await
}

/// A note to be added.
#[derive(Debug, ToSchema)]
pub struct NewNote {
    /// 1 to 10,000 characters.
    pub text: String,
}

/// Adds a note to an incident's timeline.
#[utoipa::path(post, path = "/api/v1/incidents/{id}/notes", tag = "incidents",
    params(("id" = String, Path, description = "Id or number of the incident")),
    request_body = NewNote,
    responses((status = 201, description = "The entry of the timeline", body = TimelineView),
        (status = 404, description = "There is no such incident")))]
pub async fn note(
    caller: Responder,
    id: web::Path<String>,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let given = body::read_json(payload, API_BODY_BYTES, api.limits.body_timeout).await?;
    refuse_unknown(&given, &["text"])?;
    let text = given.get("text").and_then(Value::as_str).unwrap_or_default().to_owned();
    if text.trim().is_empty() || text.chars().count() > NOTE_MAX_CHARS {
        let what = format!("must be a text of 1 to {NOTE_MAX_CHARS} characters");
        return Err(ApiError::field("text", what));
    }
    let incident = find(&api, &id).await?.id;
    let actor = caller.0.actor();
    let verb = Verb::Note(text.clone());
    let outcome = api.ingest.act(Target::Incident(incident), verb, actor.clone()).await?;
    render::done(outcome, "incident")?;
    // The newest one with this text: what others did meanwhile is in front of it.
    let page = Page { limit: 50, before: None, count: false };
    let entries = api.store.incident_timeline(incident, page).await?.items;
    let is_it = |entry: &TimelineView| {
        entry.kind == TimelineKind::Note.as_str() && entry.actor == actor && entry.reason == text
    };
    let entry = entries.into_iter().find(is_it).ok_or(ApiError::NotFound("note"))?;
    Ok(HttpResponse::Created().json(entry))
}

fn refuse_unknown(given: &serde_json::Map<String, Value>, known: &[&str]) -> Result<(), ApiError> {
    let unknown: Vec<(String, String)> = given
        .keys()
        .filter(|name| !known.contains(&name.as_str()))
        .map(|name| (name.clone(), format!("is unknown; must be {}", known.join(" or "))))
        .collect();
    if unknown.is_empty() { Ok(()) } else { Err(ApiError::Invalid(unknown)) }
}

async fn find(api: &Api, id: &str) -> Result<IncidentView, ApiError> {
    let incident = IncidentRef::parse(id).ok_or(ApiError::NotFound("incident"))?;
    api.store.incident(incident).await?.ok_or(ApiError::NotFound("incident"))
}

/// The id, which a number has to be looked up for.
async fn identify(api: &Api, id: &str) -> Result<IncidentId, ApiError> {
    match IncidentRef::parse(id) {
        Some(IncidentRef::Id(id)) => Ok(id),
        Some(IncidentRef::Number(_)) => Ok(find(api, id).await?.id),
        None => Err(ApiError::NotFound("incident")),
    }
}

async fn act(
    caller: &Responder,
    request: &HttpRequest,
    api: &Api,
    id: &str,
    verb: Verb,
) -> Result<HttpResponse, ApiError> {
    let id = identify(api, id).await?;
    let outcome = api.ingest.act(Target::Incident(id), verb, caller.0.actor()).await?;
    render::done(outcome, "incident")?;
    let incident = api.store.incident(IncidentRef::Id(id)).await?;
    Ok(render::resource(request, &incident.ok_or(ApiError::NotFound("incident"))?))
}
