//! Bytes in, events out: what PagerDuty's clients and Guance send, and what they must get back.
//!
//! [`decode`] turns one body into a validated [`Message`] with the key it came by and the text that
//! may be stored; [`guance::decode`] turns one into several. [`inflate`](inflate::inflate) comes
//! before them, [`reply`](pagerduty::reply) after.
//!
//! Deliberately not here: I/O, HTTP status codes, whether a key is known, whether a time is
//! plausible. The same bytes always decode to the same result.

pub mod guance;
pub mod inflate;
mod json;
mod mask;
pub mod pagerduty;
pub mod timestamp;

#[cfg(test)]
mod tests;

use std::fmt;

use crate::domain::{
    event::{Api, ChangeEvent, Event, StoredBody},
    key::{KeyHash, RoutingKey},
};

use self::{
    inflate::InflateError,
    pagerduty::{Fields, Key},
};

/// Largest body, as sent and after decompression, in bytes.
///
/// Source: PagerDuty Events API v2, "the maximum size of an event is 512 KB".
pub const MAX_BODY_BYTES: usize = 524_288;

/// What a path speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// V1 or V2, told by the body.
    Either,
    V1,
    V2,
    Change,
}

impl Endpoint {
    /// The API to answer in when the body cannot be looked at.
    pub fn default_api(self) -> Api {
        match self {
            Self::V1 => Api::V1,
            Self::Either | Self::V2 => Api::V2,
            Self::Change => Api::Change,
        }
    }
}

/// The keys that a request carries outside its body. Blank ones count as absent.
#[derive(Clone, Copy, Default)]
pub struct GivenKeys<'a> {
    /// From the path, else from the query: it goes before a key in the body, which stays unread.
    pub url: Option<&'a str>,
    /// `X-Routing-Key`: used if there is no other.
    pub header: Option<&'a str>,
}

impl<'a> GivenKeys<'a> {
    fn url(self) -> Option<&'a str> {
        self.url.filter(|key| !key.trim().is_empty())
    }

    fn header(self) -> Option<&'a str> {
        self.header.filter(|key| !key.trim().is_empty())
    }
}

// Keys are credentials.
impl fmt::Debug for GivenKeys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GivenKeys")
            .field("url", &self.url.map(mask::hint))
            .field("header", &self.header.map(mask::hint))
            .finish()
    }
}

/// The key that a request goes by, in whatever form it was sent. It may be nobody's.
///
/// Not a [`RoutingKey`]: a malformed key in a URL is answered as an unknown one, after all else.
#[derive(Clone, PartialEq, Eq)]
pub struct SentKey(String);

impl SentKey {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What it is looked up by.
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(&self.0)
    }
}

// The key is a credential, so logs get the first four characters and no more.
impl fmt::Debug for SentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SentKey({})", mask::hint(&self.0))
    }
}

/// What one message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Event(Event),
    Change(ChangeEvent),
}

/// A message that is valid in all but its key, which only the store knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The version of the body, hence of the answer.
    pub api: Api,
    pub key: SentKey,
    pub message: Message,
    pub body: StoredBody,
}

/// A message that is not taken, whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub api: Api,
    /// The key, if there is one that can be somebody's: their integration shows the rejection.
    pub key: Option<SentKey>,
    pub reason: RejectReason,
}

impl Rejection {
    /// Of a body that was not looked into: too large, not inflatable, not JSON.
    pub fn of_unread(api: Api, keys: GivenKeys<'_>, reason: RejectReason) -> Self {
        let key = keys.url().or(keys.header()).map(SentKey::new);
        Self::new(api, key, reason)
    }

    fn new(api: Api, key: Option<SentKey>, reason: RejectReason) -> Self {
        // Nobody's key has another form, and a long text need not be carried along.
        let key = key.filter(|key| RoutingKey::parse(key.reveal()).is_ok());
        Self { api, key, reason }
    }
}

/// Why a message is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RejectReason {
    #[error("body is not a readable JSON object")]
    Unreadable,
    #[error("body is larger than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    /// All errors, in the order and wording that the sender is to see.
    #[error("event is invalid: {}", .0.join("; "))]
    Invalid(Vec<String>),
}

impl From<InflateError> for RejectReason {
    fn from(error: InflateError) -> Self {
        match error {
            InflateError::Unreadable => Self::Unreadable,
            InflateError::TooLarge => Self::TooLarge,
        }
    }
}

/// Decodes one body, already inflated, that came to `endpoint`.
pub fn decode(endpoint: Endpoint, keys: GivenKeys<'_>, body: &[u8]) -> Result<Decoded, Rejection> {
    let unread = |reason| Rejection::of_unread(endpoint.default_api(), keys, reason);
    if body.len() > MAX_BODY_BYTES {
        return Err(unread(RejectReason::TooLarge));
    }
    let unreadable = |_| unread(RejectReason::Unreadable);
    let text = json::check(body).map_err(unreadable)?;
    let fields = Fields::read(text).map_err(unreadable)?;

    let api = api_of(endpoint, &fields);
    let key = Key::find(keys, if api == Api::V1 { fields.service_key } else { fields.routing_key });
    let decoded = match api {
        Api::V1 => pagerduty::v1::decode(&fields, &key),
        Api::V2 | Api::Guance => pagerduty::v2::decode(&fields, &key),
        Api::Change => pagerduty::change::decode(&fields, &key),
    };
    match (decoded, key.into_sent()) {
        (Ok((message, details)), Some(key)) => {
            let body = mask::store(text, &fields.secrets, details, key.reveal());
            Ok(Decoded { api, key, message, body })
        }
        (decoded, key) => {
            let errors = decoded.err().unwrap_or_default();
            Err(Rejection::new(api, key, RejectReason::Invalid(errors)))
        }
    }
}

/// Non-empty fields decide: Alertmanager's V1 body carries `"event_action":""`.
fn api_of(endpoint: Endpoint, fields: &Fields<'_>) -> Api {
    let speaks_v1 = fields.event_action.is_blank()
        && !(fields.event_type.is_blank() && fields.service_key.is_blank());
    match endpoint {
        Endpoint::Either if speaks_v1 => Api::V1,
        Endpoint::Either | Endpoint::V1 | Endpoint::V2 | Endpoint::Change => endpoint.default_api(),
    }
}
