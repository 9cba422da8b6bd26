//! Alerts: lists, one, its events and timeline, and what people do to it.

use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::{IntoParams, OpenApi};

use super::{
    Api,
    auth::{Responder, Viewer},
    error::ApiError,
    params::{FILTERS, Params},
    render::{self, List},
    table::Call,
};
use crate::{
    domain::{
        changes::{Target, Verb},
        id::{AlertId, SilenceId},
    },
    store::query::{
        EventFilter,
        views::{AlertView, EventView, SuppressionKind, TimelineView},
    },
};

pub(super) const CALLS: &[Call] = &[
    Call::get("/api/v1/alerts", || web::to(list)),
    Call::get("/api/v1/alerts/{id}", || web::to(read)),
    Call::get("/api/v1/alerts/{id}/events", || web::to(events)),
    Call::get("/api/v1/alerts/{id}/timeline", || web::to(timeline)),
    Call::post("/api/v1/alerts/{id}/acknowledge", || web::to(acknowledge)),
    Call::post("/api/v1/alerts/{id}/resolve", || web::to(resolve)),
];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(list, read, events, timeline, acknowledge, resolve))]
pub(super) struct Documented;

/// What every list takes.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageParameters {
    /// Items on the page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before; filters have to be the same.
    pub cursor: Option<String>,
    /// `true`: the answer has the exact `total`.
    pub count: Option<bool>,
}

/// What lists of alerts, incidents and events filter by. Values of one name are alternatives, and
/// all names have to fit; only `match` has to hold for each of its values.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FilterParameters {
    /// `triggered`, `acknowledged` or `resolved`.
    pub status: Option<Vec<String>>,
    /// `info`, `warning`, `error` or `critical`.
    pub severity: Option<Vec<String>>,
    /// Name or id; also of one that was deleted.
    pub service: Option<Vec<String>>,
    /// Name or id; also of one that was deleted.
    pub integration: Option<Vec<String>>,
    pub dedup_key: Option<Vec<String>>,
    pub source: Option<Vec<String>>,
    pub component: Option<Vec<String>>,
    pub group: Option<Vec<String>>,
    pub class: Option<Vec<String>>,
    /// `true`: silenced or inhibited now. Of incidents: one of its alerts is; of events: its alert
    /// is.
    pub suppressed: Option<Vec<bool>>,
    /// Id or number.
    pub incident: Option<Vec<String>>,
    /// A matcher such as `class=~"disk|cpu"`.
    #[param(rename = "match")]
    pub matchers: Option<Vec<String>>,
    /// Words, each the beginning of one in summary, source, component, group, class or dedup key.
    pub q: Option<Vec<String>>,
    /// RFC 3339, inclusive.
    pub since: Option<String>,
    /// RFC 3339, exclusive.
    pub until: Option<String>,
    /// Number of the incident.
    pub number: Option<Vec<i64>>,
}

/// Alerts, newest first. Without filters also those that are resolved.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts",
    params(FilterParameters, PageParameters),
    responses((status = 200, description = "Alerts", body = List<AlertView>),
        (status = 400, description = "A parameter is wrong or unknown")))]
pub async fn list(
    _: Viewer,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let mut params = Params::of_list(request.path(), request.query_string(), &[&FILTERS]);
    let filter = params.alert_filter(&*api.store).await?;
    let asked = params.page()?;
    let mut alerts = api.store.alerts(&filter, asked.page).await?;
    explain_silences(&api, &mut alerts.items);
    Ok(render::list(&asked, alerts))
}

/// Adds why silences were made: they are in the directory.
pub(super) fn explain_silences(api: &Api, alerts: &mut [AlertView]) {
    let directory = api.ingest.directory();
    for by in alerts.iter_mut().flat_map(|alert| &mut alert.suppressed_by) {
        let silence = match by.kind {
            SuppressionKind::Silence => by.id.map(SilenceId::from_uuid),
            SuppressionKind::Inhibition => None,
        };
        if let Some(silence) = silence.and_then(|id| directory.silences().get(id)) {
            by.reason.clone_from(&silence.comment);
        }
    }
}

/// One alert.
#[utoipa::path(get, path = "/api/v1/alerts/{id}", tag = "alerts",
    params(("id" = String, Path, description = "Id of the alert")),
    responses((status = 200, description = "The alert", body = AlertView),
        (status = 404, description = "There is no such alert")))]
pub async fn read(
    _: Viewer,
    request: HttpRequest,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    show(&request, &api, parse(&id)?).await
}

/// The events of an alert, newest first.
#[utoipa::path(get, path = "/api/v1/alerts/{id}/events", tag = "alerts",
    params(("id" = String, Path, description = "Id of the alert"), PageParameters),
    responses((status = 200, description = "Events", body = List<EventView>),
        (status = 404, description = "There is no such alert")))]
pub async fn events(
    _: Viewer,
    request: HttpRequest,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let id = existing(&api, &id).await?;
    let asked = Params::of_list(request.path(), request.query_string(), &[]).page()?;
    let filter = EventFilter { alerts: vec![id], ..EventFilter::default() };
    Ok(render::list(&asked, api.store.events(&filter, asked.page).await?))
}

/// What happened to an alert, newest first.
#[utoipa::path(get, path = "/api/v1/alerts/{id}/timeline", tag = "alerts",
    params(("id" = String, Path, description = "Id of the alert"), PageParameters),
    responses((status = 200, description = "Entries", body = List<TimelineView>),
        (status = 404, description = "There is no such alert")))]
pub async fn timeline(
    _: Viewer,
    request: HttpRequest,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let id = existing(&api, &id).await?;
    let asked = Params::of_list(request.path(), request.query_string(), &[]).page()?;
    Ok(render::list(&asked, api.store.alert_timeline(id, asked.page).await?))
}

/// Acknowledges an alert. Acknowledged already: the same answer.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/acknowledge", tag = "alerts",
    params(("id" = String, Path, description = "Id of the alert")),
    responses((status = 200, description = "The alert as it is now", body = AlertView),
        (status = 404, description = "There is no such alert"),
        (status = 409, description = "The alert is resolved")))]
pub async fn acknowledge(
    caller: Responder,
    request: HttpRequest,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    act(&caller, &request, &api, parse(&id)?, Verb::Acknowledge).await
}

/// Resolves an alert. Resolved already: the same answer.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/resolve", tag = "alerts",
    params(("id" = String, Path, description = "Id of the alert")),
    responses((status = 200, description = "The alert as it is now", body = AlertView),
        (status = 404, description = "There is no such alert")))]
pub async fn resolve(
    caller: Responder,
    request: HttpRequest,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    act(&caller, &request, &api, parse(&id)?, Verb::Resolve).await
}

fn parse(id: &str) -> Result<AlertId, ApiError> {
    AlertId::parse(id).ok_or(ApiError::NotFound("alert"))
}

async fn existing(api: &Api, id: &str) -> Result<AlertId, ApiError> {
    let found = api.store.alert(parse(id)?).await?;
    found.map(|alert| alert.id).ok_or(ApiError::NotFound("alert"))
}

async fn show(request: &HttpRequest, api: &Api, id: AlertId) -> Result<HttpResponse, ApiError> {
    let mut alert = api.store.alert(id).await?.ok_or(ApiError::NotFound("alert"))?;
    explain_silences(api, std::slice::from_mut(&mut alert));
    Ok(render::resource(request, &alert))
}

async fn act(
    caller: &Responder,
    request: &HttpRequest,
    api: &Api,
    id: AlertId,
    verb: Verb,
) -> Result<HttpResponse, ApiError> {
    let outcome = api.ingest.act(Target::Alert(id), verb, caller.0.actor()).await?;
    render::done(outcome, "alert")?;
    show(request, api, id).await
}
