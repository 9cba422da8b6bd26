//! PagerDuty's Events API, versions 1 and 2, its change events, and its webhooks.
//!
//! Sources: PagerDuty's developer documentation, "Send an event", "Send a change event" and
//! "Events API v1"; wording marked *seen* in the design was answered by PagerDuty itself. Bodies
//! are read loosely first (`Fields`, `Payload`) and validated by hand after, because the
//! sender is told all errors at once, in PagerDuty's words.

pub(super) mod change;
pub mod reply;
pub(super) mod v1;
pub(super) mod v2;
pub mod webhook;

use std::borrow::Cow;

use crate::domain::event::{Image, Link, SentTime};

use super::{
    GivenKeys, Message, SentKey,
    json::{self, Field, Text, Unreadable},
    timestamp,
};

/// A decoded message with the span of its details, or all that is wrong with it.
pub(super) type Outcome<'a> = Result<(Message, Option<&'a str>), Vec<String>>;

/// The top-level fields of all versions. Which of them count depends on the version.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) routing_key: Field<'a>,
    pub(super) event_action: Field<'a>,
    dedup_key: Field<'a>,
    payload: Field<'a>,
    images: Field<'a>,
    links: Field<'a>,
    client: Field<'a>,
    client_url: Field<'a>,

    pub(super) service_key: Field<'a>,
    pub(super) event_type: Field<'a>,
    incident_key: Field<'a>,
    description: Field<'a>,
    details: Field<'a>,
    contexts: Field<'a>,

    /// Every value under the name of a key, those that a later one overrides among them.
    pub(super) secrets: Vec<Field<'a>>,
}

impl<'a> Fields<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, Unreadable> {
        let mut fields = Self::default();
        json::for_each_entry(text, |name, value| {
            let field = match name {
                "routing_key" | "service_key" => {
                    fields.secrets.push(value);
                    if name == "routing_key" {
                        &mut fields.routing_key
                    } else {
                        &mut fields.service_key
                    }
                }
                "event_action" => &mut fields.event_action,
                "dedup_key" => &mut fields.dedup_key,
                "payload" => &mut fields.payload,
                "images" => &mut fields.images,
                "links" => &mut fields.links,
                "client" => &mut fields.client,
                "client_url" => &mut fields.client_url,
                "event_type" => &mut fields.event_type,
                "incident_key" => &mut fields.incident_key,
                "description" => &mut fields.description,
                "details" => &mut fields.details,
                "contexts" => &mut fields.contexts,
                _ => return,
            };
            *field = value;
        })?;
        Ok(fields)
    }
}

/// The fields of `payload`.
#[derive(Debug, Default)]
struct Payload<'a> {
    summary: Field<'a>,
    source: Field<'a>,
    severity: Field<'a>,
    timestamp: Field<'a>,
    component: Field<'a>,
    group: Field<'a>,
    class: Field<'a>,
    custom_details: Field<'a>,
}

impl<'a> Payload<'a> {
    /// A blank `payload` is one without fields; anything but an object is an error.
    fn read(payload: Field<'a>) -> Result<Self, Unreadable> {
        let mut fields = Self::default();
        let Some(text) = payload.verbatim() else { return Ok(fields) };
        json::for_each_entry(text, |name, value| {
            let field = match name {
                "summary" => &mut fields.summary,
                "source" => &mut fields.source,
                "severity" => &mut fields.severity,
                "timestamp" => &mut fields.timestamp,
                "component" => &mut fields.component,
                "group" => &mut fields.group,
                "class" => &mut fields.class,
                "custom_details" => &mut fields.custom_details,
                _ => return,
            };
            *field = value;
        })?;
        Ok(fields)
    }

    fn sent_time(&self) -> SentTime {
        let text = self.timestamp.owned_text();
        SentTime { at: text.as_deref().and_then(timestamp::parse), text }
    }
}

/// The key that a message goes by, and how much is expected of it.
#[derive(Debug)]
pub(super) enum Key<'a> {
    Absent,
    /// From URL or header: not judged, but looked up.
    Given(&'a str),
    /// From the body: the sender is told if it cannot be a key.
    InBody(Cow<'a, str>),
    /// The body has an object or an array for it.
    Container,
}

impl<'a> Key<'a> {
    /// The first of URL, body and header that is not blank.
    pub(super) fn find(keys: GivenKeys<'a>, in_body: Field<'a>) -> Self {
        if let Some(key) = keys.url() {
            return Self::Given(key);
        }
        match in_body.text() {
            Text::Given(key) => Self::InBody(key),
            Text::Container => Self::Container,
            Text::Blank => keys.header().map_or(Self::Absent, Self::Given),
        }
    }

    pub(super) fn into_sent(self) -> Option<SentKey> {
        match self {
            Self::Absent | Self::Container => None,
            Self::Given(key) => Some(SentKey::new(key)),
            Self::InBody(key) => Some(SentKey::new(key)),
        }
    }
}

fn is_longer_than(text: &str, max_chars: usize) -> bool {
    // A character has at least one byte, so most texts need no counting.
    text.len() > max_chars && text.chars().count() > max_chars
}

/// The parts of an entry of `links`, `images` or `contexts`.
#[derive(Default)]
struct Entry<'a> {
    kind: Field<'a>,
    href: Field<'a>,
    src: Field<'a>,
    text: Field<'a>,
    alt: Field<'a>,
}

impl<'a> Entry<'a> {
    fn read(entry: Field<'a>) -> Option<Self> {
        let mut fields = Self::default();
        json::for_each_entry(entry.raw()?, |name, value| match name {
            "type" => fields.kind = value,
            "href" => fields.href = value,
            "src" => fields.src = value,
            "text" => fields.text = value,
            "alt" => fields.alt = value,
            _ => {}
        })
        .ok()?;
        Some(fields)
    }

    fn link(&self) -> Option<Link> {
        Some(Link { href: self.href.plain_text()?, text: self.text.owned_text() })
    }

    fn image(&self) -> Option<Image> {
        Some(Image {
            src: self.src.plain_text()?,
            href: self.href.owned_text(),
            alt: self.alt.owned_text(),
        })
    }
}

/// Calls `take` for each object of a list. What is no list, and what in it is no object, is left
/// out: a link is never worth an alert.
fn for_each_object<'a>(list: Field<'a>, mut take: impl FnMut(Entry<'a>)) {
    let Some(text) = list.raw() else { return };
    // The only error is that it is no list, and it comes before the first element.
    json::for_each_element(text, |element| {
        if let Some(entry) = Entry::read(element) {
            take(entry);
        }
    })
    .unwrap_or(());
}

fn links(list: Field<'_>) -> Vec<Link> {
    let mut links = Vec::new();
    for_each_object(list, |entry| links.extend(entry.link()));
    links
}

fn images(list: Field<'_>) -> Vec<Image> {
    let mut images = Vec::new();
    for_each_object(list, |entry| images.extend(entry.image()));
    images
}
