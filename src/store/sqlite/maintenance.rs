//! Background work in small steps: full-text index, purge, giving space back.

use sqlx::{Row, SqliteConnection};

pub(super) use super::log::{Log, bounds, first_at};
use super::{StoreError, bulk::Bulk, rows::Columns, store_error};
use crate::{
    domain::{
        alert::Status,
        event::Severity,
        search,
        service::Gap,
        time::{Span, Timestamp},
    },
    store::{Maintenance, OpenCounts, Progress},
};

/// Texts indexed in one step: about 10 ms of the writer.
const INDEX_STEP: i64 = 250;

/// Texts in one slice of the full-text index. A search visits slices newest first and stops when it
/// has enough; inside one it cannot stop, so a slice bounds what a word of one letter costs.
const SLICE_DOCS: i64 = 100_000;

/// Rows deleted in one step: a few milliseconds of the writer.
const PURGE_STEP: i64 = 500;

pub(super) async fn run(
    connection: &mut SqliteConnection,
    step: Maintenance,
) -> Result<Progress, StoreError> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await.map_err(store_error)?;
    let result = match step {
        Maintenance::IndexTexts => index_texts(connection).await,
        Maintenance::PurgeEvents { before } => purge_events(connection, before).await,
        Maintenance::PurgeAlerts { before } => purge_alerts(connection, before).await,
        Maintenance::PurgeChanges { before } => {
            purge_log(connection, Log::Changes, PURGE_CHANGES, before).await
        }
        Maintenance::PurgeSentIds { before } => {
            purge_noise(connection, super::sent_ids::PURGE, before).await
        }
        Maintenance::PurgeKeys { before } => purge_noise(connection, PURGE_KEYS, before).await,
        Maintenance::PurgeInhibitors { before } => {
            purge_noise(connection, PURGE_INHIBITORS, before).await
        }
        Maintenance::PurgeDeliveries { before } => purge_deliveries(connection, before).await,
        Maintenance::PurgeTemplates => delete(connection, PURGE_TEMPLATES, 0).await.map(progress),
        Maintenance::Alive { now } => {
            set_meta(connection, ALIVE, now.as_millis()).await.map(|()| Progress::default())
        }
        Maintenance::Vacuum => Ok(Progress::default()),
    };
    let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
    sqlx::query(end).execute(&mut *connection).await.map_err(store_error)?;
    if step == Maintenance::Vacuum {
        return vacuum(connection).await;
    }
    result
}

/// The name of a slice's table. Its rows' tokens are ours, made by [`search::tokens`], so the
/// tokenizer only has to split at spaces and leave everything else as it is.
pub(super) fn slice_table(slice: i64) -> String {
    format!("search_{slice}")
}

async fn index_texts(connection: &mut SqliteConnection) -> Result<Progress, StoreError> {
    let watermark = indexed_up_to(connection).await?;
    let rows = sqlx::query(
        "SELECT c.seq, c.text_seq, c.summary, c.source, c.component, c.\"group\", c.class, \
         a.dedup_key FROM contents c JOIN alerts a ON a.seq = c.alert_seq \
         WHERE c.seq > ?1 ORDER BY c.seq LIMIT ?2",
    )
    .bind(watermark)
    .bind(INDEX_STEP)
    .fetch_all(&mut *connection)
    .await
    .map_err(store_error)?;
    let mut docs: Vec<(i64, String)> = Vec::new();
    let mut last = watermark;
    for row in &rows {
        let mut c = Columns::of(row, "contents");
        let (seq, text_seq): (i64, i64) = (c.read("seq")?, c.read("text_seq")?);
        last = seq;
        if text_seq != seq {
            continue;
        }
        let mut tokens = Vec::new();
        for column in ["summary", "source", "component", "group", "class", "dedup_key"] {
            let text: Option<&str> = c.read(column)?;
            tokens.extend(search::tokens(text.unwrap_or("")));
        }
        tokens.sort();
        tokens.dedup();
        docs.push((seq, tokens.join(" ")));
    }
    if let (Some((first, _)), Some((newest, _))) = (docs.first(), docs.last()) {
        let slice = current_slice(connection, *first).await?;
        let table = slice_table(slice);
        let json = serde_json::to_string(&docs).unwrap_or_default();
        // `detail=none`: only which text has a token, which is all that is asked.
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "INSERT INTO {table} (rowid, tokens) SELECT value ->> 0, value ->> 1 FROM json_each(?1)"
        )))
        .bind(json)
        .execute(&mut *connection)
        .await
        .map_err(store_error)?;
        sqlx::query("UPDATE search_slices SET last_seq = ?2, docs = docs + ?3 WHERE slice = ?1")
            .bind(slice)
            .bind(*newest)
            .bind(i64::try_from(docs.len()).unwrap_or(i64::MAX))
            .execute(&mut *connection)
            .await
            .map_err(store_error)?;
    }
    if last > watermark {
        set_meta(connection, "indexed_content_seq", last).await?;
    }
    let rows = rows.len() as u64;
    Ok(Progress { rows, more: i64::try_from(rows).unwrap_or(0) == INDEX_STEP })
}

/// A gap that is worth knowing of. Shorter ones are restarts.
const GAP_MIN: Span = Span::from_secs(60);
const ALIVE: &str = "alive_at_ms";
const GAP_FROM: &str = "gap_from_ms";
const GAP_TO: &str = "gap_to_ms";

/// See [`crate::store::Store::started`].
pub(super) async fn started(
    connection: &mut SqliteConnection,
    now: Timestamp,
) -> Result<Option<Gap>, StoreError> {
    let alive = get_meta(connection, ALIVE).await?.map(Timestamp::from_millis);
    let known = gap(connection).await?;
    let gap = alive
        .filter(|at| now.since(*at) >= GAP_MIN)
        .map(|from| Gap { from, to: now }.joined(known));
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await.map_err(store_error)?;
    if let Some(gap) = gap {
        set_meta(connection, GAP_FROM, gap.from.as_millis()).await?;
        set_meta(connection, GAP_TO, gap.to.as_millis()).await?;
    }
    set_meta(connection, ALIVE, now.as_millis()).await?;
    sqlx::query("COMMIT").execute(connection).await.map_err(store_error)?;
    Ok(gap)
}

/// The last gap there was.
pub(super) async fn gap(connection: &mut SqliteConnection) -> Result<Option<Gap>, StoreError> {
    let from = get_meta(connection, GAP_FROM).await?.map(Timestamp::from_millis);
    let to = get_meta(connection, GAP_TO).await?.map(Timestamp::from_millis);
    Ok(from.zip(to).map(|(from, to)| Gap { from, to }))
}

async fn get_meta(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<Option<i64>, StoreError> {
    sqlx::query_scalar("SELECT value FROM meta WHERE name = ?1")
        .bind(name)
        .fetch_optional(connection)
        .await
        .map_err(store_error)
}

/// The last content whose text is in the index; newer ones a search has to look through itself.
pub(super) async fn indexed_up_to(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(get_meta(connection, "indexed_content_seq").await?.unwrap_or(0))
}

async fn set_meta(
    connection: &mut SqliteConnection,
    name: &str,
    value: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO meta (name, value) VALUES (?1, ?2) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(name)
    .bind(value)
    .execute(connection)
    .await
    .map_err(store_error)?;
    Ok(())
}

/// The slice that takes the next texts; a new one when the last is full.
async fn current_slice(
    connection: &mut SqliteConnection,
    first_seq: i64,
) -> Result<i64, StoreError> {
    let newest: Option<(i64, i64)> =
        sqlx::query_as("SELECT slice, docs FROM search_slices ORDER BY slice DESC LIMIT 1")
            .fetch_optional(&mut *connection)
            .await
            .map_err(store_error)?;
    let slice = match newest {
        Some((slice, docs)) if docs < SLICE_DOCS => return Ok(slice),
        Some((slice, _)) => slice + 1,
        None => 1,
    };
    let table = slice_table(slice);
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "CREATE VIRTUAL TABLE {table} USING fts5(tokens, content='', detail='none', \
         columnsize=0, tokenize=\"unicode61 remove_diacritics 0 categories 'L* M* N* P* S* Co'\")"
    )))
    .execute(&mut *connection)
    .await
    .map_err(store_error)?;
    sqlx::query(
        "INSERT INTO search_slices (slice, first_seq, last_seq, docs) VALUES (?1, ?2, ?2, 0)",
    )
    .bind(slice)
    .bind(first_seq)
    .execute(connection)
    .await
    .map_err(store_error)?;
    Ok(slice)
}

/// Runs a `DELETE` bounded by `?1` (a number) and `?2` (rows).
async fn delete(
    connection: &mut SqliteConnection,
    statement: &'static str,
    bound: i64,
) -> Result<u64, StoreError> {
    let done = sqlx::query(statement)
        .bind(bound)
        .bind(PURGE_STEP)
        .execute(connection)
        .await
        .map_err(store_error)?;
    Ok(done.rows_affected())
}

fn progress(rows: u64) -> Progress {
    Progress { rows, more: i64::try_from(rows).unwrap_or(0) >= PURGE_STEP }
}

/// The newest row of each table stays, because the next number counts on from it; so do events
/// whose body holds the details of an alert that is kept.
async fn purge_events(
    connection: &mut SqliteConnection,
    before: Timestamp,
) -> Result<Progress, StoreError> {
    let bound = first_at(connection, Log::Events, before).await?;
    // Versions of content that only the purged events had.
    sqlx::query(
        "DELETE FROM contents WHERE seq IN (SELECT c.seq FROM (SELECT alert_seq, \
         max(content_seq) AS content_seq FROM (SELECT alert_seq, content_seq FROM events \
         WHERE seq < ?1 AND seq < (SELECT max(seq) FROM events) AND alert_seq IS NOT NULL \
         ORDER BY seq LIMIT ?2) GROUP BY alert_seq) p JOIN contents c \
         ON c.alert_seq = p.alert_seq AND c.seq < p.content_seq \
         JOIN alerts a ON a.seq = c.alert_seq AND a.text_seq <> c.seq AND a.content_seq <> c.seq) \
         AND seq < (SELECT max(seq) FROM contents)",
    )
    .bind(bound)
    .bind(PURGE_STEP)
    .execute(&mut *connection)
    .await
    .map_err(store_error)?;
    let rows = delete(
        connection,
        "DELETE FROM events WHERE seq IN (SELECT e.seq FROM events e WHERE e.seq < ?1 \
         AND e.seq < (SELECT max(seq) FROM events) AND NOT EXISTS (SELECT 1 FROM contents c \
         WHERE c.details_event_seq = e.seq AND c.details_event_seq IS NOT NULL) \
         ORDER BY e.seq LIMIT ?2)",
        bound,
    )
    .await?;
    Ok(progress(rows))
}

const PURGE_CHANGES: &str = "DELETE FROM changes WHERE seq IN (SELECT seq FROM changes \
     WHERE seq < ?1 AND seq < (SELECT max(seq) FROM changes) ORDER BY seq LIMIT ?2)";
/// Attempts first, by the same bounds.
const PURGE_ATTEMPTS: &str = "DELETE FROM attempts WHERE delivery_seq IN (SELECT seq FROM deliveries \
     WHERE seq < ?1 AND seq < (SELECT max(seq) FROM deliveries) \
     AND state IN ('delivered', 'dead') ORDER BY seq LIMIT ?2)";
const PURGE_DELIVERIES: &str = "DELETE FROM deliveries WHERE seq IN (SELECT seq FROM deliveries \
     WHERE seq < ?1 AND seq < (SELECT max(seq) FROM deliveries) \
     AND state IN ('delivered', 'dead') ORDER BY seq LIMIT ?2)";
/// What receivers know of incidents that are gone. `?1` is not looked at.
const PURGE_LANES: &str = "DELETE FROM lanes WHERE lane IN (SELECT l.lane FROM lanes l \
     INDEXED BY lanes_incident WHERE l.incident_seq < (SELECT min(seq) FROM incidents) \
     AND ?1 IS NOT NULL AND NOT EXISTS (SELECT 1 FROM deliveries d INDEXED BY deliveries_lane \
     WHERE d.lane = l.lane AND d.state IN ('pending', 'leased')) \
     ORDER BY l.incident_seq LIMIT ?2)";

/// Deliveries that are at an end, with their attempts.
async fn purge_deliveries(
    connection: &mut SqliteConnection,
    before: Timestamp,
) -> Result<Progress, StoreError> {
    let bound = first_at(connection, Log::Deliveries, before).await?;
    delete(connection, PURGE_ATTEMPTS, bound).await?;
    let rows = delete(connection, PURGE_DELIVERIES, bound).await?;
    delete(connection, PURGE_LANES, 0).await?;
    Ok(progress(rows))
}

/// Deletes the rows of a log from before a time; `statement` is bounded by a number and by rows.
async fn purge_log(
    connection: &mut SqliteConnection,
    log: Log,
    statement: &'static str,
    before: Timestamp,
) -> Result<Progress, StoreError> {
    let bound = first_at(connection, log, before).await?;
    delete(connection, statement, bound).await.map(progress)
}

/// A key that has something due is still at work, however long ago it was heard of.
pub(super) const PURGE_KEYS: &str = "DELETE FROM key_states WHERE (integration_seq, dedup_key) IN \
     (SELECT k.integration_seq, k.dedup_key FROM key_states k INDEXED BY key_states_last_seen \
     WHERE k.last_seen_ms < ?1 AND k.due_ms IS NULL ORDER BY k.last_seen_ms LIMIT ?2)";
pub(super) const PURGE_INHIBITORS: &str = "DELETE FROM inhibitors WHERE (service_seq, rule_seq, hash) IN \
     (SELECT n.service_seq, n.rule_seq, n.hash FROM inhibitors n INDEXED BY inhibitors_idle \
     WHERE n.idle_since_ms IS NOT NULL AND n.idle_since_ms < ?1 \
     ORDER BY n.idle_since_ms LIMIT ?2)";
/// `?1` is not looked at.
pub(super) const PURGE_TEMPLATES: &str = "DELETE FROM templates WHERE (service_seq, rule_seq, template_seq) IN \
     (SELECT t.service_seq, t.rule_seq, t.template_seq FROM services s CROSS JOIN templates t \
     ON t.service_seq = s.seq WHERE s.deleted_at_ms IS NOT NULL AND ?1 IS NOT NULL LIMIT ?2)";

/// Deletes, by an index on its time, what nobody asks for any more.
async fn purge_noise(
    connection: &mut SqliteConnection,
    statement: &'static str,
    before: Timestamp,
) -> Result<Progress, StoreError> {
    delete(connection, statement, before.as_millis()).await.map(progress)
}

static DELETE_CONTENTS_OF: Bulk = Bulk::new(
    "WITH v(s) AS (",
    1,
    ") DELETE FROM contents WHERE alert_seq IN (SELECT s FROM v) \
     AND seq < (SELECT max(seq) FROM contents)",
);
static DELETE_ALERT_TIMELINES: Bulk = Bulk::new(
    "WITH v(s) AS (",
    1,
    ") DELETE FROM timeline WHERE alert_seq IS NOT NULL AND alert_seq IN (SELECT s FROM v) \
     AND seq < (SELECT max(seq) FROM timeline)",
);
static DELETE_TARGETS_OF: Bulk = Bulk::new(
    "WITH v(s) AS (",
    1,
    ") DELETE FROM inhibition_targets WHERE alert_seq IN (SELECT s FROM v)",
);
static DELETE_ALERTS: Bulk =
    Bulk::new("WITH v(s) AS (", 1, ") DELETE FROM alerts WHERE seq IN (SELECT s FROM v)");
static DELETE_INCIDENT_TIMELINES: Bulk = Bulk::new(
    "WITH v(s) AS (",
    1,
    ") DELETE FROM timeline WHERE incident_seq IS NOT NULL \
     AND incident_seq IN (SELECT s FROM v) AND seq < (SELECT max(seq) FROM timeline)",
);
static DELETE_INCIDENTS: Bulk =
    Bulk::new("WITH v(s) AS (", 1, ") DELETE FROM incidents WHERE seq IN (SELECT s FROM v)");

/// Alerts resolved before the time go, with what belongs to them; then incidents without alerts,
/// silences that were over by then, and slices of the full-text index without texts.
async fn purge_alerts(
    connection: &mut SqliteConnection,
    before: Timestamp,
) -> Result<Progress, StoreError> {
    let bound = first_at(connection, Log::Alerts, before).await?;
    let alerts: Vec<i64> = sqlx::query_scalar(
        "SELECT seq FROM alerts WHERE seq < ?1 AND seq < (SELECT max(seq) FROM alerts) \
         AND status = 'resolved' AND resolved_at_ms < ?2 ORDER BY seq LIMIT ?3",
    )
    .bind(bound)
    .bind(before.as_millis())
    .bind(PURGE_STEP)
    .fetch_all(&mut *connection)
    .await
    .map_err(store_error)?;
    let bind = |b: &mut super::bulk::Binder, seq: &i64| {
        b.bind(*seq);
    };
    DELETE_CONTENTS_OF.execute(connection, &alerts, bind).await?;
    DELETE_ALERT_TIMELINES.execute(connection, &alerts, bind).await?;
    DELETE_TARGETS_OF.execute(connection, &alerts, bind).await?;
    DELETE_ALERTS.execute(connection, &alerts, bind).await?;

    let bound = first_at(connection, Log::Incidents, before).await?;
    let incidents: Vec<i64> = sqlx::query_scalar(
        "SELECT seq FROM incidents i WHERE i.seq < ?1 \
         AND i.seq < (SELECT max(seq) FROM incidents) AND i.status = 'resolved' \
         AND i.resolved_at_ms < ?2 \
         AND NOT EXISTS (SELECT 1 FROM alerts a WHERE a.incident_seq = i.seq) \
         ORDER BY i.seq LIMIT ?3",
    )
    .bind(bound)
    .bind(before.as_millis())
    .bind(PURGE_STEP)
    .fetch_all(&mut *connection)
    .await
    .map_err(store_error)?;
    DELETE_INCIDENT_TIMELINES.execute(connection, &incidents, bind).await?;
    DELETE_INCIDENTS.execute(connection, &incidents, bind).await?;

    let empty: Vec<i64> = sqlx::query_scalar(
        "SELECT slice FROM search_slices s WHERE slice < (SELECT max(slice) FROM search_slices) \
         AND NOT EXISTS (SELECT 1 FROM contents c WHERE c.seq BETWEEN s.first_seq AND s.last_seq)",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(store_error)?;
    for slice in empty {
        let table = slice_table(slice);
        sqlx::query(sqlx::AssertSqlSafe(format!("DROP TABLE {table}")))
            .execute(&mut *connection)
            .await
            .map_err(store_error)?;
        sqlx::query("DELETE FROM search_slices WHERE slice = ?1")
            .bind(slice)
            .execute(&mut *connection)
            .await
            .map_err(store_error)?;
    }
    // The newest stays, because the next number counts on from it.
    let silences = delete(
        connection,
        "DELETE FROM silences WHERE seq IN (SELECT seq FROM silences \
         WHERE coalesce(expired_at_ms, until_ms) < ?1 \
         AND seq < (SELECT max(seq) FROM silences) ORDER BY seq LIMIT ?2)",
        before.as_millis(),
    )
    .await?;
    let done = [alerts.len() as u64, incidents.len() as u64, silences].map(progress);
    Ok(Progress {
        rows: done.iter().map(|part| part.rows).sum(),
        more: done.iter().any(|part| part.more),
    })
}

async fn vacuum(connection: &mut SqliteConnection) -> Result<Progress, StoreError> {
    /// Pages given back in one step.
    const PAGES: i64 = 256;
    let free: i64 = sqlx::query_scalar("SELECT freelist_count FROM pragma_freelist_count")
        .fetch_one(&mut *connection)
        .await
        .map_err(store_error)?;
    if free > 0 {
        // A page is given back for each row that is stepped over.
        sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA incremental_vacuum({PAGES})")))
            .fetch_all(&mut *connection)
            .await
            .map_err(store_error)?;
    }
    Ok(Progress { rows: free.min(PAGES).unsigned_abs(), more: free > PAGES })
}

pub(super) async fn open_counts(
    connection: &mut SqliteConnection,
) -> Result<OpenCounts, StoreError> {
    let mut counts = OpenCounts::default();
    let alerts = sqlx::query(
        "SELECT s.name, a.severity, count(*) FROM alerts a JOIN services s ON s.seq = a.service_seq \
         WHERE a.status <> 'resolved' GROUP BY 1, 2",
    );
    for row in alerts.fetch_all(&mut *connection).await.map_err(store_error)? {
        let severity: String = row.try_get(1).map_err(store_error)?;
        if let Some(severity) = Severity::parse(&severity) {
            let name = row.try_get(0).map_err(store_error)?;
            counts.alerts.push((name, severity, row.try_get(2).map_err(store_error)?));
        }
    }
    let incidents = sqlx::query(
        "SELECT s.name, i.status, count(*) FROM incidents i \
         JOIN services s ON s.seq = i.service_seq WHERE i.status <> 'resolved' GROUP BY 1, 2",
    );
    for row in incidents.fetch_all(&mut *connection).await.map_err(store_error)? {
        let status: String = row.try_get(1).map_err(store_error)?;
        if let Some(status) = Status::parse(&status) {
            let name = row.try_get(0).map_err(store_error)?;
            counts.incidents.push((name, status, row.try_get(2).map_err(store_error)?));
        }
    }
    counts.flapping = sqlx::query_scalar(
        "SELECT count(*) FROM alerts INDEXED BY alerts_flapping \
         WHERE flapping = 1 AND status <> 'resolved'",
    )
    .fetch_one(connection)
    .await
    .map_err(store_error)?;
    Ok(counts)
}

/// Size of the database in bytes, files beside it included.
pub(super) fn size_bytes(path: &std::path::Path) -> u64 {
    let size = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        std::fs::metadata(name).map_or(0, |meta| meta.len())
    };
    size("") + size("-wal") + size("-shm")
}
