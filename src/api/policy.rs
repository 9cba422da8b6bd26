//! The configuration as a policy file: `/api/v1/policy`.

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    web,
};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::{
    API_BODY_BYTES, Api,
    auth::{Admin, Viewer},
    body::{self, BodyError},
    error::ApiError,
    params,
    table::Call,
};
use crate::{
    domain::key::RoutingKey,
    ingest::{Applied, ConfigRequest, PolicyRequest, Unavailable},
    policy::{self, KeySource, Known, PlanStep, PolicyError, PolicyFile},
};

/// A key and a newline, with some to spare.
const KEY_FILE_BYTES: u64 = 1024;

pub(super) const CALLS: &[Call] = &[
    Call::get("/api/v1/policy", || web::to(show)),
    Call::put("/api/v1/policy", || web::to(apply)),
];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(show, apply))]
pub(super) struct Documented;

/// What a policy file comes to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PolicyPlan)]
pub(super) struct PlanView {
    /// Empty: there is nothing to do.
    plan: Vec<StepView>,
    /// The plan as people read it: lines that begin with `+`, `~` or `-` name what is made, changed
    /// or deleted, no other line begins so.
    text: String,
    /// False after a dry run.
    applied: bool,
    /// The keys of integrations that were made: not shown again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    keys: Vec<NewKeyView>,
}

/// One step of a plan.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PolicyStep)]
pub(super) struct StepView {
    /// `+` makes, `~` changes, `-` deletes.
    #[schema(value_type = String, example = "~")]
    sign: policy::Sign,
    /// `service`, `integration`, `silence`, `route` or `receiver`.
    #[schema(value_type = String, example = "service")]
    object: &'static str,
    #[schema(example = "payments")]
    name: String,
    /// What of it is made or changed.
    details: Vec<String>,
}

/// The key of an integration that was made.
#[derive(Serialize, ToSchema)]
#[schema(as = NewKey)]
pub(super) struct NewKeyView {
    integration: String,
    key: String,
}

// Holds a secret.
impl std::fmt::Debug for NewKeyView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewKeyView({}, …)", self.integration)
    }
}

impl PlanView {
    fn of(answer: Applied) -> Self {
        let Applied { plan, applied, new_keys } = answer;
        let text = plan.to_string();
        let step = |step: PlanStep| StepView {
            sign: step.sign,
            object: step.object,
            name: step.name,
            details: step.details,
        };
        let keys = new_keys.into_iter().map(|(integration, key)| NewKeyView {
            integration: integration.name.clone(),
            key: key.reveal().to_owned(),
        });
        Self {
            plan: plan.steps.into_iter().map(step).collect(),
            text,
            applied,
            keys: keys.collect(),
        }
    }
}

/// Show the policy
///
/// What a policy file manages, as the file that `dutygate apply` takes and that changes nothing.
/// Without secrets.
#[utoipa::path(
    get, path = "/api/v1/policy", tag = "policy", operation_id = "get_policy",
    responses((status = 200, description = "A policy file", body = String,
        content_type = "application/yaml")),
)]
async fn show(
    _: Viewer,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let [] = params::flags(request.query_string(), [])?;
    let text = policy::render(&api.ingest.directory());
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/yaml")).body(text))
}

/// Apply a policy file
///
/// Makes the configuration equal to the file, all of it or nothing. What the file does not name
/// stays, unless it is to be pruned. Applied again it changes nothing. Needs the role admin.
#[utoipa::path(
    put, path = "/api/v1/policy", tag = "policy", operation_id = "apply_policy",
    params(
        ("dry_run" = Option<bool>, Query, description = "Plans and changes nothing"),
        ("prune" = Option<bool>, Query, description = "Deletes what an earlier policy file made \
            and this one does not name; never the service `default`"),
    ),
    request_body(content = String, content_type = "application/yaml", description = "The policy file"),
    responses(
        (status = 200, description = "The plan, and whether it was carried out", body = PlanView),
        (status = 400, description = "Something in the file is wrong; `errors` says all of it, \
            each with its path and line"),
        (status = 409, description = "It contradicts what the file does not name"),
    ),
)]
async fn apply(
    caller: Admin,
    request: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let [dry_run, prune] = params::flags(request.query_string(), ["dry_run", "prune"])?;
    let text = read(payload, &api).await?;
    if prune && text.lines().all(is_blank) {
        let what = "is empty: pruning by it would delete all that a policy file made; write \
                    services: [] if that is meant";
        return Err(ApiError::field("body", what));
    }
    let file = parse(text, &api).await?;
    let environment = api.environment;
    // What is named may be a pipe that nobody writes to: no worker waits for it.
    let found = web::block(move || keys(&file, environment).map(|keys| (file, keys))).await;
    let (file, keys) = found.map_err(|_| Unavailable::Draining)??;
    let told = api.store.told_of_open().await?;
    let request = PolicyRequest { file, keys, told, prune, dry_run };
    let request = ConfigRequest::Apply(Box::new(request));
    let answer = api.ingest.configure(request, caller.0.requested_by()).await?;
    let applied = answer.applied().ok_or(ApiError::NotFound("policy"))?;
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, "no-store"));
    Ok(response.json(PlanView::of(applied)))
}

/// Reads a policy file. A large one takes as long as a thousand events: no worker that takes those
/// is held up by it.
pub(super) async fn parse(text: String, api: &Api) -> Result<PolicyFile, ApiError> {
    let known = Known::of(&api.ingest.directory(), api.guard);
    let parsed = web::block(move || PolicyFile::parse(&text, &known)).await;
    parsed.map_err(|_| Unavailable::Draining)?.map_err(ApiError::InvalidPolicy)
}

/// Whether a line of YAML says nothing.
fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#') || line == "---"
}

async fn read(payload: web::Payload, api: &Api) -> Result<String, ApiError> {
    let limit_bytes = API_BODY_BYTES;
    let read = body::read(payload, limit_bytes, api.limits.body_timeout).await;
    let bytes = read.map_err(|error| match error {
        BodyError::TooLarge => ApiError::TooLarge { limit_bytes },
        BodyError::TimedOut => ApiError::TimedOut,
        BodyError::Broken => ApiError::field("body", "did not arrive whole"),
    })?;
    String::from_utf8(bytes.to_vec()).map_err(|_| ApiError::field("body", "is not UTF-8"))
}

/// Looks the keys up that the file says where to find.
fn keys(
    file: &PolicyFile,
    environment: fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, RoutingKey>, ApiError> {
    let mut keys = BTreeMap::new();
    let mut errors: Vec<PolicyError> = Vec::new();
    for (path, integration, source) in file.keys() {
        match key(source, environment) {
            Ok(key) => {
                keys.insert(integration.to_owned(), key);
            }
            Err(what) => errors.push(file.error(path, what)),
        }
    }
    if errors.is_empty() { Ok(keys) } else { Err(ApiError::InvalidPolicy(errors)) }
}

fn key(source: &KeySource, environment: fn(&str) -> Option<String>) -> Result<RoutingKey, String> {
    let text = match source {
        KeySource::Env(name) => environment(name).ok_or_else(|| {
            format!("names {name}, which is not in the environment of the gateway")
        })?,
        KeySource::File(path) => {
            use std::io::Read as _;
            let mut text = String::new();
            std::fs::File::open(path)
                .and_then(|file| file.take(KEY_FILE_BYTES).read_to_string(&mut text))
                .map_err(|error| format!("names {path}, which the gateway cannot read: {error}"))?;
            text
        }
    };
    // What is there may be another secret: it is not repeated.
    RoutingKey::parse(text.trim())
        .map_err(|_| "names what is no routing key: 32 letters and digits".to_owned())
}
