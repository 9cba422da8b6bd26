//! Around every request: an id, a span for the log, counters.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use actix_web::{
    Error, HttpMessage as _, HttpRequest,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, Uri,
        header::{HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    },
    middleware::Next,
    web,
};
use tracing::Instrument as _;

use super::{Api, inbound};

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

/// The id of a request, for log lines about it.
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id that [`observe`] gave to the request.
    pub fn of(request: &HttpRequest) -> Option<Self> {
        request.extensions().get::<Self>().cloned()
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Takes slashes off the end of the path: with and without them it is the same. (The framework's
/// own middleware runs a regular expression over every path.)
fn trim_slashes(request: &mut ServiceRequest) {
    let path = request.path();
    if path.len() < 2 || !path.ends_with('/') {
        return;
    }
    let trimmed = match path.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    };
    let query = request.query_string();
    let target = if query.is_empty() { trimmed.to_owned() } else { format!("{trimmed}?{query}") };
    let mut parts = request.uri().clone().into_parts();
    let Ok(target) = target.parse() else { return };
    parts.path_and_query = Some(target);
    if let Ok(uri) = Uri::from_parts(parts) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
}

/// Gives the request its id, logs and counts it. The log has the pattern of the route, never the
/// path or query: they can hold a key.
pub async fn observe(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    trim_slashes(&mut request);
    let id = request_id(&request);
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = method_label(request.method());
    let emitter = inbound::fixed_path(request.path());
    let route: Cow<'static, str> = match emitter {
        Some(path) => path.into(),
        None => request.match_pattern().map_or(Cow::Borrowed("other"), Cow::Owned),
    };
    let api = request.app_data::<web::Data<Api>>().cloned();
    let shown = id.to_str().unwrap_or_default();
    // Every event passes here: a span for each, at the usual level, costs more than its parsing.
    let span = if emitter.is_some() {
        tracing::debug_span!("request", request.id = shown, method, route = &*route)
    } else {
        tracing::info_span!("request", request.id = shown, method, route = &*route)
    };
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
