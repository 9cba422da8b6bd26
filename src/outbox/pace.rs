//! How fast a receiver may be told: a token bucket. Pure.

use crate::domain::time::Timestamp;

/// So many at once after a pause, and in no minute more than it may take.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// What may go at once.
    burst: i64,
    /// Between two, once the burst is used up.
    interval_ms: i64,
    /// When the next one may go if none had gone for a while before: the generic cell rate
    /// algorithm, which needs nothing but this.
    full_at: Timestamp,
}

/// What may go at once: a tenth of a minute's, at least one.
const BURST_PARTS: u32 = 10;
const MINUTE_MS: u32 = 60_000;

impl Pace {
    pub(super) fn new(per_minute: u32) -> Self {
        let per_minute = per_minute.max(1);
        let burst = (per_minute / BURST_PARTS).max(1);
        // Whoever counts a minute from the burst on counts what comes behind it too.
        let interval_ms = MINUTE_MS.div_ceil(per_minute - burst + 1);
        Self { burst: burst.into(), interval_ms: interval_ms.into(), full_at: Timestamp::default() }
    }

    /// How many may go at `now`.
    pub(super) fn room(&self, now: Timestamp) -> usize {
        let used = (self.full_at.since(now).as_millis() + self.interval_ms - 1) / self.interval_ms;
        usize::try_from(self.burst - used).unwrap_or(0)
    }

    /// When so many may go together: more than the burst after a longer pause, or they never could.
    pub(super) fn next(&self, requests: u32, now: Timestamp) -> Timestamp {
        let slack_ms = (self.burst - i64::from(requests)) * self.interval_ms;
        Timestamp::from_millis(self.full_at.as_millis() - slack_ms).max(now)
    }

    /// So many go at `now`.
    pub(super) fn go(&mut self, requests: u32, now: Timestamp) {
        let from_ms = self.full_at.max(now).as_millis();
        self.full_at = Timestamp::from_millis(from_ms + i64::from(requests) * self.interval_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: i64 = 1_000_000;

    /// When each request goes, if as many wait as `requests` says, over and over, for five minutes.
    fn times(per_minute: u32, requests: &[u32]) -> Vec<i64> {
        let mut pace = Pace::new(per_minute);
        let mut now = Timestamp::from_millis(START_MS);
        let mut times = Vec::new();
        for requests in requests.iter().cycle() {
            now = pace.next(*requests, now);
            if now.as_millis() >= START_MS + 5 * i64::from(MINUTE_MS) {
                break;
            }
            pace.go(*requests, now);
            times.extend((0..*requests).map(|_| now.as_millis()));
        }
        times
    }

    #[test]
    fn no_minute_takes_more_than_it_may_and_none_much_less() {
        for per_minute in [2, 6, 59, 120, 300, 1000] {
            for requests in [&[1][..], &[2], &[2, 1, 1, 1]] {
                let times = times(per_minute, requests);

                let most = usize::try_from(per_minute).unwrap();
                for (at, from) in times.iter().enumerate() {
                    let minute = *from..*from + i64::from(MINUTE_MS);
                    let within = times[at..].iter().take_while(|at| minute.contains(at)).count();
                    assert!(within <= most, "{within} of {per_minute} from {from}: {requests:?}");
                }
                // Two at once, where not even two are the burst, cost a pause.
                let fits = i64::from(requests[0]) <= Pace::new(per_minute).burst;
                let least = if fits { most * 5 * 9 / 10 } else { most * 5 / 2 };
                assert!(times.len() >= least, "{} of {per_minute}: {requests:?}", times.len());
            }
        }
    }

    #[test]
    fn a_tenth_of_a_minute_may_go_at_once() {
        let mut pace = Pace::new(120);
        let now = Timestamp::from_millis(START_MS);

        assert_eq!(pace.room(now), 12);
        pace.go(1, now);
        assert_eq!(pace.room(now), 11);
        pace.go(11, now);
        assert_eq!((pace.room(now), pace.room(pace.next(1, now))), (0, 1));
    }

    #[test]
    fn it_says_when_the_next_may_go() {
        let mut pace = Pace::new(6);
        let now = Timestamp::from_millis(START_MS);
        let after = |seconds: i64| Timestamp::from_millis(START_MS + seconds * 1000);
        assert_eq!(pace.next(2, now), now);
        pace.go(1, now);

        assert_eq!(pace.room(now), 0);
        assert_eq!((pace.next(1, now), pace.next(2, now)), (after(10), after(20)));
        assert_eq!(pace.room(after(10)), 1);
    }
}
