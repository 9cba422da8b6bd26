//! Keys that come and go: flapping, and the pause that a transient key is given.

use super::Batch;
use crate::domain::{
    alert::Alert,
    changes::TimelineKind,
    id::{AlertId, IncidentId},
    key_state::{Flap, KeyState},
    loading::SourceKey,
    notify::{Holding, HoldingState},
    settings::{AutoPause, Flapping, FlappingMode, PauseWhen},
    time::{Span, Timestamp},
    trace::{Stage, Trace},
};

/// What an alert that opens means for its key.
#[derive(Debug)]
pub(super) struct Comeback {
    /// The key begins to flap with it.
    pub(super) began: bool,
    /// The evidence for a pause, or against it if there is any.
    pause: Result<String, Option<String>>,
}

impl Default for Comeback {
    fn default() -> Self {
        Self { began: false, pause: Err(None) }
    }
}

/// What has to wait when a key is mute and its alert is resolved.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    /// Until when its incident's resolve waits.
    pub(super) incident: Option<Timestamp>,
    /// Its own resolve waits, for receivers that are told of each alert.
    pub(super) alert: bool,
}

fn key_of(alert: &Alert) -> SourceKey {
    (alert.integration_id, alert.dedup_key.clone())
}

impl<'d> Batch<'d> {
    /// The settings under which a key's comings and goings are watched; `None` if they are not:
    /// a key that we made never comes back.
    fn watched(&self, alert: &Alert) -> Option<(&'d Flapping, &'d AutoPause)> {
        let policy = self.policy(alert.service_id)?;
        let pause = policy.auto_pause.as_ref().unwrap_or(&AutoPause::OFF);
        let watched =
            policy.flapping.mode != FlappingMode::Off || pause.when == PauseWhen::Transient;
        (watched && !alert.generated_key).then_some((&policy.flapping, pause))
    }

    /// An alert opens: counts the change, and lets its notifications wait if they have to.
    pub(super) fn flap_on_trigger(
        &mut self,
        id: AlertId,
        came_back: bool,
        now: Timestamp,
        trace: &mut Trace,
    ) -> Comeback {
        let Some(alert) = self.working.alert(id).cloned() else { return Comeback::default() };
        let Some(policy) = self.policy(alert.service_id) else { return Comeback::default() };
        let mut state = KeyState::default();
        let mut began = false;
        // The first trigger of a key is no change, and there is nothing to learn from yet.
        if let Some((flapping, _)) = self.watched(&alert).filter(|_| came_back) {
            let key = key_of(&alert);
            state = self.working.key_state(&key);
            began = state.changed(flapping, now) == Flap::Began;
            self.remember(&key, &alert, state.clone(), now);
        }
        let auto_pause = policy.auto_pause.as_ref().unwrap_or(&AutoPause::OFF);
        let pause = state.pauses(auto_pause, now);
        let paused_until = pause.is_ok().then(|| now.plus(auto_pause.span));
        let muted_until = state.muted_until(&policy.flapping);
        let flapping = state.flapping_since.is_some();
        self.working.change_alert(id, |alert| {
            alert.flapping = flapping;
            alert.standing.quiet.muted_until = muted_until;
            alert.standing.quiet.paused_until = paused_until;
        });
        if flapping {
            Self::explain_flapping(&state, &policy.flapping, trace);
        }
        let mut wait = |kind, until: Timestamp, why: &str| {
            let reason = format!("until {until}: {why}");
            self.working.tell(self.ids, now, Some(id), None, kind, "timer", reason);
        };
        if let Some(until) = muted_until {
            wait(TimelineKind::Muted, until, "its key is flapping");
        }
        if let (Ok(evidence), Some(until)) = (&pause, paused_until) {
            wait(TimelineKind::Paused, until, evidence);
        }
        Comeback { began, pause }
    }

    /// Why notifications of an alert that opens wait for it to go away by itself, or do not.
    pub(super) fn trace_pause(comeback: &Comeback, paused: Option<Timestamp>, trace: &mut Trace) {
        match (&comeback.pause, paused) {
            (Ok(evidence), Some(until)) => {
                let until = until.to_string();
                trace.decided(Stage::Notify, "paused", evidence, &[("until", &until)]);
            }
            (Err(Some(evidence)), _) => {
                trace.decided(Stage::Notify, "not paused", evidence, &[]);
            }
            (Ok(_), None) | (Err(None), _) => {}
        }
    }

    /// An alert was resolved: counts the change; `by_source_after` is how long it lasted if its
    /// source resolved it, `by_person` that a person did. Says what has to wait.
    pub(super) fn flap_on_resolve(
        &mut self,
        alert: &Alert,
        by_source_after: Option<Span>,
        by_person: bool,
        now: Timestamp,
    ) -> HeldBack {
        let Some((flapping, _)) = self.watched(alert) else { return HeldBack::default() };
        let key = key_of(alert);
        let mut state = self.working.key_state(&key);
        state.ended(now, by_source_after);
        let began = state.changed(flapping, now) == Flap::Began;
        let muted_until = state.muted_until(flapping).filter(|until| *until > now && !by_person);
        let held = match (alert.incident_id, muted_until) {
            (Some(incident), Some(until)) => {
                let last = self
                    .working
                    .incident(incident)
                    .is_some_and(|incident| incident.open.total() == 1 && incident.is_told());
                (last && state.hold(incident)).then_some(until)
            }
            _ => None,
        };
        let told = !alert.standing.told.is_empty();
        let alert_held = told && muted_until.is_some() && state.hold_alert(alert.id);
        if began {
            state.noticed = self.notice_on_resolve(alert);
            self.tell_flapping(alert.id, now);
        }
        self.remember(&key, alert, state, now);
        HeldBack { incident: held, alert: alert_held }
    }

    /// Keeps a key's state, and moves the resolves that wait for it.
    fn remember(&mut self, key: &SourceKey, alert: &Alert, mut state: KeyState, now: Timestamp) {
        let flapping = self.policy(alert.service_id).map(|policy| &policy.flapping);
        let until = flapping.and_then(|flapping| state.muted_until(flapping));
        let held = std::mem::take(&mut state.held);
        let is_over = until.is_none_or(|until| until <= now);
        for id in held {
            let waiting = self.working.incident(id).is_some_and(|incident| {
                !incident.is_open() && incident.notices.held_until.is_some()
            });
            // The one that is just being resolved waits as well; it is not resolved yet.
            if !is_over && (waiting || alert.incident_id == Some(id)) {
                state.held.push(id);
            }
            if waiting {
                self.working.change_incident(id, |i| i.notices.held_until = until);
                self.judge_incident(id, now);
            }
        }
        if is_over {
            for id in std::mem::take(&mut state.held_alerts) {
                self.working.ask_for_alert(id);
                self.tell_of_alert(id, now);
            }
        }
        self.working.set_key_state(key, alert.service_id, state);
    }

    /// The first to hear that a key flaps when that begins with a resolve: who was told of it.
    fn notice_on_resolve(&mut self, alert: &Alert) -> bool {
        let Some(incident_id) = alert.incident_id else { return false };
        self.working
            .change_incident(incident_id, |incident| {
                let told = incident.notices.holdings.iter_mut();
                let told = told.filter(|holding| holding.state == HoldingState::Told);
                told.map(|holding| holding.pending.flapping = true).count() > 0
            })
            .unwrap_or_default()
    }

    /// Says once per flapping state, to all whom a notify rule of the open alert names, that its
    /// key flaps: even while that mutes everything else about it.
    pub(super) fn notice_flapping(&mut self, id: AlertId, now: Timestamp, began: bool) {
        let Some(alert) = self.working.alert(id).filter(|alert| alert.flapping).cloned() else {
            return;
        };
        let Some(incident_id) = alert.incident_id.filter(|_| !alert.is_suppressed()) else {
            return;
        };
        let key = key_of(&alert);
        let mut state = self.working.key_state(&key);
        if state.noticed || (state.flapping_since.is_none() && !began) {
            return;
        }
        let rules = self.policy(alert.service_id).map_or(&[][..], |policy| &policy.notify);
        let matching = |rule: &&crate::domain::notify_rule::NotifyRule| {
            alert.standing.matches.notify.contains(&rule.id)
        };
        let rules: Vec<_> = rules.iter().filter(matching).collect();
        if rules.is_empty() {
            return;
        }
        self.working.change_incident(incident_id, |incident| {
            let holdings = &mut incident.notices.holdings;
            for (rule, receiver) in
                rules.iter().flat_map(|r| r.receivers.iter().map(move |n| (r, n)))
            {
                let loud = holdings.iter().find_map(|holding| holding.loud_under(rule.id));
                let at = holdings.iter().position(|holding| holding.receiver == *receiver);
                let at = at.unwrap_or_else(|| {
                    holdings.push(Holding::new(std::sync::Arc::clone(receiver)));
                    holdings.len() - 1
                });
                holdings[at].bring_in(rule.id, loud.unwrap_or(0), now);
                // What was told at this very moment told it already.
                holdings[at].pending.flapping = holdings[at].told_at != Some(now);
            }
        });
        state.noticed = true;
        self.working.set_key_state(&key, alert.service_id, state);
        self.judge_incident(incident_id, now);
    }

    /// Says so in the timeline, also in that of the incident that it is in.
    pub(super) fn tell_flapping(&mut self, id: AlertId, now: Timestamp) {
        let Some(alert) = self.working.alert(id) else { return };
        let (incident, service) = (alert.incident_id, alert.service_id);
        let Some(flapping) = self.policy(service).map(|policy| &policy.flapping) else { return };
        let (changes, within) = (flapping.max_changes, flapping.within);
        let reason = match flapping.mode {
            FlappingMode::Mute => format!("{changes} changes within {within}: it is mute"),
            FlappingMode::Mark | FlappingMode::Off => format!("{changes} changes within {within}"),
        };
        let kind = TimelineKind::Flapping;
        self.working.tell(self.ids, now, Some(id), incident, kind, "timer", reason);
    }

    fn explain_flapping(state: &KeyState, flapping: &Flapping, trace: &mut Trace) {
        let changes = state.changes.len().to_string();
        let (within, leaves) = (flapping.within.to_string(), state.leaves_at(flapping));
        let leaves = leaves.map(|at| at.to_string()).unwrap_or_default();
        let muted = state.muted_until(flapping).map(|at| at.to_string());
        let decision = if muted.is_some() { "muted" } else { "flapping" };
        let mut more = vec![
            ("changes", changes.as_str()),
            ("within", within.as_str()),
            ("steady_at", leaves.as_str()),
        ];
        more.extend(muted.as_deref().map(|until| ("until", until)));
        trace.decided(Stage::Flapping, decision, "its key was resolved and came back often", &more);
    }

    /// What a resolve means for a key that flaps.
    pub(super) fn trace_flapping(&mut self, alert: &Alert, trace: &mut Trace) {
        let Some((flapping, _)) = self.watched(alert) else { return };
        let state = self.working.key_state(&key_of(alert));
        if state.flapping_since.is_some() {
            Self::explain_flapping(&state, flapping, trace);
        }
    }

    /// The time of a key has come: it flaps no more, or its settings were changed.
    pub(super) fn settle_key(&mut self, key: &SourceKey, now: Timestamp) -> bool {
        let state = self.working.key_state(key);
        let open = self.working.open_alert(key.0, &key.1).cloned();
        let newest = open.clone().or_else(|| self.working.newest_alert(key.0, &key.1).cloned());
        let Some(newest) = newest else {
            // Its alerts are gone: nobody can be told anything of it.
            let service = self.directory.integration(key.0).map(|i| i.service_id);
            if let Some(service) = service {
                self.working.set_key_state(key, service, KeyState::default());
            }
            return false;
        };
        let flapping = self.policy(newest.service_id).map_or(&Flapping::OFF, |p| &p.flapping);
        let Some(leaves) = state.leaves_at(flapping) else {
            self.working.set_key_state(key, newest.service_id, state);
            return false;
        };
        if leaves > now {
            let held: Vec<IncidentId> = state.held.clone();
            self.remember(key, &newest, state.clone(), now);
            return !held.is_empty();
        }
        let mut left = state;
        left.leave();
        self.remember(key, &newest, left, now);
        if let Some(alert) = open {
            let reason = "its key is steady again";
            let (id, incident) = (Some(alert.id), alert.incident_id);
            let kind = TimelineKind::Flapping;
            self.working.tell(self.ids, now, id, incident, kind, "timer", reason);
            let was_mute = alert.standing.quiet.muted_until.is_some();
            self.working.change_alert(alert.id, |alert| {
                alert.flapping = false;
                let muted = &mut alert.standing.quiet.muted_until;
                *muted = muted.map(|until| until.min(now));
            });
            if was_mute {
                self.judge_alert(alert.id, now, "timer");
            }
        }
        true
    }

    /// The service of an open alert treats flapping otherwise than when it was judged.
    pub(super) fn flapping_settings_changed(&mut self, id: AlertId, now: Timestamp) {
        let Some(alert) = self.working.alert(id).filter(|alert| alert.flapping).cloned() else {
            return;
        };
        let Some(policy) = self.policy(alert.service_id) else { return };
        let key = key_of(&alert);
        let state = self.working.key_state(&key);
        if state.leaves_at(&policy.flapping).is_none_or(|at| at <= now) {
            self.settle_key(&key, now);
        } else {
            let muted = state.muted_until(&policy.flapping);
            self.working.change_alert(id, |alert| alert.standing.quiet.muted_until = muted);
        }
    }
}
