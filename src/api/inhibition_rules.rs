//! Inhibition rules of all services in one list: `/api/v1/inhibition-rules`.
//!
//! A view: the rules are a part of their services. Whoever writes one replaces its service, so its
//! version is the service's, and so is the audit row.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, http::header, web};
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
    openapi::{policy::InhibitionRuleInput, schemas::Matchers},
    services,
    table::Call,
};
use crate::{
    domain::{
        configuration::Refused,
        id::{RuleId, ServiceId},
        inhibition::InhibitionRule,
        routing::Directory,
        service::{Service, ServicePolicy},
        time::Timestamp,
    },
    ingest::{ConfigRequest, ConfigureError, RequestedBy},
};

/// Shown by answers, set by nobody.
const READ_ONLY: [&str; 2] = ["id", "service_id"];

/// How often a change is tried anew that another change of the service came between.
const TRIES: usize = 5;

const MEMBER: &str = "inhibition";

pub(super) const CALLS: &[Call] = &[
    Call::get("/api/v1/inhibition-rules", || web::to(list)),
    Call::post("/api/v1/inhibition-rules", || web::to(create)),
    Call::get("/api/v1/inhibition-rules/{id}", || web::to(show)),
    Call::put("/api/v1/inhibition-rules/{id}", || web::to(replace)),
    Call::delete("/api/v1/inhibition-rules/{id}", || web::to(delete)),
];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(list, create, show, replace, delete))]
pub(super) struct Documented;

/// While a source is open, nobody is told of the targets that have the same values.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InhibitionRule)]
pub(super) struct RuleView {
    #[schema(value_type = String, format = Uuid)]
    id: RuleId,
    /// The service's name.
    #[schema(example = "payments")]
    service: String,
    #[schema(value_type = String, format = Uuid)]
    service_id: ServiceId,
    #[schema(value_type = Vec<Matchers>)]
    source: Value,
    #[schema(value_type = Vec<Matchers>)]
    target: Value,
    /// Fields that have to have equal values.
    #[schema(value_type = Vec<String>)]
    equal: Value,
    /// How long targets stay quiet after the last source.
    #[schema(value_type = String, example = "1m")]
    release_delay: Value,
    /// A value that is missing on both sides is equal.
    #[schema(value_type = bool)]
    allow_empty: Value,
    /// An acknowledged source still inhibits.
    #[schema(value_type = bool)]
    acknowledged_sources: Value,
}

impl RuleView {
    fn of(service: &Service, at: usize) -> Self {
        let rule = &service.policy.inhibition[at];
        let shown = rule.to_json();
        let member = |name: &str| shown[name].clone();
        Self {
            id: rule.id,
            service: service.name.clone(),
            service_id: service.id,
            source: member("source"),
            target: member("target"),
            equal: member("equal"),
            release_delay: member("release_delay"),
            allow_empty: member("allow_empty"),
            acknowledged_sources: member("acknowledged_sources"),
        }
    }
}

/// The service that has the rule, and its place there.
fn found(directory: &Directory, id: RuleId) -> Result<(Arc<Service>, usize), ApiError> {
    directory
        .services()
        .find_map(|service| {
            let at = service.policy.inhibition.iter().position(|rule| rule.id == id)?;
            Some((Arc::clone(service), at))
        })
        .ok_or(ApiError::NotFound("inhibition rule"))
}

fn parse(id: &str) -> Result<RuleId, ApiError> {
    RuleId::parse(id).ok_or(ApiError::NotFound("inhibition rule"))
}

/// List inhibition rules
#[utoipa::path(
    get, path = "/api/v1/inhibition-rules", tag = "inhibition_rules",
    operation_id = "list_inhibition_rules",
    params(
        ("service" = Option<Vec<String>>, Query, description = "Of these services, by id or name; repeatable"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500, description = "Items on a page; 50 unless given"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("count" = Option<bool>, Query, description = "Adds `total`"),
    ),
    responses((status = 200, description = "Newest first", body = Listing<RuleView>)),
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
    let all = directory
        .services()
        .filter(|service| wanted.is_empty() || wanted.contains(&Some(service.id)))
        .flat_map(|service| (0..service.policy.inhibition.len()).map(move |at| (service, at)))
        .collect();
    Ok(query.answer(
        all,
        |(service, at)| service.policy.inhibition[*at].id.uuid(),
        |(service, at)| RuleView::of(service, *at),
    ))
}

/// Make an inhibition rule
///
/// As the last one of its service. Needs the role admin.
#[utoipa::path(
    post, path = "/api/v1/inhibition-rules", tag = "inhibition_rules",
    operation_id = "create_inhibition_rule",
    request_body = InhibitionRuleInput,
    responses((status = 201, description = "Made", body = RuleView, headers(
        ("Location" = String, description = "Path of the rule"),
        ("ETag" = String, description = "The version of its service, for `If-Match`"),
    ))),
)]
async fn create(
    caller: Admin,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let object = body::read_json(payload, API_BODY_BYTES, api.limits.body_timeout).await?;
    let by = caller.0.requested_by();
    let service = change(&api, by, None, async |directory| {
        let (service_id, rule) = Input::read(object.clone(), &[], directory)?.parts();
        let service = directory.service(service_id).ok_or(ApiError::NotFound("service"))?;
        Ok((Arc::clone(service), Edit::Add(rule)))
    })
    .await?;
    let at = service.policy.inhibition.len().saturating_sub(1);
    let view = RuleView::of(&service, at);
    let location = format!("{}/api/v1/inhibition-rules/{}", api.path_prefix(), view.id);
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, location))
        .insert_header(etag::tag(service.version))
        .json(view))
}

/// Show an inhibition rule
#[utoipa::path(
    get, path = "/api/v1/inhibition-rules/{id}", tag = "inhibition_rules",
    operation_id = "get_inhibition_rule",
    params(("id" = String, Path, description = "Id of the rule")),
    responses((status = 200, description = "The rule", body = RuleView, headers(
        ("ETag" = String, description = "The version of its service, for `If-Match`"),
    ))),
)]
async fn show(
    _: Viewer,
    path: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let (service, at) = found(&api.ingest.directory(), parse(&path)?)?;
    Ok(answer(HttpResponse::Ok(), &service, at))
}

/// Replace an inhibition rule
///
/// Replaces it whole: a missing member means its default. It stays with its service. Needs the role
/// admin.
#[utoipa::path(
    put, path = "/api/v1/inhibition-rules/{id}", tag = "inhibition_rules",
    operation_id = "replace_inhibition_rule",
    params(
        ("id" = String, Path, description = "Id of the rule"),
        ("If-Match" = Option<String>, Header, description = "Only if this is still the version of its service"),
    ),
    request_body = InhibitionRuleInput,
    responses(
        (status = 200, description = "As it is now", body = RuleView, headers(
            ("ETag" = String, description = "The new version of its service"),
        )),
        (status = 412, description = "Its service was changed meanwhile"),
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
    let id = parse(&path)?;
    let by = caller.0.requested_by();
    let service = change(&api, by, Some(&request), async |directory| {
        let (service, at) = found(directory, id)?;
        let (service_id, rule) = Input::read(object.clone(), &READ_ONLY, directory)?.parts();
        if service_id != service.id {
            let what = "is another service; a rule stays with its own";
            return Err(ApiError::field("service", what));
        }
        Ok((service, Edit::Replace(at, rule)))
    })
    .await?;
    let at = service.policy.inhibition.iter().position(|rule| rule.id == id);
    Ok(answer(HttpResponse::Ok(), &service, at.ok_or(ApiError::NotFound("inhibition rule"))?))
}

/// Delete an inhibition rule
///
/// Needs the role admin.
#[utoipa::path(
    delete, path = "/api/v1/inhibition-rules/{id}", tag = "inhibition_rules",
    operation_id = "delete_inhibition_rule",
    params(
        ("id" = String, Path, description = "Id of the rule"),
        ("If-Match" = Option<String>, Header, description = "Only if this is still the version of its service"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = 412, description = "Its service was changed meanwhile"),
    ),
)]
async fn delete(
    caller: Admin,
    path: web::Path<String>,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let id = parse(&path)?;
    change(&api, caller.0.requested_by(), Some(&request), async |directory| {
        let (service, at) = found(directory, id)?;
        Ok((service, Edit::Remove(at)))
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

fn answer(mut response: HttpResponseBuilder, service: &Service, at: usize) -> HttpResponse {
    response.insert_header(etag::tag(service.version)).json(RuleView::of(service, at))
}

/// What happens to the list of a service.
enum Edit {
    Add(Value),
    Replace(usize, Value),
    Remove(usize),
}

impl Edit {
    /// The policy with the edited list, read as a whole: rules may contradict each other.
    fn apply(self, mut policy: ServicePolicy) -> Result<ServicePolicy, ApiError> {
        let mut rules: Vec<Value> = policy.inhibition.iter().map(InhibitionRule::to_json).collect();
        let at = match self {
            Self::Add(rule) => {
                rules.push(rule);
                rules.len() - 1
            }
            Self::Replace(at, rule) => {
                rules[at] = rule;
                at
            }
            Self::Remove(at) => {
                rules.remove(at);
                usize::MAX
            }
        };
        let mut errors = Vec::new();
        // Rules get their ids where the change is committed, from those of the service before.
        let mut no_id_yet = || RuleId::new(Timestamp::default(), 0, 0);
        policy.inhibition.clear();
        policy.read_member(MEMBER, &Value::Array(rules), &mut no_id_yet, &mut errors);
        if errors.is_empty() {
            return Ok(policy);
        }
        // The rule stands alone in the request: `inhibition[3].source` is `source` there.
        let own = format!("{MEMBER}[{at}].");
        let place = |(path, what): (String, String)| {
            (path.strip_prefix(&own).map(str::to_owned).unwrap_or(path), what)
        };
        Err(ApiError::Invalid(errors.into_iter().map(place).collect()))
    }
}

/// Replaces a service whose list of rules is edited; anew if it was changed meanwhile, unless the
/// caller asked for a certain version.
async fn change(
    api: &Api,
    by: RequestedBy,
    request: Option<&HttpRequest>,
    edit: impl AsyncFn(&Directory) -> Result<(Arc<Service>, Edit), ApiError>,
) -> Result<Arc<Service>, ApiError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let (service, edit) = edit(&api.ingest.directory()).await?;
        let asked = match request {
            Some(request) => etag::expected_version(request, service.version)?,
            None => None,
        };
        let policy = edit.apply(service.policy.clone())?;
        let request = ConfigRequest::UpdateService {
            id: service.id,
            version: Some(service.version),
            name: service.name.clone(),
            description: service.description.clone(),
            policy,
        };
        match api.ingest.configure(request, by.clone()).await {
            Err(ConfigureError::Refused(Refused::Stale)) if asked.is_none() && tries < TRIES => {}
            other => return other?.service().ok_or(ApiError::NotFound("service")),
        }
    }
}

/// What is written of a rule.
#[derive(Debug)]
struct Input {
    service_id: ServiceId,
    /// The members of the rule, read with the service's other ones.
    rule: Map<String, Value>,
}

impl Input {
    fn read(
        object: Map<String, Value>,
        ignored: &[&str],
        directory: &Directory,
    ) -> Result<Self, ApiError> {
        let mut members = Members::of(object);
        members.ignore(ignored);
        let service = members.required_service(directory);
        let rule = members.take_rest();
        if !members.errors.is_empty() {
            // What is wrong with the rule itself is said with it.
            let mut alone = ServicePolicy::default();
            let list = Value::Array(vec![Value::Object(rule.clone())]);
            let mut no_id = || RuleId::new(Timestamp::default(), 0, 0);
            let mut errors = Vec::new();
            alone.read_member(MEMBER, &list, &mut no_id, &mut errors);
            let own = format!("{MEMBER}[0].");
            members.errors.extend(errors.into_iter().map(|(path, what)| {
                (path.strip_prefix(&own).map(str::to_owned).unwrap_or(path), what)
            }));
        }
        members.finish()?;
        Ok(Self { service_id: service.expect(REQUIRED), rule })
    }

    fn parts(self) -> (ServiceId, Value) {
        (self.service_id, Value::Object(self.rule))
    }
}
