//! Past incidents that are like another one, by their titles.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use sqlx::{Row, SqliteConnection};

use super::{
    super::{StoreError, store_error},
    incidents,
};
use crate::{
    domain::{
        similarity::{Masked, similarity},
        time::{Span, Timestamp},
    },
    store::query::views::SimilarIncident,
};

/// How long before an incident one is still worth looking at.
const WITHIN: Span = Span::from_secs(30 * 86_400);
/// Incidents that are compared, the newest first; and the time that may take.
const COMPARED_MAX: i64 = 5000;
const TIME_MAX: Duration = Duration::from_millis(300);
const ROWS_BETWEEN_LOOKS: usize = 64;
/// Most that are shown, and how alike they have to be, in ten-thousandths.
const SHOWN_MAX: usize = 20;
const SCORE_MIN: u32 = 5000;

pub(super) const TITLE: &str =
    "SELECT service_seq, title, created_at_ms FROM incidents WHERE seq = ?1";

pub(super) const BEFORE: &str = "SELECT i.seq, i.title, i.created_at_ms FROM incidents i \
     INDEXED BY incidents_service WHERE i.service_seq = ?1 AND i.seq < ?2 \
     ORDER BY i.seq DESC LIMIT ?3";

/// The most alike first, of equals the newest.
pub(super) async fn similar(
    connection: &mut SqliteConnection,
    incident: i64,
) -> Result<Vec<SimilarIncident>, StoreError> {
    let own: Option<(i64, String, i64)> = sqlx::query_as(TITLE)
        .bind(incident)
        .fetch_optional(&mut *connection)
        .await
        .map_err(store_error)?;
    let Some((service, title, created_at)) = own else { return Ok(Vec::new()) };
    let since = Timestamp::from_millis(created_at).minus(WITHIN).as_millis();
    let title = Masked::of(&title);

    let started = Instant::now();
    let mut found: Vec<(u32, i64)> = Vec::new();
    let mut compared = 0_usize;
    let mut rows =
        sqlx::query(BEFORE).bind(service).bind(incident).bind(COMPARED_MAX).fetch(&mut *connection);
    while let Some(row) = rows.try_next().await.map_err(store_error)? {
        let created_at: i64 = row.try_get(2).map_err(store_error)?;
        let late = compared.is_multiple_of(ROWS_BETWEEN_LOOKS) && started.elapsed() > TIME_MAX;
        if created_at < since || late {
            break;
        }
        compared += 1;
        let score = similarity(&title, &Masked::of(row.try_get(1).map_err(store_error)?));
        if score >= SCORE_MIN {
            found.push((score, row.try_get(0).map_err(store_error)?));
        }
    }
    drop(rows);

    found.sort_unstable_by(|a, b| b.cmp(a));
    found.truncate(SHOWN_MAX);
    let keys: Vec<i64> = found.iter().map(|(_, seq)| *seq).collect();
    let views = incidents::views(connection, &keys).await?;
    let score = |number: i64| found.iter().find(|(_, seq)| *seq == number).map_or(0, |(s, _)| *s);
    let shown = views.into_iter().map(|incident| {
        let score = f64::from(score(incident.number)) / 10_000.0;
        SimilarIncident { incident, score }
    });
    Ok(shown.collect())
}
