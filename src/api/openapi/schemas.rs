//! Schemas of what requests carry and of what several answers share. They are for the description
//! only: bodies are read by hand, so that everything wrong with one is said at once.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::policy::{
    AutoPauseRule, DropRule, EnrichStep, FlappingRule, InhibitionMember, NotifyMember,
};

/// Why a call did not do what it should (RFC 9457).
#[derive(Debug, ToSchema)]
pub struct Problem {
    #[schema(example = "about:blank")]
    pub r#type: String,
    #[schema(example = "Bad Request")]
    pub title: String,
    #[schema(example = 400)]
    pub status: u16,
    #[schema(example = "grouping[0].window must be 0 (while open) or a duration from 1s to 30d")]
    pub detail: String,
    /// Everything that is wrong with the request; empty if it is not about a field.
    pub errors: Vec<ProblemField>,
}

/// One wrong field.
#[derive(Debug, ToSchema)]
pub struct ProblemField {
    #[schema(example = "grouping[0].window")]
    pub field: String,
    /// Where it is in the text of a policy file, counted from one.
    pub line: Option<u32>,
    #[schema(example = "must be 0 (while open) or a duration from 1s to 30d")]
    pub message: String,
}

/// A service as it is to be.
#[derive(Debug, ToSchema)]
#[schema(example = json!({
    "name": "payments",
    "grouping": [{"match": ["class=\"disk\""], "by": ["group", "class"], "window": "30m"}],
    "auto_resolve": {"after": "24h", "from": "last_event"},
}))]
pub struct ServiceInput {
    /// Unique. No control or invisible characters, and nothing that looks like an id.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    #[schema(max_length = 2000, default = "", nullable = false)]
    pub description: Option<String>,
    /// Steps that add what events lack, in order, before anything else looks at them.
    #[schema(max_items = 200, nullable = false)]
    pub enrich: Option<Vec<EnrichStep>>,
    /// Triggers that match any of these open nothing.
    #[schema(max_items = 200, nullable = false)]
    pub drop: Option<Vec<DropRule>>,
    /// The first rule that matches an alert decides which incident it joins; none: an incident of
    /// its own.
    #[schema(max_items = 200, nullable = false)]
    pub grouping: Option<Vec<GroupingRule>>,
    /// Numbers of alerts in one incident that are worth a notification of their own; ascending.
    #[schema(max_items = 10, nullable = false, example = json!([50, 500]))]
    pub storm: Option<Vec<u32>>,
    #[schema(nullable = false)]
    pub flapping: Option<FlappingRule>,
    #[schema(max_items = 200, nullable = false)]
    pub inhibition: Option<Vec<InhibitionMember>>,
    /// Null: notifications of a new alert do not wait.
    pub auto_pause: Option<AutoPauseRule>,
    pub auto_resolve: Option<AutoResolveRule>,
    /// After this an acknowledged alert or incident is triggered again; null: never.
    #[schema(example = "30m")]
    pub acknowledgement_timeout: Option<String>,
    /// Who is told of its incidents. None: nobody is.
    #[schema(max_items = 200, nullable = false)]
    pub notify: Option<Vec<NotifyMember>>,
}

/// Which alerts belong into one incident.
#[derive(Debug, ToSchema)]
#[schema(example = json!({
    "match": ["class=\"disk\""], "by": ["group", "class"], "window": "30m",
    "window_type": "sliding", "max_span": "1d",
}))]
pub struct GroupingRule {
    /// Alertmanager's matchers: a list is AND, a list of lists is OR. None: every alert.
    #[schema(value_type = Option<Vec<Matchers>>, nullable = false)]
    pub r#match: Option<Value>,
    /// One to ten fields that have to agree (`summary`, `source`, `severity`, `component`, `group`,
    /// `class`, `dedup_key`, `client`, `integration`, `label.…`, `details.…`), or `"time"`: nothing
    /// but the window.
    #[schema(value_type = By)]
    pub by: Value,
    /// `all` fields have to agree, or `any`.
    #[schema(default = "all", nullable = false)]
    pub aggregate: Option<Aggregate>,
    /// How long an incident takes more alerts in: a duration from `1s` to `30d`, or 0, as long as
    /// it is open.
    #[schema(value_type = Option<Window>, nullable = false)]
    pub window: Option<Value>,
    /// Counted from the incident's beginning (`tumbling`) or from its newest alert (`sliding`).
    #[schema(default = "tumbling", nullable = false)]
    pub window_type: Option<WindowType>,
    /// Bounds a sliding window.
    #[schema(default = "1d", nullable = false)]
    pub max_span: Option<String>,
    /// A missing value equals nothing, not even another missing one.
    #[schema(default = false, nullable = false)]
    pub strict: Option<bool>,
    /// A full incident is followed by a new one.
    #[schema(minimum = 1, maximum = 100_000, default = 5000, nullable = false)]
    pub max_alerts: Option<u32>,
}

/// One matcher, or several that must all hold: `name="v"`, `!=`, `=~`, `!~`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Matchers {
    #[schema(example = "class=\"disk\"")]
    One(String),
    All(Vec<String>),
}

/// Fields, or `"time"`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum By {
    Fields(Vec<String>),
    Time(String),
}

/// A duration, or 0.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Window {
    Duration(String),
    WhileOpen(u32),
}

/// How many of a rule's fields must agree.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Aggregate {
    All,
    Any,
}

/// From where a window is counted.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum WindowType {
    Tumbling,
    Sliding,
}

/// An open alert without news resolves by itself.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"after": "24h", "from": "last_event"}))]
pub struct AutoResolveRule {
    /// At least `1s`.
    pub after: String,
    #[schema(default = "last_event", nullable = false)]
    pub from: Option<AutoResolveFrom>,
}

/// From which event the time counts.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum AutoResolveFrom {
    FirstEvent,
    LastEvent,
}

/// What an integration speaks.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum IntegrationKind {
    PagerDuty,
    Guance,
}

/// A new integration.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"name": "elastalert-prod", "service": "payments"}))]
pub struct IntegrationInput {
    /// Unique. No control or invisible characters, and nothing that looks like an id.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// Id or name of the service that its alerts belong to.
    pub service: String,
    #[schema(default = "pagerduty", nullable = false)]
    pub r#type: Option<IntegrationKind>,
    /// Its events may be routed to other services.
    #[schema(default = false, nullable = false)]
    pub shared: Option<bool>,
    /// A key to keep, such as one from PagerDuty; without it one is made.
    #[schema(pattern = "^[0-9A-Za-z]{32}$", nullable = false, write_only)]
    pub key: Option<String>,
}

/// An integration as it is to be.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"name": "elastalert-prod", "service": "payments", "shared": true}))]
pub struct IntegrationUpdate {
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// Id or name of the service that its alerts belong to.
    pub service: String,
    #[schema(default = "pagerduty", nullable = false)]
    pub r#type: Option<IntegrationKind>,
    #[schema(default = false, nullable = false)]
    pub shared: Option<bool>,
}

/// How to rotate a key.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"overlap": "24h"}))]
pub struct RotateInput {
    /// How long the old key still works: `0s` to `30d`.
    #[schema(default = "24h", nullable = false)]
    pub overlap: Option<String>,
}

/// What a token may do: `viewer` reads, `responder` also acts on alerts and incidents, `admin` all.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum TokenRole {
    Viewer,
    Responder,
    Admin,
}

/// A new token.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"name": "grafana", "role": "viewer"}))]
pub struct TokenInput {
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    pub role: TokenRole,
}
