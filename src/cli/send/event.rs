//! The body of an event, from flags.

use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Value, value::RawValue};

use super::{Fields, Link};

/// What every event of a run has in common.
#[derive(Debug)]
pub(super) struct Template {
    pub routing_key: Option<String>,
    /// Nothing for a change event.
    pub action: Option<String>,
    pub fields: Fields,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names of the wire")]
struct Event<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    routing_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_action: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dedup_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_url: Option<&'a str>,
    #[serde(skip_serializing_if = "<[Link]>::is_empty")]
    links: &'a [Link],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<Image<'a>>,
    #[serde(skip_serializing_if = "Payload::is_empty")]
    payload: Payload<'a>,
}

#[derive(Serialize)]
struct Image<'a> {
    src: &'a str,
}

#[derive(Serialize)]
struct Payload<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_details: Option<Box<RawValue>>,
}

impl Payload<'_> {
    fn is_empty(&self) -> bool {
        let texts =
            [self.source, self.severity, self.timestamp, self.component, self.group, self.class];
        self.summary.is_none() && self.custom_details.is_none() && texts.iter().all(Option::is_none)
    }
}

impl Template {
    /// The JSON of the `n`th event, counted from 1.
    pub(super) fn body(&self, n: u64) -> anyhow::Result<Vec<u8>> {
        let fields = &self.fields;
        let numbered =
            |text: &Option<String>| text.as_ref().map(|text| text.replace("{i}", &n.to_string()));
        let event = Event {
            routing_key: self.routing_key.as_deref(),
            event_action: self.action.as_deref(),
            dedup_key: numbered(&fields.dedup_key),
            client: fields.client.as_deref(),
            client_url: fields.client_url.as_deref(),
            links: &fields.link,
            images: fields.image.iter().map(|src| Image { src }).collect(),
            payload: Payload {
                summary: numbered(&fields.summary),
                source: fields.source.as_deref(),
                severity: fields.severity.as_deref(),
                timestamp: fields.timestamp.as_deref(),
                component: fields.component.as_deref(),
                group: fields.group.as_deref(),
                class: fields.class.as_deref(),
                custom_details: self.custom_details()?,
            },
        };
        serde_json::to_vec(&event).context("cannot write the event")
    }

    fn custom_details(&self) -> anyhow::Result<Option<Box<RawValue>>> {
        if let Some(json) = &self.fields.custom_details {
            return Ok(Some(json.0.clone()));
        }
        if self.fields.detail.is_empty() {
            return Ok(None);
        }
        let details: serde_json::Map<String, Value> =
            self.fields.detail.iter().map(|it| (it.key.clone(), it.value.clone().into())).collect();
        serde_json::value::to_raw_value(&details).map(Some).context("cannot write the details")
    }
}
