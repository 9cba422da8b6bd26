//! How long deliveries are kept.

use super::*;
use crate::{
    domain::receiver::{Receiver, ReceiverKind},
    store::outbox::{AttemptRow, Knows, Leased, Next, Outbox as _, Recorded, Turn, Want},
};

/// A receiver `pager` beside what `store_of` makes; the directory with both.
async fn add_receiver(store: &SqliteStore, ids: &mut Ids) -> (Receiver, Directory) {
    let now = Timestamp::default();
    let receiver = Receiver {
        id: ids.receiver(now),
        name: "pager".to_owned(),
        kind: ReceiverKind::Webhook,
        settings: serde_json::Map::new(),
        managed: false,
        version: 1,
        created_at: now,
    };
    let mut unit = store.begin().await.unwrap();
    let create = Configuration::CreateReceiver(receiver.clone());
    unit.configure(&[(create, audit(99))]).await.unwrap().unwrap();
    unit.commit().await.unwrap();
    (receiver, store.directory(2, now).await.unwrap())
}

/// One try of each: it went well, or it is tried again in a day.
fn tried(leased: &Leased, went_well: bool, at: Timestamp) -> Recorded {
    let error = (!went_well).then(|| "no connection".to_owned());
    let (request, answer) = ("POST /".to_owned(), String::new());
    let attempt = AttemptRow { at, duration_ms: 1, status: None, error, request, answer };
    let later = Timestamp::from_millis(at.as_millis() + 24 * HOUR);
    Recorded {
        delivery: leased.id,
        lane: leased.lane,
        receiver: leased.receiver,
        incident: leased.incident,
        attempt: Some(attempt),
        attempts: leased.attempts + 1,
        failures: u32::from(!went_well),
        first_attempt_at: Some(at),
        next: if went_well { Next::Delivered } else { Next::Again { at: later, not_before: None } },
        payload: None,
        knows: if went_well { Knows::Yes } else { Knows::Maybe },
        remote: None,
    }
}

#[tokio::test]
async fn the_purge_of_deliveries_takes_what_is_at_an_end_with_all_that_belongs_to_it() {
    let scratch = Scratch::new("purge-deliveries");
    let world = World::new(&serde_json::json!({"notify": [{"receivers": ["pager"]}]}));
    let store = store_of(&world, &scratch.database(1)).await;
    let mut ids = Ids::new(Sequences::default(), [1; 32]);
    let (receiver, directory) = add_receiver(&store, &mut ids).await;
    let at = |hours: i64| Timestamp::from_millis(laws::START + hours * HOUR);
    let resolve = |hours, key| world.event(at(hours).as_millis(), Some(key), What::Resolve);
    let mut stuck = 0;
    for input in [
        laws::trigger(&world, 0, "old"),
        laws::trigger(&world, 0, "stuck"),
        resolve(1, "old"),
        resolve(1, "stuck"),
        laws::trigger(&world, 9 * HOUR, "newest"),
    ] {
        let owed = commit_as(&store, &[input], &directory, &mut ids).await.deliveries;
        stuck = if count(&store, "deliveries").await == 2 { owed[0].lane } else { stuck };
    }
    let wanted = [Want { receiver: receiver.id.seq(), most: 100, early: false }];
    let mut done: Vec<Recorded> = Vec::new();
    for expected in [3, 1, 0] {
        let turn =
            Turn { now: at(9), worker: "w", until: at(10), done: &done, up: &[], wanted: &wanted };
        let leased = store.turn(&turn).await.unwrap();
        assert_eq!(leased.len(), expected);
        done = leased.iter().map(|leased| tried(leased, leased.lane != stuck, at(9))).collect();
    }
    let left = async || {
        let mut left = Vec::new();
        for table in ["deliveries", "attempts", "lanes"] {
            left.push(count(&store, table).await);
        }
        left
    };
    assert_eq!(left().await, [5, 4, 3]);
    let step = Maintenance::PurgeDeliveries { before: at(5) };

    assert_eq!(purge(&store, step).await, 2, "what \"old\" was told");

    assert_eq!(left().await, [3, 2, 3], "what is stuck stays, however old it is");
    purge(&store, Maintenance::PurgeAlerts { before: at(5) }).await;
    assert_eq!(purge(&store, step).await, 0);
    assert_eq!(left().await, [3, 2, 2], "what is known of an incident goes after it");
    assert_eq!(purge(&store, Maintenance::PurgeDeliveries { before: at(99) }).await, 0);
    assert!(store.sequences().await.unwrap().delivery > 5, "numbers are not given again");
}
