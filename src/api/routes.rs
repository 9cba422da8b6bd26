//! Routes: `/api/v1/routes`. Which service takes an event of a shared integration.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde::Serialize;
use serde_json::Value;
use utoipa::{OpenApi, ToSchema};

use super::{
    API_BODY_BYTES, Api,
    auth::{Admin, Viewer},
    body,
    error::ApiError,
    etag,
    listing::{ListQuery, Listing},
    members::{Members, REQUIRED},
    openapi::policy::RouteInput,
    table::Call,
};
use crate::{
    domain::{
        id::{RouteId, ServiceId},
        matcher::Match,
        routing::{Directory, Route},
        time::Timestamp,
    },
    ingest::{ConfigAnswer, ConfigRequest},
};

/// Shown by answers, set by nobody.
const READ_ONLY: [&str; 4] = ["id", "service_id", "created_at", "managed_by"];

pub(super) const CALLS: &[Call] = &[
    Call::get("/api/v1/routes", || web::to(list)),
    Call::post("/api/v1/routes", || web::to(create)),
    Call::get("/api/v1/routes/{id}", || web::to(show)),
    Call::put("/api/v1/routes/{id}", || web::to(replace)),
    Call::delete("/api/v1/routes/{id}", || web::to(delete)),
];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(list, create, show, replace, delete))]
pub(super) struct Documented;

/// Which service takes an event of a shared integration: the first route that matches decides.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Route)]
pub(super) struct RouteView {
    #[schema(value_type = String, format = Uuid)]
    id: RouteId,
    /// Its place among the routes, from 0.
    position: usize,
    /// Matchers of the event as it came: a list is AND, a list of lists is OR; empty: every event.
    #[schema(value_type = Vec<super::openapi::schemas::Matchers>)]
    r#match: Value,
    /// The service's name.
    #[schema(example = "payments")]
    service: String,
    #[schema(value_type = String, format = Uuid)]
    service_id: ServiceId,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// `policy` if a policy file made it, else null.
    #[schema(value_type = Option<String>, required)]
    managed_by: Option<&'static str>,
}

impl RouteView {
    fn of(route: &Route, position: usize, directory: &Directory) -> Self {
        let service = directory.service(route.service_id);
        Self {
            id: route.id,
            position,
            r#match: route.matches.to_json(),
            service: service.map(|service| service.name.clone()).unwrap_or_default(),
            service_id: route.service_id,
            created_at: route.created_at,
            managed_by: route.managed.then_some("policy"),
        }
    }
}

/// A route with its position.
fn found(directory: &Directory, id: &str) -> Result<(usize, Route), ApiError> {
    let id = RouteId::parse(id).ok_or(ApiError::NotFound("route"))?;
    let mut routes = directory.routes().iter().enumerate();
    let (position, route) =
        routes.find(|(_, route)| route.id == id).ok_or(ApiError::NotFound("route"))?;
    Ok((position, route.clone()))
}

/// List routes
///
/// In their order: the first that matches decides.
#[utoipa::path(
    get, path = "/api/v1/routes", tag = "routes", operation_id = "list_routes",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500, description = "Items on a page; 50 unless given"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("count" = Option<bool>, Query, description = "Adds `total`"),
    ),
    responses((status = 200, description = "In their order", body = Listing<RouteView>)),
)]
async fn list(
    _: Viewer,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let query = ListQuery::read(&request, &[])?;
    let directory = api.ingest.directory();
    let all = directory.routes().iter().enumerate().collect();
    query.answer_in_order(
        all,
        |(_, route)| route.id.uuid(),
        |(position, route)| RouteView::of(route, *position, &directory),
    )
}

/// Make a route
///
/// At the end, unless a position is given. Needs the role admin.
#[utoipa::path(
    post, path = "/api/v1/routes", tag = "routes", operation_id = "create_route",
    request_body = RouteInput,
    responses((status = 201, description = "Made", body = RouteView, headers(
        ("Location" = String, description = "Path of the route"),
        ("ETag" = String, description = "Its version, for `If-Match`"),
    ))),
)]
async fn create(
    caller: Admin,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let object = body::read_json(payload, API_BODY_BYTES, api.limits.body_timeout).await?;
    let Input { matches, service_id, position } =
        Input::read(Members::of(object), &api.ingest.directory())?;
    let request = ConfigRequest::CreateRoute { matches, service_id, position };
    let (route, position) = written(api.ingest.configure(request, caller.0.requested_by()).await?)?;
    let location = format!("{}/api/v1/routes/{}", api.path_prefix(), route.id);
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, location));
    Ok(answer(response, &api, &route, position))
}

/// Show a route
#[utoipa::path(
    get, path = "/api/v1/routes/{id}", tag = "routes", operation_id = "get_route",
    params(("id" = String, Path, description = "Id of the route")),
    responses((status = 200, description = "The route", body = RouteView, headers(
        ("ETag" = String, description = "Its version, for `If-Match`"),
    ))),
)]
async fn show(
    _: Viewer,
    path: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let (position, route) = found(&api.ingest.directory(), &path)?;
    Ok(answer(HttpResponse::Ok(), &api, &route, position))
}

/// Replace a route
///
/// It stays where it is unless a position is given. Needs the role admin.
#[utoipa::path(
    put, path = "/api/v1/routes/{id}", tag = "routes", operation_id = "replace_route",
    params(
        ("id" = String, Path, description = "Id of the route"),
        ("If-Match" = Option<String>, Header, description = "Only if this is still the version"),
    ),
    request_body = RouteInput,
    responses(
        (status = 200, description = "As it is now", body = RouteView, headers(
            ("ETag" = String, description = "Its new version"),
        )),
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
    let directory = api.ingest.directory();
    let (_, route) = found(&directory, &path)?;
    let version = etag::expected_version(&request, route.version)?;
    let mut members = Members::of(object);
    members.ignore(&READ_ONLY);
    let Input { matches, service_id, position } = Input::read(members, &directory)?;
    let id = route.id;
    let request = ConfigRequest::UpdateRoute { id, version, matches, service_id, position };
    let (route, position) = written(api.ingest.configure(request, caller.0.requested_by()).await?)?;
    Ok(answer(HttpResponse::Ok(), &api, &route, position))
}

/// Delete a route
///
/// Needs the role admin.
#[utoipa::path(
    delete, path = "/api/v1/routes/{id}", tag = "routes", operation_id = "delete_route",
    params(
        ("id" = String, Path, description = "Id of the route"),
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
    let (_, route) = found(&api.ingest.directory(), &path)?;
    let version = etag::expected_version(&request, route.version)?;
    let request = ConfigRequest::DeleteRoute { id: route.id, version };
    api.ingest.configure(request, caller.0.requested_by()).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn answer(
    mut response: actix_web::HttpResponseBuilder,
    api: &Api,
    route: &Route,
    position: usize,
) -> HttpResponse {
    let view = RouteView::of(route, position, &api.ingest.directory());
    response.insert_header(etag::tag(route.version)).json(view)
}

fn written(answer: ConfigAnswer) -> Result<(Arc<Route>, usize), ApiError> {
    answer.route().ok_or(ApiError::NotFound("route"))
}

/// What is written of a route.
#[derive(Debug)]
struct Input {
    matches: Match,
    service_id: ServiceId,
    position: Option<usize>,
}

impl Input {
    fn read(mut members: Members, directory: &Directory) -> Result<Self, ApiError> {
        let matches = members.matches("match");
        let service = members.required_service(directory);
        let position = members.take("position").and_then(|value| {
            let position = value.as_u64().and_then(|number| usize::try_from(number).ok());
            if position.is_none() {
                members.wrong("position", "must be a number, counted from 0");
            }
            position
        });
        members.finish()?;
        let matches = matches.unwrap_or_default();
        Ok(Self { matches, service_id: service.expect(REQUIRED), position })
    }
}
