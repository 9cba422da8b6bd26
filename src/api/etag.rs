//! Versions of resources as entity tags: `"v3"`, and what `If-Match` says about them.

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderValue},
};

use super::error::ApiError;

/// The tag of a version. Strong: the same tag means the same content.
pub(super) fn tag(version: i64) -> (header::HeaderName, HeaderValue) {
    let value = HeaderValue::from_str(&format!("\"v{version}\""));
    (header::ETAG, value.unwrap_or_else(|_| HeaderValue::from_static("\"v0\"")))
}

/// The version that a change is meant for; `None` if the client takes whatever is there.
///
/// A tag that a proxy made weak on its way (`W/"v3"`, as they do when they compress) still names
/// one exact version, so it counts.
pub(super) fn expected_version(
    request: &HttpRequest,
    current: i64,
) -> Result<Option<i64>, ApiError> {
    let mut given = false;
    for value in request.headers().get_all(header::IF_MATCH) {
        given = true;
        for tag in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            if tag == "*" {
                return Ok(None);
            }
            let tag = tag.strip_prefix("W/").unwrap_or(tag);
            if *tag == format!("\"v{current}\"") {
                return Ok(Some(current));
            }
        }
    }
    if given { Err(ApiError::Stale) } else { Ok(None) }
}
