//! Sources of inhibition: how they are counted, and whom their coming and going wakes.

use super::Batch;
use crate::domain::{
    alert::{Alert, Status},
    id::AlertId,
    loading::{InhibitionKey, Inhibitor},
    standing::Side,
    time::{Span, Timestamp},
};

/// Most sources that are known by name; more are only counted.
const NAMED_MAX: usize = 8;

/// What an inhibitor means for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    Off,
    /// As long as a source is open.
    Open,
    /// The last source is gone; until this time.
    Ending(Timestamp),
}

impl Inhibitor {
    /// Whether a target is inhibited at `now`, and until when once that is known. `is_source` says that the target is a source as well, which only plain sources inhibit.
    pub(super) fn holds(&self, is_source: bool, release_delay: Span, now: Timestamp) -> Hold {
        if self.plain > 0 || (!is_source && self.both > 0) {
            return Hold::Open;
        }
        let ended =
            if is_source { self.plain_ended } else { self.plain_ended.max(self.both_ended) };
        match ended.map(|ended| ended.plus(release_delay)) {
            Some(until) if until > now => Hold::Ending(until),
            Some(_) | None => Hold::Off,
        }
    }

    fn came(&mut self, side: &Side, id: AlertId) {
        let (count, named) = if side.target {
            (&mut self.both, &mut self.both_sources)
        } else {
            (&mut self.plain, &mut self.sources)
        };
        *count += 1;
        named.push(id);
        if named.len() > NAMED_MAX {
            named.remove(0);
        }
    }

    fn went(&mut self, side: &Side, id: AlertId, now: Timestamp) {
        let (count, ended) = if side.target {
            (&mut self.both, &mut self.both_ended)
        } else {
            (&mut self.plain, &mut self.plain_ended)
        };
        *count = count.saturating_sub(1);
        if *count == 0 {
            *ended = Some(now);
        }
        for named in [&mut self.sources, &mut self.both_sources] {
            named.retain(|source| *source != id);
        }
    }
}

impl Batch<'_> {
    /// Notes the part that a new alert has in inhibition rules.
    pub(super) fn enlist(&mut self, id: AlertId, now: Timestamp) {
        let Some(alert) = self.working.alert(id).cloned() else { return };
        if !alert.standing.matches.sides.is_empty() {
            self.working.set_sides(&alert, &[]);
            self.count_sources(id, now, "timer");
        }
    }

    /// Counts an alert as the source that it is now, under each rule.
    pub(super) fn count_sources(&mut self, id: AlertId, now: Timestamp, actor: &str) {
        let Some(alert) = self.working.alert(id).cloned() else { return };
        let counted = &alert.standing.counted;
        let is: Vec<Side> = self.source_sides(&alert);
        if *counted == is {
            return;
        }
        self.working.change_alert(id, |alert| alert.standing.counted.clone_from(&is));
        for side in counted.iter().filter(|side| !is.contains(side)) {
            self.recount(&alert, side, now, actor, |inhibitor| inhibitor.went(side, id, now));
        }
        for side in is.iter().filter(|side| !counted.contains(side)) {
            self.recount(&alert, side, now, actor, |inhibitor| inhibitor.came(side, id));
        }
    }

    fn source_sides(&self, alert: &Alert) -> Vec<Side> {
        let Some(policy) = self.policy(alert.service_id).filter(|_| alert.is_open()) else {
            return Vec::new();
        };
        let inhibits = |side: &&Side| {
            let rule = policy.inhibition.iter().find(|rule| rule.id == side.rule);
            side.source
                && rule.is_some_and(|rule| {
                    rule.acknowledged_sources || alert.status != Status::Acknowledged
                })
        };
        alert.standing.matches.sides.iter().filter(inhibits).copied().collect()
    }

    /// Changes the count of sources under a side's values, and has the targets judged anew if that
    /// begins or ends something for them.
    fn recount(
        &mut self,
        source: &Alert,
        side: &Side,
        now: Timestamp,
        actor: &str,
        change: impl FnOnce(&mut Inhibitor),
    ) {
        let key: InhibitionKey = (source.service_id, side.rule, side.hash);
        let before = self.working.inhibitor(key);
        let mut after = before.clone();
        change(&mut after);
        let on = |inhibitor: &Inhibitor| (inhibitor.plain > 0, inhibitor.both > 0);
        let changed = on(&before) != on(&after);
        self.working.set_inhibitor(key, after);
        if changed {
            let (targets, more) = self.working.targets(key);
            if more {
                self.working.changes.woken.push((key, now));
            }
            for target in targets.into_iter().filter(|target| *target != source.id) {
                self.judge_alert(target, now, actor);
            }
        }
    }
}
