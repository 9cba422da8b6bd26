//! Enrichment: what an event lacks is added before anything else looks at it.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value, json};

use super::{
    event::{Content, Severity},
    fields::{ParsedDetails, TriggerFields},
    matcher::{Field, Fields, Match},
    pattern::{REGEX_SIZE_LIMIT, last_line},
    read::{FieldError, Place},
    suggest,
};

/// Most labels of one alert; a step would add no more.
pub const LABELS_MAX: usize = 50;
/// Longest name and longest value of a label, in characters. A longer value is cut.
pub const LABEL_NAME_MAX_CHARS: usize = 64;
pub const LABEL_VALUE_MAX_CHARS: usize = 1024;
/// Most entries of one table.
const TABLE_MAX: usize = 10_000;
/// The steps, of which a rule has one.
const STEPS: [&str; 4] = ["extract", "set", "map", "severity"];

/// One step: what it does, and to which events.
#[derive(Clone, Debug)]
pub struct EnrichRule {
    pub matches: Match,
    pub step: Step,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Step {
    /// The named groups of `regex`, found anywhere in `from`, become labels.
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

/// Takes the steps in their order; a later one sees what the earlier ones did. A step that finds
/// nothing to do says nothing.
pub fn enrich(
    rules: &[EnrichRule],
    content: &mut Content,
    dedup_key: &str,
    integration: &str,
    service: &str,
) -> Vec<EnrichNote> {
    let mut notes = Vec::new();
    // No step changes the details.
    let details = ParsedDetails::default();
    for (at, rule) in rules.iter().enumerate() {
        let fields = TriggerFields { content, dedup_key, integration, service, details: &details };
        if !rule.matches.holds(&fields) {
            continue;
        }
        for change in rule.step.changes(&fields) {
            let what = change.apply(content);
            notes.extend(what.map(|what| EnrichNote { rule: at, what }));
        }
    }
    notes
}

/// What a step wants changed.
enum Change<'s> {
    Label(&'s str, String),
    Severity(Severity),
}

impl Step {
    fn changes(&self, fields: &impl Fields) -> Vec<Change<'_>> {
        match self {
            Self::Extract { from, regex } => {
                let text = fields.field(from);
                let Some(found) = regex.captures(&text) else { return Vec::new() };
                let named = regex.capture_names().flatten();
                let named = named.filter_map(|name| Some((name, found.name(name)?.as_str())));
                let labels = named.filter(|(_, value)| !value.is_empty());
                labels.map(|(name, value)| Change::Label(name, cut(value))).collect()
            }
            Self::Set { label, value } => vec![Change::Label(label, value.clone())],
            Self::Map { label, from, table, default } => {
                let value = table.get(&*fields.field(from)).or(default.as_ref());
                value.map(|value| Change::Label(label, value.clone())).into_iter().collect()
            }
            Self::Severity(severity) => vec![Change::Severity(*severity)],
        }
    }
}

impl Change<'_> {
    /// Says what it did; nothing if that is so already.
    fn apply(self, content: &mut Content) -> Option<String> {
        match self {
            Self::Label(name, value) => {
                let is_full = content.labels.len() >= LABELS_MAX;
                match content.labels.get_mut(name) {
                    Some(old) if *old == value => None,
                    Some(old) => {
                        let what = format!("label {name}: {value:?}, was {old:?}");
                        *old = value;
                        Some(what)
                    }
                    None if is_full => {
                        Some(format!("label {name} left out: there are {LABELS_MAX} labels"))
                    }
                    None => {
                        let what = format!("label {name}: {value:?}");
                        content.labels.insert(name.to_owned(), value);
                        Some(what)
                    }
                }
            }
            Self::Severity(severity) if severity == content.severity => None,
            Self::Severity(severity) => {
                let what = format!("severity {severity}, was {}", content.severity);
                content.severity = severity;
                Some(what)
            }
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(LABEL_VALUE_MAX_CHARS).collect()
}

impl EnrichRule {
    /// Reads a step with its optional `match`.
    pub fn from_json(value: &Value, path: &str, errors: &mut Vec<FieldError>) -> Option<Self> {
        let mut place = Place::new(path, errors);
        let before = place.mistakes();
        let object = place.object(value)?;
        let mut matches = Match::default();
        let mut step = None;
        for (key, value) in object {
            let mut place = place.member(key);
            match key.as_str() {
                "match" => place.take(&mut matches, |p| p.matches(value)),
                "extract" => step = extract_from_json(&mut place, value),
                "set" => step = set_from_json(&mut place, value),
                "map" => step = map_from_json(&mut place, value),
                "severity" => {
                    let severity = place.named(value, Severity::ALL, Severity::as_str);
                    step = severity.map(Step::Severity);
                }
                _ => place.unknown(&["extract", "set", "map", "severity", "match"]),
            }
        }
        let is_step = |key: &&String| suggest::nearest(key, STEPS.into_iter()).is_some();
        if object.keys().filter(is_step).count() != 1 {
            place.wrong("must have one of extract, set, map or severity");
        }
        let step = step?;
        (place.mistakes() == before).then_some(Self { matches, step })
    }

    /// The form of the policy file.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        let (name, step) = match &self.step {
            Step::Extract { from, regex } => {
                ("extract", json!({"from": from.to_string(), "regex": regex.as_str()}))
            }
            Step::Set { label, value } => ("set", json!({"label": label, "value": value})),
            Step::Map { label, from, table, default } => {
                let mut map = json!({"label": label, "from": from.to_string(), "table": table});
                if let (Some(default), Some(map)) = (default, map.as_object_mut()) {
                    map.insert("default".into(), default.as_str().into());
                }
                ("map", map)
            }
            Step::Severity(severity) => ("severity", severity.as_str().into()),
        };
        object.insert(name.into(), step);
        if !self.matches.is_empty() {
            object.insert("match".into(), self.matches.to_json());
        }
        Value::Object(object)
    }
}

fn extract_from_json(place: &mut Place<'_>, value: &Value) -> Option<Step> {
    let object = place.object(value)?;
    let (mut from, mut regex) = (None, None);
    for (key, value) in object {
        let mut place = place.member(key);
        match key.as_str() {
            "from" => from = place.field(value),
            "regex" => regex = regex_from_json(&mut place, value),
            _ => place.unknown(&["from", "regex"]),
        }
    }
    place.required(object, &["from", "regex"]);
    Some(Step::Extract { from: from?, regex: regex? })
}

fn regex_from_json(place: &mut Place<'_>, value: &Value) -> Option<Regex> {
    let Some(source) = value.as_str() else {
        place.wrong("must be a regular expression with named groups");
        return None;
    };
    match RegexBuilder::new(source).size_limit(REGEX_SIZE_LIMIT).build() {
        Err(error) => {
            place.wrong(format!("is no regular expression: {}", last_line(&error.to_string())));
            None
        }
        Ok(regex) => {
            let mut names = regex.capture_names().flatten().peekable();
            if names.peek().is_none() {
                place.wrong("must have a named group, which becomes a label: (?P<host>\\S+)");
            }
            if let Some(name) = names.find(|name| !is_label_name(name)) {
                place.wrong(format!("has the group {name:?}, which is no name of a label"));
            }
            Some(regex)
        }
    }
}

fn set_from_json(place: &mut Place<'_>, value: &Value) -> Option<Step> {
    let object = place.object(value)?;
    let (mut label, mut text) = (None, None);
    for (key, value) in object {
        let mut place = place.member(key);
        match key.as_str() {
            "label" => label = label_from_json(&mut place, value),
            "value" => text = value_from_json(&mut place, value),
            _ => place.unknown(&["label", "value"]),
        }
    }
    place.required(object, &["label", "value"]);
    Some(Step::Set { label: label?, value: text? })
}

fn map_from_json(place: &mut Place<'_>, value: &Value) -> Option<Step> {
    let object = place.object(value)?;
    let (mut label, mut from, mut default) = (None, None, None);
    let mut table = BTreeMap::new();
    for (key, value) in object {
        let mut place = place.member(key);
        match key.as_str() {
            "label" => label = label_from_json(&mut place, value),
            "from" => from = place.field(value),
            "table" => match value.as_object() {
                Some(entries) if (1..=TABLE_MAX).contains(&entries.len()) => {
                    for (entry, value) in entries {
                        let value = value_from_json(&mut place.member(entry), value);
                        table.extend(value.map(|value| (entry.clone(), value)));
                    }
                }
                _ => place.wrong(format!("must be an object with 1 to {TABLE_MAX} entries")),
            },
            "default" => default = value_from_json(&mut place, value),
            _ => place.unknown(&["label", "from", "table", "default"]),
        }
    }
    place.required(object, &["label", "from", "table"]);
    Some(Step::Map { label: label?, from: from?, table, default })
}

fn label_from_json(place: &mut Place<'_>, value: &Value) -> Option<String> {
    let label = value.as_str().filter(|name| is_label_name(name)).map(str::to_owned);
    if label.is_none() {
        place.wrong(format!(
            "must be a name of letters, digits and _, not beginning with a digit, of at most \
             {LABEL_NAME_MAX_CHARS} characters"
        ));
    }
    label
}

/// Whether `name` is `[a-zA-Z_][a-zA-Z0-9_]*` and not too long.
pub fn is_label_name(name: &str) -> bool {
    let is_word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let begins = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    is_word && begins && name.len() <= LABEL_NAME_MAX_CHARS
}

fn value_from_json(place: &mut Place<'_>, value: &Value) -> Option<String> {
    place.text(value, LABEL_VALUE_MAX_CHARS)
}

#[cfg(test)]
mod tests;
