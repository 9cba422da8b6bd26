//! Request bodies, read within bounds of size and time.

use std::time::Duration;

use actix_web::web;
use futures_util::StreamExt;

use super::error::ApiError;

/// What is read and thrown away of a body that is too large, so that a client that has not finished
/// sending gets the answer instead of a reset: this much, for this long.
const DISCARD_BYTES: usize = 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    TooLarge,
    /// It did not arrive in time.
    TimedOut,
    /// The connection broke, or its framing is wrong.
    Broken,
}

/// Reads a body of at most `limit` bytes that has to arrive within `timeout`.
pub async fn read(
    mut payload: web::Payload,
    limit: usize,
    timeout: Duration,
) -> Result<web::Bytes, BodyError> {
    let reading = async {
        // Nearly every body is one chunk, which needs no copy.
        let Some(first) = payload.next().await else { return Ok(web::Bytes::new()) };
        let first = first.map_err(|_| BodyError::Broken)?;
        if first.len() > limit {
            return Err(BodyError::TooLarge);
        }
        let mut body: Option<web::BytesMut> = None;
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| BodyError::Broken)?;
            let body = body.get_or_insert_with(|| web::BytesMut::from(&first[..]));
            if body.len() + chunk.len() > limit {
                return Err(BodyError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.map_or(first, web::BytesMut::freeze))
    };
    let read = tokio::time::timeout(timeout, reading).await.unwrap_or(Err(BodyError::TimedOut));
    if read == Err(BodyError::TooLarge) {
        let discard = async {
            let mut discarded = 0;
            while let Some(Ok(chunk)) = payload.next().await {
                discarded += chunk.len();
                if discarded > DISCARD_BYTES {
                    break;
                }
            }
        };
        // Whether it ended or time ran out: the answer is the same, and then the connection closes.
        tokio::time::timeout(DISCARD_TIME, discard).await.ok();
    }
    read
}

/// Reads the JSON object of an API call.
pub async fn read_json(
    payload: web::Payload,
    limit: usize,
    timeout: Duration,
) -> Result<serde_json::Map<String, serde_json::Value>, ApiError> {
    let body = read(payload, limit, timeout).await.map_err(|error| match error {
        BodyError::TooLarge => ApiError::TooLarge { limit_bytes: limit },
        BodyError::TimedOut => ApiError::TimedOut,
        BodyError::Broken => ApiError::field("body", "did not arrive whole"),
    })?;
    if body.is_empty() {
        return Ok(serde_json::Map::new());
    }
    match serde_json::from_slice(&body) {
        Ok(serde_json::Value::Object(object)) => Ok(object),
        Ok(_) => Err(ApiError::field("body", "must be a JSON object")),
        Err(error) => Err(ApiError::field("body", format!("is not JSON: {error}"))),
    }
}
