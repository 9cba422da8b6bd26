//! A flood gives few notifications, and what is resolved is not stuck behind it.

use std::sync::Arc;

use serde_json::json;

use super::histories::gateway;
use crate::domain::{
    changes::{Input, NewNotification},
    event::{Content, Intent, Severity},
    id::{Ids, Sequences},
    key::DedupKey,
    memory::Memory,
    notify::Reason,
    pipeline,
    tests::{laws::START, world::What},
    time::Timestamp,
};

const ALERTS: i64 = 10_000;
const GROUPS: i64 = 20;

#[test]
fn ten_thousand_alerts_in_ten_seconds_are_four_notifications_a_group() {
    let gateway = gateway(&json!({
        "grouping": [{"by": ["component"]}], "storm": [50, 500],
        "notify": [{"receivers": ["pd"]}]
    }));
    let (world, directory) = (&gateway.world, &gateway.world.directory);
    let integration = gateway.integration("default").unwrap();
    let trigger = |n: i64| {
        let content = Content {
            summary: format!("alert {n}"),
            source: Some(format!("host-{n}")),
            severity: Severity::Error,
            component: Some(format!("part-{}", n % GROUPS)),
            group: None,
            class: None,
            custom_details: None,
            client: None,
            client_url: None,
            links: Vec::new(),
            images: Vec::new(),
            labels: std::collections::BTreeMap::new(),
        };
        let dedup_key = DedupKey::parse(&format!("k{n}")).ok();
        let at = Timestamp::from_millis(START + n);
        let intent = Intent::Trigger { dedup_key, content: Box::new(content) };
        world.input(&Arc::clone(integration), at, intent)
    };
    let mut memory = Memory::default();
    let mut ids = Ids::new(Sequences::default(), [1; 32]);
    let mut told: Vec<NewNotification> = Vec::new();
    let mut commit = |batch: &[Input]| {
        let (changes, _) = pipeline::run(batch, directory, &mut ids, |keys| memory.load(keys));
        memory.save(&changes);
        let new = changes.notifications.len();
        told.extend(changes.notifications);
        new
    };
    // One that was there before, and is over in the middle of the flood.
    commit(&[world.event(
        START,
        Some("before"),
        What::Trigger { severity: Severity::Info, class: "" },
    )]);
    let flood: Vec<Input> = (1..=ALERTS).map(trigger).collect();
    for (number, batch) in flood.chunks(250).enumerate() {
        commit(batch);
        if number == 20 {
            let at = START + 20 * 250 + 250;
            let resolved = commit(&[world.event(at, Some("before"), What::Resolve)]);
            assert_eq!(resolved, 1, "its resolve is decided with it");
        }
    }
    commit(&[Input::Tick(Timestamp::from_millis(START + 600_000))]);

    let of_flood = i64::try_from(told.len()).unwrap() - 2;
    // Opened, two thresholds, and one digest of what joined after the last of them.
    assert!(of_flood <= GROUPS * 4, "{of_flood} notifications");
    let storms = told.iter().filter(|told| told.reason == Reason::Storm).count();
    assert_eq!(i64::try_from(storms).unwrap(), GROUPS * 2);
}
