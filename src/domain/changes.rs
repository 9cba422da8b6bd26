//! What goes into the pipeline and what comes out of it, a batch at a time.

use std::sync::Arc;

use super::{
    alert::{Alert, Status},
    event::{
        Api, ChangeEvent, Disposition, Event, Fingerprints, SentTime, Severity, StoredBody,
        closed_enum,
    },
    grouping::GroupChoice,
    id::{
        AlertId, ChangeId, ContentSeq, EventId, EventSeq, IncidentId, IntegrationId, RuleId,
        ServiceId, TimelineId,
    },
    incident::Incident,
    key::DedupKey,
    service::Integration,
    time::{Span, Timestamp},
};

/// An accepted event on its way to the pipeline.
#[derive(Debug)]
pub struct EventInput {
    pub integration: Arc<Integration>,
    pub received_at: Timestamp,
    pub event: Event,
    pub body: StoredBody,
    /// What follows from event and directory alone, worked out before the batch is loaded.
    pub prepared: Prepared,
}

/// What can be decided about an event without any state.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Of the directory it was worked out under; another one's is worked out again.
    pub directory_version: u64,
    pub service_id: ServiceId,
    /// For triggers: the grouping rule that matches.
    pub group: Option<GroupChoice>,
    /// For triggers.
    pub fingerprints: Fingerprints,
}

/// An accepted change event.
#[derive(Debug)]
pub struct ChangeInput {
    pub integration: Arc<Integration>,
    pub received_at: Timestamp,
    pub change: ChangeEvent,
}

/// What a person does to an alert or an incident.
#[derive(Clone, Debug)]
pub struct ActionInput {
    pub target: Target,
    pub verb: Verb,
    /// Who: `token:NAME`.
    pub actor: String,
    pub received_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Alert(AlertId),
    Incident(IncidentId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    Acknowledge,
    Unacknowledge,
    Resolve,
    Note(String),
}

/// One input of the pipeline.
#[derive(Clone, Debug)]
pub enum Input {
    Event(Arc<EventInput>),
    Change(Arc<ChangeInput>),
    Action(Arc<ActionInput>),
    /// What is due at this time takes effect.
    Tick(Timestamp),
    /// All open alerts of a service that is going away are resolved.
    CloseService {
        service_id: ServiceId,
        actor: String,
        received_at: Timestamp,
    },
}

/// What became of an input, in the order of the inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Event(Receipt),
    Change(ChangeId),
    Action(ActionOutcome),
    /// How many alerts and incidents a tick or a closing changed.
    Settled(usize),
}

/// What a sender, and the metrics, are told about an accepted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub event_id: EventId,
    pub alert_id: Option<AlertId>,
    pub dedup_key: DedupKey,
    pub disposition: Disposition,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionOutcome {
    Changed,
    /// It was so already.
    Unchanged,
    NotFound,
    /// It cannot be done in the state the target is in.
    Conflict(&'static str),
}

/// What an incident is looked up by: its service, the grouping rule, the hash of the values.
pub type GroupHash = (ServiceId, RuleId, i64);

/// What has to be loaded before a batch can be processed.
#[derive(Clone, Debug, Default)]
pub struct LoadKeys {
    /// The open alert of each key. Its incident too, unless nothing but triggers of this severity
    /// come and it has that severity already: repeats, which are most of all events, leave the
    /// incident alone.
    pub alert_keys: Vec<(IntegrationId, DedupKey, Option<Severity>)>,
    /// Of these keys, if none is open, also the newest alert: a trigger may rejoin its incident.
    pub returning_keys: Vec<(IntegrationId, DedupKey)>,
    /// The newest open incident under each of these.
    pub groups: Vec<GroupHash>,
    pub alerts: Vec<AlertId>,
    /// With all their open alerts.
    pub incidents: Vec<IncidentId>,
    pub services: Vec<ServiceId>,
    /// Alerts and incidents whose timers are due by then, earliest first, at most this many of each.
    pub due: Option<(Timestamp, u32)>,
    /// Open alerts of a service, at most this many.
    pub open_of_service: Option<(ServiceId, u32)>,
}

/// What was found. Each alert that may change its incident comes with it.
#[derive(Debug, Default)]
pub struct Loaded {
    pub alerts: Vec<Alert>,
    pub incidents: Vec<Incident>,
    pub groups: Vec<(GroupHash, IncidentId)>,
    pub service_clocks: Vec<(ServiceId, Timestamp)>,
    /// More was due than [`LoadKeys::due`] allowed: a tick has to come first.
    pub more_due: bool,
}

/// Everything a batch changes, ready to be written.
#[derive(Debug, Default)]
pub struct Changes {
    pub events: Vec<NewEvent>,
    pub contents: Vec<NewContent>,
    pub new_alerts: Vec<Alert>,
    /// Alerts that only took in more triggers: no column that an index looks at has changed.
    pub merged_alerts: Vec<Alert>,
    pub updated_alerts: Vec<Alert>,
    pub new_incidents: Vec<Incident>,
    pub updated_incidents: Vec<Incident>,
    /// The incident that may be joined under each of these from now on.
    pub groups: Vec<(GroupHash, IncidentId)>,
    /// Under these none may be joined any more: the newest was opened and resolved in this batch.
    pub closed_groups: Vec<GroupHash>,
    pub timeline: Vec<TimelineEntry>,
    pub change_events: Vec<NewChange>,
    pub service_clocks: Vec<(ServiceId, Timestamp)>,
    pub counts: Vec<HourlyCount>,
    /// By how much the numbers of open alerts and incidents change, for the gauges.
    pub open_alerts: Vec<(ServiceId, Severity, i64)>,
    pub open_incidents: Vec<(ServiceId, Status, i64)>,
}

impl Changes {
    /// Whether there is anything to write besides the clocks.
    pub fn is_empty(&self) -> bool {
        let Self {
            events,
            contents,
            new_alerts,
            merged_alerts,
            updated_alerts,
            new_incidents,
            updated_incidents,
            groups: _,
            closed_groups: _,
            timeline,
            change_events,
            service_clocks: _,
            counts,
            open_alerts: _,
            open_incidents: _,
        } = self;
        events.is_empty()
            && contents.is_empty()
            && new_alerts.is_empty()
            && merged_alerts.is_empty()
            && updated_alerts.is_empty()
            && new_incidents.is_empty()
            && updated_incidents.is_empty()
            && timeline.is_empty()
            && change_events.is_empty()
            && counts.is_empty()
    }
}

/// The row of an event.
#[derive(Debug)]
pub struct NewEvent {
    pub id: EventId,
    pub input: Arc<EventInput>,
    pub service_id: ServiceId,
    pub received_at: Timestamp,
    pub event_at: Timestamp,
    pub dedup_key: DedupKey,
    pub disposition: Disposition,
    pub alert_id: Option<AlertId>,
    pub previous: Option<EventSeq>,
    pub content: Option<ContentSeq>,
    /// JSON, see [`super::trace::Trace`].
    pub trace: String,
}

/// A new version of an alert's content: what the trigger `input` says.
#[derive(Debug)]
pub struct NewContent {
    pub id: ContentSeq,
    pub alert_id: AlertId,
    pub event_id: EventId,
    pub text: ContentSeq,
    pub input: Arc<EventInput>,
}

/// The row of a change event.
#[derive(Debug)]
pub struct NewChange {
    pub id: ChangeId,
    pub input: Arc<ChangeInput>,
    pub received_at: Timestamp,
    pub event_at: Timestamp,
}

closed_enum! {
    /// What a row of a timeline tells.
    TimelineKind {
        Opened = "opened",
        Joined = "joined",
        Rejoined = "rejoined",
        SeverityChanged = "severity_changed",
        Acknowledged = "acknowledged",
        Unacknowledged = "unacknowledged",
        TriggeredAgain = "triggered_again",
        Resolved = "resolved",
        Note = "note",
    }
}

/// A change of state of an alert, an incident, or both; repeats have no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineEntry {
    pub id: TimelineId,
    pub at: Timestamp,
    pub alert_id: Option<AlertId>,
    pub incident_id: Option<IncidentId>,
    pub kind: TimelineKind,
    /// `integration:NAME`, `token:NAME` or `timer`.
    pub actor: String,
    pub reason: String,
}

/// What happened in a service in one hour, counted for statistics that outlive the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourlyCount {
    pub service_id: ServiceId,
    /// Hours since the epoch.
    pub hour: i64,
    pub events: u32,
    pub alerts: u32,
    pub incidents: u32,
    pub resolved_alerts: u32,
}

impl Input {
    /// When it came in.
    pub fn received_at(&self) -> Timestamp {
        match self {
            Self::Event(event) => event.received_at,
            Self::Change(change) => change.received_at,
            Self::Action(action) => action.received_at,
            Self::Tick(now) => *now,
            Self::CloseService { received_at, .. } => *received_at,
        }
    }
}

impl EventInput {
    /// The same event under another directory's rules.
    #[must_use]
    pub fn prepared_as(&self, integration: Arc<Integration>, prepared: Prepared) -> Self {
        Self {
            integration,
            received_at: self.received_at,
            event: self.event.clone(),
            body: self.body.clone(),
            prepared,
        }
    }

    /// The event's own time if it can be believed, else that of receipt; and why not.
    pub fn event_at(&self, received_at: Timestamp) -> (Timestamp, Option<&'static str>) {
        own_time(&self.event.sent_time, received_at)
    }

    pub fn api(&self) -> Api {
        self.event.api
    }
}

impl ChangeInput {
    /// As [`EventInput::event_at`].
    pub fn event_at(&self, received_at: Timestamp) -> (Timestamp, Option<&'static str>) {
        own_time(&self.change.sent_time, received_at)
    }
}

fn own_time(sent: &SentTime, received_at: Timestamp) -> (Timestamp, Option<&'static str>) {
    /// How far in the future a sender's clock may be.
    const AHEAD_MAX: Span = Span::from_secs(86_400);
    match (sent.at, &sent.text) {
        (Some(at), _) if at > received_at.plus(AHEAD_MAX) => {
            (received_at, Some("over a day in the future; the time of receipt is used"))
        }
        (Some(at), _) => (at, None),
        (None, Some(_)) => (received_at, Some("unreadable; the time of receipt is used")),
        (None, None) => (received_at, None),
    }
}
