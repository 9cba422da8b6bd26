//! Where emitters send to. Each handler: read, decode, look the key up, submit, answer.

mod guance;

use std::{borrow::Cow, num::NonZeroU32, sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderValue},
    web,
};
use governor::{
    DefaultKeyedRateLimiter,
    clock::{Clock as _, DefaultClock},
};

use super::{
    Api,
    body::{self, BodyError},
    error::{self, RETRY_AFTER_SECONDS, emitter_response},
    middleware::RequestId,
    rejections::RejectionNote,
};
use crate::{
    domain::{event, id::IntegrationId, service::Integration},
    wire::{
        self, Decoded, Endpoint, GivenKeys, Message, RejectReason, Rejection, SentKey,
        pagerduty::reply::Reply,
    },
};

/// The paths and what they speak. A client that appends to a base URL finds the aliases.
pub(super) const PATHS: [(&str, Endpoint); 9] = [
    ("/event/push/alert/pagerduty", Endpoint::Either),
    ("/event/push/alert/pagerduty/v2/enqueue", Endpoint::V2),
    ("/event/push/alert/pagerduty/v2/change/enqueue", Endpoint::Change),
    ("/event/push/alert/pagerduty/generic/2010-04-15/create_event.json", Endpoint::V1),
    ("/v2/enqueue", Endpoint::V2),
    ("/v2/change/enqueue", Endpoint::Change),
    ("/generic/2010-04-15/create_event.json", Endpoint::V1),
    ("/integration/{key}/enqueue", Endpoint::Either),
    ("/x-ere/{key}", Endpoint::Either),
];

/// Where Guance sends to.
pub(super) const GUANCE_PATH: &str = "/event/push/alert/guance";

/// The path itself, if it is one of an emitter's that hold no key.
pub fn fixed_path(path: &str) -> Option<&'static str> {
    PATHS.iter().map(|(known, _)| *known).chain([GUANCE_PATH]).find(|known| *known == path)
}

/// Adds the routes of emitters.
pub fn routes(config: &mut web::ServiceConfig) {
    let mut serve = |path, route| {
        let resource = web::resource(path).route(route);
        config.service(resource.default_service(web::to(method_not_allowed)));
    };
    for (path, endpoint) in PATHS {
        let route =
            web::post().to(move |request, payload, api| enqueue(request, payload, api, endpoint));
        serve(path, route);
    }
    serve(GUANCE_PATH, web::post().to(guance::enqueue));
    #[cfg(feature = "bench")]
    config.service(web::resource("/bench/noop").route(web::post().to(noop)));
}

async fn method_not_allowed() -> HttpResponse {
    let mut response = emitter_response(Reply::MethodNotAllowed);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

/// The answer to a path that is nobody's.
pub fn not_found() -> HttpResponse {
    emitter_response(Reply::NotFound)
}

async fn enqueue(
    request: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
    endpoint: Endpoint,
) -> HttpResponse {
    let keys = OwnedKeys::of(&request);
    let keys = keys.given();
    let body = read(&request, payload, &api, endpoint.default_api(), keys).await;
    let decoded =
        body.and_then(|body| wire::decode(endpoint, keys, &body).map_err(Failed::Rejected));
    match decoded {
        Ok(decoded) => submit(&request, &api, decoded).await,
        Err(failed) => failed.answer(&request, &api),
    }
}

/// Parses and answers, and stores nothing: what an event costs without the gateway's work.
#[cfg(feature = "bench")]
async fn noop(request: HttpRequest, payload: web::Payload, api: web::Data<Api>) -> HttpResponse {
    let keys = OwnedKeys::of(&request);
    let keys = keys.given();
    let body = read(&request, payload, &api, event::Api::V2, keys).await;
    match body.and_then(|body| wire::decode(Endpoint::V2, keys, &body).map_err(Failed::Rejected)) {
        Ok(Decoded { message: Message::Event(event), .. }) => {
            let key = event.intent.dedup_key().map_or("", |key| key.as_str());
            emitter_response(Reply::AcceptedV2 { dedup_key: key })
        }
        _ => emitter_response(Reply::Unreadable),
    }
}

/// Why there is nothing to submit.
enum Failed {
    Rejected(Rejection),
    TimedOut,
    Draining,
}

impl Failed {
    fn answer(self, request: &HttpRequest, api: &Api) -> HttpResponse {
        match self {
            Self::Rejected(rejection) => rejected(request, api, &rejection),
            Self::TimedOut => error::timed_out(),
            Self::Draining => unavailable(true),
        }
    }
}

/// Reads a body and undoes its compression.
async fn read(
    request: &HttpRequest,
    payload: web::Payload,
    api: &Api,
    version: event::Api,
    keys: GivenKeys<'_>,
) -> Result<web::Bytes, Failed> {
    if api.is_draining() {
        return Err(Failed::Draining);
    }
    let unread = |reason| Failed::Rejected(Rejection::of_unread(version, keys, reason));
    let limit = api.limits.body_bytes;
    let body =
        body::read(payload, limit, api.limits.body_timeout).await.map_err(|error| match error {
            BodyError::TooLarge => unread(RejectReason::TooLarge),
            BodyError::Broken => unread(RejectReason::Unreadable),
            BodyError::TimedOut => Failed::TimedOut,
        })?;
    let encoding = content_encoding(request).map_err(|()| unread(RejectReason::Unreadable))?;
    let inflated = wire::inflate::inflate(encoding.as_deref(), &body, limit)
        .map_err(|error| unread(error.into()))?;
    // Most bodies come as they are and need no copy.
    let inflated = if let Cow::Owned(inflated) = inflated { Some(inflated) } else { None };
    Ok(inflated.map_or(body, web::Bytes::from))
}

/// All `Content-Encoding` headers, joined as RFC 9110 §5.3 says.
fn content_encoding(request: &HttpRequest) -> Result<Option<String>, ()> {
    let mut joined: Option<String> = None;
    for value in request.headers().get_all(header::CONTENT_ENCODING) {
        let value = value.to_str().map_err(|_| ())?;
        joined = Some(joined.map_or_else(|| value.to_owned(), |all| format!("{all}, {value}")));
    }
    Ok(joined)
}

/// The keys of a request outside its body: path, else query; header.
struct OwnedKeys {
    url: Option<String>,
    header: Option<String>,
}

impl OwnedKeys {
    fn of(request: &HttpRequest) -> Self {
        let not_blank = |text: &String| !text.trim().is_empty();
        let path = request.match_info().get("key").map(str::to_owned).filter(not_blank);
        let query = || {
            form_urlencoded::parse(request.query_string().as_bytes())
                .filter(|(name, _)| name == "integration_key")
                .map(|(_, value)| value.into_owned())
                .find(not_blank)
        };
        let header = request
            .headers()
            .get("X-Routing-Key")
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Self { url: path.or_else(query), header }
    }

    fn given(&self) -> GivenKeys<'_> {
        GivenKeys { url: self.url.as_deref(), header: self.header.as_deref() }
    }
}

/// The integration whose key it is, if it may send so many messages now. `Err` is the answer.
fn admit(
    request: &HttpRequest,
    api: &Api,
    version: event::Api,
    key: &SentKey,
    messages: usize,
) -> Result<Arc<Integration>, HttpResponse> {
    let directory = api.ingest.directory();
    let found = directory.integration_of_key(&key.hash(), api.ingest.now()).cloned();
    drop(directory);
    let Some(integration) = found else {
        api.metrics.event_rejected(version.as_str(), "unknown_key");
        return Err(emitter_response(Reply::UnknownKey { api: version }));
    };
    if let Some(limiter) = &api.limits.rate
        && let Err(wait) = take_turns(limiter, integration.id, messages)
    {
        note(request, api, version, &integration, "throttled", Vec::new());
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let mut response = emitter_response(Reply::Throttled { api: version });
        let seconds = HeaderValue::from(seconds.max(1));
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
        return Err(response);
    }
    Ok(integration)
}

/// Counts messages against the rate of an integration. `Err` says how long to wait.
fn take_turns(
    limiter: &DefaultKeyedRateLimiter<IntegrationId>,
    integration: IntegrationId,
    messages: usize,
) -> Result<(), Duration> {
    let messages = u32::try_from(messages).ok().and_then(NonZeroU32::new);
    let messages = messages.unwrap_or(NonZeroU32::MIN);
    let taken = limiter.check_key_n(&integration, messages).or_else(|most| {
        // More than a whole minute has room for: it takes the minute.
        let most = NonZeroU32::new(most.0).unwrap_or(NonZeroU32::MIN);
        limiter.check_key_n(&integration, most)
    });
    match taken {
        Ok(Err(until)) => Err(until.wait_time_from(DefaultClock::default().now())),
        Ok(Ok(())) | Err(_) => Ok(()),
    }
}

async fn submit(request: &HttpRequest, api: &Api, decoded: Decoded) -> HttpResponse {
    let Decoded { api: version, key, message, body } = decoded;
    let integration = match admit(request, api, version, &key, 1) {
        Ok(integration) => integration,
        Err(answer) => return answer,
    };
    let noted = Arc::clone(&integration);
    let stored = match message {
        Message::Event(event) => {
            api.ingest.submit_event(integration, event, body).await.map(|receipt| match version {
                event::Api::V1 => {
                    emitter_response(Reply::AcceptedV1 { incident_key: receipt.dedup_key.as_str() })
                }
                event::Api::V2 | event::Api::Change | event::Api::Guance => {
                    emitter_response(Reply::AcceptedV2 { dedup_key: receipt.dedup_key.as_str() })
                }
            })
        }
        Message::Change(change) => api
            .ingest
            .submit_change(integration, change, body.text.len())
            .await
            .map(|_| emitter_response(Reply::AcceptedChange)),
    };
    stored.unwrap_or_else(|_| {
        note(request, api, version, &noted, "unavailable", Vec::new());
        unavailable(api.is_draining())
    })
}

/// Nothing was stored; the sender may come back. While draining the connection closes.
fn unavailable(close: bool) -> HttpResponse {
    let mut response = emitter_response(Reply::Unavailable);
    let retry = HeaderValue::from(RETRY_AFTER_SECONDS);
    response.headers_mut().insert(header::RETRY_AFTER, retry);
    if close {
        response.head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    }
    response
}

fn rejected(request: &HttpRequest, api: &Api, rejection: &Rejection) -> HttpResponse {
    let (reason, errors) = match &rejection.reason {
        RejectReason::Unreadable => ("unreadable", Vec::new()),
        RejectReason::TooLarge => ("too_large", Vec::new()),
        RejectReason::Invalid(errors) => ("invalid", errors.clone()),
    };
    let owner = rejection.key.as_ref().map(SentKey::hash).and_then(|hash| {
        api.ingest.directory().integration_of_key(&hash, api.ingest.now()).cloned()
    });
    match owner {
        Some(integration) => note(request, api, rejection.api, &integration, reason, errors),
        None => api.metrics.event_rejected(rejection.api.as_str(), reason),
    }
    let mut response = emitter_response(Reply::to_rejected(&rejection.reason));
    if rejection.reason == RejectReason::TooLarge {
        response.head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    }
    response
}

/// Counts a rejection and keeps it where the owner of the integration looks.
fn note(
    request: &HttpRequest,
    api: &Api,
    version: event::Api,
    integration: &Integration,
    reason: &'static str,
    errors: Vec<String>,
) {
    api.metrics.event_rejected(version.as_str(), reason);
    let note = RejectionNote { at: api.ingest.now(), api: version.as_str(), reason, errors };
    let id = RequestId::of(request);
    let id = id.as_ref().map_or("", RequestId::as_str);
    api.rejections.note(integration.id, &integration.name, note, id);
}
