//! Metrics, on a registry of their own, named and counted as `docs/METRICS.md` says.
//!
//! Labels come from closed sets or from names that the team gave; a series goes when its owner
//! does. Everything is counted per batch or per request, after the fact.

use std::{sync::Mutex, time::Duration};

use super::outbox::OutboxMetrics;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Every metric of the gateway.
#[derive(Debug)]
pub struct Metrics {
    /// Of what is owed to receivers.
    pub outbox: OutboxMetrics,
    registry: Registry,
    events_received: IntCounterVec,
    events_rejected: IntCounterVec,
    commit_duration: Histogram,
    batch_duration: Histogram,
    batch_size: Histogram,
    queue_depth: IntGauge,
    queue_refused: IntCounter,
    inputs_refused: IntCounter,
    alerts_open: IntGaugeVec,
    incidents_open: IntGaugeVec,
    alerts_suppressed: IntCounterVec,
    flapping_alerts: IntGauge,
    storms: IntCounter,
    incidents_unheard: IntCounter,
    notifications_decided: IntCounterVec,
    noise_reduction: GaugeVec,
    /// Events and incidents of each service since the start, behind the ratio.
    noise: Mutex<std::collections::HashMap<String, (u64, u64)>>,
    database_size: IntGauge,
    database_writable: IntGauge,
    http_requests: IntCounterVec,
    http_duration: HistogramVec,
    start_time: Gauge,
}

/// From a quarter of a millisecond to ten seconds.
const LATENCIES: [f64; 15] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0,
];

impl Metrics {
    /// Registers all metrics; fails only if two had the same name.
    pub fn new(version: &str, started_at_seconds: f64) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Self {
            outbox: OutboxMetrics::new(&registry)?,
            events_received: IntCounterVec::new(
                Opts::new(
                    "dutygate_events_received_total",
                    "Events that were accepted and stored, by integration, API, action and result",
                ),
                &["integration", "api", "action", "result"],
            )?,
            events_rejected: IntCounterVec::new(
                Opts::new(
                    "dutygate_events_rejected_total",
                    "Requests of emitters that were not accepted, by API and reason",
                ),
                &["api", "reason"],
            )?,
            commit_duration: Histogram::with_opts(
                HistogramOpts::new(
                    "dutygate_event_commit_duration_seconds",
                    "Time from an event's receipt until it is on disk",
                )
                .buckets(LATENCIES.to_vec()),
            )?,
            batch_duration: Histogram::with_opts(
                HistogramOpts::new(
                    "dutygate_ingest_batch_duration_seconds",
                    "Time to decide and commit one batch",
                )
                .buckets(LATENCIES.to_vec()),
            )?,
            batch_size: Histogram::with_opts(
                HistogramOpts::new("dutygate_ingest_batch_size", "Inputs committed together")
                    .buckets(prometheus::exponential_buckets(1.0, 2.0, 11)?),
            )?,
            queue_depth: IntGauge::new(
                "dutygate_ingest_queue_depth",
                "Commands that wait for the committer",
            )?,
            queue_refused: IntCounter::new(
                "dutygate_ingest_queue_refused_total",
                "Commands turned away because the queue, or the memory for bodies, was full",
            )?,
            inputs_refused: IntCounter::new(
                "dutygate_ingest_inputs_refused_total",
                "Inputs that the database refused although they stood alone",
            )?,
            alerts_open: IntGaugeVec::new(
                Opts::new("dutygate_alerts_open", "Open alerts by service and severity"),
                &["service", "severity"],
            )?,
            incidents_open: IntGaugeVec::new(
                Opts::new("dutygate_incidents_open", "Open incidents by service and status"),
                &["service", "status"],
            )?,
            alerts_suppressed: IntCounterVec::new(
                Opts::new(
                    "dutygate_alerts_suppressed_total",
                    "How often something began to keep an alert quiet, or dropped it, by reason",
                ),
                &["reason"],
            )?,
            flapping_alerts: IntGauge::new(
                "dutygate_flapping_alerts",
                "Open alerts whose key flaps",
            )?,
            storms: IntCounter::new(
                "dutygate_storms_total",
                "How often an incident reached a storm threshold",
            )?,
            incidents_unheard: IntCounter::new(
                "dutygate_incidents_unheard_total",
                "Incidents that were opened and of which no notify rule tells anybody",
            )?,
            notifications_decided: IntCounterVec::new(
                Opts::new(
                    "dutygate_notifications_decided_total",
                    "Notifications that were decided, by reason",
                ),
                &["reason"],
            )?,
            noise_reduction: GaugeVec::new(
                Opts::new(
                    "dutygate_noise_reduction_ratio",
                    "1 - incidents / events of a service since the start of the process",
                ),
                &["service"],
            )?,
            noise: Mutex::default(),
            database_size: IntGauge::new(
                "dutygate_database_size_bytes",
                "Size of the database on disk, its log included",
            )?,
            database_writable: IntGauge::new(
                "dutygate_database_writable",
                "1 if the last write to the database went well, else 0",
            )?,
            http_requests: IntCounterVec::new(
                Opts::new(
                    "dutygate_http_requests_total",
                    "HTTP requests by method, route and status",
                ),
                &["method", "route", "status"],
            )?,
            http_duration: HistogramVec::new(
                HistogramOpts::new(
                    "dutygate_http_request_duration_seconds",
                    "Time to answer an HTTP request, by method and route",
                )
                .buckets(LATENCIES.to_vec()),
                &["method", "route"],
            )?,
            start_time: Gauge::new(
                "dutygate_start_time_seconds",
                "When the gateway was started, in seconds since the epoch",
            )?,
            registry,
        };
        metrics.register(version)?;
        metrics.start_time.set(started_at_seconds);
        metrics.database_writable.set(1);
        Ok(metrics)
    }

    fn register(&self, version: &str) -> Result<(), prometheus::Error> {
        let build_info = IntGaugeVec::new(
            Opts::new("dutygate_build_info", "1, with the version of the gateway"),
            &["version"],
        )?;
        build_info.with_label_values(&[version]).set(1);
        let r = &self.registry;
        r.register(Box::new(build_info))?;
        r.register(Box::new(self.events_received.clone()))?;
        r.register(Box::new(self.events_rejected.clone()))?;
        r.register(Box::new(self.commit_duration.clone()))?;
        r.register(Box::new(self.batch_duration.clone()))?;
        r.register(Box::new(self.batch_size.clone()))?;
        r.register(Box::new(self.queue_depth.clone()))?;
        r.register(Box::new(self.queue_refused.clone()))?;
        r.register(Box::new(self.inputs_refused.clone()))?;
        r.register(Box::new(self.alerts_open.clone()))?;
        r.register(Box::new(self.incidents_open.clone()))?;
        r.register(Box::new(self.alerts_suppressed.clone()))?;
        r.register(Box::new(self.flapping_alerts.clone()))?;
        r.register(Box::new(self.storms.clone()))?;
        r.register(Box::new(self.incidents_unheard.clone()))?;
        r.register(Box::new(self.notifications_decided.clone()))?;
        r.register(Box::new(self.noise_reduction.clone()))?;
        r.register(Box::new(self.database_size.clone()))?;
        r.register(Box::new(self.database_writable.clone()))?;
        r.register(Box::new(self.http_requests.clone()))?;
        r.register(Box::new(self.http_duration.clone()))?;
        r.register(Box::new(self.start_time.clone()))?;
        let process = prometheus::process_collector::ProcessCollector::for_self();
        r.register(Box::new(process))
    }

    /// An accepted event, `result` its disposition, and how long it took to be on disk.
    pub fn event_received(
        &self,
        integration: &str,
        api: &str,
        action: &str,
        result: &str,
        took: Duration,
    ) {
        self.events_received.with_label_values(&[integration, api, action, result]).inc();
        self.commit_duration.observe(took.as_secs_f64());
    }

    /// A request of an emitter that was not accepted.
    pub fn event_rejected(&self, api: &str, reason: &str) {
        self.events_rejected.with_label_values(&[api, reason]).inc();
    }

    pub fn batch(&self, inputs: usize) {
        self.batch_size.observe(f64::from(u32::try_from(inputs).unwrap_or(u32::MAX)));
    }

    pub fn batch_took(&self, took: Duration) {
        self.batch_duration.observe(took.as_secs_f64());
    }

    pub fn queue_depth(&self, commands: usize) {
        self.queue_depth.set(i64::try_from(commands).unwrap_or(i64::MAX));
    }

    pub fn queue_refused(&self) {
        self.queue_refused.inc();
    }

    pub fn input_refused(&self) {
        self.inputs_refused.inc();
    }

    pub fn open_alerts(&self, service: &str, severity: &str, by: i64) {
        self.alerts_open.with_label_values(&[service, severity]).add(by);
    }

    pub fn open_incidents(&self, service: &str, status: &str, by: i64) {
        self.incidents_open.with_label_values(&[service, status]).add(by);
    }

    /// Sets what is open, as counted in the database: (service, severity or status, number).
    pub fn set_open(&self, alerts: &[(&str, &str, i64)], incidents: &[(&str, &str, i64)]) {
        self.alerts_open.reset();
        for (service, severity, count) in alerts {
            self.alerts_open.with_label_values(&[service, severity]).set(*count);
        }
        self.incidents_open.reset();
        for (service, status, count) in incidents {
            self.incidents_open.with_label_values(&[service, status]).set(*count);
        }
    }

    /// So many alerts were kept quiet, or dropped, for this reason.
    pub fn suppressed(&self, reason: &str, alerts: u64) {
        self.alerts_suppressed.with_label_values(&[reason]).inc_by(alerts);
    }

    /// By how much the number of open flapping alerts changes.
    pub fn flapping(&self, by: i64) {
        self.flapping_alerts.add(by);
    }

    pub fn storms(&self, reached: u64) {
        self.storms.inc_by(reached);
    }

    /// So many incidents were opened of which nobody is told.
    pub fn unheard(&self, opened: u64) {
        self.incidents_unheard.inc_by(opened);
    }

    /// So many notifications were decided for this reason.
    pub fn notifications(&self, reason: &str, decided: u64) {
        self.notifications_decided.with_label_values(&[reason]).inc_by(decided);
    }

    /// Adds to the counts behind a service's noise reduction.
    #[expect(clippy::cast_precision_loss, reason = "a ratio of counts needs no 53 bits")]
    pub fn noise(&self, service: &str, events: u32, incidents: u32) {
        let mut noise = self.noise.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (all, grouped) = noise.entry(service.to_owned()).or_default();
        *all += u64::from(events);
        *grouped += u64::from(incidents);
        if *all > 0 {
            let ratio = 1.0 - *grouped as f64 / *all as f64;
            self.noise_reduction.with_label_values(&[service]).set(ratio);
        }
    }

    pub fn database_size(&self, bytes: u64) {
        self.database_size.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub fn database_writable(&self, writable: bool) {
        self.database_writable.set(i64::from(writable));
    }

    /// An answered request; `route` is the pattern that matched, never the path.
    pub fn http_request(&self, method: &str, route: &str, status: u16, took: Duration) {
        let status = status.to_string();
        self.http_requests.with_label_values(&[method, route, &status]).inc();
        self.http_duration.with_label_values(&[method, route]).observe(took.as_secs_f64());
    }

    /// Drops the series of an integration that is gone.
    pub fn forget_integration(&self, name: &str) {
        for family in prometheus::core::Collector::collect(&self.events_received) {
            for metric in family.get_metric() {
                let value = |label: &str| {
                    metric.get_label().iter().find(|l| l.name() == label).map_or("", |l| l.value())
                };
                if value("integration") == name {
                    let labels = [name, value("api"), value("action"), value("result")];
                    self.events_received.remove_label_values(&labels).ok();
                }
            }
        }
    }

    /// Drops the series of a service that is gone.
    pub fn forget_service(&self, name: &str) {
        self.noise.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(name);
        self.noise_reduction.remove_label_values(&[name]).ok();
        for severity in ["info", "warning", "error", "critical"] {
            self.alerts_open.remove_label_values(&[name, severity]).ok();
        }
        for status in ["triggered", "acknowledged", "resolved"] {
            self.incidents_open.remove_label_values(&[name, status]).ok();
        }
    }

    /// The text that Prometheus scrapes.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}
