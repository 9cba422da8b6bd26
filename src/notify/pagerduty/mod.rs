//! PagerDuty, and whatever else speaks its Events API V2: another dutygate, for one.
//!
//! Sources: PagerDuty's developer documentation, "Send an Alert Event" (the fields), "Events API v2
//! Overview" (what each status means), "Events API Rate Limits" (429).

mod details;
mod event;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use reqwest::{
    Method, Url,
    header::{CONTENT_TYPE, HeaderValue},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};

use super::{
    Attempt, Failure, Message, Notifier, Outcome, Sent,
    http::{Answer, Http, Request, TIMEOUT},
    secret::Secrets,
};
use crate::domain::{notify::Reason, time::Timestamp};

/// The full address of PagerDuty's endpoint; accounts in Europe have
/// `https://events.eu.pagerduty.com/v2/enqueue`.
const URL: &str = "https://events.pagerduty.com/v2/enqueue";

/// No more of what PagerDuty says is wrong is repeated.
const SAID_BYTES: usize = 2000;

/// A notifier that sends events.
#[derive(Debug)]
pub struct PagerDuty {
    http: Http,
    url: Url,
    routing_key: SecretString,
    /// The key as it stands in JSON.
    quoted_key: SecretString,
    allowed_hosts: Vec<String>,
    /// Each alert goes on under its own key, as its source sent it.
    passthrough: bool,
}

impl PagerDuty {
    /// `Err` says what is missing.
    pub fn new(
        settings: &Map<String, Value>,
        secrets: &Secrets,
        http: &Http,
    ) -> Result<Self, String> {
        let routing_key = secrets.required(settings, "routing_key")?;
        let url = settings.get("url").and_then(Value::as_str).unwrap_or(URL);
        let hosts = settings.get("allowed_hosts").and_then(Value::as_array);
        Ok(Self {
            http: http.clone(),
            url: url.parse().map_err(|error| format!("url is no address: {error}"))?,
            quoted_key: Value::from(routing_key.expose_secret()).to_string().into(),
            routing_key,
            allowed_hosts: hosts
                .into_iter()
                .flatten()
                .filter_map(|host| host.as_str().map(str::to_owned))
                .collect(),
            passthrough: settings.get("passthrough") == Some(&Value::Bool(true)),
        })
    }

    /// Sends one event.
    async fn post(&self, event: &str, now: Timestamp) -> Sent {
        let quoted = self.quoted_key.expose_secret();
        // The key is the first member: every event has others behind it.
        let body = event.replacen('{', &format!("{{\"routing_key\":{quoted},"), 1);
        let secrets = [&self.routing_key];
        let request = Request {
            method: Method::POST,
            url: self.url.clone(),
            headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
            body: Some(body),
            secrets: &secrets,
            allowed_hosts: &self.allowed_hosts,
        };
        let exchange = self.http.exchange(request).await;
        let refused = exchange.result.as_ref().ok().and_then(said);
        let mut sent = exchange.sent(now);
        sent.error = refused.or(sent.error);
        sent.masked(&secrets)
    }
}

#[async_trait]
impl Notifier for PagerDuty {
    /// A list of events as JSON text, each but for its routing key. Text, because what a source
    /// sent has to go on as it is: `1.0000000000000000001` is no number that JSON values hold.
    fn compose(&self, message: &Message) -> Result<Value, String> {
        let events = event::compose(message, self.passthrough)?;
        Ok(events.into_iter().map(Value::from).collect())
    }

    fn requests(&self, reason: Reason, first: bool, wakes: bool) -> u32 {
        u32::try_from(event::actions(reason, first, wakes).len()).unwrap_or(1)
    }

    async fn send(&self, attempt: &Attempt<'_>) -> Sent {
        let events = attempt.payload.as_array().map(Vec::as_slice).unwrap_or_default();
        let mut events = events.iter().filter_map(Value::as_str);
        let Some(first) = events.next() else {
            return Sent::dead("there is nothing to send in what was stored");
        };
        let deadline = Instant::now() + TIMEOUT;
        let mut sent = self.post(first, attempt.now).await;
        for event in events {
            if sent.outcome != Outcome::Delivered {
                break;
            }
            let next = timeout_at(deadline, self.post(event, attempt.now)).await;
            sent = joined(sent, next.unwrap_or_else(|_| out_of_time()));
        }
        sent
    }
}

/// What PagerDuty says is wrong with an event, of an answer that says so.
fn said(answer: &Answer) -> Option<String> {
    if answer.status != 400 {
        return None;
    }
    let said = match serde_json::from_str(&answer.body) {
        Ok(Value::Object(said)) => {
            let errors = match said.get("errors") {
                Some(Value::Array(errors)) => errors.as_slice(),
                Some(error) => std::slice::from_ref(error),
                None => &[],
            };
            let texts: Vec<&str> =
                said.get("message").into_iter().chain(errors).filter_map(Value::as_str).collect();
            texts.join(": ")
        }
        // An unknown key is answered with bare text.
        _ => answer.body.trim().to_owned(),
    };
    let said = answer.show(&said, SAID_BYTES);
    let colon = if said.is_empty() { "" } else { ": " };
    Some(format!("refused (status 400){colon}{said}"))
}

/// Two tries as one: it ends as the second did.
fn joined(first: Sent, second: Sent) -> Sent {
    let both = |first: String, second: &str| format!("{first}\n\n{second}");
    Sent {
        request: both(first.request, &second.request),
        answer: both(first.answer, &second.answer),
        ..second
    }
}

/// The end of a second try for which the first left too little time.
fn out_of_time() -> Sent {
    Sent {
        outcome: Outcome::Retry { failure: Failure::Unanswered, after: None },
        status: None,
        error: Some(format!("no answer within {} s; it may have arrived", TIMEOUT.as_secs())),
        request: "[the second of two requests: it was cut off]".to_owned(),
        answer: String::new(),
        remote: None,
    }
}
