//! What becomes of an event on its way, against a server that does what it is told.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::{KEY, at, message, notifier};
use crate::{
    domain::{notify::Reason, time::Span},
    notify::{
        Attempt, Failure, Message, Notifier as _, Outcome, Sent,
        http::TIMEOUT,
        tests::server::{Reply, Server},
    },
};

/// Sends what a message says to `url`, wherever that is.
async fn sent(url: &str, message: &Message) -> Sent {
    let hosts = ["127.0.0.1", "localhost", "nowhere.invalid"];
    let notifier = notifier(json!({"url": url, "allowed_hosts": hosts}));
    let payload = notifier.compose(message).unwrap();
    let attempt = Attempt {
        delivery: message.delivery,
        reason: message.reason,
        payload: &payload,
        remote: None,
        continues: false,
        now: at(10),
    };
    notifier.send(&attempt).await
}

fn accepted() -> Reply {
    let key = json!({"status": "success", "message": "Event processed", "dedup_key": "k"});
    Reply::json(202, &key)
}

fn retry(failure: Failure, after: Option<Span>) -> Outcome {
    Outcome::Retry { failure, after }
}

const REFUSED: Outcome = Outcome::Dead { failure: Failure::Refused };

#[tokio::test]
async fn an_event_is_posted_with_its_key_which_nobody_sees() {
    let server =
        Server::start(|_| Reply::json(202, &json!({"status": "success", "echo": KEY}))).await;

    let sent = sent(&format!("{}/v2/enqueue", server.url), &message(Reason::Opened)).await;

    let seen = &server.seen()[0];
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/v2/enqueue"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.json()["routing_key"], KEY);
    assert_eq!(seen.json()["event_action"], "trigger");
    assert_eq!((sent.outcome, sent.status, sent.error), (Outcome::Delivered, Some(202), None));
    assert!(sent.request.contains("\"routing_key\":\"…\""), "{}", sent.request);
    assert!(!format!("{}{}", sent.request, sent.answer).contains(KEY));
}

#[tokio::test]
async fn every_status_has_its_outcome() {
    let server = Server::start(|seen| {
        let status = seen.path.trim_start_matches('/').parse().unwrap();
        Reply::status(status).with_header("retry-after", "30")
    })
    .await;
    let throttled = retry(Failure::Throttled, Some(Span::from_secs(30)));
    for (status, outcome) in [
        (200, Outcome::Delivered),
        (202, Outcome::Delivered),
        (400, REFUSED),
        (401, retry(Failure::Refused, None)),
        (403, retry(Failure::Refused, None)),
        (404, retry(Failure::Refused, None)),
        (408, retry(Failure::Refused, None)),
        (410, REFUSED),
        (413, REFUSED),
        (429, throttled),
        (500, retry(Failure::Unavailable, None)),
        (502, retry(Failure::Unavailable, None)),
        (503, retry(Failure::Unavailable, Some(Span::from_secs(30)))),
    ] {
        let sent = sent(&format!("{}/{status}", server.url), &message(Reason::Opened)).await;

        assert_eq!((sent.outcome, sent.status), (outcome, Some(status)), "{status}");
        assert_eq!(sent.error.is_none(), status < 300, "{status}: {:?}", sent.error);
    }
}

#[tokio::test]
async fn a_refusal_is_said_in_words() {
    let object = json!({
        "status": "invalid event",
        "message": "Event object is invalid",
        "errors": ["'payload.summary' is missing or blank", format!("{KEY} is no key")],
    });
    let server = Server::start(move |seen| match seen.path.as_str() {
        "/object" => Reply::json(400, &object),
        "/one" => Reply::json(400, &json!({"message": "no", "errors": "only one"})),
        "/text" => Reply::json(400, &Value::Null).with_header("x", "y"),
        _ => Reply::status(400),
    })
    .await;
    for (path, words) in [
        (
            "/object",
            "refused (status 400): Event object is invalid: 'payload.summary' is missing or blank: … is no key",
        ),
        ("/one", "refused (status 400): no: only one"),
        ("/text", "refused (status 400): null"),
        ("/nothing", "refused (status 400)"),
    ] {
        let sent = sent(&format!("{}{path}", server.url), &message(Reason::Opened)).await;

        assert_eq!(sent.error.as_deref(), Some(words));
        assert_eq!(sent.outcome, REFUSED);
        assert!(!sent.answer.contains(KEY), "{}", sent.answer);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = Server::start(|_| {
        Reply::status(307).with_header("location", "https://elsewhere.example.com/v2/enqueue")
    })
    .await;

    let sent = sent(&server.url, &message(Reason::Opened)).await;

    assert_eq!(sent.outcome, REFUSED);
    let error = sent.error.unwrap();
    assert!(error.contains("https://elsewhere.example.com/v2/enqueue"), "{error}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn two_events_go_in_their_order_until_one_fails() {
    let woken = Message { wakes: true, ..message(Reason::Repeat) };
    let actions = |server: &Server| -> Vec<String> {
        let action = |seen: Value| seen["event_action"].as_str().unwrap().to_owned();
        server.seen().iter().map(|seen| action(seen.json())).collect()
    };

    let server = Server::start(|_| accepted()).await;
    let both = sent(&server.url, &woken).await;
    assert_eq!(both.outcome, Outcome::Delivered);
    assert_eq!(actions(&server), ["resolve", "trigger"]);
    assert_eq!(both.request.matches("POST ").count(), 2, "{}", both.request);

    let server = Server::start(|_| Reply::status(500)).await;
    let neither = sent(&server.url, &woken).await;
    assert_eq!(neither.outcome, retry(Failure::Unavailable, None));
    assert_eq!(actions(&server), ["resolve"]);

    let answers = AtomicUsize::new(0);
    let server = Server::start(move |_| match answers.fetch_add(1, Ordering::Relaxed) {
        1 => Reply::status(429),
        _ => accepted(),
    })
    .await;
    let half = sent(&server.url, &woken).await;
    assert_eq!((half.outcome, half.status), (retry(Failure::Throttled, None), Some(429)));
    assert_eq!(sent(&server.url, &woken).await.outcome, Outcome::Delivered);
    assert_eq!(actions(&server), ["resolve", "trigger", "resolve", "trigger"]);
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_event_was_sent_leaves_it_open() {
    let server = Server::start(|_| Reply::Reset).await;

    let sent = sent(&server.url, &message(Reason::Opened)).await;

    assert_eq!(sent.outcome, retry(Failure::Unanswered, None));
    assert!(sent.error.unwrap().contains("may have arrived"));
}

/// Sends a message, and lets time run out once the server has seen so many requests.
async fn run_out_of_time(server: &Server, requests: usize, message: &Message) -> Sent {
    let freeze = async {
        while server.seen().len() < requests {
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
    };
    let (sent, ()) = tokio::join!(sent(&server.url, message), freeze);
    tokio::time::resume();
    sent
}

#[tokio::test]
async fn an_answer_that_never_comes_is_not_waited_for() {
    let server = Server::start(|_| Reply::Hang).await;

    let sent = run_out_of_time(&server, 1, &message(Reason::Opened)).await;

    assert_eq!((sent.outcome, sent.status), (retry(Failure::Unanswered, None), None));
    assert!(sent.error.unwrap().contains("15 s"));
}

#[tokio::test]
async fn the_status_counts_though_the_rest_of_an_answer_never_comes() {
    for (status, outcome) in
        [(202, Outcome::Delivered), (503, retry(Failure::Unavailable, None)), (400, REFUSED)]
    {
        let server = Server::start(move |_| Reply::Stall(status)).await;

        let sent = run_out_of_time(&server, 1, &message(Reason::Opened)).await;

        assert_eq!((sent.outcome, sent.status), (outcome, Some(status)));
        assert!(sent.answer.contains("breaks off"), "{}", sent.answer);
    }
}

#[tokio::test]
async fn the_second_of_two_events_gets_what_time_the_first_left() {
    let server = Server::start(|seen| match seen.json()["event_action"].as_str() {
        Some("resolve") => accepted(),
        _ => Reply::Hang,
    })
    .await;
    let woken = Message { wakes: true, ..message(Reason::Repeat) };
    let started = tokio::time::Instant::now();

    let sent = run_out_of_time(&server, 2, &woken).await;

    assert_eq!(sent.outcome, retry(Failure::Unanswered, None));
    assert!(started.elapsed() < TIMEOUT + Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_slow_answer_is_read_to_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; 64 * 1024];
        let read = stream.read(&mut request).unwrap();
        assert!(read > 0);
        let answer = "HTTP/1.1 400 Bad\r\ncontent-length: 18\r\n\r\nInvalid routing ke";
        for byte in answer.bytes() {
            stream.write_all(&[byte]).unwrap();
            stream.flush().unwrap();
        }
    });

    let sent = sent(&url, &message(Reason::Opened)).await;

    assert_eq!(sent.error.as_deref(), Some("refused (status 400): Invalid routing ke"));
}

#[tokio::test]
async fn where_nobody_listens_nothing_has_arrived() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);

    let refused = sent(&url, &message(Reason::Opened)).await;
    let unknown = sent("http://nowhere.invalid/", &message(Reason::Opened)).await;

    for sent in [refused, unknown] {
        assert_eq!(sent.outcome, retry(Failure::Unreachable, None), "{sent:?}");
        assert!(sent.error.unwrap().contains("no connection"));
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_not_trusted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = made.signing_key.serialize_der().try_into().unwrap();
    rustls::crypto::ring::default_provider().install_default().ok();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let serving = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        let mut request = String::new();
        // The client ends it, without a word of the event.
        let read = stream.read_to_string(&mut request);
        (read.is_err(), request)
    });

    let sent = sent(&url, &message(Reason::Opened)).await;

    assert_eq!(sent.outcome, retry(Failure::Unreachable, None), "{sent:?}");
    let error = sent.error.unwrap();
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(serving.join().unwrap(), (true, String::new()));
}

#[tokio::test]
async fn a_private_address_has_to_be_allowed() {
    let server = Server::start(|_| accepted()).await;
    let notifier = notifier(json!({"url": server.url}));
    let message = message(Reason::Opened);
    let payload = notifier.compose(&message).unwrap();
    let (delivery, reason) = (message.delivery, message.reason);
    let attempt = Attempt {
        delivery,
        reason,
        payload: &payload,
        remote: None,
        continues: false,
        now: at(10),
    };

    let sent = notifier.send(&attempt).await;

    assert_eq!(sent.outcome, REFUSED);
    assert!(sent.error.unwrap().starts_with("address not allowed"));
    assert_eq!(server.seen().len(), 0);
}
