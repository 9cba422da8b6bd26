//! Notify rules: who is told of an incident, and when.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    id::RuleId, matcher::Match, read::FieldError, rules::rule, schedule::Schedule, time::Span,
};

rule! { NotifyRule }

/// Most rules of one service, and most receivers of one rule.
pub const RULES_MAX: usize = 200;
pub const RECEIVERS_MAX: usize = 20;

/// One notify rule of a service.
#[derive(Clone, Debug)]
pub struct NotifyRule {
    pub id: RuleId,
    pub matches: Match,
    /// Names, each once.
    pub receivers: Vec<Arc<str>>,
    /// How long the first notification waits.
    pub delay: Span,
    pub repeat: Option<Span>,
    /// When the rule notifies; `None`: always.
    pub active: Option<Schedule>,
}

impl NotifyRule {
    pub fn from_json(
        _value: &Value,
        _id: RuleId,
        _path: &str,
        _errors: &mut Vec<FieldError>,
    ) -> Option<Self> {
        None
    }

    pub fn to_json(&self) -> Value {
        json!({})
    }
}
