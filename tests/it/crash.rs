//! What was answered 2xx is on disk, however the gateway ends.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    harness::{Process, TestGateway, act, database, eventually, place, trigger},
    http::{Answer, Connection, Request},
    sql,
};

const SENDERS: usize = 8;
/// Keys that come again and again.
const KEYS: usize = 50;

/// Many senders at once, and what they were answered.
#[derive(Default)]
struct Load {
    round: usize,
    sent: Mutex<BTreeSet<String>>,
    /// Markers of events that were answered 2xx.
    accepted: Mutex<BTreeSet<String>>,
    refused: Mutex<Vec<Answer>>,
    count: AtomicUsize,
    /// Told when so many were accepted.
    threshold: usize,
    reached: Notify,
}

impl Load {
    fn new(round: usize, threshold: usize) -> Self {
        Self { round, threshold, ..Self::default() }
    }

    /// Sends until the gateway is gone or turns it away.
    async fn run(&self, address: SocketAddr) {
        let senders = (0..SENDERS).map(|sender| self.send(address, sender));
        futures_util::future::join_all(senders).await;
    }

    async fn send(&self, address: SocketAddr, sender: usize) {
        let mut connection = Connection::open(address).await;
        for number in 0.. {
            let (marker, event) = self.event(sender, number);
            self.sent.lock().unwrap().insert(marker.clone());
            let request = Request::post("/v2/enqueue", event.to_string());
            let Ok(answer) = connection.try_send(&request).await else { return };
            if answer.status != 202 {
                self.refused.lock().unwrap().push(answer);
                return;
            }
            self.accepted.lock().unwrap().insert(marker);
            if self.count.fetch_add(1, Ordering::SeqCst) + 1 == self.threshold {
                self.reached.notify_one();
            }
            if answer.closes() {
                let Ok(next) = Connection::try_open(address).await else { return };
                connection = next;
            }
        }
    }

    /// Six in ten repeat a key, two are new, two resolve. The marker is stored with the body.
    fn event(&self, sender: usize, number: usize) -> (String, Value) {
        let marker = format!("{}-{sender}-{number}", self.round);
        let key = format!("key-{}", (sender * 13 + number * 7) % KEYS);
        let mut event = match number % 10 {
            0..6 => trigger(&key, "again"),
            6..8 => trigger(&format!("fresh-{marker}"), "new"),
            _ => act("resolve", &key),
        };
        event["marker"] = json!(marker);
        if event["payload"].is_object() {
            let severity = ["info", "warning", "error", "critical"][number % 4];
            event["payload"]["severity"] = json!(severity);
        }
        (marker, event)
    }

    /// Everything that was answered 2xx is stored, and nothing that nobody sent.
    async fn assert_stored(&self, place: &Path) {
        let bodies = sql::texts(&database(place), "SELECT body FROM events").await;
        let marker = |body: String| {
            let body: Value = serde_json::from_str(&body).unwrap();
            body["marker"].as_str().unwrap().to_owned()
        };
        let all: Vec<String> = bodies.into_iter().map(marker).collect();
        let stored: BTreeSet<String> = all.iter().cloned().collect();
        assert_eq!(stored.len(), all.len(), "an event was stored twice");
        let accepted = self.accepted.lock().unwrap();
        let lost: Vec<_> = accepted.difference(&stored).collect();
        assert!(lost.is_empty(), "{} of {} were lost: {lost:?}", lost.len(), accepted.len());
        let prefix = format!("{}-", self.round);
        let of_this_round: BTreeSet<_> =
            stored.into_iter().filter(|marker| marker.starts_with(&prefix)).collect();
        assert!(of_this_round.is_subset(&self.sent.lock().unwrap()));
    }
}

#[tokio::test]
async fn what_was_accepted_survives_kill_9_under_load() {
    let place = place();

    for (round, threshold) in [23, 1, 310, 97, 1500, 5, 800, 2].into_iter().enumerate() {
        let gateway = Process::start(place.path(), &[]).await;
        let load = Load::new(round, threshold);
        let (address, reached) = (gateway.address, load.reached.notified());
        let kill = async {
            reached.await;
            gateway.kill();
        };
        tokio::join!(load.run(address), kill);

        let gateway = Process::start(place.path(), &[]).await;
        load.assert_stored(place.path()).await;
        sql::assert_sound(&database(place.path())).await;
        // It goes on from there.
        let mut event = trigger("after", "after");
        event["marker"] = json!(format!("after-{round}"));
        gateway.enqueue(&event, 202).await;
        gateway.terminate().await;
        sql::assert_sound(&database(place.path())).await;
    }
}

#[tokio::test]
async fn sigterm_under_load_stores_what_was_accepted_and_ends_well() {
    let place = place();
    let gateway = Process::start(place.path(), &[("DUTYGATE_SHUTDOWN_DELAY", "300ms")]).await;
    let load = Load::new(0, 200);
    let address = gateway.address;
    let (leaving, reached) = (gateway.client, load.reached.notified());
    let terminate = async {
        reached.await;
        gateway.signal("TERM");
        // Told to go away, it says so to load balancers, and serves on meanwhile.
        eventually("it is not ready", async || {
            let answer = leaving.send(&Request::get("/readyz")).await;
            (answer.status == 503).then(|| assert_eq!(answer.json()["reason"], "draining"))
        })
        .await;
        leaving.get("/livez", 200).await;
        let before = load.count.load(Ordering::SeqCst);
        eventually("events are still taken", async || {
            (load.count.load(Ordering::SeqCst) > before).then_some(())
        })
        .await;
        gateway.ended().await
    };

    let ((), (status, log)) = tokio::join!(load.run(address), terminate);

    assert!(status.success(), "{status}: {log}");
    assert!(log.contains("everything that was accepted is stored"), "{log}");
    assert!(Connection::try_open(address).await.is_err());
    for answer in load.refused.lock().unwrap().iter() {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.closes(), "{answer:?}");
        assert_eq!(answer.header("Retry-After"), Some("1"), "{answer:?}");
    }
    let gateway = Process::start(place.path(), &[]).await;
    load.assert_stored(place.path()).await;
    sql::assert_sound(&database(place.path())).await;
    gateway.terminate().await;
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let place = place();
    let gateway = Process::start(place.path(), &[]).await;
    let mut idle = Connection::open(gateway.address).await;
    idle.send(&Request::get("/livez")).await.expect(200);
    let silent = Connection::open(gateway.address).await;
    let started = Instant::now();

    gateway.terminate().await;

    assert!(started.elapsed() < Duration::from_secs(8), "it took {:?}", started.elapsed());
    idle.expect_closed().await;
    drop(silent);
}

#[tokio::test]
async fn connections_that_never_finish_are_cut_after_the_grace() {
    let place = place();
    let gateway = Process::start(place.path(), &[("DUTYGATE_SHUTDOWN_GRACE", "1s")]).await;
    let request = Request::post("/v2/enqueue", trigger("k", "s").to_string());
    let mut stuck = Connection::open(gateway.address).await;
    stuck.write(&request.head()).await.unwrap();
    stuck.write(b"{").await.unwrap();
    gateway.get("/livez", 200).await;
    let started = Instant::now();

    gateway.terminate().await;

    assert!(started.elapsed() < Duration::from_secs(8), "it took {:?}", started.elapsed());
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let place = place();
    let gateway = Process::start(place.path(), &[("DUTYGATE_SHUTDOWN_DELAY", "1h")]).await;
    gateway.enqueue(&trigger("k", "s"), 202).await;
    gateway.signal("TERM");
    gateway.hears("draining").await;
    gateway.enqueue(&trigger("k", "s"), 202).await;

    gateway.signal("TERM");
    let (status, log) = gateway.ended().await;

    // Whether anything was cut off is a matter of instants; that it says so is not.
    let all_is_stored = log.contains("everything that was accepted is stored");
    assert_eq!(status.code(), Some(i32::from(!all_is_stored)), "{log}");
    sql::assert_sound(&database(place.path())).await;
    let counts = sql::texts(&database(place.path()), "SELECT '' || count(*) FROM events").await;
    assert_eq!(counts, ["2"]);
}

#[tokio::test]
async fn an_event_is_stored_though_its_sender_hangs_up_at_once() {
    let gateway = TestGateway::start().await;

    for number in 0..20 {
        let event = trigger(&format!("gone-{number}"), "s").to_string();
        let request = Request::post("/v2/enqueue", event);
        let mut connection = Connection::open(gateway.address).await;
        let mut bytes = request.head();
        bytes.extend(request.framed_body());
        connection.write(&bytes).await.unwrap();
        drop(connection);
    }

    eventually("all are stored", async || {
        let count = "SELECT '' || count(*) FROM events";
        (sql::texts(&gateway.database(), count).await == ["20"]).then_some(())
    })
    .await;
    gateway.drain().await;
}
