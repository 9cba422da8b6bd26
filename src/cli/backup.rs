//! `dutygate backup`: a consistent copy of a database that is in use.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use super::{
    settings_args::ConfigArg,
    ui::{self, Failure, OrNext as _},
};
use crate::config::DatabaseUrl;

const EXAMPLES: &str = "\
Examples:
  dutygate backup /var/backups/dutygate.db
  dutygate backup --force /var/backups/dutygate-latest.db
  DUTYGATE_DATABASE_URL=sqlite:///var/lib/dutygate/dutygate.db dutygate backup today.db

The gateway may be running. To restore: stop the gateway, remove the database with its -wal and
-shm files, put the copy in its place, start the gateway.";

/// Copy the database while it is in use
///
/// The copy is one state of the whole database, compact, and readable by its owner alone: it holds
/// all that was sent. FILE appears only once the copy is complete.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Backup {
    /// Where to put the copy
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace FILE if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    config: ConfigArg,
}

impl Backup {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let DatabaseUrl::Sqlite(database) = self.config.load()?.settings.database_url;
        let spinner = ProgressBar::new_spinner().with_message("copying the database");
        spinner.enable_steady_tick(Duration::from_millis(120));
        let copied = tokio::select! {
            copied = copy(&database, &self.file, self.force) => copied,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted, no copy was made").into()),
        };
        spinner.finish_and_clear();
        let size = ui::size(copied?);
        let (file, database) = (self.file.display(), database.display());
        Ok(ui::out(format_args!(
            "copied {database} to {file} ({size})\n  \
             to restore: stop the gateway, then `rm -f {database}-wal {database}-shm && \
             cp {file} {database}`"
        ))?)
    }
}

/// Copies and returns the size of the copy in bytes.
async fn copy(database: &Path, file: &Path, force: bool) -> Result<u64, Failure> {
    if !database.is_file() {
        let problem = anyhow::anyhow!("there is no database at {}", database.display());
        return Err(Failure::new(
            problem,
            "set database_url (DUTYGATE_DATABASE_URL) to the gateway's",
        ));
    }
    if is_same(database, file) {
        return Err(anyhow::anyhow!("{} is the database itself", file.display()).into());
    }
    refuse_existing(file, force).or_next("name another file, or replace it with --force")?;
    let partial = Partial::create(file)?;
    vacuum_into(database, &partial.path)
        .await
        .with_context(|| format!("cannot copy {}", database.display()))?;
    let copy = File::open(&partial.path).context("cannot open the copy")?;
    copy.sync_all().context("cannot write the copy to disk")?;
    let bytes = copy.metadata().context("cannot read the size of the copy")?.len();
    refuse_existing(file, force).or_next("name another file, or replace it with --force")?;
    partial.become_file(file)?;
    Ok(bytes)
}

fn refuse_existing(file: &Path, force: bool) -> anyhow::Result<()> {
    if !force && file.symlink_metadata().is_ok() {
        bail!("{} exists already", file.display());
    }
    Ok(())
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// `VACUUM INTO` reads one snapshot and blocks no writer in WAL mode.
async fn vacuum_into(database: &Path, copy: &Path) -> anyhow::Result<()> {
    let copy = copy.to_str().context("the path of the copy is not UTF-8")?;
    let mut connection = SqliteConnectOptions::new()
        .filename(database)
        .read_only(true)
        .create_if_missing(false)
        .busy_timeout(Duration::from_secs(30))
        .connect()
        .await?;
    sqlx::query("VACUUM INTO $1").bind(copy).execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// The unfinished copy, in the directory of the finished one so that renaming is atomic. Removed
/// when dropped.
struct Partial {
    path: PathBuf,
}

impl Partial {
    fn create(file: &Path) -> anyhow::Result<Self> {
        let name = file.file_name().context("FILE has no name")?.to_string_lossy();
        let path = file.with_file_name(format!(".{name}.{}.partial", std::process::id()));
        // SQLite takes an empty file, so nobody else can ever read the copy.
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path })
    }

    fn become_file(self, file: &Path) -> anyhow::Result<()> {
        fs::rename(&self.path, file)
            .with_context(|| format!("cannot rename the copy to {}", file.display()))?;
        sync_directory_of(file).context("cannot write the directory to disk")
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After the renaming there is nothing to remove.
        fs::remove_file(&self.path).ok();
    }
}

fn sync_directory_of(file: &Path) -> io::Result<()> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use sqlx::sqlite::{SqliteConnection, SqliteJournalMode};

    use super::*;

    /// A directory of its own for one test, removed with it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let place =
                std::env::temp_dir().join(format!("dutygate-{name}-{}", std::process::id()));
            fs::create_dir_all(&place).unwrap();
            Self(place)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    /// An open database with one row, as a running gateway has it.
    async fn live(database: &Path) -> SqliteConnection {
        let mut connection = SqliteConnectOptions::new()
            .filename(database)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .connect()
            .await
            .unwrap();
        sqlx::query("CREATE TABLE t (a)").execute(&mut connection).await.unwrap();
        sqlx::query("INSERT INTO t VALUES (42)").execute(&mut connection).await.unwrap();
        connection
    }

    async fn answer(copy: &Path) -> i64 {
        let mut connection =
            SqliteConnectOptions::new().filename(copy).read_only(true).connect().await.unwrap();
        sqlx::query_scalar("SELECT a FROM t").fetch_one(&mut connection).await.unwrap()
    }

    #[tokio::test]
    async fn a_live_database_is_copied_for_its_owner_alone() {
        let place = Place::new("backup-live");
        let (database, file) = (place.0.join("live.db"), place.0.join("copy.db"));
        let writer = live(&database).await;

        let bytes = copy(&database, &file, false).await.unwrap();

        let metadata = fs::metadata(&file).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert_eq!(metadata.len(), bytes);
        assert_eq!(answer(&file).await, 42);
        assert_eq!(place.names(), ["copy.db", "live.db", "live.db-shm", "live.db-wal"]);
        drop(writer);
    }

    #[tokio::test]
    async fn a_database_that_nobody_uses_is_copied_and_left_as_it_was() {
        let place = Place::new("backup-idle");
        let (database, file) = (place.0.join("idle.db"), place.0.join("copy.db"));
        live(&database).await.close().await.unwrap();
        let before = fs::read(&database).unwrap();

        copy(&database, &file, false).await.unwrap();

        assert_eq!(answer(&file).await, 42);
        assert_eq!(fs::read(&database).unwrap(), before);
        // A read-only reader of a WAL database leaves these two, empty, for the next to take over:
        // to remove them could destroy what a gateway that starts just now writes.
        assert_eq!(place.names(), ["copy.db", "idle.db", "idle.db-shm", "idle.db-wal"]);
        assert_eq!(fs::metadata(place.0.join("idle.db-wal")).unwrap().len(), 0);
    }

    #[tokio::test]
    async fn a_file_is_replaced_only_by_force_and_the_database_never() {
        let place = Place::new("backup-force");
        let (database, file) = (place.0.join("a.db"), place.0.join("copy.db"));
        live(&database).await.close().await.unwrap();
        fs::write(&file, "precious").unwrap();

        let refused = copy(&database, &file, false).await.unwrap_err().to_string();
        assert!(refused.contains("exists already") && refused.contains("--force"), "{refused}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

        copy(&database, &file, true).await.unwrap();
        assert_eq!(answer(&file).await, 42);

        let refused = copy(&database, &database, true).await.unwrap_err().to_string();
        assert!(refused.contains("is the database itself"), "{refused}");
    }

    #[tokio::test]
    async fn a_failed_copy_leaves_nothing_behind() {
        let place = Place::new("backup-failed");
        let (database, file) = (place.0.join("a.db"), place.0.join("copy.db"));

        let missing = copy(&database, &file, false).await.unwrap_err().to_string();
        assert!(missing.contains("there is no database at"), "{missing}");
        assert!(place.names().is_empty());

        fs::write(&database, "this is not a database, but it is long enough").unwrap();
        copy(&database, &file, false).await.unwrap_err();
        assert_eq!(place.names(), ["a.db"]);
    }
}
