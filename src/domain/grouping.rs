//! Grouping rules: which alerts of a service belong into one incident.
//!
//! The first rule whose `match` holds decides. This module says under which hashes an alert may
//! find an incident and whether one still accepts; the pipeline does the joining.

use serde_json::{Map, Value, json};

use super::{
    event::{FieldHash, closed_enum},
    id::RuleId,
    incident::Incident,
    matcher::{Field, Fields, Match},
    rules::rule,
    time::{Span, Timestamp},
};

rule! { GroupingRule }

/// Longest window, and default of `max_span`.
const WINDOW_MAX: Span = Span::from_secs(30 * 86_400);
const MAX_SPAN_DEFAULT: Span = Span::from_secs(86_400);
/// Most alerts that one incident takes unless the rule says otherwise.
pub const MAX_ALERTS_DEFAULT: u32 = 5000;
const MAX_ALERTS_LIMIT: u32 = 100_000;
/// Most rules of one service, and most fields of one rule.
pub const RULES_MAX: usize = 200;
const FIELDS_MAX: usize = 10;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupChoice {
    pub rule: RuleId,
    /// The values compared, as shown in `group_key`.
    pub values: Vec<(Field, String)>,
    /// An incident with any of these may be joined. Empty: none may, a new one is opened.
    pub hashes: Vec<i64>,
    /// The texts to compare, one a field; empty unless the rule groups by similarity.
    pub texts: Vec<String>,
}

/// Picks the first rule that matches.
pub fn choose(rules: &[GroupingRule], fields: &impl Fields) -> Option<GroupChoice> {
    rules.iter().find(|rule| rule.matches.holds(fields)).map(|rule| rule.choice(fields))
}

impl GroupingRule {
    fn choice(&self, fields: &impl Fields) -> GroupChoice {
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
        Value::Object(object)
    }

    /// Reads one rule; every mistake is added to `errors` with its path below `path`.
    pub fn from_json(
        value: &Value,
        id: RuleId,
        path: &str,
        errors: &mut Vec<(String, String)>,
    ) -> Option<Self> {
        const KEYS: &str =
            "match, by, aggregate, window, window_type, max_span, strict or max_alerts";
        let before = errors.len();
        let Value::Object(object) = value else {
            errors.push((path.to_owned(), "must be an object".to_owned()));
            return None;
        };
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
        for (key, value) in object {
            let mut wrong = |what: String| errors.push((format!("{path}.{key}"), what));
            match key.as_str() {
                "match" => match Match::from_json(value) {
                    Ok(matches) => rule.matches = matches,
                    Err(list) => {
                        for (place, error) in list {
                            errors.push((format!("{path}.match{place}"), error.to_string()));
                        }
                    }
                },
                "by" => match by_from_json(value) {
                    Ok(by) => rule.by = by,
                    Err(list) => {
                        for (place, error) in list {
                            errors.push((format!("{path}.by{place}"), error));
                        }
                    }
                },
                "aggregate" => match value.as_str().and_then(Aggregate::parse) {
                    Some(aggregate) => rule.aggregate = aggregate,
                    None => wrong("must be \"all\" or \"any\"".to_owned()),
                },
                "window" => match window_from_json(value) {
                    Some(window) => rule.window = window,
                    None => {
                        wrong("must be 0 (while open) or a duration from 1s to 30d".to_owned());
                    }
                },
                "window_type" => match value.as_str().and_then(WindowType::parse) {
                    Some(window_type) => rule.window_type = window_type,
                    None => wrong("must be \"tumbling\" or \"sliding\"".to_owned()),
                },
                "max_span" => match span_from_json(value) {
                    Some(span) => rule.max_span = span,
                    None => wrong("must be a duration from 1s to 30d".to_owned()),
                },
                "strict" => match value.as_bool() {
                    Some(strict) => rule.strict = strict,
                    None => wrong("must be true or false".to_owned()),
                },
                "max_alerts" => match value.as_u64().and_then(|n| u32::try_from(n).ok()) {
                    Some(n) if (1..=MAX_ALERTS_LIMIT).contains(&n) => rule.max_alerts = n,
                    _ => wrong(format!("must be a number from 1 to {MAX_ALERTS_LIMIT}")),
                },
                _ => wrong(format!("is unknown; must be one of {KEYS}")),
            }
        }
        if !object.contains_key("by") {
            errors
                .push((format!("{path}.by"), "is required: a list of fields, or \"time\"".into()));
        }
        if rule.by == By::Time && rule.window == Span::ZERO {
            let what = "is required for by: time, else everything would be one incident";
            errors.push((format!("{path}.window"), what.into()));
        }
        (errors.len() == before).then_some(rule)
    }
}

fn by_from_json(value: &Value) -> Result<By, Vec<(String, String)>> {
    let wrong = || vec![(String::new(), "must be a list of fields, or \"time\"".to_owned())];
    match value {
        Value::String(text) if text == "time" => Ok(By::Time),
        Value::Array(items) if (1..=FIELDS_MAX).contains(&items.len()) => {
            let mut fields = Vec::new();
            let mut errors = Vec::new();
            for (i, item) in items.iter().enumerate() {
                match item.as_str().map(Field::parse) {
                    Some(Ok(field)) => fields.push(field),
                    Some(Err(error)) => errors.push((format!("[{i}]"), error.to_string())),
                    None => errors.push((format!("[{i}]"), "must be the name of a field".into())),
                }
            }
            if errors.is_empty() { Ok(By::Fields(fields)) } else { Err(errors) }
        }
        _ => Err(wrong()),
    }
}

fn span_from_json(value: &Value) -> Option<Span> {
    let span = Span::parse(value.as_str()?).ok()?;
    (Span::from_secs(1)..=WINDOW_MAX).contains(&span).then_some(span)
}

fn window_from_json(value: &Value) -> Option<Span> {
    if value.as_u64() == Some(0) || value.as_str() == Some("0s") {
        return Some(Span::ZERO);
    }
    span_from_json(value)
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
