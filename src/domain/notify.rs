//! Who is told what, and when: one [`Holding`] for each incident and receiver.
//!
//! `untold → held(due, why) → told(severity) → ended`. Every reason to notify is judged at its due
//! time: is there a loud alert that a rule of this receiver matches, is the rule's active time on,
//! is the incident acknowledged or snoozed? Only who was told is owed a resolve, and a resolve
//! waits for nothing but a flapping key that is mute. Everything here is a pure function of the
//! holding, the incident and `now`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    alert::Status,
    delivery::Revision,
    event::{Severity, closed_enum},
    id::RuleId,
    notify_rule::NotifyRule,
    routing::Directory,
    time::{Span, Timestamp},
};

/// How long alerts that join a told incident are gathered before its receivers hear of them.
pub const DIGEST: Span = Span::from_secs(300);

closed_enum! {
    /// Why a receiver is notified.
    Reason {
        Opened = "opened",
        Reopened = "reopened",
        SeverityRaised = "severity_raised",
        Storm = "storm",
        Flapping = "flapping",
        Repeat = "repeat",
        AlertsAdded = "alerts_added",
        Acknowledged = "acknowledged",
        Resolved = "resolved",
        Test = "test",
    }
}

closed_enum! {
    /// Where a receiver stands with an incident.
    HoldingState { Untold = "untold", Held = "held", Told = "told", Ended = "ended" }
}

/// A notify rule that brought the receiver in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRule {
    pub rule: RuleId,
    /// How many loud alerts of the incident it matches: the same for every receiver that it has, or
    /// had before an edit.
    pub loud: u32,
    /// From when its `delay` counts.
    pub since: Timestamp,
}

/// What is still to be said to a receiver that was told of the incident.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a reason of its own, and any may be owed"
)]
pub struct Pending {
    pub reopened: bool,
    /// That it is acknowledged, once one of its alerts is loud and a rule is active.
    pub acknowledged: bool,
    /// Worse than what was acknowledged.
    pub raised: bool,
    pub storm: bool,
    pub flapping: bool,
    pub repeat: bool,
    /// Alerts that joined since it was last told, and when the digest of them is due.
    pub added: u32,
    pub added_due: Option<Timestamp>,
}

/// Where one receiver stands with one incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    pub receiver: Arc<str>,
    pub state: HoldingState,
    /// In words: what was told, what it waits for, or why nothing is to be told.
    pub why: String,
    /// When it is judged next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// The highest severity that it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    pub rules: Vec<HeldRule>,
    #[serde(default)]
    pub pending: Pending,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<Timestamp>,
    /// The incident has been acknowledged since it was told of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acknowledged: bool,
    /// It takes the incident for acknowledged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asleep: bool,
    /// What it was told through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// A changed policy brought it in: it hears of the incident at the next reason.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dormant: bool,
}

/// One thing to tell a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    pub reason: Reason,
    /// The receiver takes the incident for acknowledged, and it is not any more.
    pub wakes: bool,
}

impl From<Reason> for Notice {
    fn from(reason: Reason) -> Self {
        Self { reason, wakes: false }
    }
}

/// What a holding looks at of its incident.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub status: Status,
    pub severity: Severity,
    /// The highest severity of its loud alerts.
    pub loud: Option<Severity>,
    pub snoozed_until: Option<Timestamp>,
    /// Where receivers are looked up.
    pub directory: &'a Directory,
    /// The notify rules of its service, as they are now.
    pub rules: &'a [NotifyRule],
    /// Until when its resolve waits for a flapping key.
    pub resolve_held_until: Option<Timestamp>,
}

impl Holding {
    pub fn new(receiver: Arc<str>) -> Self {
        Self {
            receiver,
            state: HoldingState::Untold,
            why: String::new(),
            due: None,
            severity: None,
            rules: Vec::new(),
            pending: Pending::default(),
            told_at: None,
            acknowledged: false,
            asleep: false,
            revision: None,
            dormant: false,
        }
    }

    /// `rule` speaks for this receiver, and matches `loud` loud alerts: none of them while the one
    /// that brings it in is mute, and only that it flaps is to be told.
    pub fn bring_in(&mut self, rule: RuleId, loud: u32, since: Timestamp) {
        if self.loud_under(rule).is_none() {
            self.rules.push(HeldRule { rule, loud, since });
        }
    }

    /// How many loud alerts `rule` matches, if it ever spoke for this receiver.
    pub fn loud_under(&self, rule: RuleId) -> Option<u32> {
        self.rules.iter().find(|held| held.rule == rule).map(|held| held.loud)
    }

    /// One more loud alert is matched by `rule`.
    pub fn louder(&mut self, rule: RuleId) {
        if let Some(held) = self.rules.iter_mut().find(|held| held.rule == rule) {
            held.loud += 1;
        }
    }

    /// One loud alert less is matched by `rule`.
    pub fn quieter(&mut self, rule: RuleId) {
        if let Some(held) = self.rules.iter_mut().find(|held| held.rule == rule) {
            held.loud = held.loud.saturating_sub(1);
        }
    }

    /// The incident is open again: delays count anew, who was told hears so.
    pub fn reopen(&mut self, now: Timestamp) {
        for held in &mut self.rules {
            held.since = now;
        }
        match (self.state, self.told_at) {
            (HoldingState::Ended, Some(_)) => {
                self.state = HoldingState::Told;
                self.pending = Pending { reopened: true, ..Pending::default() };
                self.severity = None;
                self.acknowledged = false;
                self.asleep = false;
            }
            (HoldingState::Ended, None) => self.state = HoldingState::Untold,
            // Its resolve was still waiting, so nothing ended for it.
            (HoldingState::Untold | HoldingState::Held | HoldingState::Told, _) => {}
        }
    }

    /// Decides what is to be told at `now`, and when to look again.
    pub fn judge(&mut self, view: &View<'_>, now: Timestamp) -> Vec<Notice> {
        match (view.status, self.state) {
            (_, HoldingState::Ended) => {
                self.due = None;
                Vec::new()
            }
            (Status::Resolved, HoldingState::Told) => self.judge_resolved(view, now),
            (Status::Resolved, HoldingState::Untold | HoldingState::Held) => {
                self.end("resolved before it was told");
                Vec::new()
            }
            (Status::Triggered | Status::Acknowledged, HoldingState::Told) => {
                self.judge_told(view, now)
            }
            (
                Status::Triggered | Status::Acknowledged,
                HoldingState::Untold | HoldingState::Held,
            ) => self.judge_untold(view, now),
        }
    }

    fn end(&mut self, why: &str) {
        self.state = HoldingState::Ended;
        why.clone_into(&mut self.why);
        self.due = None;
        self.pending = Pending::default();
    }

    fn wait(&mut self, state: HoldingState, why: impl Into<String>, due: Option<Timestamp>) {
        self.state = state;
        self.why = why.into();
        self.due = due;
    }

    fn judge_resolved(&mut self, view: &View<'_>, now: Timestamp) -> Vec<Notice> {
        let mut told = Vec::new();
        if self.pending.reopened {
            self.end("resolved again before it was told that it is open again");
            return told;
        }
        if std::mem::take(&mut self.pending.flapping) && self.is_on(view.rules, now) {
            told.push(Reason::Flapping.into());
        }
        if let Some(until) = view.resolve_held_until.filter(|until| *until > now) {
            self.pending = Pending::default();
            let why = "resolved, and its key is flapping and mute: the resolve waits";
            self.wait(HoldingState::Told, why, Some(until));
            return told;
        }
        self.end("told that it is resolved");
        told.push(Reason::Resolved.into());
        told
    }

    /// The rules that speak for this receiver now: for a first notification one of the alerts that
    /// they match has to be loud; once told, always told, as long as any alert is loud.
    fn speaking<'v>(&self, view: &View<'v>) -> Vec<(HeldRule, &'v NotifyRule)> {
        let mute_too = self.pending.flapping;
        let told = self.state == HoldingState::Told && view.loud.is_some();
        self.rules
            .iter()
            .filter(|held| held.loud > 0 || told || mute_too)
            .filter_map(|held| {
                let rule = view.rules.iter().find(|rule| rule.id == held.rule)?;
                rule.receivers.contains(&self.receiver).then_some((*held, rule))
            })
            .collect()
    }

    /// Whether a rule that brought this receiver in names it still: otherwise it is owed the resolve
    /// and nothing else.
    pub fn is_named(&self, rules: &[NotifyRule]) -> bool {
        self.naming(rules).next().is_some()
    }

    /// Whether one of the rules that name it is active.
    pub fn is_on(&self, rules: &[NotifyRule], now: Timestamp) -> bool {
        self.naming(rules).any(|rule| active_from(rule, now) <= now)
    }

    fn naming<'r>(&self, rules: &'r [NotifyRule]) -> impl Iterator<Item = &'r NotifyRule> {
        let known = |rule: &NotifyRule| self.rules.iter().any(|held| held.rule == rule.id);
        rules.iter().filter(move |rule| known(rule) && rule.receivers.contains(&self.receiver))
    }

    fn judge_untold(&mut self, view: &View<'_>, now: Timestamp) -> Vec<Notice> {
        let speaking = self.speaking(view);
        if speaking.is_empty() {
            self.wait(HoldingState::Untold, "no alert that its rules match is loud", None);
            return Vec::new();
        }
        if self.dormant {
            let why = "the policy was changed since it opened: told at the next reason";
            self.wait(HoldingState::Untold, why, None);
            return Vec::new();
        }
        if view.status == Status::Acknowledged {
            self.wait(HoldingState::Held, "acknowledged", None);
            return Vec::new();
        }
        if let Some(until) = view.snoozed_until.filter(|until| *until > now) {
            self.wait(HoldingState::Held, "snoozed", Some(until));
            return Vec::new();
        }
        let earliest = speaking.iter().map(|(held, rule)| due_under(rule, held.since, now)).min();
        match earliest {
            Some((due, why)) if due > now => {
                self.wait(HoldingState::Held, why, Some(due));
                Vec::new()
            }
            Some(_) | None => {
                let flapping = self.pending.flapping && speaking.iter().all(|(h, _)| h.loud == 0);
                let reason = if flapping { Reason::Flapping } else { Reason::Opened };
                let told = self.tell(reason, view, now);
                self.due = self.repeat_at(&speaking, now);
                vec![told]
            }
        }
    }

    fn judge_told(&mut self, view: &View<'_>, now: Timestamp) -> Vec<Notice> {
        if view.status == Status::Acknowledged {
            return self.judge_acknowledged(view, now);
        }
        if std::mem::take(&mut self.acknowledged) {
            self.pending.acknowledged = false;
            self.pending.repeat = true;
        }
        let speaking = self.speaking(view);
        if speaking.is_empty() {
            // What would have been said of alerts that are quiet now is not said later, but that
            // it is open again.
            self.pending = Pending { reopened: self.pending.reopened, ..Pending::default() };
            self.due = None;
            return Vec::new();
        }
        if let Some(until) = view.snoozed_until.filter(|until| *until > now) {
            self.pending = Pending { reopened: self.pending.reopened, ..Pending::default() };
            self.due = self.pending.reopened.then_some(until);
            return Vec::new();
        }
        let repeat_at = self.repeat_at(&speaking, now);
        let digest = self.pending.added_due.filter(|_| self.pending.added > 0);
        let owed = if self.pending.reopened {
            Some(Reason::Reopened)
        } else if self.pending.raised || view.loud > self.severity {
            Some(Reason::SeverityRaised)
        } else if self.pending.storm {
            Some(Reason::Storm)
        } else if self.pending.flapping {
            Some(Reason::Flapping)
        } else if self.pending.repeat || repeat_at.is_some_and(|at| at <= now) {
            Some(Reason::Repeat)
        } else if digest.is_some_and(|due| due <= now) {
            Some(Reason::AlertsAdded)
        } else {
            None
        };
        // At one moment one reminder is enough: ten alerts that a silence lets go at once are one.
        let repeated = owed == Some(Reason::Repeat) && self.told_at == Some(now);
        if repeated {
            self.pending.repeat = false;
        }
        let Some(reason) = owed.filter(|_| !repeated) else {
            self.due = [self.repeat_at(&speaking, now), digest].into_iter().flatten().min();
            return Vec::new();
        };
        let allowed = speaking
            .iter()
            .map(|(held, rule)| {
                let since = if reason == Reason::Reopened { held.since } else { now };
                let delay = if reason == Reason::Reopened { rule.delay } else { Span::ZERO };
                active_from(rule, since.plus(delay).max(now))
            })
            .min();
        match allowed {
            Some(due) if due > now => {
                // Its deadline is past when the time comes; it is owed all the same.
                self.pending.repeat |= reason == Reason::Repeat;
                self.due = Some(due);
                Vec::new()
            }
            Some(_) | None => {
                let storm = self.pending.storm && reason == Reason::SeverityRaised;
                let mut told = vec![self.tell(reason, view, now)];
                if storm {
                    told.push(self.tell(Reason::Storm, view, now));
                }
                self.due = self.repeat_at(&speaking, now);
                told
            }
        }
    }

    fn judge_acknowledged(&mut self, view: &View<'_>, now: Timestamp) -> Vec<Notice> {
        let mut told = Vec::new();
        self.due = None;
        if self.pending.reopened {
            // To them it is resolved: that it is open again is told once nobody works on it.
            self.pending = Pending { reopened: true, ..Pending::default() };
            return told;
        }
        let speaking = self.speaking(view);
        let snoozed = view.snoozed_until.is_some_and(|until| until > now);
        let storm = self.pending.storm && !speaking.is_empty() && !snoozed;
        let mut acknowledged = self.pending.acknowledged;
        if !self.acknowledged && self.is_named(view.rules) {
            (self.acknowledged, acknowledged) = (true, true);
        }
        self.pending = Pending { acknowledged, storm, ..Pending::default() };
        let on = speaking.iter().map(|(_, rule)| active_from(rule, now)).min();
        if on.is_none_or(|on| on > now) {
            self.due = on.filter(|_| acknowledged || storm);
            return told;
        }
        self.pending = Pending::default();
        if acknowledged {
            self.asleep = true;
            "acknowledged".clone_into(&mut self.why);
            told.push(Reason::Acknowledged.into());
        }
        if storm {
            "storm".clone_into(&mut self.why);
            self.told_at = Some(now);
            told.push(Reason::Storm.into());
        }
        told
    }

    /// The absolute deadline of the next repeat: the shortest interval of its rules after it was
    /// last told. One that passed while nothing could be said is not made up for.
    fn repeat_at(&self, speaking: &[(HeldRule, &NotifyRule)], now: Timestamp) -> Option<Timestamp> {
        let every = speaking.iter().filter_map(|(_, rule)| rule.repeat).min()?;
        let at = self.told_at?.plus(every);
        if at >= now {
            return Some(at);
        }
        let every_ms = every.as_millis().max(1);
        let missed = now.since(at).as_millis() / every_ms;
        let next = Timestamp::from_millis(at.as_millis() + missed * every_ms);
        Some(if next < now { next.plus(every) } else { next })
    }

    fn tell(&mut self, reason: Reason, view: &View<'_>, now: Timestamp) -> Notice {
        // What begins goes through the receiver as it is now, and everything after it likewise.
        if self.state != HoldingState::Told || reason == Reason::Reopened {
            self.revision = view.directory.revision(&self.receiver).or(self.revision);
        }
        self.state = HoldingState::Told;
        reason.as_str().clone_into(&mut self.why);
        self.due = None;
        // That a mute key flaps is told with the severity that it has.
        self.severity = self.severity.max(view.loud.or(Some(view.severity)));
        self.pending = Pending::default();
        self.told_at = Some(now);
        Notice { reason, wakes: std::mem::take(&mut self.asleep) }
    }

    /// It is told in place of another receiver, which cannot be reached; of what comes after that
    /// it hears the resolve.
    pub fn stand_in(&mut self, why: String, view: &View<'_>, now: Timestamp) -> Notice {
        let notice = self.tell(Reason::Opened, view, now);
        self.why = why;
        notice
    }
}

/// When a rule lets the first notification go, and what it waits for.
fn due_under(rule: &NotifyRule, since: Timestamp, now: Timestamp) -> (Timestamp, &'static str) {
    let delayed = since.plus(rule.delay).max(now);
    let due = active_from(rule, delayed);
    let why = if due > delayed {
        "waits for the active time of its rule"
    } else {
        "waits for the delay of its rule"
    };
    (due, why)
}

fn active_from(rule: &NotifyRule, at: Timestamp) -> Timestamp {
    rule.active.as_ref().map_or(at, |active| active.next_on(at))
}
