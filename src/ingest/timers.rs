//! What happens without anybody asking: due timers, the full-text index, the purge.
//!
//! Each is a plain loop that sends commands to the committer, like everybody else who wants
//! something written, and leaves room for events between one bounded step and the next.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::Ingest;
use crate::{
    domain::{
        key_state,
        time::{Span, Timestamp},
    },
    store::{Maintenance, Store, outbox::Backlog},
    telemetry::metrics::Metrics,
};

/// How late a timer may be. Being late changes nothing: what is due takes effect at its due time.
const TICK_EVERY: Duration = Duration::from_millis(500);
/// How far behind the full-text index may be; a search looks through the rest itself.
const INDEX_EVERY: Duration = Duration::from_millis(500);
const ALIVE_EVERY: Duration = Duration::from_secs(10);
const PURGE_EVERY: Duration = Duration::from_mins(1);
/// Between two steps of a purge, so that it takes a small share of the writer.
const PURGE_PAUSE: Duration = Duration::from_millis(20);
/// How long an inhibitor without a source is kept: longer than any `release_delay`.
const INHIBITORS_KEPT: Span = Span::from_secs(86_400);
const MEASURE_EVERY: Duration = Duration::from_secs(15);

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    pub events: Span,
    pub alerts: Span,
    pub changes: Span,
    pub deliveries: Span,
}

/// Lets due timers take effect.
pub async fn tick(ingest: Ingest, stop: CancellationToken) {
    while pause(TICK_EVERY, &stop).await {
        // A full queue is no reason to wait for the next turn less patiently.
        while ingest.tick(ingest.now()).await.is_ok_and(|changed| changed > 0) {}
    }
}

/// Notes now and again that the gateway runs.
pub async fn alive(ingest: Ingest, stop: CancellationToken) {
    while pause(ALIVE_EVERY, &stop).await {
        let now = ingest.now();
        // One that is not noted makes the next gap look longer, which is the careful side.
        ingest.maintain(Maintenance::Alive { now }).await.ok();
    }
}

/// Keeps the full-text index close behind what was committed.
pub async fn index(ingest: Ingest, stop: CancellationToken) {
    while pause(INDEX_EVERY, &stop).await {
        loop {
            let started = Instant::now();
            let more = ingest.maintain(Maintenance::IndexTexts).await.is_ok_and(|done| done.more);
            // Half of the time at most: events go before their index.
            if !more || !pause(started.elapsed(), &stop).await {
                break;
            }
        }
    }
}

/// Deletes what is older than it is to be kept.
pub async fn purge(ingest: Ingest, retention: Retention, stop: CancellationToken) {
    while pause(PURGE_EVERY, &stop).await {
        let now = ingest.now();
        let steps = [
            Maintenance::PurgeEvents { before: now.minus(retention.events) },
            Maintenance::PurgeSentIds { before: now.minus(retention.events) },
            Maintenance::PurgeAlerts { before: now.minus(retention.alerts) },
            Maintenance::PurgeChanges { before: now.minus(retention.changes) },
            Maintenance::PurgeDeliveries { before: now.minus(retention.deliveries) },
            Maintenance::PurgeKeys { before: now.minus(key_state::KEPT) },
            Maintenance::PurgeInhibitors { before: now.minus(INHIBITORS_KEPT) },
            Maintenance::PurgeTemplates,
            Maintenance::Vacuum,
        ];
        for step in steps {
            let mut rows = 0;
            while let Ok(done) = ingest.maintain(step).await {
                rows += done.rows;
                if !done.more || !pause(PURGE_PAUSE, &stop).await {
                    break;
                }
            }
            if rows > 0 {
                tracing::debug!(?step, rows, "purged");
            }
        }
    }
}

/// Measures what has to be looked up to be known.
pub async fn measure(
    ingest: Ingest,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    loop {
        if let Ok(bytes) = store.size_bytes().await {
            metrics.database_size(bytes);
        }
        if let Ok(backlog) = store.backlog().await {
            let now = ingest.now();
            metrics.outbox.set_backlog(&ages(&backlog, now));
        }
        if !pause(MEASURE_EVERY, &stop).await {
            return;
        }
    }
}

/// What waits for each receiver, as the gauges take it.
fn ages(backlog: &[Backlog], now: Timestamp) -> Vec<(&str, i64, f64)> {
    backlog
        .iter()
        .map(|of| {
            let age = of.oldest.map_or(Duration::ZERO, |oldest| now.since(oldest).to_std());
            (of.receiver.as_str(), of.pending, age.as_secs_f64())
        })
        .collect()
}

/// Waits; says whether to go on.
async fn pause(time: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(time) => true,
        () = stop.cancelled() => false,
    }
}
