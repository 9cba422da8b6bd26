//! Answers of the JSON API: lists, single resources with their `ETag`, what an action came to.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderValue},
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::{error::ApiError, params::Asked};
use crate::{domain::changes::ActionOutcome, store::query::Listed};

/// A part of a list, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T: ToSchema> {
    pub items: Vec<T>,
    /// Where the next page begins; null on the last one. A page may be short, or empty, and still
    /// have a next one: when what is asked for is rare and looking for it took long.
    pub next_cursor: Option<String>,
    /// With `count=true`: the exact number of all items; null if counting took too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub total: Option<Option<u64>>,
}

/// A page of a list.
pub fn list<T: Serialize + ToSchema>(asked: &Asked, listed: Listed<T>) -> HttpResponse {
    let next_cursor = asked.next_cursor(&listed);
    let total = asked.page.count.then_some(listed.total);
    HttpResponse::Ok().json(List { items: listed.items, next_cursor, total })
}

/// One resource. Who has it already, and sends its `ETag` in `If-None-Match`, is told so.
pub fn resource(request: &HttpRequest, view: &impl Serialize) -> HttpResponse {
    let Ok(body) = serde_json::to_string(view) else {
        unreachable!("what is shown is made of texts, numbers and checked JSON")
    };
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(body.as_bytes())[..8]));
    let known = request
        .headers()
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|tags| {
            tags.split(',').any(|t| t.trim().trim_start_matches("W/") == tag || t.trim() == "*")
        });
    if known && request.method().is_safe() {
        return HttpResponse::NotModified().insert_header((header::ETAG, tag)).finish();
    }
    HttpResponse::Ok()
        .insert_header((header::ETAG, tag))
        .insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-cache")))
        .content_type("application/json")
        .body(body)
}

/// What an action came to: whether it was done now or before is the same to who asks.
pub fn done(outcome: ActionOutcome, what: &'static str) -> Result<(), ApiError> {
    match outcome {
        ActionOutcome::Changed | ActionOutcome::Unchanged => Ok(()),
        ActionOutcome::NotFound => Err(ApiError::NotFound(what)),
        ActionOutcome::Conflict(why) => Err(ApiError::Conflict(why.to_owned())),
    }
}
