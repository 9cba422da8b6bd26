//! What becomes of a delivery after a try: pure.

use serde_json::Value;

use crate::{
    domain::{
        notify::Reason,
        time::{Span, Timestamp},
    },
    notify::{Failure, Outcome, Sent},
    store::outbox::{AttemptRow, Knows, Leased, Next, Recorded},
};

/// After the first failure; doubles with each further one.
const BACKOFF_MIN: Span = Span::from_secs(5);
const BACKOFF_MAX: Span = Span::from_secs(15 * 60);
/// A failed try this long after the first one is the last.
const GIVE_UP_AFTER: Span = Span::from_secs(48 * 3600);

/// What is known of a try besides what the notifier says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tried<'a> {
    pub(super) leased: &'a Leased,
    /// What was composed for it, or kept from an earlier try.
    pub(super) payload: Option<&'a Value>,
    pub(super) started_at: Timestamp,
    pub(super) now: Timestamp,
    /// Evenly from 0 to 999, so that many that failed together do not come back together.
    pub(super) jitter: u32,
}

/// What is to be recorded of it.
pub(super) fn record(tried: &Tried<'_>, sent: Sent) -> Recorded {
    let Tried { leased, now, .. } = *tried;
    let first_attempt_at = leased.first_attempt_at.unwrap_or(tried.started_at);
    let is_test = leased.reason == Reason::Test;
    let mut error = sent.error;
    let (next, failure) = match sent.outcome {
        Outcome::Delivered => (Next::Delivered, None),
        Outcome::Continue { after } => {
            let at = now.plus(after);
            (Next::Again { at, not_before: Some(at) }, None)
        }
        // Whoever tests waits for the answer, and that is what it is.
        Outcome::Retry { failure, .. } if is_test => (Next::Dead, Some(failure)),
        Outcome::Retry { failure, .. } if now.since(first_attempt_at) >= GIVE_UP_AFTER => {
            let what = error.take().unwrap_or_default();
            error = Some(format!("{what}; given up {GIVE_UP_AFTER} after the first try"));
            (Next::Dead, Some(failure))
        }
        Outcome::Retry { failure, after } => {
            let wait = match after {
                // Upwards only: nothing comes sooner than it was asked for. Who asks for less than
                // our shortest wait, or for none, has said nothing of when it will go well.
                Some(asked) => {
                    let least = if asked < BACKOFF_MIN { doubled(leased.failures) } else { asked };
                    least.plus(spread(least, 0, tried.jitter))
                }
                None => backoff(leased.failures, tried.jitter),
            };
            let at = now.plus(wait);
            (Next::Again { at, not_before: after.map(|_| at) }, Some(failure))
        }
        Outcome::Dead { failure } => (Next::Dead, Some(failure)),
    };
    let may_have_arrived = failure.is_some_and(Failure::may_have_arrived);
    // Of several steps, one that is done may be all that is ever done.
    let is_begun = may_have_arrived || matches!(sent.outcome, Outcome::Continue { .. });
    let knows = match (sent.outcome, leased.reason, leased.knows) {
        (Outcome::Delivered, Reason::Resolved, _) => Knows::No,
        (Outcome::Delivered, _, _) => Knows::Yes,
        (_, reason, Knows::No) if is_begun && reason != Reason::Resolved => Knows::Maybe,
        (_, _, knows) => knows,
    };
    let attempt = AttemptRow {
        at: tried.started_at,
        duration_ms: now.since(tried.started_at).as_millis(),
        status: sent.status,
        error,
        request: sent.request,
        answer: sent.answer,
    };
    Recorded {
        delivery: leased.id,
        lane: leased.lane,
        receiver: leased.receiver,
        incident: leased.incident,
        attempt: Some(attempt),
        attempts: leased.attempts.saturating_add(1),
        failures: leased.failures.saturating_add(u32::from(failure.is_some())),
        first_attempt_at: Some(first_attempt_at),
        next,
        payload: tried.payload.filter(|_| may_have_arrived).cloned(),
        knows,
        remote: sent.remote,
    }
}

/// How long to wait after the failures before this one: 5 s, doubling to 15 min, a fifth more or
/// less.
fn backoff(failures: u32, jitter: u32) -> Span {
    let base = doubled(failures);
    Span::of_millis(base.as_millis() * 4 / 5).plus(spread(base, 2, jitter))
}

fn doubled(failures: u32) -> Span {
    let doubled = BACKOFF_MIN.as_millis().saturating_mul(1 << failures.min(20));
    Span::of_millis(doubled.min(BACKOFF_MAX.as_millis()))
}

/// Up to a fifth of a span, or up to `fifths` of them.
fn spread(span: Span, fifths: i64, jitter: u32) -> Span {
    Span::of_millis(span.as_millis() / 5 * fifths.max(1) * i64::from(jitter.min(999)) / 999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_to_a_quarter_of_an_hour_a_fifth_more_or_less() {
        let waits = |jitter| -> Vec<i64> {
            (0..10).map(|failures| backoff(failures, jitter).as_millis() / 1000).collect()
        };

        assert_eq!(waits(0), [4, 8, 16, 32, 64, 128, 256, 512, 720, 720]);
        assert_eq!(waits(999), [6, 12, 24, 48, 96, 192, 384, 768, 1080, 1080]);
    }

    #[test]
    fn what_the_receiver_asks_for_is_never_cut_short() {
        let asked = Span::from_secs(100);

        assert_eq!(spread(asked, 0, 0), Span::ZERO);
        assert_eq!(spread(asked, 0, 999), Span::from_secs(20));
    }
}
