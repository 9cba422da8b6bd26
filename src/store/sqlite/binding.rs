//! Values into the parameters of the statements that write a batch.

use super::bulk::Binder;
use crate::domain::{
    alert::Alert,
    changes::{NewContent, NewEvent},
    event::{Image, Link, Severity},
    id::IncidentId,
    incident::Incident,
    time::Timestamp,
};

/// Details up to this size are copied into the content; larger ones are read from the event's body.
const DETAILS_INLINE_BYTES: usize = 4096;

fn millis(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_millis)
}

pub(super) fn merge<'b>(b: &'b mut Binder, a: &Alert) -> &'b mut Binder {
    b.bind(a.id.seq())
        .bind(a.severity.as_str())
        .bind(a.max_severity.as_str())
        .bind(i64::try_from(a.event_count).unwrap_or(i64::MAX))
        .bind(a.event_at.as_millis())
        .bind(a.last_event_at.as_millis())
        .bind(a.last_event.0)
        .bind(a.content.id.0)
        .bind(a.content.hash)
        .bind(a.content.text.0)
        .bind(a.content.text_hash)
}

pub(super) fn alert(b: &mut Binder, a: &Alert) {
    merge(b, a)
        .bind(a.status.as_str())
        .bind(millis(a.acknowledged_at))
        .bind(millis(a.resolved_at))
        .bind(a.incident_id.map(IncidentId::seq))
        .bind(millis(a.dues.auto_resolve))
        .bind(millis(a.dues.ack_timeout))
        .bind(a.standing.to_stored())
        .bind(a.is_suppressed())
        .bind(a.flapping)
        .bind(a.stale)
        .bind(millis(a.dues.judge));
}

pub(super) fn new_alert(b: &mut Binder, a: &Alert) {
    b.bind(a.id.seq())
        .bind(a.id.uuid())
        .bind(a.integration_id.seq())
        .bind(a.service_id.seq())
        .bind(a.incident_id.map(IncidentId::seq))
        .bind(a.dedup_key.shared())
        .bind(a.generated_key)
        .bind(a.status.as_str())
        .bind(a.severity.as_str())
        .bind(a.max_severity.as_str())
        .bind(i64::try_from(a.event_count).unwrap_or(i64::MAX))
        .bind(a.event_at.as_millis())
        .bind(a.first_event_at.as_millis())
        .bind(a.last_event_at.as_millis())
        .bind(millis(a.acknowledged_at))
        .bind(millis(a.resolved_at))
        .bind(a.last_event.0)
        .bind(a.content.id.0)
        .bind(a.content.hash)
        .bind(a.content.text.0)
        .bind(a.content.text_hash)
        .bind(millis(a.dues.auto_resolve))
        .bind(millis(a.dues.ack_timeout))
        .bind(a.standing.to_stored())
        .bind(a.is_suppressed())
        .bind(a.flapping)
        .bind(a.stale)
        .bind(millis(a.dues.judge));
}

pub(super) fn incident(b: &mut Binder, i: &Incident) {
    b.bind(i.id.seq())
        .bind(i.status.as_str())
        .bind(i.severity.as_str())
        .bind(i.max_severity.as_str())
        .bind(i.alert_count)
        .bind(i.open.info)
        .bind(i.open.warning)
        .bind(i.open.error)
        .bind(i.open.critical)
        .bind(i.last_alert_at.as_millis())
        .bind(millis(i.acknowledged_at))
        .bind(i.acknowledged_by.as_deref())
        .bind(i.acknowledged_severity.map(Severity::as_str))
        .bind(millis(i.resolved_at))
        .bind(millis(i.due))
        .bind(millis(i.snoozed_until))
        .bind(i.assignee.as_deref())
        .bind(i.storm)
        .bind(i.notices.to_stored())
        .bind(hashes_json(i));
}

/// The hashes under which it is found.
fn hashes_json(i: &Incident) -> Option<String> {
    let hashes = &i.group.as_ref()?.hashes;
    if hashes.is_empty() { None } else { serde_json::to_string(hashes).ok() }
}

pub(super) fn new_incident(b: &mut Binder, i: &Incident) {
    b.bind(i.id.seq())
        .bind(i.id.uuid())
        .bind(i.service_id.seq())
        .bind(i.group.as_ref().map(|group| group.rule.uuid()))
        .bind(i.group.as_ref().map(|group| group.shown.as_str()))
        .bind(hashes_json(i))
        .bind(i.title.as_str())
        .bind(i.status.as_str())
        .bind(i.severity.as_str())
        .bind(i.max_severity.as_str())
        .bind(i.alert_count)
        .bind(i.open.info)
        .bind(i.open.warning)
        .bind(i.open.error)
        .bind(i.open.critical)
        .bind(i.created_at.as_millis())
        .bind(i.last_alert_at.as_millis())
        .bind(millis(i.acknowledged_at))
        .bind(i.acknowledged_by.as_deref())
        .bind(i.acknowledged_severity.map(Severity::as_str))
        .bind(millis(i.resolved_at))
        .bind(millis(i.due))
        .bind(millis(i.snoozed_until))
        .bind(i.assignee.as_deref())
        .bind(i.storm)
        .bind(i.notices.to_stored());
}

pub(super) fn content(b: &mut Binder, row: &NewContent) {
    let Some(content) = row.input.content() else { unreachable!("only triggers have content") };
    let inline = content.custom_details.as_deref().filter(|d| d.len() <= DETAILS_INLINE_BYTES);
    let large = match (inline, &content.custom_details, row.input.body.details) {
        (None, Some(_), Some(span)) => Some(span),
        _ => None,
    };
    // Large details whose place in the body is not known are copied after all.
    let copied = if large.is_some() { None } else { content.custom_details.as_deref() };
    b.bind(row.id.0)
        .bind(row.alert_id.seq())
        .bind(row.text.0)
        .bind(content.severity.as_str())
        .bind(content.summary.as_str())
        .bind(content.source.as_deref().unwrap_or(&row.input.integration.name))
        .bind(content.component.as_deref())
        .bind(content.group.as_deref())
        .bind(content.class.as_deref())
        .bind(content.client.as_deref())
        .bind(content.client_url.as_deref())
        .bind(links_json(&content.links))
        .bind(images_json(&content.images))
        .bind(if content.labels.is_empty() { None } else { json(&content.labels) })
        .bind(copied)
        .bind(large.map(|_| row.event_id.seq()))
        .bind(large.map(|(start, _)| start))
        .bind(large.map(|(start, end)| end.saturating_sub(start)));
}

pub(super) fn event(b: &mut Binder, row: &NewEvent) {
    b.bind(row.id.seq())
        .bind(row.id.uuid())
        .bind(row.input.integration.id.seq())
        .bind(row.service_id.seq())
        .bind(row.alert_id.map(crate::domain::id::AlertId::seq))
        .bind(row.previous.map(|seq| seq.0))
        .bind(row.content.map(|seq| seq.0))
        .bind(row.received_at.as_millis())
        .bind(row.event_at.as_millis())
        .bind(row.input.event.sent_time.text.as_deref())
        .bind(row.input.event.api.as_str())
        .bind(row.input.event.intent.action().as_str())
        .bind(row.disposition.as_str())
        .bind(row.dedup_key.shared())
        .bind(row.trace.as_str())
        .bind(row.input.body.text.as_str());
}

pub(super) fn links_json(links: &[Link]) -> Option<String> {
    if links.is_empty() { None } else { json(links) }
}

fn images_json(images: &[Image]) -> Option<String> {
    if images.is_empty() { None } else { json(images) }
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> Option<String> {
    serde_json::to_string(value).ok()
}
