//! The outbox on SQLite: deliveries, their attempts, and what receivers know.

mod lease;
mod record;
mod statements;

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::SqliteConnection;
use tokio::sync::Notify;
use uuid::Uuid;

use self::statements as sql;
#[cfg(test)]
pub(super) use self::statements::hot;
use super::{SqliteStore, StoreError, bulk::Binder, query::deliveries, rows::Columns, store_error};
use crate::{
    domain::{
        changes::{Changes, Target},
        delivery::NewDelivery,
        id::{AlertId, DeliveryId, IncidentId, ReceiverId, ServiceId},
        receiver::ReceiverKind,
        time::Timestamp,
    },
    store::{
        outbox::{
            Backlog, DeadLetter, DeliveryFilter, DueAt, Leased, Outbox, Retried, StoredRevision,
            Subject, Turn,
        },
        query::{Listed, Page, views::DeliveryView},
    },
};

/// Writes what a batch owes, in its transaction.
pub(super) async fn save(
    connection: &mut SqliteConnection,
    changes: &Changes,
) -> Result<(), StoreError> {
    let created_at = changes.now;
    sql::INSERT
        .execute(connection, &changes.deliveries, |b, owed| insert(b, owed, created_at))
        .await?;
    let mut lanes: Vec<i64> = changes.deliveries.iter().map(|owed| owed.lane).collect();
    lanes.sort_unstable();
    lanes.dedup();
    move_up(connection, &lanes, created_at).await
}

fn insert(b: &mut Binder, owed: &NewDelivery, created_at: Timestamp) {
    b.bind(owed.id.seq())
        .bind(owed.id.uuid())
        .bind(owed.lane)
        .bind(owed.revision.receiver.seq())
        .bind(owed.revision.version)
        .bind(&*owed.receiver)
        .bind(owed.service_id.map(ServiceId::seq))
        .bind(owed.incident_id.map(IncidentId::seq))
        .bind(owed.alert_id.map(AlertId::seq))
        .bind(owed.reason.as_str())
        .bind(owed.reason.rank())
        .bind(owed.severity.as_str())
        .bind(owed.wakes)
        .bind(owed.at.as_millis())
        .bind(created_at.as_millis());
}

/// Makes the first open delivery of each lane due, unless one of the lane is on its way.
async fn move_up(
    connection: &mut SqliteConnection,
    lanes: &[i64],
    now: Timestamp,
) -> Result<(), StoreError> {
    let now = now.as_millis();
    let bind = |b: &mut Binder, lane: &i64| {
        b.bind(*lane).bind(now);
    };
    sql::MOVE_UP.execute(connection, lanes, bind).await
}

/// Runs a transaction on the writing connection.
macro_rules! transaction {
    ($store:expr, $connection:ident => $work:expr) => {{
        let mut writer = $store.writer().await?;
        let Some($connection) = writer.connection.as_mut() else {
            return Err(StoreError::Unavailable(sqlx::Error::PoolClosed));
        };
        if let Err(error) = sqlx::query("BEGIN IMMEDIATE").execute(&mut *$connection).await {
            writer.connection = None;
            return Err(store_error(error));
        }
        // Whatever ends this early leaves it to the next who writes to roll back.
        writer.in_transaction = true;
        let Some($connection) = writer.connection.as_mut() else {
            return Err(StoreError::Unavailable(sqlx::Error::PoolClosed));
        };
        let result = $work;
        sqlx::query("COMMIT").execute(&mut *$connection).await.map_err(store_error)?;
        writer.in_transaction = false;
        Ok(result)
    }};
}

#[async_trait]
impl Outbox for SqliteStore {
    fn nudge(&self) -> Arc<Notify> {
        Arc::clone(&self.nudge)
    }

    async fn release(&self, now: Timestamp) -> Result<(), StoreError> {
        transaction!(self, c => {
            for statement in [sql::DOUBT_LEASED, sql::RELEASE] {
                let done = sqlx::query(statement).bind(now.as_millis()).execute(&mut *c).await;
                done.map_err(store_error)?;
            }
        })
    }

    async fn due(&self) -> Result<Vec<DueAt>, StoreError> {
        let rows = sqlx::query(sql::DUE).fetch_all(&self.readers).await.map_err(store_error)?;
        let read = |row| {
            let mut c = Columns::of(row, "deliveries");
            let (receiver, at) = (c.read("receiver_seq")?, c.time_or_none("next_attempt_at_ms")?);
            Ok(at.map(|at| DueAt { receiver, at }))
        };
        rows.iter().filter_map(|row| read(row).transpose()).collect()
    }

    async fn turn(&self, turn: &Turn<'_>) -> Result<Vec<Leased>, StoreError> {
        transaction!(self, c => {
            record::record(c, turn.done, turn.now).await?;
            for receiver in turn.up {
                let up = sqlx::query(sql::PULL_FORWARD).bind(receiver).bind(turn.now.as_millis());
                up.execute(&mut *c).await.map_err(store_error)?;
            }
            lease::lease(c, turn).await?
        })
    }

    async fn revision(
        &self,
        receiver: i64,
        version: i64,
    ) -> Result<Option<StoredRevision>, StoreError> {
        let found = sqlx::query(sql::REVISION).bind(receiver).bind(version);
        let Some(row) = found.fetch_optional(&self.readers).await.map_err(store_error)? else {
            return Ok(None);
        };
        let mut c = Columns::of(&row, "receiver_revisions");
        Ok(Some(StoredRevision {
            id: ReceiverId::from_uuid(c.read::<Uuid>("id")?),
            name: c.read("name")?,
            kind: c.named("kind", ReceiverKind::parse)?,
            settings: {
                let text: &str = c.read("settings")?;
                serde_json::from_str(text).map_err(|e| c.corrupt("settings", e.to_string()))?
            },
        }))
    }

    async fn subjects(&self, of: &[Leased]) -> Result<Vec<Option<Subject>>, StoreError> {
        let mut transaction = self.readers.begin().await.map_err(store_error)?;
        super::query::subjects(&mut transaction, of).await
    }

    async fn receivers_called(&self, name_or_id: &str) -> Result<Vec<ReceiverId>, StoreError> {
        let id = Uuid::try_parse(name_or_id).ok();
        let found: Vec<Uuid> = sqlx::query_scalar(sql::RECEIVERS_CALLED)
            .bind(name_or_id)
            .bind(id)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        Ok(found.into_iter().map(ReceiverId::from_uuid).collect())
    }

    async fn was_told(&self, receiver: ReceiverId, of: Target) -> Result<bool, StoreError> {
        let (statement, seq) = match of {
            Target::Incident(id) => (sql::TOLD_OF_INCIDENT, id.seq()),
            Target::Alert(id) => (sql::TOLD_OF_ALERT, id.seq()),
        };
        let found = sqlx::query_scalar(statement).bind(seq).bind(receiver.seq());
        found.fetch_one(&self.readers).await.map_err(store_error)
    }

    async fn retry(&self, id: DeliveryId, now: Timestamp) -> Result<Retried, StoreError> {
        let retried = transaction!(self, c => record::retry(c, id, now).await?)?;
        if retried == Retried::Queued {
            self.nudge.notify_one();
        }
        Ok(retried)
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        deliveries::backlog(&mut connection).await
    }

    async fn dead_letters(&self) -> Result<Vec<DeadLetter>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        deliveries::dead_letters(&mut connection).await
    }

    async fn dealt_with(&self, dead: &[DeliveryId]) -> Result<(), StoreError> {
        transaction!(self, c => {
            for id in dead {
                let noted = sqlx::query(sql::NOTE).bind(id.seq()).execute(&mut *c).await;
                noted.map_err(store_error)?;
            }
        })
    }

    async fn receivers_with_dead(&self, since: Timestamp) -> Result<Vec<String>, StoreError> {
        let found = sqlx::query_scalar(sql::WITH_DEAD).bind(since.as_millis());
        let names = found.fetch_all(&self.readers).await;
        names.map_err(store_error)
    }

    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        page: Page,
    ) -> Result<Listed<DeliveryView>, StoreError> {
        let mut transaction = self.readers.begin().await.map_err(store_error)?;
        deliveries::list(&mut transaction, filter, page).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
        let mut transaction = self.readers.begin().await.map_err(store_error)?;
        deliveries::one(&mut transaction, id).await
    }
}
