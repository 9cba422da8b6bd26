//! Our own document: what happened, with the incident and its alerts as the JSON API shows them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::BODY_BYTES;
use crate::{
    domain::{notify::Reason, time::Timestamp},
    notify::Message,
    store::query::views::{AlertView, IncidentView},
};

/// Of the document. Members may be added within a version, none goes and none changes its meaning.
const VERSION: u32 = 1;

/// What stands in place of details that are too large.
const REMOVED: &str =
    r#"{"error":"custom_details were left out: with them the webhook would be over 512 KB"}"#;

/// `type`, `timestamp` and `data` are what Standard Webhooks recommends.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    timestamp: Timestamp,
    version: u32,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    reason: Reason,
    first: bool,
    receiver: &'a str,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    late_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<Box<RawValue>>,
    incident: &'a IncidentView,
    alerts: Vec<Box<RawValue>>,
}

/// The document as text, at most [`BODY_BYTES`] unless the incident alone is larger. Alerts that do
/// not fit are left out from the end, and what a single one makes too large is left out of it.
pub(super) fn body(message: &Message) -> Result<String, String> {
    let mut document = Document {
        r#type: kind(message),
        timestamp: message.at,
        version: VERSION,
        data: Data {
            reason: message.reason,
            first: message.first,
            receiver: &message.receiver,
            url: message.incident_url(),
            late_by: message.late.map(|late| late.to_string()),
            alert: None,
            incident: &message.incident,
            alerts: Vec::new(),
        },
    };
    let mut room = BODY_BYTES.saturating_sub(text(&document)?.len());
    if let Some(about) = &message.about {
        let about = fitting(about, room)?;
        room = room.saturating_sub(about.get().len() + r#","alert":"#.len());
        document.data.alert = Some(about);
    }
    for alert in &message.alerts {
        let alert = match document.data.alerts.first() {
            // Without any alert nobody knows what it is about.
            None => fitting(alert, room)?,
            Some(_) => to_raw_value(alert).map_err(|error| unwritten(&error))?,
        };
        let taken = alert.get().len() + 1;
        if taken > room && !document.data.alerts.is_empty() {
            break;
        }
        room = room.saturating_sub(taken);
        document.data.alerts.push(alert);
    }
    text(&document)
}

/// `incident.` and the reason. What a receiver has never heard of is `incident.opened` whatever the
/// reason is, so that one that keeps a state begins at the beginning.
fn kind(message: &Message) -> String {
    let reason = match message.reason {
        Reason::Test => return "receiver.test".to_owned(),
        Reason::Resolved => Reason::Resolved,
        Reason::Opened
        | Reason::Reopened
        | Reason::SeverityRaised
        | Reason::Storm
        | Reason::Flapping
        | Reason::Repeat
        | Reason::AlertsAdded
        | Reason::Acknowledged => {
            if message.first {
                Reason::Opened
            } else {
                message.reason
            }
        }
    };
    format!("incident.{reason}")
}

/// The alert, without what makes it larger than `room` bytes.
fn fitting(alert: &AlertView, room: usize) -> Result<Box<RawValue>, String> {
    let mut raw = to_raw_value(alert).map_err(|error| unwritten(&error))?;
    for (member, instead) in
        [("custom_details", REMOVED), ("images", "[]"), ("links", "[]"), ("labels", "{}")]
    {
        if raw.get().len() < room {
            break;
        }
        let instead =
            RawValue::from_string(instead.to_owned()).map_err(|error| unwritten(&error))?;
        let mut members: BTreeMap<String, &RawValue> =
            serde_json::from_str(raw.get()).map_err(|error| unwritten(&error))?;
        members.insert(member.to_owned(), &instead);
        raw = to_raw_value(&members).map_err(|error| unwritten(&error))?;
    }
    Ok(raw)
}

fn text(document: &Document<'_>) -> Result<String, String> {
    serde_json::to_string(document).map_err(|error| unwritten(&error))
}

fn unwritten(error: &serde_json::Error) -> String {
    format!("it cannot be written as JSON: {error}")
}
