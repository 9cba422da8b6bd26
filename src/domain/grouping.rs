//! Grouping rules: which alerts of a service belong into one incident.
//!
//! The first rule whose `match` holds decides. This module says under which hashes an alert may
//! find an incident and whether one still accepts; the pipeline does the joining.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    event::{FieldHash, closed_enum},
    id::RuleId,
    incident::Incident,
    matcher::{Field, Fields, Match},
    read::{FieldError, Place},
    rules::rule,
    time::{Span, Timestamp},
};

rule! { GroupingRule }

/// Shortest and longest window, and default of `max_span`.
const SPAN: RangeInclusive<Span> = Span::from_secs(1)..=Span::from_secs(30 * 86_400);
const MAX_SPAN_DEFAULT: Span = Span::from_secs(86_400);
/// Most alerts that one incident takes unless the rule says otherwise.
pub const MAX_ALERTS_DEFAULT: u32 = 5000;
const MAX_ALERTS_LIMIT: u32 = 100_000;
/// Most fields of one rule.
const FIELDS_MAX: usize = 10;
pub use super::similarity::THRESHOLD_DEFAULT;
/// What is entirely alike, in ten-thousandths.
const THRESHOLD_MAX: u32 = 10_000;

const KEYS: [&str; 11] = [
    "match",
    "by",
    "aggregate",
    "window",
    "window_type",
    "max_span",
    "strict",
    "max_alerts",
    "reopen_within",
    "fields",
    "threshold",
];

closed_enum! {
    /// From where a window is counted.
    WindowType { Tumbling = "tumbling", Sliding = "sliding" }
}

closed_enum! {
    /// How many of a rule's fields must agree.
    Aggregate { All = "all", Any = "any" }
}

/// What makes two alerts alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    Fields(Vec<Field>),
    /// Nothing but the window.
    Time,
    /// How much the texts of these fields are alike.
    Similarity {
        fields: Vec<Field>,
        /// In ten-thousandths.
        threshold: u32,
    },
}

/// One grouping rule of a service.
#[derive(Clone, Debug)]
pub struct GroupingRule {
    pub id: RuleId,
    pub matches: Match,
    pub by: By,
    pub aggregate: Aggregate,
    /// Zero: as long as the incident is open.
    pub window: Span,
    pub window_type: WindowType,
    /// Bounds a sliding window, which a steady stream would keep open for ever.
    pub max_span: Span,
    /// A missing value equals nothing.
    pub strict: bool,
    pub max_alerts: u32,
    /// A new alert of a key whose incident was resolved no longer ago than this reopens it.
    pub reopen_within: Option<Span>,
}

/// The rule that was chosen for an alert, with what the incident is looked up by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupChoice {
    pub rule: RuleId,
    /// The values compared, as shown in `group_key`.
    pub values: Vec<(Field, String)>,
    /// An incident with any of these may be joined. Empty: none may, a new one is opened.
    pub hashes: Vec<i64>,
    /// The texts to compare, one a field; empty unless the rule groups by similarity.
    pub texts: Vec<String>,
}

impl GroupingRule {
    /// How alike texts have to be, in ten-thousandths, if that is what the rule looks at.
    pub fn similarity_threshold(&self) -> Option<u32> {
        match self.by {
            By::Similarity { threshold, .. } => Some(threshold),
            By::Fields(_) | By::Time => None,
        }
    }

    /// What an alert that it matches is grouped by.
    pub(super) fn choice(&self, fields: &impl Fields) -> GroupChoice {
        let value = |name| fields.field(name).into_owned();
        let names = match &self.by {
            By::Fields(names) => names,
            By::Time => {
                let (values, texts) = (Vec::new(), Vec::new());
                return GroupChoice { rule: self.id, values, hashes: vec![0], texts };
            }
            By::Similarity { fields: names, .. } => {
                let texts = names.iter().map(value).collect();
                let (values, hashes) = (Vec::new(), Vec::new());
                return GroupChoice { rule: self.id, values, hashes, texts };
            }
        };
        let values: Vec<(Field, String)> =
            names.iter().map(|name| (name.clone(), value(name))).collect();
        let hashes = match self.aggregate {
            Aggregate::All if self.strict && values.iter().any(|(_, v)| v.is_empty()) => Vec::new(),
            Aggregate::All => {
                let mut hash = FieldHash::default();
                for (name, value) in &values {
                    hash.field(Some(&name.to_string()));
                    hash.field(Some(value));
                }
                vec![hash.first_eight()]
            }
            // A missing value is nothing that two alerts could have in common.
            Aggregate::Any => values
                .iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| {
                    let mut hash = FieldHash::default();
                    hash.field(Some(&name.to_string()));
                    hash.field(Some(value));
                    hash.first_eight()
                })
                .collect(),
        };
        GroupChoice { rule: self.id, values, hashes, texts: Vec::new() }
    }

    /// Whether `incident` takes another alert at `now`; if not, why.
    pub fn accepts(&self, incident: &Incident, now: Timestamp) -> Result<(), &'static str> {
        if incident.alert_count >= self.max_alerts {
            return Err("the incident is full (max_alerts)");
        }
        if self.window == Span::ZERO {
            return Ok(());
        }
        match self.window_type {
            WindowType::Tumbling if now >= incident.created_at.plus(self.window) => {
                Err("the incident's window is over")
            }
            WindowType::Sliding if now >= incident.last_alert_at.plus(self.window) => {
                Err("the incident's window is over")
            }
            WindowType::Sliding if now >= incident.created_at.plus(self.max_span) => {
                Err("the incident has reached its max_span")
            }
            WindowType::Tumbling | WindowType::Sliding => Ok(()),
        }
    }

    /// The form of the policy file.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        if !self.matches.is_empty() {
            object.insert("match".into(), self.matches.to_json());
        }
        let by = match &self.by {
            By::Fields(fields) => fields.iter().map(ToString::to_string).collect::<Vec<_>>().into(),
            By::Time => json!("time"),
            By::Similarity { .. } => json!("similarity"),
        };
        object.insert("by".into(), by);
        object.insert("aggregate".into(), self.aggregate.as_str().into());
        let window =
            if self.window == Span::ZERO { json!(0) } else { json!(self.window.to_string()) };
        object.insert("window".into(), window);
        object.insert("window_type".into(), self.window_type.as_str().into());
        object.insert("max_span".into(), self.max_span.to_string().into());
        object.insert("strict".into(), self.strict.into());
        object.insert("max_alerts".into(), self.max_alerts.into());
        if let Some(span) = self.reopen_within {
            object.insert("reopen_within".into(), span.to_string().into());
        }
        if let By::Similarity { fields, threshold } = &self.by {
            let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
            object.insert("fields".into(), json!(fields));
            object.insert("threshold".into(), threshold_to_json(*threshold));
        }
        Value::Object(object)
    }

    /// Reads one rule; every mistake is added to `errors` with its path below `path`.
    pub fn from_json(
        value: &Value,
        id: RuleId,
        path: &str,
        errors: &mut Vec<FieldError>,
    ) -> Option<Self> {
        let mut place = Place::new(path, errors);
        let before = place.mistakes();
        let object = place.object(value)?;
        let mut rule = Self {
            id,
            matches: Match::default(),
            by: By::Fields(Vec::new()),
            aggregate: Aggregate::All,
            window: Span::ZERO,
            window_type: WindowType::Tumbling,
            max_span: MAX_SPAN_DEFAULT,
            strict: false,
            max_alerts: MAX_ALERTS_DEFAULT,
            reopen_within: None,
        };
        let mut window = Some(Span::ZERO);
        let (mut fields, mut threshold) = (vec![Field::Summary], THRESHOLD_DEFAULT);
        for (key, value) in object {
            let mut place = place.member(key);
            match key.as_str() {
                "match" => place.take(&mut rule.matches, |p| p.matches(value)),
                "by" => place.take(&mut rule.by, |p| by_from_json(p, value)),
                "aggregate" => place.take(&mut rule.aggregate, |p| {
                    p.named(value, Aggregate::ALL, Aggregate::as_str)
                }),
                "window" => window = window_from_json(&mut place, value),
                "window_type" => place.take(&mut rule.window_type, |p| {
                    p.named(value, WindowType::ALL, WindowType::as_str)
                }),
                "max_span" => place.take(&mut rule.max_span, |p| p.span(value, SPAN)),
                "strict" => place.take(&mut rule.strict, |p| p.flag(value)),
                "max_alerts" => {
                    place.take(&mut rule.max_alerts, |p| p.number(value, 1..=MAX_ALERTS_LIMIT));
                }
                "reopen_within" if value.is_null() => {}
                "reopen_within" => rule.reopen_within = place.span(value, SPAN),
                "fields" => place.take(&mut fields, |p| p.fields(value, FIELDS_MAX)),
                "threshold" => place.take(&mut threshold, |p| threshold_from_json(p, value)),
                _ => place.unknown(&KEYS),
            }
        }
        place.needs(object, "by", "is required: a list of fields, \"time\" or \"similarity\"");
        rule.window = window.unwrap_or_default();
        if rule.by == By::Time && window == Some(Span::ZERO) {
            let what = "is required for by: time, else everything would be one incident";
            place.member("window").wrong(what);
        }
        if let By::Similarity { .. } = rule.by {
            rule.by = By::Similarity { fields, threshold };
        } else {
            for key in ["fields", "threshold"].iter().filter(|key| object.contains_key(**key)) {
                place.member(key).wrong("is for by: similarity only");
            }
        }
        (place.mistakes() == before).then_some(rule)
    }

    /// Says what can be read and cannot be meant: windows that end before they could be of use.
    pub(super) fn check(&self, path: &str, errors: &mut Vec<FieldError>) {
        if self.window_type == WindowType::Sliding && self.max_span < self.window {
            let (most, window) = (self.max_span, self.window);
            let what =
                format!("must be at least as long as the sliding window of {window}, is {most}");
            errors.push((format!("{path}.max_span"), what));
        }
    }
}

fn by_from_json(place: &mut Place<'_>, value: &Value) -> Option<By> {
    match value {
        Value::String(text) if text == "time" => Some(By::Time),
        Value::String(text) if text == "similarity" => {
            Some(By::Similarity { fields: Vec::new(), threshold: THRESHOLD_DEFAULT })
        }
        Value::Array(_) => place.fields(value, FIELDS_MAX).map(By::Fields),
        _ => {
            place.wrong("must be a list of fields, \"time\" or \"similarity\"");
            None
        }
    }
}

fn window_from_json(place: &mut Place<'_>, value: &Value) -> Option<Span> {
    if value.as_u64() == Some(0) || value.as_str() == Some("0s") {
        return Some(Span::ZERO);
    }
    let span = value.as_str().and_then(|text| Span::parse(text).ok());
    let span = span.filter(|span| SPAN.contains(span));
    if span.is_none() {
        place.wrong("must be 0 (while open) or a duration from 1s to 30d");
    }
    span
}

/// Reads a share of one with up to four decimals as ten-thousandths. By its digits: what is
/// written as 0.85 shall be 8500 and nothing near it.
fn threshold_from_json(place: &mut Place<'_>, value: &Value) -> Option<u32> {
    let ten_thousandths = |text: &str| -> Option<u32> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let is_decimal = decimals.len() <= 4 && decimals.bytes().all(|b| b.is_ascii_digit());
        let whole = whole.parse::<u32>().ok().filter(|whole| *whole <= 1 && is_decimal)?;
        Some(whole * THRESHOLD_MAX + format!("{decimals:0<4}").parse::<u32>().ok()?)
    };
    let found = match value {
        Value::Number(number) => ten_thousandths(&number.to_string()),
        _ => None,
    };
    let found = found.filter(|threshold| *threshold <= THRESHOLD_MAX);
    if found.is_none() {
        place.wrong("must be a number from 0 to 1 with at most four decimals, such as 0.85");
    }
    found
}

/// The way back: 8500 is 0.85.
fn threshold_to_json(threshold: u32) -> Value {
    let text = format!("{}.{:04}", threshold / THRESHOLD_MAX, threshold % THRESHOLD_MAX);
    serde_json::from_str(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    struct Values(Vec<(&'static str, &'static str)>);

    impl Fields for Values {
        fn field(&self, field: &Field) -> Cow<'_, str> {
            let name = field.to_string();
            self.0.iter().find(|(n, _)| *n == name).map_or("", |(_, v)| *v).into()
        }
    }

    fn rule_id(seq: i64) -> RuleId {
        RuleId::new(Timestamp::default(), seq, 0)
    }

    fn rule(value: &Value) -> GroupingRule {
        let mut errors = Vec::new();
        GroupingRule::from_json(value, rule_id(1), "grouping[0]", &mut errors)
            .unwrap_or_else(|| panic!("{errors:?}"))
    }

    #[test]
    fn a_rule_is_written_as_it_is_read() {
        let value = json!({
            "match": ["class=\"disk\""], "by": ["group", "label.host"], "aggregate": "any",
            "window": "30m", "window_type": "sliding", "max_span": "1d", "strict": true,
            "max_alerts": 7
        });

        assert_eq!(rule(&value).to_json(), value);
    }

    #[test]
    fn similarity_has_a_threshold_in_ten_thousandths() {
        let read = |threshold: &str| {
            let text = format!(r#"{{"by": "similarity", "threshold": {threshold}}}"#);
            let value = serde_json::from_str(&text).unwrap();
            let mut errors = Vec::new();
            let rule = GroupingRule::from_json(&value, rule_id(1), "g", &mut errors)?;
            let By::Similarity { threshold, .. } = rule.by else { panic!("{rule:?}") };
            Some((threshold, rule.to_json()["threshold"].to_string()))
        };

        assert_eq!(read("0.85"), Some((8500, "0.85".into())));
        assert_eq!(read("0.0001"), Some((1, "0.0001".into())));
        assert_eq!(read("1"), Some((10_000, "1.0".into())));
        assert_eq!(read("0"), Some((0, "0.0".into())));
        for wrong in ["1.0001", "2", "-0.5", "0.12345", "\"0.5\"", "1e-5"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn similarity_gives_the_texts_of_its_fields_to_compare() {
        let by_default = rule(&json!({"by": "similarity"}));
        let by_two = rule(&json!({"by": "similarity", "fields": ["summary", "source"]}));
        let fields = Values(vec![("summary", "disk full"), ("source", "db1")]);

        let choice = by_two.choice(&fields);

        assert_eq!(by_default.to_json()["fields"], json!(["summary"]));
        assert_eq!(choice.texts, ["disk full", "db1"]);
        assert!(choice.hashes.is_empty());
        assert!(rule(&json!({"by": ["class"]})).choice(&fields).texts.is_empty());
    }

    #[test]
    fn an_impossible_window_is_said() {
        let checked = |value: Value| {
            let mut errors = Vec::new();
            rule(&value).check("grouping[0]", &mut errors);
            errors.into_iter().map(|(path, _)| path).collect::<Vec<_>>()
        };

        let sliding = json!({"by": ["class"], "window": "2d", "window_type": "sliding"});
        let tumbling = json!({"by": ["class"], "window": "2d"});

        assert_eq!(checked(sliding), ["grouping[0].max_span"]);
        assert_eq!(checked(tumbling), [""; 0]);
    }

    #[test]
    fn every_mistake_is_reported_with_its_path() {
        let mut errors = Vec::new();
        let value = json!({
            "match": ["class=\"disk\"", "colour=\"red\""], "by": [], "window": "31d",
            "window_type": "rolling", "max_alerts": 0, "colour": 1
        });

        let rule = GroupingRule::from_json(&value, rule_id(1), "grouping[2]", &mut errors);

        assert!(rule.is_none());
        let paths: Vec<_> = errors.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "grouping[2].by",
                "grouping[2].colour",
                "grouping[2].match[1]",
                "grouping[2].max_alerts",
                "grouping[2].window",
                "grouping[2].window_type"
            ]
        );
    }

    #[test]
    fn missing_equals_missing_for_all_unless_strict_and_never_for_any() {
        let hashes = |extra: Value, fields: &Values| {
            let mut value = json!({"by": ["group", "class"]});
            value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            rule(&value).choice(fields).hashes
        };
        let no_group = Values(vec![("class", "disk")]);

        assert_eq!(hashes(json!({}), &no_group).len(), 1);
        assert_eq!(hashes(json!({"strict": true}), &no_group).len(), 0);
        assert_eq!(hashes(json!({"aggregate": "any"}), &no_group).len(), 1);
        assert_eq!(hashes(json!({"aggregate": "any"}), &Values(vec![])).len(), 0);
    }
}
