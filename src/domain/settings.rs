//! The smaller settings of a service: flapping, auto-pause, storms.

use serde_json::{Value, json};

use super::{event::closed_enum, read::FieldError, time::Span};

closed_enum! {
    /// What happens to a key that flaps.
    FlappingMode { Off = "off", Mark = "mark", Mute = "mute" }
}

/// When a key counts as flapping, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flapping {
    /// Changes within `within` that make it flap.
    pub max_changes: u32,
    pub within: Span,
    /// How long notifications wait at most, from the last change.
    pub mute: Span,
    pub mode: FlappingMode,
}

impl Default for Flapping {
    fn default() -> Self {
        Self {
            max_changes: 4,
            within: Span::from_secs(60 * 60),
            mute: Span::from_secs(120 * 60),
            mode: FlappingMode::Mark,
        }
    }
}

closed_enum! {
    /// Whose notifications are held.
    PauseWhen { Transient = "transient", Always = "always", Off = "off" }
}

/// Notifications of a new alert wait, in case it ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoPause {
    /// `for` in JSON.
    pub span: Span,
    pub when: PauseWhen,
}

impl Flapping {
    pub fn from_json(_value: &Value, _path: &str, _errors: &mut Vec<FieldError>) -> Option<Self> {
        None
    }

    pub fn to_json(&self) -> Value {
        json!({"max_changes": self.max_changes})
    }
}

impl AutoPause {
    pub fn from_json(_value: &Value, _path: &str, _errors: &mut Vec<FieldError>) -> Option<Self> {
        None
    }

    pub fn to_json(&self) -> Value {
        json!({"for": self.span})
    }
}
