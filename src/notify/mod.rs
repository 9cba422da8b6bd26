//! What receivers are told, each in its own language: one notifier a kind.
//!
//! A [`Message`] says what happened, in our terms. A notifier composes from it what its receiver
//! understands, sends that, and reads the answer. When to try, in which order and how often is not
//! its business: that is the outbox's. It keeps nothing between two calls but what it returns as
//! [`Sent::remote`], which is stored with the lane before anything else is sent there.

mod address;
pub mod email;
pub mod http;
pub mod jira;
pub mod pagerduty;
pub mod secret;
pub mod webhook;

use std::fmt::Debug;

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::{Map, Value};

pub use self::address::Guard;
use self::{address::private_address, http::Http, secret::Secrets};
use crate::{
    domain::{
        id::DeliveryId,
        notify::Reason,
        receiver::ReceiverKind,
        time::{Span, Timestamp},
    },
    store::query::views::{AlertView, IncidentView},
};

/// Most alerts of an incident that a message carries.
pub const ALERTS_MAX: usize = 50;

#[cfg(test)]
mod tests;

/// What there is to tell a receiver.
#[derive(Debug)]
pub struct Message {
    pub delivery: DeliveryId,
    pub reason: Reason,
    /// When it was to be told.
    pub at: Timestamp,
    /// By how much it is late, if that is worth a word.
    pub late: Option<Span>,
    /// Nothing of the incident (or of the alert, if it is about one) has reached this receiver for
    /// certain since it was opened or last resolved there: this has to introduce it, whatever its
    /// reason is.
    pub first: bool,
    /// The receiver was told that it is acknowledged, and it is not any more.
    pub wakes: bool,
    /// By name.
    pub receiver: String,
    pub incident: IncidentView,
    /// Of the incident: open ones first, then the newest, at most [`ALERTS_MAX`].
    pub alerts: Vec<AlertView>,
    /// The one alert that it is about, if this receiver is told of each.
    pub about: Option<AlertView>,
    /// Where this gateway is reached, without a slash at the end: the base of links.
    pub base_url: String,
}

impl Message {
    /// The page of the incident.
    pub fn incident_url(&self) -> String {
        format!("{}/incidents/{}", self.base_url, self.incident.id)
    }

    /// `late by 2h`, where it is late.
    pub fn lateness(&self) -> Option<String> {
        self.late.map(|late| format!("late by {late}"))
    }
}

/// One try of a delivery.
#[derive(Debug)]
pub struct Attempt<'a> {
    pub delivery: DeliveryId,
    pub reason: Reason,
    /// What [`Notifier::compose`] made; the same on every try once one may have arrived.
    pub payload: &'a Value,
    /// What this notifier last returned for the lane.
    pub remote: Option<&'a Value>,
    /// It follows at once on an [`Outcome::Continue`] of this process: nothing can have been sent
    /// in between.
    pub continues: bool,
    pub now: Timestamp,
}

/// What came of a try.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    pub outcome: Outcome,
    /// Of HTTP or SMTP.
    pub status: Option<u16>,
    /// In words: what went wrong and, where somebody can mend it, how.
    pub error: Option<String>,
    /// What was sent, as it may be shown: without secrets.
    pub request: String,
    /// What came back, as it may be shown: without secrets.
    pub answer: String,
    /// What to keep for the next try or delivery of the lane; `None`: what there was.
    pub remote: Option<Value>,
}

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// A step is done, and what is to be kept of it has to be stored before the next one, which is
    /// this much later at the earliest. No failure.
    Continue {
        after: Span,
    },
    /// It may go well later. `after` is what the receiver asks for.
    Retry {
        failure: Failure,
        after: Option<Span>,
    },
    /// It will never go well.
    Dead {
        failure: Failure,
    },
}

/// How a try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There was no connection, so nothing has arrived.
    Unreachable,
    /// It was sent, and no answer came: it may have arrived.
    Unanswered,
    /// The receiver is in trouble (5xx): it may have arrived.
    Unavailable,
    /// Too many at once (429): it was not taken.
    Throttled,
    /// It was not taken.
    Refused,
}

impl Failure {
    /// Whether the receiver may have taken it all the same.
    pub fn may_have_arrived(self) -> bool {
        match self {
            Self::Unanswered | Self::Unavailable => true,
            Self::Unreachable | Self::Throttled | Self::Refused => false,
        }
    }

    /// Whether it says that the receiver as a whole is down.
    pub fn is_outage(self) -> bool {
        match self {
            Self::Unreachable | Self::Unanswered | Self::Unavailable => true,
            Self::Throttled | Self::Refused => false,
        }
    }
}

/// The code for a kind of receiver, with the settings of one of them.
#[async_trait]
pub trait Notifier: Send + Sync + Debug {
    /// What is to be sent, without secrets. Reads nothing but its arguments. `Err`: it can never be
    /// sent, and why.
    fn compose(&self, message: &Message) -> Result<Value, String>;

    /// How many requests such a message makes, as the receiver counts them. `first` and `wakes` are
    /// those of [`Message`].
    fn requests(&self, _reason: Reason, _first: bool, _wakes: bool) -> u32 {
        1
    }

    /// Sends it once. Takes 15 seconds at most.
    async fn send(&self, attempt: &Attempt<'_>) -> Sent;
}

/// The notifier of a receiver. `Err` says what is missing: a secret that is not there.
pub fn notifier(
    kind: ReceiverKind,
    settings: &Map<String, Value>,
    secrets: &Secrets,
    http: &Http,
) -> Result<Box<dyn Notifier>, String> {
    Ok(match kind {
        ReceiverKind::PagerDuty => Box::new(pagerduty::PagerDuty::new(settings, secrets, http)?),
        ReceiverKind::Jira => Box::new(jira::Jira::new(settings, secrets, http)?),
        ReceiverKind::Webhook => Box::new(webhook::Webhook::new(settings, secrets, http)?),
        ReceiverKind::Email => Box::new(email::Email::new(settings, secrets, http.guard())?),
    })
}

/// What is wrong with settings that have their form: a template that cannot be read, a mail address
/// that is none, an address that is written out and not allowed. Each with the member that it is about.
pub fn mistakes(
    kind: ReceiverKind,
    settings: &Map<String, Value>,
    guard: Guard,
) -> Vec<(String, String)> {
    let mut mistakes = Vec::new();
    if let Some((member, address)) = private_address(settings)
        && !guard.trusts("", &[])
    {
        let what = format!(
            "is at {address}, which is a private address: name it in allowed_hosts, or set \
             outbound.allow_private_addresses"
        );
        mistakes.push((member.to_owned(), what));
    }
    match kind {
        ReceiverKind::Webhook => {
            let template = webhook::check_template(settings).err();
            mistakes.extend(template.map(|what| ("template".to_owned(), what)));
        }
        ReceiverKind::Email => {
            let addresses = email::mistakes(settings).into_iter();
            mistakes.extend(addresses.map(|(member, what)| (member.to_owned(), what)));
        }
        ReceiverKind::Jira => {
            let fields = settings.get("fields").and_then(Value::as_object);
            mistakes.extend(fields.map(jira::check_fields).unwrap_or_default());
        }
        ReceiverKind::PagerDuty => {}
    }
    mistakes
}

impl Sent {
    /// With these masked in all that is kept to be shown, whoever repeats them.
    #[must_use]
    pub fn masked(self, secrets: &[&SecretString]) -> Self {
        let mask = |text: &str| secret::mask(text, secrets);
        Self {
            error: self.error.as_deref().map(mask),
            request: mask(&self.request),
            answer: mask(&self.answer),
            ..self
        }
    }

    /// A try that ended before anything was sent, for good.
    pub fn dead(error: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Dead { failure: Failure::Refused },
            status: None,
            error: Some(error.into()),
            request: String::new(),
            answer: String::new(),
            remote: None,
        }
    }
}
