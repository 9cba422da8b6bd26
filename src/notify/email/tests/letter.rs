//! What a mail says.

use serde_json::json;

use super::email;
use crate::{
    domain::{
        alert::Status,
        event::Severity,
        notify::Reason,
        time::{Span, Timestamp},
    },
    notify::{
        Guard, Message, Notifier as _,
        email::Letter,
        tests::message::{alert, message, of_thirty, resolved, update},
    },
    store::query::views::raw,
};

fn letter(message: &Message) -> Letter {
    let email = email(&json!({"smtp": "smtp://mail.example.com"}), Guard::new(true)).unwrap();
    serde_json::from_value(email.compose(message).unwrap()).unwrap()
}

fn header<'l>(letter: &'l Letter, name: &str) -> Option<&'l str> {
    letter.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[test]
fn a_new_incident_is_told_with_all_that_is_known_of_its_alert() {
    let letter = letter(&message());

    assert_eq!(letter.subject, r#"[CRITICAL] DISK at 99 % on db-1: "数据库磁盘" is full (#42)"#);
    for text in [
        "New incident",
        "https://duty.example.com/incidents/",
        "Service: payments",
        "Opened: 2026-11-20 10:11:12 UTC",
        "free space: 1 %\n请尽快处理",
        "Source: db-1.example.com",
        "Component: mysql",
        "Group: prod-datapipe",
        "Class: disk",
        "host: db-1",
        "zoom: 1.10",
        "- Guance observer: https://console.example.com/event?a=1&b=2",
        "- Runbook: https://wiki.example.com/disk",
    ] {
        assert!(letter.text.contains(text), "{text} is not in:\n{}", letter.text);
    }
    for html in [
        ">CRITICAL</span>",
        "DISK at 99 % on db-1: &quot;数据库磁盘&quot; is full</h1>",
        "free space: 1 %\n请尽快处理",
        "1.10",
        r#"href="https://console.example.com/event?a=1&amp;b=2""#,
        "prefers-color-scheme: dark",
    ] {
        let unified = letter.html.replace("&#x2f;", "/");
        assert!(unified.contains(html), "{html} is not in:\n{unified}");
    }
}

#[test]
fn the_reason_is_said_in_words() {
    let hours = |message: Message, hours: u32| Message {
        at: message.incident.created_at.plus(Span::from_secs(hours * 3600)),
        ..message
    };
    let mut acknowledged = update(Reason::Acknowledged);
    acknowledged.incident.status = Status::Acknowledged;
    acknowledged.incident.acknowledged_by = Some("token:alice".to_owned());
    for (message, state, words) in [
        (message(), "[CRITICAL]", "New incident"),
        (update(Reason::Reopened), "[CRITICAL]", "Open again"),
        (update(Reason::SeverityRaised), "[CRITICAL]", "Severity raised to critical"),
        (of_thirty(Reason::Storm), "[CRITICAL]", "Storm: 30 alerts by now"),
        (update(Reason::Flapping), "[CRITICAL]", "Flapping: it comes and goes"),
        (hours(update(Reason::Repeat), 4), "[CRITICAL]", "Still open after 4 h"),
        (
            hours(Message { wakes: true, ..update(Reason::Repeat) }, 4),
            "[CRITICAL]",
            "Nobody looks after it any more; open for 4 h",
        ),
        (of_thirty(Reason::AlertsAdded), "[CRITICAL]", "More alerts: 30 by now"),
        (acknowledged, "[ACKNOWLEDGED]", "Acknowledged by alice"),
        (resolved(), "[RESOLVED]", "Resolved after 12 min"),
        (update(Reason::Test), "[TEST]", "Nothing is wrong: somebody tries out the receiver hook"),
    ] {
        let letter = letter(&message);

        assert!(letter.subject.starts_with(state), "{}", letter.subject);
        assert!(letter.text.contains(words), "{words} is not in:\n{}", letter.text);
        assert!(letter.html.contains(words), "{words} is not in the HTML");
    }
}

#[test]
fn whatever_the_reason_it_says_that_a_key_flaps() {
    let mut opened = message();
    opened.incident.flapping = true;

    let letter = letter(&opened);

    let said = "New incident; flapping: it comes and goes";
    assert!(letter.text.contains(said) && letter.html.contains(said), "{}", letter.text);
}

#[test]
fn of_many_alerts_the_first_ten_are_listed() {
    let letter = letter(&of_thirty(Reason::AlertsAdded));

    for text in ["28 open of 30", "db-10.example.com", "and 20 more", "class = disk"] {
        assert!(letter.text.contains(text) && letter.html.contains(text), "{text}");
    }
    assert!(!letter.text.contains("db-11.example.com"));
    assert!(letter.text.contains("- warning: DISK at 99 % on db-3"));
}

#[test]
fn one_that_is_about_one_alert_tells_of_that_one() {
    let letter = letter(&Message { about: Some(alert(7)), ..of_thirty(Reason::Opened) });

    assert!(letter.text.contains("Source: db-7.example.com"), "{}", letter.text);
    assert!(letter.text.contains("DISK at 99 % on db-7"), "{}", letter.text);
    assert!(!letter.text.contains("more"), "{}", letter.text);
}

#[test]
fn a_late_mail_says_how_late_it_is() {
    let letter = letter(&Message { late: Some(Span::from_secs(7380)), ..message() });

    let words = "2 h 3 min late: it was to be sent at 2026-11-20 10:11:12 UTC.";
    assert!(letter.text.contains(words) && letter.html.contains(words), "{}", letter.text);
}

#[test]
fn a_line_break_in_a_title_becomes_a_space() {
    let mut message = message();
    message.incident.title = "a\r\nBcc: everybody@example.com\u{0}\nb".to_owned();

    assert_eq!(letter(&message).subject, "[CRITICAL] a Bcc: everybody@example.com b (#42)");
}

#[test]
fn whatever_a_sender_writes_is_text() {
    let mut message = message();
    let script = "<script>alert(1)</script>";
    message.incident.title = script.to_owned();
    message.incident.service = script.to_owned();
    let alert = &mut message.alerts[0];
    alert.summary = format!("{script}!");
    alert.source = script.to_owned();
    alert.labels = raw(&json!({script: script}).to_string());
    alert.custom_details = Some(raw(&json!({script: script, "description": script}).to_string()));
    alert.client_url = Some("javascript:alert(1)".to_owned());
    alert.links = raw(&json!([
        {"href": "data:text/html,x"}, {"href": "https://x/\"onmouseover=\"y", "text": script},
        {"href": "HTTPS://shout.example.com", "text": ""}, {"href": "mailto:a@example.com"},
    ])
    .to_string());

    let html = letter(&message).html;

    assert!(!html.contains("<script"), "{html}");
    assert!(!html.contains("javascript:") && !html.contains("data:text"), "{html}");
    assert!(!html.contains("\"onmouseover"), "{html}");
    assert!(html.contains("HTTPS:&#x2f;&#x2f;shout") && html.contains("mailto:"), "{html}");
}

/// Gmail shows no more than 102 KB; with letters that HTML writes in five it may be more.
#[test]
fn a_mail_stays_small_whatever_there_is_to_say() {
    let mut one = message();
    let many: serde_json::Map<_, _> =
        (0..500).map(|n| (format!("member {n}"), "<".repeat(100_000).into())).collect();
    one.alerts[0].custom_details = Some(raw(&serde_json::Value::Object(many).to_string()));
    one.alerts[0].dedup_key = "k".repeat(255);
    one.incident.title = "数".repeat(100_000);
    let mut many = of_thirty(Reason::Storm);
    for alert in &mut many.alerts {
        alert.summary = "s".repeat(100_000);
        alert.source = "s".repeat(100_000);
    }

    for message in [one, many] {
        let letter = letter(&message);
        assert!(letter.text.len() < 30_000, "{}", letter.text.len());
        assert!(letter.html.len() < 102_000, "{}", letter.html.len());
        assert!(letter.subject.chars().count() < 230);
    }
}

#[test]
fn headers_keep_machines_silent_and_help_filters() {
    let opened = letter(&message());

    for (name, value) in [
        ("Auto-Submitted", "auto-generated"),
        ("X-Auto-Response-Suppress", "All"),
        ("X-Dutygate-Incident", "42"),
        ("X-Dutygate-Reason", "opened"),
        ("X-Dutygate-Severity", "critical"),
        ("X-Dutygate-Status", "triggered"),
        ("X-Dutygate-Service", "payments"),
        ("Importance", "high"),
    ] {
        assert_eq!(header(&opened, name), Some(value), "{name}");
    }
    assert_eq!(header(&letter(&resolved()), "Importance"), None);
    let mut warning = message();
    warning.incident.severity = Severity::Warning;
    assert_eq!(header(&letter(&warning), "Importance"), None);
}

#[test]
fn all_mails_of_an_incident_are_one_thread() {
    let mut other = message();
    other.incident.id = crate::domain::id::IncidentId::new(Timestamp::from_millis(1), 43, 1);

    assert_eq!(letter(&message()).thread, letter(&resolved()).thread);
    assert_ne!(letter(&message()).thread, letter(&other).thread);
}
