//! Routes, in their order.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{StoreError, store_error};
use crate::{
    domain::{
        configuration::Refused,
        id::{RouteId, ServiceId},
        routing::Route,
    },
    store::sqlite::rows::Columns,
};

pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Route>, StoreError> {
    let rows = sqlx::query(
        "SELECT r.id, r.matchers, s.id, r.managed, r.version, r.created_at_ms FROM routes r \
         JOIN services s ON s.seq = r.service_seq ORDER BY r.position, r.seq",
    )
    .fetch_all(connection)
    .await
    .map_err(store_error)?;
    let read = |row| {
        let mut c = Columns::of(row, "routes");
        Ok(Route {
            id: RouteId::from_uuid(c.read::<Uuid>("id")?),
            matches: super::matches(&mut c)?,
            service_id: ServiceId::from_uuid(c.read::<Uuid>("service_seq")?),
            managed: c.read("managed")?,
            version: c.read("version")?,
            created_at: c.time("created_at_ms")?,
        })
    };
    rows.iter().map(read).collect()
}

/// Puts a route before the one that is at `position` now, counted from zero.
pub(super) async fn create(
    connection: &mut SqliteConnection,
    route: &Route,
    position: usize,
) -> Result<Result<(), Refused>, StoreError> {
    let (number, next): (i64, i64) =
        sqlx::query_as("SELECT count(*), coalesce(max(position), -1) + 1 FROM routes")
            .fetch_one(&mut *connection)
            .await
            .map_err(store_error)?;
    sqlx::query(
        "INSERT INTO routes (seq, id, position, matchers, service_seq, managed, version, \
         created_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
    .bind(route.id.seq())
    .bind(route.id.uuid())
    .bind(next)
    .bind(route.matches.to_json().to_string())
    .bind(route.service_id.seq())
    .bind(route.managed)
    .bind(route.version)
    .bind(route.created_at.as_millis())
    .execute(&mut *connection)
    .await
    .map_err(store_error)?;
    // Mostly it is the last one, and a file has many.
    if i64::try_from(position).is_ok_and(|position| position < number) {
        move_to(connection, route.id, position).await?;
    }
    Ok(Ok(()))
}

/// Replaces a route, if its stored version is the one before, and moves it.
pub(super) async fn update(
    connection: &mut SqliteConnection,
    route: &Route,
    position: usize,
) -> Result<Result<(), Refused>, StoreError> {
    let done = sqlx::query(
        "UPDATE routes SET matchers = ?2, service_seq = ?3, managed = ?4, version = ?5 \
         WHERE seq = ?1 AND version = ?5 - 1",
    )
    .bind(route.id.seq())
    .bind(route.matches.to_json().to_string())
    .bind(route.service_id.seq())
    .bind(route.managed)
    .bind(route.version)
    .execute(&mut *connection)
    .await
    .map_err(store_error)?;
    if done.rows_affected() != 1 {
        return Ok(Err(Refused::Stale));
    }
    move_to(connection, route.id, position).await?;
    Ok(Ok(()))
}

pub(super) async fn delete(
    connection: &mut SqliteConnection,
    id: RouteId,
) -> Result<Result<(), Refused>, StoreError> {
    let done = sqlx::query("DELETE FROM routes WHERE seq = ?1").bind(id.seq());
    super::expect_one(done.execute(connection).await, "route")
}

/// Numbers the routes anew, with this one at `position`. They are few.
async fn move_to(
    connection: &mut SqliteConnection,
    id: RouteId,
    position: usize,
) -> Result<(), StoreError> {
    let others: Vec<i64> =
        sqlx::query_scalar("SELECT seq FROM routes WHERE seq <> ?1 ORDER BY position, seq")
            .bind(id.seq())
            .fetch_all(&mut *connection)
            .await
            .map_err(store_error)?;
    let mut order = others;
    order.insert(position.min(order.len()), id.seq());
    let order = serde_json::to_string(&order).unwrap_or_default();
    sqlx::query(
        "UPDATE routes SET position = j.key FROM json_each(?1) j \
         WHERE routes.seq = j.value AND routes.position <> j.key",
    )
    .bind(order)
    .execute(connection)
    .await
    .map_err(store_error)?;
    Ok(())
}
