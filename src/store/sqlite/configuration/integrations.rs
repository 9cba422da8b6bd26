//! Integrations and their keys.

use sqlx::SqliteConnection;

use super::{StoreError, expect_one, store_error, taken, unless_taken};
use crate::domain::{
    configuration::Refused, id::IntegrationId, key::KeyHash, service::Integration, time::Timestamp,
};

pub(super) async fn create(
    connection: &mut SqliteConnection,
    integration: &Integration,
    key: &KeyHash,
) -> Result<Result<(), Refused>, StoreError> {
    let written = sqlx::query(
        "INSERT INTO integrations (seq, id, service_seq, name, type, shared, key_hint, version, \
         created_at_ms, managed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )
    .bind(integration.id.seq())
    .bind(integration.id.uuid())
    .bind(integration.service_id.seq())
    .bind(integration.name.as_str())
    .bind(integration.kind.as_str())
    .bind(integration.shared)
    .bind(integration.key_hint.as_str())
    .bind(integration.version)
    .bind(integration.created_at.as_millis())
    .bind(integration.managed)
    .execute(&mut *connection)
    .await;
    match unless_taken(written, taken("integration", &integration.name))? {
        Ok(_) => insert_key(connection, integration.id, key, integration.created_at).await,
        Err(refused) => Ok(Err(refused)),
    }
}

async fn insert_key(
    connection: &mut SqliteConnection,
    integration: IntegrationId,
    key: &KeyHash,
    at: Timestamp,
) -> Result<Result<(), Refused>, StoreError> {
    let written = sqlx::query(
        "INSERT INTO integration_keys (key_sha256, integration_seq, created_at_ms) \
         VALUES (?1, ?2, ?3)",
    )
    .bind(&key.as_bytes()[..])
    .bind(integration.seq())
    .bind(at.as_millis())
    .execute(connection)
    .await;
    Ok(unless_taken(written, Refused::KeyTaken)?.map(|_| ()))
}

pub(super) async fn update(
    connection: &mut SqliteConnection,
    integration: &Integration,
) -> Result<Result<(), Refused>, StoreError> {
    let written = sqlx::query(
        "UPDATE integrations SET name = ?2, service_seq = ?3, type = ?4, shared = ?5, version = ?6, \
         managed = ?7 WHERE seq = ?1 AND version = ?6 - 1 AND deleted_at_ms IS NULL",
    )
    .bind(integration.id.seq())
    .bind(integration.name.as_str())
    .bind(integration.service_id.seq())
    .bind(integration.kind.as_str())
    .bind(integration.shared)
    .bind(integration.version)
    .bind(integration.managed)
    .execute(&mut *connection)
    .await;
    Ok(match unless_taken(written, taken("integration", &integration.name))? {
        Ok(1) => Ok(()),
        Ok(_) => Err(Refused::Stale),
        Err(refused) => Err(refused),
    })
}

pub(super) async fn delete(
    connection: &mut SqliteConnection,
    id: IntegrationId,
    at: Timestamp,
) -> Result<Result<(), Refused>, StoreError> {
    sqlx::query("DELETE FROM integration_keys WHERE integration_seq = ?1")
        .bind(id.seq())
        .execute(&mut *connection)
        .await
        .map_err(store_error)?;
    let done = sqlx::query(
        "UPDATE integrations SET deleted_at_ms = ?2 WHERE seq = ?1 AND deleted_at_ms IS NULL",
    )
    .bind(id.seq())
    .bind(at.as_millis());
    expect_one(done.execute(connection).await, "integration")
}

pub(super) async fn rotate(
    connection: &mut SqliteConnection,
    id: IntegrationId,
    key: &KeyHash,
    key_hint: &str,
    old_keys_expire_at: Timestamp,
    now: Timestamp,
) -> Result<Result<(), Refused>, StoreError> {
    let done = sqlx::query(
        "UPDATE integrations SET key_hint = ?2, version = version + 1 \
         WHERE seq = ?1 AND deleted_at_ms IS NULL",
    )
    .bind(id.seq())
    .bind(key_hint);
    if let Err(refused) = expect_one(done.execute(&mut *connection).await, "integration")? {
        return Ok(Err(refused));
    }
    // Keys that are over go, and the one that takes its place back; those that overlap still longer
    // from an earlier rotation are cut.
    sqlx::query(
        "DELETE FROM integration_keys WHERE integration_seq = ?1 \
         AND (key_sha256 = ?4 OR min(coalesce(expires_at_ms, ?2), ?2) <= ?3)",
    )
    .bind(id.seq())
    .bind(old_keys_expire_at.as_millis())
    .bind(now.as_millis())
    .bind(&key.as_bytes()[..])
    .execute(&mut *connection)
    .await
    .map_err(store_error)?;
    sqlx::query(
        "UPDATE integration_keys SET expires_at_ms = min(coalesce(expires_at_ms, ?2), ?2) \
         WHERE integration_seq = ?1",
    )
    .bind(id.seq())
    .bind(old_keys_expire_at.as_millis())
    .execute(&mut *connection)
    .await
    .map_err(store_error)?;
    insert_key(connection, id, key, now).await
}
