//! The answers, byte for byte as clients were seen to need them.
//!
//! Status codes and headers (`Retry-After`, `Allow`) are not here: they live in `api/error.rs`,
//! which matches on [`Reply`]. Every body has the string fields `status` and `message`; `errors` is
//! there on a refusal, the key on success, always (pagerduty-python raises without it).

use serde::Serialize;

use crate::domain::event::Api;
use crate::wire::RejectReason;

/// One answer. Its body is [`Reply::body`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    AcceptedV1 {
        incident_key: &'a str,
    },
    AcceptedV2 {
        dedup_key: &'a str,
    },
    AcceptedChange,
    /// One message of Guance; without a key it was a change event.
    AcceptedGuance {
        dedup_key: Option<&'a str>,
    },
    /// A list of Guance; change events in it have no key.
    AcceptedGuanceList {
        dedup_keys: &'a [&'a str],
    },
    /// The event breaks rules; all of them are named.
    Invalid {
        errors: &'a [String],
    },
    /// Everything is right but the key, which is nobody's or was revoked.
    UnknownKey {
        api: Api,
    },
    /// Not a JSON object, or not to be inflated.
    Unreadable,
    TooLarge,
    /// Over the rate of the integration. Version 1 has another status for it.
    Throttled {
        api: Api,
    },
    /// It cannot be kept now.
    Unavailable,
    NotFound,
    MethodNotAllowed,
}

impl<'a> Reply<'a> {
    /// The answer to a body that was not taken.
    pub fn to_rejected(reason: &'a RejectReason) -> Self {
        match reason {
            RejectReason::Unreadable => Self::Unreadable,
            RejectReason::TooLarge => Self::TooLarge,
            RejectReason::Invalid(errors) => Self::Invalid { errors },
        }
    }

    /// Compact JSON text.
    pub fn body(self) -> String {
        match self {
            Self::AcceptedV1 { incident_key } => {
                Body { incident_key: Some(incident_key), ..PROCESSED }.render()
            }
            Self::AcceptedV2 { dedup_key } => {
                Body { dedup_key: Some(dedup_key), ..PROCESSED }.render()
            }
            Self::AcceptedChange | Self::AcceptedGuance { dedup_key: None } => {
                Body { message: "Change event processed", ..PROCESSED }.render()
            }
            Self::AcceptedGuance { dedup_key } => Body { dedup_key, ..PROCESSED }.render(),
            Self::AcceptedGuanceList { dedup_keys } => {
                Body { dedup_keys: Some(dedup_keys), ..PROCESSED }.render()
            }
            Self::Invalid { errors } => invalid(errors),
            Self::UnknownKey { api: Api::V1 } => invalid(&["Invalid service key"]),
            Self::UnknownKey { api: Api::V2 | Api::Change | Api::Guance } => {
                invalid(&["Invalid routing key"])
            }
            Self::Unreadable => Body {
                errors: Some(&["JSON parse error"]),
                ..Body::new("Unrecognized object", "Event object format is unrecognized")
            }
            .render(),
            Self::TooLarge => invalid(&["Event is too large (maximum is 512 KB)"]),
            // Two spaces, and "retry later", which PagerDuty's Nagios plugin searches for.
            Self::Throttled { api: _ } => Body::new(
                "throttle exceeded",
                "Requests for this service are arriving too quickly.  Please retry later.",
            )
            .render(),
            Self::Unavailable => {
                Body::new("unavailable", "The event was not stored. Please retry later.").render()
            }
            Self::NotFound => Body::new("not found", "There is nothing at this path.").render(),
            Self::MethodNotAllowed => {
                Body::new("method not allowed", "Events are sent by POST.").render()
            }
        }
    }
}

const PROCESSED: Body<'static, &str> = Body::new("success", "Event processed");

fn invalid<S: Serialize>(errors: &[S]) -> String {
    Body {
        status: "invalid event",
        message: "Event object is invalid",
        errors: Some(errors),
        dedup_key: None,
        dedup_keys: None,
        incident_key: None,
    }
    .render()
}

/// The fields in the order in which they go out.
#[derive(Serialize)]
struct Body<'a, S> {
    status: &'static str,
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [S]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dedup_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dedup_keys: Option<&'a [&'a str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incident_key: Option<&'a str>,
}

impl Body<'_, &str> {
    const fn new(status: &'static str, message: &'static str) -> Self {
        let (errors, dedup_key, dedup_keys, incident_key) = (None, None, None, None);
        Self { status, message, errors, dedup_key, dedup_keys, incident_key }
    }
}

impl<S: Serialize> Body<'_, S> {
    fn render(&self) -> String {
        serde_json::to_string(self).expect("a struct of strings has a JSON form")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_byte_exact() {
        let errors = ["'routing_key' cannot be blank".to_owned()];
        let cases = [
            (
                Reply::AcceptedV2 { dedup_key: "srv01/HTTP" },
                r#"{"status":"success","message":"Event processed","dedup_key":"srv01/HTTP"}"#,
            ),
            (
                Reply::AcceptedV1 { incident_key: "磁\"\\\n" },
                r#"{"status":"success","message":"Event processed","incident_key":"磁\"\\\n"}"#,
            ),
            (Reply::AcceptedChange, r#"{"status":"success","message":"Change event processed"}"#),
            (
                Reply::AcceptedGuance { dedup_key: Some("guance:w:1") },
                r#"{"status":"success","message":"Event processed","dedup_key":"guance:w:1"}"#,
            ),
            (
                Reply::AcceptedGuance { dedup_key: None },
                r#"{"status":"success","message":"Change event processed"}"#,
            ),
            (
                Reply::AcceptedGuanceList { dedup_keys: &["guance:w:1", "guance:w:2"] },
                r#"{"status":"success","message":"Event processed","dedup_keys":["guance:w:1","guance:w:2"]}"#,
            ),
            (
                Reply::Invalid { errors: &errors },
                r#"{"status":"invalid event","message":"Event object is invalid","errors":["'routing_key' cannot be blank"]}"#,
            ),
            (
                Reply::UnknownKey { api: Api::V2 },
                r#"{"status":"invalid event","message":"Event object is invalid","errors":["Invalid routing key"]}"#,
            ),
            (
                Reply::UnknownKey { api: Api::V1 },
                r#"{"status":"invalid event","message":"Event object is invalid","errors":["Invalid service key"]}"#,
            ),
            (
                Reply::Unreadable,
                r#"{"status":"Unrecognized object","message":"Event object format is unrecognized","errors":["JSON parse error"]}"#,
            ),
            (
                Reply::TooLarge,
                r#"{"status":"invalid event","message":"Event object is invalid","errors":["Event is too large (maximum is 512 KB)"]}"#,
            ),
            (
                Reply::Throttled { api: Api::V1 },
                r#"{"status":"throttle exceeded","message":"Requests for this service are arriving too quickly.  Please retry later."}"#,
            ),
            (
                Reply::Unavailable,
                r#"{"status":"unavailable","message":"The event was not stored. Please retry later."}"#,
            ),
            (
                Reply::NotFound,
                r#"{"status":"not found","message":"There is nothing at this path."}"#,
            ),
            (
                Reply::MethodNotAllowed,
                r#"{"status":"method not allowed","message":"Events are sent by POST."}"#,
            ),
        ];
        for (reply, body) in cases {
            assert_eq!(reply.body(), body);
        }
    }
}
