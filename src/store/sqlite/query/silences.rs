//! Lists of silences, and which alerts one would silence.

use std::time::Duration;

use sqlx::SqliteConnection;

use super::{
    super::{
        StoreError,
        configuration::silences::{SELECT, silence},
        maintenance::Log,
        store_error,
    },
    alerts,
    walk::{self, Found, Limits, Sql, push_in},
};
use crate::{
    domain::{
        alert::Status,
        id::{ServiceId, SilenceId},
        matcher::Match,
        silence::{Silence, SilenceState},
        time::Timestamp,
    },
    store::query::{AlertFilter, Listed, MatchedAlerts, Page, SilenceFilter, StoredSilence},
};

/// Rows read in one step of a list.
const STEP: usize = 500;
/// Rows of one page of a list that are looked at.
const ROWS_MAX: usize = 20_000;

/// What looking for the alerts of a preview may take, twice: a person waits for it.
pub(super) const PREVIEW: Limits = Limits { rows: usize::MAX, time: Duration::from_millis(500) };
/// Open alerts that a preview shows.
const PREVIEW_ALERTS: usize = 50;

pub(super) async fn one(
    connection: &mut SqliteConnection,
    id: SilenceId,
) -> Result<Option<StoredSilence>, StoreError> {
    let mut sql = Sql::new(SELECT);
    sql.push("q.seq = ").push_bind(id.seq()).push(" AND q.id = ").push_bind(id.uuid());
    let row = sql.build().fetch_optional(connection).await.map_err(store_error)?;
    row.map(|row| Ok(silence(&row)?.1)).transpose()
}

pub(super) async fn list(
    connection: &mut SqliteConnection,
    filter: &SilenceFilter,
    page: Page,
) -> Result<Listed<StoredSilence>, StoreError> {
    let mut found = find(connection, filter, page.before, page.limit + 1).await?;
    let mut next = found.floor;
    if found.items.len() > page.limit {
        found.items.truncate(page.limit);
        next = found.items.last().map(|stored| stored.silence.id.seq());
    }
    let total = if page.count {
        let all = find(connection, filter, None, usize::MAX).await?;
        all.floor.is_none().then_some(all.items.len() as u64)
    } else {
        None
    };
    Ok(Listed { items: found.items, next, total })
}

struct Silences {
    items: Vec<StoredSilence>,
    /// Everything from this number up was looked at; `None`: everything was.
    floor: Option<i64>,
}

/// The newest `need` that the filter lets through.
async fn find(
    connection: &mut SqliteConnection,
    filter: &SilenceFilter,
    before: Option<i64>,
    need: usize,
) -> Result<Silences, StoreError> {
    let mut items = Vec::new();
    let mut before = before.unwrap_or(i64::MAX);
    for _ in 0..ROWS_MAX / STEP {
        let mut sql = Sql::new(SELECT);
        sql.push("q.seq < ").push_bind(before);
        push_conditions(&mut sql, filter);
        sql.push(" ORDER BY q.seq DESC LIMIT ").push_bind(i64::try_from(STEP).unwrap_or(i64::MAX));
        let rows = sql.build().fetch_all(&mut *connection).await.map_err(store_error)?;
        for row in &rows {
            let (seq, stored) = silence(row)?;
            before = seq;
            if lets_through(filter, &stored.silence) {
                items.push(stored);
                if items.len() >= need {
                    return Ok(Silences { items, floor: Some(before) });
                }
            }
        }
        if rows.len() < STEP {
            return Ok(Silences { items, floor: None });
        }
    }
    Ok(Silences { items, floor: Some(before) })
}

/// What SQL can say of a filter: of pending and active nothing, which a schedule decides.
fn push_conditions(sql: &mut Sql, filter: &SilenceFilter) {
    let over = |sql: &mut Sql| {
        sql.push("(q.expired_at_ms IS NOT NULL OR coalesce(q.until_ms <= ");
        sql.push_bind(filter.now.as_millis()).push(", FALSE))");
    };
    let expired = filter.states.contains(&SilenceState::Expired);
    let others = filter.states.iter().any(|state| *state != SilenceState::Expired);
    match (expired, others) {
        (true, false) => over(sql.push(" AND ")),
        (false, true) => over(sql.push(" AND NOT ")),
        (true, true) | (false, false) => {}
    }
    push_in(sql, "q.service_seq", filter.services.iter().map(|id| id.seq()));
}

fn lets_through(filter: &SilenceFilter, silence: &Silence) -> bool {
    filter.states.is_empty() || filter.states.contains(&silence.state(filter.now))
}

/// The open alerts that `matches` holds for, and those of since then, open or not.
pub(super) async fn alerts_matching(
    connection: &mut SqliteConnection,
    matches: &Match,
    service: Option<ServiceId>,
    since: Timestamp,
    limits: Limits,
) -> Result<MatchedAlerts, StoreError> {
    let any = AlertFilter {
        services: service.into_iter().collect(),
        matches: matches.clone(),
        ..AlertFilter::default()
    };
    let open = AlertFilter { status: vec![Status::Triggered, Status::Acknowledged], ..any.clone() };
    let recent = AlertFilter { since: Some(since), ..any };
    let (mut keys, all_open) = numbers(connection, &open, limits).await?;
    let (recent, all_recent) = numbers(connection, &recent, limits).await?;
    let open = keys.len() as u64;
    keys.truncate(PREVIEW_ALERTS);
    let newest_open = alerts::views(connection, &mut Found { keys, next: None }).await?;
    let complete = all_open && all_recent;
    Ok(MatchedAlerts { open, newest_open, recent: recent.len() as u64, complete })
}

/// The numbers of the alerts that fit, newest first, and whether they are all.
async fn numbers(
    connection: &mut SqliteConnection,
    filter: &AlertFilter,
    limits: Limits,
) -> Result<(Vec<i64>, bool), StoreError> {
    let (scans, _) = alerts::scans(connection, filter).await?;
    let span = super::span(connection, Log::Alerts, filter.since, filter.until).await?;
    let mut keys = Vec::new();
    let mut complete = true;
    for scan in &scans {
        let limits = limits.share(scans.len());
        let walked = walk::walk(connection, scan, span, usize::MAX, limits).await?;
        complete &= walked.floor.is_none();
        keys.extend(walked.keys);
    }
    keys.sort_unstable_by(|a, b| b.cmp(a));
    Ok((keys, complete))
}
