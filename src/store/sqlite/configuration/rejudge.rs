//! What is open is judged anew where the configuration was changed: what was changed may silence or
//! inhibit alerts, or no longer, and may tell others of them.
//!
//! Nothing is judged here: alerts are marked in the transaction of the change, so that nothing
//! decided later misses it, and judged when they are looked at or at the next ticks. However many
//! changes are made together, each alert is marked once.

use std::collections::BTreeSet;

use sqlx::SqliteConnection;

use super::{StoreError, store_error};
use crate::domain::{id::ServiceId, time::Timestamp};

// Both go by an index on what is open, or due: most of what there is, is neither.
const ALERTS: &str = "UPDATE alerts INDEXED BY alerts_open_service \
     SET stale = 1, judge_due_ms = min(coalesce(judge_due_ms, ?1), ?1) \
     WHERE status <> 'resolved'";
const KEYS: &str = "UPDATE key_states INDEXED BY key_states_due SET due_ms = min(due_ms, ?1) \
     WHERE due_ms IS NOT NULL";

/// The services whose open alerts are to be judged anew.
#[derive(Debug, Default)]
pub(super) struct Rejudged {
    all: bool,
    services: BTreeSet<ServiceId>,
}

impl Rejudged {
    /// Adds a service; `None`: all of them.
    pub(super) fn add(&mut self, service: Option<ServiceId>) {
        match service {
            Some(service) => {
                self.services.insert(service);
            }
            None => self.all = true,
        }
    }

    /// Marks what is open.
    pub(super) async fn mark(
        self,
        connection: &mut SqliteConnection,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        if self.all {
            for statement in [ALERTS, KEYS] {
                sqlx::query(statement)
                    .bind(at.as_millis())
                    .execute(&mut *connection)
                    .await
                    .map_err(store_error)?;
            }
            return Ok(());
        }
        for service in self.services {
            for statement in statements_of_one() {
                sqlx::query(sqlx::AssertSqlSafe(statement))
                    .bind(at.as_millis())
                    .bind(service.seq())
                    .execute(&mut *connection)
                    .await
                    .map_err(store_error)?;
            }
        }
        Ok(())
    }
}

fn statements_of_one() -> [String; 2] {
    [ALERTS, KEYS].map(|all| format!("{all} AND service_seq = ?2"))
}

#[cfg(test)]
mod tests {
    use sqlx::Row as _;

    use super::*;
    use crate::store::sqlite::SqliteStore;

    #[tokio::test]
    async fn nothing_that_is_resolved_is_looked_at() {
        let place = tempfile::tempdir().unwrap();
        let (store, _) = SqliteStore::open(&place.path().join("test.db")).await.unwrap();
        let statements = statements_of_one().into_iter().chain([ALERTS, KEYS].map(str::to_owned));
        for statement in statements {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            let rows = sqlx::query(explain).fetch_all(store.readers()).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            assert!(
                plan.iter()
                    .all(|line| line.contains("USING INDEX") || line.contains("USING COVERING")),
                "{statement}: {plan:?}"
            );
        }
    }
}
