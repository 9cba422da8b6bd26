//! Whether a receiver is down: pure.

use crate::domain::time::{Span, Timestamp};

/// So many failures in a row, of at least two lanes: one incident that a receiver chokes on does
/// not hold the others up.
const FAILURES_MIN: usize = 5;
const LANES_MIN: usize = 2;
const PROBE_EVERY: Span = Span::from_secs(10);

/// The breaker of one receiver.
#[derive(Clone, Debug, Default)]
pub(super) struct Breaker {
    /// Lanes of the failures since the last answer.
    failed: Vec<i64>,
    failures: usize,
    first_failure: Option<Timestamp>,
    /// It is open: when it may be tried next, and that a try is on its way.
    open: Option<Probe>,
    /// It was down until lately: how many may go at once, until that is as many as ever.
    slow: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    at: Timestamp,
    is_running: bool,
}

impl Breaker {
    /// Since when the receiver is down, if it is.
    pub(super) fn down_since(&self) -> Option<Timestamp> {
        self.first_failure.filter(|_| self.open.is_some())
    }

    /// How many may be tried at `now`: any number, or one that finds out, or none.
    pub(super) fn allows(&self, now: Timestamp) -> Option<usize> {
        self.open.map(|probe| usize::from(!probe.is_running && probe.at <= now))
    }

    /// When it may be tried next.
    pub(super) fn next_probe(&self) -> Option<Timestamp> {
        self.open.filter(|probe| !probe.is_running).map(|probe| probe.at)
    }

    /// It is tried now, whatever was decided.
    pub(super) fn try_now(&mut self, now: Timestamp) {
        if let Some(probe) = &mut self.open {
            probe.at = probe.at.min(now);
        }
    }

    /// There was nothing to try it with.
    pub(super) fn found_nothing(&mut self, now: Timestamp) {
        if let Some(probe) = self.open.as_mut().filter(|probe| !probe.is_running) {
            probe.at = probe.at.max(now.plus(PROBE_EVERY));
        }
    }

    /// Something is being sent.
    pub(super) fn sends(&mut self) {
        if let Some(probe) = &mut self.open {
            probe.is_running = true;
        }
    }

    /// How many may go at once, of the `most` that its settings allow. Who has just come back gets a
    /// backlog no faster than it answers.
    pub(super) fn at_once(&self, most: usize) -> usize {
        self.slow.map_or(most, |slow| slow.min(most))
    }

    /// It answered, whatever it said; says whether it was down until now. `most`: as above.
    pub(super) fn answered(&mut self, most: usize) -> bool {
        let was_open = self.open.is_some();
        let slow = if was_open { Some(1) } else { self.slow.map(|slow| slow + 1) };
        *self = Self { slow: slow.filter(|slow| *slow < most), ..Self::default() };
        was_open
    }

    /// It did not answer, or is in trouble; says whether it counts as down from now on.
    pub(super) fn failed(&mut self, lane: i64, now: Timestamp) -> bool {
        self.first_failure.get_or_insert(now);
        self.failures += 1;
        self.slow = self.slow.map(|_| 1);
        if !self.failed.contains(&lane) && self.failed.len() < LANES_MIN {
            self.failed.push(lane);
        }
        let was_open = self.open.is_some();
        if was_open || (self.failures >= FAILURES_MIN && self.failed.len() >= LANES_MIN) {
            self.open = Some(Probe { at: now.plus(PROBE_EVERY), is_running: false });
        }
        !was_open && self.open.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn it_opens_after_five_failures_of_at_least_two_lanes() {
        let mut one_lane = Breaker::default();
        let mut two_lanes = Breaker::default();

        for i in 0..20 {
            assert!(!one_lane.failed(1, at(i)));
        }
        let opened: Vec<bool> = (0..6).map(|i| two_lanes.failed(i % 2, at(i))).collect();

        assert_eq!(one_lane.allows(at(20)), None);
        assert_eq!(opened, [false, false, false, false, true, false]);
        assert_eq!(two_lanes.down_since(), Some(at(0)));
    }

    #[test]
    fn while_it_is_open_one_at_a_time_finds_out() {
        let mut breaker = Breaker::default();
        for i in 0..5 {
            breaker.failed(i, at(0));
        }

        assert_eq!(breaker.allows(at(9)), Some(0));
        assert_eq!(breaker.allows(at(10)), Some(1));
        breaker.sends();
        assert_eq!(breaker.allows(at(11)), Some(0));
        breaker.failed(7, at(12));
        assert_eq!(breaker.allows(at(21)), Some(0));
        assert_eq!(breaker.allows(at(22)), Some(1));

        breaker.sends();
        assert!(breaker.answered(4));
        assert_eq!((breaker.allows(at(22)), breaker.down_since()), (None, None));
    }

    #[test]
    fn who_has_come_back_gets_one_more_at_a_time_with_each_answer() {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.at_once(4), 4);
        for i in 0..5 {
            breaker.failed(i, at(0));
        }

        breaker.answered(4);
        let mut most = vec![breaker.at_once(4)];
        for _ in 0..2 {
            breaker.answered(4);
            most.push(breaker.at_once(4));
        }
        assert_eq!(most, [1, 2, 3]);
        breaker.failed(1, at(1));
        assert_eq!(breaker.at_once(4), 1);
        for _ in 0..3 {
            breaker.answered(4);
        }
        assert_eq!(breaker.at_once(4), 4);
        breaker.failed(1, at(2));
        assert_eq!(breaker.at_once(4), 4, "that is over");
    }
}
