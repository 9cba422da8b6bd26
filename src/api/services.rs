//! Services: `/api/v1/services`.

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
    openapi::{
        policy::{
            AutoPauseRule, DropRule, EnrichStep, FlappingRule, InhibitionMember, NotifyMember,
        },
        schemas::{AutoResolveRule, GroupingRule, ServiceInput},
    },
    table::Call,
};
use crate::{
    domain::{
        id::{RuleId, ServiceId},
        routing::Directory,
        service::{Service, ServicePolicy},
        time::Timestamp,
    },
    ingest::{ConfigAnswer, ConfigRequest, unknown_receivers},
};

/// Shown by answers, set by nobody.
const READ_ONLY: [&str; 3] = ["id", "created_at", "managed_by"];

pub(super) const CALLS: &[Call] = &[
    Call::get("/api/v1/services", || web::to(list)),
    Call::post("/api/v1/services", || web::to(create)),
    Call::get("/api/v1/services/{id}", || web::to(show)),
    Call::put("/api/v1/services/{id}", || web::to(replace)),
    Call::delete("/api/v1/services/{id}", || web::to(delete)),
];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(list, create, show, replace, delete))]
pub(super) struct Documented;

/// A service: the unit inside which alerts are deduplicated and grouped.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Service)]
pub(super) struct ServiceView {
    #[schema(value_type = String, format = Uuid)]
    id: ServiceId,
    #[schema(example = "payments")]
    name: String,
    description: String,
    /// Steps that add what events lack, in order, before anything else looks at them.
    #[schema(value_type = Vec<EnrichStep>)]
    enrich: Value,
    /// Triggers that match any of these open nothing.
    #[schema(value_type = Vec<DropRule>)]
    drop: Value,
    /// The first rule that matches an alert decides which incident it joins; none: an incident of
    /// its own.
    #[schema(value_type = Vec<GroupingRule>)]
    grouping: Value,
    /// Numbers of alerts in one incident that are worth a notification of their own.
    #[schema(value_type = Vec<u32>)]
    storm: Value,
    #[schema(value_type = FlappingRule)]
    flapping: Value,
    #[schema(value_type = Vec<InhibitionMember>)]
    inhibition: Value,
    /// Null: notifications of a new alert do not wait.
    #[schema(value_type = Option<AutoPauseRule>, required)]
    auto_pause: Value,
    #[schema(value_type = Option<AutoResolveRule>, required)]
    auto_resolve: Value,
    /// After this an acknowledged alert or incident is triggered again; null: never.
    #[schema(value_type = Option<String>, required, example = "30m")]
    acknowledgement_timeout: Value,
    /// Who is told of its incidents. None: nobody is.
    #[schema(value_type = Vec<NotifyMember>)]
    notify: Value,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// `policy` if a policy file made it, else null.
    #[schema(value_type = Option<String>, required)]
    managed_by: Option<&'static str>,
}

impl ServiceView {
    fn of(service: &Service) -> Self {
        let mut policy = service.policy.to_json();
        let mut member = |name: &str| policy.remove(name).unwrap_or(Value::Null);
        Self {
            id: service.id,
            name: service.name.clone(),
            description: service.description.clone(),
            enrich: member("enrich"),
            drop: member("drop"),
            grouping: member("grouping"),
            storm: member("storm"),
            flapping: member("flapping"),
            inhibition: member("inhibition"),
            auto_pause: member("auto_pause"),
            auto_resolve: member("auto_resolve"),
            acknowledgement_timeout: member("acknowledgement_timeout"),
            notify: member("notify"),
            created_at: service.created_at,
            managed_by: service.managed.then_some("policy"),
        }
    }
}

/// The service that an id or a name stands for.
pub(super) fn find<'d>(directory: &'d Directory, id_or_name: &str) -> Option<&'d Arc<Service>> {
    match ServiceId::parse(id_or_name) {
        Some(id) => directory.service(id),
        None => directory.service_named(id_or_name),
    }
}

fn found(api: &Api, id_or_name: &str) -> Result<Arc<Service>, ApiError> {
    find(&api.ingest.directory(), id_or_name).cloned().ok_or(ApiError::NotFound("service"))
}

/// List services
#[utoipa::path(
    get, path = "/api/v1/services", tag = "services", operation_id = "list_services",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500, description = "Items on a page; 50 unless given"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("count" = Option<bool>, Query, description = "Adds `total`"),
    ),
    responses((status = 200, description = "Newest first", body = Listing<ServiceView>)),
)]
async fn list(
    _: Viewer,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let query = ListQuery::read(&request, &[])?;
    let directory = api.ingest.directory();
    let all = directory.services().collect();
    Ok(query.answer(all, |service| service.id.uuid(), |service| ServiceView::of(service)))
}

/// Make a service
///
/// Needs the role admin.
#[utoipa::path(
    post, path = "/api/v1/services", tag = "services", operation_id = "create_service",
    request_body = ServiceInput,
    responses(
        (status = 201, description = "Made", body = ServiceView, headers(
            ("Location" = String, description = "Path of the service"),
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
    let Input { name, description, policy } = Input::read(object, &[], &api.ingest.directory())?;
    let request = ConfigRequest::CreateService { name, description, policy };
    let service = written(api.ingest.configure(request, caller.0.requested_by()).await?)?;
    let location = format!("{}/api/v1/services/{}", api.path_prefix(), service.id);
    Ok(HttpResponse::Created()
        .insert_header(etag::tag(service.version))
        .insert_header((header::LOCATION, location))
        .json(ServiceView::of(&service)))
}

/// Show a service
#[utoipa::path(
    get, path = "/api/v1/services/{id}", tag = "services", operation_id = "get_service",
    params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "The service", body = ServiceView, headers(
        ("ETag" = String, description = "Its version, for `If-Match`"),
    ))),
)]
async fn show(
    _: Viewer,
    path: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let service = found(&api, &path)?;
    Ok(answer(&service))
}

/// Replace a service
///
/// Replaces it whole: a missing member means its default. Incidents that are open stay whole:
/// grouping rules keep their identity. New timers hold for what is open already. Needs the role
/// admin.
#[utoipa::path(
    put, path = "/api/v1/services/{id}", tag = "services", operation_id = "replace_service",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("If-Match" = Option<String>, Header, description = "Only if this is still the version"),
    ),
    request_body = ServiceInput,
    responses(
        (status = 200, description = "As it is now", body = ServiceView, headers(
            ("ETag" = String, description = "Its new version"),
        )),
        (status = 409, description = "The name is taken, or `default` would be renamed"),
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
    let service = found(&api, &path)?;
    let version = etag::expected_version(&request, service.version)?;
    let Input { name, description, policy } =
        Input::read(object, &READ_ONLY, &api.ingest.directory())?;
    let id = service.id;
    let request = ConfigRequest::UpdateService { id, version, name, description, policy };
    let service = written(api.ingest.configure(request, caller.0.requested_by()).await?)?;
    Ok(answer(&service))
}

/// Delete a service
///
/// What is open in it is resolved, its silences end; alerts and incidents stay to be read. Needs the role admin.
#[utoipa::path(
    delete, path = "/api/v1/services/{id}", tag = "services", operation_id = "delete_service",
    params(
        ("id" = String, Path, description = "Id or name"),
        ("If-Match" = Option<String>, Header, description = "Only if this is still the version"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, description = "It has integrations or routes, or it is `default`"),
        (status = 412, description = "It was changed meanwhile"),
    ),
)]
async fn delete(
    caller: Admin,
    path: web::Path<String>,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let service = found(&api, &path)?;
    let version = etag::expected_version(&request, service.version)?;
    let request = ConfigRequest::DeleteService { id: service.id, version };
    api.ingest.configure(request, caller.0.requested_by()).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn answer(service: &Service) -> HttpResponse {
    HttpResponse::Ok().insert_header(etag::tag(service.version)).json(ServiceView::of(service))
}

fn written(answer: ConfigAnswer) -> Result<Arc<Service>, ApiError> {
    answer.service().ok_or(ApiError::NotFound("service"))
}

/// What is written of a service.
#[derive(Debug)]
struct Input {
    name: String,
    description: String,
    policy: ServicePolicy,
}

impl Input {
    fn read(
        object: Map<String, Value>,
        ignored: &[&str],
        directory: &Directory,
    ) -> Result<Self, ApiError> {
        let mut members = Members::of(object);
        members.ignore(ignored);
        let name = members.name();
        let description = members.description();
        let mut policy = ServicePolicy::default();
        // Rules get their ids where the change is committed, from those of the service before.
        let mut no_id_yet = || RuleId::new(Timestamp::default(), 0, 0);
        for member in ServicePolicy::MEMBERS {
            if let Some(value) = members.take(member) {
                policy.read_member(member, &value, &mut no_id_yet, &mut members.errors);
            }
        }
        members.errors.extend(unknown_receivers(&policy, directory));
        members.finish()?;
        Ok(Self { name: name.expect(REQUIRED), description, policy })
    }
}
