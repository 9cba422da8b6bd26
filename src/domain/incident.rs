//! An incident: a group of alike alerts of one service, the unit that people hear of.
//!
//! Its severity is that of its worst open alert, kept by counters, so that no change of one alert
//! needs a look at the others.

use serde_json::{Value, json};

use super::{
    alert::Status,
    event::Severity,
    grouping::GroupChoice,
    id::{IncidentId, RuleId, ServiceId},
    service::Timers,
    time::Timestamp,
};

/// How many of an incident's open alerts have each severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenAlerts {
    pub info: u32,
    pub warning: u32,
    pub error: u32,
    pub critical: u32,
}

impl OpenAlerts {
    fn of(&mut self, severity: Severity) -> &mut u32 {
        match severity {
            Severity::Info => &mut self.info,
            Severity::Warning => &mut self.warning,
            Severity::Error => &mut self.error,
            Severity::Critical => &mut self.critical,
        }
    }

    pub fn total(self) -> u32 {
        self.info + self.warning + self.error + self.critical
    }

    fn highest(self) -> Option<Severity> {
        [
            (self.critical, Severity::Critical),
            (self.error, Severity::Error),
            (self.warning, Severity::Warning),
            (self.info, Severity::Info),
        ]
        .into_iter()
        .find_map(|(count, severity)| (count > 0).then_some(severity))
    }
}

/// Under which rule and values the incident's alerts were grouped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupKey {
    pub rule: RuleId,
    pub hashes: Vec<i64>,
    /// `{"rule": id, "values": {field: value}}`, as the API shows it.
    pub shown: String,
}

impl GroupKey {
    pub fn new(choice: &GroupChoice) -> Self {
        let values: serde_json::Map<String, Value> = choice
            .values
            .iter()
            .map(|(field, value)| (field.to_string(), value.as_str().into()))
            .collect();
        let shown = json!({"rule": choice.rule, "values": values}).to_string();
        Self { rule: choice.rule, hashes: choice.hashes.clone(), shown }
    }
}

/// The state of one incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    pub id: IncidentId,
    pub service_id: ServiceId,
    pub group: Option<GroupKey>,
    /// The first alert's summary; later alerts do not change it.
    pub title: String,
    pub status: Status,
    pub severity: Severity,
    pub max_severity: Severity,
    pub alert_count: u32,
    pub open: OpenAlerts,
    pub created_at: Timestamp,
    pub last_alert_at: Timestamp,
    pub acknowledged_at: Option<Timestamp>,
    pub acknowledged_by: Option<String>,
    /// The severity that was acknowledged: a worse alert makes the incident triggered again.
    pub acknowledged_severity: Option<Severity>,
    pub resolved_at: Option<Timestamp>,
    /// When its acknowledgement runs out, as stored.
    pub ack_timeout_due: Option<Timestamp>,
}

/// What the change of one alert did to its incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Unchanged,
    SeverityChanged {
        from: Severity,
        to: Severity,
    },
    /// It was acknowledged at a lower severity and is triggered again.
    TriggeredAgain {
        from: Severity,
        to: Severity,
    },
    /// Its last open alert was resolved.
    Resolved,
}

impl Incident {
    /// An incident that `severity`, the first alert's, opens at `now`. The alert is added by
    /// [`Incident::add`].
    pub fn open(
        id: IncidentId,
        service_id: ServiceId,
        title: String,
        severity: Severity,
        choice: Option<&GroupChoice>,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            service_id,
            group: choice.map(GroupKey::new),
            title,
            status: Status::Triggered,
            severity,
            max_severity: severity,
            alert_count: 0,
            open: OpenAlerts::default(),
            created_at: now,
            last_alert_at: now,
            acknowledged_at: None,
            acknowledged_by: None,
            acknowledged_severity: None,
            resolved_at: None,
            ack_timeout_due: None,
        }
    }

    pub fn is_open(&self) -> bool {
        match self.status {
            Status::Triggered | Status::Acknowledged => true,
            Status::Resolved => false,
        }
    }

    /// Takes in an open alert of `severity` at `now`. A sliding window moves along only while it
    /// is `accepting`: a key that returns to its incident later does not open the window again, so
    /// at most the newest incident of a group accepts.
    pub fn add(&mut self, severity: Severity, accepting: bool, now: Timestamp) -> Effect {
        self.alert_count += 1;
        if accepting {
            self.last_alert_at = now;
        }
        *self.open.of(severity) += 1;
        self.judge(Some(severity), now)
    }

    /// One of its open alerts went from one severity to another. An acknowledged alert that gets
    /// worse does not wake anybody: PagerDuty's way.
    pub fn change(
        &mut self,
        from: Severity,
        to: Severity,
        alert_status: Status,
        now: Timestamp,
    ) -> Effect {
        if from == to {
            return Effect::Unchanged;
        }
        let count = self.open.of(from);
        *count = count.saturating_sub(1);
        *self.open.of(to) += 1;
        let raised = match alert_status {
            Status::Triggered => Some(to),
            Status::Acknowledged | Status::Resolved => None,
        };
        self.judge(raised, now)
    }

    /// One of its open alerts, of `severity`, was resolved.
    pub fn remove(&mut self, severity: Severity, now: Timestamp) -> Effect {
        let count = self.open.of(severity);
        *count = count.saturating_sub(1);
        self.judge(None, now)
    }

    pub fn acknowledge(&mut self, by: &str, now: Timestamp) {
        self.status = Status::Acknowledged;
        self.acknowledged_at = Some(now);
        self.acknowledged_by = Some(by.to_owned());
        self.acknowledged_severity = Some(self.severity);
    }

    pub fn unacknowledge(&mut self) {
        self.status = Status::Triggered;
        self.acknowledged_at = None;
        self.acknowledged_by = None;
        self.acknowledged_severity = None;
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

    /// Follows from the counters; with nothing open it is resolved and keeps its last severity.
    /// `raised` is the severity of an unacknowledged alert that came in or got worse.
    fn judge(&mut self, raised: Option<Severity>, now: Timestamp) -> Effect {
        let from = self.severity;
        let Some(to) = self.open.highest() else {
            self.status = Status::Resolved;
            self.resolved_at = Some(now);
            return Effect::Resolved;
        };
        self.severity = to;
        self.max_severity = self.max_severity.max(to);
        if self.status == Status::Acknowledged
            && raised.is_some_and(|raised| Some(raised) > self.acknowledged_severity)
        {
            self.unacknowledge();
            return Effect::TriggeredAgain { from, to };
        }
        if from == to { Effect::Unchanged } else { Effect::SeverityChanged { from, to } }
    }
}
