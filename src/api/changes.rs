//! Change events: what was changed on purpose.

use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::{IntoParams, OpenApi};

use super::{
    Api,
    alerts::PageParameters,
    auth::Viewer,
    error::ApiError,
    params::Params,
    render::{self, List},
    table::Call,
};
use crate::{
    domain::id::ChangeId,
    store::query::{ChangeFilter, views::ChangeView},
};

pub(super) const CALLS: &[Call] = &[
    Call::get("/api/v1/changes", || web::to(list)),
    Call::get("/api/v1/changes/{id}", || web::to(read)),
];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(list, read))]
pub(super) struct Documented;

const FILTERS: [&str; 6] = ["service", "integration", "source", "q", "since", "until"];

/// What change events filter by.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ChangeParameters {
    /// Name or id; also of one that was deleted.
    pub service: Option<Vec<String>>,
    /// Name or id; also of one that was deleted.
    pub integration: Option<Vec<String>>,
    pub source: Option<Vec<String>>,
    /// Words, each the beginning of one in summary or source.
    pub q: Option<Vec<String>>,
    /// RFC 3339, inclusive.
    pub since: Option<String>,
    /// RFC 3339, exclusive.
    pub until: Option<String>,
}

/// Change events, newest first.
#[utoipa::path(get, path = "/api/v1/changes", tag = "changes",
    params(ChangeParameters, PageParameters),
    responses((status = 200, description = "Change events", body = List<ChangeView>),
        (status = 400, description = "A parameter is wrong or unknown")))]
pub async fn list(
    _: Viewer,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let store = &api.store;
    let mut params = Params::of_list(request.path(), request.query_string(), &[&FILTERS]);
    let filter = ChangeFilter {
        services: params.owners("service", async |name| store.services_called(&name).await).await?,
        integrations: params
            .owners("integration", async |name| store.integrations_called(&name).await)
            .await?,
        source: params.all("source"),
        q: params.q(),
        since: params.time("since"),
        until: params.time("until"),
    };
    let asked = params.page()?;
    Ok(render::list(&asked, store.changes(&filter, asked.page).await?))
}

/// One change event.
#[utoipa::path(get, path = "/api/v1/changes/{id}", tag = "changes",
    params(("id" = String, Path, description = "Id of the change event")),
    responses((status = 200, description = "The change event", body = ChangeView),
        (status = 404, description = "There is no such change event")))]
pub async fn read(
    _: Viewer,
    request: HttpRequest,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let id = ChangeId::parse(&id).ok_or(ApiError::NotFound("change event"))?;
    let change = api.store.change(id).await?.ok_or(ApiError::NotFound("change event"))?;
    Ok(render::resource(&request, &change))
}
