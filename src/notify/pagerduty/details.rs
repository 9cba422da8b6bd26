//! Custom details: what the source sent, untouched, and what this gateway adds to it.

use std::fmt;

use serde::{
    Deserialize, Serialize,
    de::{Deserializer, MapAccess, Visitor},
    ser::{SerializeMap as _, Serializer},
};
use serde_json::value::RawValue;

use crate::{
    domain::{alert::Status, event::Severity, id::IncidentId, notify::Reason, time::Timestamp},
    notify::Message,
    store::query::views::{AlertView, Raw},
};

/// The member that holds what this gateway adds.
const OURS: &str = "dutygate";

/// An object of JSON as it was written: order, repeated names, and the spelling of values.
#[derive(Default)]
struct Written(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WrittenVisitor)
    }
}

struct WrittenVisitor;

impl<'de> Visitor<'de> for WrittenVisitor {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Written(entries))
    }
}

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// What this gateway knows of what it sends on.
#[derive(Serialize)]
struct Ours<'a> {
    reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    late: Option<String>,
    service: &'a str,
    integration: &'a str,
    incident: i64,
    incident_id: IncidentId,
    /// Those of the incident.
    alerts: i64,
    open_alerts: i64,
    events: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storm: Option<i64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    flapping: bool,
    labels: &'a Raw,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    further_alerts: Vec<Further<'a>>,
    /// What another dutygate added before.
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<&'a RawValue>,
}

/// An alert of the incident besides the one whose details these are.
#[derive(Serialize)]
struct Further<'a> {
    summary: &'a str,
    source: &'a str,
    severity: Severity,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<&'a str>,
    first_event_at: Timestamp,
}

impl<'a> Further<'a> {
    fn of(alert: &'a AlertView) -> Self {
        Self {
            summary: &alert.summary,
            source: &alert.source,
            severity: alert.severity,
            status: alert.status,
            component: alert.component.as_deref(),
            first_event_at: alert.first_event_at,
        }
    }
}

/// The details of `alert` with ours beside them, under `dutygate`. What is no object stands under
/// `details`.
pub(super) fn with_ours(message: &Message, alert: &AlertView) -> Result<Raw, serde_json::Error> {
    let mut written = match &alert.custom_details {
        None => Written::default(),
        Some(details) => match serde_json::from_str(details.get()) {
            Ok(written) => written,
            Err(_) => Written(vec![("details".to_owned(), details.clone())]),
        },
    };
    let (received, mut members): (Vec<_>, Vec<_>) =
        written.0.drain(..).partition(|(name, _)| name == OURS);
    let incident = &message.incident;
    let others = message.alerts.iter().filter(|other| other.id != alert.id);
    let ours = Ours {
        reason: message.reason,
        late: message.lateness(),
        service: &incident.service,
        integration: &alert.integration,
        incident: incident.number,
        incident_id: incident.id,
        alerts: incident.alert_count,
        open_alerts: incident.open_alert_count,
        events: incident.event_count,
        group: incident.group_key.as_ref(),
        storm: incident.storm,
        flapping: incident.flapping,
        labels: &alert.labels,
        // Who is told of each alert hears of the others by themselves.
        further_alerts: match message.about {
            Some(_) => Vec::new(),
            None => others.map(Further::of).collect(),
        },
        received: received.last().map(|(_, value)| &**value),
    };
    members.push((OURS.to_owned(), serde_json::value::to_raw_value(&ours)?));
    serde_json::value::to_raw_value(&Written(members))
}
