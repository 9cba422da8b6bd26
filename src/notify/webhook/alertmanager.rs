//! Alertmanager's webhook document, so that what reads Alertmanager can be a receiver.
//!
//! Source: Alertmanager's documentation, `<webhook_config>`, and `notify/webhook` in its source.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::BODY_BYTES;
use crate::{
    domain::{alert::Status, notify::Reason, time::Timestamp},
    notify::{Message, http::cut},
    store::query::views::AlertView,
};

/// Of the document, as Alertmanager counts.
const VERSION: &str = "4";
/// What it writes for "has not ended".
const NOT_ENDED: &str = "0001-01-01T00:00:00Z";
/// Longest annotation, in bytes: chat services cut or refuse longer messages anyway.
const ANNOTATION_BYTES: usize = 4096;

type Pairs = BTreeMap<String, String>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    version: &'static str,
    group_key: String,
    truncated_alerts: i64,
    status: &'static str,
    receiver: &'a str,
    group_labels: Pairs,
    common_labels: Pairs,
    common_annotations: Pairs,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    alerts: Vec<Alert>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    status: &'static str,
    labels: Pairs,
    annotations: Pairs,
    starts_at: Timestamp,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: String,
    fingerprint: String,
}

/// The document as text. The inner `Err`: there is nothing to send, and why.
pub(super) fn body(message: &Message) -> Result<Result<String, &'static str>, String> {
    if message.reason == Reason::Acknowledged && !message.first {
        return Ok(Err("Alertmanager's document has no word for \"acknowledged\""));
    }
    let resolved = message.reason == Reason::Resolved;
    let all = message.about.as_ref().map_or(&message.alerts[..], std::slice::from_ref);
    let mut alerts = Vec::new();
    let mut bytes = 0;
    for alert in all {
        let alert = Alert::of(alert, message, resolved);
        bytes += serde_json::to_string(&alert).map_err(|error| error.to_string())?.len();
        if bytes > BODY_BYTES && !alerts.is_empty() {
            break;
        }
        alerts.push(alert);
    }
    let count = message.about.as_ref().map_or(message.incident.alert_count, |_| 1);
    let shown = i64::try_from(alerts.len()).unwrap_or(i64::MAX);
    let common_labels = common(alerts.iter().map(|alert| &alert.labels));
    let grouping = ["alertname", "service", "incident"];
    let document = Document {
        version: VERSION,
        group_key: format!("{{}}:{{incident=\"{}\"}}", message.incident.id),
        truncated_alerts: (count - shown).max(0),
        status: status(resolved || alerts.iter().all(|alert| alert.status == "resolved")),
        receiver: &message.receiver,
        group_labels: common_labels
            .iter()
            .filter(|(name, _)| grouping.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        common_labels,
        common_annotations: common(alerts.iter().map(|alert| &alert.annotations)),
        external_url: &message.base_url,
        alerts,
    };
    serde_json::to_string(&document).map(Ok).map_err(|error| error.to_string())
}

fn status(resolved: bool) -> &'static str {
    if resolved { "resolved" } else { "firing" }
}

/// What all have in common.
fn common<'p>(mut all: impl Iterator<Item = &'p Pairs>) -> Pairs {
    let Some(first) = all.next() else { return Pairs::new() };
    let mut common = first.clone();
    for other in all {
        common.retain(|name, value| other.get(name) == Some(value));
    }
    common
}

impl Alert {
    fn of(alert: &AlertView, message: &Message, incident_resolved: bool) -> Self {
        let resolved = incident_resolved || alert.status == Status::Resolved;
        let ended = alert.resolved_at.or(message.incident.resolved_at).unwrap_or(message.at);
        Self {
            status: status(resolved),
            labels: labels(alert, message),
            annotations: annotations(alert, message),
            starts_at: alert.first_event_at,
            ends_at: if resolved { ended.to_string() } else { NOT_ENDED.to_owned() },
            generator_url: source_url(alert).unwrap_or_else(|| message.incident_url()),
            fingerprint: fingerprint(alert),
        }
    }
}

/// Sixteen hex digits that are an alert's from its trigger to its resolve.
fn fingerprint(alert: &AlertView) -> String {
    let hash = Sha256::digest(alert.id.uuid().as_bytes());
    hex::encode(hash.iter().take(8).copied().collect::<Vec<u8>>())
}

/// Ours under the names that readers of Alertmanager expect, and the alert's own, `exported_` where
/// a name is taken, as Prometheus does.
fn labels(alert: &AlertView, message: &Message) -> Pairs {
    let ours = [
        ("alertname", Some(alert.class.as_deref().unwrap_or(&alert.summary))),
        ("severity", Some(alert.severity.as_str())),
        ("instance", Some(alert.source.as_str())),
        ("source", Some(alert.source.as_str())),
        ("service", Some(alert.service.as_str())),
        ("integration", Some(alert.integration.as_str())),
        ("component", alert.component.as_deref()),
        ("group", alert.group.as_deref()),
        ("class", alert.class.as_deref()),
    ];
    let mut labels: Pairs = ours
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    labels.insert("incident".to_owned(), message.incident.number.to_string());
    let own: BTreeMap<String, Value> = serde_json::from_str(alert.labels.get()).unwrap_or_default();
    for (name, value) in own {
        let mut name = label_name(&name);
        if labels.contains_key(&name) {
            name.insert_str(0, "exported_");
        }
        labels.insert(name, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    labels
}

/// The name with `_` for whatever a label of Prometheus may not have.
fn label_name(name: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = name.chars().map(legal).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

fn annotations(alert: &AlertView, message: &Message) -> Pairs {
    let mut annotations = Pairs::new();
    let mut add = |name: &str, text: Option<String>| {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            annotations.insert(name.to_owned(), cut(text, ANNOTATION_BYTES));
        }
    };
    add("summary", Some(alert.summary.clone()));
    add("description", alert.custom_details.as_ref().and_then(|raw| description(raw.get())));
    add("incident_url", Some(message.incident_url()));
    add("late_by", message.late.map(|late| late.to_string()));
    annotations
}

/// In words, if there are any: details that are text, or their `description`; else as they came.
fn description(details: &str) -> Option<String> {
    match serde_json::from_str(details).ok()? {
        Value::String(text) => Some(text),
        Value::Null => None,
        Value::Object(members) if members.is_empty() => None,
        Value::Object(members) => match members.get("description") {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            _ => Some(details.to_owned()),
        },
        _ => Some(details.to_owned()),
    }
}

/// Where the alert comes from, if its sender says so.
fn source_url(alert: &AlertView) -> Option<String> {
    let is_web = |url: &&str| url.starts_with("https://") || url.starts_with("http://");
    let links: Vec<Value> = serde_json::from_str(alert.links.get()).unwrap_or_default();
    let linked = links.iter().filter_map(|link| link.get("href")?.as_str());
    alert.client_url.as_deref().into_iter().chain(linked).find(is_web).map(str::to_owned)
}
