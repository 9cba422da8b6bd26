//! The tables, and how those of an older version become today's.

use std::path::Path;

use sqlx::{
    SqlSafeStr, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
};

use super::{StoreError, open_error};

/// The steps from an empty file to today's tables, in order. Only ever added to.
fn migrations() -> Migrator {
    const STEPS: [(i64, &str, &str); 10] = [
        (1, "ingest", include_str!("../../../migrations/sqlite/0001_ingest.sql")),
        (2, "noise_reduction", include_str!("../../../migrations/sqlite/0002_noise_reduction.sql")),
        (3, "policy", include_str!("../../../migrations/sqlite/0003_policy.sql")),
        (4, "similar", include_str!("../../../migrations/sqlite/0004_similar.sql")),
        (5, "outbox", include_str!("../../../migrations/sqlite/0005_outbox.sql")),
        (6, "notes", include_str!("../../../migrations/sqlite/0006_notes.sql")),
        (7, "guance", include_str!("../../../migrations/sqlite/0007_guance.sql")),
        (8, "targets", include_str!("../../../migrations/sqlite/0008_targets.sql")),
        (9, "lookup", include_str!("../../../migrations/sqlite/0009_lookup.sql")),
        (10, "told", include_str!("../../../migrations/sqlite/0010_told.sql")),
    ];
    Migrator::with_migrations(
        STEPS
            .into_iter()
            .map(|(version, name, sql)| {
                let sql = sql.into_sql_str();
                Migration::new(version, name.into(), MigrationType::Simple, sql, false)
            })
            .collect(),
    )
}

/// Brings the tables up to date.
pub(super) async fn migrate(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<(), StoreError> {
    use sqlx::migrate::MigrateError;
    migrations().run_direct(None, connection, false).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) => StoreError::Unusable(format!(
            "the database {} was written by a newer dutygate (its schema has version {version}); \
             start that version, or restore a backup made before the upgrade",
            path.display()
        )),
        MigrateError::VersionMismatch(version) => StoreError::Unusable(format!(
            "the database {} does not have the schema that version {version} made; \
             restore a backup, or report how it was changed",
            path.display()
        )),
        MigrateError::Dirty(version) => StoreError::Unusable(format!(
            "an upgrade of the database {} to version {version} was cut off; restore the backup \
             made before it",
            path.display()
        )),
        other => match other {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                open_error(path, &error)
            }
            other => StoreError::Unusable(format!(
                "the database {} cannot be upgraded: {other}",
                path.display()
            )),
        },
    })
}
