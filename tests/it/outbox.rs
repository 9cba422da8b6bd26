//! What is owed to receivers arrives, in order, however the gateway ends.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    harness::{Environment, Process, TestGateway, act, eventually, place, trigger},
    sink::{Sink, Told},
};

/// Receivers are on this machine.
const PRIVATE: (&str, &str) = ("DUTYGATE_OUTBOUND_ALLOW_PRIVATE_ADDRESSES", "true");
const SETTINGS: Environment<'static> = &[PRIVATE];
const YAML: &str = "outbound: {allow_private_addresses: true}";

fn hook(sink: &Sink) -> Value {
    json!({"name": "hook", "kind": "webhook", "url": sink.url("/hook")})
}

fn telling(receiver: &str) -> Value {
    json!({"name": "default", "notify": [{"receivers": [receiver]}]})
}

/// The messages of each incident in the order in which they were taken in, each once; a repeated
/// one has to be the same message.
fn by_incident(told: &[Told]) -> BTreeMap<i64, Vec<(String, String)>> {
    let mut all: BTreeMap<i64, Vec<(String, String)>> = BTreeMap::new();
    for message in told {
        let of = all.entry(message.incident()).or_default();
        let this = (message.id.clone(), message.what().to_owned());
        if !of.contains(&this) {
            of.push(this);
        }
    }
    all
}

#[tokio::test]
async fn who_got_the_trigger_gets_the_resolve() {
    let sink = Sink::start();
    let gateway = TestGateway::with(YAML).await;
    gateway.call("POST", "/receivers", Some(hook(&sink)), 201).await;
    gateway.policy(telling("hook")).await;

    gateway.enqueue(&trigger("k", "Disk full"), 202).await;
    gateway.enqueue(&act("acknowledge", "k"), 202).await;
    gateway.enqueue(&act("resolve", "k"), 202).await;
    sink.asked(3).await;

    let told = sink.told();
    let what: Vec<&str> = told.iter().map(Told::what).collect();
    assert_eq!(what, ["incident.opened", "incident.acknowledged", "incident.resolved"]);
    assert_eq!(told[0].body["data"]["incident"]["title"], "Disk full");
    assert_eq!(told[0].body["data"]["alerts"][0]["dedup_key"], "k");
    gateway.drain().await;
}

#[tokio::test]
async fn a_receiver_that_is_down_delays_no_other_and_loses_nothing() {
    let (good, bad) = (Sink::start(), Sink::start());
    bad.answer(503);
    let gateway = TestGateway::with(YAML).await;
    for (name, sink) in [("good", &good), ("bad", &bad)] {
        let mut receiver = hook(sink);
        receiver["name"] = json!(name);
        gateway.call("POST", "/receivers", Some(receiver), 201).await;
    }
    let notify = json!({"name": "default", "notify": [{"receivers": ["good", "bad"]}]});
    gateway.policy(notify).await;

    for number in 0..20 {
        gateway.enqueue(&trigger(&format!("k{number}"), "Disk full"), 202).await;
    }
    good.asked(20).await;
    bad.asked(5).await;
    for number in 0..20 {
        gateway.enqueue(&act("resolve", &format!("k{number}")), 202).await;
    }
    good.asked(40).await;
    assert_eq!(bad.told().len(), 0);

    // Two days later it is up again.
    bad.answer(200);
    gateway.advance("47h").await;
    eventually("all is through", async || {
        let pending = gateway.read("/deliveries?state=pending&state=leased").await;
        (pending["items"] == json!([])).then_some(())
    })
    .await;

    let told = by_incident(&bad.told());
    assert_eq!(told.len(), 20);
    for (incident, messages) in told {
        let what: Vec<&str> = messages.iter().map(|(_, what)| what.as_str()).collect();
        assert_eq!(what, ["incident.opened", "incident.resolved"], "incident {incident}");
    }
    // What may have arrived is sent again as it was; what was not tried says how late it is.
    let told = bad.told();
    let mut resolves = told.iter().filter(|told| told.what() == "incident.resolved");
    assert!(resolves.all(|told| told.body["data"]["late_by"].is_string()), "{told:?}");
    gateway.drain().await;
}

#[tokio::test]
async fn fifty_kills_under_delivery_lose_nothing_and_double_only_by_the_same_id() {
    const ROUNDS: usize = 50;
    let sink = Sink::start();
    let place = place();
    let gateway = Process::start(place.path(), SETTINGS).await;
    gateway.call("POST", "/receivers", Some(hook(&sink)), 201).await;
    let services = gateway.read("/services").await;
    let services = services["items"].as_array().unwrap();
    let default = services.iter().find(|service| service["name"] == "default").unwrap();
    let path = format!("/services/{}", default["id"].as_str().unwrap());
    gateway.call("PUT", &path, Some(telling("hook")), 200).await;
    gateway.terminate().await;

    for round in 0..ROUNDS {
        let gateway = Process::start(place.path(), SETTINGS).await;
        let before = sink.times();
        for number in 0..6 {
            let key = format!("{round}-{number}");
            gateway.enqueue(&trigger(&key, "Disk full"), 202).await;
            if number % 2 == 0 {
                gateway.enqueue(&act("resolve", &key), 202).await;
            }
        }
        // Somewhere among the nine that this round owes, and what is left of those before.
        sink.asked(before + 1 + round * 7 % 5).await;
        gateway.kill();
    }
    let gateway = Process::start(place.path(), SETTINGS).await;
    eventually("all is through", async || {
        let open = gateway.read("/deliveries?state=pending&state=leased&limit=1").await;
        (open["items"] == json!([])).then_some(())
    })
    .await;

    let told = sink.told();
    let incidents = by_incident(&told);
    assert_eq!(incidents.len(), ROUNDS * 6, "every incident was told");
    for incident in gateway.read_all("/incidents").await {
        let number = incident["number"].as_i64().unwrap();
        let what: Vec<&str> = incidents[&number].iter().map(|(_, what)| what.as_str()).collect();
        let resolved = incident["status"] == "resolved";
        let expected: &[&str] =
            if resolved { &["incident.opened", "incident.resolved"] } else { &["incident.opened"] };
        assert_eq!(what, expected, "incident {number}");
    }
    let ids: BTreeSet<&str> = told.iter().map(|told| told.id.as_str()).collect();
    assert_eq!(ids.len(), ROUNDS * 9, "one id for each thing that there was to tell");
    let dead = gateway.read("/deliveries?state=dead").await;
    assert_eq!(dead["items"], json!([]));
    gateway.terminate().await;
}
