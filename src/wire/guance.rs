//! Guance (观测云): what the webhook of its monitors sends, one event or a list of them.
//!
//! Sources: Guance's documentation, "Events" (the fields), "Event levels" (`df_status`) and "Custom
//! webhook". It signs nothing, so the key is the only secret. Everything is read from the text that
//! is stored, with the keys already cut out of it, so that a stored body decodes to the same event.
//! An object is an event if one of its fields begins with `df_`; nothing else about it is an error.

mod fields;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeMap};

use sha2::{Digest, Sha256};

use crate::domain::{
    event::{
        Api, ChangeEvent, Content, Event, Intent, Link, SUMMARY_MAX_CHARS, SentId, SentTime,
        Severity, StoredBody,
    },
    key::DedupKey,
};

use self::fields::{Fields, Labels};
use super::{
    GivenKeys, MAX_BODY_BYTES, Message, RejectReason, Rejection, SentKey,
    json::{self, Field, Unreadable},
    mask,
    pagerduty::{Key, v2::Errors},
    timestamp,
};

/// Most events in one list. Ours: a body has room for a few hundred real ones.
pub const EVENTS_MAX: usize = 1000;
/// Most entries of a list that an answer names as wrong.
const ERRORS_MAX: usize = 10;
/// Why an entry is refused.
const NO_EVENT: &str = "(must be an object with fields whose names begin with 'df_')";

/// One request that is valid in all but its key, which only the store knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    pub key: SentKey,
    /// In the order sent; one if it was no list.
    pub messages: Vec<(Message, StoredBody)>,
    pub is_list: bool,
}

/// Decodes one body, already inflated: an event, an array of events, or an object with such an
/// array as `events`.
pub fn decode(keys: GivenKeys<'_>, body: &[u8]) -> Result<Decoded, Rejection> {
    let unread = |reason| Rejection::of_unread(Api::Guance, keys, reason);
    if body.len() > MAX_BODY_BYTES {
        return Err(unread(RejectReason::TooLarge));
    }
    let unreadable = |_| unread(RejectReason::Unreadable);
    let text = json::check(body).map_err(unreadable)?;
    let request = Request::read(text).map_err(unreadable)?;

    let key = Key::find(keys, request.routing_key);
    let mut errors = Errors::default();
    errors.judge_key(&key);
    let events = request.judge(&mut errors);
    let errors = errors.in_order();
    match (key.into_sent(), errors.is_empty()) {
        (Some(key), true) => {
            let messages = events
                .iter()
                .map(|event| message(event, key.reveal()))
                .collect::<Result<_, _>>()
                .map_err(unreadable)?;
            Ok(Decoded { key, messages, is_list: request.list.is_some() })
        }
        (key, _) => Err(Rejection::new(Api::Guance, key, RejectReason::Invalid(errors))),
    }
}

/// What a body says that was stored: always one event, its keys cut out already.
pub fn decode_stored(body: &str) -> Option<Message> {
    let event = Reported::read(json::check(body.as_bytes()).ok()?)?;
    message(&event, "").ok().map(|(message, _)| message)
}

/// The outermost layer of a body.
#[derive(Debug)]
struct Request<'a> {
    text: &'a str,
    routing_key: Field<'a>,
    list: Option<List<'a>>,
}

/// At most one entry more than [`EVENTS_MAX`].
#[derive(Debug)]
struct List<'a> {
    /// What its entries are called: `events` or nothing.
    name: &'static str,
    entries: Vec<Field<'a>>,
}

/// An object that is an event, with the values in it that are secrets.
#[derive(Debug)]
struct Reported<'a> {
    text: &'a str,
    secrets: Vec<Field<'a>>,
}

impl<'a> List<'a> {
    fn read(name: &'static str, text: &'a str) -> Result<Self, Unreadable> {
        let mut entries = Vec::new();
        json::for_each_element(text, |entry| {
            if entries.len() <= EVENTS_MAX {
                entries.push(entry);
            }
        })?;
        Ok(Self { name, entries })
    }
}

impl<'a> Request<'a> {
    fn read(text: &'a str) -> Result<Self, Unreadable> {
        if text.trim_start().starts_with('[') {
            let list = Some(List::read("", text)?);
            return Ok(Self { text, routing_key: Field::default(), list });
        }
        let (mut routing_key, mut events) = (Field::default(), Field::default());
        let mut status = Field::default();
        json::for_each_entry(text, |name, value| match name {
            "routing_key" => routing_key = value,
            "events" => events = value,
            "df_status" => status = value,
            _ => {}
        })?;
        // Every event has a status: with one, `events` is a field like any other.
        let list = events.raw().filter(|events| events.starts_with('[') && status.is_blank());
        let list = list.map(|events| List::read("events", events)).transpose()?;
        Ok(Self { text, routing_key, list })
    }

    /// Finds its events, and what is none.
    fn judge(&self, errors: &mut Errors) -> Vec<Reported<'a>> {
        let Some(List { name, entries }) = &self.list else {
            let event = Reported::read(self.text);
            if event.is_none() {
                errors.push(&format!("Event is invalid {NO_EVENT}"));
            }
            return event.into_iter().collect();
        };
        if entries.is_empty() {
            errors.push("List of events is empty");
        }
        if entries.len() > EVENTS_MAX {
            errors.push(&format!("List of events is too long (maximum is {EVENTS_MAX} events)"));
            return Vec::new();
        }
        let mut events = Vec::with_capacity(entries.len());
        let mut wrong = 0;
        for (at, entry) in entries.iter().enumerate() {
            let event = entry.raw().and_then(Reported::read);
            if event.is_none() {
                wrong += 1;
                if wrong <= ERRORS_MAX {
                    errors.push(&format!("'{name}[{at}]' is invalid {NO_EVENT}"));
                }
            }
            events.extend(event);
        }
        if wrong > ERRORS_MAX {
            errors.push(&format!("{} more entries are invalid", wrong - ERRORS_MAX));
        }
        events
    }
}

impl<'a> Reported<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (mut is_event, mut secrets) = (false, Vec::new());
        json::for_each_entry(text, |name, value| {
            is_event |= name.starts_with("df_");
            if fields::is_key(name) {
                secrets.push(value);
            }
        })
        .ok()?;
        is_event.then_some(Self { text, secrets })
    }
}

fn message(event: &Reported<'_>, key: &str) -> Result<(Message, StoredBody), Unreadable> {
    let body = mask::store(event.text, &event.secrets, None, key);
    let fields = Fields::read(&body.text)?;
    let message = match fields.text("df_source").as_deref() {
        Some("audit" | "change") => Message::Change(change(&fields)),
        _ => Message::Event(self::event(&fields)),
    };
    Ok((message, body))
}

/// What an event says about the trouble, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is wrong, and nothing has ended.
    Informs,
    Over,
    Wrong(Severity),
}

impl State {
    fn of(fields: &Fields<'_>) -> Self {
        /// The last three say why it is over.
        const OVER: [&str; 4] = ["ok", "nodata_ok", "nodata_as_ok", "manual_ok"];
        let status = fields.text("df_status");
        let detail = fields.text("df_sub_status");
        let is_over = |status: &Option<Cow<'_, str>>| {
            status.as_deref().is_some_and(|status| OVER.contains(&status))
        };
        let status_or_detail = status.as_deref().or(detail.as_deref());
        // "No anomaly": its fault status is `ok` as well, and all the same it ends no fault.
        if status_or_detail == Some("info") {
            return Self::Informs;
        }
        if fields.text("df_fault_status").as_deref() == Some("ok")
            || is_over(&status)
            || is_over(&detail)
        {
            return Self::Over;
        }
        Self::Wrong(match status_or_detail {
            Some("critical") => Severity::Critical,
            Some("error") => Severity::Error,
            // `nodata`, and levels that are not known.
            _ => Severity::Warning,
        })
    }
}

fn event(fields: &Fields<'_>) -> Event {
    let labels = Labels::read(fields);
    let dedup_key = dedup_key(fields, &labels);
    let state = State::of(fields);
    let trigger = |severity| {
        let content = Box::new(content(fields, labels, severity));
        Intent::Trigger { dedup_key: Some(dedup_key.clone()), content }
    };
    let intent = match state {
        State::Informs => trigger(Severity::Info),
        State::Wrong(severity) => trigger(severity),
        State::Over => Intent::Resolve { dedup_key },
    };
    Event {
        api: Api::Guance,
        intent,
        sent_time: sent_time(fields),
        sent_id: sent_id(fields),
        informs: state == State::Informs,
    }
}

fn content(fields: &Fields<'_>, labels: Labels, severity: Severity) -> Content {
    Content {
        summary: summary(fields),
        source: source(fields, &labels),
        severity,
        component: fields.owned("df_monitor_checker_name"),
        group: fields.owned("df_monitor_name"),
        class: fields.owned("df_monitor_checker"),
        custom_details: Some(fields.details()),
        client: Some(match fields.first(["df_workspace_name", "workspace_name"]) {
            Some(workspace) => format!("Guance {workspace}"),
            None => "Guance".to_owned(),
        }),
        client_url: link(fields),
        links: links(fields),
        images: Vec::new(),
        labels: labels.into_map(),
    }
}

fn change(fields: &Fields<'_>) -> ChangeEvent {
    ChangeEvent {
        summary: summary(fields),
        source: source(fields, &Labels::read(fields)),
        custom_details: Some(fields.details()),
        links: links(fields),
        sent_time: sent_time(fields),
        sent_id: sent_id(fields),
    }
}

/// Its title; nobody would read that it is too long, so it is cut.
fn summary(fields: &Fields<'_>) -> String {
    let message = fields.text("df_message");
    let first_line = || message.as_deref()?.lines().find(|line| !line.trim().is_empty());
    let title = fields.first(["df_title", "df_monitor_checker_name"]);
    let title = title.as_deref().or_else(first_line).unwrap_or("Guance event");
    title.chars().take(SUMMARY_MAX_CHARS).collect()
}

fn source(fields: &Fields<'_>, labels: &Labels) -> Option<String> {
    let dimension = || labels.dimension("host").or(labels.first_dimension()).map(str::to_owned);
    fields.owned("host").or_else(dimension).or_else(|| fields.owned("df_monitor_checker_name"))
}

fn link(fields: &Fields<'_>) -> Option<String> {
    fields.first(["df_event_link", "df_event_url"]).map(Cow::into_owned)
}

fn links(fields: &Fields<'_>) -> Vec<Link> {
    let text = || Some("Event in Guance".to_owned());
    link(fields).map(|href| Link { href, text: text() }).into_iter().collect()
}

fn sent_time(fields: &Fields<'_>) -> SentTime {
    let text = fields.first(["timestamp", "date"]).map(Cow::into_owned);
    SentTime { at: text.as_deref().and_then(timestamp::parse), text }
}

fn sent_id(fields: &Fields<'_>) -> Option<SentId> {
    fields.text("df_event_id").map(|id| SentId::of(&id))
}

/// `guance:`, the workspace, `:`, and what the monitor calls this problem. Where it does not, the
/// SHA-256 of `[workspace, checker's id, {dimension tags by name}]` as compact JSON stands there;
/// a checker without an id goes by its name, and an event without a checker by its title.
fn dedup_key(fields: &Fields<'_>, labels: &Labels) -> DedupKey {
    let workspace = fields.workspace().unwrap_or_default();
    let problem = match fields.text("df_monitor_checker_event_ref") {
        Some(problem) => problem,
        None => {
            const CHECKERS: [&str; 3] =
                ["df_monitor_checker_id", "df_monitor_checker_name", "df_title"];
            let checker = fields.first(CHECKERS).unwrap_or_default();
            let named = match labels.dimensions() {
                Ok(dimensions) => {
                    let sorted: BTreeMap<_, _> =
                        dimensions.iter().map(|(name, value)| (name, value)).collect();
                    serde_json::json!([workspace, checker, sorted])
                }
                Err(text) => serde_json::json!([workspace, checker, text]),
            };
            sha256_hex(&named.to_string()).into()
        }
    };
    let key = format!("guance:{workspace}:{problem}");
    DedupKey::parse(&key)
        .or_else(|_| DedupKey::parse(&format!("guance:{}", sha256_hex(&key))))
        .expect("a hash is short and not empty")
}

fn sha256_hex(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}
