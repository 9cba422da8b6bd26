//! What is read, as the JSON API shows it. The order of the members is the documented one.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::domain::{
    alert::Status,
    event::{Action, Api, Disposition, Severity},
    id::{AlertId, AuditId, ChangeId, EventId, IncidentId, IntegrationId, ServiceId, TimelineId},
    time::Timestamp,
};

/// JSON text, passed on byte for byte.
pub type Raw = Box<RawValue>;

/// Takes text that was checked when it came in. What is no JSON all the same is shown as text:
/// one odd row must not hide a page of others.
pub fn raw(text: &str) -> Raw {
    serde_json::from_str(text).unwrap_or_else(|_| {
        serde_json::value::to_raw_value(text).expect("a text can always be written as JSON")
    })
}

/// Why nobody is told of an alert.
#[derive(Debug, Serialize, ToSchema)]
pub struct Suppression {
    /// `silence`, `inhibition` or `flapping`.
    pub kind: String,
    pub id: String,
    pub reason: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
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
    pub suppressed_by: Vec<Suppression>,
    pub flapping: bool,
}

/// What one receiver was told about an incident.
#[derive(Debug, Serialize, ToSchema)]
pub struct Holding {
    pub receiver: String,
    pub state: String,
    pub severity: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due: Option<Timestamp>,
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
    pub flapping: bool,
    #[schema(value_type = Option<Object>)]
    pub storm: Option<Raw>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub last_alert_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub acknowledged_at: Option<Timestamp>,
    pub acknowledged_by: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub snoozed_until: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub resolved_at: Option<Timestamp>,
    pub assignee: Option<String>,
    pub holdings: Vec<Holding>,
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
    /// `opened`, `joined`, `rejoined`, `severity_changed`, `acknowledged`, `unacknowledged`,
    /// `triggered_again`, `resolved` or `note`.
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
