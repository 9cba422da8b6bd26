//! What is shown of deliveries.

use sqlx::{SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    super::{StoreError, maintenance::Log, rows::Columns, store_error},
    walk::{self, Scan, Sql, json_list, push_in, push_span},
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
     WHERE d.state = 'dead' AND d.noted = 0 ORDER BY d.seq LIMIT 1000";

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

/// Finds deliveries by the index that has the fewest of them; without one by walking through the
/// table.
pub(super) struct DeliveryScan<'f> {
    filter: &'f DeliveryFilter,
    source: Source,
}

/// What a scan goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Incidents,
    Dead,
    /// Not at an end.
    Open,
    Table,
}

impl<'f> DeliveryScan<'f> {
    pub(super) fn new(filter: &'f DeliveryFilter) -> Self {
        let is_open = |state: &DeliveryState| match state {
            DeliveryState::Pending | DeliveryState::Leased => true,
            DeliveryState::Delivered | DeliveryState::Dead => false,
        };
        let source = if !filter.incidents.is_empty() {
            Source::Incidents
        } else if filter.states.is_empty() {
            Source::Table
        } else if filter.states.iter().all(|state| *state == DeliveryState::Dead) {
            Source::Dead
        } else if filter.states.iter().all(is_open) {
            Source::Open
        } else {
            Source::Table
        };
        Self { filter, source }
    }

    fn push_conditions(&self, sql: &mut Sql, low: i64, high: i64) {
        let filter = self.filter;
        // Conditions of partial indexes have to be written out.
        sql.push(match self.source {
            Source::Incidents => " FROM deliveries d INDEXED BY deliveries_incident WHERE TRUE",
            Source::Dead => " FROM deliveries d INDEXED BY deliveries_dead WHERE d.state = 'dead'",
            Source::Open => {
                " FROM deliveries d INDEXED BY deliveries_lane \
                 WHERE d.state IN ('pending', 'leased')"
            }
            Source::Table => " FROM deliveries d NOT INDEXED WHERE TRUE",
        });
        push_in(sql, "d.incident_seq", filter.incidents.iter().map(|incident| incident.seq()));
        push_in(sql, "d.state", filter.states.iter().map(|state| state.as_str()));
        if !filter.receivers.is_empty() {
            sql.push(" AND (FALSE");
            for called in &filter.receivers {
                match ReceiverId::parse(called) {
                    Some(id) => sql.push(" OR d.receiver_seq = ").push_bind(id.seq()),
                    None => sql.push(" OR d.receiver = ").push_bind(called.clone()),
                };
            }
            sql.push(")");
        }
        push_span(sql, "d.seq", low, high);
    }
}

impl Scan for DeliveryScan<'_> {
    fn statement(&self, low: i64, high: i64, limit: Option<usize>) -> Sql {
        let mut sql = Sql::new("SELECT d.seq, TRUE");
        self.push_conditions(&mut sql, low, high);
        sql.push(" ORDER BY d.seq DESC");
        if let Some(limit) = limit {
            sql.push(" LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
        }
        sql
    }

    fn count(&self, low: i64, high: i64) -> Option<Sql> {
        let mut sql = Sql::new("SELECT count(*)");
        self.push_conditions(&mut sql, low, high);
        Some(sql)
    }

    fn is_tested(&self) -> bool {
        false
    }

    fn test(&self, _: &SqliteRow) -> Result<bool, StoreError> {
        Ok(true)
    }

    fn is_windowed(&self) -> bool {
        self.source == Source::Table
    }
}

/// Newest first.
pub(in crate::store::sqlite) async fn list(
    c: &mut SqliteConnection,
    filter: &DeliveryFilter,
    page: Page,
) -> Result<Listed<DeliveryView>, StoreError> {
    let Some(incidents) = super::known_incidents(c, &filter.incidents).await? else {
        return Ok(super::nothing(page));
    };
    let filter = &DeliveryFilter { incidents, ..filter.clone() };
    let scans = [DeliveryScan::new(filter)];
    let span = super::span(c, Log::Deliveries, None, None).await?;
    let found = walk::page(c, &scans, span, page).await?;
    let items = views(c, &found.keys).await?;
    let total = if page.count { walk::count(c, &scans, span).await? } else { None };
    Ok(Listed { items, next: found.next, total })
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
