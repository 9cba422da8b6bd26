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
            };
            Ok((Message::Change(change), details))
        }
        _ => Err(errors.in_order()),
    }
}
