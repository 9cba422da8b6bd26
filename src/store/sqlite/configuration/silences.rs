//! Silences: reading those that are not long over, writing one.

use serde_json::Value;
use sqlx::{SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{StoreError, rejudge::Rejudged, store_error};
use crate::{
    domain::{
        configuration::Refused,
        id::{ServiceId, SilenceId},
        schedule::Schedule,
        silence::{Silence, When},
        time::{Span, Timestamp},
    },
    store::{query::StoredSilence, sqlite::rows::Columns},
};

/// How long a silence that is over by its time is still known: what fell due while the gateway was
/// down is judged as of then.
const KNOWN_AFTER_ITS_END: Span = Span::from_secs(7 * 86_400);

/// What [`silence`] reads.
pub(in crate::store::sqlite) const SELECT: &str = "SELECT q.seq, q.id, q.name, q.matchers, s.id, \
     s.name, q.from_ms, q.until_ms, q.schedule, q.comment, q.created_by, q.managed, q.version, \
     q.created_at_ms, q.expired_at_ms \
     FROM silences q LEFT JOIN services s ON s.seq = q.service_seq WHERE ";

/// Those that may be on, now or later, and those that were until lately.
pub(super) async fn current(
    connection: &mut SqliteConnection,
    now: Timestamp,
) -> Result<Vec<Silence>, StoreError> {
    let sql =
        format!("{SELECT} q.expired_at_ms IS NULL AND (q.until_ms > ?1 OR q.until_ms IS NULL)");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(now.minus(KNOWN_AFTER_ITS_END).as_millis())
        .fetch_all(connection)
        .await
        .map_err(store_error)?;
    rows.iter().map(|row| Ok(silence(row)?.1.silence)).collect()
}

/// Reads a silence, with its number and the name of its service.
pub(in crate::store::sqlite) fn silence(
    row: &SqliteRow,
) -> Result<(i64, StoredSilence), StoreError> {
    let mut c = Columns::of(row, "silences");
    let seq = c.read("seq")?;
    let id = SilenceId::from_uuid(c.read::<Uuid>("id")?);
    let name = c.read("name")?;
    let matches = super::matches(&mut c)?;
    let service_id = c.read::<Option<Uuid>>("service_seq")?.map(ServiceId::from_uuid);
    let service = c.read("service_seq")?;
    let from = c.time_or_none("from_ms")?;
    let until = c.time_or_none("until_ms")?;
    let schedule: Option<&str> = c.read("schedule")?;
    let when = match (schedule, from, until) {
        (None, Some(from), Some(until)) => When::Once { from, until },
        (schedule, _, _) => When::Weekly(read_schedule(schedule.unwrap_or_default(), &c)?),
    };
    let silence = Silence {
        id,
        name,
        matches,
        service_id,
        when,
        comment: c.read("comment")?,
        created_by: c.read("created_by")?,
        managed: c.read("managed")?,
        version: c.read("version")?,
        created_at: c.time("created_at_ms")?,
        expired_at: c.time_or_none("expired_at_ms")?,
    };
    Ok((seq, StoredSilence { silence, service }))
}

fn read_schedule(stored: &str, c: &Columns<'_>) -> Result<Schedule, StoreError> {
    let mut errors = Vec::new();
    let value: Value = serde_json::from_str(stored).unwrap_or_default();
    Schedule::from_json(&value, "schedule", &mut errors).ok_or_else(|| {
        let said = errors.into_iter().map(|(path, what)| format!("{path} {what}"));
        c.corrupt("schedule", said.collect::<Vec<_>>().join("; "))
    })
}

pub(super) async fn create(
    connection: &mut SqliteConnection,
    silence: &Silence,
    rejudged: &mut Rejudged,
) -> Result<Result<(), Refused>, StoreError> {
    let (from, until, schedule) = stored(&silence.when);
    sqlx::query(
        "INSERT INTO silences (seq, id, name, matchers, service_seq, from_ms, until_ms, schedule, \
         comment, created_by, managed, version, created_at_ms, expired_at_ms) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )
    .bind(silence.id.seq())
    .bind(silence.id.uuid())
    .bind(silence.name.as_deref())
    .bind(silence.matches.to_json().to_string())
    .bind(silence.service_id.map(ServiceId::seq))
    .bind(from)
    .bind(until)
    .bind(schedule)
    .bind(silence.comment.as_str())
    .bind(silence.created_by.as_str())
    .bind(silence.managed)
    .bind(silence.version)
    .bind(silence.created_at.as_millis())
    .bind(silence.expired_at.map(Timestamp::as_millis))
    .execute(&mut *connection)
    .await
    .map_err(store_error)?;
    rejudged.add(silence.service_id);
    Ok(Ok(()))
}

/// Replaces it, if its stored version is the one before.
pub(super) async fn update(
    connection: &mut SqliteConnection,
    silence: &Silence,
    rejudged: &mut Rejudged,
) -> Result<Result<(), Refused>, StoreError> {
    let before: Option<Option<Uuid>> = sqlx::query_scalar(
        "SELECT s.id FROM silences q LEFT JOIN services s ON s.seq = q.service_seq \
         WHERE q.seq = ?1",
    )
    .bind(silence.id.seq())
    .fetch_optional(&mut *connection)
    .await
    .map_err(store_error)?;
    let (from, until, schedule) = stored(&silence.when);
    let done = sqlx::query(
        "UPDATE silences SET name = ?2, matchers = ?3, service_seq = ?4, from_ms = ?5, \
         until_ms = ?6, schedule = ?7, comment = ?8, managed = ?9, version = ?10, \
         expired_at_ms = ?11 WHERE seq = ?1 AND version = ?10 - 1",
    )
    .bind(silence.id.seq())
    .bind(silence.name.as_deref())
    .bind(silence.matches.to_json().to_string())
    .bind(silence.service_id.map(ServiceId::seq))
    .bind(from)
    .bind(until)
    .bind(schedule)
    .bind(silence.comment.as_str())
    .bind(silence.managed)
    .bind(silence.version)
    .bind(silence.expired_at.map(Timestamp::as_millis))
    .execute(&mut *connection)
    .await
    .map_err(store_error)?;
    let Some(before) = before.filter(|_| done.rows_affected() == 1) else {
        return Ok(Err(Refused::Stale));
    };
    rejudged.add(before.map(ServiceId::from_uuid));
    rejudged.add(silence.service_id);
    Ok(Ok(()))
}

fn stored(when: &When) -> (Option<i64>, Option<i64>, Option<String>) {
    match when {
        When::Once { from, until } => (Some(from.as_millis()), Some(until.as_millis()), None),
        When::Weekly(schedule) => (None, None, Some(schedule.to_json().to_string())),
    }
}
