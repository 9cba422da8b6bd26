//! Receivers.

use serde_json::{Map, Value};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{StoreError, expect_one, store_error, taken, unless_taken};
use crate::{
    domain::{
        configuration::Refused,
        id::ReceiverId,
        receiver::{Receiver, ReceiverKind},
        time::Timestamp,
    },
    store::sqlite::rows::Columns,
};

const KIND: &str = "receiver";

pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Receiver>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, name, kind, settings, managed, version, created_at_ms FROM receivers \
         WHERE deleted_at_ms IS NULL",
    )
    .fetch_all(connection)
    .await
    .map_err(store_error)?;
    let read = |row| {
        let mut c = Columns::of(row, "receivers");
        Ok(Receiver {
            id: ReceiverId::from_uuid(c.read::<Uuid>("id")?),
            name: c.read("name")?,
            kind: c.named("kind", ReceiverKind::parse)?,
            settings: {
                let stored: &str = c.read("settings")?;
                serde_json::from_str::<Map<String, Value>>(stored)
                    .map_err(|error| c.corrupt("settings", error.to_string()))?
            },
            managed: c.read("managed")?,
            version: c.read("version")?,
            created_at: c.time("created_at_ms")?,
        })
    };
    rows.iter().map(read).collect()
}

pub(super) async fn create(
    connection: &mut SqliteConnection,
    receiver: &Receiver,
) -> Result<Result<(), Refused>, StoreError> {
    let written = sqlx::query(
        "INSERT INTO receivers (seq, id, name, kind, settings, managed, version, created_at_ms) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
    .bind(receiver.id.seq())
    .bind(receiver.id.uuid())
    .bind(receiver.name.as_str())
    .bind(receiver.kind.as_str())
    .bind(Value::Object(receiver.settings.clone()).to_string())
    .bind(receiver.managed)
    .bind(receiver.version)
    .bind(receiver.created_at.as_millis())
    .execute(&mut *connection)
    .await;
    match unless_taken(written, taken(KIND, &receiver.name))? {
        Ok(_) => revise(connection, receiver).await.map(Ok),
        Err(refused) => Ok(Err(refused)),
    }
}

/// Keeps it as it is at this version.
async fn revise(connection: &mut SqliteConnection, receiver: &Receiver) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO receiver_revisions (receiver_seq, version, id, name, kind, settings) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .bind(receiver.id.seq())
    .bind(receiver.version)
    .bind(receiver.id.uuid())
    .bind(receiver.name.as_str())
    .bind(receiver.kind.as_str())
    .bind(Value::Object(receiver.settings.clone()).to_string())
    .execute(connection)
    .await
    .map_err(store_error)?;
    Ok(())
}

/// Replaces it, if its stored version is the one before.
pub(super) async fn update(
    connection: &mut SqliteConnection,
    receiver: &Receiver,
) -> Result<Result<(), Refused>, StoreError> {
    let written = sqlx::query(
        "UPDATE receivers SET name = ?2, kind = ?3, settings = ?4, managed = ?5, version = ?6 \
         WHERE seq = ?1 AND version = ?6 - 1 AND deleted_at_ms IS NULL",
    )
    .bind(receiver.id.seq())
    .bind(receiver.name.as_str())
    .bind(receiver.kind.as_str())
    .bind(Value::Object(receiver.settings.clone()).to_string())
    .bind(receiver.managed)
    .bind(receiver.version)
    .execute(&mut *connection)
    .await;
    Ok(match unless_taken(written, taken(KIND, &receiver.name))? {
        Ok(1) => Ok(revise(connection, receiver).await?),
        Ok(_) => Err(Refused::Stale),
        Err(refused) => Err(refused),
    })
}

pub(super) async fn delete(
    connection: &mut SqliteConnection,
    id: ReceiverId,
    at: Timestamp,
) -> Result<Result<(), Refused>, StoreError> {
    let done = sqlx::query(
        "UPDATE receivers SET deleted_at_ms = ?2 WHERE seq = ?1 AND deleted_at_ms IS NULL",
    )
    .bind(id.seq())
    .bind(at.as_millis());
    expect_one(done.execute(connection).await, KIND)
}
