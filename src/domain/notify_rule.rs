//! Notify rules: who is told of an incident, and when.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    id::RuleId,
    matcher::Match,
    read::{FieldError, Place},
    rules::rule,
    schedule::Schedule,
    service::NAME_MAX_CHARS,
    time::Span,
};

/// Most receivers of one rule.
pub const RECEIVERS_MAX: usize = 20;
const DELAY_MAX: Span = Span::from_secs(86_400);
/// Shortest and longest time between repeats.
const REPEAT: std::ops::RangeInclusive<Span> = Span::from_secs(1)..=Span::from_secs(30 * 86_400);
const KEYS: [&str; 5] = ["match", "receivers", "delay", "repeat", "active"];

/// One notify rule of a service.
#[derive(Clone, Debug)]
pub struct NotifyRule {
    pub id: RuleId,
    pub matches: Match,
    /// Names, each once.
    pub receivers: Vec<Arc<str>>,
    /// How long the first notification waits.
    pub delay: Span,
    /// `None`: nothing is repeated.
    pub repeat: Option<Span>,
    /// When the rule notifies; `None`: always.
    pub active: Option<Schedule>,
}

rule! { NotifyRule }

impl NotifyRule {
    /// Reads `{"receivers": ["name"], "match"?, "delay"?, "repeat"?, "active"?}`. Whether there are
    /// such receivers is the caller's question.
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
            receivers: Vec::new(),
            delay: Span::ZERO,
            repeat: None,
            active: None,
        };
        for (key, value) in object {
            let mut place = place.member(key);
            match key.as_str() {
                "match" => place.take(&mut rule.matches, |p| p.matches(value)),
                "receivers" => rule.receivers = receivers_from_json(&mut place, value),
                "delay" => place.take(&mut rule.delay, |p| p.span(value, Span::ZERO..=DELAY_MAX)),
                "repeat" | "active" if value.is_null() => {}
                "repeat" => rule.repeat = place.span(value, REPEAT),
                "active" => rule.active = place.with(|path, e| Schedule::from_json(value, path, e)),
                _ => place.unknown(&KEYS),
            }
        }
        place.needs(object, "receivers", "is required: the names of receivers");
        (place.mistakes() == before).then_some(rule)
    }

    /// The form of the policy file.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        if !self.matches.is_empty() {
            object.insert("match".into(), self.matches.to_json());
        }
        let names: Vec<&str> = self.receivers.iter().map(|name| &**name).collect();
        object.insert("receivers".into(), json!(names));
        if self.delay != Span::ZERO {
            object.insert("delay".into(), json!(self.delay));
        }
        if let Some(repeat) = self.repeat {
            object.insert("repeat".into(), json!(repeat));
        }
        if let Some(active) = &self.active {
            object.insert("active".into(), active.to_json());
        }
        Value::Object(object)
    }
}

fn receivers_from_json(place: &mut Place<'_>, value: &Value) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> = Vec::new();
    for (i, item) in place.list(value, RECEIVERS_MAX).into_iter().flatten().enumerate() {
        let mut place = place.item(i);
        match place.text(item, NAME_MAX_CHARS) {
            Some(name) if names.iter().any(|other| **other == *name) => {
                place.wrong("is named twice");
            }
            Some(name) => names.push(name.into()),
            None => {}
        }
    }
    if value.as_array().is_some_and(Vec::is_empty) {
        place.wrong("must name a receiver");
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    fn read(value: &Value) -> Result<NotifyRule, Vec<FieldError>> {
        let mut errors = Vec::new();
        let id = RuleId::new(Timestamp::default(), 1, 0);
        NotifyRule::from_json(value, id, "notify[0]", &mut errors).ok_or(errors)
    }

    #[test]
    fn a_rule_is_written_as_it_is_read() {
        for value in [
            json!({"receivers": ["jira-ops"]}),
            json!({
                "match": ["severity=~\"critical|error\""], "receivers": ["a", "b"],
                "delay": "10m", "repeat": "4h", "active": {
                    "days": ["sat"], "from": "00:00", "to": "24:00", "timezone": "Asia/Shanghai"
                }
            }),
        ] {
            assert_eq!(read(&value).unwrap().to_json(), value);
        }
    }

    #[test]
    fn every_mistake_is_said_with_its_path() {
        let wrong = json!({
            "receivers": ["a", "", "a"], "delay": "2d", "repeat": "0s", "match": ["x"],
            "active": {"from": "1"}, "repeet": "1h"
        });

        let errors = read(&wrong).unwrap_err();

        let paths: Vec<_> = errors.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "notify[0].active.from",
                "notify[0].active.to",
                "notify[0].delay",
                "notify[0].match[0]",
                "notify[0].receivers[1]",
                "notify[0].receivers[2]",
                "notify[0].repeat",
                "notify[0].repeet",
            ]
        );
        assert_eq!(read(&json!({"receivers": []})).unwrap_err()[0].0, "notify[0].receivers");
        assert_eq!(read(&json!({})).unwrap_err()[0].0, "notify[0].receivers");
        let misspelt = read(&json!({"recievers": ["a"]})).unwrap_err();
        assert_eq!(misspelt.len(), 1, "one mistake is said once: {misspelt:?}");
        assert!(misspelt[0].1.contains("did you mean receivers?"));
    }
}
