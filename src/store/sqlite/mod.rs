//! The embedded database: one SQLite file in WAL mode, one writing connection, a few readers.

mod binding;
mod bulk;
mod configuration;
mod errors;
mod lock;
mod log;
mod lookup;
mod maintenance;
mod noise;
mod outbox;
mod query;
mod rows;
mod schema;
mod sent_ids;
mod statements;
mod unit;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use sqlx::{
    ConnectOptions, Connection, Row, SqliteConnection, SqlitePool,
    sqlite::{
        SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions,
        SqliteSynchronous,
    },
};
use tokio::sync::{Mutex, Notify};

use self::errors::{open_error, store_error};
use super::{Maintenance, OpenCounts, Progress, Store, StoreError, Unit};
use crate::domain::{
    id::{IntegrationId, Sequences, ServiceId},
    routing::Directory,
    service::Gap,
    time::Timestamp,
};

/// "dugt": tells a file of ours from any other SQLite database (`file` shows it).
const APPLICATION_ID: i64 = 0x6475_6774;

/// Older versions can corrupt a WAL when a checkpoint and a writer meet.
///
/// Source: SQLite release notes, 3.51.3, "WAL-reset database corruption bug".
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// Readers: enough for the console and a few API clients; each costs a thread and a page cache.
const READERS: u32 = 4;

/// The ids behind the few rows that most tables refer to by number. Rows of deleted things stay,
/// because their alerts do.
#[derive(Debug, Default)]
struct Names {
    services: HashMap<i64, ServiceId>,
    integrations: HashMap<i64, IntegrationId>,
}

impl Names {
    fn service(&self, seq: i64) -> Option<ServiceId> {
        self.services.get(&seq).copied()
    }

    fn integration(&self, seq: i64) -> Option<IntegrationId> {
        self.integrations.get(&seq).copied()
    }

    fn service_ids(&self) -> impl Iterator<Item = ServiceId> {
        self.services.values().copied()
    }
}

/// The writing connection and what goes with it.
#[derive(Debug)]
struct Writer {
    /// `None` after a failure: the next use opens it again.
    connection: Option<SqliteConnection>,
    /// A transaction was begun and neither committed nor rolled back yet.
    in_transaction: bool,
    names_changed: bool,
    /// Time of the newest input: none is judged at an earlier one, whatever the system's clock does.
    latest: Timestamp,
    /// Nothing is due before this, milliseconds since the epoch.
    next_due: i64,
}

/// The SQLite store.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    options: SqliteConnectOptions,
    writer: Arc<Mutex<Writer>>,
    readers: SqlitePool,
    names: RwLock<Arc<Names>>,
    /// Wakes who sends what is owed.
    nudge: Arc<Notify>,
    _lock: lock::FileLock,
}

impl SqliteStore {
    /// Opens the file, creates it if there is none, and brings its tables up to date. The second
    /// value says whether it is new.
    pub async fn open(path: &Path) -> Result<(Self, bool), StoreError> {
        let unusable = |what: String| StoreError::Unusable(what);
        if let Some(directory) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            create_private_directory(directory).map_err(|error| {
                unusable(format!(
                    "cannot create the directory {} for the database: {error}; \
                     create it, or set database_url to a place that can be written",
                    directory.display()
                ))
            })?;
        }
        let path = std::path::absolute(path)
            .map_err(|error| unusable(format!("{}: {error}", path.display())))?;
        let is_new = !path.exists();
        let lock = lock::FileLock::take(&path)?;
        create_private_file(&path).map_err(|error| {
            unusable(format!(
                "cannot open the database {}: {error}; check the owner and mode of the file and \
                 its directory",
                path.display()
            ))
        })?;
        let writer_options = SqliteConnectOptions::new()
            .filename(&path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .page_size(4096)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5))
            .pragma("journal_size_limit", "67108864")
            .pragma("temp_store", "memory")
            .disable_statement_logging()
            .pragma("cache_size", "-65536")
            .pragma("wal_autocheckpoint", "4000")
            .statement_cache_capacity(400)
            .row_buffer_size(512);
        let is_empty = refuse_foreign(&path).await?;
        let wrong = |error| open_error(&path, &error);
        let mut connection = writer_options.connect().await.map_err(wrong)?;
        assert_version(&mut connection).await?;
        if is_empty {
            claim(&mut connection, &path).await?;
        }
        schema::migrate(&mut connection, &path).await?;
        lookup::attach(&path, &mut connection).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .min_connections(1)
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(reader_options(&path))
            .await
            .map_err(wrong)?;
        let names = read_names(&mut connection).await?;
        let latest = read_latest(&mut connection).await?;
        let writer = Writer {
            connection: Some(connection),
            in_transaction: false,
            names_changed: false,
            latest,
            next_due: i64::MIN,
        };
        let store = Self {
            path,
            options: writer_options.create_if_missing(false),
            writer: Arc::new(Mutex::new(writer)),
            readers,
            names: RwLock::new(Arc::new(names)),
            nudge: Arc::default(),
            _lock: lock,
        };
        Ok((store, is_new))
    }

    /// The database file, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Connections for reading.
    pub fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// The writer, connected and outside of a transaction.
    async fn writer(&self) -> Result<tokio::sync::OwnedMutexGuard<Writer>, StoreError> {
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        // A file that vanished would be written to unseen: SQLite keeps its handle open.
        if !self.path.exists() {
            writer.connection = None;
        }
        if writer.in_transaction {
            writer.in_transaction = false;
            if let Some(connection) = writer.connection.as_mut()
                && sqlx::query("ROLLBACK").execute(connection).await.is_err()
            {
                writer.connection = None;
            }
        }
        if writer.connection.is_none() {
            writer.connection = Some(lookup::connect(&self.path, &self.options).await?);
        }
        Ok(writer)
    }

    fn names(&self) -> Arc<Names> {
        Arc::clone(&self.names.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn begin(&self) -> Result<Box<dyn Unit>, StoreError> {
        let mut writer = self.writer().await?;
        let names_changed = std::mem::take(&mut writer.names_changed);
        let Some(connection) = writer.connection.as_mut() else {
            return Err(StoreError::Unavailable(sqlx::Error::PoolClosed));
        };
        if names_changed {
            let names = read_names(&mut *connection).await?;
            *self.names.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(names);
        }
        if let Err(error) = sqlx::query("BEGIN IMMEDIATE").execute(connection).await {
            writer.connection = None;
            return Err(store_error(error));
        }
        writer.in_transaction = true;
        Ok(Box::new(unit::SqliteUnit {
            latest: writer.latest,
            next_due: writer.next_due,
            due_was_loaded: false,
            writer,
            names: self.names(),
            finished: false,
            owes: false,
            nudge: Arc::clone(&self.nudge),
        }))
    }

    async fn directory(&self, version: u64, now: Timestamp) -> Result<Directory, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        let mut directory = configuration::directory(&mut connection, version, now).await?;
        directory.gap = maintenance::gap(&mut connection).await?;
        Ok(directory)
    }

    async fn started(&self, now: Timestamp) -> Result<Option<Gap>, StoreError> {
        let mut writer = self.writer().await?;
        let Some(connection) = writer.connection.as_mut() else {
            return Err(StoreError::Unavailable(sqlx::Error::PoolClosed));
        };
        maintenance::started(connection, now).await
    }

    async fn sequences(&self) -> Result<Sequences, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        let row = sqlx::query(
            "SELECT (SELECT max(seq) FROM events), (SELECT max(seq) FROM alerts), \
             (SELECT max(seq) FROM incidents), (SELECT max(seq) FROM contents), \
             (SELECT max(seq) FROM changes), (SELECT max(seq) FROM timeline), \
             (SELECT max(seq) FROM deliveries), \
             max((SELECT coalesce(max(seq), 0) FROM services), \
                 (SELECT coalesce(max(seq), 0) FROM integrations), \
                 (SELECT coalesce(max(seq), 0) FROM tokens), \
                 (SELECT coalesce(max(seq), 0) FROM silences), \
                 (SELECT coalesce(max(seq), 0) FROM routes), \
                 (SELECT coalesce(max(seq), 0) FROM receivers), \
                 (SELECT coalesce(max(seq), 0) FROM audit), \
                 (SELECT coalesce(max(value), 0) FROM meta WHERE name = 'last_rule_seq'))",
        )
        .fetch_one(&mut *connection)
        .await
        .map_err(store_error)?;
        let next = |at: usize| -> Result<i64, StoreError> {
            Ok(row.try_get::<Option<i64>, _>(at).map_err(store_error)?.unwrap_or(0) + 1)
        };
        Ok(Sequences {
            event: next(0)?,
            alert: next(1)?,
            incident: next(2)?,
            content: next(3)?,
            change: next(4)?,
            timeline: next(5)?,
            delivery: next(6)?,
            object: next(7)?,
        })
    }

    async fn maintain(&self, step: Maintenance) -> Result<Progress, StoreError> {
        let mut writer = self.writer().await?;
        let Some(connection) = writer.connection.as_mut() else {
            return Err(StoreError::Unavailable(sqlx::Error::PoolClosed));
        };
        maintenance::run(connection, step).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        let Some(connection) = writer.connection.as_mut() else {
            return Err(StoreError::Unavailable(sqlx::Error::PoolClosed));
        };
        // It has to be committed: only then does a full disk show.
        let written = sqlx::query(
            "INSERT INTO meta (name, value) VALUES ('probe', 1) \
             ON CONFLICT (name) DO UPDATE SET value = value + 1",
        )
        .execute(connection)
        .await
        .map_err(store_error);
        if written.is_err() {
            writer.connection = None;
        }
        written.map(|_| ())
    }

    async fn open_counts(&self) -> Result<OpenCounts, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        maintenance::open_counts(&mut connection).await
    }

    async fn size_bytes(&self) -> Result<u64, StoreError> {
        Ok(maintenance::size_bytes(&self.path))
    }

    async fn close(&self) {
        self.readers.close().await;
        let connection = self.writer.lock().await.connection.take();
        if let Some(connection) = connection
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the database was not closed cleanly; the next start recovers it");
        }
    }
}

fn reader_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(Duration::from_secs(5))
        .pragma("cache_size", "-16384")
        .pragma("temp_store", "memory")
        .disable_statement_logging()
}

async fn assert_version(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(connection)
        .await
        .map_err(store_error)?;
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    if (next(), next(), next()) < OLDEST_SQLITE {
        let (a, b, c) = OLDEST_SQLITE;
        return Err(StoreError::Unusable(format!(
            "this program was built with SQLite {version}, which can lose data; \
             build it with at least {a}.{b}.{c}"
        )));
    }
    Ok(())
}

/// Refuses a database of another program; says whether there is nothing in it. Over a connection
/// that changes nothing: ours would turn the file into WAL mode before anything could be read.
async fn refuse_foreign(path: &Path) -> Result<bool, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging();
    let error = |error| open_error(path, &error);
    let mut connection = options.connect().await.map_err(error)?;
    let read = "SELECT (SELECT application_id FROM pragma_application_id), \
                (SELECT count(*) FROM sqlite_schema)";
    let (id, tables): (i64, i64) =
        sqlx::query_as(read).fetch_one(&mut connection).await.map_err(error)?;
    connection.close().await.map_err(error)?;
    if tables > 0 && id != APPLICATION_ID {
        return Err(StoreError::Unusable(format!(
            "{} is a database of another program; set database_url to another file",
            path.display()
        )));
    }
    Ok(tables == 0)
}

/// Marks the file as ours.
async fn claim(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let mark = sqlx::AssertSqlSafe(format!("PRAGMA application_id = {APPLICATION_ID}"));
    sqlx::query(mark).execute(connection).await.map_err(|error| open_error(path, &error)).map(drop)
}

async fn read_names(connection: &mut SqliteConnection) -> Result<Names, StoreError> {
    let mut names = Names::default();
    let services = sqlx::query("SELECT seq, id FROM services").fetch_all(&mut *connection).await;
    for row in services.map_err(store_error)? {
        let mut c = rows::Columns::of(&row, "services");
        names.services.insert(c.read("seq")?, ServiceId::from_uuid(c.read("id")?));
    }
    let integrations =
        sqlx::query("SELECT seq, id FROM integrations").fetch_all(&mut *connection).await;
    for row in integrations.map_err(store_error)? {
        let mut c = rows::Columns::of(&row, "integrations");
        names.integrations.insert(c.read("seq")?, IntegrationId::from_uuid(c.read("id")?));
    }
    Ok(names)
}

/// The time of the newest thing stored.
async fn read_latest(connection: &mut SqliteConnection) -> Result<Timestamp, StoreError> {
    let latest: i64 = sqlx::query_scalar(
        "SELECT max(coalesce((SELECT received_at_ms FROM events ORDER BY seq DESC LIMIT 1), 0), \
         coalesce((SELECT at_ms FROM timeline ORDER BY seq DESC LIMIT 1), 0), \
         coalesce((SELECT received_at_ms FROM changes ORDER BY seq DESC LIMIT 1), 0))",
    )
    .fetch_one(connection)
    .await
    .map_err(store_error)?;
    Ok(Timestamp::from_millis(latest))
}

fn create_private_directory(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if path.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes the file before SQLite does, so that it and the files beside it, which take after it, are
/// never readable by others.
fn create_private_file(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    Ok(())
}
