//! The timelines of `tests/scenarios` over the database: it decides what the store of maps decides,
//! and is closed and opened again whenever the configuration changes.

use proptest::{prelude::*, test_runner::TestRunner};

use super::{Scratch, commit_as, load_all, lookup, store_of};
use crate::{
    domain::{
        changes::NewNotification,
        configuration::{Audit, Configuration},
        id::{AuditId, Ids, Sequences},
        tests::{
            gateway::{Gateway, Happened},
            noise::histories,
            scenarios,
            world::World,
        },
        time::Timestamp,
    },
    store::{Maintenance, Store as _, sqlite::SqliteStore},
};

/// Of random histories; each opens the database a few times.
const CASES: u32 = 12;

async fn configure(store: &SqliteStore, number: i64, change: &Configuration, at: Timestamp) {
    let audit = Audit {
        id: AuditId::new(at, number, 0),
        at,
        actor: "test".to_owned(),
        address: None,
        action: "update",
        object_kind: "test",
        object_id: uuid::Uuid::nil(),
        object_name: String::new(),
        detail: serde_json::json!({}),
    };
    let mut unit = store.begin().await.unwrap();
    unit.configure(&[(change.clone(), audit)]).await.unwrap().unwrap();
    unit.commit().await.unwrap();
}

/// What a database that went through `log` tells, and keeps.
async fn go_through(name: &str, log: &[Happened], expected: &Gateway, scratch: &Scratch) {
    let path = scratch.0.join(format!("{name}.db"));
    let mut store = store_of(&World::new(&serde_json::json!({})), &path).await;
    let mut ids = Ids::new(Sequences::default(), [1; 32]);
    let mut told: Vec<NewNotification> = Vec::new();
    let mut owed = Vec::new();
    let mut events = Vec::new();
    let mut directory = store.directory(1, Timestamp::default()).await.unwrap();
    for (number, happened) in log.iter().enumerate() {
        match happened {
            Happened::Batch(inputs) => {
                let changes = commit_as(&store, inputs, &directory, &mut ids).await;
                told.extend(changes.notifications);
                owed.extend(changes.deliveries);
                let row = |e: crate::domain::changes::NewEvent| (e.id, e.disposition, e.trace);
                events.extend(changes.events.into_iter().map(row));
                continue;
            }
            Happened::Configured(change, at) => {
                let number = i64::try_from(number).unwrap() + 100;
                configure(&store, number, change, *at).await;
            }
            Happened::Down(gap) => {
                store.maintain(Maintenance::Alive { now: gap.from }).await.unwrap();
                assert!(store.started(gap.to).await.unwrap().is_some());
            }
        }
        let found = lookup::rows(&store).await;
        store.close().await;
        // The file is locked until it is gone.
        drop(store);
        store = SqliteStore::open(&path).await.unwrap().0;
        assert_eq!(lookup::rows(&store).await, found, "{name}: what is found after a restart");
        let version = u64::try_from(number).unwrap() + 2;
        directory = store.directory(version, Timestamp::default()).await.unwrap();
    }
    let state = &expected.world.state;
    assert_eq!(told, state.notifications, "{name}: who is told what");
    assert_eq!(owed, state.deliveries, "{name}: what is owed");
    for ((id, disposition, trace), expected) in events.iter().zip(&state.events) {
        assert_eq!((id, disposition, trace), (&expected.0, &expected.2, &expected.3), "{name}");
    }
    let loaded = load_all(&store, &expected.world).await;
    let alerts: Vec<_> = state.alerts.values().cloned().collect();
    let incidents: Vec<_> = state.incidents.values().cloned().collect();
    assert_eq!(loaded.alerts, alerts, "{name}");
    assert_eq!(loaded.incidents, incidents, "{name}");
    store.close().await;
}

#[test]
fn any_history_under_policies_that_change_is_the_same_over_the_database() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scratch = Scratch::new("noise");
    let policies = prop::collection::vec(histories::policy(), 1..4);
    let strategy = (policies, prop::collection::vec(histories::step(), 1..40));
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..Default::default() };
    let number = std::cell::Cell::new(0);

    let result = TestRunner::new(config).run(&strategy, |(policies, steps)| {
        number.set(number.get() + 1);
        let (gateway, ..) = histories::run(&policies, &steps, |_, _| {});
        let name = number.get().to_string();
        runtime.block_on(go_through(&name, &gateway.log, &gateway, &scratch));
        std::fs::remove_file(scratch.0.join(format!("{name}.db"))).unwrap();
        Ok(())
    });

    if let Err(error) = result {
        panic!("{}", error.to_string().chars().take(5000).collect::<String>());
    }
}

#[tokio::test]
async fn every_timeline_is_the_same_over_the_database() {
    let scratch = Scratch::new("scenarios");
    for (name, log, expected) in scenarios::histories() {
        go_through(&name, &log, &expected, &scratch).await;
    }
}
