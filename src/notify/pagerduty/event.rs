//! From a message to the events that tell it.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::details;
use crate::{
    domain::{
        alert::Status,
        event::{Action, SUMMARY_MAX_CHARS, Severity},
        notify::Reason,
        time::Timestamp,
    },
    notify::Message,
    store::query::views::{AlertView, Raw, raw},
};

/// Largest event, in bytes. PagerDuty says 512 KB and does not say which; Alertmanager found that
/// these are the smaller ones.
///
/// Source: PagerDuty Events API v2 Overview, "Size Limits"; `maxEventSize` of Alertmanager.
const EVENT_BYTES: usize = 512_000;

/// Kept free in an event for its routing key.
const KEY_BYTES: usize = 100;

/// In an event that is too large even without details: longest text, in characters.
const TEXT_CHARS: usize = 1024;

/// What stands in the place of details that are too large, in Alertmanager's words.
const REMOVED: &str = "Custom details have been removed because the original event exceeds the \
                       maximum size of 512KB";

const CLIENT: &str = "dutygate";

/// A link or an image.
type Item = Map<String, Value>;

/// An event but for its routing key.
#[derive(Serialize)]
struct Event {
    #[serde(rename = "event_action")]
    action: Action,
    dedup_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_url: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Item>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<Item>,
}

#[derive(Serialize)]
struct Payload {
    summary: String,
    source: String,
    severity: Severity,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_details: Option<Raw>,
}

/// What tells a message, in the order in which it has to arrive.
pub(super) fn actions(reason: Reason, first: bool, wakes: bool) -> &'static [Action] {
    match reason {
        // It resolves itself, or somebody would have to.
        Reason::Test => &[Action::Trigger, Action::Resolve],
        Reason::Resolved => &[Action::Resolve],
        Reason::Acknowledged if first => &[Action::Trigger, Action::Acknowledge],
        Reason::Acknowledged => &[Action::Acknowledge],
        Reason::Opened
        | Reason::Reopened
        | Reason::SeverityRaised
        | Reason::Storm
        | Reason::Flapping
        | Reason::Repeat
        | Reason::AlertsAdded => {
            // Nothing takes an acknowledgement back: what is acknowledged ends and begins anew.
            if wakes { &[Action::Resolve, Action::Trigger] } else { &[Action::Trigger] }
        }
    }
}

/// The events that tell `message`, in the order in which they have to arrive.
pub(super) fn compose(message: &Message, passthrough: bool) -> Result<Vec<String>, String> {
    let actions = actions(message.reason, message.first, message.wakes);
    let write = |action: &Action| {
        let event = Event::new(*action, dedup_key(message, passthrough));
        match (action, message.reason) {
            (Action::Acknowledge | Action::Resolve, _) => event,
            (Action::Trigger, Reason::Test) => event.of_test(message),
            (Action::Trigger, _) => event.of(message, passthrough)?,
        }
        .fitting()
    };
    let events: Result<_, serde_json::Error> = actions.iter().map(write).collect();
    events.map_err(|error| format!("the event cannot be written: {error}"))
}

/// What PagerDuty knows it by.
fn dedup_key(message: &Message, passthrough: bool) -> String {
    match (&message.about, message.reason) {
        (_, Reason::Test) => format!("dutygate:test:{}", message.delivery),
        (Some(alert), _) if passthrough => alert.dedup_key.clone(),
        (Some(alert), _) => format!("dutygate:{}", alert.id),
        (None, _) => format!("dutygate:{}", message.incident.id),
    }
}

/// The alert that an incident began with, of those that are open if there are any: its title says
/// what that one said.
fn first(alerts: &[AlertView]) -> Option<&AlertView> {
    alerts.iter().min_by_key(|alert| (alert.status == Status::Resolved, alert.first_event_at))
}

/// Where to read more: here, at the source, and where the source says.
fn links(message: &Message, alert: Option<&AlertView>, page: &str) -> Vec<Item> {
    let link = |href: &str, text: &str| {
        Item::from_iter([("href".to_owned(), href.into()), ("text".to_owned(), text.into())])
    };
    let number = message.incident.number;
    let mut links = vec![link(page, &format!("Incident #{number} in dutygate"))];
    let Some(alert) = alert else { return links };
    if let Some(url) = &alert.client_url {
        links.push(link(url, alert.client.as_deref().unwrap_or("Source")));
    }
    links.extend(items(&alert.links));
    links
}

/// The items of a list as they were sent: what they did not have is stored as null.
fn items(list: &Raw) -> Vec<Item> {
    let mut items: Vec<Item> = serde_json::from_str(list.get()).unwrap_or_default();
    for item in &mut items {
        item.retain(|_, value| !value.is_null());
    }
    items
}

impl Event {
    fn new(action: Action, dedup_key: String) -> Self {
        Self {
            action,
            dedup_key,
            payload: None,
            client: None,
            client_url: None,
            links: Vec::new(),
            images: Vec::new(),
        }
    }

    fn of_test(self, message: &Message) -> Self {
        let about = json!({"dutygate": {"reason": message.reason, "receiver": message.receiver}});
        Self {
            payload: Some(Payload {
                summary: format!("Test of the receiver {}: nothing is wrong", message.receiver),
                source: CLIENT.to_owned(),
                severity: Severity::Info,
                timestamp: message.at,
                component: None,
                group: None,
                class: None,
                custom_details: Some(raw(&about.to_string())),
            }),
            client: Some(CLIENT.to_owned()),
            client_url: Some(message.base_url.clone()),
            ..self
        }
    }

    fn of(self, message: &Message, passthrough: bool) -> Result<Self, serde_json::Error> {
        let Message { about, incident, .. } = message;
        let original = about.as_ref().filter(|_| passthrough);
        let alert = about.as_ref().or_else(|| first(&message.alerts));
        let payload = Payload {
            summary: about.as_ref().map_or(&incident.title, |alert| &alert.summary).clone(),
            source: alert.map_or(&incident.service, |alert| &alert.source).clone(),
            severity: about.as_ref().map_or(incident.severity, |alert| alert.severity),
            timestamp: alert.map_or(incident.created_at, |alert| alert.event_at),
            component: alert.and_then(|alert| alert.component.clone()),
            group: alert.and_then(|alert| alert.group.clone()),
            class: alert.and_then(|alert| alert.class.clone()),
            custom_details: match (original, alert) {
                (Some(original), _) => original.custom_details.clone(),
                (None, Some(alert)) => Some(details::with_ours(message, alert)?),
                (None, None) => None,
            },
        };
        let event = Self {
            payload: Some(payload.complete(message)),
            images: alert.map(|alert| items(&alert.images)).unwrap_or_default(),
            ..self
        };
        if let Some(original) = original {
            return Ok(Self {
                client: original.client.clone(),
                client_url: original.client_url.clone(),
                links: items(&original.links),
                ..event
            });
        }
        // PagerDuty's webhooks name this page, and often nothing else that tells what they are of.
        let page = message.incident_url();
        let page = match about {
            Some(alert) => format!("{page}#alert-{}", alert.id),
            None => page,
        };
        Ok(Self {
            client: Some(CLIENT.to_owned()),
            links: links(message, alert, &page),
            client_url: Some(page),
            ..event
        })
    }

    /// The event as text. If it is too large, without the details; if it still is, without
    /// anything else that can be large.
    fn fitting(mut self) -> Result<String, serde_json::Error> {
        let fits = |text: &String| text.len() + KEY_BYTES <= EVENT_BYTES;
        let text = serde_json::to_string(&self)?;
        let Some(payload) = self.payload.as_mut().filter(|_| !fits(&text)) else { return Ok(text) };
        payload.custom_details = Some(raw(&json!({"error": REMOVED}).to_string()));
        let text = serde_json::to_string(&self)?;
        if fits(&text) {
            return Ok(text);
        }
        self.links.clear();
        self.images.clear();
        if let Some(Payload { source, component, group, class, .. }) = &mut self.payload {
            let texts = [Some(source), component.as_mut(), group.as_mut(), class.as_mut()];
            let others = [self.client.as_mut(), self.client_url.as_mut()];
            for text in texts.into_iter().chain(others).flatten() {
                cut_chars(text, TEXT_CHARS);
            }
        }
        serde_json::to_string(&self)
    }
}

impl Payload {
    /// Fills what PagerDuty insists on and cuts what it would refuse.
    fn complete(mut self, message: &Message) -> Self {
        if self.summary.trim().is_empty() {
            self.summary = format!("Incident #{}", message.incident.number);
        }
        if self.source.trim().is_empty() {
            CLIENT.clone_into(&mut self.source);
        }
        cut_chars(&mut self.summary, SUMMARY_MAX_CHARS);
        self
    }
}

/// Leaves the first `max` characters.
fn cut_chars(text: &mut String, max: usize) {
    if let Some((at, _)) = text.char_indices().nth(max) {
        text.truncate(at);
    }
}
