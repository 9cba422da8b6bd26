//! The database keeps what the pipeline decides: the same histories as a store of maps.

mod deliveries;
mod lookup;
mod scenarios;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use proptest::{prelude::*, test_runner::TestRunner};

use super::SqliteStore;
use crate::{
    domain::{
        changes::{Changes, Input},
        configuration::{Audit, Configuration},
        event::{Disposition, Intent, Severity, StoredBody},
        id::{AuditId, Ids, Sequences},
        key::RoutingKey,
        loading::{LoadKeys, Loaded},
        routing::Directory,
        service::Service,
        tests::{
            laws,
            world::{What, World},
        },
        time::Timestamp,
    },
    store::{
        Maintenance, Store as _,
        decide::{Learned, decide},
        query::{AlertFilter, Page, Reads as _},
    },
};

/// A directory of a test, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dutygate-{name}-{}", std::process::id()));
        std::fs::remove_dir_all(&path).ok();
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn database(&self, number: u32) -> PathBuf {
        self.0.join(format!("{number}.db"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A store that has the service and integration of `world`.
async fn store_of(world: &World, path: &Path) -> SqliteStore {
    let (store, is_new) = SqliteStore::open(path).await.unwrap();
    assert!(is_new);
    let service = world.directory.services().next().unwrap();
    let changes = [
        Configuration::CreateService(Service::clone(service)),
        Configuration::CreateIntegration {
            integration: (*world.integration).clone(),
            key: RoutingKey::parse("0123456789abcdef0123456789abcdef").unwrap().hash(),
        },
    ];
    for (seq, change) in changes.iter().enumerate() {
        let audit = audit(i64::try_from(seq).unwrap() + 1);
        let mut unit = store.begin().await.unwrap();
        unit.configure(&[(change.clone(), audit)]).await.unwrap().unwrap();
        unit.commit().await.unwrap();
    }
    store
}

fn audit(seq: i64) -> Audit {
    Audit {
        id: AuditId::new(Timestamp::default(), seq, 0),
        at: Timestamp::default(),
        actor: "test".to_owned(),
        address: None,
        action: "create",
        object_kind: "test",
        object_id: uuid::Uuid::nil(),
        object_name: String::new(),
        detail: serde_json::json!({}),
    }
}

async fn commit(store: &SqliteStore, inputs: &[Input], directory: &Directory, ids: &mut Ids) {
    commit_as(store, inputs, directory, ids).await;
}

/// The same, and what it changed.
async fn commit_as(
    store: &SqliteStore,
    inputs: &[Input],
    directory: &Directory,
    ids: &mut Ids,
) -> Changes {
    let mut unit = store.begin().await.unwrap();
    let decided = decide(&mut *unit, inputs, directory, ids, &Learned::new()).await.unwrap();
    unit.save(&decided.changes).await.unwrap();
    unit.commit().await.unwrap();
    *ids = decided.ids;
    decided.changes
}

/// Everything there is of what `world` knows.
async fn load_all(store: &SqliteStore, world: &World) -> Loaded {
    let keys = LoadKeys {
        alerts: world.state.alerts.keys().copied().collect(),
        incidents: world.state.incidents.keys().copied().collect(),
        ..LoadKeys::default()
    };
    let mut unit = store.begin().await.unwrap();
    let mut loaded = unit.load(&keys).await.unwrap();
    loaded.alerts.sort_by_key(|alert| alert.id);
    loaded.incidents.sort_by_key(|incident| incident.id);
    loaded
}

#[test]
fn any_history_is_kept_as_it_was_decided() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scratch = Scratch::new("histories");
    let number = std::cell::Cell::new(0);
    let strategy = (laws::policies(), prop::collection::vec(laws::step(), 0..40), 1..9_usize);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    });

    let result = runner.run(&strategy, |(policy, steps, size)| {
        number.set(number.get() + 1);
        let inputs = laws::history(&policy, &steps);
        let expected = laws::run(&policy, &inputs, &[size]);
        let fresh = World::new(&policy);
        let loaded = runtime.block_on(async {
            let store = store_of(&fresh, &scratch.database(number.get())).await;
            let mut ids = Ids::new(Sequences::default(), [1; 32]);
            for batch in inputs.chunks(size) {
                commit(&store, batch, &fresh.directory, &mut ids).await;
            }
            let loaded = load_all(&store, &expected).await;
            store.close().await;
            loaded
        });
        let alerts: Vec<_> = expected.state.alerts.values().cloned().collect();
        let incidents: Vec<_> = expected.state.incidents.values().cloned().collect();
        for (stored, decided) in loaded.alerts.iter().zip(&alerts) {
            prop_assert_eq!(stored, decided);
        }
        for (stored, decided) in loaded.incidents.iter().zip(&incidents) {
            prop_assert_eq!(stored, decided);
        }
        prop_assert_eq!(loaded.alerts.len(), alerts.len());
        prop_assert_eq!(loaded.incidents.len(), incidents.len());
        Ok(())
    });

    if let Err(error) = result {
        panic!("{}", error.to_string().chars().take(3000).collect::<String>());
    }
}

#[tokio::test]
async fn a_unit_that_is_dropped_leaves_nothing() {
    let scratch = Scratch::new("dropped");
    let world = World::new(&serde_json::json!({}));
    let store = store_of(&world, &scratch.database(1)).await;
    let trigger = laws::trigger(&world, 0, "k");
    let mut ids = Ids::new(Sequences::default(), [1; 32]);
    {
        let mut unit = store.begin().await.unwrap();
        let inputs = std::slice::from_ref(&trigger);
        let directory = &world.directory;
        let decided = decide(&mut *unit, inputs, directory, &ids, &Learned::new()).await.unwrap();
        unit.save(&decided.changes).await.unwrap();
        ids = decided.ids;
    }

    assert_eq!(store.sequences().await.unwrap().event, 1);
    commit(&store, &[trigger], &world.directory, &mut ids).await;
    assert_eq!(store.sequences().await.unwrap().event, 3, "numbers may have gaps");
}

#[tokio::test]
async fn a_second_gateway_on_the_same_file_is_refused() {
    let scratch = Scratch::new("second");
    let (_first, _) = SqliteStore::open(&scratch.database(1)).await.unwrap();

    let second = SqliteStore::open(&scratch.database(1)).await.unwrap_err();

    assert!(second.to_string().starts_with("another dutygate is running on the database"));
}

const HOUR: i64 = 3_600_000;

/// Commits one trigger with these details, `hours` after the start.
async fn commit_with_details(
    store: &SqliteStore,
    world: &World,
    ids: &mut Ids,
    (hours, key, details): (i64, &str, &str),
) {
    let Input::Event(event) = laws::trigger(world, hours * HOUR, key) else { unreachable!() };
    let mut input = event.prepared_as(Arc::clone(&event.integration), event.prepared.clone());
    if let Intent::Trigger { content, .. } = &mut input.event.intent {
        content.custom_details = Some(details.into());
        input.prepared.fingerprints = content.fingerprints();
    }
    let text = format!("{{\"custom_details\":{details}}}");
    let start = u32::try_from(text.find(details).unwrap()).unwrap();
    let end = start + u32::try_from(details.len()).unwrap();
    input.body = StoredBody { text, details: Some((start, end)) };
    commit(store, &[Input::Event(input.into())], &world.directory, ids).await;
}

async fn count(store: &SqliteStore, table: &str) -> i64 {
    let mut writer = store.writer().await.unwrap();
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
        .fetch_one(writer.connection.as_mut().unwrap())
        .await
        .unwrap()
}

async fn purge(store: &SqliteStore, step: Maintenance) -> u64 {
    let mut rows = 0;
    loop {
        let done = store.maintain(step).await.unwrap();
        rows += done.rows;
        if !done.more {
            return rows;
        }
    }
}

#[tokio::test]
async fn the_purge_of_events_spares_the_body_that_holds_an_alerts_large_details() {
    let scratch = Scratch::new("purge-events");
    let world = World::new(&serde_json::json!({}));
    let store = store_of(&world, &scratch.database(1)).await;
    let mut ids = Ids::new(Sequences::default(), [1; 32]);
    let large = format!("[\"{}\"]", "x".repeat(5000));
    for (hours, details) in [(0, "1"), (0, "2"), (1, &large), (2, "3"), (3, "4")] {
        let key = if details.len() > 4096 { "large" } else { "small" };
        commit_with_details(&store, &world, &mut ids, (hours, key, details)).await;
    }
    let before = Timestamp::from_millis(laws::START + 2 * HOUR + 1);

    let purged = purge(&store, Maintenance::PurgeEvents { before }).await;

    // Of the four before the time one holds the details of "large".
    assert_eq!(purged, 3);
    assert_eq!(count(&store, "events").await, 2);
    let alerts = load_newest(&store, 2).await;
    assert_eq!(alerts[0].1, large, "its details can still be read");
    // Of the versions of "small" the second is gone; the first has the text that is indexed.
    assert_eq!(count(&store, "contents").await, 4);
}

/// Dedup key and details of the newest alerts, oldest first.
async fn load_newest(store: &SqliteStore, number: usize) -> Vec<(String, String)> {
    let page = Page { limit: number, before: None, count: false };
    let listed = store.alerts(&AlertFilter::default(), page).await.unwrap();
    let mut alerts: Vec<_> = listed
        .items
        .into_iter()
        .map(|alert| {
            let details = alert.custom_details.map(|d| d.get().to_owned()).unwrap_or_default();
            (alert.dedup_key, details)
        })
        .collect();
    alerts.sort();
    alerts
}

#[tokio::test]
async fn the_purge_of_alerts_takes_what_was_resolved_long_ago_with_all_that_belongs_to_it() {
    let scratch = Scratch::new("purge-alerts");
    let world = World::new(&serde_json::json!({}));
    let store = store_of(&world, &scratch.database(1)).await;
    let mut ids = Ids::new(Sequences::default(), [1; 32]);
    let resolve =
        |hours: i64, key| world.event(laws::START + hours * HOUR, Some(key), What::Resolve);
    let history = [
        laws::trigger(&world, 0, "old"),
        laws::trigger(&world, 0, "open"),
        resolve(1, "old"),
        laws::trigger(&world, 2 * HOUR, "late"),
        resolve(9, "late"),
        laws::trigger(&world, 9 * HOUR, "newest"),
    ];
    for input in history {
        commit(&store, &[input], &world.directory, &mut ids).await;
    }
    store.maintain(Maintenance::IndexTexts).await.unwrap();
    let before = Timestamp::from_millis(laws::START + 5 * HOUR);

    let purged = purge(&store, Maintenance::PurgeAlerts { before }).await;

    assert_eq!(purged, 2, "one alert and its incident");
    let left: Vec<_> = load_newest(&store, 9).await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, ["late", "newest", "open"]);
    assert_eq!(count(&store, "incidents").await, 3);
    assert_eq!(count(&store, "contents").await, 3);
    assert_eq!(store.sequences().await.unwrap().alert, 5, "numbers are not given again");
}

#[tokio::test]
async fn the_purge_goes_in_small_steps() {
    let scratch = Scratch::new("purge-steps");
    let world = World::new(&serde_json::json!({}));
    let store = store_of(&world, &scratch.database(1)).await;
    let mut ids = Ids::new(Sequences::default(), [1; 32]);
    let flood: Vec<_> = (0..1200).map(|n| laws::trigger(&world, n, &format!("k{n}"))).collect();
    commit(&store, &flood, &world.directory, &mut ids).await;
    let step = Maintenance::PurgeEvents { before: Timestamp::from_millis(laws::START + HOUR) };

    let first = store.maintain(step).await.unwrap();

    assert!(first.more && first.rows < 1200, "{first:?}");
    assert_eq!(first.rows + purge(&store, step).await, 1199, "the newest stays");
    assert!(purge(&store, Maintenance::Vacuum).await > 0, "pages go back to the file system");
}

#[tokio::test]
async fn ids_of_senders_are_known_until_they_are_purged() {
    let scratch = Scratch::new("sent-ids");
    let world = World::new(&serde_json::json!({}));
    let path = scratch.database(1);
    let mut store = store_of(&world, &path).await;
    let mut ids = Ids::new(Sequences::default(), [1; 32]);
    let event = |minutes: i64, id| {
        let what = What::WithId { id, informs: false, class: "disk" };
        world.event(laws::START + minutes * 60_000, Some("k"), what)
    };
    for input in [event(0, 1), event(1, 2)] {
        commit(&store, &[input], &world.directory, &mut ids).await;
    }
    store.close().await;
    drop(store);
    store = SqliteStore::open(&path).await.unwrap().0;

    let before = Timestamp::from_millis(laws::START + 60_000);
    assert_eq!(purge(&store, Maintenance::PurgeSentIds { before }).await, 1);

    let again = [event(2, 1), event(2, 2), event(2, 1)];
    let changes = commit_as(&store, &again, &world.directory, &mut ids).await;
    let became: Vec<_> = changes.events.iter().map(|event| event.disposition).collect();
    assert_eq!(became, [Disposition::Merged, Disposition::Duplicate, Disposition::Duplicate]);
    assert_eq!(count(&store, "sent_ids").await, 2);
}

#[tokio::test]
async fn what_noise_reduction_keeps_goes_when_nothing_asks_for_it_any_more() {
    let scratch = Scratch::new("purge-noise");
    let world = World::new(&serde_json::json!({
        "flapping": {"max_changes": 2, "within": "60m", "mute": "10m", "mode": "mark"},
        "grouping": [{"by": "similarity"}],
        "inhibition": [{"source": ["class=\"a\""], "target": ["class=\"b\""]}],
        "notify": [{"receivers": ["pager"]}],
    }));
    let store = store_of(&world, &scratch.database(1)).await;
    let mut ids = Ids::new(Sequences::default(), [1; 32]);
    let at = |minutes: i64| laws::START + minutes * 60_000;
    let trigger = |minutes, key, class| {
        world.event(at(minutes), Some(key), What::Trigger { severity: Severity::Error, class })
    };
    let resolve = |minutes, key| world.event(at(minutes), Some(key), What::Resolve);
    for input in [
        trigger(0, "steady", "a"),
        trigger(0, "target", "b"),
        resolve(1, "steady"),
        trigger(2, "flaps", "c"),
        resolve(3, "flaps"),
        trigger(4, "flaps", "c"),
    ] {
        commit(&store, &[input], &world.directory, &mut ids).await;
    }
    let all = ["key_states", "inhibitors", "inhibition_targets", "templates"];
    for table in all {
        assert!(count(&store, table).await > 0, "{table}");
    }
    let late = Timestamp::from_millis(at(9999));
    let early = Timestamp::from_millis(at(0));

    for before in [early, late] {
        purge(&store, Maintenance::PurgeKeys { before }).await;
        purge(&store, Maintenance::PurgeInhibitors { before }).await;
        purge(&store, Maintenance::PurgeTemplates).await;
        let left = [("key_states", 2, 1), ("inhibitors", 1, 0), ("inhibition_targets", 1, 1)];
        for (table, at_first, in_the_end) in left {
            let expected = if before == early { at_first } else { in_the_end };
            assert_eq!(count(&store, table).await, expected, "{table} before {before}");
        }
    }
    assert!(count(&store, "templates").await > 0, "their service is there");
    let service = world.directory.services().next().unwrap().id;
    let mut unit = store.begin().await.unwrap();
    unit.configure(&[(Configuration::DeleteService(service), audit(9))]).await.unwrap().unwrap();
    unit.commit().await.unwrap();
    assert!(purge(&store, Maintenance::PurgeTemplates).await > 0);
    assert_eq!(count(&store, "templates").await, 0);
}
