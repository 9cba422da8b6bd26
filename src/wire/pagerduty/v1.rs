//! Events API version 1, "generic": still what Alertmanager's `service_key` and many scripts speak.
//!
//! It has no severity and no source of its own: an alert of it is critical, and its source is the
//! client's name.

use std::collections::BTreeMap;

use crate::domain::{
    event::{Action, Api, Content, Event, Intent, SUMMARY_MAX_CHARS, SentTime, Severity},
    key::{DedupKey, ROUTING_KEY_CHARS},
};

use super::{Fields, Key, Outcome, for_each_object, is_longer_than};
use crate::wire::{
    Message,
    json::{Field, Text},
};

pub(in crate::wire) fn decode<'a>(fields: &Fields<'a>, key: &Key<'_>) -> Outcome<'a> {
    let mut errors = Vec::new();
    errors.extend(key_error(key));

    let action = match fields.event_type.text() {
        Text::Given(text) => Action::parse(&text),
        Text::Blank | Text::Container => None,
    };
    if action.is_none() {
        errors.push("event_type is invalid (must be one of: trigger acknowledge resolve)");
    }
    let content =
        if action == Some(Action::Trigger) { judge_content(fields, &mut errors) } else { None };
    let incident_key = judge_incident_key(fields.incident_key, action, &mut errors);

    let intent = match (action, content, incident_key) {
        (Some(Action::Trigger), Some(content), dedup_key) => {
            Some(Intent::Trigger { dedup_key, content: Box::new(content) })
        }
        (Some(Action::Acknowledge), _, Some(dedup_key)) => Some(Intent::Acknowledge { dedup_key }),
        (Some(Action::Resolve), _, Some(dedup_key)) => Some(Intent::Resolve { dedup_key }),
        (Some(Action::Trigger), None, _)
        | (Some(Action::Acknowledge | Action::Resolve), _, None)
        | (None, _, _) => None,
    };
    match intent {
        Some(intent) if errors.is_empty() => {
            let event = Event { api: Api::V1, intent, sent_time: SentTime::default() };
            Ok((Message::Event(event), fields.details.verbatim()))
        }
        _ => Err(errors.into_iter().map(str::to_owned).collect()),
    }
}

/// Version 1 has no words for a key of the right length in the wrong characters: it is unknown.
fn key_error(key: &Key<'_>) -> Option<&'static str> {
    const WRONG_LENGTH: &str = "Service key is the wrong length (should be 32 characters)";
    match key {
        Key::Absent => Some("Service key is missing or blank"),
        Key::Container => Some(WRONG_LENGTH),
        Key::InBody(key) if key.chars().count() != ROUTING_KEY_CHARS => Some(WRONG_LENGTH),
        Key::InBody(_) | Key::Given(_) => None,
    }
}

fn judge_content(fields: &Fields<'_>, errors: &mut Vec<&'static str>) -> Option<Content> {
    // Nor has it words for a description that is no text, so that one becomes its JSON text.
    let Some(description) = fields.description.lenient_text() else {
        errors.push("Description is missing or blank");
        return None;
    };
    if is_longer_than(&description, SUMMARY_MAX_CHARS) {
        errors.push("Description is too long (maximum is 1024 characters)");
    }
    let client = fields.client.owned_text();
    let mut links = Vec::new();
    let mut images = Vec::new();
    for_each_object(fields.contexts, |entry| match entry.kind.lenient_text().as_deref() {
        Some("link") => links.extend(entry.link()),
        Some("image") => images.extend(entry.image()),
        _ => {}
    });
    Some(Content {
        summary: description.into_owned(),
        source: client.clone(),
        severity: Severity::Critical,
        component: None,
        group: None,
        class: None,
        custom_details: fields.details.verbatim().map(Box::from),
        client,
        client_url: fields.client_url.owned_text(),
        links,
        images,
        labels: BTreeMap::new(),
    })
}

fn judge_incident_key(
    field: Field<'_>,
    action: Option<Action>,
    errors: &mut Vec<&'static str>,
) -> Option<DedupKey> {
    let text = field.lenient_text();
    let required = match action {
        Some(Action::Acknowledge) => Some("incident_key is required for acknowledge events"),
        Some(Action::Resolve) => Some("incident_key is required for resolve events"),
        Some(Action::Trigger) | None => None,
    };
    errors.extend(required.filter(|_| text.is_none()));
    let incident_key = DedupKey::parse(&text?).ok();
    if incident_key.is_none() {
        errors.push("incident_key is too long (maximum is 255 characters)");
    }
    incident_key
}
