//! Looking through rows newest first, until there are enough, or it took long enough.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, sqlite::SqliteRow};

use super::super::{StoreError, store_error};
use crate::store::query::Page;

pub(super) type Sql = QueryBuilder<Sqlite>;

/// Numbers looked at by the first statement of a walk. Later ones look at twice as many each, so
/// that the time is looked at now and then, whatever the statement finds.
pub(super) const FIRST_WINDOW: i64 = 20_000;

/// The same for statements that begin with asking the index for all texts with certain words.
pub(super) const FIRST_WINDOW_OF_WORDS: i64 = 250_000;

/// Rows between two looks at the time.
const ROWS_BETWEEN_LOOKS: usize = 256;

/// What one walk may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) rows: usize,
    pub(super) time: Duration,
}

impl Limits {
    /// For a walk whose rows are judged here and not by the database.
    pub(super) const TESTED: Self = Self { rows: 10_000, time: Duration::from_millis(200) };
    /// For a walk that SQLite judges: about a million rows.
    pub(super) const PLAIN: Self = Self { rows: usize::MAX, time: Duration::from_secs(1) };
    /// For counting, which has to see everything.
    pub(super) const COUNT: Self = Self { rows: usize::MAX, time: Duration::from_secs(10) };
    /// For rows of which there are few.
    pub(super) const NONE: Self = Self { rows: usize::MAX, time: Duration::MAX };

    pub(super) fn share(self, of: usize) -> Self {
        let parts = u32::try_from(of).unwrap_or(u32::MAX).max(1);
        Self { rows: (self.rows / of.max(1)).max(500), time: self.time / parts }
    }
}

/// A way of finding rows.
pub(super) trait Scan: Sync {
    /// Finds rows with numbers in `low..high`, newest first. The first column is the number, the
    /// second whether the database takes the row. A number may come several times in a row.
    fn statement(&self, low: i64, high: i64, limit: Option<usize>) -> Sql;

    /// Counts all of them, if the database alone can.
    fn count(&self, low: i64, high: i64) -> Option<Sql>;

    /// Whether rows have to pass [`Scan::test`] too.
    fn is_tested(&self) -> bool;

    fn test(&self, row: &SqliteRow) -> Result<bool, StoreError>;

    /// Whether its statements run through a table by number, so that they have to be cut.
    fn is_windowed(&self) -> bool;

    /// Numbers looked at by the first statement.
    fn first_window(&self) -> i64 {
        FIRST_WINDOW
    }

    /// Whether the database takes every row it returns.
    fn can_limit(&self) -> bool {
        true
    }
}

/// What a walk found: numbers, newest first.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) keys: Vec<i64>,
    /// Everything from this number up was looked at; `None`: everything was.
    pub(super) floor: Option<i64>,
}

/// Walks through `low..high` until `need` numbers are found.
pub(super) async fn walk<S: Scan>(
    connection: &mut SqliteConnection,
    scan: &S,
    (low, mut high): (i64, i64),
    need: usize,
    limits: Limits,
) -> Result<Walked, StoreError> {
    let started = Instant::now();
    let mut keys: Vec<i64> = Vec::new();
    let mut width = scan.first_window();
    let mut examined = 0;
    while high > low {
        let from = if scan.is_windowed() { low.max(high.saturating_sub(width)) } else { low };
        let limit = (!scan.is_tested() && scan.can_limit()).then(|| need - keys.len());
        let mut statement = scan.statement(from, high, limit.filter(|n| *n < usize::MAX / 2));
        let mut rows = statement.build().fetch(&mut *connection);
        let mut last: Option<i64> = None;
        while let Some(row) = rows.try_next().await.map_err(store_error)? {
            let key: i64 = row.try_get(0).map_err(store_error)?;
            if let Some(last) = last.filter(|last| *last != key)
                && (examined >= limits.rows
                    || (examined % ROWS_BETWEEN_LOOKS == 0 && started.elapsed() > limits.time))
            {
                return Ok(Walked { keys, floor: Some(last) });
            }
            last = Some(key);
            if keys.last() == Some(&key) {
                continue;
            }
            examined += 1;
            let taken: bool = row.try_get(1).map_err(store_error)?;
            if taken && (!scan.is_tested() || scan.test(&row)?) {
                keys.push(key);
                if keys.len() >= need {
                    return Ok(Walked { keys, floor: Some(key) });
                }
            }
        }
        drop(rows);
        high = from;
        width *= 2;
        if high > low && (examined >= limits.rows || started.elapsed() > limits.time) {
            return Ok(Walked { keys, floor: Some(high) });
        }
    }
    Ok(Walked { keys, floor: None })
}

/// The numbers of one page, and where the next one begins.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) keys: Vec<i64>,
    pub(super) next: Option<i64>,
}

impl Found {
    /// What is missing from a page that ended early.
    pub(super) fn missing(&self, page: Page) -> Option<Page> {
        let before = self.next.filter(|_| self.keys.len() < page.limit)?;
        Some(Page { limit: page.limit - self.keys.len(), before: Some(before), ..page })
    }

    /// Goes on with what was missing.
    pub(super) fn extend(&mut self, rest: Self) {
        self.keys.extend(rest.keys);
        self.next = rest.next;
    }

    /// Cuts what several walks found to one page. Only numbers that all of them have reached are
    /// good: what a slow one has not reached may belong between the others'.
    fn page(walks: Vec<Walked>, limit: usize) -> Self {
        let floor = walks.iter().filter_map(|walked| walked.floor).max();
        let mut keys: Vec<i64> = walks.into_iter().flat_map(|walked| walked.keys).collect();
        keys.retain(|key| floor.is_none_or(|floor| *key >= floor));
        keys.sort_unstable_by(|a, b| b.cmp(a));
        keys.dedup();
        let next = if keys.len() > limit {
            keys.truncate(limit);
            keys.last().copied()
        } else {
            floor
        };
        Self { keys, next }
    }
}

/// One page of what several scans find together.
pub(super) async fn page<S: Scan>(
    connection: &mut SqliteConnection,
    scans: &[S],
    (low, high): (i64, i64),
    page: Page,
) -> Result<Found, StoreError> {
    let high = page.before.map_or(high, |before| before.min(high));
    let mut walks = Vec::with_capacity(scans.len());
    for scan in scans {
        let limits = if scan.is_tested() { Limits::TESTED } else { Limits::PLAIN };
        let limits = limits.share(scans.len());
        walks.push(walk(connection, scan, (low, high), page.limit + 1, limits).await?);
    }
    Ok(Found::page(walks, page.limit))
}

/// The number of all that the scans find; `None` if that takes too long. The scans have nothing in
/// common with each other.
pub(super) async fn count<S: Scan>(
    connection: &mut SqliteConnection,
    scans: &[S],
    (low, high): (i64, i64),
) -> Result<Option<u64>, StoreError> {
    let mut total = 0;
    for scan in scans {
        if let Some(mut statement) = scan.count(low, high) {
            let counted: i64 = statement
                .build_query_scalar()
                .fetch_one(&mut *connection)
                .await
                .map_err(store_error)?;
            total += counted.unsigned_abs();
        } else {
            let limits = Limits::COUNT.share(scans.len());
            let walked = walk(connection, scan, (low, high), usize::MAX, limits).await?;
            if walked.floor.is_some() {
                return Ok(None);
            }
            total += walked.keys.len() as u64;
        }
    }
    Ok(Some(total))
}

/// Adds `AND column IN (…)`, or nothing if every value will do.
pub(super) fn push_in<T>(sql: &mut Sql, column: &str, values: impl IntoIterator<Item = T>)
where
    T: for<'t> sqlx::Encode<'t, Sqlite> + sqlx::Type<Sqlite>,
{
    let mut values = values.into_iter().peekable();
    if values.peek().is_none() {
        return;
    }
    sql.push(" AND ").push(column).push(" IN (");
    let mut list = sql.separated(", ");
    for value in values {
        list.push_bind(value);
    }
    sql.push(")");
}

/// Adds `AND column >= low AND column < high`, where there are such bounds.
pub(super) fn push_times(
    sql: &mut Sql,
    column: &str,
    since: Option<crate::domain::time::Timestamp>,
    until: Option<crate::domain::time::Timestamp>,
) {
    if let Some(since) = since {
        sql.push(" AND ").push(column).push(" >= ").push_bind(since.as_millis());
    }
    if let Some(until) = until {
        sql.push(" AND ").push(column).push(" < ").push_bind(until.as_millis());
    }
}

/// Adds `AND key >= low AND key < high`.
pub(super) fn push_span(sql: &mut Sql, key: &str, low: i64, high: i64) {
    sql.push(" AND ").push(key).push(" >= ").push_bind(low);
    sql.push(" AND ").push(key).push(" < ").push_bind(high);
}

/// Numbers as the JSON list that `json_each` takes.
pub(super) fn json_list(numbers: &[i64]) -> String {
    let mut text = String::with_capacity(numbers.len() * 8 + 2);
    text.push('[');
    for (at, number) in numbers.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(&number.to_string());
    }
    text.push(']');
    text
}
