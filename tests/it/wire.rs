//! The contract with emitters, byte for byte over HTTP.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use regex::Regex;

use crate::{
    fixtures::{self, Fixture},
    harness::{Client, KEY, Process, TestGateway, place, trigger},
    http::{Answer, Connection, Request},
};

const LIMIT: usize = 524_288;
const ACCEPTED: &str =
    r#"{"status":"success","message":"Event processed","dedup_key":"srv01/HTTP"}"#;
const TOO_LARGE: &str = r#"{"status":"invalid event","message":"Event object is invalid","errors":["Event is too large (maximum is 512 KB)"]}"#;

fn event() -> String {
    trigger("srv01/HTTP", "disk full").to_string()
}

/// An event of exactly so many bytes.
fn event_of(bytes: usize) -> Vec<u8> {
    let mut event = event().into_bytes();
    event.resize(bytes, b' ');
    event
}

fn assert_json(answer: &Answer, name: &str) {
    assert_eq!(answer.header("Content-Type"), Some("application/json"), "{name}: {answer:?}");
}

/// It gets its very answer.
pub(crate) async fn assert_holds(client: &Client, fixture: &Fixture) {
    let name = &fixture.name;
    let answer = client.send(&fixture.request()).await;
    assert_eq!(answer.status, fixture.status, "{name}: {answer:?}");
    assert_json(&answer, name);
    match (&fixture.answer, &fixture.answer_pattern) {
        (Some(exact), None) => assert_eq!(&answer.text(), exact, "{name}"),
        (None, Some(pattern)) => {
            let pattern = Regex::new(&format!("^(?:{pattern})$")).unwrap();
            assert!(pattern.is_match(&answer.text()), "{name}: {answer:?}");
        }
        _ => panic!("{name} says not what is answered"),
    }
    let retry_after = answer.header("Retry-After").map(|value| value.parse::<u32>().unwrap());
    match (fixture.needs.as_deref(), answer.status) {
        (Some("throttle"), _) => assert!(retry_after >= Some(1), "{name}: {answer:?}"),
        (_, 503) => assert_eq!(retry_after, Some(1), "{name}: {answer:?}"),
        _ => assert_eq!(retry_after, None, "{name}: {answer:?}"),
    }
    let allow = (answer.status == 405).then_some("POST");
    assert_eq!(answer.header("Allow"), allow, "{name}: {answer:?}");
}

#[tokio::test]
async fn every_row_of_the_contract_holds_over_http() {
    let gateway = TestGateway::start().await;

    for fixture in fixtures::wire() {
        match fixture.needs.as_deref() {
            None | Some("unknown_key" | "http") => assert_holds(&gateway, &fixture).await,
            Some("throttle" | "unavailable") => {}
            Some(other) => panic!("{} needs {other}: nobody tests that", fixture.name),
        }
    }
    gateway.drain().await;
}

#[tokio::test]
async fn who_sends_too_fast_is_told_so_in_the_words_of_its_version() {
    let gateway = TestGateway::with("limits: {events_per_minute: 1}").await;
    gateway.post("/v2/enqueue", event(), 202).await;

    for fixture in fixtures::wire().iter().filter(|f| f.needs.as_deref() == Some("throttle")) {
        assert_holds(&gateway, fixture).await;
    }
    // What is not accepted anyway does not count and is told what is wrong with it.
    gateway.post("/v2/enqueue", "{}", 400).await;
    gateway.drain().await;
}

#[tokio::test]
async fn what_cannot_be_stored_is_answered_503_until_it_can() {
    let gateway = TestGateway::start().await;
    let (database, away) = (gateway.database(), gateway.database().with_extension("away"));
    std::fs::rename(&database, &away).unwrap();

    for fixture in fixtures::wire().iter().filter(|f| f.needs.as_deref() == Some("unavailable")) {
        assert_holds(&gateway, fixture).await;
    }
    gateway.get("/readyz", 503).await;
    gateway.get("/livez", 200).await;

    std::fs::rename(&away, &database).unwrap();
    gateway.post("/v2/enqueue", event(), 202).await;
    gateway.get("/readyz", 200).await;
    gateway.drain().await;
}

#[tokio::test]
async fn every_captured_request_gets_the_status_its_client_needs() {
    let gateway = TestGateway::start().await;

    for capture in fixtures::captures() {
        let answer = gateway.send(&capture.request()).await;
        assert_eq!(answer.status, capture.status, "{}: {answer:?}", capture.name);
        assert_json(&answer, &capture.name);
    }
    gateway.drain().await;
}

#[tokio::test]
async fn all_captures_get_their_status_over_one_connection_too() {
    let gateway = TestGateway::start().await;
    let mut connection = Connection::open(gateway.address).await;

    for capture in fixtures::captures() {
        let answer = connection.send(&capture.request()).await;
        assert_eq!(answer.status, capture.status, "{}: {answer:?}", capture.name);
        if answer.closes() || capture.request().closes() {
            connection = Connection::open(gateway.address).await;
        }
    }
    drop(connection);
    gateway.drain().await;
}

#[tokio::test]
async fn every_path_speaks_what_it_says_with_and_without_slashes() {
    let gateway = TestGateway::start().await;
    let v1 = format!(
        r#"{{"service_key":"{KEY}","event_type":"trigger","incident_key":"k","description":"d"}}"#
    );
    let change = format!(r#"{{"routing_key":"{KEY}","payload":{{"summary":"deployed"}}}}"#);
    let base = "/event/push/alert/pagerduty";
    let in_path = [format!("/integration/{KEY}/enqueue"), format!("/x-ere/{KEY}")];
    let mut both: Vec<String> = vec![base.to_owned()];
    both.extend(in_path);

    for slash in ["", "/", "//"] {
        for path in both.iter().map(String::as_str) {
            gateway.post(&format!("{path}{slash}"), event(), 202).await;
            gateway.post(&format!("{path}{slash}"), v1.as_str(), 200).await;
        }
        for prefix in ["", base] {
            gateway.post(&format!("{prefix}/v2/enqueue{slash}"), event(), 202).await;
            let path = format!("{prefix}/v2/change/enqueue{slash}");
            gateway.post(&path, change.as_str(), 202).await;
            let path = format!("{prefix}/generic/2010-04-15/create_event.json{slash}");
            gateway.post(&path, v1.as_str(), 200).await;
        }
    }
    gateway.drain().await;
}

#[tokio::test]
async fn a_key_in_the_url_may_be_percent_encoded() {
    let gateway = TestGateway::start().await;
    let encoded: Vec<_> = KEY.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let encoded = encoded.concat();
    let event =
        r#"{"event_action":"trigger","payload":{"summary":"s","source":"x","severity":"info"}}"#;

    for target in [
        format!("/event/push/alert/pagerduty?integration_key={encoded}"),
        format!("/event/push/alert/pagerduty?a=b&integration%5Fkey={encoded}&c"),
        format!("/event/push/alert/pagerduty/?integration_key={encoded}"),
        format!("/event/push/alert/pagerduty?integration_key=&integration_key={encoded}"),
        format!("/integration/{encoded}/enqueue"),
        format!("/x-ere/{encoded}/"),
    ] {
        let answer = gateway.send(&Request::post(&target, event)).await;
        assert_eq!(answer.status, 202, "{target}: {answer:?}");
    }
    gateway.drain().await;
}

#[tokio::test]
async fn old_and_careful_clients_are_understood() {
    let gateway = TestGateway::start().await;

    let mut connection = Connection::open(gateway.address).await;
    let answer = connection.send(&Request::post("/v2/enqueue", event()).http_1_0()).await;
    assert_eq!(answer.expect(202).text(), ACCEPTED);
    connection.expect_closed().await;

    let mut connection = Connection::open(gateway.address).await;
    let careful = Request::post("/v2/enqueue", event()).header("Expect", "100-continue");
    let answer = connection.send(&careful).await.expect(202);
    assert_eq!(answer.interim, [100]);
    assert_eq!(answer.text(), ACCEPTED);

    let chunked = Request::post("/v2/enqueue", event_of(LIMIT)).chunked();
    assert_eq!(connection.send(&chunked).await.expect(202).text(), ACCEPTED);
    drop(connection);
    gateway.drain().await;
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it_before_it_sends() {
    let gateway = TestGateway::start().await;
    let mut connection = Connection::open(gateway.address).await;
    let careful = Request::post("/v2/enqueue", event()).header("Expect", "100-continue");

    connection.write(&careful.head()).await.unwrap();
    connection.expect_continue().await;
    connection.write(&careful.framed_body()).await.unwrap();

    let answer = connection.read_answer(false).await.unwrap();
    assert_eq!(answer.expect(202).text(), ACCEPTED);
    drop(connection);
    gateway.drain().await;
}

#[tokio::test]
async fn a_body_of_the_limit_is_accepted_and_one_byte_more_is_answered_not_reset() {
    let gateway = TestGateway::start().await;

    for chunked in [false, true] {
        let sized = |bytes| {
            let request = Request::post("/v2/enqueue", event_of(bytes));
            if chunked { request.chunked() } else { request }
        };
        let answer = gateway.send(&sized(LIMIT)).await;
        assert_eq!(answer.expect(202).text(), ACCEPTED);
        for bytes in [LIMIT + 1, 700 * 1024] {
            let answer = gateway.send(&sized(bytes)).await;
            assert_json(&answer, "too large");
            assert!(answer.closes(), "{answer:?}");
            assert_eq!(answer.expect(400).text(), TOO_LARGE);
        }
    }
    gateway.drain().await;
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let gateway = TestGateway::start().await;
    let mut connection = Connection::open(gateway.address).await;
    connection
        .write(b"POST /v2/enqueue HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        .await
        .unwrap();
    let block = vec![b' '; 64 * 1024];
    let started = Instant::now();

    // It is discarded for a second or two, so that a client that is nearly done gets the answer.
    while connection.write(&block).await.is_ok() {
        assert!(started.elapsed() < Duration::from_secs(5), "it is read for ever");
    }

    gateway.drain().await;
}

#[tokio::test]
async fn a_bomb_is_refused_at_once_and_costs_no_memory() {
    let place = place();
    let gateway = Process::start(place.path(), &[]).await;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1024 * 1024];
    for _ in 0..400 {
        encoder.write_all(&zeros).unwrap();
    }
    let bomb =
        Request::post("/v2/enqueue", encoder.finish().unwrap()).header("Content-Encoding", "gzip");
    gateway.post("/v2/enqueue", event(), 202).await;
    let before = peak_memory_kib(gateway.id());
    let started = Instant::now();

    let answers = futures_util::future::join_all((0..32).map(|_| gateway.send(&bomb))).await;

    for answer in answers {
        assert_eq!(answer.expect(400).text(), TOO_LARGE);
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let grown = peak_memory_kib(gateway.id()) - before;
    assert!(grown < 100 * 1024, "32 bombs of 400 MB took {grown} KiB");
    gateway.terminate().await;
}

/// The most memory that a process has had at a time.
fn peak_memory_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_408_and_others_are_served() {
    let gateway = TestGateway::with("clients: {body_timeout: 200ms}").await;
    let request = Request::post("/v2/enqueue", event());
    let mut slow = Connection::open(gateway.address).await;
    slow.write(&request.head()).await.unwrap();
    slow.write(&request.framed_body()[..20]).await.unwrap();

    gateway.post("/v2/enqueue", event(), 202).await;

    let answer = slow.read_answer(false).await.unwrap().expect(408);
    assert_json(&answer, "408");
    let body = answer.json();
    assert!(body["status"].is_string() && body["message"].is_string(), "{body}");
    slow.expect_closed().await;
    gateway.drain().await;
}

#[tokio::test]
async fn a_head_that_does_not_come_is_cut() {
    let gateway = TestGateway::with("clients: {header_timeout: 200ms}").await;
    let mut slow = Connection::open(gateway.address).await;
    slow.write(b"POST /v2/enqueue HTTP/1.1\r\nHost: x\r\n").await.unwrap();

    gateway.post("/v2/enqueue", event(), 202).await;

    // With or without words.
    if let Ok(answer) = slow.read_answer(false).await {
        answer.expect(408);
    }
    slow.expect_closed().await;
    gateway.drain().await;
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let gateway = TestGateway::start().await;
    let in_path = format!("/x-ere/{KEY}");

    for path in ["/event/push/alert/pagerduty", "/v2/enqueue", "/v2/change/enqueue", &in_path] {
        for method in ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] {
            let answer = gateway.send(&Request::new(method, path)).await.expect(405);
            assert_eq!(answer.header("Allow"), Some("POST"), "{method} {path}");
            if method != "HEAD" {
                assert_json(&answer, method);
                assert_eq!(answer.json()["status"], "method not allowed");
            }
        }
    }
    gateway.drain().await;
}

#[tokio::test]
async fn a_broken_body_or_framing_never_stores_anything() {
    let gateway = TestGateway::start().await;
    let head = "POST /v2/enqueue HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut connection = Connection::open(gateway.address).await;
    connection.write(format!("{head}zz\r\nnot a chunk\r\n").as_bytes()).await.unwrap();
    if let Ok(answer) = connection.read_answer(false).await {
        answer.expect(400);
    }

    let metrics = gateway.metrics().await;
    assert!(!metrics.names().any(|series| series.starts_with("dutygate_events_received")));
    gateway.drain().await;
}
