//! Receivers: whom incidents are handed on to.
//!
//! Their settings are kept as JSON, checked here once, and read by the notifier of their kind. No
//! secret is in them: `…_env` and `…_file` say where the process finds it.

mod settings;

use serde_json::{Map, Value};

pub use self::settings::is_private;
use super::{
    delivery::{Each, Revision},
    event::closed_enum,
    id::ReceiverId,
    read::{FieldError, Place},
    time::Timestamp,
};

closed_enum! {
    /// What a receiver speaks.
    ReceiverKind { PagerDuty = "pagerduty", Jira = "jira", Webhook = "webhook", Email = "email" }
}

/// A configured target of notifications.
#[derive(Clone, Debug)]
pub struct Receiver {
    pub id: ReceiverId,
    pub name: String,
    pub kind: ReceiverKind,
    /// Validated; in place of a secret the name of the variable or file that holds it.
    pub settings: Map<String, Value>,
    /// Made by a policy file.
    pub managed: bool,
    pub version: i64,
    pub created_at: Timestamp,
}

/// What a policy file or a request says of a receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiverSpec {
    pub name: String,
    pub kind: ReceiverKind,
    pub settings: Map<String, Value>,
}

impl ReceiverSpec {
    /// Reads `{"name", "kind", …}`, the rest being the settings of that kind.
    pub fn from_json(value: &Value, path: &str, errors: &mut Vec<FieldError>) -> Option<Self> {
        let mut place = Place::new(path, errors);
        let before = place.mistakes();
        let object = place.object(value)?;
        place.required(object, &["name", "kind"]);
        let name = object.get("name").and_then(|v| place.member("name").name(v));
        let kind = object.get("kind").and_then(|value| {
            place.member("kind").named(value, ReceiverKind::ALL, ReceiverKind::as_str)
        })?;
        let mut settings = object.clone();
        settings.retain(|key, _| key != "name" && key != "kind");
        place.with(|path, errors| Receiver::check_settings(kind, &settings, path, errors));
        if name.is_some() && name.as_deref() == settings.get("fallback").and_then(Value::as_str) {
            place.member("fallback").wrong("must be another receiver");
        }
        let name = name?;
        (place.mistakes() == before).then_some(Self { name, kind, settings })
    }

    pub fn to_json(&self) -> Map<String, Value> {
        shown(&self.name, self.kind, &self.settings)
    }
}

impl Receiver {
    /// Checks the settings of a receiver of this kind: all members but `name` and `kind`.
    pub fn check_settings(
        kind: ReceiverKind,
        object: &Map<String, Value>,
        path: &str,
        errors: &mut Vec<FieldError>,
    ) {
        settings::check(kind, object, &mut Place::new(path, errors));
    }

    /// The receiver that notifications go to when this one cannot be reached.
    pub fn fallback(&self) -> Option<&str> {
        self.settings.get("fallback")?.as_str()
    }

    /// What it is told of, and as which version.
    pub fn revision(&self) -> Revision {
        let on = |key| self.settings.get(key) == Some(&Value::Bool(true));
        let each = match (on("passthrough"), on("per_alert")) {
            (true, _) => Each::Key,
            (false, true) => Each::Alert,
            (false, false) => Each::Incident,
        };
        Revision { receiver: self.id, version: self.version, each }
    }

    /// The form of the policy file: name, kind and settings.
    pub fn to_json(&self) -> Map<String, Value> {
        shown(&self.name, self.kind, &self.settings)
    }
}

fn shown(name: &str, kind: ReceiverKind, settings: &Map<String, Value>) -> Map<String, Value> {
    let mut object = settings.clone();
    object.insert("name".into(), name.into());
    object.insert("kind".into(), kind.as_str().into());
    object
}
