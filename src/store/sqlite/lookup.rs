//! What alerts to come are looked up by: open incidents by the hashes of their groups, open alerts
//! by the hashes under which they can be inhibited.
//!
//! Hashes fall anywhere in a tree. In the database each would dirty a page of its own, which is
//! written twice and made durable; for a fresh alert that is more than all its other rows cost. But
//! all of it follows from the open incidents and alerts, so it lies in a temporary database of the
//! writing connection, made anew with the connection. A transaction covers both. Its pages are in
//! memory up to [`CACHE_KIB`], then in an unnamed file in the database's directory.

use std::path::Path;

use sqlx::{
    ConnectOptions, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use uuid::Uuid;

use super::{
    StoreError,
    bulk::Binder,
    rows::{self, Columns},
    statements as sql, store_error,
};
use crate::domain::{id::RuleId, standing::Standing};

/// Holds about 300,000 rows.
const CACHE_KIB: u32 = 32_768;

const TABLES: &str = "
CREATE TABLE lookup.open_groups (
    service_seq  INTEGER NOT NULL,
    rule_seq     INTEGER NOT NULL,
    hash         INTEGER NOT NULL,
    incident_seq INTEGER NOT NULL,
    PRIMARY KEY (service_seq, rule_seq, hash)
) STRICT, WITHOUT ROWID;
CREATE TABLE lookup.inhibition_targets (
    service_seq INTEGER NOT NULL,
    rule_seq    INTEGER NOT NULL,
    hash        INTEGER NOT NULL,
    alert_seq   INTEGER NOT NULL,
    PRIMARY KEY (service_seq, rule_seq, hash, alert_seq)
) STRICT, WITHOUT ROWID;
";

/// Rows that are read at a time when it is made.
const PAGE: u16 = 1000;

/// Connects the writer, with everything there is to look up.
pub(super) async fn connect(
    path: &Path,
    options: &SqliteConnectOptions,
) -> Result<SqliteConnection, StoreError> {
    let mut connection = options.connect().await.map_err(store_error)?;
    attach(path, &mut connection).await?;
    Ok(connection)
}

/// Makes the tables beside an open database and fills them.
pub(super) async fn attach(
    path: &Path,
    connection: &mut SqliteConnection,
) -> Result<(), StoreError> {
    // For all of the process: SQLite knows one directory only, and looks elsewhere without it.
    let directory = path.parent().unwrap_or(path).display().to_string().replace('\'', "''");
    // A database that is attached while temporary ones are files stays one.
    let script = format!(
        "PRAGMA temp_store_directory = '{directory}'; \
         PRAGMA temp_store = file; \
         ATTACH DATABASE '' AS lookup; \
         PRAGMA temp_store = memory; \
         PRAGMA lookup.journal_mode = memory; \
         PRAGMA lookup.cache_size = -{CACHE_KIB}; {TABLES} BEGIN"
    );
    let script = sqlx::raw_sql(sqlx::AssertSqlSafe(script));
    script.execute(&mut *connection).await.map_err(store_error)?;
    let started = std::time::Instant::now();
    let mut rows = 0;
    let services = sqlx::query_scalar("SELECT seq FROM services").fetch_all(&mut *connection);
    for service in services.await.map_err(store_error)? {
        rows += fill_groups(service, connection).await?;
        rows += fill_targets(service, connection).await?;
    }
    sqlx::query("COMMIT").execute(connection).await.map_err(store_error)?;
    let took_ms = started.elapsed().as_millis();
    if took_ms > 1000 {
        tracing::info!(rows, took_ms, "read what open alerts and incidents are found by");
    }
    Ok(())
}

/// Says how many rows there are.
async fn fill_groups(service: i64, connection: &mut SqliteConnection) -> Result<usize, StoreError> {
    let (mut after, mut rows) = (0, 0);
    loop {
        let page = page(sql::OPEN_GROUPS_PAGE, service, after, &mut *connection).await?;
        let mut found = Vec::new();
        for row in &page {
            let mut c = Columns::of(row, "incidents");
            after = c.read("seq")?;
            let rule = RuleId::from_uuid(c.read::<Uuid>("rule_id")?).seq();
            let hashes = rows::hashes(&mut c)?;
            found.extend(hashes.into_iter().map(|hash| (service, rule, hash, after)));
        }
        rows += found.len();
        sql::INSERT_GROUPS.execute(connection, &found, bind).await?;
        if page.len() < usize::from(PAGE) {
            return Ok(rows);
        }
    }
}

/// The same of the inhibition targets.
async fn fill_targets(
    service: i64,
    connection: &mut SqliteConnection,
) -> Result<usize, StoreError> {
    let (mut after, mut rows) = (0, 0);
    loop {
        let page = page(sql::STANDINGS_PAGE, service, after, &mut *connection).await?;
        let mut found = Vec::new();
        for row in &page {
            let mut c = Columns::of(row, "alerts");
            after = c.read("seq")?;
            let standing = Standing::from_stored(c.read("standing")?)
                .map_err(|what| c.corrupt("standing", what))?;
            let targets = standing.matches.sides.iter().filter(|side| side.target);
            found.extend(targets.map(|side| (service, side.rule.seq(), side.hash, after)));
        }
        rows += found.len();
        sql::INSERT_TARGETS.execute(connection, &found, bind).await?;
        if page.len() < usize::from(PAGE) {
            return Ok(rows);
        }
    }
}

/// Service, rule, hash, and what is found under them.
fn bind(b: &mut Binder, (service, rule, hash, found): &(i64, i64, i64, i64)) {
    b.bind(*service).bind(*rule).bind(*hash).bind(*found);
}

/// The rows of a service after one of them.
async fn page(
    statement: &'static str,
    service: i64,
    after: i64,
    connection: &mut SqliteConnection,
) -> Result<Vec<SqliteRow>, StoreError> {
    let rows = sqlx::query(statement).bind(service).bind(after).bind(PAGE);
    rows.fetch_all(connection).await.map_err(store_error)
}
