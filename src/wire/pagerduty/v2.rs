//! Events API version 2: `trigger`, `acknowledge`, `resolve`.

use std::{borrow::Cow, collections::BTreeMap};

use crate::domain::{
    event::{Action, Api, Content, Event, Intent, SUMMARY_MAX_CHARS, Severity},
    key::{DedupKey, ROUTING_KEY_CHARS},
};

use super::{Fields, Key, Outcome, Payload, images, is_longer_than, links};
use crate::wire::{
    Message,
    json::{Field, Text},
};

const SEVERITY_INVALID: &str = "'payload.severity' is invalid (must be one of the following: \
                                'critical', 'warning', 'error' or 'info')";
const ACTION_INVALID: &str = "'event_action' is invalid (must be one of the following: \
                              'trigger', 'acknowledge' or 'resolve')";

pub(in crate::wire) fn decode<'a>(fields: &Fields<'a>, key: &Key<'_>) -> Outcome<'a> {
    let mut errors = Errors::default();
    errors.judge_key(key);

    let action = judge_action(fields.event_action, &mut errors);
    // Senders fill the payload of an acknowledge or resolve with anything: it is read, for its
    // time and details, and never judged.
    let payload = match (Payload::read(fields.payload), action) {
        (Ok(payload), _) => payload,
        (Err(_), Some(Action::Trigger)) => {
            errors.payload_is_no_object();
            judge_dedup_key(fields, action, &mut errors);
            return Err(errors.in_order());
        }
        (Err(_), Some(Action::Acknowledge | Action::Resolve) | None) => Payload::default(),
    };
    let content = if action == Some(Action::Trigger) {
        judge_content(fields, &payload, &mut errors)
    } else {
        None
    };
    let dedup_key = judge_dedup_key(fields, action, &mut errors);

    let intent = match (action, content, dedup_key) {
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
            let event = Event::new(Api::V2, intent, payload.sent_time());
            Ok((Message::Event(event), payload.custom_details.verbatim()))
        }
        _ => Err(errors.in_order()),
    }
}

fn judge_action(field: Field<'_>, errors: &mut Errors) -> Option<Action> {
    let action = match field.text() {
        Text::Blank => {
            errors.push("'event_action' is missing or blank");
            return None;
        }
        Text::Given(text) => Action::parse(&text),
        Text::Container => None,
    };
    if action.is_none() {
        errors.push(ACTION_INVALID);
    }
    action
}

fn judge_content(
    fields: &Fields<'_>,
    payload: &Payload<'_>,
    errors: &mut Errors,
) -> Option<Content> {
    let summary = errors.judge_required("payload.summary", payload.summary);
    let source = errors.judge_required("payload.source", payload.source);
    let severity = judge_severity(payload.severity, errors);
    errors.judge_summary_length(summary.as_deref());

    Some(Content {
        summary: summary?.into_owned(),
        source: Some(source?.into_owned()),
        severity: severity?,
        component: payload.component.owned_text(),
        group: payload.group.owned_text(),
        class: payload.class.owned_text(),
        custom_details: payload.custom_details.verbatim().map(Box::from),
        client: fields.client.owned_text(),
        client_url: fields.client_url.owned_text(),
        links: links(fields.links),
        images: images(fields.images),
        labels: BTreeMap::new(),
    })
}

/// Lower case only: `Critical` is refused by PagerDuty, too.
fn judge_severity(field: Field<'_>, errors: &mut Errors) -> Option<Severity> {
    let severity = match field.text() {
        Text::Blank => {
            errors.push("'payload.severity' is missing or blank");
            return None;
        }
        Text::Given(text) => Severity::parse(&text),
        Text::Container => None,
    };
    if severity.is_none() {
        errors.push(SEVERITY_INVALID);
    }
    severity
}

fn judge_dedup_key(
    fields: &Fields<'_>,
    action: Option<Action>,
    errors: &mut Errors,
) -> Option<DedupKey> {
    match (fields.dedup_key.lenient_text(), action) {
        (Some(text), _) => {
            let dedup_key = DedupKey::parse(&text).ok();
            if dedup_key.is_none() {
                errors.push("'dedup_key' is too long (maximum is 255 characters)");
            }
            dedup_key
        }
        (None, Some(Action::Acknowledge | Action::Resolve)) => {
            errors.push("'dedup_key' is missing or blank");
            None
        }
        (None, Some(Action::Trigger) | None) => None,
    }
}

/// The errors of one message of version 2 or of a change event, in the order they are told.
#[derive(Debug, Default)]
pub(in crate::wire) struct Errors {
    first: Vec<String>,
    /// Wrong types, found along the way and told at the end.
    wrong_types: Vec<String>,
    payload: Option<&'static str>,
    routing_key: Option<&'static str>,
}

impl Errors {
    pub(in crate::wire) fn push(&mut self, error: &str) {
        self.first.push(error.to_owned());
    }

    pub(super) fn payload_is_no_object(&mut self) {
        self.payload = Some("'payload' is invalid (must be an object)");
    }

    pub(in crate::wire) fn judge_key(&mut self, key: &Key<'_>) {
        match key {
            Key::Absent => self.push("'routing_key' cannot be blank"),
            Key::Container => {
                self.routing_key = Some("'routing_key' is invalid (must be a string)");
            }
            Key::Given(_) => {}
            Key::InBody(key) => {
                if key.chars().count() != ROUTING_KEY_CHARS {
                    self.push("Length of 'routing_key' is incorrect (should be 32 characters)");
                }
                if !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                    self.push("'routing_key' cannot contain non-alphanumeric characters.");
                }
            }
        }
    }

    pub(super) fn judge_required<'a>(
        &mut self,
        name: &str,
        field: Field<'a>,
    ) -> Option<Cow<'a, str>> {
        match field.text() {
            Text::Given(text) => return Some(text),
            Text::Blank => self.first.push(format!("'{name}' is missing or blank")),
            Text::Container => {
                self.wrong_types.push(format!("'{name}' is invalid (must be a string)"));
            }
        }
        None
    }

    pub(super) fn judge_summary_length(&mut self, summary: Option<&str>) {
        if summary.is_some_and(|summary| is_longer_than(summary, SUMMARY_MAX_CHARS)) {
            // PagerDuty's own spelling; someone may be looking for it.
            self.push("'summary' is too long (maiximum is 1024 characters)");
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty()
            && self.wrong_types.is_empty()
            && self.payload.is_none()
            && self.routing_key.is_none()
    }

    pub(in crate::wire) fn in_order(self) -> Vec<String> {
        let last = self.payload.into_iter().chain(self.routing_key).map(str::to_owned);
        self.first.into_iter().chain(self.wrong_types).chain(last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        event::{Image, Link, SentTime},
        time::Timestamp,
    };
    use crate::wire::{Endpoint, GivenKeys, decode};

    fn event(body: &str) -> Event {
        let keys = GivenKeys { url: Some("0123456789abcdef0123456789abcdef"), header: None };
        match decode(Endpoint::V2, keys, body.as_bytes()).unwrap().message {
            Message::Event(event) => event,
            Message::Change(change) => panic!("{change:?}"),
        }
    }

    fn content(body: &str) -> Content {
        match event(body).intent {
            Intent::Trigger { content, .. } => *content,
            other => panic!("{other:?}"),
        }
    }

    fn trigger(payload: &str, top_level: &str) -> String {
        format!(
            r#"{{"event_action":"trigger",{top_level}"payload":{{"summary":"s","source":"h","severity":"error"{payload}}}}}"#
        )
    }

    #[test]
    fn a_trigger_carries_all_that_was_sent() {
        let body = trigger(
            r#","component":"c","group":"g","class":"k","custom_details":{"b": 1.0,"a":"\u0000"}"#,
            r#""client":"Alertmanager","client_url":"https://am",
               "links":[{"href":"https://l","text":"t"},{"href":"https://m"}],
               "images":[{"src":"https://i","href":"https://h","alt":"a"}],"#,
        );

        let expected = Content {
            summary: "s".into(),
            source: Some("h".into()),
            severity: Severity::Error,
            component: Some("c".into()),
            group: Some("g".into()),
            class: Some("k".into()),
            custom_details: Some(r#"{"b": 1.0,"a":"\u0000"}"#.into()),
            client: Some("Alertmanager".into()),
            client_url: Some("https://am".into()),
            links: vec![
                Link { href: "https://l".into(), text: Some("t".into()) },
                Link { href: "https://m".into(), text: None },
            ],
            images: vec![Image {
                src: "https://i".into(),
                href: Some("https://h".into()),
                alt: Some("a".into()),
            }],
            labels: BTreeMap::new(),
        };
        assert_eq!(content(&body), expected);
    }

    #[test]
    fn empty_null_and_blank_fields_are_absent() {
        for blank in [r#""""#, "null", r#"" \n""#] {
            let body = trigger(
                &format!(r#","component":{blank},"timestamp":{blank},"custom_details":{blank}"#),
                &format!(r#""dedup_key":{blank},"client":{blank},"links":{blank},"#),
            );

            let event = event(&body);
            assert_eq!(event.sent_time, SentTime::default());
            assert_eq!(event.intent.dedup_key(), None);
            let content = content(&body);
            assert_eq!(
                (content.component, content.custom_details, content.client),
                (None, None, None)
            );
            assert_eq!(content.links, []);
        }
    }

    #[test]
    fn what_is_no_text_becomes_text() {
        let content = content(&trigger(
            r#","component":1.50e+02,"group":false,"class":{"a": [1]}"#,
            r#""client":"a\u0000b","#,
        ));

        assert_eq!(content.component.as_deref(), Some("1.50e+02"));
        assert_eq!(content.group.as_deref(), Some("false"));
        assert_eq!(content.class.as_deref(), Some(r#"{"a": [1]}"#));
        assert_eq!(content.client.as_deref(), Some("a\u{FFFD}b"));
    }

    #[test]
    fn links_and_images_without_an_address_are_left_out() {
        let content = content(&trigger(
            "",
            r#""links":[1,{"text":"t"},{"href":[]},{"href":1,"text":{}}],"images":{"src":"x"},"#,
        ));

        assert_eq!(content.links, [Link { href: "1".into(), text: Some("{}".into()) }]);
        assert_eq!(content.images, []);
    }

    #[test]
    fn an_unreadable_time_is_kept_as_it_was_sent() {
        let readable = event(&trigger(r#","timestamp":1795169472345"#, "")).sent_time;
        let unreadable = event(&trigger(r#","timestamp":["soon"]"#, "")).sent_time;

        assert_eq!(readable.text.as_deref(), Some("1795169472345"));
        assert_eq!(readable.at, Some(Timestamp::from_millis(1_795_169_472_345)));
        assert_eq!(unreadable, SentTime { text: Some(r#"["soon"]"#.into()), at: None });
    }

    #[test]
    fn a_resolve_keeps_its_time_and_the_place_of_its_details() {
        let body = r#"{"event_action":"resolve","dedup_key":"k","payload":{"summary":{},"timestamp":"2026-11-20 10:11:12","custom_details":[1, 2]}}"#;
        let keys = GivenKeys { url: Some("k"), header: None };

        let decoded = decode(Endpoint::Either, keys, body.as_bytes()).unwrap();

        let (start, end) = decoded.body.details.unwrap();
        assert_eq!(&decoded.body.text[start as usize..end as usize], "[1, 2]");
        let Message::Event(event) = decoded.message else { panic!("{:?}", decoded.message) };
        assert_eq!(event.intent, Intent::Resolve { dedup_key: DedupKey::parse("k").unwrap() });
        assert!(event.sent_time.at.is_some());
    }
}
