//! What all notifiers that speak HTTP rely on.

use std::{process::Command, sync::Arc};

use reqwest::{
    Method, Url,
    header::{AUTHORIZATION, HeaderValue},
};
use rustls::{
    ServerConfig, ServerConnection,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use secrecy::SecretString;
use tokio::sync::Notify;

use super::{
    message::NOW,
    server::{Reply, Server},
};
use crate::{
    domain::time::Span,
    notify::{
        Failure, Guard, Outcome, Sent,
        http::{Exchange, Http, Request},
    },
};

fn http(allow_private: bool) -> Http {
    rustls::crypto::ring::default_provider().install_default().ok();
    Http::new(Guard::new(allow_private)).unwrap()
}

async fn post(http: &Http, url: &str, allowed_hosts: &[&str]) -> Exchange {
    let allowed: Vec<String> = allowed_hosts.iter().map(|host| (*host).to_owned()).collect();
    let request = Request {
        method: Method::POST,
        url: Url::parse(url).unwrap(),
        headers: Vec::new(),
        body: Some("{}".to_owned()),
        secrets: &[],
        allowed_hosts: &allowed,
    };
    http.exchange(request).await
}

/// What comes of a request to a server that answers so.
async fn sent(reply: Reply) -> Sent {
    let server = Server::start(move |_| reply.clone()).await;
    post(&http(true), &server.url, &[]).await.sent(NOW)
}

fn words(sent: &Sent) -> &str {
    sent.error.as_deref().unwrap_or_default()
}

#[tokio::test]
async fn an_answer_is_read() {
    let sent =
        sent(Reply::Answer { status: 202, headers: Vec::new(), body: "taken".to_owned() }).await;

    assert_eq!(sent.outcome, Outcome::Delivered);
    assert_eq!(sent.status, Some(202));
    assert_eq!(sent.error, None);
    assert!(sent.answer.contains("taken"), "{}", sent.answer);
}

/// The process that runs this test cannot change its own environment: another one does, and runs
/// the test above.
#[test]
fn no_proxy_is_taken_from_the_environment() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"] {
        child.env(name, "http://127.0.0.1:1");
    }
    child.env_remove("no_proxy").env_remove("NO_PROXY");

    let done = child.args(["notify::tests::http::an_answer_is_read", "--exact"]).output().unwrap();

    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn a_private_address_is_refused_however_it_is_written() {
    let server = Server::start(|_| Reply::status(200)).await;
    let port = server.url.rsplit(':').next().unwrap().to_owned();
    let guarded = http(false);

    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "169.254.169.254",
        "10.0.0.1",
        "[fd00::1]",
        "[64:ff9b::7f00:1]",
    ] {
        let sent = post(&guarded, &format!("http://{host}:{port}/"), &[]).await.sent(NOW);

        assert_eq!(sent.outcome, Outcome::Dead { failure: Failure::Refused }, "{host}");
        assert!(words(&sent).starts_with("address not allowed"), "{host}: {}", words(&sent));
        assert!(words(&sent).contains("allowed_hosts"), "it says how to mend it: {}", words(&sent));
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_host_that_is_allowed_is_talked_to_wherever_it_is() {
    let server = Server::start(|_| Reply::status(200)).await;
    let by_name = server.url.replace("127.0.0.1", "localhost");
    let guarded = http(false);

    let literal = post(&guarded, &server.url, &["127.0.0.1"]).await.sent(NOW);
    let named = post(&guarded, &by_name, &["LocalHost"]).await.sent(NOW);
    let other = post(&guarded, &by_name, &["127.0.0.1"]).await.sent(NOW);

    assert_eq!(literal.outcome, Outcome::Delivered);
    assert_eq!(named.outcome, Outcome::Delivered);
    assert_eq!(other.outcome, Outcome::Dead { failure: Failure::Refused });
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_status_says_whether_to_try_again() {
    let dead = Outcome::Dead { failure: Failure::Refused };
    let again = |failure| Outcome::Retry { failure, after: None };
    for (status, outcome, said) in [
        (200, Outcome::Delivered, ""),
        (204, Outcome::Delivered, ""),
        (301, dead, "redirects are not followed"),
        (400, dead, "status 400"),
        (401, again(Failure::Refused), "check the receiver's secret"),
        (403, again(Failure::Refused), "check the receiver's secret"),
        (404, again(Failure::Refused), "check url"),
        (405, again(Failure::Refused), "status 405"),
        (408, again(Failure::Refused), "status 408"),
        (410, dead, "status 410"),
        (413, dead, "too large"),
        (415, dead, "status 415"),
        (422, dead, "status 422"),
        (429, again(Failure::Throttled), "fewer at a time"),
        (500, again(Failure::Unavailable), "in trouble"),
        (502, again(Failure::Unavailable), "in trouble"),
        (503, again(Failure::Unavailable), "in trouble"),
        (504, again(Failure::Unavailable), "in trouble"),
        (599, again(Failure::Unavailable), "in trouble"),
    ] {
        let sent = sent(Reply::status(status)).await;

        assert_eq!(sent.outcome, outcome, "{status}");
        assert_eq!(sent.status, Some(status));
        assert_eq!(sent.error.is_none(), outcome == Outcome::Delivered);
        assert!(words(&sent).contains(said), "{status}: {}", words(&sent));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_says_where_to() {
    let target = Server::start(|_| Reply::status(200)).await;
    let reply = Reply::status(307).with_header("location", &target.url);

    let sent = sent(reply).await;

    assert_eq!(sent.outcome, Outcome::Dead { failure: Failure::Refused });
    assert!(words(&sent).contains(&target.url), "{}", words(&sent));
    assert!(target.seen().is_empty());
}

#[tokio::test]
async fn what_the_receiver_asks_to_wait_is_heard_up_to_an_hour() {
    let hour = Span::from_secs(3600);
    for (status, retry_after, after) in [
        (429, "7", Some(Span::from_secs(7))),
        (429, "0", Some(Span::ZERO)),
        (429, "999999", Some(hour)),
        (429, "99999999999999999999", None),
        (429, "-5", None),
        (429, "soon", None),
        // `NOW` is 10:11:12.345.
        (429, "Fri, 20 Nov 2026 10:12:12 GMT", Some(Span::from_millis(59_655))),
        (429, "Fri, 20 Nov 2020 10:12:12 GMT", Some(Span::ZERO)),
        (429, "Fri, 20 Nov 2099 10:12:12 GMT", Some(hour)),
        (503, "30", Some(Span::from_secs(30))),
        (500, "30", None),
    ] {
        let sent = sent(Reply::status(status).with_header("retry-after", retry_after)).await;

        let Outcome::Retry { after: heard, .. } = sent.outcome else { panic!("{sent:?}") };
        assert_eq!(heard, after, "{status} {retry_after}");
    }
}

#[tokio::test]
async fn an_answer_is_read_and_shown_no_further_than_needed() {
    let answer = |letters: usize| Reply::Answer {
        status: 200,
        headers: Vec::new(),
        body: "x".repeat(letters),
    };
    let server = Server::start(move |_| answer(10_000_000)).await;

    let exchange = post(&http(true), &server.url, &[]).await;

    let answer = exchange.result.as_ref().unwrap();
    assert_eq!(answer.body.len(), 64 * 1024);
    assert!(answer.shown.len() < 9 * 1024, "{}", answer.shown.len());
    assert_eq!(exchange.sent(NOW).outcome, Outcome::Delivered);
}

#[tokio::test]
async fn a_refused_connection_is_certain_not_to_have_arrived() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);

    let sent = post(&http(true), &url, &[]).await.sent(NOW);

    assert_eq!(sent.outcome, Outcome::Retry { failure: Failure::Unreachable, after: None });
    assert!(words(&sent).starts_with("no connection"), "{}", words(&sent));
    assert!(words(&sent).contains("refused"), "{}", words(&sent));
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_tried_again() {
    for allow_private in [false, true] {
        let sent = post(&http(allow_private), "http://name.invalid/", &[]).await.sent(NOW);

        assert_eq!(sent.outcome, Outcome::Retry { failure: Failure::Unreachable, after: None });
        assert!(words(&sent).starts_with("no connection"), "{}", words(&sent));
    }
}

#[tokio::test]
async fn a_wrong_certificate_is_no_connection_and_says_so() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        ServerConnection::new(Arc::new(config)).unwrap().complete_io(&mut stream).is_err()
    });

    let sent = post(&http(true), &format!("https://localhost:{port}/"), &[]).await.sent(NOW);

    assert_eq!(sent.outcome, Outcome::Retry { failure: Failure::Unreachable, after: None });
    assert!(words(&sent).contains("certificate"), "{}", words(&sent));
    assert!(served.join().unwrap(), "the handshake fails");
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_may_have_brought_it() {
    let sent = sent(Reply::Reset).await;

    assert_eq!(sent.outcome, Outcome::Retry { failure: Failure::Unanswered, after: None });
    assert!(words(&sent).contains("may have arrived"), "{}", words(&sent));
}

/// What comes of a request that a server has read whole and then says no more of: the clock is only
/// stopped when nothing is on its way, so that only the timeouts are left to happen.
async fn sent_in_vain(reply: Reply) -> Sent {
    let read = Arc::new(Notify::new());
    let reading = Arc::clone(&read);
    let server = Server::start(move |_| {
        reading.notify_one();
        reply.clone()
    })
    .await;
    let http = http(true);
    let client = post(&http, &server.url, &[]);
    let stop = async {
        read.notified().await;
        // The head of the answer, if there is one, is on its way still.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
    };
    let (exchange, ()) = tokio::join!(client, stop);
    exchange.sent(NOW)
}

#[tokio::test]
async fn no_answer_within_15_seconds_may_have_arrived() {
    let sent = sent_in_vain(Reply::Hang).await;

    assert_eq!(sent.outcome, Outcome::Retry { failure: Failure::Unanswered, after: None });
    assert!(words(&sent).contains("15 s"), "{}", words(&sent));
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_in_5_seconds_is_no_connection() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // Linux takes one more than the backlog says; whoever comes then is not even refused.
    let waiting = [(); 2].map(|()| std::net::TcpStream::connect(address).unwrap());
    tokio::time::pause();
    let started = tokio::time::Instant::now();

    let sent = post(&http(true), &format!("http://{address}/"), &[]).await.sent(NOW);

    assert_eq!(sent.outcome, Outcome::Retry { failure: Failure::Unreachable, after: None });
    assert!(words(&sent).starts_with("no connection within 5 s"), "{}", words(&sent));
    assert_eq!(started.elapsed().as_secs(), 5);
    drop(waiting);
}

#[tokio::test]
async fn a_status_counts_though_its_body_never_ends() {
    let sent = sent_in_vain(Reply::Stall(202)).await;

    assert_eq!(sent.outcome, Outcome::Delivered);
    assert!(sent.answer.contains("breaks off"), "{}", sent.answer);
}

#[tokio::test]
async fn secrets_are_masked_in_what_is_shown() {
    let echo = |seen: &super::server::Seen| Reply::Answer {
        status: 403,
        headers: Vec::new(),
        body: format!("you said {} and {:?}", seen.body, seen.header("authorization")),
    };
    let server = Server::start(echo).await;
    let secret = SecretString::from("t0ken-of-ours");
    let mut header = HeaderValue::from_static("Bearer t0ken-of-ours");
    header.set_sensitive(true);
    let request = Request {
        method: Method::POST,
        url: Url::parse(&format!("{}/t0ken-of-ours?k=t0ken-of-ours", server.url)).unwrap(),
        headers: vec![(AUTHORIZATION, header)],
        body: Some(r#"{"key":"t0ken-of-ours"}"#.to_owned()),
        secrets: &[&secret],
        allowed_hosts: &[],
    };

    let sent = http(true).exchange(request).await.sent(NOW);

    assert_eq!(server.seen()[0].header("authorization"), Some("Bearer t0ken-of-ours"));
    assert_eq!(server.seen()[0].path, "/t0ken-of-ours?k=t0ken-of-ours");
    let shown = format!("{sent:?}");
    assert!(shown.contains("you said") && !shown.contains("t0ken"), "{shown}");
}
