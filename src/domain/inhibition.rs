//! Inhibition: while a source alert is open, nobody is told of the targets that it explains.

use serde_json::{Map, Value, json};

use super::{
    event::FieldHash,
    id::RuleId,
    matcher::{Field, Fields, Match},
    read::{FieldError, Place},
    rules::rule,
    time::Span,
};

/// Most fields that must be equal.
const EQUAL_MAX: usize = 10;
const RELEASE_DELAY_DEFAULT: Span = Span::from_secs(60);
const RELEASE_DELAY: std::ops::RangeInclusive<Span> =
    Span::from_secs(1)..=Span::from_secs(24 * 3600);
const KEYS: [&str; 6] =
    ["source", "target", "equal", "release_delay", "allow_empty", "acknowledged_sources"];

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

rule! { InhibitionRule }

impl InhibitionRule {
    /// `None` if it stands on neither side, or if a value that must be equal is missing.
    pub fn sides(&self, fields: &impl Fields) -> Option<Sides> {
        let source = self.source.holds(fields);
        let target = self.target.holds(fields);
        if !source && !target {
            return None;
        }
        let mut hash = FieldHash::default();
        for name in &self.equal {
            let value = fields.field(name);
            if value.is_empty() && !self.allow_empty {
                return None;
            }
            hash.field(Some(&value));
        }
        Some(Sides { hash: hash.first_eight(), source, target })
    }

    /// Reads `{"source": […], "target": […], "equal"?, "release_delay"?, "allow_empty"?,
    /// "acknowledged_sources"?}`.
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
            source: Match::default(),
            target: Match::default(),
            equal: Vec::new(),
            release_delay: RELEASE_DELAY_DEFAULT,
            allow_empty: false,
            acknowledged_sources: true,
        };
        for (key, value) in object {
            let mut place = place.member(key);
            match key.as_str() {
                "source" => place.take(&mut rule.source, |p| p.matches(value)),
                "target" => place.take(&mut rule.target, |p| p.matches(value)),
                "equal" if value.as_array().is_some_and(Vec::is_empty) => {}
                "equal" => place.take(&mut rule.equal, |p| p.fields(value, EQUAL_MAX)),
                "release_delay" => {
                    place.take(&mut rule.release_delay, |p| p.span(value, RELEASE_DELAY));
                }
                "allow_empty" => place.take(&mut rule.allow_empty, |p| p.flag(value)),
                "acknowledged_sources" => {
                    place.take(&mut rule.acknowledged_sources, |p| p.flag(value));
                }
                _ => place.unknown(&KEYS),
            }
        }
        for key in ["source", "target"] {
            place.needs(object, key, "is required: a list of matchers");
            if object.get(key).is_some_and(|list| *list == json!([])) {
                place.member(key).wrong("must have a matcher");
            }
        }
        (place.mistakes() == before).then_some(rule)
    }

    /// Finds whether it can inhibit nothing, or contradicts one of the rules `before` it, which come
    /// with their paths. What matches both sides of a rule inhibits no other that does too, so a
    /// rule with equal sides does nothing; and two rules that are each other's reverse silence
    /// either side by the other.
    pub(super) fn check(
        &self,
        path: &str,
        before: &[(String, Self)],
        errors: &mut Vec<FieldError>,
    ) {
        let (source, target) = (self.source.to_json(), self.target.to_json());
        if source == target {
            let what = format!("is the same as {path}.source, so it would inhibit nothing");
            errors.push((format!("{path}.target"), what));
            return;
        }
        let is_reverse = |other: &Self| {
            other.source.to_json() == target
                && other.target.to_json() == source
                && same_fields(&other.equal, &self.equal)
        };
        if let Some((other, _)) = before.iter().find(|(_, rule)| is_reverse(rule)) {
            let what = format!("is the reverse of {other}: each side would inhibit the other");
            errors.push((path.to_owned(), what));
        }
    }

    /// The form of the policy file.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("source".into(), self.source.to_json());
        object.insert("target".into(), self.target.to_json());
        let equal: Vec<String> = self.equal.iter().map(ToString::to_string).collect();
        object.insert("equal".into(), json!(equal));
        object.insert("release_delay".into(), json!(self.release_delay));
        object.insert("allow_empty".into(), self.allow_empty.into());
        object.insert("acknowledged_sources".into(), self.acknowledged_sources.into());
        Value::Object(object)
    }
}

fn same_fields(a: &[Field], b: &[Field]) -> bool {
    let sorted = |fields: &[Field]| {
        let mut fields = fields.to_vec();
        fields.sort();
        fields
    };
    sorted(a) == sorted(b)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::domain::time::Timestamp;

    struct Values(Vec<(&'static str, &'static str)>);

    impl Fields for Values {
        fn field(&self, field: &Field) -> Cow<'_, str> {
            let name = field.to_string();
            self.0.iter().find(|(n, _)| *n == name).map_or("", |(_, v)| *v).into()
        }
    }

    fn read(value: &Value) -> Result<InhibitionRule, Vec<FieldError>> {
        let mut errors = Vec::new();
        let id = RuleId::new(Timestamp::default(), 1, 0);
        InhibitionRule::from_json(value, id, "inhibition[0]", &mut errors).ok_or(errors)
    }

    fn host_down(more: &Value) -> Value {
        let mut rule = json!({
            "source": ["class=\"host down\""], "target": ["severity=~\"warning|info\""],
            "equal": ["source"]
        });
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule
    }

    #[test]
    fn source_and_target_meet_by_equal_values() {
        let rule = read(&host_down(&json!({}))).unwrap();
        let sides = |class, severity, source| {
            rule.sides(&Values(vec![("class", class), ("severity", severity), ("source", source)]))
        };

        let source = sides("host down", "critical", "db1").unwrap();
        let target = sides("disk", "warning", "db1").unwrap();
        let both = sides("host down", "warning", "db1").unwrap();
        let elsewhere = sides("disk", "warning", "db2").unwrap();

        assert_eq!((source.source, source.target), (true, false));
        assert_eq!((target.source, target.target), (false, true));
        assert_eq!((both.source, both.target), (true, true));
        assert_eq!(source.hash, target.hash);
        assert_ne!(source.hash, elsewhere.hash);
        assert_eq!(sides("disk", "critical", "db1"), None);
    }

    #[test]
    fn a_missing_value_is_not_equal_unless_that_is_allowed() {
        let strict = read(&host_down(&json!({}))).unwrap();
        let lenient = read(&host_down(&json!({"allow_empty": true}))).unwrap();
        let fields = Values(vec![("severity", "info")]);

        assert_eq!(strict.sides(&fields), None);
        assert!(lenient.sides(&fields).is_some_and(|sides| sides.target));
    }

    #[test]
    fn a_rule_is_written_as_it_is_read() {
        let value = host_down(&json!({
            "release_delay": "90s", "allow_empty": true, "acknowledged_sources": false
        }));

        assert_eq!(read(&value).unwrap().to_json(), value);
        let defaults = read(&host_down(&json!({}))).unwrap().to_json();
        assert_eq!(defaults["release_delay"], "1m");
        assert_eq!(defaults["acknowledged_sources"], true);
    }

    #[test]
    fn every_mistake_is_said_with_its_path() {
        let wrong = json!({
            "target": [], "equal": ["colour"], "release_delay": "0s", "allow_empty": 1,
            "sources": ["a"]
        });

        let errors = read(&wrong).unwrap_err();

        let paths: Vec<_> = errors.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "inhibition[0].allow_empty",
                "inhibition[0].equal[0]",
                "inhibition[0].release_delay",
                "inhibition[0].sources",
                "inhibition[0].target",
            ]
        );
    }

    #[test]
    fn rules_that_can_only_contradict_each_other_are_refused() {
        let rule = |source: &str, target: &str, equal: &[&str]| {
            read(&json!({"source": [source], "target": [target], "equal": equal})).unwrap()
        };
        let (a, b) = ("class=\"a\"", "class=\"b\"");
        let checked = |rules: &[InhibitionRule]| {
            let (mut before, mut errors) = (Vec::new(), Vec::new());
            for (i, rule) in rules.iter().enumerate() {
                let path = format!("inhibition[{i}]");
                rule.check(&path, &before, &mut errors);
                before.push((path, rule.clone()));
            }
            errors
        };

        let same = checked(&[rule(a, a, &["source"])]);
        let reverse = checked(&[
            rule(a, b, &["source", "group"]),
            rule(b, a, &["group"]),
            rule(b, a, &["group", "source"]),
        ]);

        assert_eq!(same.len(), 1);
        assert_eq!(same[0].0, "inhibition[0].target");
        assert_eq!(reverse.len(), 1);
        assert_eq!(reverse[0].0, "inhibition[2]");
        assert!(reverse[0].1.contains("inhibition[0]"));
        assert_eq!(checked(&[rule(a, b, &[]), rule(a, b, &[])]), []);
    }
}
