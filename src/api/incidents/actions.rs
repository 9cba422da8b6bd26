//! What is done to incidents with more than a word: snooze, assign, merge; and many at once.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{act, identify};
use crate::{
    api::{API_BODY_BYTES, Api, auth::Responder, body, error::ApiError, members::Members},
    domain::{
        changes::{ActionOutcome, Target, Verb},
        time::Span,
    },
    store::query::{IncidentRef, views::IncidentView},
};

/// Most incidents that one call acts on.
const BULK_MAX: usize = 500;
/// As many of them wait for the disk together.
const BULK_TOGETHER: usize = 100;
/// Longest name of an assignee, in characters.
const USER_MAX_CHARS: usize = 100;
const SNOOZE_MIN: Span = Span::from_secs(1);
const SNOOZE_MAX: Span = Span::from_secs(30 * 86_400);

/// For how long an incident is to be quiet.
#[derive(Debug, ToSchema)]
pub struct Snooze {
    /// From `1s` to `30d`, from now on; `0s` ends it.
    #[schema(example = "4h")]
    pub r#for: String,
}

/// Snoozes an incident: nobody is notified for so long, unless it gets worse.
///
/// When that ends and it is still open, it is triggered and its receivers are reminded.
#[utoipa::path(post, path = "/api/v1/incidents/{id}/snooze", tag = "incidents",
    params(("id" = String, Path, description = "Id or number of the incident")),
    request_body = Snooze,
    responses((status = 200, description = "The incident as it is now", body = IncidentView),
        (status = 404, description = "There is no such incident"),
        (status = 409, description = "The incident is resolved")))]
pub async fn snooze(
    caller: Responder,
    request: HttpRequest,
    id: web::Path<String>,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let verb = read(&api, payload, take_snooze).await?;
    act(&caller, &request, &api, &id, verb).await
}

/// Whose an incident is to be.
#[derive(Debug, ToSchema)]
pub struct Assignment {
    /// A name of at most 100 characters; null: nobody's.
    #[schema(required, example = "ann", max_length = 100)]
    pub user: Option<String>,
}

/// Assigns an incident, also one that is resolved.
#[utoipa::path(post, path = "/api/v1/incidents/{id}/assign", tag = "incidents",
    params(("id" = String, Path, description = "Id or number of the incident")),
    request_body = Assignment,
    responses((status = 200, description = "The incident as it is now", body = IncidentView),
        (status = 404, description = "There is no such incident")))]
pub async fn assign(
    caller: Responder,
    request: HttpRequest,
    id: web::Path<String>,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let verb = read(&api, payload, take_assignee).await?;
    act(&caller, &request, &api, &id, verb).await
}

/// Where the open alerts of an incident are to go.
#[derive(Debug, ToSchema)]
pub struct Merge {
    /// Id or number of the other incident.
    #[schema(example = "42")]
    pub into: String,
}

/// Moves the open alerts of an incident into another one of its service.
///
/// The one that is emptied is resolved, and who was told of it hears so. The answer is that one.
#[utoipa::path(post, path = "/api/v1/incidents/{id}/merge", tag = "incidents",
    params(("id" = String, Path, description = "Id or number of the incident to empty")),
    request_body = Merge,
    responses((status = 200, description = "The emptied incident as it is now", body = IncidentView),
        (status = 404, description = "One of the two does not exist"),
        (status = 409, description = "One of the two is resolved, they are of different services, \
            or the same")))]
pub async fn merge(
    caller: Responder,
    request: HttpRequest,
    id: web::Path<String>,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let given = body::read_json(payload, API_BODY_BYTES, api.limits.body_timeout).await?;
    let mut given = Members::of(given);
    let into = take_into(&mut given);
    given.finish()?;
    let id = identify(&api, &id).await?.to_string();
    let verb = merge_into(&api, into).await?;
    act(&caller, &request, &api, &id, verb).await
}

async fn read(
    api: &Api,
    payload: web::Payload,
    take: fn(&mut Members) -> Verb,
) -> Result<Verb, ApiError> {
    let given = body::read_json(payload, API_BODY_BYTES, api.limits.body_timeout).await?;
    let mut given = Members::of(given);
    let verb = take(&mut given);
    given.finish()?;
    Ok(verb)
}

fn take_snooze(given: &mut Members) -> Verb {
    let span = given.take("for").and_then(|value| Span::parse(value.as_str()?).ok());
    let allowed = |span: &Span| *span == Span::ZERO || (SNOOZE_MIN..=SNOOZE_MAX).contains(span);
    let span = span.filter(allowed).unwrap_or_else(|| {
        given.wrong("for", "must be a duration from \"1s\" to \"30d\", or \"0s\" to end it");
        Span::ZERO
    });
    Verb::Snooze(span)
}

fn take_assignee(given: &mut Members) -> Verb {
    let is_there = given.has("user");
    let user = match given.take("user") {
        None if is_there => return Verb::Assign(None),
        None => None,
        Some(value) => value.as_str().map(|text| text.trim().to_owned()),
    };
    let fits = |user: &String| {
        !user.is_empty()
            && user.chars().count() <= USER_MAX_CHARS
            && !user.chars().any(char::is_control)
    };
    let user = user.filter(fits);
    if user.is_none() {
        let what = format!("must be a name of 1 to {USER_MAX_CHARS} characters, or null");
        given.wrong("user", what);
    }
    Verb::Assign(user)
}

fn take_into(given: &mut Members) -> Option<IncidentRef> {
    let into = given.take("into").and_then(|value| IncidentRef::parse(&id_or_number(&value)?));
    if into.is_none() {
        given.wrong("into", "must be the id or the number of an incident");
    }
    into
}

/// The target has to be there; all else about it is decided where the order of things is.
async fn merge_into(api: &Api, into: Option<IncidentRef>) -> Result<Verb, ApiError> {
    let missing = ApiError::NotFound("incident to merge into");
    let Some(into) = into else { return Err(missing) };
    Ok(Verb::Merge(api.store.incident(into).await?.ok_or(missing)?.id))
}

fn id_or_number(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned).or_else(|| value.as_u64().map(|n| n.to_string()))
}

/// One action on many incidents.
#[derive(Debug, ToSchema)]
pub struct BulkAction {
    /// `acknowledge`, `unacknowledge`, `resolve`, `snooze`, `assign` or `merge`.
    pub action: String,
    /// Ids or numbers, 1 to 500.
    pub ids: Vec<String>,
    /// With `snooze`.
    #[schema(example = "4h", nullable = false)]
    pub r#for: Option<String>,
    /// With `assign`; null: nobody's.
    pub user: Option<String>,
    /// With `merge`.
    #[schema(nullable = false)]
    pub into: Option<String>,
}

/// What became of each, in the order of the ids.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkResults {
    pub results: Vec<BulkResult>,
}

/// What became of one incident.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkResult {
    /// As it was given.
    pub id: String,
    /// `changed`, `unchanged`, `not_found` or `conflict`.
    pub result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'static str>,
}

/// Does the same to many incidents.
#[utoipa::path(post, path = "/api/v1/incidents/bulk", tag = "incidents",
    request_body = BulkAction,
    responses((status = 200, description = "A result for each", body = BulkResults),
        (status = 400, description = "The body is wrong")))]
pub async fn bulk(
    caller: Responder,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let given = body::read_json(payload, API_BODY_BYTES, api.limits.body_timeout).await?;
    let (verb, ids) = bulk_action(&api, given).await?;
    let mut results = Vec::with_capacity(ids.len());
    for some in ids.chunks(BULK_TOGETHER) {
        let actions = some.iter().map(|id| bulk_one(&api, id, &verb, caller.0.actor()));
        results.extend(futures_util::future::try_join_all(actions).await?);
    }
    Ok(HttpResponse::Ok().json(BulkResults { results }))
}

async fn bulk_action(
    api: &Api,
    given: Map<String, Value>,
) -> Result<(Verb, Vec<String>), ApiError> {
    let mut given = Members::of(given);
    let action = given.take("action");
    let ids = given.take("ids").and_then(|ids| {
        let ids: Option<Vec<String>> = ids.as_array()?.iter().map(id_or_number).collect();
        ids.filter(|ids| (1..=BULK_MAX).contains(&ids.len()))
    });
    if ids.is_none() {
        given.wrong("ids", format!("must be a list of 1 to {BULK_MAX} ids or numbers"));
    }
    let mut into = None;
    let verb = match action.as_ref().and_then(Value::as_str) {
        Some("acknowledge") => Some(Verb::Acknowledge),
        Some("unacknowledge") => Some(Verb::Unacknowledge),
        Some("resolve") => Some(Verb::Resolve),
        Some("snooze") => Some(take_snooze(&mut given)),
        Some("assign") => Some(take_assignee(&mut given)),
        Some("merge") => {
            into = take_into(&mut given);
            None
        }
        _ => {
            let what = "must be acknowledge, unacknowledge, resolve, snooze, assign or merge";
            given.wrong("action", what);
            None
        }
    };
    given.finish()?;
    let verb = match verb {
        Some(verb) => verb,
        None => merge_into(api, into).await?,
    };
    Ok((verb, ids.unwrap_or_default()))
}

async fn bulk_one(api: &Api, id: &str, verb: &Verb, actor: String) -> Result<BulkResult, ApiError> {
    let outcome = match identify(api, id).await {
        Ok(found) => api.ingest.act(Target::Incident(found), verb.clone(), actor).await?,
        Err(ApiError::NotFound(_)) => ActionOutcome::NotFound,
        Err(error) => return Err(error),
    };
    let (result, detail) = match outcome {
        ActionOutcome::Changed => ("changed", None),
        ActionOutcome::Unchanged => ("unchanged", None),
        ActionOutcome::NotFound => ("not_found", None),
        ActionOutcome::Conflict(why) => ("conflict", Some(why)),
    };
    Ok(BulkResult { id: id.to_owned(), result, detail })
}
