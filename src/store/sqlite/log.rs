//! Tables that are logs: where the rows of a time begin, found without an index.

use sqlx::SqliteConnection;

use super::{StoreError, store_error};
use crate::domain::time::Timestamp;

/// A table whose rows were written in the order of a time column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Log {
    Events,
    Alerts,
    Incidents,
    Changes,
    Deliveries,
}

impl Log {
    const fn bounds(self) -> &'static str {
        match self {
            Self::Events => "SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events)",
            Self::Alerts => "SELECT (SELECT min(seq) FROM alerts), (SELECT max(seq) FROM alerts)",
            Self::Incidents => {
                "SELECT (SELECT min(seq) FROM incidents), (SELECT max(seq) FROM incidents)"
            }
            Self::Changes => {
                "SELECT (SELECT min(seq) FROM changes), (SELECT max(seq) FROM changes)"
            }
            Self::Deliveries => {
                "SELECT (SELECT min(seq) FROM deliveries), (SELECT max(seq) FROM deliveries)"
            }
        }
    }

    const fn at_or_after(self) -> &'static str {
        match self {
            Self::Events => {
                "SELECT seq, received_at_ms FROM events WHERE seq >= ?1 ORDER BY seq LIMIT 1"
            }
            Self::Alerts => {
                "SELECT seq, first_event_at_ms FROM alerts WHERE seq >= ?1 ORDER BY seq LIMIT 1"
            }
            Self::Incidents => {
                "SELECT seq, created_at_ms FROM incidents WHERE seq >= ?1 ORDER BY seq LIMIT 1"
            }
            Self::Changes => {
                "SELECT seq, received_at_ms FROM changes WHERE seq >= ?1 ORDER BY seq LIMIT 1"
            }
            Self::Deliveries => {
                "SELECT seq, created_at_ms FROM deliveries WHERE seq >= ?1 ORDER BY seq LIMIT 1"
            }
        }
    }
}

/// The number of the first row, and one past that of the last; the same twice if there is none.
pub(super) async fn bounds(
    connection: &mut SqliteConnection,
    log: Log,
) -> Result<(i64, i64), StoreError> {
    let bounds: (Option<i64>, Option<i64>) =
        sqlx::query_as(log.bounds()).fetch_one(connection).await.map_err(store_error)?;
    let (Some(first), Some(last)) = bounds else { return Ok((0, 0)) };
    Ok((first, last + 1))
}

/// The number of the first row at or after a time, by halving: rows lie in the order of their time,
/// so none of these tables needs an index on it. One past the last row if all are earlier.
pub(super) async fn first_at(
    connection: &mut SqliteConnection,
    log: Log,
    time: Timestamp,
) -> Result<i64, StoreError> {
    let (mut low, mut high) = bounds(connection, log).await?;
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> = sqlx::query_as(log.at_or_after())
            .bind(middle)
            .fetch_optional(&mut *connection)
            .await
            .map_err(store_error)?;
        match found {
            Some((seq, at)) if at < time.as_millis() => low = seq + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}
