//! Enrichment: what an event lacks is added before anything else looks at it.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Value, json};

use super::{
    event::{Event, Severity},
    matcher::{Field, Match},
    read::FieldError,
};

/// Most rules of one service.
pub const RULES_MAX: usize = 200;

/// One step: what it does, and to which events.
#[derive(Clone, Debug)]
pub struct EnrichRule {
    pub matches: Match,
    pub step: Step,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Step {
    /// The named groups of `regex`, searched in `from`, become labels.
    Extract {
        from: Field,
        regex: Regex,
    },
    Set {
        label: String,
        value: String,
    },
    /// The label becomes what the table says for the value of `from`.
    Map {
        label: String,
        from: Field,
        table: BTreeMap<String, String>,
        default: Option<String>,
    },
    Severity(Severity),
}

/// What one step did, for the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrichNote {
    /// Its place in the service's list.
    pub rule: usize,
    pub what: String,
}

impl EnrichRule {
    pub fn from_json(_value: &Value, _path: &str, _errors: &mut Vec<FieldError>) -> Option<Self> {
        None
    }

    pub fn to_json(&self) -> Value {
        json!({})
    }
}

/// Takes the steps in their order; a later one sees what the earlier ones did. Only triggers say
/// something that could be enriched.
pub fn enrich(
    _rules: &[EnrichRule],
    _event: &mut Event,
    _integration: &str,
    _service: &str,
) -> Vec<EnrichNote> {
    Vec::new()
}
