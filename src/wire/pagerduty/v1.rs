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
            let event = Event::new(Api::V1, intent, SentTime::default());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Image, Link};
    use crate::wire::{Decoded, Endpoint, GivenKeys, decode};

    fn decoded(body: &str) -> Decoded {
        let keys = GivenKeys { url: Some("0123456789abcdef0123456789abcdef"), header: None };
        decode(Endpoint::Either, keys, body.as_bytes()).unwrap()
    }

    fn content(decoded: Decoded) -> Content {
        match decoded.message {
            Message::Event(Event { intent: Intent::Trigger { content, .. }, .. }) => *content,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_trigger_is_critical_and_its_source_is_its_client() {
        let decoded = decoded(
            r#"{"event_type":"trigger","description":"磁盘","client":"am","client_url":"https://am",
                "details":"plain","contexts":[{"type":"link","href":"https://l","text":"t"},{"type":"other","href":"x"},
                {"type":"image","src":"https://i","href":"https://h","alt":"a"},{"type":"link","src":"https://i"},7]}"#,
        );

        assert_eq!(decoded.api, Api::V1);
        let (start, end) = decoded.body.details.unwrap();
        assert_eq!(&decoded.body.text[start as usize..end as usize], r#""plain""#);
        let expected = Content {
            summary: "磁盘".into(),
            source: Some("am".into()),
            severity: Severity::Critical,
            component: None,
            group: None,
            class: None,
            custom_details: Some(r#""plain""#.into()),
            client: Some("am".into()),
            client_url: Some("https://am".into()),
            links: vec![Link { href: "https://l".into(), text: Some("t".into()) }],
            images: vec![Image {
                src: "https://i".into(),
                href: Some("https://h".into()),
                alt: Some("a".into()),
            }],
            labels: BTreeMap::new(),
        };
        assert_eq!(content(decoded), expected);
    }

    #[test]
    fn without_a_client_the_source_is_left_to_the_integrations_name() {
        let content = content(decoded(r#"{"event_type":"trigger","description":{"a":1}}"#));

        assert_eq!(content.source, None);
        assert_eq!(content.summary, r#"{"a":1}"#);
    }
}
