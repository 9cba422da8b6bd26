//! Lists of incidents, and what is shown of one.

use std::collections::BTreeMap;

use sqlx::{SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    super::{StoreError, maintenance::Log, rows::Columns, store_error},
    alerts,
    search::Words,
    subject::{EVERYTHING, GIVEN_KEY, Tests},
    walk::{
        self, FIRST_WINDOW, FIRST_WINDOW_OF_WORDS, Found, Scan, Sql, json_list, push_in, push_span,
        push_times,
    },
};
use crate::{
    domain::{
        alert::Status,
        event::Severity,
        id::{IncidentId, ServiceId},
        incident::Notices,
        notify,
    },
    store::query::{
        IncidentFilter, Page,
        views::{Holding, IncidentView, raw},
    },
};

/// Where a scan finds incidents.
#[derive(Clone, Debug)]
enum Source {
    /// The table, by number.
    Table,
    /// The open ones of a service.
    Open(i64),
    /// These.
    Numbers(Vec<i64>),
}

/// Finds the incidents that fit a filter among those of a source.
struct IncidentScan<'f> {
    filter: &'f IncidentFilter,
    source: Source,
    /// That one of its alerts fits is known already.
    alerts_hold: bool,
    /// The index says which texts have the words of `q`; else each is looked at.
    words: Option<&'f Words>,
}

impl<'f> IncidentScan<'f> {
    fn tests(&self) -> Tests<'f> {
        let alert = &self.filter.alert;
        if self.alerts_hold {
            return Tests { q: &[], matches: &EVERYTHING };
        }
        let q: &[_] = if self.words.is_some() { &[] } else { &alert.q };
        Tests { q, matches: &alert.matches }
    }

    fn push_source(&self, sql: &mut Sql) {
        match &self.source {
            Source::Table => sql.push(" FROM incidents i NOT INDEXED"),
            Source::Open(_) => sql.push(" FROM incidents i INDEXED BY incidents_open_service"),
            Source::Numbers(numbers) => sql
                .push(" FROM json_each(")
                .push_bind(json_list(numbers))
                .push(") j CROSS JOIN incidents i ON i.seq = j.value"),
        };
        if self.is_tested() {
            sql.push(
                " CROSS JOIN alerts a INDEXED BY alerts_incident ON a.incident_seq = i.seq \
                 CROSS JOIN contents c ON c.seq = a.content_seq",
            );
        }
        sql.push(self.tests().joins("a")).push(" WHERE TRUE");
        if let Source::Open(service) = &self.source {
            sql.push(" AND i.status <> 'resolved' AND i.service_seq = ").push_bind(*service);
        }
        self.push_own_conditions(sql);
        let filter = self.filter;
        if self.is_tested() {
            self.push_alert_conditions(sql);
        } else if !self.alerts_hold && asks_for_alerts(filter) {
            sql.push(" AND EXISTS (SELECT 1 FROM alerts a INDEXED BY alerts_incident");
            if alerts::needs_content(&filter.alert) {
                sql.push(" CROSS JOIN contents c ON c.seq = a.content_seq");
            }
            sql.push(" WHERE a.incident_seq = i.seq");
            self.push_alert_conditions(sql);
            sql.push(")");
        }
    }

    fn push_own_conditions(&self, sql: &mut Sql) {
        let filter = self.filter;
        push_in(sql, "i.status", filter.status.iter().map(|status| status.as_str()));
        push_in(sql, "i.severity", filter.severity.iter().map(|severity| severity.as_str()));
        push_in(sql, "i.service_seq", filter.services.iter().map(|id| id.seq()));
        push_in(sql, "i.seq", filter.incidents.iter().map(|incident| incident.seq()));
        push_times(sql, "i.created_at_ms", filter.since, filter.until);
    }

    fn push_alert_conditions(&self, sql: &mut Sql) {
        alerts::push_alert_conditions(sql, &self.filter.alert);
        if let Some(words) = self.words {
            words.push(sql, "a.text_seq");
        }
    }

    /// Whether going through all alerts once is the way to count.
    fn is_from_alerts(&self) -> bool {
        matches!(self.source, Source::Table) && !self.alerts_hold && asks_for_alerts(self.filter)
    }

    /// To ask each incident for its alerts would jump about in their table.
    fn count_from_alerts(&self, low: i64, high: i64) -> Sql {
        let mut sql = Sql::new("SELECT count(DISTINCT a.incident_seq) FROM alerts a NOT INDEXED");
        if alerts::needs_content(&self.filter.alert) {
            sql.push(" CROSS JOIN contents c ON c.seq = a.content_seq");
        }
        sql.push(" CROSS JOIN incidents i ON i.seq = a.incident_seq WHERE TRUE");
        self.push_alert_conditions(&mut sql);
        self.push_own_conditions(&mut sql);
        push_span(&mut sql, "a.incident_seq", low, high);
        sql
    }
}

impl Scan for IncidentScan<'_> {
    fn statement(&self, low: i64, high: i64, limit: Option<usize>) -> Sql {
        let mut sql = Sql::new("SELECT i.seq, TRUE");
        sql.push(self.tests().columns("a.dedup_key", GIVEN_KEY, "'trigger'"));
        self.push_source(&mut sql);
        push_span(&mut sql, "i.seq", low, high);
        sql.push(" ORDER BY i.seq DESC");
        if let Some(limit) = limit {
            sql.push(" LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
        }
        sql
    }

    fn count(&self, low: i64, high: i64) -> Option<Sql> {
        if self.is_tested() {
            return None;
        }
        if self.is_from_alerts() {
            return Some(self.count_from_alerts(low, high));
        }
        let mut sql = Sql::new("SELECT count(*)");
        self.push_source(&mut sql);
        push_span(&mut sql, "i.seq", low, high);
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
}

/// Whether one of its alerts has to fit.
fn asks_for_alerts(filter: &IncidentFilter) -> bool {
    let alert = &filter.alert;
    !(alert.integrations.is_empty()
        && alert.texts.is_empty()
        && alert.suppressed.is_none()
        && alert.matches.is_empty()
        && alert.q.is_empty())
}

async fn scans<'f>(
    connection: &mut SqliteConnection,
    filter: &'f IncidentFilter,
) -> Result<(Vec<IncidentScan<'f>>, Option<Words>), StoreError> {
    let scan = |source, alerts_hold| IncidentScan { filter, source, alerts_hold, words: None };
    let words = match alerts::find_by_texts(connection, &filter.alert).await? {
        Ok(found) => {
            let numbers = sqlx::query_scalar(INCIDENTS_OF_ALERTS)
                .bind(json_list(&found))
                .fetch_all(&mut *connection)
                .await
                .map_err(store_error)?;
            return Ok((vec![scan(Source::Numbers(numbers), true)], None));
        }
        Err(words) => words,
    };
    let scans = if !filter.incidents.is_empty() {
        let mut numbers: Vec<i64> = filter.incidents.iter().map(|i| i.seq()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        vec![scan(Source::Numbers(numbers), false)]
    } else if alerts::only_open(&filter.status) {
        let services = super::service_seqs(connection, &filter.services).await?;
        services.into_iter().map(|service| scan(Source::Open(service), false)).collect()
    } else {
        vec![scan(Source::Table, false)]
    };
    Ok((scans, words))
}

pub(super) const INCIDENTS_OF_ALERTS: &str = "SELECT DISTINCT a.incident_seq FROM json_each(?1) j \
     CROSS JOIN alerts a ON a.seq = j.value WHERE a.incident_seq IS NOT NULL";

/// The numbers of one page of incidents; common words as in [`alerts::find`].
pub(super) async fn find(
    connection: &mut SqliteConnection,
    filter: &IncidentFilter,
    page: Page,
) -> Result<Found, StoreError> {
    let (mut scans, words) = scans(connection, filter).await?;
    let span = super::span(connection, Log::Incidents, filter.since, filter.until).await?;
    let mut found = walk::page(connection, &scans, span, page).await?;
    if words.is_some()
        && let Some(rest) = found.missing(page)
    {
        for scan in &mut scans {
            scan.words = words.as_ref();
        }
        found.extend(walk::page(connection, &scans, span, rest).await?);
    }
    Ok(found)
}

pub(super) async fn count(
    connection: &mut SqliteConnection,
    filter: &IncidentFilter,
) -> Result<Option<u64>, StoreError> {
    let (mut scans, words) = scans(connection, filter).await?;
    for scan in &mut scans {
        scan.words = words.as_ref();
    }
    let span = super::span(connection, Log::Incidents, filter.since, filter.until).await?;
    walk::count(connection, &scans, span).await
}

pub(super) const VIEWS: &str = "SELECT i.id, i.seq, s.id, s.name, i.title, i.status, i.severity, \
     i.max_severity, i.alert_count, i.open_info + i.open_warning + i.open_error + i.open_critical, \
     (SELECT coalesce(sum(a.event_count), 0) FROM alerts a INDEXED BY alerts_incident \
     WHERE a.incident_seq = i.seq), \
     i.group_key, i.created_at_ms, i.last_alert_at_ms, i.acknowledged_at_ms, i.acknowledged_by, \
     i.resolved_at_ms, EXISTS (SELECT 1 FROM alerts a INDEXED BY alerts_flapping \
     WHERE a.incident_seq = i.seq AND a.flapping = 1 AND a.status <> 'resolved'), i.storm, \
     i.snoozed_until_ms, i.assignee, i.notices FROM json_each(?1) j CROSS JOIN incidents i ON i.seq = j.value \
     CROSS JOIN services s ON s.seq = i.service_seq";

/// What is shown of incidents, in the order of their numbers given.
pub(super) async fn views(
    connection: &mut SqliteConnection,
    keys: &[i64],
) -> Result<Vec<IncidentView>, StoreError> {
    let rows = sqlx::query(VIEWS)
        .bind(json_list(keys))
        .fetch_all(connection)
        .await
        .map_err(store_error)?;
    rows.iter().map(view).collect()
}

fn view(row: &SqliteRow) -> Result<IncidentView, StoreError> {
    let mut c = Columns::of(row, "incidents");
    let mut view = IncidentView {
        id: IncidentId::from_uuid(c.read::<Uuid>("id")?),
        number: c.read("seq")?,
        service_id: ServiceId::from_uuid(c.read::<Uuid>("service_seq")?),
        service: c.read("service_seq")?,
        title: c.read("title")?,
        status: c.named("status", Status::parse)?,
        severity: c.named("severity", Severity::parse)?,
        max_severity: c.named("max_severity", Severity::parse)?,
        alert_count: c.read("alert_count")?,
        open_alert_count: c.read("open_alerts")?,
        event_count: c.read("event_count")?,
        group_key: c.read::<Option<&str>>("group_key")?.map(raw),
        flapping: false,
        storm: None,
        created_at: c.time("created_at_ms")?,
        last_alert_at: c.time("last_alert_at_ms")?,
        acknowledged_at: c.time_or_none("acknowledged_at_ms")?,
        acknowledged_by: c.read("acknowledged_by")?,
        snoozed_until: None,
        resolved_at: c.time_or_none("resolved_at_ms")?,
        assignee: None,
        holdings: Vec::new(),
    };
    view.flapping = c.read("flapping")?;
    view.storm = c.read("storm")?;
    view.snoozed_until = c.time_or_none("snoozed_until_ms")?;
    view.assignee = c.read("assignee")?;
    // What cannot be read is shown as nothing: an odd row must not hide a page of others.
    let notices = Notices::from_stored(c.read("notices")?).unwrap_or_default();
    view.holdings = notices.holdings.into_iter().map(holding).collect();
    Ok(view)
}

fn holding(holding: notify::Holding) -> Holding {
    let notify::Holding { receiver, state, severity, due, why, .. } = holding;
    Holding { receiver, state, severity, due, why }
}

const TOLD_OF_OPEN: &str = "SELECT s.id, h.value ->> 'receiver', count(*) \
     FROM incidents i INDEXED BY incidents_open_service \
     JOIN services s ON s.seq = i.service_seq JOIN json_each(i.notices, '$.holdings') h \
     WHERE i.status <> 'resolved' AND h.value ->> 'state' = 'told' GROUP BY 1, 2";

pub(super) async fn told_of_open(
    connection: &mut SqliteConnection,
) -> Result<BTreeMap<(ServiceId, String), u64>, StoreError> {
    let rows = sqlx::query(TOLD_OF_OPEN).fetch_all(connection).await.map_err(store_error)?;
    let read = |row: &SqliteRow| {
        let mut c = Columns::of(row, "incidents");
        let service = ServiceId::from_uuid(c.read::<Uuid>("service_seq")?);
        let receiver = c.read("notices")?;
        Ok(((service, receiver), c.read::<i64>("count")?.unsigned_abs()))
    };
    rows.iter().map(read).collect()
}
