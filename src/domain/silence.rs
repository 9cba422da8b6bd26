//! Silences: what nobody wants to hear of for a while.

use std::sync::Arc;

use super::{
    event::closed_enum,
    id::{ServiceId, SilenceId},
    matcher::{Fields, Match},
    schedule::Schedule,
    time::Timestamp,
};

/// Alerts that match are kept and shown, and nobody is told of them.
#[derive(Clone, Debug)]
pub struct Silence {
    pub id: SilenceId,
    /// A policy file names its silences, a person need not.
    pub name: Option<String>,
    pub matches: Match,
    /// `None`: of any service.
    pub service_id: Option<ServiceId>,
    pub when: When,
    pub comment: String,
    pub created_by: String,
    pub created_at: Timestamp,
    /// When it was ended or deleted by hand.
    pub expired_at: Option<Timestamp>,
    /// Made by a policy file.
    pub managed: bool,
    pub version: i64,
}

/// When a silence is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// From the first up to, and without, the second.
    Once {
        from: Timestamp,
        until: Timestamp,
    },
    Weekly(Schedule),
}

closed_enum! {
    /// Where a silence stands. A weekly one that is not on now is pending.
    SilenceState { Pending = "pending", Active = "active", Expired = "expired" }
}

impl Silence {
    /// Until when it is active, if it is active at `now`; [`Timestamp::MAX`] if it has no end.
    pub fn active_until(&self, now: Timestamp) -> Option<Timestamp> {
        if self.is_over(now) {
            return None;
        }
        match &self.when {
            When::Once { from, until } => (*from <= now).then_some(*until),
            When::Weekly(schedule) => {
                schedule.is_on(now).then(|| schedule.next_change(now).unwrap_or(Timestamp::MAX))
            }
        }
    }

    /// First time after `after` at which it begins or ends.
    pub fn next_change(&self, after: Timestamp) -> Option<Timestamp> {
        if self.is_over(after) {
            return None;
        }
        match &self.when {
            When::Once { from, until } => [*from, *until].into_iter().find(|at| *at > after),
            When::Weekly(schedule) => schedule.next_change(after),
        }
    }

    pub fn state(&self, now: Timestamp) -> SilenceState {
        if self.is_over(now) {
            SilenceState::Expired
        } else if self.active_until(now).is_some() {
            SilenceState::Active
        } else {
            SilenceState::Pending
        }
    }

    /// Whether it will never be active again.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let past = match &self.when {
            When::Once { until, .. } => *until <= now,
            When::Weekly(_) => false,
        };
        past || self.expired_at.is_some_and(|at| at <= now)
    }

    /// Whether there is nothing that it would not match, decided by its matchers alone.
    pub fn accepts_everything(&self) -> bool {
        self.matches.accepts_everything()
    }
}

/// All silences, compiled so that an event is matched against few of them.
#[derive(Clone, Debug, Default)]
pub struct Silences {
    /// Sorted by id.
    all: Vec<Arc<Silence>>,
}

impl Silences {
    pub fn new(mut all: Vec<Arc<Silence>>) -> Self {
        all.sort_by_key(|silence| silence.id);
        Self { all }
    }

    /// The silences that would hold for something of `service`, by their matchers only: whether
    /// they are active is the caller's question. Sorted.
    pub fn matching(&self, service: ServiceId, fields: &impl Fields) -> Vec<SilenceId> {
        let of_service = |s: &&Arc<Silence>| s.service_id.is_none_or(|id| id == service);
        let found = self.all.iter().filter(of_service).filter(|s| s.matches.holds(fields));
        found.map(|silence| silence.id).collect()
    }

    pub fn get(&self, id: SilenceId) -> Option<&Arc<Silence>> {
        self.all.binary_search_by_key(&id, |silence| silence.id).ok().map(|at| &self.all[at])
    }

    /// In the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Silence>> {
        self.all.iter()
    }
}
