//! Inhibition: while a source alert is open, nobody is told of the targets that it explains.

use serde_json::{Value, json};

use super::{
    id::RuleId,
    matcher::{Field, Fields, Match},
    read::FieldError,
    rules::rule,
    time::Span,
};

rule! { InhibitionRule }

/// Most rules of one service.
pub const RULES_MAX: usize = 200;

/// One inhibition rule of a service.
#[derive(Clone, Debug)]
pub struct InhibitionRule {
    pub id: RuleId,
    pub source: Match,
    pub target: Match,
    /// What source and target must have in common.
    pub equal: Vec<Field>,
    /// How long after the last source targets stay inhibited.
    pub release_delay: Span,
    /// A value that is missing on both sides is equal.
    pub allow_empty: bool,
    /// An acknowledged source still inhibits.
    pub acknowledged_sources: bool,
}

/// On which sides of a rule something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides {
    /// Of the values that must be equal: only what has the same hash can meet.
    pub hash: i64,
    pub source: bool,
    pub target: bool,
}

impl InhibitionRule {
    /// `None` if it stands on neither side, or if a value that must be equal is missing.
    pub fn sides(&self, _fields: &impl Fields) -> Option<Sides> {
        None
    }

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
