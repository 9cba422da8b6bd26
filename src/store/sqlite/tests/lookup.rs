//! What alerts are looked up by lies beside the database, and follows from it.

use std::{fs, path::Path};

use crate::{
    domain::{
        event::Severity,
        id::{Ids, Sequences},
        tests::{
            laws,
            world::{What, World},
        },
    },
    store::{
        Store as _,
        sqlite::{
            SqliteStore,
            tests::{Scratch, commit, store_of},
        },
    },
};

/// All that is found by a hash: service, rule, hash, and the incident or alert.
pub(super) async fn rows(store: &SqliteStore) -> Vec<(i64, i64, i64, i64)> {
    let mut writer = store.writer().await.unwrap();
    sqlx::query_as(
        "SELECT * FROM lookup.open_groups UNION ALL SELECT * FROM lookup.inhibition_targets \
         ORDER BY 1, 2, 3, 4",
    )
    .fetch_all(writer.connection.as_mut().unwrap())
    .await
    .unwrap()
}

fn world() -> World {
    World::new(&serde_json::json!({
        "grouping": [{"by": ["class"]}],
        "inhibition": [{"source": ["class=\"a\""], "target": ["severity=\"error\""]}],
    }))
}

/// A database with two open groups and three targets.
async fn opened(path: &Path) -> SqliteStore {
    let world = world();
    let store = store_of(&world, path).await;
    let mut ids = Ids::new(Sequences::default(), [1; 32]);
    for (key, class) in [("k1", "disk"), ("k2", "cpu"), ("k3", "disk"), ("k4", "net")] {
        let what = What::Trigger { severity: Severity::Error, class };
        let event = world.event(laws::START, Some(key), what);
        commit(&store, &[event], &world.directory, &mut ids).await;
    }
    let resolve = world.event(laws::START, Some("k4"), What::Resolve);
    commit(&store, &[resolve], &world.directory, &mut ids).await;
    store
}

#[tokio::test]
async fn it_is_made_anew_with_the_connection() {
    let scratch = Scratch::new("lookup");
    let store = opened(&scratch.database(1)).await;
    let before = rows(&store).await;
    assert_eq!(before.len(), 2 + 3, "two groups and three targets: {before:?}");

    store.writer().await.unwrap().connection = None;

    assert_eq!(rows(&store).await, before);
    store.close().await;
    let names: Vec<_> = fs::read_dir(&scratch.0).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing but the database and its lock: {names:?}");
}

#[tokio::test]
async fn what_does_not_fit_into_its_cache_goes_to_an_unnamed_file() {
    let scratch = Scratch::new("lookup-spill");
    let world = world();
    let store = store_of(&world, &scratch.database(1)).await;
    {
        let mut writer = store.writer().await.unwrap();
        let script = "PRAGMA lookup.cache_size = 10; \
             WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n WHERE x < 20000) \
             INSERT INTO lookup.open_groups SELECT 1, 1, x * 7919 % 20011, x FROM n";
        let connection = writer.connection.as_mut().unwrap();
        sqlx::raw_sql(script).execute(connection).await.unwrap();
    }
    let open: Vec<_> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .filter(|target| target.contains("/etilqs_") && target.ends_with("(deleted)"))
        .collect();

    // SQLite has one directory for all of a process: here, that of any test.
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!(rows(&store).await.len(), 20_000);
}

#[tokio::test]
async fn a_database_of_an_older_version_is_brought_up_to_date() {
    let scratch = Scratch::new("lookup-upgrade");
    let path = scratch.database(1);
    let store = opened(&path).await;
    let before = rows(&store).await;
    {
        let mut writer = store.writer().await.unwrap();
        let as_before = "CREATE TABLE incident_keys AS SELECT * FROM lookup.open_groups; \
             CREATE TABLE main.inhibition_targets AS SELECT * FROM lookup.inhibition_targets; \
             ALTER TABLE incidents DROP COLUMN group_hashes; DROP INDEX deliveries_alert; \
             DELETE FROM _sqlx_migrations WHERE version > 8";
        sqlx::raw_sql(as_before).execute(writer.connection.as_mut().unwrap()).await.unwrap();
    }
    store.close().await;
    drop(store);

    let (store, _) = SqliteStore::open(&path).await.unwrap();

    assert_eq!(rows(&store).await, before);
}
