//! Lists of alerts, and what is shown of one.

use futures_util::TryStreamExt;
use sqlx::{SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    super::{StoreError, maintenance::Log, rows::Columns, store_error},
    PAGE_BYTES,
    search::{self, Candidates, Words},
    standing,
    subject::{DETAILS, GIVEN_KEY, Tests},
    walk::{
        self, FIRST_WINDOW, FIRST_WINDOW_OF_WORDS, Found, Limits, Scan, Sql, json_list, push_in,
        push_span, push_times,
    },
};
use crate::{
    domain::{
        alert::Status,
        event::Severity,
        id::{AlertId, IncidentId, IntegrationId, ServiceId},
        standing::Quiet,
        time::Timestamp,
    },
    store::query::{
        AlertFilter, Page, TextField,
        views::{AlertView, raw},
    },
};

/// Where a scan finds alerts.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// The table, by number.
    Table,
    /// The open ones of a service.
    Open(i64),
    /// The open ones that are silenced or inhibited.
    Suppressed,
    /// Those of an incident.
    Incident(i64),
    /// Those that have one of these texts now.
    Texts(Vec<i64>),
}

/// Finds the alerts that fit a filter among those of a source.
pub(super) struct AlertScan<'f> {
    pub(super) filter: &'f AlertFilter,
    pub(super) source: Source,
    /// The index says which texts have the words of `q`; else each is looked at.
    pub(super) words: Option<&'f Words>,
}

impl<'f> AlertScan<'f> {
    pub(super) fn new(filter: &'f AlertFilter, source: Source) -> Self {
        Self { filter, source, words: None }
    }

    fn tests(&self) -> Tests<'f> {
        let q: &[_] = if self.words.is_some() { &[] } else { &self.filter.q };
        Tests { q, matches: &self.filter.matches }
    }

    fn push_source(&self, sql: &mut Sql) {
        match &self.source {
            Source::Table => sql.push(" FROM alerts a NOT INDEXED"),
            Source::Open(_) => sql.push(" FROM alerts a INDEXED BY alerts_open_service"),
            Source::Suppressed => sql.push(" FROM alerts a INDEXED BY alerts_suppressed"),
            Source::Incident(_) => sql.push(" FROM alerts a INDEXED BY alerts_incident"),
            Source::Texts(texts) => sql
                .push(" FROM json_each(")
                .push_bind(json_list(texts))
                .push(") j CROSS JOIN contents t ON t.seq = j.value")
                .push(" CROSS JOIN alerts a ON a.seq = t.alert_seq AND a.text_seq = t.seq"),
        };
        if needs_content(self.filter) || !self.tests().is_empty() {
            sql.push(" CROSS JOIN contents c ON c.seq = a.content_seq");
        }
        sql.push(self.tests().joins("a")).push(" WHERE TRUE");
        match &self.source {
            Source::Open(service) => {
                sql.push(" AND a.status <> 'resolved' AND a.service_seq = ").push_bind(*service);
            }
            Source::Suppressed => {
                sql.push(" AND a.suppressed = 1 AND a.status <> 'resolved'");
            }
            Source::Incident(incident) => {
                sql.push(" AND a.incident_seq = ").push_bind(*incident);
            }
            Source::Table | Source::Texts(_) => {}
        }
        push_alert_conditions(sql, self.filter);
        if let Some(words) = self.words {
            words.push(sql, "a.text_seq");
        }
    }
}

impl Scan for AlertScan<'_> {
    fn statement(&self, low: i64, high: i64, limit: Option<usize>) -> Sql {
        let mut sql = Sql::new("SELECT a.seq, TRUE");
        sql.push(self.tests().columns("a.dedup_key", GIVEN_KEY, "'trigger'"));
        self.push_source(&mut sql);
        push_span(&mut sql, "a.seq", low, high);
        sql.push(" ORDER BY a.seq DESC");
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
        self.push_source(&mut sql);
        push_span(&mut sql, "a.seq", low, high);
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

/// Whether the conditions look at the content of the alert.
pub(super) fn needs_content(filter: &AlertFilter) -> bool {
    filter.texts.iter().any(|(field, _)| *field != TextField::DedupKey)
}

/// The column of a field of content `c`. The dedup key is not among them.
pub(super) fn text_column(field: TextField, dedup_key: &'static str) -> &'static str {
    match field {
        TextField::DedupKey => dedup_key,
        TextField::Source => "c.source",
        TextField::Component => "coalesce(c.component, '')",
        TextField::Group => "coalesce(c.\"group\", '')",
        TextField::Class => "coalesce(c.class, '')",
    }
}

/// What SQL can say about alert `a` and its content `c`.
pub(super) fn push_alert_conditions(sql: &mut Sql, filter: &AlertFilter) {
    push_in(sql, "a.status", filter.status.iter().map(|status| status.as_str()));
    push_in(sql, "a.severity", filter.severity.iter().map(|severity| severity.as_str()));
    push_in(sql, "a.service_seq", filter.services.iter().map(|id| id.seq()));
    push_in(sql, "a.integration_seq", filter.integrations.iter().map(|id| id.seq()));
    push_in(sql, "a.incident_seq", filter.incidents.iter().map(|incident| incident.seq()));
    for (field, values) in &filter.texts {
        push_in(sql, text_column(*field, "a.dedup_key"), values.iter().cloned());
    }
    if let Some(suppressed) = filter.suppressed {
        sql.push(if suppressed { " AND a.suppressed = 1" } else { " AND a.suppressed = 0" });
    }
    push_times(sql, "a.first_event_at_ms", filter.since, filter.until);
}

/// Whether nothing can fit, whatever there is.
pub(super) fn fits_nothing(filter: &AlertFilter) -> bool {
    let tests = Tests { q: &filter.q, matches: &filter.matches };
    tests.find_nothing()
}

/// The sources to look through for a filter, which have no alert in common; and how the index is
/// asked, if its words are too common to look at each text that has them.
pub(super) async fn scans<'f>(
    connection: &mut SqliteConnection,
    filter: &'f AlertFilter,
) -> Result<(Vec<AlertScan<'f>>, Option<Words>), StoreError> {
    let words = match search::candidates(connection, &filter.texts, &filter.q).await? {
        Candidates::Complete(texts) => {
            return Ok((vec![AlertScan::new(filter, Source::Texts(texts))], None));
        }
        Candidates::Common(words) => words,
        Candidates::NotAsked => None,
    };
    let sources: Vec<Source> = if !filter.incidents.is_empty() {
        let mut incidents: Vec<i64> = filter.incidents.iter().map(|i| i.seq()).collect();
        incidents.sort_unstable();
        incidents.dedup();
        incidents.into_iter().map(Source::Incident).collect()
    } else if filter.suppressed == Some(true) {
        vec![Source::Suppressed]
    } else if only_open(&filter.status) {
        let services = super::service_seqs(connection, &filter.services).await?;
        services.into_iter().map(Source::Open).collect()
    } else {
        vec![Source::Table]
    };
    Ok((sources.into_iter().map(|source| AlertScan::new(filter, source)).collect(), words))
}

pub(super) fn only_open(status: &[Status]) -> bool {
    !status.is_empty() && !status.contains(&Status::Resolved)
}

/// The numbers of one page of alerts. Common words are mostly in the newest rows too, so these are
/// looked at first; only if they do not fill the page, the index is asked for all of them.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    filter: &AlertFilter,
    page: Page,
) -> Result<Found, StoreError> {
    let (mut scans, words) = scans(connection, filter).await?;
    let span = super::span(connection, Log::Alerts, filter.since, filter.until).await?;
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

/// The numbers of all alerts that have certain texts, if these are few enough to look at each.
pub(super) async fn find_by_texts(
    connection: &mut SqliteConnection,
    filter: &AlertFilter,
) -> Result<Result<Vec<i64>, Option<Words>>, StoreError> {
    let texts = match search::candidates(connection, &filter.texts, &filter.q).await? {
        Candidates::Complete(texts) => texts,
        Candidates::Common(words) => return Ok(Err(words)),
        Candidates::NotAsked => return Ok(Err(None)),
    };
    let scan = AlertScan::new(filter, Source::Texts(texts));
    let walked = walk::walk(connection, &scan, (0, i64::MAX), usize::MAX, Limits::NONE).await?;
    Ok(Ok(walked.keys))
}

/// How many alerts fit.
pub(super) async fn count(
    connection: &mut SqliteConnection,
    filter: &AlertFilter,
) -> Result<Option<u64>, StoreError> {
    let (mut scans, words) = scans(connection, filter).await?;
    for scan in &mut scans {
        scan.words = words.as_ref();
    }
    let span = super::span(connection, Log::Alerts, filter.since, filter.until).await?;
    walk::count(connection, &scans, span).await
}

/// What is shown of alerts, in the order of their numbers given; fewer if they grow large. What
/// was deleted meanwhile is missing.
pub(super) async fn views(
    connection: &mut SqliteConnection,
    found: &mut Found,
) -> Result<Vec<AlertView>, StoreError> {
    let sql = format!("{VIEW} {DETAILS} {VIEW_FROM}");
    let list = json_list(&found.keys);
    let mut rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(list).fetch(&mut *connection);
    let mut views = Vec::with_capacity(found.keys.len());
    let mut inhibited = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await.map_err(store_error)? {
        let (view, quiet) = view(&row)?;
        let seq = view.id.seq();
        if !quiet.inhibited.is_empty() {
            inhibited.push((views.len(), quiet.inhibited));
        }
        bytes += view.custom_details.as_ref().map_or(0, |details| details.get().len());
        views.push(view);
        if bytes > PAGE_BYTES && found.keys.last() != Some(&seq) {
            found.next = Some(seq);
            break;
        }
    }
    drop(rows);
    standing::add_inhibitions(connection, &mut views, &inhibited).await?;
    Ok(views)
}

// `CROSS JOIN` keeps the order of the list.
const VIEW: &str = "SELECT a.id, g.id, g.name, s.id, s.name, a.dedup_key, a.status, a.severity, \
     a.max_severity, c.summary, c.source, c.component, c.\"group\", c.class, c.client, \
     c.client_url, c.links, c.images, c.labels, a.event_count, a.event_at_ms, \
     a.first_event_at_ms, a.last_event_at_ms, a.acknowledged_at_ms, a.resolved_at_ms, i.id, \
     a.standing, a.flapping,";
const VIEW_FROM: &str = "FROM json_each(?1) j CROSS JOIN alerts a ON a.seq = j.value \
     CROSS JOIN contents c ON c.seq = a.content_seq \
     CROSS JOIN integrations g ON g.seq = a.integration_seq \
     CROSS JOIN services s ON s.seq = a.service_seq \
     LEFT JOIN incidents i ON i.seq = a.incident_seq \
     LEFT JOIN events d ON d.seq = c.details_event_seq";

/// An alert, all but who inhibits it; and what keeps it quiet.
fn view(row: &SqliteRow) -> Result<(AlertView, Quiet), StoreError> {
    let mut c = Columns::of(row, "alerts");
    let json = |text: Option<&str>, none: &str| raw(text.unwrap_or(none));
    let id = AlertId::from_uuid(c.read::<Uuid>("id")?);
    let integration_id = IntegrationId::from_uuid(c.read::<Uuid>("integration_seq")?);
    let integration = c.read("integration_seq")?;
    let service_id = ServiceId::from_uuid(c.read::<Uuid>("service_seq")?);
    let service = c.read("service_seq")?;
    let dedup_key = c.read("dedup_key")?;
    let status = c.named("status", Status::parse)?;
    let severity = c.named("severity", Severity::parse)?;
    let max_severity = c.named("max_severity", Severity::parse)?;
    let summary = c.read("summary")?;
    let source = c.read("source")?;
    let component = c.read("component")?;
    let group = c.read("group")?;
    let class = c.read("class")?;
    let client = c.read("client")?;
    let client_url = c.read("client_url")?;
    let links = json(c.read("links")?, "[]");
    let images = json(c.read("images")?, "[]");
    let labels = json(c.read("labels")?, "{}");
    let event_count = c.read("event_count")?;
    let times: [Option<Timestamp>; 5] = [
        c.time_or_none("event_at_ms")?,
        c.time_or_none("first_event_at_ms")?,
        c.time_or_none("last_event_at_ms")?,
        c.time_or_none("acknowledged_at_ms")?,
        c.time_or_none("resolved_at_ms")?,
    ];
    let [event_at, first_event_at, last_event_at, acknowledged_at, resolved_at] = times;
    let incident_id = c.read::<Option<Uuid>>("incident_seq")?.map(IncidentId::from_uuid);
    let quiet = standing::quiet(c.read("standing")?);
    // Of one that is resolved nobody says whether its key has become steady since.
    let flapping = c.read("flapping")? && status != Status::Resolved;
    let custom_details: Option<&str> = c.read("custom_details")?;
    let view = AlertView {
        id,
        integration_id,
        integration,
        service_id,
        service,
        dedup_key,
        status,
        severity,
        max_severity,
        summary,
        source,
        component,
        group,
        class,
        custom_details: custom_details.map(raw),
        client,
        client_url,
        links,
        images,
        labels,
        event_count,
        event_at: event_at.unwrap_or_default(),
        first_event_at: first_event_at.unwrap_or_default(),
        last_event_at: last_event_at.unwrap_or_default(),
        acknowledged_at,
        resolved_at,
        incident_id,
        suppressed_by: standing::silenced(&quiet),
        flapping,
        muted_until: quiet.muted_until,
        paused_until: quiet.paused_until,
    };
    Ok((view, quiet))
}
