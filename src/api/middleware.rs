//! Around every request: an id, a span for the log, counters.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    },
    middleware::Next,
    web,
};
use tracing::Instrument as _;

use super::Api;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// No answer is to be taken for something else than it says it is.
const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// Longest id taken over from a client.
const REQUEST_ID_MAX: usize = 64;

/// The id that a client or proxy gave, if it is fit for a log; else a new one.
fn request_id(request: &ServiceRequest) -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let given = request.headers().get(&REQUEST_ID).filter(|value| {
        (1..=REQUEST_ID_MAX).contains(&value.len())
            && value.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
    });
    if let Some(given) = given {
        return given.clone();
    }
    // Unique within the process; the start's low digits tell processes apart.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    HeaderValue::from_str(&format!("{:08x}-{number:x}", std::process::id()))
        .unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// Only known methods are labels.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Gives the request its id, logs and counts it. The log has the pattern of the route, never the
/// path or query: they can hold a key.
pub async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let id = request_id(&request);
    let method = method_label(request.method());
    let route = request.match_pattern().unwrap_or_else(|| "other".to_owned());
    let api = request.app_data::<web::Data<Api>>().cloned();
    let span =
        tracing::info_span!("request", request.id = id.to_str().unwrap_or_default(), method, route);
    let mut response = next.call(request).instrument(span.clone()).await?;
    let status = response.status().as_u16();
    let took = started.elapsed();
    response.headers_mut().insert(REQUEST_ID, id);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    if let Some(api) = api {
        api.metrics.http_request(method, &route, status, took);
    }
    span.in_scope(|| {
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(status, duration_ms, "answered");
    });
    Ok(response)
}
