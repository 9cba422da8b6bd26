//! What is shown of deliveries.

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    super::{StoreError, rows::Columns, store_error},
    walk::{Sql, json_list, push_in},
};
use crate::{
    domain::{
        id::{AlertId, DeliveryId, IncidentId, ReceiverId},
        notify::Reason,
    },
    store::{
        outbox::{Backlog, DeadLetter, DeliveryFilter, DeliveryState},
        query::{
            Listed, Page,
            views::{AttemptView, DeliveryView},
        },
    },
};

const VIEW: &str = "SELECT d.seq, d.id, d.receiver, i.id, a.id, d.reason, d.state, d.attempts, \
     d.next_attempt_at_ms, d.at_ms, d.ended_at_ms, (SELECT t.error FROM attempts t \
     WHERE t.delivery_seq = d.seq ORDER BY t.number DESC LIMIT 1) \
     FROM json_each(?1) j CROSS JOIN deliveries d ON d.seq = j.value \
     LEFT JOIN incidents i ON i.seq = d.incident_seq LEFT JOIN alerts a ON a.seq = d.alert_seq";

const UNNOTED: &str = "SELECT d.id, r.id, d.receiver, i.id, a.id, d.reason, \
     (SELECT t.error FROM attempts t WHERE t.delivery_seq = d.seq ORDER BY t.number DESC LIMIT 1) \
     FROM deliveries d INDEXED BY deliveries_unnoted \
     JOIN receiver_revisions r ON r.receiver_seq = d.receiver_seq AND r.version = d.receiver_version \
     LEFT JOIN incidents i ON i.seq = d.incident_seq LEFT JOIN alerts a ON a.seq = d.alert_seq \
     WHERE d.state = 'dead' AND d.noted = 0 ORDER BY d.seq LIMIT 100";

const BACKLOG: &str = "SELECT receiver, count(*), min(at_ms) FROM deliveries \
     INDEXED BY deliveries_lane WHERE state IN ('pending', 'leased') GROUP BY receiver";

fn view(row: &SqliteRow) -> Result<DeliveryView, StoreError> {
    let mut c = Columns::of(row, "deliveries");
    let _seq: i64 = c.read("seq")?;
    let id = DeliveryId::from_uuid(c.read::<Uuid>("id")?);
    let receiver = c.read("receiver")?;
    let incident_id = c.read::<Option<Uuid>>("incident_seq")?.map(IncidentId::from_uuid);
    let alert_id = c.read::<Option<Uuid>>("alert_seq")?.map(AlertId::from_uuid);
    let reason = c.named("reason", Reason::parse)?;
    let state = c.named("state", DeliveryState::parse)?;
    let attempts = c.read("attempts")?;
    let next_attempt_at = c.time_or_none("next_attempt_at_ms")?;
    let created_at = c.time("at_ms")?;
    let ended_at = c.time_or_none("ended_at_ms")?;
    let error = c.read("error")?;
    Ok(DeliveryView {
        id,
        receiver,
        incident_id,
        alert_id,
        reason,
        state,
        attempts,
        next_attempt_at,
        created_at,
        delivered_at: ended_at.filter(|_| state == DeliveryState::Delivered),
        error,
        attempt_log: None,
    })
}

async fn views(c: &mut SqliteConnection, seqs: &[i64]) -> Result<Vec<DeliveryView>, StoreError> {
    let rows = sqlx::query(VIEW).bind(json_list(seqs)).fetch_all(c).await.map_err(store_error)?;
    rows.iter().map(view).collect()
}

pub(in crate::store::sqlite) async fn one(
    c: &mut SqliteConnection,
    id: DeliveryId,
) -> Result<Option<DeliveryView>, StoreError> {
    let found = views(c, &[id.seq()]).await?.pop().filter(|view| view.id == id);
    let Some(mut delivery) = found else { return Ok(None) };
    let rows = sqlx::query(
        "SELECT at_ms, status, error, duration_ms, request, answer FROM attempts \
         WHERE delivery_seq = ?1 ORDER BY number",
    )
    .bind(id.seq())
    .fetch_all(c)
    .await
    .map_err(store_error)?;
    let attempt = |row: &SqliteRow| {
        let mut c = Columns::of(row, "attempts");
        Ok(AttemptView {
            at: c.time("at_ms")?,
            status: c.read("status")?,
            error: c.read("error")?,
            duration_ms: c.read("duration_ms")?,
            request: c.read("request")?,
            answer: c.read("answer")?,
        })
    };
    delivery.attempt_log = Some(rows.iter().map(attempt).collect::<Result<_, StoreError>>()?);
    Ok(Some(delivery))
}

fn push_conditions(sql: &mut Sql, filter: &DeliveryFilter) {
    push_in(sql, "d.state", filter.states.iter().map(|state| state.as_str()));
    push_in(sql, "d.incident_seq", filter.incidents.iter().copied());
    if !filter.receivers.is_empty() {
        let ids: Vec<i64> = filter
            .receivers
            .iter()
            .filter_map(|name| Some(ReceiverId::parse(name)?.seq()))
            .collect();
        sql.push(" AND (FALSE");
        for name in &filter.receivers {
            sql.push(" OR d.receiver = ").push_bind(name.clone());
        }
        for id in ids {
            sql.push(" OR d.receiver_seq = ").push_bind(id);
        }
        sql.push(")");
    }
}

/// Newest first.
pub(in crate::store::sqlite) async fn list(
    c: &mut SqliteConnection,
    filter: &DeliveryFilter,
    page: Page,
) -> Result<Listed<DeliveryView>, StoreError> {
    let source = if filter.incidents.is_empty() {
        " FROM deliveries d WHERE TRUE"
    } else {
        " FROM deliveries d INDEXED BY deliveries_incident WHERE d.incident_seq IS NOT NULL"
    };
    let mut sql = Sql::new("SELECT d.seq");
    sql.push(source);
    push_conditions(&mut sql, filter);
    sql.push(" AND d.seq < ").push_bind(page.before.unwrap_or(i64::MAX));
    sql.push(" ORDER BY d.seq DESC LIMIT ");
    sql.push_bind(i64::try_from(page.limit + 1).unwrap_or(i64::MAX));
    let rows = sql.build().fetch_all(&mut *c).await.map_err(store_error)?;
    let read = |row: &SqliteRow| row.try_get::<i64, _>(0).map_err(store_error);
    let mut seqs: Vec<i64> = rows.iter().map(read).collect::<Result<_, _>>()?;
    let more = seqs.len() > page.limit;
    seqs.truncate(page.limit);
    let next = seqs.last().copied().filter(|_| more);
    let items = views(c, &seqs).await?;
    let total = if page.count {
        let mut sql = Sql::new("SELECT count(*)");
        sql.push(source);
        push_conditions(&mut sql, filter);
        let rows = sql.build().fetch_all(&mut *c).await.map_err(store_error)?;
        rows.first().map(read).transpose()?.map(i64::unsigned_abs)
    } else {
        None
    };
    Ok(Listed { items, next, total })
}

pub(in crate::store::sqlite) async fn backlog(
    c: &mut SqliteConnection,
) -> Result<Vec<Backlog>, StoreError> {
    let rows = sqlx::query(BACKLOG).fetch_all(c).await.map_err(store_error)?;
    let read = |row: &SqliteRow| {
        let mut c = Columns::of(row, "deliveries");
        Ok(Backlog {
            receiver: c.read("receiver")?,
            pending: c.read("count")?,
            oldest: c.time_or_none("at_ms")?,
        })
    };
    rows.iter().map(read).collect()
}

pub(in crate::store::sqlite) async fn dead_letters(
    c: &mut SqliteConnection,
) -> Result<Vec<DeadLetter>, StoreError> {
    let rows = sqlx::query(UNNOTED).fetch_all(c).await.map_err(store_error)?;
    let read = |row: &SqliteRow| {
        let mut c = Columns::of(row, "deliveries");
        Ok(DeadLetter {
            id: DeliveryId::from_uuid(c.read::<Uuid>("id")?),
            receiver: ReceiverId::from_uuid(c.read::<Uuid>("receiver_seq")?),
            name: c.read("receiver")?,
            incident: c.read::<Option<Uuid>>("incident_seq")?.map(IncidentId::from_uuid),
            alert: c.read::<Option<Uuid>>("alert_seq")?.map(AlertId::from_uuid),
            reason: c.named("reason", Reason::parse)?,
            error: c.read("error")?,
        })
    };
    rows.iter().map(read).collect()
}
