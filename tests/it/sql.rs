//! A look into the database file from outside, for laws that no answer shows.

use std::path::Path;

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection,
    sqlite::SqliteConnectOptions,
};

/// Opens the file of a gateway that may be running.
pub(crate) async fn open(database: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(database).create_if_missing(false);
    options.connect().await.unwrap()
}

/// Runs statements.
pub(crate) async fn run(database: &Path, sql: &'static str) {
    let mut connection = open(database).await;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// The first column of all rows, as text.
pub(crate) async fn texts(database: &Path, sql: &'static str) -> Vec<String> {
    let mut connection = open(database).await;
    let texts = sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    texts
}

/// Asserts what has to be true of every database at every moment.
pub(crate) async fn assert_sound(database: &Path) {
    /// Each finds the rows that break a law.
    const BROKEN: [&str; 6] = [
        // At most one open alert a key.
        "SELECT integration_seq || '/' || dedup_key FROM alerts WHERE status <> 'resolved' \
         GROUP BY integration_seq, dedup_key HAVING count(*) > 1",
        // An alert counts its triggers.
        "SELECT 'alert ' || seq FROM alerts a WHERE event_count <> \
         (SELECT count(*) FROM events e WHERE e.alert_seq = a.seq AND e.action = 'trigger')",
        // An incident counts its open alerts by severity.
        "SELECT 'incident ' || i.seq FROM incidents i LEFT JOIN \
         (SELECT incident_seq, sum(severity = 'info') AS info, sum(severity = 'warning') AS warning, \
          sum(severity = 'error') AS error, sum(severity = 'critical') AS critical \
          FROM alerts WHERE status <> 'resolved' GROUP BY incident_seq) o ON o.incident_seq = i.seq \
         WHERE (open_info, open_warning, open_error, open_critical) <> \
          (coalesce(o.info, 0), coalesce(o.warning, 0), coalesce(o.error, 0), coalesce(o.critical, 0))",
        // An incident is resolved when nothing of it is open, and only then.
        "SELECT 'incident ' || seq FROM incidents \
         WHERE (status = 'resolved') <> (open_info + open_warning + open_error + open_critical = 0)",
        // An incident counts its alerts.
        "SELECT 'incident ' || seq FROM incidents i WHERE alert_count <> \
         (SELECT count(*) FROM alerts a WHERE a.incident_seq = i.seq)",
        // The newest event of an alert is one of its own.
        "SELECT 'alert ' || a.seq FROM alerts a LEFT JOIN events e ON e.seq = a.last_event_seq \
         WHERE e.alert_seq IS NOT a.seq",
    ];
    assert_eq!(texts(database, "PRAGMA integrity_check").await, ["ok"]);
    for law in BROKEN {
        assert_eq!(texts(database, law).await, [""; 0], "{law}");
    }
}
