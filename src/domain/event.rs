//! What one accepted message says, whatever API it came by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{key::DedupKey, time::Timestamp};

/// Longest summary (V1: description), in characters.
///
/// Source: PagerDuty Events API v2, field `payload.summary`.
pub const SUMMARY_MAX_CHARS: usize = 1024;

macro_rules! closed_enum {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($variant),* }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name used on the wire, in the database and in labels.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                let unknown = || serde::de::Error::custom(format!("{text:?} is unknown"));
                Self::parse(&text).ok_or_else(unknown)
            }
        }
    };
}
pub(crate) use closed_enum;

closed_enum! {
    /// The API by which something came in.
    Api { V1 = "v1", V2 = "v2", Change = "change", Guance = "guance" }
}

closed_enum! {
    /// What an event wants.
    Action { Trigger = "trigger", Acknowledge = "acknowledge", Resolve = "resolve" }
}

closed_enum! {
    /// How bad it is. Ordered: a later one is worse.
    Severity { Info = "info", Warning = "warning", Error = "error", Critical = "critical" }
}

closed_enum! {
    /// What became of an event.
    Disposition {
        Opened = "opened",
        Merged = "merged",
        Acknowledged = "acknowledged",
        Resolved = "resolved",
        Ignored = "ignored",
        Dropped = "dropped",
        Duplicate = "duplicate",
    }
}

/// A link as it was sent. Shown, and followed, only by people; never fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub href: String,
    #[serde(default)]
    pub text: Option<String>,
}

/// An image as it was sent. Never fetched by us.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub src: String,
    #[serde(default)]
    pub href: Option<String>,
    #[serde(default)]
    pub alt: Option<String>,
}

/// What a trigger says about the problem. A later trigger of the same key replaces all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub summary: String,
    /// Never empty for V2. V1 has none of its own: the client's name or `None`, which the
    /// integration's name then stands in for.
    pub source: Option<String>,
    pub severity: Severity,
    pub component: Option<String>,
    pub group: Option<String>,
    pub class: Option<String>,
    /// `custom_details` (V1: `details`) as JSON text, byte for byte as it was sent.
    pub custom_details: Option<Box<str>>,
    pub client: Option<String>,
    pub client_url: Option<String>,
    pub links: Vec<Link>,
    pub images: Vec<Image>,
    pub labels: BTreeMap<String, String>,
}

impl Content {
    /// The text that `q` searches, besides the dedup key.
    pub fn text_fields(&self) -> [&str; 5] {
        [
            &self.summary,
            self.source.as_deref().unwrap_or(""),
            self.component.as_deref().unwrap_or(""),
            self.group.as_deref().unwrap_or(""),
            self.class.as_deref().unwrap_or(""),
        ]
    }

    /// Fingerprints by which an unchanged repeat is told from a change of content.
    pub fn fingerprints(&self) -> Fingerprints {
        let mut hash = FieldHash::default();
        for field in self.text_fields() {
            hash.field(Some(field));
        }
        let text = hash.first_eight();
        hash.field(Some(self.severity.as_str()));
        hash.field(self.custom_details.as_deref());
        hash.field(self.client.as_deref());
        hash.field(self.client_url.as_deref());
        for link in &self.links {
            hash.field(Some(&link.href));
            hash.field(link.text.as_deref());
        }
        hash.field(None);
        for image in &self.images {
            hash.field(Some(&image.src));
            hash.field(image.href.as_deref());
            hash.field(image.alt.as_deref());
        }
        hash.field(None);
        for (name, value) in &self.labels {
            hash.field(Some(name));
            hash.field(Some(value));
        }
        Fingerprints { text, all: hash.first_eight() }
    }
}

/// Eight bytes of SHA-256 each: compared only with those of the same alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprints {
    /// Of what `q` searches: unchanged text is not indexed again.
    pub text: i64,
    /// Of everything: unchanged content is not written again.
    pub all: i64,
}

/// A hash over fields that cannot run into each other: each is preceded by its length.
#[derive(Clone, Default)]
pub(crate) struct FieldHash(Sha256);

impl FieldHash {
    pub(crate) fn field(&mut self, value: Option<&str>) {
        let length = value.map_or(0, |text| text.len() as u64 + 1);
        self.0.update(length.to_le_bytes());
        self.0.update(value.unwrap_or("").as_bytes());
    }

    pub(crate) fn first_eight(&self) -> i64 {
        let digest = self.0.clone().finalize();
        let mut eight = [0; 8];
        eight.copy_from_slice(&digest[..8]);
        i64::from_le_bytes(eight)
    }
}

/// The event's own timestamp, as it was sent and as it was understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentTime {
    /// The text of the field; `None` if there was none.
    pub text: Option<String>,
    /// What it means. `None` if there was none or it cannot be read; whether it lies too far in
    /// the future is judged against the time of receipt, in the pipeline.
    pub at: Option<Timestamp>,
}

/// The id that its sender gave a message, as the first half of its SHA-256: what comes again with
/// an id that is known to its integration changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SentId([u8; 16]);

impl SentId {
    pub fn of(text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        Self(half)
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// One accepted trigger, acknowledge or resolve, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub api: Api,
    /// What is to happen, with the content if it is a trigger.
    pub intent: Intent,
    pub sent_time: SentTime,
    /// `None` where the API has no such thing.
    pub sent_id: Option<SentId>,
    /// Of a trigger: it says that nothing is wrong. It leaves an open alert as it is, and an alert
    /// that it opens resolves by itself.
    pub informs: bool,
}

impl Event {
    /// An event as PagerDuty knows them.
    pub fn new(api: Api, intent: Intent, sent_time: SentTime) -> Self {
        Self { api, intent, sent_time, sent_id: None, informs: false }
    }
}

/// The action of an event with what belongs to it, so that no trigger lacks its content and no
/// resolve its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Without a key it always opens a new alert.
    Trigger {
        dedup_key: Option<DedupKey>,
        content: Box<Content>,
    },
    Acknowledge {
        dedup_key: DedupKey,
    },
    Resolve {
        dedup_key: DedupKey,
    },
}

impl Intent {
    pub fn action(&self) -> Action {
        match self {
            Self::Trigger { .. } => Action::Trigger,
            Self::Acknowledge { .. } => Action::Acknowledge,
            Self::Resolve { .. } => Action::Resolve,
        }
    }

    pub fn dedup_key(&self) -> Option<&DedupKey> {
        match self {
            Self::Trigger { dedup_key, .. } => dedup_key.as_ref(),
            Self::Acknowledge { dedup_key } | Self::Resolve { dedup_key } => Some(dedup_key),
        }
    }
}

/// Something that was changed on purpose: a deployment, a configuration edit. Opens nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeEvent {
    pub summary: String,
    pub source: Option<String>,
    pub custom_details: Option<Box<str>>,
    pub links: Vec<Link>,
    pub sent_time: SentTime,
    /// As of an [`Event`].
    pub sent_id: Option<SentId>,
}

/// A body as it is stored: every key in it replaced by its hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBody {
    pub text: String,
    /// Where `custom_details` (V1: `details`) stands in `text`, if it was there: the bytes from
    /// the first of these up to the second.
    pub details: Option<(u32, u32)>,
}
