//! An alert: all events of one key on one integration until it is resolved.
//!
//! The transitions are the table of PagerDuty's dedup: they are pure, exhaustive, and each names
//! what it did.

use super::{
    event::{Action, Severity, closed_enum},
    id::{AlertId, ContentSeq, EventSeq, IncidentId, IntegrationId, ServiceId},
    key::DedupKey,
    service::{AutoResolve, Timers},
    standing::Standing,
    time::Timestamp,
};

closed_enum! {
    /// Where an alert or incident stands.
    Status { Triggered = "triggered", Acknowledged = "acknowledged", Resolved = "resolved" }
}

/// Which version of its content an alert has now, and its fingerprints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRef {
    pub id: ContentSeq,
    pub hash: i64,
    /// The version that first had this searchable text.
    pub text: ContentSeq,
    pub text_hash: i64,
}

/// The state of one alert. What it says (summary, details, …) is its [`ContentRef`]'s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    pub id: AlertId,
    pub integration_id: IntegrationId,
    pub service_id: ServiceId,
    pub incident_id: Option<IncidentId>,
    pub dedup_key: DedupKey,
    /// The key was made by us, so no other trigger will come with it unless the sender keeps it.
    pub generated_key: bool,
    pub status: Status,
    pub severity: Severity,
    pub max_severity: Severity,
    /// Triggers, not acknowledges and resolves.
    pub event_count: u64,
    pub event_at: Timestamp,
    pub first_event_at: Timestamp,
    pub last_event_at: Timestamp,
    pub acknowledged_at: Option<Timestamp>,
    pub resolved_at: Option<Timestamp>,
    /// Newest event of this alert; each event names the one before it.
    pub last_event: EventSeq,
    pub content: ContentRef,
    pub standing: Standing,
    /// Its key flaps.
    pub flapping: bool,
    /// The policy was changed since it was matched against it.
    pub stale: bool,
    pub dues: Dues,
}

/// When its timers are to be looked at next, as stored. Lower bounds: every trigger moves the true
/// time of an automatic resolve, so the bound stays and is set again when it fires early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dues {
    pub auto_resolve: Option<Timestamp>,
    pub ack_timeout: Option<Timestamp>,
    /// What keeps it quiet begins or ends.
    pub judge: Option<Timestamp>,
}

impl Dues {
    pub fn earliest(&self) -> Option<Timestamp> {
        [self.auto_resolve, self.ack_timeout, self.judge].into_iter().flatten().min()
    }
}

/// What an action did to an open alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    Merged,
    Acknowledged,
    Resolved,
    /// Acknowledging what is acknowledged already.
    Unchanged,
}

impl Alert {
    pub fn is_open(&self) -> bool {
        match self.status {
            Status::Triggered | Status::Acknowledged => true,
            Status::Resolved => false,
        }
    }

    /// The key as rules see it: one that the sender left to us is nothing to match.
    pub fn given_key(&self) -> &str {
        if self.generated_key { "" } else { self.dedup_key.as_str() }
    }

    /// Open, and nothing keeps it quiet.
    pub fn is_loud(&self) -> bool {
        self.is_open() && self.standing.quiet.is_loud()
    }

    /// Silenced or inhibited.
    pub fn is_suppressed(&self) -> bool {
        self.is_open() && self.standing.quiet.is_suppressed()
    }

    /// Applies `action` to an open alert at `now`. The content of a trigger is merged by
    /// [`Alert::merge`]; opening a new alert is the pipeline's, which has what it needs for it.
    pub fn apply(&mut self, action: Action, now: Timestamp) -> Transition {
        debug_assert!(self.is_open(), "only open alerts are looked up by key");
        match (self.status, action) {
            (Status::Triggered | Status::Acknowledged | Status::Resolved, Action::Trigger) => {
                Transition::Merged
            }
            (Status::Triggered, Action::Acknowledge) => {
                self.status = Status::Acknowledged;
                self.acknowledged_at = Some(now);
                Transition::Acknowledged
            }
            (Status::Acknowledged | Status::Resolved, Action::Acknowledge)
            | (Status::Resolved, Action::Resolve) => Transition::Unchanged,
            (Status::Triggered | Status::Acknowledged, Action::Resolve) => {
                self.status = Status::Resolved;
                self.resolved_at = Some(now);
                Transition::Resolved
            }
        }
    }

    /// Takes an acknowledgement back.
    pub fn unacknowledge(&mut self) {
        self.status = Status::Triggered;
        self.acknowledged_at = None;
    }

    /// When the trouble began: its first event, or its first that did more than inform.
    pub fn began_at(&self) -> Timestamp {
        self.standing.wrong_since.unwrap_or(self.first_event_at)
    }

    /// Counts one more trigger. `max_severity` never falls.
    pub fn merge(&mut self, severity: Severity, event_at: Timestamp, now: Timestamp) {
        self.event_count += 1;
        self.event_at = event_at;
        self.last_event_at = now;
        self.severity = severity;
        self.max_severity = self.max_severity.max(severity);
    }

    /// Brings the stored bounds in line with what `timers` say, moving them as little as possible.
    pub fn arm(&mut self, timers: &Timers) {
        self.dues.ack_timeout = self.ack_timeout_due(timers);
        self.dues.auto_resolve = match (self.dues.auto_resolve, self.auto_resolve_due(timers)) {
            (Some(bound), Some(due)) => Some(bound.min(due)),
            (None, due) => due,
            (Some(_), None) => None,
        };
    }

    /// After what it resolves by itself. One that only informs does whatever its service says.
    pub fn auto_resolve(&self, timers: &Timers) -> Option<AutoResolve> {
        if self.standing.informs { Some(AutoResolve::INFORMING) } else { timers.auto_resolve }
    }

    /// When it resolves by itself, from its base: never stored as the truth, so that an edited
    /// service applies at once.
    pub fn auto_resolve_due(&self, timers: &Timers) -> Option<Timestamp> {
        if !self.is_open() {
            return None;
        }
        let auto = self.auto_resolve(timers)?;
        Some(timers.auto_resolve_due(auto, self.began_at(), self.last_event_at))
    }

    /// When its acknowledgement runs out.
    pub fn ack_timeout_due(&self, timers: &Timers) -> Option<Timestamp> {
        match self.status {
            Status::Acknowledged => {
                Some(self.acknowledged_at?.plus(timers.acknowledgement_timeout?))
            }
            Status::Triggered | Status::Resolved => None,
        }
    }

    /// The columns that indexes and rare updates look at.
    pub(super) fn indexed(&self) -> impl PartialEq + '_ {
        let times = (self.acknowledged_at, self.resolved_at);
        let marks = (self.flapping, self.stale);
        (self.status, times, self.incident_id, self.dues, &self.standing, marks)
    }
}
