//! What is read, as the JSON API shows it. The order of the members is the documented one.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::domain::{
    alert::Status,
    event::{Action, Api, Disposition, Severity, closed_enum},
    id::{
        AlertId, AuditId, ChangeId, DeliveryId, EventId, IncidentId, IntegrationId, ServiceId,
        TimelineId,
    },
    notify::{HoldingState, Reason},
    time::Timestamp,
};
use crate::store::outbox::DeliveryState;

/// JSON text, passed on byte for byte.
pub type Raw = Box<RawValue>;

/// Takes text that was checked when it came in. What is no JSON all the same is shown as text:
/// one odd row must not hide a page of others.
pub fn raw(text: &str) -> Raw {
    serde_json::from_str(text).unwrap_or_else(|_| {
        serde_json::value::to_raw_value(text).expect("a text can always be written as JSON")
    })
}

/// What keeps an open alert out of incidents, or from being notified of if it is in one.
#[derive(Debug, Serialize, ToSchema)]
pub struct Suppression {
    #[schema(value_type = String)]
    pub kind: SuppressionKind,
    /// Of the silence, or of the newest open source alert of the inhibition; null if no source is
    /// known any more.
    #[schema(value_type = Option<String>, format = Uuid, required)]
    pub id: Option<uuid::Uuid>,
    /// The silence's comment; in words what the source alert says.
    pub reason: String,
    /// null: not known, or without an end.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

closed_enum! {
    /// What suppresses: `silence` or `inhibition`.
    SuppressionKind { Silence = "silence", Inhibition = "inhibition" }
}

/// All events of one key on one integration until it is resolved.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Alert)]
pub struct AlertView {
    #[schema(value_type = String, format = Uuid)]
    pub id: AlertId,
    #[schema(value_type = String, format = Uuid)]
    pub integration_id: IntegrationId,
    pub integration: String,
    #[schema(value_type = String, format = Uuid)]
    pub service_id: ServiceId,
    pub service: String,
    pub dedup_key: String,
    /// `triggered`, `acknowledged` or `resolved`.
    #[schema(value_type = String)]
    pub status: Status,
    /// That of the newest trigger: `info`, `warning`, `error` or `critical`.
    #[schema(value_type = String)]
    pub severity: Severity,
    #[schema(value_type = String)]
    pub max_severity: Severity,
    pub summary: String,
    pub source: String,
    pub component: Option<String>,
    pub group: Option<String>,
    pub class: Option<String>,
    /// What was sent, verbatim.
    #[schema(value_type = Object)]
    pub custom_details: Option<Raw>,
    pub client: Option<String>,
    pub client_url: Option<String>,
    #[schema(value_type = Vec<Object>)]
    pub links: Raw,
    #[schema(value_type = Vec<Object>)]
    pub images: Raw,
    #[schema(value_type = Object)]
    pub labels: Raw,
    /// Triggers, not acknowledges and resolves.
    pub event_count: i64,
    /// The newest event's own time, of receipt if it had none.
    #[schema(value_type = String, format = DateTime)]
    pub event_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub first_event_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub last_event_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub acknowledged_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub resolved_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = Uuid)]
    pub incident_id: Option<IncidentId>,
    /// Silences that are on and source alerts that are open, or were until less than
    /// `release_delay` ago. Empty once it is released.
    pub suppressed_by: Vec<Suppression>,
    /// It is open, and its key is resolved and comes back often.
    pub flapping: bool,
    /// It flaps, and nobody is notified of it before then.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub muted_until: Option<Timestamp>,
    /// Its notifications wait until then, in case it goes away by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paused_until: Option<Timestamp>,
}

/// Where one receiver stands with an incident.
#[derive(Debug, Serialize, ToSchema)]
pub struct Holding {
    #[schema(value_type = String)]
    pub receiver: Arc<str>,
    /// `untold`, `held` until `due`, `told` or `ended`.
    #[schema(value_type = String)]
    pub state: HoldingState,
    /// The highest that it was told; null if it was told nothing.
    #[schema(value_type = Option<String>)]
    pub severity: Option<Severity>,
    /// When it is judged next; null if nothing but an event or an action changes it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due: Option<Timestamp>,
    /// What it was told last, what it waits for, or why there is nothing to tell.
    pub why: String,
}

/// A group of alike alerts of one service.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Incident)]
pub struct IncidentView {
    #[schema(value_type = String, format = Uuid)]
    pub id: IncidentId,
    pub number: i64,
    #[schema(value_type = String, format = Uuid)]
    pub service_id: ServiceId,
    pub service: String,
    pub title: String,
    /// `triggered`, `acknowledged` or `resolved`.
    #[schema(value_type = String)]
    pub status: Status,
    /// That of its worst open alert: `info`, `warning`, `error` or `critical`.
    #[schema(value_type = String)]
    pub severity: Severity,
    #[schema(value_type = String)]
    pub max_severity: Severity,
    pub alert_count: i64,
    pub open_alert_count: i64,
    pub event_count: i64,
    /// `{"rule": id, "values": {…}}`, null for an incident of one alert.
    #[schema(value_type = Option<Object>)]
    pub group_key: Option<Raw>,
    /// One of its open alerts flaps.
    pub flapping: bool,
    /// The highest of the service's storm thresholds that its number of alerts has reached.
    pub storm: Option<i64>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub last_alert_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub acknowledged_at: Option<Timestamp>,
    pub acknowledged_by: Option<String>,
    /// Nobody is notified before then, unless it gets worse.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub snoozed_until: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub resolved_at: Option<Timestamp>,
    /// Whose it is, by name.
    pub assignee: Option<String>,
    /// Who was told of it, who is not told yet, until when, and why: one for each receiver.
    pub holdings: Vec<Holding>,
}

/// One thing owed to one receiver.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub struct DeliveryView {
    #[schema(value_type = String, format = Uuid)]
    pub id: DeliveryId,
    /// By its name when it was owed.
    pub receiver: String,
    /// Null for a test.
    #[schema(value_type = Option<String>, format = Uuid, required)]
    pub incident_id: Option<IncidentId>,
    /// The one alert that it is about, if the receiver is told of each.
    #[schema(value_type = Option<String>, format = Uuid, required)]
    pub alert_id: Option<AlertId>,
    /// `opened`, `reopened`, `severity_raised`, `storm`, `flapping`, `repeat`, `alerts_added`,
    /// `acknowledged`, `resolved` or `test`.
    #[schema(value_type = String)]
    pub reason: Reason,
    /// `pending`, `leased`, `delivered` or `dead`.
    #[schema(value_type = String)]
    pub state: DeliveryState,
    pub attempts: i64,
    /// Null: it is at an end, or waits for the one before it of the same incident and receiver.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    pub next_attempt_at: Option<Timestamp>,
    /// When it was to be told.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime, required)]
    pub delivered_at: Option<Timestamp>,
    /// What went wrong last; null if nothing did.
    #[schema(required)]
    pub error: Option<String>,
    /// Only where a single delivery is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_log: Option<Vec<AttemptView>>,
}

/// One try of a delivery, or a word on what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
pub struct AttemptView {
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Of HTTP or SMTP; null if there was no answer.
    #[schema(required)]
    pub status: Option<i64>,
    /// In words; null if nothing went wrong.
    #[schema(required)]
    pub error: Option<String>,
    pub duration_ms: i64,
    /// What was sent, without secrets, cut at 8 KB.
    pub request: String,
    /// What came back, without secrets, cut at 8 KB.
    pub answer: String,
}

/// A past incident that is like another one.
#[derive(Debug, Serialize, ToSchema)]
pub struct SimilarIncident {
    #[serde(flatten)]
    pub incident: IncidentView,
    /// How alike the titles are, up to 1: equal but for numbers, names and the like.
    #[schema(example = 0.8512)]
    pub score: f64,
}

/// One accepted trigger, acknowledge or resolve.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct EventView {
    #[schema(value_type = String, format = Uuid)]
    pub id: EventId,
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub event_at: Timestamp,
    /// The event's own time as it was written.
    pub timestamp_sent: Option<String>,
    /// `v1`, `v2` or `guance`.
    #[schema(value_type = String)]
    pub api: Api,
    /// `trigger`, `acknowledge` or `resolve`.
    #[schema(value_type = String)]
    pub action: Action,
    #[schema(value_type = String, format = Uuid)]
    pub integration_id: IntegrationId,
    #[schema(value_type = String, format = Uuid)]
    pub service_id: ServiceId,
    #[schema(value_type = Option<String>, format = Uuid)]
    pub alert_id: Option<AlertId>,
    pub dedup_key: String,
    /// `opened`, `merged`, `acknowledged`, `resolved`, `ignored`, `dropped` or `duplicate`.
    #[schema(value_type = String)]
    pub disposition: Disposition,
    /// What each stage decided, and why.
    #[schema(value_type = Vec<Object>)]
    pub trace: Raw,
    /// As received, its key masked.
    pub body: String,
}

/// A change event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Change)]
pub struct ChangeView {
    #[schema(value_type = String, format = Uuid)]
    pub id: ChangeId,
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub event_at: Timestamp,
    #[schema(value_type = String, format = Uuid)]
    pub service_id: ServiceId,
    #[schema(value_type = String, format = Uuid)]
    pub integration_id: IntegrationId,
    pub summary: String,
    pub source: Option<String>,
    #[schema(value_type = Object)]
    pub custom_details: Option<Raw>,
    #[schema(value_type = Vec<Object>)]
    pub links: Raw,
}

/// A change of state of an alert, an incident, or both, or a note.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TimelineEntry)]
pub struct TimelineView {
    #[schema(value_type = String, format = Uuid)]
    pub id: TimelineId,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `opened`, `joined`, `rejoined`, `reopened`, `severity_changed`, `acknowledged`,
    /// `unacknowledged`, `triggered_again`, `resolved`, `note`, `suppressed`, `released`, `muted`,
    /// `paused`, `flapping`, `storm`, `snoozed`, `assigned`, `merged`, `notified` (`reason` is the
    /// receiver and why it is told: `pagerduty-main: severity_raised`) or `retried` (the same, of a
    /// dead delivery that somebody has sent once more).
    pub kind: String,
    /// `integration:NAME`, `token:NAME` or `timer`.
    pub actor: String,
    /// Why; the text of a note.
    pub reason: String,
    #[schema(value_type = Option<String>, format = Uuid)]
    pub alert_id: Option<AlertId>,
    #[schema(value_type = Option<String>, format = Uuid)]
    pub incident_id: Option<IncidentId>,
}

/// A change of the configuration.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct AuditView {
    #[schema(value_type = String, format = Uuid)]
    pub id: AuditId,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub actor: String,
    pub address: Option<String>,
    /// `create`, `update`, `delete`, `rotate`, `revoke` or `expire`.
    pub action: String,
    pub object_kind: String,
    #[schema(value_type = String, format = Uuid)]
    pub object_id: uuid::Uuid,
    pub object_name: String,
    #[schema(value_type = Object)]
    pub detail: Raw,
}

/// How much noise there was in a time, and where it came from.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Noise)]
pub struct NoiseView {
    /// The beginning of the first hour that counts.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// The end of the last hour that counts.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// Accepted triggers, acknowledges and resolves.
    pub events: i64,
    /// Alerts that were opened.
    pub alerts: i64,
    /// Incidents that were opened.
    pub incidents: i64,
    /// Notifications that were delivered.
    pub notifications: i64,
    /// 100·(1 − incidents / events); null without events.
    #[schema(required, example = 98.75)]
    pub noise_reduction_pct: Option<f64>,
    /// From an incident's opening to its acknowledgement, on average; null if none was acknowledged.
    #[schema(required)]
    pub mtta_seconds: Option<f64>,
    /// From an incident's opening to its end, on average; null if none was resolved.
    #[schema(required)]
    pub mttr_seconds: Option<f64>,
    pub top: NoiseTop,
    /// Oldest first, without gaps.
    pub buckets: Vec<NoiseBucket>,
}

/// What most events are of, ten of each.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct NoiseTop {
    /// There were more events than could be looked at: the numbers are at least those.
    pub at_least: bool,
    pub sources: Vec<TopEntry>,
    pub classes: Vec<TopEntry>,
    pub dedup_keys: Vec<TopEntry>,
}

/// A name and how many events have it.
#[derive(Debug, Serialize, ToSchema)]
pub struct TopEntry {
    pub name: String,
    pub events: i64,
}

/// The numbers of an hour or a day.
#[derive(Debug, Serialize, ToSchema)]
pub struct NoiseBucket {
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub events: i64,
    pub alerts: i64,
    pub incidents: i64,
    pub notifications: i64,
}
