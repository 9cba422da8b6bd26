//! What `send` reads, builds and posts.

use std::time::Duration;

use clap::Parser as _;
use reqwest::StatusCode;

use super::{
    super::{Cli, Command, test_server::Prepared},
    load::Tally,
    post::{Posted, Poster, Reply},
    *,
};

fn parsed(args: &[&str]) -> Box<Send> {
    let args = ["dutygate", "send", "--routing-key", "KEY"].iter().chain(args);
    let Some(Command::Send(send)) = Cli::try_parse_from(args).unwrap().command else {
        panic!("not the command send");
    };
    send
}

fn body_of(args: &[&str], n: u64) -> String {
    let send = parsed(args);
    String::from_utf8(send.template().body(n).unwrap()).unwrap()
}

#[test]
fn every_flag_becomes_its_field() {
    let body = body_of(
        &[
            "trigger",
            "--dedup-key",
            "k{i}",
            "--summary",
            "s {i}",
            "--source",
            "so",
            "--severity",
            "critical",
            "--timestamp",
            "2026-01-01T00:00:00Z",
            "--component",
            "co",
            "--group",
            "g",
            "--class",
            "cl",
            "--custom-details",
            r#"{"b":1.50,"a":2}"#,
            "--client",
            "me",
            "--client-url",
            "https://me",
            "--link",
            "https://a=docs",
            "--image",
            "https://i",
        ],
        7,
    );

    assert_eq!(
        body,
        concat!(
            r#"{"routing_key":"KEY","event_action":"trigger","dedup_key":"k7","client":"me","#,
            r#""client_url":"https://me","links":[{"href":"https://a","text":"docs"}],"#,
            r#""images":[{"src":"https://i"}],"payload":{"summary":"s 7","source":"so","#,
            r#""severity":"critical","timestamp":"2026-01-01T00:00:00Z","component":"co","#,
            r#""group":"g","class":"cl","custom_details":{"b":1.50,"a":2}}}"#,
        )
    );
}

#[test]
fn what_is_not_given_is_not_sent() {
    assert_eq!(body_of(&[], 1), r#"{"routing_key":"KEY","event_action":"trigger"}"#);
    assert_eq!(
        body_of(&["resolve", "--dedup-key", "k"], 1),
        r#"{"routing_key":"KEY","event_action":"resolve","dedup_key":"k"}"#
    );
    assert_eq!(
        body_of(&["--change", "--summary", "s", "--detail", "a=b=c"], 1),
        r#"{"routing_key":"KEY","payload":{"summary":"s","custom_details":{"a":"b=c"}}}"#
    );
}

#[test]
fn bad_events_can_be_tried() {
    assert_eq!(
        body_of(&["--event-action", "", "--severity", "terrible"], 1),
        r#"{"routing_key":"KEY","event_action":"","payload":{"severity":"terrible"}}"#
    );
}

#[test]
fn a_link_is_an_address_and_perhaps_a_text() {
    for (given, href, text) in [
        ("https://a", "https://a", None),
        ("https://a=my docs", "https://a", Some("my docs")),
        ("https://a=docs", "https://a", Some("docs")),
        ("https://a/?b=c", "https://a/?b=c", None),
        ("https://a/?b=c my docs", "https://a/?b=c", Some("my docs")),
    ] {
        let expected = Link { href: href.to_owned(), text: text.map(str::to_owned) };
        assert_eq!(given.parse::<Link>(), Ok(expected));
    }
}

#[test]
fn a_rate_is_per_second_minute_or_hour() {
    assert_eq!("50/s".parse::<Rate>().unwrap(), Rate(50.0));
    assert_eq!("50".parse::<Rate>().unwrap(), Rate(50.0));
    assert_eq!("600/m".parse::<Rate>().unwrap(), Rate(10.0));
    for wrong in ["", "0", "-1/s", "x/s", "5/d", "inf", "NaN", "5/"] {
        assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
    }
}

#[test]
fn the_summary_counts_and_measures() {
    let mut tally = Tally::default();
    for millis in 1..=100 {
        let status = if millis == 100 { StatusCode::BAD_REQUEST } else { StatusCode::ACCEPTED };
        tally.add(Posted {
            outcome: Ok(Reply { status, body: "{}".to_owned() }),
            retried: u8::from(millis == 1),
            latency: Duration::from_millis(millis),
        });
    }
    tally.add(Posted {
        outcome: Err(anyhow::anyhow!("refused")),
        retried: 0,
        latency: Duration::ZERO,
    });

    assert_eq!(
        tally.summary(Duration::from_secs(2)),
        "accepted 99, rejected 1, failed 1, retried 1 in 2.0 s (50 events/s)\n\
         latency p50 50.0 ms, p99 99.0 ms\n\
         the first that was not accepted: 400 Bad Request\n{}"
    );
}

fn poster(server: &Prepared, retries: u8) -> Poster {
    let target: Target = server.url.parse().unwrap();
    Poster {
        client: target.client(Duration::from_secs(10)).unwrap(),
        url: target.or_path("/v2/enqueue"),
        target,
        retries,
    }
}

#[tokio::test]
async fn a_server_that_says_later_is_asked_again() {
    let server = Prepared::bind().await;
    let poster = poster(&server, 5);
    let answers = [
        ("429 Too Many Requests\r\nretry-after: 0", "{}"),
        ("503 Service Unavailable\r\nretry-after: 0", "{}"),
        ("202 Accepted", r#"{"status":"success"}"#),
    ];

    let (requests, posted) = tokio::join!(server.answer(&answers), poster.post(b"{}".to_vec()));

    assert_eq!(posted.retried, 2);
    let reply = posted.outcome.unwrap();
    assert_eq!((reply.status, reply.shown()), (StatusCode::ACCEPTED, r#"{"status":"success"}"#));
    assert!(requests[2].starts_with("POST /v2/enqueue HTTP/1.1\r\n"), "{requests:?}");
    assert!(requests[2].contains("content-type: application/json\r\n"), "{requests:?}");
}

#[tokio::test]
async fn retries_are_bounded_and_a_bad_event_is_not_tried_again() {
    let server = Prepared::bind().await;
    let once_more = poster(&server, 1);
    let later = ("503 Service Unavailable\r\nretry-after: 0", "{}");
    let answers = [later, later, ("400 Bad Request", r#"{"errors":["x"]}"#)];

    let (_, (unavailable, bad)) = tokio::join!(server.answer(&answers), async {
        (once_more.post(b"{}".to_vec()).await, once_more.post(b"{}".to_vec()).await)
    });

    assert_eq!(unavailable.retried, 1);
    assert_eq!(unavailable.outcome.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(bad.retried, 0);
    assert_eq!(bad.outcome.unwrap().status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn many_events_are_sent_at_a_time_each_with_its_number() {
    let server = Prepared::bind().await;
    let poster = poster(&server, 0);
    let send = parsed(&["--summary", "n{i}", "--count", "6", "--concurrency", "3"]);
    let mut answers = [("202 Accepted", "{}"); 6];
    answers[4] = ("400 Bad Request", "{}");

    let (requests, sent) = tokio::join!(server.answer(&answers), async {
        load::run(&poster, &send.template(), &send.load).await
    });

    for n in 1..=6 {
        let summary = format!(r#""summary":"n{n}""#);
        assert_eq!(requests.iter().filter(|it| it.contains(&summary)).count(), 1, "{summary}");
    }
    let told = sent.unwrap_err().to_string();
    assert_eq!(told, "error: 1 of 6 events were not accepted");
}
