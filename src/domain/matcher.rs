//! Matchers: `name="value"`, `!=`, `=~`, `!~`, as Alertmanager writes them.
//!
//! A list of matchers holds if all of them do; a list of lists if any of its lists does. Regular
//! expressions are anchored at both ends, and their dot stands for a line break too. A field that is missing has the value `""`.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{
    event::{Action, Severity},
    pattern::Pattern,
};

/// Most matchers in one match, so that a rule stays cheap to judge.
pub const MATCHERS_MAX: usize = 100;

/// The names of fields that a matcher, or a grouping rule, may look at.
const FIELD_NAMES: &str = "summary, source, severity, component, group, class, dedup_key, client, \
                           integration, service, action, label.<name> or details.<path>";

/// One field of an event or alert, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    Summary,
    Source,
    Severity,
    Component,
    Group,
    Class,
    DedupKey,
    Client,
    Integration,
    Service,
    Action,
    Label(String),
    /// A path into `custom_details`, its steps separated by dots: `details.disk.free`.
    Details(String),
}

impl Field {
    pub fn parse(name: &str) -> Result<Self, InvalidMatcher> {
        Ok(match name {
            "summary" => Self::Summary,
            "source" => Self::Source,
            "severity" => Self::Severity,
            "component" => Self::Component,
            "group" => Self::Group,
            "class" => Self::Class,
            "dedup_key" => Self::DedupKey,
            "client" => Self::Client,
            "integration" => Self::Integration,
            "service" => Self::Service,
            "action" => Self::Action,
            _ => match name.split_once('.') {
                Some(("label", label)) if !label.is_empty() => Self::Label(label.to_owned()),
                Some(("details", path)) if !path.is_empty() => Self::Details(path.to_owned()),
                _ => return Err(InvalidMatcher::UnknownField(name.to_owned())),
            },
        })
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Summary => "summary",
            Self::Source => "source",
            Self::Severity => "severity",
            Self::Component => "component",
            Self::Group => "group",
            Self::Class => "class",
            Self::DedupKey => "dedup_key",
            Self::Client => "client",
            Self::Integration => "integration",
            Self::Service => "service",
            Self::Action => "action",
            Self::Label(name) => return write!(f, "label.{name}"),
            Self::Details(path) => return write!(f, "details.{path}"),
        };
        f.write_str(name)
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&name).map_err(serde::de::Error::custom)
    }
}

/// Something whose fields can be looked at by name.
pub trait Fields {
    /// The field's value; `""` if it has none.
    fn field(&self, field: &Field) -> Cow<'_, str>;
}

/// The value at `path` in a JSON text: text as it is, anything else as JSON. `None` if there is
/// nothing at that path, or the text is no JSON.
pub fn details_at(details: &str, path: &str) -> Option<String> {
    let value: Value = serde_json::from_str(details).ok()?;
    details_in(&value, path).map(Cow::into_owned)
}

/// The same in details that are parsed already.
pub(super) fn details_in<'v>(details: &'v Value, path: &str) -> Option<Cow<'v, str>> {
    let found = details.get(path).or_else(|| {
        path.split('.').try_fold(details, |at, step| match at {
            Value::Array(items) => items.get(step.parse::<usize>().ok()?),
            _ => at.get(step),
        })
    })?;
    match found {
        Value::Null => None,
        Value::String(text) => Some(text.into()),
        other => Some(other.to_string().into()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Matches,
    MatchesNot,
}

/// Why a text is not a [`Matcher`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMatcher {
    #[error("must be a matcher such as class=\"disk\" or severity=~\"critical|error\"")]
    NoOperator,
    #[error("has the unknown field {0:?}; must be one of {FIELD_NAMES}")]
    UnknownField(String),
    #[error("has a value with an opening quote and no closing one")]
    Unclosed,
    #[error("has an invalid regular expression: {0}")]
    Regex(String),
    #[error("must be a list of matchers, or a list of lists of them")]
    NotAList,
    #[error("has more than {MATCHERS_MAX} matchers")]
    TooMany,
}

/// One comparison of one field.
#[derive(Clone, Debug)]
pub struct Matcher {
    field: Field,
    operator: Operator,
    value: String,
    pattern: Pattern,
}

impl Matcher {
    pub fn parse(text: &str) -> Result<Self, InvalidMatcher> {
        let at = text.find(['=', '!']).ok_or(InvalidMatcher::NoOperator)?;
        let (name, rest) = text.split_at(at);
        let (operator, value) = if let Some(value) = rest.strip_prefix("=~") {
            (Operator::Matches, value)
        } else if let Some(value) = rest.strip_prefix("!~") {
            (Operator::MatchesNot, value)
        } else if let Some(value) = rest.strip_prefix("!=") {
            (Operator::NotEqual, value)
        } else if let Some(value) = rest.strip_prefix('=') {
            (Operator::Equal, value)
        } else {
            return Err(InvalidMatcher::NoOperator);
        };
        let field = Field::parse(name.trim())?;
        let value = unquote(value.trim())?;
        let pattern = match operator {
            Operator::Equal | Operator::NotEqual => Pattern::exactly(&value),
            Operator::Matches | Operator::MatchesNot => {
                Pattern::of_regex(&value).map_err(InvalidMatcher::Regex)?
            }
        };
        Ok(Self { field, operator, value, pattern })
    }

    pub fn holds(&self, fields: &impl Fields) -> bool {
        self.takes(&fields.field(&self.field))
    }

    pub(super) fn field(&self) -> &Field {
        &self.field
    }

    /// Whether it holds for this value of its field.
    pub(super) fn takes(&self, value: &str) -> bool {
        self.pattern.holds(value) != self.is_negated()
    }

    fn is_negated(&self) -> bool {
        match self.operator {
            Operator::Equal | Operator::Matches => false,
            Operator::NotEqual | Operator::MatchesNot => true,
        }
    }

    /// The field and the few values of it that are accepted, if it is that kind of matcher.
    pub(super) fn values(&self) -> Option<(&Field, &[Box<str>])> {
        match &self.pattern {
            Pattern::OneOf(values) if !self.is_negated() => Some((&self.field, values)),
            _ => None,
        }
    }

    /// Whether it holds for every alert. Fields that are never missing need no `""`; what makes
    /// alerts is always a trigger.
    fn accepts_everything(&self) -> bool {
        let least = match &self.field {
            Field::Severity => return Severity::ALL.iter().all(|s| self.takes(s.as_str())),
            Field::Action => return self.takes(Action::Trigger.as_str()),
            Field::Summary
            | Field::Source
            | Field::DedupKey
            | Field::Integration
            | Field::Service => 1,
            Field::Component
            | Field::Group
            | Field::Class
            | Field::Client
            | Field::Label(_)
            | Field::Details(_) => 0,
        };
        if !self.is_negated() {
            return self.pattern.everything_from().is_some_and(|from| from <= least);
        }
        let only_empty =
            matches!(&self.pattern, Pattern::OneOf(values) if values.iter().all(|v| v.is_empty()));
        self.pattern.is_nothing() || (only_empty && least == 1)
    }

    /// Whether what it leaves out is taken by one of `others`.
    fn is_completed_by(&self, others: &[&Self]) -> bool {
        let mut others = others.iter().filter(|other| other.field == self.field);
        match &self.pattern {
            _ if !self.is_negated() => false,
            Pattern::OneOf(left_out) => {
                left_out.iter().all(|value| others.clone().any(|other| other.takes(value)))
            }
            Pattern::StartsWith(_)
            | Pattern::EndsWith(_)
            | Pattern::Contains(_)
            | Pattern::Regex { .. } => {
                others.any(|other| other.operator == Operator::Matches && other.value == self.value)
            }
        }
    }
}

/// As it is read: `class="disk"`.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match self.operator {
            Operator::Equal => "=",
            Operator::NotEqual => "!=",
            Operator::Matches => "=~",
            Operator::MatchesNot => "!~",
        };
        let value = self.value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(f, "{}{operator}\"{value}\"", self.field)
    }
}

/// Takes the quotes off, and `\"`, `\\`, `\n` for what they mean. Another backslash stays, so that
/// `\d` in a regular expression needs no doubling. A value without quotes is taken as it is.
fn unquote(text: &str) -> Result<String, InvalidMatcher> {
    let Some(inner) = text.strip_prefix('"') else { return Ok(text.to_owned()) };
    let inner = inner.strip_suffix('"').ok_or(InvalidMatcher::Unclosed)?;
    let mut value = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            value.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => value.push('\n'),
            Some(c @ ('"' | '\\')) => value.push(c),
            Some(c) => value.extend(['\\', c]),
            None => return Err(InvalidMatcher::Unclosed),
        }
    }
    Ok(value)
}

/// What a rule applies to: lists of matchers, of which one list has to hold entirely. Empty:
/// everything.
#[derive(Clone, Debug, Default)]
pub struct Match(Vec<Vec<Matcher>>);

impl Match {
    /// Reads `["a=\"b\"", …]` or `[["a=\"b\""], …]`. Each error comes with its place: `[0]`, `[1][0]`.
    pub fn from_json(value: &Value) -> Result<Self, Vec<(String, InvalidMatcher)>> {
        let mut errors = Vec::new();
        let Value::Array(items) = value else {
            return Err(vec![(String::new(), InvalidMatcher::NotAList)]);
        };
        let mut parse = |item: &Value, place: String| {
            let parsed = item.as_str().map_or(Err(InvalidMatcher::NotAList), Matcher::parse);
            parsed.map_err(|error| errors.push((place, error))).ok()
        };
        let lists = if items.iter().any(Value::is_array) {
            let mut lists = Vec::new();
            for (i, item) in items.iter().enumerate() {
                lists.push(match item {
                    Value::Array(inner) => inner
                        .iter()
                        .enumerate()
                        .filter_map(|(j, matcher)| parse(matcher, format!("[{i}][{j}]")))
                        .collect(),
                    other => parse(other, format!("[{i}]")).into_iter().collect(),
                });
            }
            lists
        } else if items.is_empty() {
            Vec::new()
        } else {
            vec![
                items
                    .iter()
                    .enumerate()
                    .filter_map(|(i, matcher)| parse(matcher, format!("[{i}]")))
                    .collect(),
            ]
        };
        if lists.iter().map(Vec::len).sum::<usize>() > MATCHERS_MAX {
            errors.push((String::new(), InvalidMatcher::TooMany));
        }
        if errors.is_empty() { Ok(Self(lists)) } else { Err(errors) }
    }

    /// What holds for everything.
    pub const fn everything() -> Self {
        Self(Vec::new())
    }

    /// Whether a matcher looks into `custom_details`, which are worth reading for that alone.
    pub fn looks_at_details(&self) -> bool {
        self.0.iter().flatten().any(|matcher| matches!(matcher.field, Field::Details(_)))
    }

    /// The lists, of which one has to hold entirely; none: everything matches.
    pub(super) fn lists(&self) -> &[Vec<Matcher>] {
        &self.0
    }

    /// All of `matchers`.
    pub fn all_of(matchers: Vec<Matcher>) -> Self {
        Self(if matchers.is_empty() { Vec::new() } else { vec![matchers] })
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether no alert could fail to match, as far as is told from one field at a time: that one
    /// alternative begins where the others end is seen if each looks at that field alone.
    pub fn accepts_everything(&self) -> bool {
        let alternatives: Vec<Vec<&Matcher>> = self
            .0
            .iter()
            .map(|list| list.iter().filter(|m| !m.accepts_everything()).collect())
            .collect();
        let takes = |severity: &Severity, m: &Matcher| {
            m.field == Field::Severity && m.takes(severity.as_str())
        };
        let every_severity = Severity::ALL.iter().all(|severity| {
            alternatives.iter().any(|list| list.iter().all(|m| takes(severity, m)))
        });
        let alone: Vec<&Matcher> = alternatives
            .iter()
            .filter_map(|list| if let [only] = list.as_slice() { Some(*only) } else { None })
            .collect();
        self.0.is_empty() || every_severity || alone.iter().any(|m| m.is_completed_by(&alone))
    }

    pub fn holds(&self, fields: &impl Fields) -> bool {
        self.0.is_empty() || self.0.iter().any(|list| list.iter().all(|m| m.holds(fields)))
    }

    /// The JSON it was read from: a list, or a list of lists where there are alternatives.
    pub fn to_json(&self) -> Value {
        let list = |matchers: &Vec<Matcher>| -> Value {
            matchers.iter().map(ToString::to_string).collect::<Vec<_>>().into()
        };
        match self.0.as_slice() {
            [] => Value::Array(Vec::new()),
            [only] => list(only),
            several => several.iter().map(list).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
