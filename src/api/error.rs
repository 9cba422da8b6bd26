//! Every status code the gateway answers with, and what goes with it.
//!
//! The JSON API says what is wrong in `application/problem+json` (RFC 9457); emitters get
//! PagerDuty's own words ([`crate::wire::pagerduty::reply`]).

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use serde_json::json;

use crate::{
    domain::{configuration::Refused, event::Api, service::Role},
    ingest::{ConfigureError, Unavailable},
    policy::PolicyError,
    store::StoreError,
    telemetry,
    wire::pagerduty::reply::Reply,
};

/// After how many seconds a sender may come back when nothing could be stored. Short: the queue
/// empties in milliseconds, and a database comes back as soon as it is probed.
pub const RETRY_AFTER_SECONDS: u32 = 1;

/// Why a call of the JSON API did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Something in the request is wrong; each with the field it is in.
    #[error("the request is not valid")]
    Invalid(Vec<(String, String)>),
    /// A policy file is wrong; each mistake with its place.
    #[error("the policy file is not valid")]
    InvalidPolicy(Vec<PolicyError>),
    #[error("an API token is needed")]
    Unauthorized,
    #[error("X-PagerDuty-Signature is missing or wrong")]
    Unsigned,
    #[error("the token's role does not allow this")]
    Forbidden { needed: Role },
    #[error("there is no such {0}")]
    NotFound(&'static str),
    #[error("the method is not allowed here")]
    MethodNotAllowed { allow: &'static str },
    #[error("{0}")]
    Conflict(String),
    #[error("it was changed meanwhile")]
    Stale,
    #[error("the body is larger than {limit_bytes} bytes")]
    TooLarge { limit_bytes: usize },
    #[error("the request did not arrive in time")]
    TimedOut,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A receiver's secret is not where its settings say; what is missing is logged, not sent.
    #[error("the receiver's secret cannot be found; the gateway's log says more")]
    SecretGone { receiver: String, missing: String },
    /// A fault of ours; the cause is logged, not sent.
    #[error("something went wrong inside the gateway")]
    Internal(#[source] StoreError),
}

impl ApiError {
    /// One wrong field.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![(field.into(), message.into())])
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::Internal(error)
    }
}

impl From<ConfigureError> for ApiError {
    fn from(error: ConfigureError) -> Self {
        match error {
            ConfigureError::Refused(Refused::NotFound(what)) => Self::NotFound(what),
            ConfigureError::Refused(Refused::Stale) => Self::Stale,
            ConfigureError::Refused(refused @ (Refused::NameTaken { .. } | Refused::KeyTaken)) => {
                Self::Conflict(refused.to_string())
            }
            ConfigureError::Conflict(what) => Self::Conflict(what),
            ConfigureError::Invalid(errors) => Self::Invalid(errors),
            ConfigureError::Unavailable(unavailable) => Self::Unavailable(unavailable),
        }
    }
}

/// The status of every answer that is not plain success.
enum Answer<'a> {
    Problem(&'a ApiError),
    Emitter(Reply<'a>),
}

/// The one place where outcomes become status codes.
fn status(answer: &Answer<'_>) -> StatusCode {
    match answer {
        Answer::Problem(error) => match error {
            ApiError::Invalid(_) | ApiError::InvalidPolicy(_) => StatusCode::BAD_REQUEST,
            ApiError::Unauthorized | ApiError::Unsigned => StatusCode::UNAUTHORIZED,
            ApiError::Forbidden { .. } => StatusCode::FORBIDDEN,
            ApiError::NotFound(_) => StatusCode::NOT_FOUND,
            ApiError::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            ApiError::TimedOut => StatusCode::REQUEST_TIMEOUT,
            ApiError::Conflict(_) => StatusCode::CONFLICT,
            ApiError::Stale => StatusCode::PRECONDITION_FAILED,
            ApiError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::Unavailable(_)
            | ApiError::SecretGone { .. }
            | ApiError::Internal(StoreError::Unavailable(_)) => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        },
        Answer::Emitter(reply) => match reply {
            Reply::AcceptedV1 { .. }
            | Reply::AcceptedGuance { .. }
            | Reply::AcceptedGuanceList { .. } => StatusCode::OK,
            Reply::AcceptedV2 { .. } | Reply::AcceptedChange => StatusCode::ACCEPTED,
            Reply::Invalid { .. }
            | Reply::UnknownKey { .. }
            | Reply::Unreadable
            | Reply::TooLarge => StatusCode::BAD_REQUEST,
            // PagerDuty's V1 throttles with 403, and old clients lose events on a 429.
            Reply::Throttled { api: Api::V1 } => StatusCode::FORBIDDEN,
            Reply::Throttled { api: Api::V2 | Api::Change | Api::Guance } => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Reply::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Reply::NotFound => StatusCode::NOT_FOUND,
            Reply::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        },
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        status(&Answer::Problem(self))
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        let mut errors: Vec<_> = Vec::new();
        let mut detail = self.to_string();
        match self {
            Self::Invalid(fields) => {
                errors.extend(
                    fields.iter().map(|(field, what)| json!({"field": field, "message": what})),
                );
                if let [(field, what)] = fields.as_slice() {
                    detail = format!("{field} {what}");
                }
            }
            Self::InvalidPolicy(mistakes) => {
                errors.extend(mistakes.iter().map(|mistake| {
                    let line = mistake.mark.map(|mark| mark.line);
                    json!({"field": mistake.field, "line": line, "message": mistake.message})
                }));
                if let [mistake] = mistakes.as_slice() {
                    detail = mistake.to_string();
                }
            }
            Self::Unauthorized => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
                detail.push_str(": send Authorization: Bearer <token>");
            }
            Self::Forbidden { needed } => {
                detail = format!("this needs a token with the role {needed}");
            }
            Self::MethodNotAllowed { allow } => {
                response.insert_header((header::ALLOW, *allow));
            }
            Self::Unavailable(_) => {
                response.insert_header((header::RETRY_AFTER, RETRY_AFTER_SECONDS.to_string()));
            }
            Self::Unsigned => {
                detail.push_str(": the receiver's webhook_secret has to be the subscription's");
            }
            Self::SecretGone { receiver, missing } => {
                tracing::error!(receiver, missing, "a webhook cannot be checked");
            }
            Self::Internal(cause) => {
                tracing::error!(error = %telemetry::chain(cause), "a request failed");
            }
            Self::NotFound(_)
            | Self::Conflict(_)
            | Self::Stale
            | Self::TooLarge { .. }
            | Self::TimedOut => {}
        }
        let body = json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": detail,
            "errors": errors,
        });
        response.content_type("application/problem+json").body(body.to_string())
    }
}

/// The status of an answer to an emitter.
pub fn emitter_status(reply: Reply<'_>) -> StatusCode {
    status(&Answer::Emitter(reply))
}

/// An answer to an emitter.
pub fn emitter_response(reply: Reply<'_>) -> HttpResponse {
    HttpResponse::build(emitter_status(reply)).content_type("application/json").body(reply.body())
}

/// The answer to an emitter whose body did not arrive in time; the connection closes.
pub fn timed_out() -> HttpResponse {
    let body = json!({
        "status": "request timeout",
        "message": "The event did not arrive in time. Please retry later.",
    });
    HttpResponse::RequestTimeout().force_close().json(body)
}

/// The answer of `/readyz` while the gateway cannot do its work.
pub fn not_ready(reason: &str) -> HttpResponse {
    HttpResponse::ServiceUnavailable().json(json!({"status": "unavailable", "reason": reason}))
}
