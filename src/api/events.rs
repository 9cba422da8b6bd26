//! Events: what was accepted, what each stage decided about it, and its body as received.

use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::{IntoParams, OpenApi};

use super::{
    Api,
    alerts::{FilterParameters, PageParameters},
    auth::Viewer,
    error::ApiError,
    params::{FILTERS, Params},
    render::{self, List},
    table::Call,
};
use crate::{
    domain::{
        event::{Action, Api as Via, Disposition},
        id::{AlertId, EventId},
    },
    store::query::{EventFilter, views::EventView},
};

pub(super) const CALLS: &[Call] = &[
    Call::get("/api/v1/events", || web::to(list)),
    Call::get("/api/v1/events/{id}", || web::to(read)),
];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(list, read))]
pub(super) struct Documented;

/// What only events filter by.
const OWN: [&str; 4] = ["action", "api", "disposition", "alert"];

/// What only events filter by.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventParameters {
    /// `trigger`, `acknowledge` or `resolve`.
    pub action: Option<Vec<String>>,
    /// `v1`, `v2` or `guance`.
    pub api: Option<Vec<String>>,
    /// `opened`, `merged`, `acknowledged`, `resolved`, `ignored`, `dropped` or `duplicate`.
    pub disposition: Option<Vec<String>>,
    /// Id of the alert.
    pub alert: Option<Vec<String>>,
}

/// Events, newest first.
///
/// Severity and texts are those of what the event itself said; an acknowledge or resolve has those
/// that its alert has now. Status and incident are those of its alert now.
#[utoipa::path(get, path = "/api/v1/events", tag = "events",
    params(FilterParameters, EventParameters, PageParameters),
    responses((status = 200, description = "Events", body = List<EventView>),
        (status = 400, description = "A parameter is wrong or unknown")))]
pub async fn list(
    _: Viewer,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let allowed: [&[&str]; 2] = [&FILTERS, &OWN];
    let mut params = Params::of_list(request.path(), request.query_string(), &allowed);
    let filter = EventFilter {
        event: params.alert_filter(&*api.store).await?,
        action: params.named("action", Action::ALL, Action::parse),
        api: params.named("api", Via::ALL, Via::parse),
        disposition: params.named("disposition", Disposition::ALL, Disposition::parse),
        alerts: params.each("alert", "the id of an alert", AlertId::parse),
    };
    let asked = params.page()?;
    Ok(render::list(&asked, api.store.events(&filter, asked.page).await?))
}

/// One event.
#[utoipa::path(get, path = "/api/v1/events/{id}", tag = "events",
    params(("id" = String, Path, description = "Id of the event")),
    responses((status = 200, description = "The event", body = EventView),
        (status = 404, description = "There is no such event")))]
pub async fn read(
    _: Viewer,
    request: HttpRequest,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let id = EventId::parse(&id).ok_or(ApiError::NotFound("event"))?;
    let event = api.store.event(id).await?.ok_or(ApiError::NotFound("event"))?;
    Ok(render::resource(&request, &event))
}
