//! Stored events in their order, to be run through a policy again.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::super::{
    StoreError,
    maintenance::{self, Log},
    rows::Columns,
    store_error,
};
use crate::{
    domain::{event::Api, id::IntegrationId, time::Timestamp},
    store::query::{StoredEvent, StoredSpan},
};

pub(super) async fn span(
    connection: &mut SqliteConnection,
    since: Timestamp,
) -> Result<StoredSpan, StoreError> {
    let (_, end) = maintenance::bounds(connection, Log::Events).await?;
    let first = maintenance::first_at(connection, Log::Events, since).await?;
    Ok(StoredSpan { first, end })
}

pub(super) async fn events(
    connection: &mut SqliteConnection,
    from: i64,
    end: i64,
    service: Option<i64>,
    limit: usize,
) -> Result<Vec<StoredEvent>, StoreError> {
    let rows = sqlx::query(
        "SELECT e.seq, i.id, e.received_at_ms, e.api, e.dedup_key, e.body FROM events e \
         JOIN integrations i ON i.seq = e.integration_seq WHERE e.seq >= ?1 AND e.seq < ?2 \
         AND (?3 IS NULL OR e.service_seq = ?3) ORDER BY e.seq LIMIT ?4",
    )
    .bind(from)
    .bind(end)
    .bind(service)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = rows.fetch_all(connection).await.map_err(store_error)?;
    rows.iter()
        .map(|row| {
            let mut c = Columns::of(row, "events");
            Ok(StoredEvent {
                seq: c.read("seq")?,
                integration_id: IntegrationId::from_uuid(c.read::<Uuid>("integration_seq")?),
                received_at: c.time("received_at_ms")?,
                api: c.named("api", Api::parse)?,
                dedup_key: c.read("dedup_key")?,
                body: c.read("body")?,
            })
        })
        .collect()
}
