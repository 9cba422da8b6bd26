//! What would happen to an event, and why, without storing it: `POST /api/v1/explain`.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::{
    Api,
    auth::Viewer,
    body::{self, BodyError},
    error::ApiError,
    table::Call,
};
use crate::{
    domain::{
        event::{Disposition, Event, StoredBody},
        id::IncidentId,
    },
    ingest::Explained,
    store::query::views::{Raw, raw},
    wire::{self, Decoded, Endpoint, GivenKeys, Message, RejectReason, SentKey},
};

pub(super) const CALLS: &[Call] = &[Call::post("/api/v1/explain", || web::to(explain))];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(explain))]
pub(super) struct Documented;

/// What would become of an event.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explanation {
    /// `opened`, `merged`, `acknowledged`, `resolved`, `ignored` or `dropped`.
    #[schema(value_type = String)]
    pub disposition: Disposition,
    /// What each stage decides, and why. An incident that would be made is called `new`.
    #[schema(value_type = Vec<Object>)]
    pub trace: Raw,
    /// The incident that its alert is in, or would join; null if a new one would be opened, or if
    /// it is in none.
    #[schema(value_type = Option<String>, format = Uuid, required)]
    pub incident_id: Option<IncidentId>,
}

/// Says what would happen to an event
///
/// Takes an event as `/v2/enqueue` does, with the `routing_key` of an integration, and answers what
/// would become of it now, by the same decisions. Nothing is stored, nobody is notified, and
/// similarity learns nothing.
#[utoipa::path(post, path = "/api/v1/explain", tag = "events",
    request_body(content = Object, description = "An event of PagerDuty's Events API V2",
        example = json!({"routing_key": "0123456789abcdef0123456789abcdef",
            "event_action": "trigger", "dedup_key": "srv01/mysql",
            "payload": {"summary": "DISK at 99%", "source": "srv01", "severity": "critical"}})),
    responses((status = 200, description = "What would happen", body = Explanation),
        (status = 400, description = "The event is wrong; `errors` says all of it in PagerDuty's \
            words"),
        (status = 413, description = "The event is larger than an event may be")))]
pub async fn explain(
    _: Viewer,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let limit_bytes = api.limits.body_bytes;
    let text = body::read(payload, limit_bytes, api.limits.body_timeout).await;
    let text = text.map_err(|error| match error {
        BodyError::TooLarge => ApiError::TooLarge { limit_bytes },
        BodyError::TimedOut => ApiError::TimedOut,
        BodyError::Broken => ApiError::field("body", "did not arrive whole"),
    })?;
    let (key, event, body) = decode(&text, limit_bytes)?;
    let directory = api.ingest.directory();
    let integration = directory
        .integration_of_key(&key.hash(), api.ingest.now())
        .cloned()
        .ok_or_else(|| ApiError::field("routing_key", "is no integration's"))?;
    let Explained { disposition, trace, incident_id } =
        api.ingest.explain(integration, event, body).await?;
    Ok(HttpResponse::Ok().json(Explanation { disposition, trace: raw(&trace), incident_id }))
}

fn decode(text: &[u8], limit_bytes: usize) -> Result<(SentKey, Event, StoredBody), ApiError> {
    match wire::decode(Endpoint::V2, GivenKeys::default(), text) {
        Ok(Decoded { key, message: Message::Event(event), body, .. }) => Ok((key, event, body)),
        Ok(Decoded { message: Message::Change(_), .. }) => {
            Err(ApiError::field("event_action", "is missing: a change event opens nothing"))
        }
        Err(rejection) => Err(match rejection.reason {
            RejectReason::Unreadable => ApiError::field("body", "is not a readable JSON object"),
            RejectReason::TooLarge => ApiError::TooLarge { limit_bytes },
            RejectReason::Invalid(errors) => {
                ApiError::Invalid(errors.iter().map(|error| with_field(error)).collect())
            }
        }),
    }
}

/// The field that one of PagerDuty's sentences names, and what it says of it.
fn with_field(error: &str) -> (String, String) {
    let mut parts = error.splitn(3, '\'');
    let (before, field, after) = (parts.next(), parts.next(), parts.next());
    let field = match field {
        Some("summary") => "payload.summary",
        Some(field) => field,
        None => "body",
    };
    match (before, after) {
        (Some(""), Some(after)) => (field.to_owned(), after.trim_start().to_owned()),
        _ => (field.to_owned(), error.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pagerdutys_sentences_are_told_by_field() {
        for (error, field, what) in [
            ("'payload.source' is missing or blank", "payload.source", "is missing or blank"),
            ("'summary' is too long", "payload.summary", "is too long"),
            (
                "Length of 'routing_key' is incorrect",
                "routing_key",
                "Length of 'routing_key' is incorrect",
            ),
            ("Event is odd", "body", "Event is odd"),
        ] {
            assert_eq!(with_field(error), (field.to_owned(), what.to_owned()));
        }
    }
}
