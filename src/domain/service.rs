//! What a team sets up: services, and the integrations that events come in by.

use serde_json::{Map, Value, json};

pub use super::read::FieldError;
use super::{
    enrich::EnrichRule,
    event::closed_enum,
    grouping::GroupingRule,
    id::{IntegrationId, RuleId, ServiceId},
    inhibition::InhibitionRule,
    matcher::Match,
    notify_rule::NotifyRule,
    read::Place,
    rules::{Rule, pair_ids},
    settings::{AutoPause, Flapping, storm_from_json},
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

impl AutoResolve {
    /// Of an alert that only informs: nobody will ever say that it is over. Ours: as long as it may
    /// be news.
    pub const INFORMING: Self =
        Self { after: Span::from_secs(3600), from: AutoResolveFrom::LastEvent };
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

    /// The same with the one before it, if what waits since that one has not had its time yet: a
    /// gateway that goes down again and again gives no false all-clear either.
    #[must_use]
    pub fn joined(self, before: Option<Self>) -> Self {
        let before = before.filter(|before| self.from < before.to.plus(Self::GRACE));
        Self { from: before.map_or(self.from, |before| before.from.min(self.from)), ..self }
    }

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
    /// When what had its first and last event then resolves by itself.
    pub fn auto_resolve_due(
        &self,
        auto: AutoResolve,
        first: Timestamp,
        last: Timestamp,
    ) -> Timestamp {
        let due = match auto.from {
            AutoResolveFrom::FirstEvent => first.plus(auto.after),
            AutoResolveFrom::LastEvent => last.plus(auto.after),
        };
        self.gap.map_or(due, |gap| gap.postpones(due))
    }
}

/// Where a policy comes from. Some things are only refused when they are new: what was accepted
/// once stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Given,
    Stored,
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

    /// Reads one member of a service's JSON object. `rule_id` gives ids to rules.
    pub fn read_member(
        &mut self,
        name: &str,
        value: &Value,
        rule_id: &mut dyn FnMut() -> RuleId,
        errors: &mut Vec<FieldError>,
    ) {
        self.read(name, value, Source::Given, rule_id, errors);
    }

    fn read(
        &mut self,
        name: &str,
        value: &Value,
        source: Source,
        rule_id: &mut dyn FnMut() -> RuleId,
        errors: &mut Vec<FieldError>,
    ) {
        let mut place = Place::new(name, errors);
        match (name, value) {
            (_, Value::Null) => {}
            ("enrich", _) => self.enrich = place.rules(value, EnrichRule::from_json),
            ("drop", _) => self.drop = place.rules(value, drop_from_json),
            ("grouping", _) => {
                self.grouping = place.rules(value, |rule, path, e| {
                    let rule = GroupingRule::from_json(rule, rule_id(), path, e)?;
                    if source == Source::Given {
                        rule.check(path, e);
                    }
                    Some(rule)
                });
            }
            ("storm", _) => {
                self.storm = storm_from_json(value, name, errors).unwrap_or_default();
            }
            ("flapping", _) => {
                self.flapping = Flapping::from_json(value, name, errors).unwrap_or_default();
            }
            ("inhibition", _) => {
                let mut before = Vec::new();
                self.inhibition = place.rules(value, |rule, path, e| {
                    let rule = InhibitionRule::from_json(rule, rule_id(), path, e)?;
                    if source == Source::Given {
                        rule.check(path, &before, e);
                        before.push((path.to_owned(), rule.clone()));
                    }
                    Some(rule)
                });
            }
            ("auto_pause", _) => self.auto_pause = AutoPause::from_json(value, name, errors),
            ("auto_resolve", _) => {
                self.timers.auto_resolve = auto_resolve_from_json(&mut place, value);
            }
            ("acknowledgement_timeout", _) => {
                self.timers.acknowledgement_timeout = timer_from_json(&mut place, value);
            }
            ("notify", _) => {
                self.notify = place
                    .rules(value, |rule, path, e| NotifyRule::from_json(rule, rule_id(), path, e));
            }
            _ => place.unknown(&Self::MEMBERS),
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
        let Self { enrich, drop, grouping, storm, inhibition, notify, timers, .. } = self;
        let drop = drop.iter().map(|matches| json!({"match": matches.to_json()}));
        let auto_resolve = timers
            .auto_resolve
            .map(|AutoResolve { after, from }| json!({"after": after, "from": from}));
        let members = [
            ("enrich", enrich.iter().map(EnrichRule::to_json).collect()),
            ("drop", drop.collect()),
            ("grouping", grouping.iter().map(GroupingRule::to_json).collect()),
            ("storm", json!(storm)),
            ("flapping", self.flapping.to_json()),
            ("inhibition", inhibition.iter().map(InhibitionRule::to_json).collect()),
            ("auto_pause", self.auto_pause.map_or(Value::Null, |pause| pause.to_json())),
            ("auto_resolve", json!(auto_resolve)),
            ("acknowledgement_timeout", json!(timers.acknowledgement_timeout)),
            ("notify", notify.iter().map(NotifyRule::to_json).collect()),
        ];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The form kept in the database: the API's, with the ids of the rules beside it.
    pub fn to_stored(&self) -> String {
        let mut object = self.to_json();
        object.insert("rule_ids".into(), ids_of(&self.grouping));
        object.insert("inhibition_ids".into(), ids_of(&self.inhibition));
        object.insert("notify_ids".into(), ids_of(&self.notify));
        Value::Object(object).to_string()
    }

    /// Reads what [`ServicePolicy::to_stored`] wrote. `Err` says what is damaged.
    pub fn from_stored(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut policy = Self::default();
        let mut errors = Vec::new();
        for name in Self::MEMBERS {
            let ids = match name {
                "inhibition" => "inhibition_ids",
                "notify" => "notify_ids",
                _ => "rule_ids",
            };
            let stored = value[ids].as_array().into_iter().flatten();
            let mut ids = stored.filter_map(|id| RuleId::parse(id.as_str()?));
            let mut next = || ids.next().unwrap_or_else(|| RuleId::new(Timestamp::default(), 0, 0));
            policy.read(name, &value[name], Source::Stored, &mut next, &mut errors);
        }
        match errors.first() {
            None => Ok(policy),
            Some((path, what)) => Err(format!("{path} {what}")),
        }
    }
}

fn ids_of(rules: &[impl Rule]) -> Value {
    rules.iter().map(|rule| Value::from(rule.id().to_string())).collect()
}

fn drop_from_json(value: &Value, path: &str, errors: &mut Vec<FieldError>) -> Option<Match> {
    let mut place = Place::new(path, errors);
    let object = place.object(value)?;
    let mut matches = None;
    for (key, value) in object {
        let mut place = place.member(key);
        match key.as_str() {
            "match" => matches = place.matches(value),
            _ => place.unknown(&["match"]),
        }
    }
    place.needs(object, "match", "is required: a list of matchers");
    if object.get("match").is_some_and(|list| *list == json!([])) {
        place.member("match").wrong("must have a matcher: without one everything is dropped");
    }
    matches
}

fn timer_from_json(place: &mut Place<'_>, value: &Value) -> Option<Span> {
    let span = value.as_str().and_then(|text| Span::parse(text).ok());
    let span = span.filter(|span| *span >= Span::from_secs(1));
    if span.is_none() {
        place.wrong("must be a duration of at least 1s");
    }
    span
}

fn auto_resolve_from_json(place: &mut Place<'_>, value: &Value) -> Option<AutoResolve> {
    let Value::Object(object) = value else {
        place.wrong("must be an object such as {\"after\": \"24h\", \"from\": \"last_event\"}");
        return None;
    };
    let before = place.mistakes();
    let mut after = None;
    let mut from = AutoResolveFrom::LastEvent;
    for (key, value) in object {
        let mut place = place.member(key);
        match key.as_str() {
            "after" => after = timer_from_json(&mut place, value),
            "from" => place
                .take(&mut from, |p| p.named(value, AutoResolveFrom::ALL, AutoResolveFrom::as_str)),
            _ => place.unknown(&["after", "from"]),
        }
    }
    if place.mistakes() == before {
        place.required(object, &["after"]);
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
mod tests;
