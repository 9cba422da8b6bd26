//! Schemas of the parts of a policy: rules of services, silences, routes, receivers. As in
//! [`super::schemas`], for the description only.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::schemas::Matchers;

/// One step of enrichment: `extract`, `set`, `map` or `severity`, and to which events it applies.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"extract": {"from": "summary", "regex": "on machine (?P<host>\\S+)"}}))]
pub struct EnrichStep {
    /// Matchers of the event as the steps before left it. None: every event.
    #[schema(value_type = Option<Vec<Matchers>>, nullable = false)]
    pub r#match: Option<Value>,
    /// The named groups of a regular expression become labels.
    #[schema(nullable = false)]
    pub extract: Option<EnrichExtract>,
    /// A label gets a value.
    #[schema(nullable = false)]
    pub set: Option<EnrichSet>,
    /// A label gets what a table has for the value of a field.
    #[schema(nullable = false)]
    pub map: Option<EnrichMap>,
    /// `info`, `warning`, `error` or `critical`.
    #[schema(nullable = false)]
    pub severity: Option<String>,
}

/// Labels from a text.
#[derive(Debug, ToSchema)]
pub struct EnrichExtract {
    /// A field, such as `summary` or `details.message`.
    pub from: String,
    /// Its named groups become labels.
    pub regex: String,
}

/// A label with a value.
#[derive(Debug, ToSchema)]
pub struct EnrichSet {
    pub label: String,
    pub value: String,
}

/// A label from a table.
#[derive(Debug, ToSchema)]
pub struct EnrichMap {
    pub label: String,
    /// A field, such as `label.host`.
    pub from: String,
    #[schema(value_type = Object)]
    pub table: Map<String, Value>,
    /// For values that are not in the table; without it these get no label.
    #[schema(nullable = false)]
    pub default: Option<String>,
}

/// Triggers that match are stored and open nothing.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"match": ["source=~\"test-.*\""]}))]
pub struct DropRule {
    #[schema(value_type = Vec<Matchers>)]
    pub r#match: Value,
}

/// When a key that comes and goes counts as flapping.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"max_changes": 4, "within": "60m", "mute": "120m", "mode": "mark"}))]
pub struct FlappingRule {
    #[schema(minimum = 2, maximum = 50, default = 4, nullable = false)]
    pub max_changes: Option<u32>,
    #[schema(default = "60m", nullable = false)]
    pub within: Option<String>,
    /// With `mode: mute`, how long notifications wait at most.
    #[schema(default = "120m", nullable = false)]
    pub mute: Option<String>,
    #[schema(default = "mark", nullable = false)]
    pub mode: Option<FlappingModeName>,
}

/// What happens to a key that flaps.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum FlappingModeName {
    Off,
    Mark,
    Mute,
}

/// While a source is open, nobody is told of the targets that have the same values.
#[derive(Debug, ToSchema)]
#[schema(as = InhibitionMember, example = json!({
    "source": ["class=\"host down\""], "target": ["severity=~\"warning|info\""],
    "equal": ["source"], "release_delay": "60s",
}))]
pub struct InhibitionMember {
    #[schema(value_type = Vec<Matchers>)]
    pub source: Value,
    #[schema(value_type = Vec<Matchers>)]
    pub target: Value,
    /// Fields that have to have equal values.
    pub equal: Vec<String>,
    /// How long targets stay quiet after the last source.
    #[schema(default = "1m", nullable = false)]
    pub release_delay: Option<String>,
    /// A value that is missing on both sides is equal.
    #[schema(default = false, nullable = false)]
    pub allow_empty: Option<bool>,
    /// An acknowledged source still inhibits.
    #[schema(default = true, nullable = false)]
    pub acknowledged_sources: Option<bool>,
}

/// Notifications of a new alert wait, in case it ends by itself.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"for": "2m", "when": "transient"}))]
pub struct AutoPauseRule {
    pub r#for: String,
    #[schema(default = "transient", nullable = false)]
    pub when: Option<PauseWhenName>,
}

/// Whose notifications wait: of keys that mostly ended by themselves, of all, of none.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum PauseWhenName {
    Transient,
    Always,
    Off,
}

/// Who is told of an incident.
#[derive(Debug, ToSchema)]
#[schema(example = json!({
    "receivers": ["pagerduty-main"], "match": ["severity=~\"critical|error\""], "repeat": "4h",
}))]
pub struct NotifyMember {
    /// Names of receivers.
    #[schema(min_items = 1, max_items = 20)]
    pub receivers: Vec<String>,
    /// Matchers of which one of the incident's alerts has to fit. None: every alert.
    #[schema(value_type = Option<Vec<Matchers>>, nullable = false)]
    pub r#match: Option<Value>,
    /// How long the first notification waits; resolved meanwhile, nothing is sent.
    #[schema(default = "0s", nullable = false)]
    pub delay: Option<String>,
    /// After which they are told again.
    pub repeat: Option<String>,
    /// When they are told; what was held is sent when its time comes.
    pub active: Option<ScheduleRule>,
}

/// Times of every week by the clock on the wall.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Schedule, example = json!({
    "days": ["sun"], "from": "23:00", "to": "02:00", "timezone": "Europe/Berlin",
}))]
pub struct ScheduleRule {
    /// `mon` to `sun`, the days on which it begins; every day unless given.
    #[schema(nullable = false)]
    pub days: Option<Vec<String>>,
    /// `HH:MM`
    pub from: String,
    /// `HH:MM`, up to `24:00`. Not later than `from`: on the next day.
    pub to: String,
    /// Of the IANA database.
    #[schema(default = "UTC", nullable = false)]
    pub timezone: Option<String>,
}

/// A silence as it is to be: with `until`, or with a `schedule`.
#[derive(Debug, ToSchema)]
#[schema(example = json!({
    "matchers": ["group=\"db\""], "until": "2026-11-20T12:00:00Z", "comment": "migration, ask Ann",
    "service": "payments",
}))]
pub struct SilenceInput {
    /// A list of matchers is AND, a list of lists OR.
    #[schema(value_type = Vec<Matchers>)]
    pub matchers: Value,
    /// RFC 3339; now, unless given.
    pub from: Option<String>,
    /// RFC 3339; later than now and `from`.
    pub until: Option<String>,
    pub schedule: Option<ScheduleRule>,
    /// Why, and who knows more.
    #[schema(min_length = 1, max_length = 2000)]
    pub comment: String,
    /// Id or name of the only service that it silences; all, unless given.
    pub service: Option<String>,
    /// No other silence that is not over may have it.
    #[schema(min_length = 1, max_length = 100)]
    pub name: Option<String>,
    /// Has to be true if the matchers hold for every alert of every service.
    #[schema(default = false, nullable = false)]
    pub confirm: Option<bool>,
}

/// What to look for.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"matchers": ["group=\"db\""], "service": "payments"}))]
pub struct PreviewInput {
    #[schema(value_type = Vec<Matchers>)]
    pub matchers: Value,
    pub service: Option<String>,
}

/// A route as it is to be.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"match": ["component=~\"payments-.*\""], "service": "payments"}))]
pub struct RouteInput {
    /// Matchers of the event as it came. None: every event.
    #[schema(value_type = Option<Vec<Matchers>>, nullable = false)]
    pub r#match: Option<Value>,
    /// Id or name.
    pub service: String,
    /// Its place among the routes, from 0; the end, or where it is, unless given.
    pub position: Option<usize>,
}

/// What a receiver speaks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum ReceiverKindName {
    PagerDuty,
    Jira,
    Webhook,
    Email,
}

/// A receiver as it is to be: `name`, `kind`, and the settings of its kind beside them. A secret is
/// never given: `…_env` or `…_file` says where the gateway finds it.
#[derive(Debug, ToSchema)]
#[schema(example = json!({
    "name": "pagerduty-main", "kind": "pagerduty", "routing_key_env": "PD_KEY",
}))]
pub struct ReceiverInput {
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    pub kind: ReceiverKindName,
    /// Name of the receiver that is told when this one cannot be reached.
    pub fallback: Option<String>,
}

/// An inhibition rule as it is to be.
#[derive(Debug, ToSchema)]
#[schema(example = json!({
    "service": "payments", "source": ["class=\"host down\""],
    "target": ["severity=~\"warning|info\""], "equal": ["source"],
}))]
pub struct InhibitionRuleInput {
    /// Id or name of the service whose rule it is.
    pub service: String,
    #[schema(value_type = Vec<Matchers>)]
    pub source: Value,
    #[schema(value_type = Vec<Matchers>)]
    pub target: Value,
    /// Fields that have to have equal values.
    pub equal: Vec<String>,
    #[schema(default = "1m", nullable = false)]
    pub release_delay: Option<String>,
    #[schema(default = false, nullable = false)]
    pub allow_empty: Option<bool>,
    #[schema(default = true, nullable = false)]
    pub acknowledged_sources: Option<bool>,
}
