//! Metrics of what is owed to receivers. The label `receiver` takes as many values as there are
//! receivers, a thousand at most.

use std::time::Duration;

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
};

/// From a fast webhook to a try that is given up.
const SECONDS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0];

/// The outbox's part of the metrics.
#[derive(Debug)]
pub struct OutboxMetrics {
    deliveries: IntCounterVec,
    attempts: IntCounterVec,
    duration: HistogramVec,
    pending: IntGaugeVec,
    oldest: GaugeVec,
    up: IntGaugeVec,
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
        };
        registry.register(Box::new(metrics.deliveries.clone()))?;
        registry.register(Box::new(metrics.attempts.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.pending.clone()))?;
        registry.register(Box::new(metrics.oldest.clone()))?;
        registry.register(Box::new(metrics.up.clone()))?;
        Ok(metrics)
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

    /// What waits: for each receiver how many, and for how many seconds the oldest.
    pub fn set_backlog(&self, backlog: &[(&str, i64, f64)]) {
        self.pending.reset();
        self.oldest.reset();
        for (receiver, pending, oldest) in backlog {
            self.pending.with_label_values(&[*receiver]).set(*pending);
            self.oldest.with_label_values(&[*receiver]).set(*oldest);
        }
    }
}
