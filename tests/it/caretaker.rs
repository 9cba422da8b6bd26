//! Nobody is left alone: what goes wrong on the way to people is told, and fallbacks stand in.
//!
//! The caretaker looks around every ten seconds, by the wall; these tests wait for that.

use serde_json::{Value, json};

use crate::{
    harness::{TestGateway, act, eventually, trigger},
    sink::{Sink, Told},
};

/// Receivers are on this machine.
const YAML: &str = "outbound: {allow_private_addresses: true}";

/// Two receivers, of which the first falls back on the second; only the first is named by a rule.
struct Pair {
    first: Sink,
    second: Sink,
    gateway: TestGateway,
}

impl Pair {
    async fn start() -> Self {
        let (first, second) = (Sink::start(), Sink::start());
        let gateway = TestGateway::with(YAML).await;
        for receiver in [
            json!({"name": "second", "kind": "webhook", "url": second.url("/")}),
            json!({"name": "first", "kind": "webhook", "url": first.url("/"), "fallback": "second"}),
        ] {
            gateway.call("POST", "/receivers", Some(receiver), 201).await;
        }
        gateway.policy(json!({"notify": [{"receivers": ["first"]}]})).await;
        Self { first, second, gateway }
    }

    /// What the second heard, once it heard so much.
    async fn second_heard(&self, times: usize) -> Vec<Told> {
        eventually("the fallback is told", async || {
            let told = self.second.told();
            (told.len() >= times).then_some(told)
        })
        .await
    }
}

/// The incident of the gateway's own service whose title has `part` in it, once it has this status.
async fn trouble(gateway: &TestGateway, part: &str, status: &str) -> Value {
    eventually(part, async || {
        let own = gateway.read_all(&format!("/incidents?service=dutygate&status={status}")).await;
        own.into_iter().find(|incident| incident["title"].as_str().unwrap().contains(part))
    })
    .await
}

async fn silence(gateway: &TestGateway, until: &str) -> String {
    let silence = json!({"matchers": ["source=\"srv01\""], "until": until, "comment": "ask Ann"});
    let silence = gateway.call("POST", "/silences", Some(silence), 201).await;
    format!("/silences/{}", silence["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_dead_letter_is_told_of_and_a_fallback_stands_in() {
    let pair = Pair::start().await;
    let gateway = &pair.gateway;
    pair.first.answer(400);

    gateway.enqueue(&trigger("k", "Disk full"), 202).await;

    let told = pair.second_heard(1).await;
    assert_eq!(told[0].what(), "incident.opened");
    assert_eq!(told[0].body["data"]["incident"]["title"], "Disk full");
    let dead = trouble(gateway, "for the receiver first are dead", "triggered").await;
    assert_eq!(dead["severity"], "error");
    let alerts = gateway.read_all("/alerts?service=dutygate").await;
    assert_eq!(alerts[0]["dedup_key"], "dead/first");
    gateway.enqueue(&act("resolve", "k"), 202).await;
    let told = pair.second_heard(2).await;
    assert_eq!(told[1].what(), "incident.resolved");

    // A day later that is no trouble any more.
    gateway.advance("25h").await;
    trouble(gateway, "for the receiver first are dead", "resolved").await;
    assert_eq!(pair.second.told().len(), 2);
    pair.gateway.drain().await;
}

#[tokio::test]
async fn a_fallback_hears_of_what_is_silenced_when_that_ends() {
    let pair = Pair::start().await;
    let gateway = &pair.gateway;
    pair.first.answer(400);
    gateway.enqueue(&trigger("k", "Disk full"), 202).await;
    pair.first.asked(1).await;
    let silence = silence(gateway, "2026-11-20T12:00:00Z").await;

    trouble(gateway, "for the receiver first are dead", "triggered").await;

    assert_eq!(pair.second.told().len(), 0, "nobody has to hear of it now");
    gateway.call("DELETE", &silence, None, 204).await;
    let told = pair.second_heard(1).await;
    assert_eq!(told[0].what(), "incident.opened");
    pair.gateway.drain().await;
}

#[tokio::test]
async fn a_receiver_that_is_down_for_ten_minutes_is_told_of_and_replaced() {
    let pair = Pair::start().await;
    let gateway = &pair.gateway;
    pair.first.answer(503);
    for number in 0..6 {
        gateway.enqueue(&trigger(&format!("k{number}"), "Disk full"), 202).await;
    }
    pair.first.asked(5).await;

    gateway.advance("11m").await;

    let told = pair.second_heard(6).await;
    assert!(told.iter().all(|told| told.what() == "incident.opened"), "{told:?}");
    let down = trouble(gateway, "The receiver first cannot be reached", "triggered").await;
    assert_eq!(down["severity"], "critical");
    pair.first.answer(200);
    gateway.advance("1m").await;
    trouble(gateway, "The receiver first cannot be reached", "resolved").await;
    assert_eq!(pair.second.told().len(), 6, "each once");
    pair.gateway.drain().await;
}

#[tokio::test]
async fn a_silence_that_is_about_to_end_over_open_alerts_is_told_of() {
    let gateway = TestGateway::start().await;
    gateway.enqueue(&trigger("k", "Disk full"), 202).await;
    let silence = silence(&gateway, "2026-11-20T10:10:00Z").await;

    let ending = trouble(&gateway, "The silence \"ask Ann\" ends at", "triggered").await;

    let title = ending["title"].as_str().unwrap();
    assert!(title.contains("with 1 open alerts under it"), "{title}");
    assert_eq!(ending["severity"], "info");
    gateway.call("DELETE", &silence, None, 204).await;
    trouble(&gateway, "The silence \"ask Ann\" ends at", "resolved").await;
    gateway.drain().await;
}
