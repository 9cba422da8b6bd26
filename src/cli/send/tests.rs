use std::time::Duration;

use clap::Parser as _;
use reqwest::StatusCode;

use super::{
    super::{Cli, Command},
    load::Tally,
    post::{Posted, Reply},
    *,
};

fn body_of(args: &[&str], n: u64) -> String {
    let args = ["dutygate", "send", "--routing-key", "KEY"].iter().chain(args);
    let Some(Command::Send(send)) = Cli::try_parse_from(args).unwrap().command else {
        panic!("not the command send");
    };
    String::from_utf8(send.template().body(n).unwrap()).unwrap()
}

#[test]
fn every_flag_becomes_its_field() {
    let body = body_of(
        &[
            "trigger",
            "--dedup-key",
            "k{n}",
            "--summary",
            "s {n}",
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
