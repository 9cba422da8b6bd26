//! The database keeps what the pipeline decides: the same histories as a store of maps.

use std::path::{Path, PathBuf};

use proptest::{prelude::*, test_runner::TestRunner};

use super::SqliteStore;
use crate::{
    domain::{
        changes::{Input, LoadKeys, Loaded},
        configuration::{Audit, Configuration},
        id::{AuditId, Ids, Sequences},
        key::RoutingKey,
        pipeline,
        routing::Directory,
        service::Service,
        tests::{laws, world::World},
        time::Timestamp,
    },
    store::Store as _,
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
        let audit = Audit {
            id: AuditId::new(Timestamp::default(), i64::try_from(seq).unwrap() + 1, 0),
            at: Timestamp::default(),
            actor: "test".to_owned(),
            address: None,
            action: "create",
            object_kind: "test",
            object_id: uuid::Uuid::nil(),
            object_name: String::new(),
            detail: serde_json::json!({}),
        };
        let mut unit = store.begin().await.unwrap();
        unit.configure(change, &audit).await.unwrap().unwrap();
        unit.commit().await.unwrap();
    }
    store
}

async fn commit(store: &SqliteStore, inputs: &[Input], directory: &Directory, ids: &mut Ids) {
    let mut unit = store.begin().await.unwrap();
    let loaded = unit.load(&pipeline::load_keys(inputs)).await.unwrap();
    let (changes, _) = pipeline::process(inputs, loaded, directory, ids);
    unit.save(&changes).await.unwrap();
    unit.commit().await.unwrap();
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
        let loaded = unit.load(&pipeline::load_keys(inputs)).await.unwrap();
        let (changes, _) = pipeline::process(inputs, loaded, &world.directory, &mut ids);
        unit.save(&changes).await.unwrap();
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
