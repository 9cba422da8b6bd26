//! Ids that senders gave their messages: which came before.

use sqlx::SqliteConnection;

use super::{Names, StoreError, bulk::Binder, rows::Columns, statements as sql};
use crate::domain::{event::SentId, loading::SourceId, time::Timestamp};

fn bind(b: &mut Binder, (integration, id): &SourceId) {
    b.bind(integration.seq()).bind(id.as_bytes().to_vec());
}

/// Those of `ids` that came before.
pub(super) async fn known(
    connection: &mut SqliteConnection,
    ids: &[SourceId],
    names: &Names,
) -> Result<Vec<SourceId>, StoreError> {
    let found = sql::SENT_IDS.fetch(connection, ids, bind).await?;
    found
        .iter()
        .map(|row| {
            let mut c = Columns::of(row, "sent_ids");
            let integration = c.known("integration_seq", |seq| names.integration(seq))?;
            let hash: &[u8] = c.read("hash")?;
            let hash = hash.try_into().map_err(|_| c.corrupt("hash", "no 16 bytes".to_owned()))?;
            Ok((integration, SentId::from_bytes(hash)))
        })
        .collect()
}

/// Keeps those that came for the first time.
pub(super) async fn save(
    connection: &mut SqliteConnection,
    ids: &[(SourceId, Timestamp)],
) -> Result<(), StoreError> {
    sql::INSERT_SENT_IDS
        .execute(connection, ids, |b, (id, at)| {
            bind(b, id);
            b.bind(at.as_millis());
        })
        .await
}

/// Bounded by a time and by rows.
pub(super) const PURGE: &str = "DELETE FROM sent_ids WHERE (integration_seq, hash) IN \
     (SELECT d.integration_seq, d.hash FROM sent_ids d INDEXED BY sent_ids_received \
     WHERE d.received_at_ms < ?1 ORDER BY d.received_at_ms LIMIT ?2)";
