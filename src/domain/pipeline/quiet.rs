//! What keeps an alert quiet: silences, inhibition, a flapping key, a pause; and what happens when
//! that begins or ends.

use std::sync::Arc;

use super::{Batch, inhibit::Hold, prepare};
use crate::domain::{
    alert::Alert,
    changes::TimelineKind,
    fields::{ParsedDetails, TriggerFields},
    grouping::GroupChoice,
    id::AlertId,
    standing::{Inhibited, Matches, Quiet, Silenced},
    time::Timestamp,
    trace::{Stage, Trace},
};

impl Batch<'_> {
    /// What keeps an open alert quiet at `now`, and when that changes by itself.
    fn verdict(&mut self, alert: &Alert, now: Timestamp) -> (Quiet, Option<Timestamp>) {
        let mut quiet = Quiet::default();
        let mut next: Option<Timestamp> = None;
        let mut changes = |at: Option<Timestamp>| {
            next = [next, at.filter(|at| *at < Timestamp::MAX)].into_iter().flatten().min();
        };
        for id in &alert.standing.matches.silences {
            let Some(silence) = self.directory.silences().get(*id) else { continue };
            if let Some(until) = silence.active_until(now) {
                quiet.silenced.push(Silenced { silence: *id, until });
            }
            changes(silence.next_change(now));
        }
        for side in alert.standing.matches.sides.iter().filter(|side| side.target) {
            let rule = self
                .policy(alert.service_id)
                .and_then(|policy| policy.inhibition.iter().find(|rule| rule.id == side.rule));
            let Some(rule) = rule else { continue };
            let inhibitor = self.working.inhibitor((alert.service_id, side.rule, side.hash));
            let hold = inhibitor.holds(side.source, rule.release_delay, now);
            if hold != Hold::Off {
                let until = if let Hold::Ending(until) = hold { Some(until) } else { None };
                let (rule, hash) = (side.rule, side.hash);
                // Once the last is gone, the one that was named stays named until the release.
                let named = alert.standing.quiet.inhibited.iter();
                let mut named = named.filter(|by| (by.rule, by.hash) == (rule, hash));
                let source = inhibitor.newest_source(side.source, alert.id);
                let source = source.or_else(|| named.next_back()?.source);
                quiet.inhibited.push(Inhibited { rule, hash, source, until });
                changes(until);
            }
        }
        let before = &alert.standing.quiet;
        quiet.muted_until = before.muted_until.filter(|until| *until > now);
        quiet.paused_until = before.paused_until.filter(|until| *until > now);
        changes(quiet.muted_until);
        changes(quiet.paused_until);
        (quiet, next)
    }

    /// Works out what keeps an alert quiet that is in no incident yet.
    pub(super) fn quieten(&mut self, id: AlertId, now: Timestamp) {
        let Some(alert) = self.working.alert(id).cloned() else { return };
        let (quiet, next) = self.verdict(&alert, now);
        let tally = &mut self.working.changes.tally;
        tally.silenced += u64::from(!quiet.silenced.is_empty());
        tally.inhibited += u64::from(!quiet.inhibited.is_empty());
        tally.muted += u64::from(quiet.muted_until.is_some());
        tally.paused += u64::from(quiet.paused_until.is_some());
        self.working.change_alert(id, |alert| {
            alert.standing.quiet = quiet;
            alert.dues.judge = next;
        });
    }

    /// Judges anew what keeps an open alert quiet, and draws the consequences: what is released is
    /// grouped and notified, what becomes quiet is not notified any more.
    pub(super) fn judge_alert(&mut self, id: AlertId, now: Timestamp, actor: &str) {
        let Some(alert) = self.working.alert(id).filter(|alert| alert.is_open()) else { return };
        if self.rematching.contains(&id) {
            return;
        }
        let alert = alert.clone();
        if alert.stale {
            self.rematch_stale(&alert, now, actor);
        } else {
            self.judge_again(&alert, now, actor);
        }
    }

    fn judge_again(&mut self, before: &Alert, now: Timestamp, actor: &str) {
        let id = before.id;
        let Some(alert) = self.working.alert(id).cloned() else { return };
        let (quiet, next) = self.verdict(&alert, now);
        if quiet == alert.standing.quiet {
            if next != alert.dues.judge {
                self.working.change_alert(id, |alert| alert.dues.judge = next);
            }
        } else {
            let tally = &mut self.working.changes.tally;
            let was = &alert.standing.quiet;
            tally.silenced += u64::from(was.silenced.is_empty() && !quiet.silenced.is_empty());
            tally.inhibited += u64::from(was.inhibited.is_empty() && !quiet.inhibited.is_empty());
            self.working.change_alert(id, |alert| {
                alert.standing.quiet = quiet;
                alert.dues.judge = next;
            });
        }
        let Some(after) = self.working.alert(id).cloned() else { return };
        match (alert.is_suppressed(), after.is_suppressed()) {
            (false, true) => self.tell_suppressed(id, now, actor),
            (true, false) => {
                let kind = TimelineKind::Released;
                let reason = "nothing suppresses it any more";
                let (alert, incident) = (Some(id), after.incident_id);
                self.working.tell(self.ids, now, alert, incident, kind, actor, reason);
            }
            (true, true) | (false, false) => {}
        }
        if after.incident_id.is_none() && !after.is_suppressed() {
            let title = self.working.content(id).map(|content| content.summary.clone());
            self.group(id, &title.unwrap_or_default(), now, actor, None);
        } else {
            self.reflect(before, false, now, actor);
        }
        if after.flapping && !after.is_suppressed() {
            self.notice_flapping(id, now, false);
        }
    }

    /// The policy was changed since the alert was matched against it.
    fn rematch_stale(&mut self, alert: &Alert, now: Timestamp, actor: &str) {
        let (Some(service), Some(content)) =
            (self.service(alert.service_id), self.working.content(alert.id))
        else {
            // Its service is gone, or its content: there is nothing to match.
            self.working.change_alert(alert.id, |alert| {
                alert.stale = false;
                alert.dues.judge = None;
            });
            return;
        };
        let integration = self.directory.integration(alert.integration_id);
        let integration = integration.map_or("", |integration| integration.name.as_str());
        let view = TriggerFields {
            content: &content,
            dedup_key: alert.given_key(),
            integration,
            service: &service.name,
            details: &ParsedDetails::default(),
        };
        let (matches, group) = prepare::judge(&view, service, self.directory);
        self.rematch(alert.id, matches, group, true, now, actor);
    }

    /// An alert matches other rules than before, because its content or the policy has changed.
    pub(super) fn rematch(
        &mut self,
        id: AlertId,
        matches: Arc<Matches>,
        group: Option<Arc<GroupChoice>>,
        policy_changed: bool,
        now: Timestamp,
        actor: &str,
    ) {
        let Some(before) = self.working.alert(id).cloned() else { return };
        self.working.change_alert(id, |alert| {
            alert.standing.matches = matches;
            alert.standing.group = alert.incident_id.is_none().then_some(group).flatten();
            alert.stale = false;
        });
        if policy_changed {
            self.flapping_settings_changed(id, now);
            self.reflect(&before, true, now, actor);
        }
        let sides_before = &before.standing.matches.sides;
        let Some(alert) = self.working.alert(id).cloned() else { return };
        if alert.standing.matches.sides != *sides_before {
            self.working.set_sides(&alert, sides_before);
        }
        self.rematching.push(id);
        self.count_sources(id, now, actor);
        self.rematching.retain(|other| *other != id);
        let before = if policy_changed { alert } else { before };
        self.judge_again(&before, now, actor);
    }

    pub(super) fn tell_suppressed(&mut self, id: AlertId, now: Timestamp, actor: &str) {
        let Some(alert) = self.working.alert(id) else { return };
        let incident = alert.incident_id;
        let reason = self.suppressed_by(&alert.standing.quiet.clone()).join("; ");
        let kind = TimelineKind::Suppressed;
        self.working.tell(self.ids, now, Some(id), incident, kind, actor, reason);
    }

    fn suppressed_by(&self, quiet: &Quiet) -> Vec<String> {
        let silences = quiet.silenced.iter().map(|on| {
            let silence = self.directory.silences().get(on.silence);
            let comment = silence.map_or("", |silence| silence.comment.as_str());
            if on.until < Timestamp::MAX {
                format!("by the silence {comment:?} until {}", on.until)
            } else {
                format!("by the silence {comment:?}")
            }
        });
        let inhibitors = quiet.inhibited.iter().map(|by| match (by.source, by.until) {
            (_, Some(until)) => format!("its source alert is over; until {until}"),
            (Some(source), None) => format!("by the open alert {source}"),
            (None, None) => "by an open source alert".to_owned(),
        });
        silences.chain(inhibitors).collect()
    }

    /// What keeps an alert quiet that opens.
    pub(super) fn trace_quiet(&self, id: AlertId, trace: &mut Trace) {
        let Some(alert) = self.working.alert(id) else { return };
        let quiet = &alert.standing.quiet;
        for on in &quiet.silenced {
            let silence = self.directory.silences().get(on.silence);
            let reason = silence.map_or("", |silence| silence.comment.as_str());
            let (name, until) = (on.silence.to_string(), on.until.to_string());
            let more = [("silence", name.as_str()), ("until", until.as_str())];
            trace.decided(Stage::Silence, "suppressed", reason, &more);
        }
        for by in &quiet.inhibited {
            let rules = self.policy(alert.service_id).map(|policy| &policy.inhibition);
            let at = rules.and_then(|rules| rules.iter().position(|rule| rule.id == by.rule));
            let rule = format!("inhibition[{}]", at.unwrap_or_default());
            let source = by.source.map(|source| source.to_string()).unwrap_or_default();
            let until = by.until.map(|until| until.to_string()).unwrap_or_default();
            let reason = if by.until.is_some() {
                "its source alert ended less than release_delay ago"
            } else {
                "a source alert with the same values is open"
            };
            let more = [("rule", rule.as_str()), ("source", &source), ("until", &until)];
            let more = if by.until.is_some() { &more[..] } else { &more[..2] };
            trace.decided(Stage::Inhibition, "suppressed", reason, more);
        }
    }

    /// What a trigger changed for the alert it was merged into.
    pub(super) fn trace_standing(&mut self, id: AlertId, before: &Alert, trace: &mut Trace) {
        let Some(after) = self.working.alert(id).cloned() else { return };
        if after.standing.quiet != before.standing.quiet {
            self.trace_quiet(id, trace);
            if before.is_suppressed() && !after.is_suppressed() {
                let number = after.incident_id.map(|id| id.seq().to_string()).unwrap_or_default();
                let reason = "it does not match what suppressed it any more";
                trace.decided(Stage::Group, "released", reason, &[("incident", &number)]);
            }
        } else if after.is_suppressed() {
            self.trace_quiet(id, trace);
        }
        if after.severity != before.severity || after.standing != before.standing {
            self.trace_notify(id, trace);
        } else if self.policy(after.service_id).is_some_and(|policy| !policy.notify.is_empty()) {
            trace.decided(Stage::Notify, "none", "a repeat: nothing new to tell", &[]);
        }
    }
}
