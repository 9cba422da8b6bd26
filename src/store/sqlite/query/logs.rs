//! Timelines, change events, the audit log.

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    super::{StoreError, maintenance::Log, rows::Columns, store_error},
    walk::{self, Scan, Sql, json_list, push_in, push_span, push_times},
};
use crate::{
    domain::{
        id::{AlertId, AuditId, ChangeId, IncidentId, IntegrationId, ServiceId, TimelineId},
        search::Query,
    },
    store::query::{
        ChangeFilter, Listed, Page,
        views::{AuditView, ChangeView, TimelineView, raw},
    },
};

/// The statements for one kind of timeline: its rows before a number, and their number.
pub(super) struct Timeline {
    pub(super) rows: &'static str,
    pub(super) count: &'static str,
}

/// The newest note by `?1` that says `?2`.
pub(super) const NOTE: &str = "SELECT t.seq, t.id, t.at_ms, t.kind, t.actor, t.reason, a.id, i.id \
     FROM timeline t INDEXED BY timeline_notes LEFT JOIN alerts a ON a.seq = t.alert_seq \
     LEFT JOIN incidents i ON i.seq = t.incident_seq \
     WHERE t.kind = 'note' AND t.actor = ?1 AND t.reason = ?2 ORDER BY t.seq DESC LIMIT 1";

macro_rules! timeline_of {
    ($column:literal, $index:literal) => {
        Timeline {
            rows: concat!(
                "SELECT t.seq, t.id, t.at_ms, t.kind, t.actor, t.reason, a.id, i.id \
                 FROM timeline t INDEXED BY ",
                $index,
                " LEFT JOIN alerts a ON a.seq = t.alert_seq \
                 LEFT JOIN incidents i ON i.seq = t.incident_seq WHERE t.",
                $column,
                " = ?1 AND t.seq < ?2 ORDER BY t.seq DESC LIMIT ?3"
            ),
            count: concat!(
                "SELECT count(*) FROM timeline INDEXED BY ",
                $index,
                " WHERE ",
                $column,
                " = ?1"
            ),
        }
    };
}

pub(super) const OF_ALERT: Timeline = timeline_of!("alert_seq", "timeline_alert");
pub(super) const OF_INCIDENT: Timeline = timeline_of!("incident_seq", "timeline_incident");

/// A page of rows that a statement finds from `?1` (owner), `?2` (number) and `?3` (limit), the
/// first column their number.
fn cut(rows: &mut Vec<SqliteRow>, page: Page) -> Result<Option<i64>, StoreError> {
    if rows.len() <= page.limit {
        return Ok(None);
    }
    rows.truncate(page.limit);
    rows.last().map(|row| row.try_get(0).map_err(store_error)).transpose()
}

fn one_more_than(page: Page) -> i64 {
    i64::try_from(page.limit + 1).unwrap_or(i64::MAX)
}

pub(super) async fn timeline(
    connection: &mut SqliteConnection,
    of: &Timeline,
    owner: i64,
    page: Page,
) -> Result<Listed<TimelineView>, StoreError> {
    let mut rows = sqlx::query(of.rows)
        .bind(owner)
        .bind(page.before.unwrap_or(i64::MAX))
        .bind(one_more_than(page))
        .fetch_all(&mut *connection)
        .await
        .map_err(store_error)?;
    let next = cut(&mut rows, page)?;
    let items = rows.iter().map(entry).collect::<Result<_, _>>()?;
    let total = if page.count {
        let counted = sqlx::query_scalar(of.count).bind(owner).fetch_one(connection).await;
        Some(counted.map_err(store_error).map(i64::unsigned_abs)?)
    } else {
        None
    };
    Ok(Listed { items, next, total })
}

fn entry(row: &SqliteRow) -> Result<TimelineView, StoreError> {
    let mut c = Columns::of(row, "timeline");
    let _: i64 = c.read("seq")?;
    Ok(TimelineView {
        id: TimelineId::from_uuid(c.read::<Uuid>("id")?),
        at: c.time("at_ms")?,
        kind: c.read("kind")?,
        actor: c.read("actor")?,
        reason: c.read("reason")?,
        alert_id: c.read::<Option<Uuid>>("alert_seq")?.map(AlertId::from_uuid),
        incident_id: c.read::<Option<Uuid>>("incident_seq")?.map(IncidentId::from_uuid),
    })
}

pub(super) async fn note(
    connection: &mut SqliteConnection,
    actor: &str,
    text: &str,
) -> Result<Option<TimelineView>, StoreError> {
    let row = sqlx::query(NOTE).bind(actor).bind(text).fetch_optional(connection).await;
    row.map_err(store_error)?.as_ref().map(entry).transpose()
}

/// Finds change events by walking through their table: there are few.
struct ChangeScan<'f> {
    filter: &'f ChangeFilter,
}

impl ChangeScan<'_> {
    fn push_conditions(&self, sql: &mut Sql, low: i64, high: i64) {
        let filter = self.filter;
        sql.push(" FROM changes x NOT INDEXED WHERE TRUE");
        push_in(sql, "x.service_seq", filter.services.iter().map(|id| id.seq()));
        push_in(sql, "x.integration_seq", filter.integrations.iter().map(|id| id.seq()));
        push_in(sql, "coalesce(x.source, '')", filter.source.iter().cloned());
        push_times(sql, "x.received_at_ms", filter.since, filter.until);
        push_span(sql, "x.seq", low, high);
    }
}

impl Scan for ChangeScan<'_> {
    fn statement(&self, low: i64, high: i64, limit: Option<usize>) -> Sql {
        let mut sql = Sql::new("SELECT x.seq, TRUE, x.summary, x.source");
        self.push_conditions(&mut sql, low, high);
        sql.push(" ORDER BY x.seq DESC");
        if let Some(limit) = limit {
            sql.push(" LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
        }
        sql
    }

    fn count(&self, low: i64, high: i64) -> Option<Sql> {
        if self.is_tested() {
            return None;
        }
        let mut sql = Sql::new("SELECT count(*)");
        self.push_conditions(&mut sql, low, high);
        Some(sql)
    }

    fn is_tested(&self) -> bool {
        !self.filter.q.is_empty()
    }

    fn test(&self, row: &SqliteRow) -> Result<bool, StoreError> {
        let summary: &str = row.try_get(2).map_err(store_error)?;
        let source: Option<&str> = row.try_get(3).map_err(store_error)?;
        let found = |q: &Query| q.found_in([summary, source.unwrap_or("")]);
        Ok(self.filter.q.iter().any(found))
    }

    fn is_windowed(&self) -> bool {
        true
    }
}

pub(super) async fn changes(
    connection: &mut SqliteConnection,
    filter: &ChangeFilter,
    page: Page,
) -> Result<Listed<ChangeView>, StoreError> {
    let span = super::span(connection, Log::Changes, filter.since, filter.until).await?;
    let found = walk::page(connection, &[ChangeScan { filter }], span, page).await?;
    let items = change_views(connection, &found.keys).await?;
    let total = if page.count {
        walk::count(connection, &[ChangeScan { filter }], span).await?
    } else {
        None
    };
    Ok(Listed { items, next: found.next, total })
}

pub(super) const CHANGE_VIEWS: &str = "SELECT x.id, x.received_at_ms, x.event_at_ms, s.id, g.id, \
     x.summary, x.source, x.custom_details, x.links \
     FROM json_each(?1) j CROSS JOIN changes x ON x.seq = j.value \
     CROSS JOIN services s ON s.seq = x.service_seq \
     CROSS JOIN integrations g ON g.seq = x.integration_seq";

/// What is shown of change events, in the order of their numbers given.
pub(super) async fn change_views(
    connection: &mut SqliteConnection,
    keys: &[i64],
) -> Result<Vec<ChangeView>, StoreError> {
    let rows = sqlx::query(CHANGE_VIEWS).bind(json_list(keys)).fetch_all(connection).await;
    rows.map_err(store_error)?.iter().map(change_view).collect()
}

fn change_view(row: &SqliteRow) -> Result<ChangeView, StoreError> {
    let mut c = Columns::of(row, "changes");
    Ok(ChangeView {
        id: ChangeId::from_uuid(c.read::<Uuid>("id")?),
        received_at: c.time("received_at_ms")?,
        event_at: c.time("event_at_ms")?,
        service_id: ServiceId::from_uuid(c.read::<Uuid>("service_seq")?),
        integration_id: IntegrationId::from_uuid(c.read::<Uuid>("integration_seq")?),
        summary: c.read("summary")?,
        source: c.read("source")?,
        custom_details: c.read::<Option<&str>>("custom_details")?.map(raw),
        links: raw(c.read::<Option<&str>>("links")?.unwrap_or("[]")),
    })
}

pub(super) async fn audit(
    connection: &mut SqliteConnection,
    page: Page,
) -> Result<Listed<AuditView>, StoreError> {
    let mut rows = sqlx::query(
        "SELECT seq, id, at_ms, actor, address, action, object_kind, object_id, object_name, \
         detail FROM audit WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2",
    )
    .bind(page.before.unwrap_or(i64::MAX))
    .bind(one_more_than(page))
    .fetch_all(&mut *connection)
    .await
    .map_err(store_error)?;
    let next = cut(&mut rows, page)?;
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut c = Columns::of(row, "audit");
        let _: i64 = c.read("seq")?;
        items.push(AuditView {
            id: AuditId::from_uuid(c.read::<Uuid>("id")?),
            at: c.time("at_ms")?,
            actor: c.read("actor")?,
            address: c.read("address")?,
            action: c.read("action")?,
            object_kind: c.read("object_kind")?,
            object_id: c.read("object_id")?,
            object_name: c.read("object_name")?,
            detail: raw(c.read("detail")?),
        });
    }
    let total = if page.count {
        let counted = sqlx::query_scalar("SELECT count(*) FROM audit").fetch_one(connection).await;
        Some(counted.map_err(store_error).map(i64::unsigned_abs)?)
    } else {
        None
    };
    Ok(Listed { items, next, total })
}
