//! Metrics of what is owed to receivers. The label `receiver` takes as many values as there are
//! receivers, a thousand at most; every receiver has its series from the start, so that the first
//! failure is seen as an increase.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
};

/// From a fast webhook to a try that is given up.
const SECONDS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0];

/// How deliveries end, and how tries do.
const ENDS: [&str; 2] = ["delivered", "dead"];
const TRIES: [&str; 4] = ["delivered", "step", "retry", "dead"];

/// The outbox's part of the metrics.
#[derive(Debug)]
pub struct OutboxMetrics {
    deliveries: IntCounterVec,
    attempts: IntCounterVec,
    duration: HistogramVec,
    pending: IntGaugeVec,
    oldest: GaugeVec,
    up: IntGaugeVec,
    /// The receivers that have series, by name and kind.
    known: Mutex<HashSet<(String, String)>>,
}

impl OutboxMetrics {
    /// Makes and registers them.
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            deliveries: IntCounterVec::new(
                Opts::new(
                    "dutygate_deliveries_total",
                    "Deliveries that came to an end: delivered, or dead",
                ),
                &["receiver", "kind", "outcome"],
            )?,
            attempts: IntCounterVec::new(
                Opts::new(
                    "dutygate_delivery_attempts_total",
                    "Tries to deliver: delivered, step (more is to be sent), retry, dead",
                ),
                &["receiver", "outcome"],
            )?,
            duration: HistogramVec::new(
                HistogramOpts::new("dutygate_delivery_duration_seconds", "How long a try took")
                    .buckets(SECONDS.to_vec()),
                &["receiver"],
            )?,
            pending: IntGaugeVec::new(
                Opts::new("dutygate_outbox_pending", "Deliveries that are not at an end"),
                &["receiver"],
            )?,
            oldest: GaugeVec::new(
                Opts::new(
                    "dutygate_outbox_oldest_age_seconds",
                    "How long ago the oldest delivery that is not at an end was to be told",
                ),
                &["receiver"],
            )?,
            up: IntGaugeVec::new(
                Opts::new("dutygate_receiver_up", "0 while a receiver cannot be reached"),
                &["receiver"],
            )?,
            known: Mutex::default(),
        };
        registry.register(Box::new(metrics.deliveries.clone()))?;
        registry.register(Box::new(metrics.attempts.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.pending.clone()))?;
        registry.register(Box::new(metrics.oldest.clone()))?;
        registry.register(Box::new(metrics.up.clone()))?;
        Ok(metrics)
    }

    /// These are the receivers, by name and kind: new ones get their series, those of others go.
    pub fn set_receivers<'r>(&self, receivers: impl Iterator<Item = (&'r str, &'r str)>) {
        let now: HashSet<(String, String)> =
            receivers.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, kind) in known.difference(&now) {
            for outcome in ENDS {
                self.deliveries.remove_label_values(&[name, kind, outcome]).ok();
            }
            for outcome in TRIES {
                self.attempts.remove_label_values(&[name, outcome]).ok();
            }
            self.duration.remove_label_values(&[name]).ok();
            self.up.remove_label_values(&[name]).ok();
        }
        for (name, kind) in now.difference(&known) {
            for outcome in ENDS {
                self.deliveries.with_label_values(&[name, kind, outcome]);
            }
            for outcome in TRIES {
                self.attempts.with_label_values(&[name, outcome]);
            }
            self.duration.with_label_values(&[name]);
            self.pending.with_label_values(&[name]);
            self.oldest.with_label_values(&[name]);
            self.receiver_up(name, true);
        }
        *known = now;
    }

    /// A try is over.
    pub fn attempted(&self, receiver: &str, outcome: &str, took: Duration) {
        self.attempts.with_label_values(&[receiver, outcome]).inc();
        self.duration.with_label_values(&[receiver]).observe(took.as_secs_f64());
    }

    /// A delivery is at its end.
    pub fn ended(&self, receiver: &str, kind: &str, outcome: &str) {
        self.deliveries.with_label_values(&[receiver, kind, outcome]).inc();
    }

    pub fn receiver_up(&self, receiver: &str, is_up: bool) {
        self.up.with_label_values(&[receiver]).set(i64::from(is_up));
    }

    /// What waits: for each receiver how many, and for how many seconds the oldest. Those that are
    /// not named have nothing that waits.
    pub fn set_backlog(&self, backlog: &[(&str, i64, f64)]) {
        self.pending.reset();
        self.oldest.reset();
        for (receiver, _) in &*self.known.lock().unwrap_or_else(PoisonError::into_inner) {
            self.pending.with_label_values(&[receiver]);
            self.oldest.with_label_values(&[receiver]);
        }
        for (receiver, pending, oldest) in backlog {
            self.pending.with_label_values(&[*receiver]).set(*pending);
            self.oldest.with_label_values(&[*receiver]).set(*oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder as _, TextEncoder};

    use super::*;

    fn series(registry: &Registry) -> Vec<String> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn a_receiver_has_its_series_from_the_start_until_it_is_gone() {
        let registry = Registry::new();
        let metrics = OutboxMetrics::new(&registry).unwrap();

        metrics.set_receivers([("pager", "pagerduty"), ("hook", "webhook")].into_iter());

        let of_hook = [
            "dutygate_deliveries_total{kind=\"webhook\",outcome=\"dead\",receiver=\"hook\"} 0",
            "dutygate_delivery_attempts_total{outcome=\"retry\",receiver=\"hook\"} 0",
            "dutygate_outbox_pending{receiver=\"hook\"} 0",
            "dutygate_receiver_up{receiver=\"hook\"} 1",
        ];
        for line in of_hook {
            assert!(series(&registry).contains(&line.to_owned()), "{line}");
        }

        metrics.receiver_up("hook", false);
        metrics.set_receivers([("hook", "webhook")].into_iter());
        metrics.set_backlog(&[]);

        let left = series(&registry);
        assert!(left.iter().all(|line| !line.contains("pager")), "{left:?}");
        assert!(left.contains(&"dutygate_receiver_up{receiver=\"hook\"} 0".to_owned()));
    }

    #[test]
    fn what_waits_is_set_for_every_receiver() {
        let registry = Registry::new();
        let metrics = OutboxMetrics::new(&registry).unwrap();
        metrics.set_receivers([("pager", "pagerduty"), ("hook", "webhook")].into_iter());
        metrics.set_backlog(&[("pager", 3, 12.5)]);

        metrics.set_backlog(&[("hook", 1, 0.25), ("deleted", 1, 7.0)]);

        let all = series(&registry);
        for line in [
            "dutygate_outbox_pending{receiver=\"pager\"} 0",
            "dutygate_outbox_oldest_age_seconds{receiver=\"pager\"} 0",
            "dutygate_outbox_pending{receiver=\"hook\"} 1",
            "dutygate_outbox_oldest_age_seconds{receiver=\"hook\"} 0.25",
            "dutygate_outbox_oldest_age_seconds{receiver=\"deleted\"} 7",
        ] {
            assert!(all.contains(&line.to_owned()), "{line}: {all:?}");
        }
    }
}
