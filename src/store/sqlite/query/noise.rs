//! How much noise there was, and where it came from.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use futures_util::TryStreamExt;
use sqlx::{Row, SqliteConnection};

use super::{
    super::{StoreError, maintenance::Log, store_error},
    walk::{Sql, json_list, push_in, push_span, push_times},
};
use crate::{
    domain::{
        replay::noise_reduction_pct,
        time::{Span, Timestamp},
    },
    store::query::{
        NoiseFilter,
        views::{NoiseBucket, NoiseTop, NoiseView, TopEntry},
    },
};

const HOUR_MS: i64 = 3_600_000;
const HOURS_A_DAY: i64 = 24;
/// Up to this long there is a bucket for each hour, else one for each day.
const HOURLY_UP_TO: Span = Span::from_secs(7 * 86_400);

/// Events that are looked at for what is the noisiest, the newest first, and the time for it.
const EVENTS_MAX: i64 = 100_000;
const TIME_MAX: Duration = Duration::from_millis(500);
/// Events that one statement looks at.
const WINDOW: i64 = 5_000;
/// Entries of each list of the noisiest.
const TOP_MAX: usize = 10;

pub(super) const COUNTS: &str = "SELECT h.hour, sum(h.events), sum(h.alerts), sum(h.incidents), \
     sum(h.notifications), sum(h.acknowledged), sum(h.acknowledged_after_ms), sum(h.resolved), \
     sum(h.resolved_after_ms) FROM json_each(?1) j CROSS JOIN hourly_counts h \
     ON h.service_seq = j.value AND h.hour >= ?2 AND h.hour < ?3 GROUP BY h.hour ORDER BY h.hour";

pub(super) async fn noise(
    connection: &mut SqliteConnection,
    filter: &NoiseFilter,
) -> Result<NoiseView, StoreError> {
    let first = filter.since.as_millis().div_euclid(HOUR_MS);
    let end = (filter.until.as_millis() - 1).div_euclid(HOUR_MS) + 1;
    let hours = if filter.until.since(filter.since) <= HOURLY_UP_TO { 1 } else { HOURS_A_DAY };
    let mut view = NoiseView {
        since: Timestamp::from_millis(first * HOUR_MS),
        until: Timestamp::from_millis(end * HOUR_MS),
        events: 0,
        alerts: 0,
        incidents: 0,
        notifications: 0,
        noise_reduction_pct: None,
        mtta_seconds: None,
        mttr_seconds: None,
        top: NoiseTop::default(),
        buckets: empty_buckets(first, end, hours),
    };
    let services = super::service_seqs(connection, &filter.services).await?;
    let rows = sqlx::query(COUNTS)
        .bind(json_list(&services))
        .bind(first)
        .bind(end)
        .fetch_all(&mut *connection)
        .await
        .map_err(store_error)?;
    let (mut acknowledged, mut resolved) = (Mean::default(), Mean::default());
    for row in &rows {
        let number = |at: usize| row.try_get::<i64, _>(at).map_err(store_error);
        let at = number(0)?.div_euclid(hours) - first.div_euclid(hours);
        let [events, alerts, incidents, notifications] =
            [number(1)?, number(2)?, number(3)?, number(4)?];
        view.events += events;
        view.alerts += alerts;
        view.incidents += incidents;
        view.notifications += notifications;
        if let Some(bucket) = usize::try_from(at).ok().and_then(|at| view.buckets.get_mut(at)) {
            bucket.events += events;
            bucket.alerts += alerts;
            bucket.incidents += incidents;
            bucket.notifications += notifications;
        }
        acknowledged.add(number(5)?, number(6)?);
        resolved.add(number(7)?, number(8)?);
    }
    view.noise_reduction_pct =
        noise_reduction_pct(view.events.unsigned_abs(), view.incidents.unsigned_abs());
    view.mtta_seconds = acknowledged.seconds();
    view.mttr_seconds = resolved.seconds();
    view.top = top(connection, filter, view.since, view.until).await?;
    Ok(view)
}

/// One for each hour, or for each day, in UTC.
fn empty_buckets(first: i64, end: i64, hours: i64) -> Vec<NoiseBucket> {
    let bucket = |at: i64| NoiseBucket {
        at: Timestamp::from_millis(at * hours * HOUR_MS),
        events: 0,
        alerts: 0,
        incidents: 0,
        notifications: 0,
    };
    (first.div_euclid(hours)..=(end - 1).div_euclid(hours)).map(bucket).collect()
}

#[derive(Default)]
struct Mean {
    number: i64,
    millis: i64,
}

impl Mean {
    fn add(&mut self, number: i64, millis: i64) {
        self.number += number;
        self.millis += millis;
    }

    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a few years have 53 bits")]
    fn seconds(&self) -> Option<f64> {
        let mean = self.millis.checked_div(self.number)?;
        Some(mean as f64 / 1000.0)
    }
}

/// The events of a window by dedup key and by what they say; an acknowledge or resolve has what
/// its alert says now.
pub(super) fn window(filter: &NoiseFilter, since: Timestamp, until: Timestamp) -> Sql {
    let mut sql = Sql::new(
        "SELECT e.dedup_key, c.source, c.class, count(*) FROM events e NOT INDEXED \
         LEFT JOIN alerts a ON a.seq = e.alert_seq AND e.content_seq IS NULL \
         LEFT JOIN contents c ON c.seq = coalesce(e.content_seq, a.content_seq) WHERE TRUE",
    );
    push_in(&mut sql, "e.service_seq", filter.services.iter().map(|id| id.seq()));
    push_times(&mut sql, "e.received_at_ms", Some(since), Some(until));
    sql
}

/// What most of the newest events are of.
async fn top(
    connection: &mut SqliteConnection,
    filter: &NoiseFilter,
    since: Timestamp,
    until: Timestamp,
) -> Result<NoiseTop, StoreError> {
    let (low, mut high) = super::span(connection, Log::Events, Some(since), Some(until)).await?;
    let floor = low.max(high.saturating_sub(EVENTS_MAX));
    let started = Instant::now();
    let mut counts: [HashMap<String, i64>; 3] = Default::default();
    while high > floor && started.elapsed() <= TIME_MAX {
        let from = floor.max(high - WINDOW);
        let mut sql = window(filter, since, until);
        push_span(&mut sql, "e.seq", from, high);
        sql.push(" GROUP BY e.dedup_key, c.source, c.class");
        let mut rows = sql.build().fetch(&mut *connection);
        while let Some(row) = rows.try_next().await.map_err(store_error)? {
            let events: i64 = row.try_get(3).map_err(store_error)?;
            for (at, count) in counts.iter_mut().enumerate() {
                let name: Option<&str> = row.try_get(at).map_err(store_error)?;
                let Some(name) = name.filter(|name| !name.is_empty()) else { continue };
                match count.get_mut(name) {
                    Some(known) => *known += events,
                    None => {
                        count.insert(name.to_owned(), events);
                    }
                }
            }
        }
        high = from;
    }
    let at_least = high > low;
    let [dedup_keys, sources, classes] = counts.map(noisiest);
    Ok(NoiseTop { at_least, sources, classes, dedup_keys })
}

fn noisiest(counts: HashMap<String, i64>) -> Vec<TopEntry> {
    let mut all: Vec<TopEntry> =
        counts.into_iter().map(|(name, events)| TopEntry { name, events }).collect();
    all.sort_unstable_by(|a, b| b.events.cmp(&a.events).then_with(|| a.name.cmp(&b.name)));
    all.truncate(TOP_MAX);
    all
}
