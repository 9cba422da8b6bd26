//! Stored events through a policy, today's or a candidate: what would have come of them.
//!
//! It is the same pure core on a store of maps, from a cold start; what comes before the time that
//! counts only warms it up.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    changes::{Changes, HourlyCount, Input, NewNotification, Outcome, Tally},
    id::{Ids, Sequences, ServiceId},
    memory::Memory,
    pipeline,
    routing::Directory,
    time::Timestamp,
};

/// What a run over stored events came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub events: u64,
    pub alerts: u64,
    pub incidents: u64,
    pub notifications: u64,
}

impl Totals {
    fn add(&mut self, count: &HourlyCount) {
        self.events += u64::from(count.events);
        self.alerts += u64::from(count.alerts);
        self.incidents += u64::from(count.incidents);
        self.notifications += u64::from(count.notifications);
    }

    pub fn noise_reduction_pct(&self) -> Option<f64> {
        noise_reduction_pct(self.events, self.incidents)
    }
}

/// `100 · (1 − incidents / events)`, rounded to two places; `None` without events. Replays and
/// statistics both show it, and must not differ.
pub fn noise_reduction_pct(events: u64, incidents: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    let hundredths = 10_000.0 * (1.0 - incidents as f64 / events as f64);
    (events > 0).then(|| hundredths.round() / 100.0)
}

/// A run of events through a policy, that keeps nothing but its own state.
#[derive(Debug)]
pub struct Replay {
    directory: Arc<Directory>,
    memory: Memory,
    ids: Ids,
    /// From this time on things count; what is before it only warms up.
    counted_from: Timestamp,
    totals: BTreeMap<ServiceId, Totals>,
    reasons: BTreeMap<&'static str, u64>,
    tally: Tally,
}

impl Replay {
    /// A cold start under `directory`.
    pub fn new(directory: Arc<Directory>, counted_from: Timestamp) -> Self {
        let sequences = Sequences::default();
        Self {
            directory,
            memory: Memory::default(),
            ids: Ids::new(sequences, [0; 32]),
            counted_from,
            totals: BTreeMap::new(),
            reasons: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Takes the next inputs, oldest first.
    pub fn run(&mut self, inputs: &[Input]) -> Vec<Outcome> {
        let (memory, ids) = (&self.memory, &mut self.ids);
        let (changes, outcomes) =
            pipeline::run(inputs, &self.directory, ids, |keys| memory.load(keys));
        self.memory.save(&changes);
        if changes.now >= self.counted_from {
            self.count(&changes);
        }
        outcomes
    }

    /// Lets everything take effect that is due by `now`.
    pub fn settle(&mut self, now: Timestamp) {
        let mut fired = true;
        while fired && self.memory.is_due(now) {
            let outcomes = self.run(&[Input::Tick(now)]);
            fired = outcomes.iter().any(|outcome| *outcome != Outcome::Settled(0));
        }
    }

    fn count(&mut self, changes: &Changes) {
        for count in &changes.counts {
            self.totals.entry(count.service_id).or_default().add(count);
        }
        for NewNotification { reason, .. } in &changes.notifications {
            *self.reasons.entry(reason.as_str()).or_default() += 1;
        }
        self.tally.add(&changes.tally);
    }

    /// How often alerts were suppressed, events dropped, and so on.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What it came to, by service.
    pub fn totals(&self) -> &BTreeMap<ServiceId, Totals> {
        &self.totals
    }

    /// How many notifications there were for each reason.
    pub fn reasons(&self) -> &BTreeMap<&'static str, u64> {
        &self.reasons
    }
}
