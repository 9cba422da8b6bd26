//! Change events: what was done on purpose. They open nothing.

use crate::domain::event::ChangeEvent;

use super::{Fields, Key, Outcome, Payload, links, v2::Errors};
use crate::wire::Message;

pub(in crate::wire) fn decode<'a>(fields: &Fields<'a>, key: &Key<'_>) -> Outcome<'a> {
    let mut errors = Errors::default();
    errors.judge_key(key);

    let Ok(payload) = Payload::read(fields.payload) else {
        errors.payload_is_no_object();
        return Err(errors.in_order());
    };
    let summary = errors.judge_required("payload.summary", payload.summary);
    errors.judge_summary_length(summary.as_deref());

    match summary {
        Some(summary) if errors.is_empty() => {
            let details = payload.custom_details.verbatim();
            let change = ChangeEvent {
                summary: summary.into_owned(),
                source: payload.source.owned_text(),
                custom_details: details.map(Box::from),
                links: links(fields.links),
                sent_time: payload.sent_time(),
                sent_id: None,
            };
            Ok((Message::Change(change), details))
        }
        _ => Err(errors.in_order()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        event::{Link, SentTime},
        time::Timestamp,
    };
    use crate::wire::{Endpoint, GivenKeys, decode};

    #[test]
    fn a_change_event_carries_all_that_was_sent() {
        let body = r#"{"routing_key":"0123456789abcdef0123456789abcdef","links":[{"href":"https://l"}],
            "payload":{"summary":"Deployed","source":"ci","timestamp":"2026-11-20T10:11:12.345Z","custom_details":{"v": 2}}}"#;

        let decoded = decode(Endpoint::Change, GivenKeys::default(), body.as_bytes()).unwrap();

        let expected = ChangeEvent {
            summary: "Deployed".into(),
            source: Some("ci".into()),
            custom_details: Some(r#"{"v": 2}"#.into()),
            links: vec![Link { href: "https://l".into(), text: None }],
            sent_time: SentTime {
                text: Some("2026-11-20T10:11:12.345Z".into()),
                at: Some(Timestamp::from_millis(1_795_169_472_345)),
            },
            sent_id: None,
        };
        assert_eq!(decoded.message, Message::Change(expected));
    }
}
