//! How fast a receiver may be told: a token bucket. Pure.

use crate::domain::time::{Span, Timestamp};

/// So many at once after a pause, and then so many a minute.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    per_minute: u32,
    /// When the next one may go if none had gone for a while before: the generic cell rate
    /// algorithm, which needs nothing but this.
    full_at: Timestamp,
}

/// What may go at once: a tenth of a minute's, at least one.
const BURST_PARTS: u32 = 10;

impl Pace {
    pub(super) fn new(per_minute: u32) -> Self {
        Self { per_minute: per_minute.max(1), full_at: Timestamp::default() }
    }

    fn interval_ms(&self) -> i64 {
        (60_000 / i64::from(self.per_minute)).max(1)
    }

    fn burst(&self) -> i64 {
        i64::from((self.per_minute / BURST_PARTS).max(1))
    }

    /// How many may go at `now`.
    pub(super) fn room(&self, now: Timestamp) -> usize {
        let interval = self.interval_ms();
        let used = (self.full_at.since(now).as_millis() + interval - 1) / interval;
        usize::try_from(self.burst() - used).unwrap_or(0)
    }

    /// When the next one may go.
    pub(super) fn next(&self, now: Timestamp) -> Timestamp {
        let slack = Span::of_millis((self.burst() - 1) * self.interval_ms());
        self.full_at.minus(slack).max(now)
    }

    /// One goes at `now`.
    pub(super) fn goes(&mut self, now: Timestamp) {
        let interval = Span::of_millis(self.interval_ms());
        self.full_at = self.full_at.max(now).plus(interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_takes_as_many_as_it_may() {
        let mut pace = Pace::new(120);
        let mut gone = 0;

        // The burst first, and then one each half second.
        for millis in 0..60_000 {
            let now = Timestamp::from_millis(1_000_000 + millis);
            if pace.room(now) > 0 {
                pace.goes(now);
                gone += 1;
            }
            if millis == 0 {
                assert_eq!(pace.room(now), 11);
            }
        }

        assert_eq!(gone, 12 + 119);
    }

    #[test]
    fn it_says_when_the_next_may_go() {
        let mut pace = Pace::new(6);
        let now = Timestamp::from_millis(1_000_000);
        pace.goes(now);

        assert_eq!(pace.room(now), 0);
        assert_eq!(pace.next(now), now.plus(Span::from_secs(10)));
        assert_eq!(pace.room(pace.next(now)), 1);
    }
}
