//! An incident: a group of alike alerts of one service, the unit that people hear of.
//!
//! Its severity is that of its worst open alert, kept by counters, so that no change of one alert
//! needs a look at the others.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    alert::{Alert, Status},
    delivery::Revision,
    event::Severity,
    grouping::GroupChoice,
    id::{IncidentId, RuleId, ServiceId},
    loading::GroupHash,
    notify::{Holding, HoldingState, Notice, Reason, View},
    notify_rule::NotifyRule,
    routing::Directory,
    service::Timers,
    time::Timestamp,
};

/// How many of an incident's open alerts have each severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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

    fn without(self, other: Self) -> Self {
        Self {
            info: self.info.saturating_sub(other.info),
            warning: self.warning.saturating_sub(other.warning),
            error: self.error.saturating_sub(other.error),
            critical: self.critical.saturating_sub(other.critical),
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
    /// Under these the incident is found by alerts to come: it is the newest under each, and open.
    pub hashes: Vec<i64>,
    /// `{"rule": id, "values": {field: value}}`, as the API shows it.
    pub shown: String,
}

impl GroupKey {
    pub fn new(choice: &GroupChoice) -> Self {
        #[derive(Serialize)]
        struct Shown<'c> {
            rule: RuleId,
            values: BTreeMap<String, &'c str>,
        }
        let values = choice.values.iter().map(|(field, value)| (field.to_string(), value.as_str()));
        let shown = Shown { rule: choice.rule, values: values.collect() };
        let shown = serde_json::to_string(&shown).unwrap_or_default();
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
    /// Nobody is notified before then, unless it gets worse.
    pub snoozed_until: Option<Timestamp>,
    /// Whose it is, by name.
    pub assignee: Option<String>,
    /// The highest of the service's storm thresholds that it reached.
    pub storm: Option<u32>,
    pub notices: Notices,
    /// When something about it is due next, as stored: its acknowledgement or snooze runs out, a
    /// receiver is to be told.
    pub due: Option<Timestamp>,
}

/// What an incident keeps for its notifications.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notices {
    /// How many of its open alerts are quiet.
    pub quiet: OpenAlerts,
    pub holdings: Vec<Holding>,
    /// It is resolved, and its resolve waits for a key that flaps and is mute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_until: Option<Timestamp>,
}

impl Notices {
    /// The text kept in the database; `None` where there is nothing to keep.
    pub fn to_stored(&self) -> Option<String> {
        if *self == Self::default() { None } else { serde_json::to_string(self).ok() }
    }

    /// Reads what [`Notices::to_stored`] wrote. `Err` says what is damaged.
    pub fn from_stored(text: Option<&str>) -> Result<Self, String> {
        text.map_or_else(
            || Ok(Self::default()),
            |text| serde_json::from_str(text).map_err(|error| error.to_string()),
        )
    }
}

/// What one receiver is told of an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub receiver: Arc<str>,
    /// `None`: there is no such receiver, so nothing is sent.
    pub revision: Option<Revision>,
    pub notice: Notice,
}

impl Told {
    fn of(holding: &Holding, notice: Notice) -> Self {
        Self { receiver: Arc::clone(&holding.receiver), revision: holding.revision, notice }
    }
}

/// What came of telling a fallback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoodIn {
    Told(Told),
    /// It was told already.
    Known,
    /// Nobody has to be told now; and why.
    Later(&'static str),
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
            snoozed_until: None,
            assignee: None,
            storm: None,
            notices: Notices::default(),
            due: None,
        }
    }

    pub fn is_open(&self) -> bool {
        match self.status {
            Status::Triggered | Status::Acknowledged => true,
            Status::Resolved => false,
        }
    }

    /// The highest severity of its loud alerts.
    pub fn loudest(&self) -> Option<Severity> {
        self.open.without(self.notices.quiet).highest()
    }

    /// Takes in an open alert of `severity` at `now`; `wakes` says that it is loud and nobody has
    /// acknowledged it. A sliding window moves along only while it
    /// is `accepting`: a key that returns to its incident later does not open the window again, so
    /// at most the newest incident of a group accepts.
    pub fn add(
        &mut self,
        severity: Severity,
        wakes: bool,
        accepting: bool,
        now: Timestamp,
    ) -> Effect {
        self.alert_count += 1;
        if accepting {
            self.last_alert_at = now;
        }
        *self.open.of(severity) += 1;
        self.judge(wakes.then_some(severity), now)
    }

    /// One of its open alerts, of `severity`, becomes loud and nobody has acknowledged it.
    pub fn hear(&mut self, severity: Severity, now: Timestamp) -> Effect {
        self.judge(Some(severity), now)
    }

    /// One of its open alerts was quiet with the one severity and is with the other; `None`: is
    /// not quiet.
    pub fn hush(&mut self, was: Option<Severity>, is: Option<Severity>) {
        if let Some(was) = was {
            let count = self.notices.quiet.of(was);
            *count = count.saturating_sub(1);
        }
        if let Some(is) = is {
            *self.notices.quiet.of(is) += 1;
        }
    }

    /// One of its open alerts went from one severity to another; `wakes` as for
    /// [`Incident::add`]: an acknowledged alert that gets worse does not wake anybody, which is
    /// PagerDuty's way.
    pub fn change(&mut self, from: Severity, to: Severity, wakes: bool, now: Timestamp) -> Effect {
        if from == to {
            return Effect::Unchanged;
        }
        let count = self.open.of(from);
        *count = count.saturating_sub(1);
        *self.open.of(to) += 1;
        self.judge(wakes.then_some(to), now)
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

    /// A resolved incident is open again: its key came back within `reopen_within`.
    /// It is found again under what the alert that opens it is grouped by, if its rule is the same.
    pub fn reopen(&mut self, choice: Option<&GroupChoice>, now: Timestamp) {
        let group = self.group.as_mut();
        if let Some((group, choice)) = group.zip(choice).filter(|(g, c)| g.rule == c.rule) {
            group.hashes.clone_from(&choice.hashes);
        }
        self.unacknowledge();
        self.resolved_at = None;
        self.notices.held_until = None;
        for holding in &mut self.notices.holdings {
            holding.reopen(now);
        }
    }

    /// What alerts find it by.
    pub fn found_under(&self) -> impl Iterator<Item = GroupHash> {
        let group = self.group.as_ref();
        let rule_and_hashes = group.map(|group| (group.rule, group.hashes.as_slice()));
        let (rule, hashes) = rule_and_hashes.unzip();
        let hashes = hashes.unwrap_or_default();
        hashes.iter().filter_map(move |hash| Some((self.service_id, rule?, *hash)))
    }

    pub fn is_found_under(&self, key: GroupHash) -> bool {
        self.found_under().any(|known| known == key)
    }

    /// A newer one takes its place.
    pub fn unfile(&mut self, (_, _, hash): GroupHash) {
        if let Some(group) = &mut self.group {
            group.hashes.retain(|known| *known != hash);
        }
    }

    /// It takes no alerts any more.
    pub fn unfile_all(&mut self) {
        if let Some(group) = &mut self.group {
            group.hashes.clear();
        }
    }

    /// One of its open alerts moves to another incident.
    pub fn lose(&mut self, alert: &Alert) {
        let count = self.open.of(alert.severity);
        *count = count.saturating_sub(1);
        if !alert.is_loud() {
            self.hush(Some(alert.severity), None);
        }
        for rule in alert.standing.matches.notify.iter().filter(|_| alert.is_loud()) {
            for holding in &mut self.notices.holdings {
                holding.quieter(*rule);
            }
        }
        self.alert_count = self.alert_count.saturating_sub(1);
    }

    /// Its open alerts are another incident's now.
    pub fn merged_away(&mut self, now: Timestamp) {
        self.status = Status::Resolved;
        self.resolved_at = Some(now);
        self.snoozed_until = None;
    }

    /// Decides what each receiver is told at `now`.
    pub fn judge_holdings(
        &mut self,
        rules: &[NotifyRule],
        directory: &Directory,
        now: Timestamp,
    ) -> Vec<Told> {
        let view = self.view(rules, directory);
        let mut told = Vec::new();
        for holding in &mut self.notices.holdings {
            let notices = holding.judge(&view, now);
            told.extend(notices.into_iter().map(|notice| Told::of(holding, notice)));
        }
        // A reminder of some is the next reason for those that a changed policy brought in.
        if told.iter().any(|told| told.notice.reason == Reason::Repeat) {
            for holding in self.notices.holdings.iter_mut().filter(|holding| holding.dormant) {
                holding.dormant = false;
                let notices = holding.judge(&view, now);
                told.extend(notices.into_iter().map(|notice| Told::of(holding, notice)));
            }
        }
        told
    }

    fn view<'a>(&self, rules: &'a [NotifyRule], directory: &'a Directory) -> View<'a> {
        View {
            status: self.status,
            severity: self.severity,
            loud: self.loudest(),
            snoozed_until: self.snoozed_until,
            directory,
            rules,
            resolve_held_until: self.notices.held_until,
        }
    }

    /// Lets `to` be told in place of `from`, if there is something to tell now.
    pub fn fall_back(
        &mut self,
        from: &str,
        to: &Arc<str>,
        directory: &Directory,
        now: Timestamp,
    ) -> StoodIn {
        let view = self.view(&[], directory);
        let holdings = &mut self.notices.holdings;
        let at = holdings.iter().position(|holding| holding.receiver == *to);
        if at.is_some_and(|at| holdings[at].state == HoldingState::Told) {
            return StoodIn::Known;
        }
        if view.loud.is_none() {
            return StoodIn::Later("nothing of it is loud");
        }
        if view.snoozed_until.is_some_and(|until| until > now) {
            return StoodIn::Later("the incident is snoozed");
        }
        let at = at.unwrap_or_else(|| {
            holdings.push(Holding::new(Arc::clone(to)));
            holdings.len() - 1
        });
        let holding = &mut holdings[at];
        let notice = holding.stand_in(format!("opened, in place of {from}"), &view, now);
        StoodIn::Told(Told::of(holding, notice))
    }

    /// Whether somebody was told of it and is owed the resolve.
    pub fn is_told(&self) -> bool {
        self.notices.holdings.iter().any(|holding| holding.state == HoldingState::Told)
    }

    /// When something about it is due next.
    pub fn next_due(&self, timers: &Timers) -> Option<Timestamp> {
        let holdings = self.notices.holdings.iter().filter_map(|holding| holding.due);
        let own = [self.ack_timeout_due(timers), self.snoozed_until, self.notices.held_until];
        own.into_iter().flatten().chain(holdings).min()
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
            self.snoozed_until = None;
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
