//! What goes into the pipeline and what comes out of it, a batch at a time.

use std::sync::Arc;

use super::{
    alert::{Alert, Status},
    delivery::NewDelivery,
    enrich::EnrichNote,
    event::{
        Api, ChangeEvent, Content, Disposition, Event, Fingerprints, Intent, SentTime, Severity,
        StoredBody, closed_enum,
    },
    grouping::GroupChoice,
    id::{
        AlertId, ChangeId, ContentSeq, DeliveryId, EventId, EventSeq, IncidentId, ReceiverId,
        RuleId, ServiceId, TimelineId,
    },
    incident::Incident,
    key::DedupKey,
    key_state::KeyState,
    loading::{GroupHash, InhibitionKey, Inhibitor, SourceId, SourceKey},
    notify::Reason,
    service::Integration,
    similarity::{TemplateChanges, Templates},
    standing::{Matches, NewSides},
    time::{Span, Timestamp},
};

pub use super::counts::{HourlyCount, Tally};

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
    /// The route that picked the service, by its position.
    pub route: Option<usize>,
    /// What enrichment did, and the content that came of it if it did anything.
    pub enriched: Vec<EnrichNote>,
    pub content: Option<Box<Content>>,
    /// The drop rule that matches, by its position.
    pub dropped: Option<usize>,
    /// For triggers: the grouping rule that matches.
    pub group: Option<Arc<GroupChoice>>,
    /// For triggers: the silences, inhibition and notify rules that match.
    pub matches: Arc<Matches>,
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
    /// Of an incident: nobody is notified for so long. Zero ends it.
    Snooze(Span),
    /// Of an incident: whose it is; `None` takes it back.
    Assign(Option<String>),
    /// Of an incident: its open alerts move into that one.
    Merge(IncidentId),
    /// Of an incident: a receiver cannot be reached, so this one is told.
    FallBack {
        from: Arc<str>,
        to: Arc<str>,
    },
    /// Of an incident: what a receiver could not be told is sent once more. Only noted here.
    Retry {
        receiver: Arc<str>,
        reason: Reason,
    },
}

/// One input of the pipeline.
#[derive(Clone, Debug)]
pub enum Input {
    Event(Arc<EventInput>),
    Change(Arc<ChangeInput>),
    Action(Arc<ActionInput>),
    /// What is due at this time takes effect.
    Tick(Timestamp),
    /// A test of a receiver.
    Test {
        receiver: ReceiverId,
        received_at: Timestamp,
    },
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
    /// `None`: it came before.
    Change(Option<ChangeId>),
    Action(ActionOutcome),
    /// `None`: there is no such receiver.
    Test(Option<DeliveryId>),
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

/// A notification that was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNotification {
    pub at: Timestamp,
    pub service_id: ServiceId,
    pub incident_id: IncidentId,
    pub receiver: Arc<str>,
    pub reason: Reason,
    pub severity: Severity,
}

/// Everything a batch changes, ready to be written.
#[derive(Debug, Default)]
pub struct Changes {
    /// When the last of its inputs came in.
    pub now: Timestamp,
    pub events: Vec<NewEvent>,
    pub contents: Vec<NewContent>,
    pub new_alerts: Vec<Alert>,
    /// Alerts that only took in more triggers: no column that an index looks at has changed.
    pub merged_alerts: Vec<Alert>,
    pub updated_alerts: Vec<Alert>,
    pub new_incidents: Vec<Incident>,
    pub updated_incidents: Vec<Incident>,
    /// The incident that is found under each of these from now on.
    pub groups: Vec<(GroupHash, IncidentId)>,
    /// Under these none is found any more.
    pub closed_groups: Vec<GroupHash>,
    pub timeline: Vec<TimelineEntry>,
    pub change_events: Vec<NewChange>,
    pub service_clocks: Vec<(ServiceId, Timestamp)>,
    pub counts: Vec<HourlyCount>,
    /// By how much the numbers of open alerts and incidents change, for the gauges.
    pub open_alerts: Vec<(ServiceId, Severity, i64)>,
    pub open_incidents: Vec<(ServiceId, Status, i64)>,
    /// States of keys; one that says nothing any more is removed.
    pub key_states: Vec<(SourceKey, ServiceId, KeyState, Option<Timestamp>)>,
    pub inhibitors: Vec<(InhibitionKey, Inhibitor)>,
    pub sides: Vec<NewSides>,
    /// Targets under these, besides those that were loaded, are to be judged at this time.
    pub woken: Vec<(InhibitionKey, Timestamp)>,
    pub templates: Vec<((ServiceId, RuleId), Arc<Templates>, TemplateChanges)>,
    pub notifications: Vec<NewNotification>,
    pub deliveries: Vec<NewDelivery>,
    /// Ids that came for the first time, and when. Each belongs to an event or a change event.
    pub sent_ids: Vec<(SourceId, Timestamp)>,
    pub tally: Tally,
}

impl Changes {
    /// Whether there is anything to write besides the clocks.
    pub fn is_empty(&self) -> bool {
        let Self {
            now: _,
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
            key_states,
            inhibitors,
            sides,
            woken,
            templates,
            notifications,
            deliveries,
            sent_ids: _,
            tally: _,
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
            && key_states.is_empty()
            && inhibitors.is_empty()
            && sides.is_empty()
            && woken.is_empty()
            && templates.is_empty()
            && notifications.is_empty()
            && deliveries.is_empty()
    }
}

impl Changes {
    /// An alert that was touched: how it is now, and was before the batch.
    pub(super) fn add_alert(&mut self, alert: Alert, before: Option<&Alert>) {
        let service = alert.service_id;
        if let Some(before) = before.filter(|before| before.is_open()) {
            add(&mut self.open_alerts, (service, before.severity), -1);
            self.tally.flapping -= i64::from(before.flapping);
        }
        if alert.is_open() {
            add(&mut self.open_alerts, (service, alert.severity), 1);
            self.tally.flapping += i64::from(alert.flapping);
        }
        match before {
            None => self.new_alerts.push(alert),
            Some(before) if *before == alert => {}
            Some(before) if before.indexed() == alert.indexed() => self.merged_alerts.push(alert),
            Some(_) => self.updated_alerts.push(alert),
        }
    }

    /// The same for an incident.
    pub(super) fn add_incident(&mut self, incident: Incident, before: Option<&Incident>) {
        let service = incident.service_id;
        if let Some(before) = before.filter(|before| before.is_open()) {
            add(&mut self.open_incidents, (service, before.status), -1);
        }
        if incident.is_open() {
            add(&mut self.open_incidents, (service, incident.status), 1);
        }
        match before {
            None => self.new_incidents.push(incident),
            Some(before) if *before == incident => {}
            Some(_) => self.updated_incidents.push(incident),
        }
    }
}

/// Adds to the number of a service and label.
fn add<L: PartialEq>(
    numbers: &mut Vec<(ServiceId, L, i64)>,
    (service, label): (ServiceId, L),
    by: i64,
) {
    match numbers.iter_mut().find(|(s, l, _)| *s == service && *l == label) {
        Some((_, _, number)) => *number += by,
        None => numbers.push((service, label, by)),
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
        Reopened = "reopened",
        Suppressed = "suppressed",
        Released = "released",
        Muted = "muted",
        Paused = "paused",
        Flapping = "flapping",
        Storm = "storm",
        Snoozed = "snoozed",
        Assigned = "assigned",
        Merged = "merged",
        Notified = "notified",
        Retried = "retried",
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

impl Input {
    /// When it came in.
    pub fn received_at(&self) -> Timestamp {
        match self {
            Self::Event(event) => event.received_at,
            Self::Change(change) => change.received_at,
            Self::Action(action) => action.received_at,
            Self::Tick(now) => *now,
            Self::Test { received_at, .. } | Self::CloseService { received_at, .. } => *received_at,
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

    /// What a trigger says, as enrichment left it.
    pub fn content(&self) -> Option<&Content> {
        match (&self.prepared.content, &self.event.intent) {
            (Some(content), _) | (None, Intent::Trigger { content, .. }) => Some(content),
            (None, Intent::Acknowledge { .. } | Intent::Resolve { .. }) => None,
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
