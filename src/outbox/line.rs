//! One receiver's line: what is leased for it and waits, what is on its way, and what holds it.

use std::collections::VecDeque;

use super::{breaker::Breaker, receivers::Limits};
use crate::{
    domain::time::Timestamp,
    store::outbox::{Leased, Subject},
};

/// A delivery that is ours, and what it is about.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) leased: Leased,
    pub(super) subject: Option<Subject>,
    /// As its receiver counts them.
    pub(super) requests: u32,
}

/// The line of one receiver.
#[derive(Debug)]
pub(super) struct Line {
    /// By which metrics know it.
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) limits: Limits,
    pub(super) ready: VecDeque<Ready>,
    pub(super) on_the_way: usize,
    pub(super) breaker: Breaker,
    /// It wants fewer at a time: nothing goes before then.
    pub(super) paused_until: Option<Timestamp>,
}

/// Leased ahead, so that a slow commit leaves no gap: so many times what goes at once, and a few.
const AHEAD: usize = 4;
const AHEAD_MIN: usize = 8;

impl Line {
    pub(super) fn new(name: String, kind: &'static str, limits: Limits) -> Self {
        Self {
            name,
            kind,
            limits,
            ready: VecDeque::new(),
            on_the_way: 0,
            breaker: Breaker::default(),
            paused_until: None,
        }
    }

    /// How many more are to be leased for it, given what its pace leaves room for.
    pub(super) fn wants(&self, room: usize, now: Timestamp) -> usize {
        if self.is_paused(now) {
            return 0;
        }
        let held = self.ready.len() + self.on_the_way;
        if let Some(probes) = self.breaker.allows(now) {
            return probes.saturating_sub(held);
        }
        let ahead = self.limits.concurrency * AHEAD + AHEAD_MIN;
        // Half of it at a time: each time is a commit, which ingestion waits for.
        if held > ahead / 2 {
            return 0;
        }
        ahead.saturating_sub(held).min(room.saturating_sub(self.ready.len()))
    }

    /// How many may be on their way together.
    pub(super) fn at_once(&self) -> usize {
        self.breaker.at_once(self.limits.concurrency)
    }

    pub(super) fn is_paused(&self, now: Timestamp) -> bool {
        self.paused_until.is_some_and(|until| until > now)
    }

    /// How many requests the next one that is ready makes, if it may go as far as this receiver is
    /// concerned.
    pub(super) fn may_go(&self, now: Timestamp) -> Option<u32> {
        let may_go = !self.is_paused(now)
            && self.on_the_way < self.at_once()
            && self.breaker.allows(now).is_none_or(|probes| probes > self.on_the_way);
        self.ready.front().filter(|_| may_go).map(|ready| ready.requests)
    }
}
