//! Silences: what nobody wants to hear of for a while.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Map, Value, json};

use super::{
    event::closed_enum,
    id::{ServiceId, SilenceId},
    index::MatchIndex,
    matcher::{Fields, Match},
    read::{FieldError, Place},
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

impl When {
    /// Reads the members `from`, `until` and `schedule` of an object. Either there is a schedule,
    /// or `until`; a missing `from` is `now`, or an error if there is none.
    pub fn from_members(
        object: &Map<String, Value>,
        now: Option<Timestamp>,
        path: &str,
        errors: &mut Vec<FieldError>,
    ) -> Option<Self> {
        let mut place = Place::new(path, errors);
        let given = |key: &str| object.get(key).filter(|value| !value.is_null());
        if let Some(schedule) = given("schedule") {
            for key in ["from", "until"].iter().filter(|key| given(key).is_some()) {
                place.member(key).wrong("cannot be together with schedule");
            }
            let read = |path: &str, e: &mut _| Schedule::from_json(schedule, path, e);
            return place.member("schedule").with(read).map(Self::Weekly);
        }
        let mut time = |key: &str| given(key).map(|value| place.member(key).time(value));
        let (from, until) = (time("from"), time("until"));
        if until.is_none() {
            place.member("until").wrong("is required unless there is a schedule");
        }
        let from = from.or_else(|| Some(Some(now?)));
        if from.is_none() {
            place.member("from").wrong("is required with until");
        }
        let (from, until) = (from??, until??);
        if until <= from {
            place.member("until").wrong("must be after from");
            return None;
        }
        Some(Self::Once { from, until })
    }

    /// Whether it will never be again.
    pub fn is_over(&self, now: Timestamp) -> bool {
        match self {
            Self::Once { until, .. } => *until <= now,
            Self::Weekly(_) => false,
        }
    }

    /// The members that it is read from.
    pub fn to_members(&self) -> Map<String, Value> {
        let members = match self {
            Self::Once { from, until } => vec![("from", json!(from)), ("until", json!(until))],
            Self::Weekly(schedule) => vec![("schedule", schedule.to_json())],
        };
        members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

impl Silence {
    /// Until when it is active, if it is active at `now`; [`Timestamp::MAX`] if it has no end.
    pub fn active_until(&self, now: Timestamp) -> Option<Timestamp> {
        if self.is_over(now) {
            return None;
        }
        let until = match &self.when {
            When::Once { from, until } => (*from <= now).then_some(*until),
            When::Weekly(schedule) => {
                schedule.is_on(now).then(|| schedule.next_change(now).unwrap_or(Timestamp::MAX))
            }
        };
        until.map(|until| self.expired_at.map_or(until, |expired| until.min(expired)))
    }

    /// First time after `after` at which it begins or ends.
    pub fn next_change(&self, after: Timestamp) -> Option<Timestamp> {
        if self.is_over(after) {
            return None;
        }
        let change = match &self.when {
            When::Once { from, until } => [*from, *until].into_iter().find(|at| *at > after),
            When::Weekly(schedule) => schedule.next_change(after),
        };
        change.into_iter().chain(self.expired_at).min()
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
        self.when.is_over(now) || self.expired_at.is_some_and(|at| at <= now)
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
    /// Numbers are places in `all`.
    of_any_service: MatchIndex,
    of_service: HashMap<ServiceId, MatchIndex>,
}

impl Silences {
    pub fn new(mut all: Vec<Arc<Silence>>) -> Self {
        all.sort_by_key(|silence| silence.id);
        let mut silences = Self::default();
        for (at, silence) in all.iter().enumerate() {
            if silence.expired_at.is_some() {
                continue;
            }
            let index = match silence.service_id {
                None => &mut silences.of_any_service,
                Some(id) => silences.of_service.entry(id).or_default(),
            };
            index.add(at, &silence.matches);
        }
        silences.all = all;
        silences
    }

    /// The silences that hold for something of `service`, but for those that were ended by hand.
    /// By their matchers only: whether they are active is the caller's question. Sorted.
    pub fn matching(&self, service: ServiceId, fields: &impl Fields) -> Vec<SilenceId> {
        let matches = |at: usize| &self.all[at].matches;
        let mut found = self.of_any_service.find(matches, fields);
        if let Some(index) = self.of_service.get(&service) {
            found.extend(index.find(matches, fields));
        }
        let mut found: Vec<SilenceId> = found.into_iter().map(|at| self.all[at].id).collect();
        found.sort_unstable();
        found
    }

    pub fn get(&self, id: SilenceId) -> Option<&Arc<Silence>> {
        self.all.binary_search_by_key(&id, |silence| silence.id).ok().map(|at| &self.all[at])
    }

    /// In the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Silence>> {
        self.all.iter()
    }
}

#[cfg(test)]
mod tests;
