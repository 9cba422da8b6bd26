//! Lists of events, and what is shown of one.
//!
//! Events have no index. Those of an alert are chained from its newest one, so whatever narrows
//! down the alerts is found through them, and everything else by walking through the table.

use futures_util::TryStreamExt;
use sqlx::{SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    super::{StoreError, maintenance::Log, rows::Columns, store_error},
    PAGE_BYTES,
    alerts::{only_open, text_column},
    search::{self, Candidates, Words},
    subject::Tests,
    walk::{
        self, FIRST_WINDOW, FIRST_WINDOW_OF_WORDS, Found, Scan, Sql, json_list, push_in, push_span,
        push_times,
    },
};
use crate::{
    domain::{
        event::{Action, Api, Disposition},
        id::{AlertId, EventId, IntegrationId, ServiceId},
    },
    store::query::{
        EventFilter, Page, TextField,
        views::{EventView, raw},
    },
};

/// The chains of as many alerts are followed together.
const CHAINS_MAX: i64 = 10_000;

/// Where a scan finds events.
#[derive(Clone, Debug)]
enum Source {
    /// The table, by number.
    Table,
    /// The chains that begin at these.
    Chains(Vec<i64>),
}

/// Finds the events that fit a filter among those of a source.
struct EventScan<'f> {
    filter: &'f EventFilter,
    source: Source,
    /// The index says which texts have the words of `q`; else each is looked at.
    words: Option<&'f Words>,
}

impl<'f> EventScan<'f> {
    fn tests(&self) -> Tests<'f> {
        let q: &[_] = if self.words.is_some() { &[] } else { &self.filter.event.q };
        Tests { q, matches: &self.filter.event.matches }
    }

    fn push_conditions(&self, sql: &mut Sql) {
        let EventFilter { event, action, api, disposition, alerts } = self.filter;
        push_in(sql, "e.alert_seq", alerts.iter().map(|id| id.seq()));
        push_in(sql, "e.action", action.iter().map(|action| action.as_str()));
        push_in(sql, "e.api", api.iter().map(|api| api.as_str()));
        push_in(sql, "e.disposition", disposition.iter().map(|d| d.as_str()));
        push_in(sql, "e.service_seq", event.services.iter().map(|id| id.seq()));
        push_in(sql, "e.integration_seq", event.integrations.iter().map(|id| id.seq()));
        push_in(sql, "a.status", event.status.iter().map(|status| status.as_str()));
        push_in(sql, "c.severity", event.severity.iter().map(|severity| severity.as_str()));
        push_in(sql, "a.incident_seq", event.incidents.iter().map(|incident| incident.seq()));
        for (field, values) in &event.texts {
            push_in(sql, text_column(*field, "e.dedup_key"), values.iter().cloned());
        }
        if let Some(suppressed) = event.suppressed {
            let is = if suppressed { " = 1" } else { " = 0" };
            sql.push(" AND coalesce(a.suppressed, 0)").push(is);
        }
        push_times(sql, "e.received_at_ms", event.since, event.until);
        if let Some(words) = self.words {
            words.push(sql, "c.text_seq");
        }
    }

    /// Whether conditions or tests look at the event's alert or content.
    fn needs_alert(&self) -> bool {
        let event = &self.filter.event;
        !(event.status.is_empty()
            && event.severity.is_empty()
            && event.incidents.is_empty()
            && event.suppressed.is_none()
            && !has_words(self.filter)
            && event.matches.is_empty())
    }

    /// From the tables on, without the chain before it.
    fn push_tables(&self, sql: &mut Sql) {
        sql.push(match self.source {
            Source::Table => " FROM events e NOT INDEXED",
            Source::Chains(_) => " FROM chain CROSS JOIN events e ON e.seq = chain.seq",
        });
        if self.needs_alert() {
            sql.push(
                " LEFT JOIN alerts a ON a.seq = e.alert_seq \
                 LEFT JOIN contents c ON c.seq = coalesce(e.content_seq, a.content_seq)",
            );
        }
        sql.push(self.tests().joins("e")).push(" WHERE TRUE");
    }
}

impl Scan for EventScan<'_> {
    fn statement(&self, low: i64, high: i64, limit: Option<usize>) -> Sql {
        let columns = self.tests().columns("e.dedup_key", "e.dedup_key", "e.action");
        match &self.source {
            Source::Table => {
                let mut sql = Sql::new("SELECT e.seq, TRUE");
                sql.push(columns);
                self.push_tables(&mut sql);
                self.push_conditions(&mut sql);
                push_span(&mut sql, "e.seq", low, high);
                sql.push(" ORDER BY e.seq DESC");
                if let Some(limit) = limit {
                    sql.push(" LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
                }
                sql
            }
            Source::Chains(newest) => {
                // The order inside makes the recursion take the newest of all chains next, so that
                // its rows come newest first and it can be stopped anywhere.
                let mut sql = Sql::new(
                    "WITH RECURSIVE chain (seq, prev) AS (SELECT e.seq, e.prev_event_seq \
                     FROM json_each(",
                );
                sql.push_bind(json_list(newest))
                    .push(
                        ") j CROSS JOIN events e ON e.seq = j.value UNION ALL \
                         SELECT e.seq, e.prev_event_seq FROM chain CROSS JOIN events e \
                         ON e.seq = chain.prev WHERE chain.prev >= ",
                    )
                    .push_bind(low)
                    .push(" ORDER BY 1 DESC) SELECT e.seq, (TRUE");
                self.push_conditions(&mut sql);
                sql.push(")").push(columns);
                self.push_tables(&mut sql);
                push_span(&mut sql, "chain.seq", low, high);
                sql
            }
        }
    }

    fn count(&self, low: i64, high: i64) -> Option<Sql> {
        if self.is_tested() || !matches!(self.source, Source::Table) {
            return None;
        }
        let mut sql = Sql::new("SELECT count(*)");
        self.push_tables(&mut sql);
        self.push_conditions(&mut sql);
        push_span(&mut sql, "e.seq", low, high);
        Some(sql)
    }

    fn is_tested(&self) -> bool {
        !self.tests().is_empty()
    }

    fn test(&self, row: &SqliteRow) -> Result<bool, StoreError> {
        self.tests().hold(row)
    }

    fn is_windowed(&self) -> bool {
        matches!(self.source, Source::Table)
    }

    fn first_window(&self) -> i64 {
        if self.words.is_some() { FIRST_WINDOW_OF_WORDS } else { FIRST_WINDOW }
    }

    fn can_limit(&self) -> bool {
        matches!(self.source, Source::Table)
    }
}

/// Whether it asks for words that only events with an alert have.
fn has_words(filter: &EventFilter) -> bool {
    !filter.event.q.is_empty()
        || filter.event.texts.iter().any(|(field, _)| *field != TextField::DedupKey)
}

async fn scan<'f>(
    connection: &mut SqliteConnection,
    filter: &'f EventFilter,
    before: Option<i64>,
) -> Result<(EventScan<'f>, Option<Words>), StoreError> {
    let table = EventScan { filter, source: Source::Table, words: None };
    let event = &filter.event;
    let alerts: Vec<i64> = if !filter.alerts.is_empty() {
        filter.alerts.iter().map(|id| id.seq()).collect()
    } else if has_words(filter) {
        match search::candidates(connection, &event.texts, &event.q).await? {
            Candidates::Complete(texts) => sqlx::query_scalar(ALERTS_OF_TEXTS)
                .bind(json_list(&texts))
                .fetch_all(&mut *connection)
                .await
                .map_err(store_error)?,
            Candidates::Common(words) => return Ok((table, words)),
            Candidates::NotAsked => return Ok((table, None)),
        }
    } else if !event.incidents.is_empty()
        || event.suppressed == Some(true)
        || only_open(&event.status)
    {
        let (statement, owners) = if !event.incidents.is_empty() {
            (ALERTS_OF_INCIDENTS, event.incidents.iter().map(|i| i.seq()).collect())
        } else if event.suppressed == Some(true) {
            (SUPPRESSED_ALERTS, Vec::new())
        } else {
            (OPEN_ALERTS, super::service_seqs(connection, &[]).await?)
        };
        let alerts: Vec<i64> = sqlx::query_scalar(statement)
            .bind(json_list(&owners))
            .bind(CHAINS_MAX)
            .fetch_all(&mut *connection)
            .await
            .map_err(store_error)?;
        if i64::try_from(alerts.len()).unwrap_or(CHAINS_MAX) >= CHAINS_MAX {
            return Ok((table, None));
        }
        alerts
    } else {
        return Ok((table, None));
    };
    let newest = sqlx::query_scalar(CHAIN_STARTS)
        .bind(json_list(&alerts))
        .bind(before.unwrap_or(0))
        .fetch_all(&mut *connection)
        .await
        .map_err(store_error)?;
    Ok((EventScan { source: Source::Chains(newest), ..table }, None))
}

pub(super) const OPEN_ALERTS: &str = "SELECT a.seq FROM json_each(?1) j \
     CROSS JOIN alerts a INDEXED BY alerts_open_service ON a.service_seq = j.value \
     AND a.status <> 'resolved' LIMIT ?2";

/// As [`OPEN_ALERTS`], of all services: `?1` is not looked at.
pub(super) const SUPPRESSED_ALERTS: &str = "SELECT a.seq FROM alerts a \
     INDEXED BY alerts_suppressed WHERE a.suppressed = 1 AND a.status <> 'resolved' \
     AND ?1 IS NOT NULL LIMIT ?2";

pub(super) const ALERTS_OF_TEXTS: &str = "SELECT DISTINCT t.alert_seq FROM json_each(?1) j \
     CROSS JOIN contents t ON t.seq = j.value";

pub(super) const ALERTS_OF_INCIDENTS: &str = "SELECT a.seq FROM json_each(?1) j \
     CROSS JOIN alerts a INDEXED BY alerts_incident ON a.incident_seq = j.value LIMIT ?2";

/// Where to begin in the chains of alerts: behind an event that is in one of them, at the newest in
/// the others.
pub(super) const CHAIN_STARTS: &str = "SELECT DISTINCT coalesce((SELECT CASE WHEN \
     e.alert_seq = a.seq THEN coalesce(e.prev_event_seq, 0) END FROM events e WHERE e.seq = ?2), \
     a.last_event_seq) FROM json_each(?1) j CROSS JOIN alerts a ON a.seq = j.value";

/// The numbers of one page of events; common words as in [`super::alerts::find`].
pub(super) async fn find(
    connection: &mut SqliteConnection,
    filter: &EventFilter,
    page: Page,
) -> Result<Found, StoreError> {
    let (mut scan, words) = scan(connection, filter, page.before).await?;
    let (since, until) = (filter.event.since, filter.event.until);
    let span = super::span(connection, Log::Events, since, until).await?;
    let mut found = walk::page(connection, std::slice::from_ref(&scan), span, page).await?;
    if words.is_some()
        && let Some(rest) = found.missing(page)
    {
        scan.words = words.as_ref();
        found.extend(walk::page(connection, &[scan], span, rest).await?);
    }
    Ok(found)
}

pub(super) async fn count(
    connection: &mut SqliteConnection,
    filter: &EventFilter,
) -> Result<Option<u64>, StoreError> {
    let (mut scan, words) = scan(connection, filter, None).await?;
    scan.words = words.as_ref();
    let (since, until) = (filter.event.since, filter.event.until);
    let span = super::span(connection, Log::Events, since, until).await?;
    walk::count(connection, &[scan], span).await
}

pub(super) const VIEWS: &str = "SELECT e.seq, e.id, e.received_at_ms, e.event_at_ms, \
     e.timestamp_sent, e.api, e.action, g.id, s.id, a.id, e.dedup_key, e.disposition, e.trace, \
     e.body FROM json_each(?1) j CROSS JOIN events e ON e.seq = j.value \
     CROSS JOIN integrations g ON g.seq = e.integration_seq \
     CROSS JOIN services s ON s.seq = e.service_seq LEFT JOIN alerts a ON a.seq = e.alert_seq";

/// What is shown of events, in the order of their numbers given; fewer if they grow large.
pub(super) async fn views(
    connection: &mut SqliteConnection,
    found: &mut Found,
) -> Result<Vec<EventView>, StoreError> {
    let mut rows = sqlx::query(VIEWS).bind(json_list(&found.keys)).fetch(connection);
    let mut views = Vec::with_capacity(found.keys.len());
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await.map_err(store_error)? {
        let (seq, view) = view(&row)?;
        bytes += view.body.len() + view.trace.get().len();
        views.push(view);
        if bytes > PAGE_BYTES && found.keys.last() != Some(&seq) {
            found.next = Some(seq);
            break;
        }
    }
    Ok(views)
}

fn view(row: &SqliteRow) -> Result<(i64, EventView), StoreError> {
    let mut c = Columns::of(row, "events");
    let seq = c.read("seq")?;
    let view = EventView {
        id: EventId::from_uuid(c.read::<Uuid>("id")?),
        received_at: c.time("received_at_ms")?,
        event_at: c.time("event_at_ms")?,
        timestamp_sent: c.read("timestamp_sent")?,
        api: c.named("api", Api::parse)?,
        action: c.named("action", Action::parse)?,
        integration_id: IntegrationId::from_uuid(c.read::<Uuid>("integration_seq")?),
        service_id: ServiceId::from_uuid(c.read::<Uuid>("service_seq")?),
        alert_id: c.read::<Option<Uuid>>("alert_seq")?.map(AlertId::from_uuid),
        dedup_key: c.read("dedup_key")?,
        disposition: c.named("disposition", Disposition::parse)?,
        trace: raw(c.read("trace")?),
        body: c.read("body")?,
    };
    Ok((seq, view))
}
