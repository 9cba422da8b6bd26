//! What a team sets up: services, and the integrations that events come in by.

use serde_json::{Map, Value};

pub use super::read::FieldError;
use super::{
    enrich::EnrichRule,
    event::closed_enum,
    grouping::{GroupingRule, RULES_MAX},
    id::{IntegrationId, RuleId, ServiceId},
    inhibition::InhibitionRule,
    matcher::Match,
    notify_rule::NotifyRule,
    rules::pair_ids,
    settings::{AutoPause, Flapping},
    time::{Span, Timestamp},
};

/// Longest name of a service, integration or token, in characters.
pub const NAME_MAX_CHARS: usize = 100;

closed_enum! {
    /// What an integration speaks.
    IntegrationType { PagerDuty = "pagerduty", Guance = "guance" }
}

closed_enum! {
    /// From which event the time to an automatic resolve counts.
    AutoResolveFrom { FirstEvent = "first_event", LastEvent = "last_event" }
}

closed_enum! {
    /// What a token may do. Ordered: a later one may all that an earlier one may.
    Role { Viewer = "viewer", Responder = "responder", Admin = "admin" }
}

/// An open alert without news resolves by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoResolve {
    pub after: Span,
    pub from: AutoResolveFrom,
}

/// A time in which the gateway was not running and heard of nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Gap {
    /// How long alerts that should have resolved by themselves in the gap are given for their
    /// sources to say that they are still there: no false all-clear.
    const GRACE: Span = Span::from_secs(15 * 60);

    fn postpones(self, due: Timestamp) -> Timestamp {
        if self.from < due && due <= self.to { self.to.plus(Self::GRACE) } else { due }
    }
}

/// The timers of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    /// The gateway was down: see [`Gap`]. Known to the directory, not to the policy.
    pub gap: Option<Gap>,
    pub auto_resolve: Option<AutoResolve>,
    /// After this an acknowledged alert or incident is triggered again.
    pub acknowledgement_timeout: Option<Span>,
}

impl Timers {
    pub fn auto_resolve_due(&self, first: Timestamp, last: Timestamp) -> Option<Timestamp> {
        let AutoResolve { after, from } = self.auto_resolve?;
        let due = match from {
            AutoResolveFrom::FirstEvent => first.plus(after),
            AutoResolveFrom::LastEvent => last.plus(after),
        };
        Some(self.gap.map_or(due, |gap| gap.postpones(due)))
    }
}

/// How a service treats its alerts.
#[derive(Clone, Debug, Default)]
pub struct ServicePolicy {
    /// Steps that add what events lack, in order.
    pub enrich: Vec<EnrichRule>,
    /// Triggers that match any of these open nothing.
    pub drop: Vec<Match>,
    /// The first rule that matches decides.
    pub grouping: Vec<GroupingRule>,
    /// Numbers of alerts in one incident that are worth a notification of their own; ascending.
    pub storm: Vec<u32>,
    pub flapping: Flapping,
    pub inhibition: Vec<InhibitionRule>,
    /// `None`: off.
    pub auto_pause: Option<AutoPause>,
    pub timers: Timers,
    pub notify: Vec<NotifyRule>,
}

impl ServicePolicy {
    /// The members that [`ServicePolicy::read_member`] understands.
    pub const MEMBERS: [&'static str; 10] = [
        "enrich",
        "drop",
        "grouping",
        "storm",
        "flapping",
        "inhibition",
        "auto_pause",
        "auto_resolve",
        "acknowledgement_timeout",
        "notify",
    ];

    /// Reads one member of a service's JSON object. `rule_id` gives ids to rules without one; a
    /// stored rule carries its own as `"id"`.
    pub fn read_member(
        &mut self,
        name: &str,
        value: &Value,
        rule_id: &mut dyn FnMut() -> RuleId,
        errors: &mut Vec<FieldError>,
    ) {
        match (name, value) {
            (_, Value::Null) => {}
            ("grouping", Value::Array(rules)) if rules.len() <= RULES_MAX => {
                for (i, rule) in rules.iter().enumerate() {
                    let path = format!("grouping[{i}]");
                    self.grouping.extend(GroupingRule::from_json(rule, rule_id(), &path, errors));
                }
            }
            ("grouping", _) => {
                errors.push((name.into(), format!("must be a list of at most {RULES_MAX} rules")));
            }
            ("auto_resolve", value) => {
                self.timers.auto_resolve = auto_resolve_from_json(value, errors);
            }
            ("acknowledgement_timeout", value) => {
                match value.as_str().and_then(|text| Span::parse(text).ok()) {
                    Some(span) if span >= Span::from_secs(1) => {
                        self.timers.acknowledgement_timeout = Some(span);
                    }
                    _ => errors.push((name.into(), "must be a duration of at least 1s".into())),
                }
            }
            _ => errors.push((name.into(), "is unknown".into())),
        }
    }

    /// Gives the rules their ids: those of the rules of `old` that they are, else fresh ones.
    pub fn pair_ids(&mut self, old: &Self, mut fresh: impl FnMut() -> RuleId) {
        pair_ids(&old.grouping, &mut self.grouping, &mut fresh);
        pair_ids(&old.inhibition, &mut self.inhibition, &mut fresh);
        pair_ids(&old.notify, &mut self.notify, &mut fresh);
    }

    /// The ids of all rules that have one.
    pub fn rule_ids(&self) -> impl Iterator<Item = RuleId> {
        let grouping = self.grouping.iter().map(|rule| rule.id);
        let inhibition = self.inhibition.iter().map(|rule| rule.id);
        grouping.chain(inhibition).chain(self.notify.iter().map(|rule| rule.id))
    }

    /// The members as the API shows them.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut object = Map::new();
        let rules = self.grouping.iter().map(GroupingRule::to_json).collect();
        object.insert("grouping".into(), Value::Array(rules));
        object.insert(
            "auto_resolve".into(),
            self.timers.auto_resolve.map_or(
                Value::Null,
                |auto| serde_json::json!({"after": auto.after, "from": auto.from}),
            ),
        );
        object.insert(
            "acknowledgement_timeout".into(),
            self.timers.acknowledgement_timeout.map_or(Value::Null, |span| span.to_string().into()),
        );
        object
    }

    /// The form kept in the database: the API's, with the ids of the rules beside it.
    pub fn to_stored(&self) -> String {
        let mut object = self.to_json();
        let ids = self.grouping.iter().map(|rule| rule.id.to_string().into()).collect();
        object.insert("rule_ids".into(), Value::Array(ids));
        Value::Object(object).to_string()
    }

    /// Reads what [`ServicePolicy::to_stored`] wrote. `Err` says what is damaged.
    pub fn from_stored(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut ids = value["rule_ids"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|id| RuleId::parse(id.as_str()?))
            .collect::<Vec<_>>()
            .into_iter();
        let mut next = || ids.next().unwrap_or_else(|| RuleId::new(Timestamp::default(), 0, 0));
        let mut policy = Self::default();
        let mut errors = Vec::new();
        for name in Self::MEMBERS {
            policy.read_member(name, &value[name], &mut next, &mut errors);
        }
        match errors.first() {
            None => Ok(policy),
            Some((path, what)) => Err(format!("{path} {what}")),
        }
    }
}

fn auto_resolve_from_json(value: &Value, errors: &mut Vec<FieldError>) -> Option<AutoResolve> {
    let Value::Object(object) = value else {
        let what = "must be an object such as {\"after\": \"24h\", \"from\": \"last_event\"}";
        errors.push(("auto_resolve".into(), what.into()));
        return None;
    };
    let before = errors.len();
    let mut after = None;
    let mut from = AutoResolveFrom::LastEvent;
    for (key, value) in object {
        let path = format!("auto_resolve.{key}");
        match key.as_str() {
            "after" => match value.as_str().and_then(|text| Span::parse(text).ok()) {
                Some(span) if span >= Span::from_secs(1) => after = Some(span),
                _ => errors.push((path, "must be a duration of at least 1s".into())),
            },
            "from" => match value.as_str().and_then(AutoResolveFrom::parse) {
                Some(named) => from = named,
                None => errors.push((path, "must be \"first_event\" or \"last_event\"".into())),
            },
            _ => errors.push((path, "is unknown; must be after or from".into())),
        }
    }
    if after.is_none() && errors.len() == before {
        errors.push(("auto_resolve.after".into(), "is required".into()));
    }
    Some(AutoResolve { after: after?, from })
}

/// A service: the unit inside which alerts are deduplicated and grouped.
#[derive(Clone, Debug)]
pub struct Service {
    pub id: ServiceId,
    pub name: String,
    pub description: String,
    pub policy: ServicePolicy,
    /// Made by a policy file.
    pub managed: bool,
    pub version: i64,
    pub created_at: Timestamp,
}

/// An inbound integration: owns a routing key, belongs to a service.
#[derive(Clone, Debug)]
pub struct Integration {
    pub id: IntegrationId,
    pub name: String,
    pub service_id: ServiceId,
    pub kind: IntegrationType,
    /// Its events may be routed to other services.
    pub shared: bool,
    pub key_hint: String,
    /// Made by a policy file.
    pub managed: bool,
    pub version: i64,
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_stored_with_the_ids_of_its_rules() {
        let mut policy = ServicePolicy::default();
        let mut seq = 40;
        let mut fresh = || {
            seq += 1;
            RuleId::new(Timestamp::default(), seq, 0)
        };
        let mut errors = Vec::new();
        let given = serde_json::json!({
            "grouping": [{"by": ["class"]}, {"by": ["source"], "window": "5m"}],
            "auto_resolve": {"after": "24h"}, "acknowledgement_timeout": "30m"
        });
        for (name, value) in given.as_object().unwrap() {
            policy.read_member(name, value, &mut fresh, &mut errors);
        }
        assert_eq!(errors, []);

        let read = ServicePolicy::from_stored(&policy.to_stored()).unwrap();

        let ids: Vec<_> = read.grouping.iter().map(|rule| rule.id.seq()).collect();
        assert_eq!(ids, [41, 42]);
        assert_eq!(read.timers, policy.timers);
        assert_eq!(read.to_json(), policy.to_json());
    }

    #[test]
    fn every_mistake_in_a_timer_is_reported() {
        let mut policy = ServicePolicy::default();
        let mut errors = Vec::new();
        let mut no_rules = || unreachable!("no rule is given");
        let auto = serde_json::json!({"after": "0s", "form": "x"});
        policy.read_member("auto_resolve", &auto, &mut no_rules, &mut errors);
        policy.read_member("acknowledgement_timeout", &5.into(), &mut no_rules, &mut errors);

        let paths: Vec<_> = errors.iter().map(|(path, _)| path.as_str()).collect();

        assert_eq!(paths, ["auto_resolve.after", "auto_resolve.form", "acknowledgement_timeout"]);
    }
}
