//! From a message to events.

use serde_json::{Value, json};

use super::{KEY, alert, events, incident, message, notifier, texts, told};
use crate::{
    domain::{
        event::{Content, Event, Intent, Severity},
        notify::Reason,
        time::Span,
    },
    notify::{Message, Notifier as _},
    store::query::views::raw,
    wire::{self, Endpoint, GivenKeys, MAX_BODY_BYTES},
};

/// What our own entrance makes of an event.
fn taken_in(text: &str) -> Event {
    let keys = GivenKeys { url: None, header: Some(KEY) };
    match wire::decode(Endpoint::V2, keys, text.as_bytes()).unwrap().message {
        wire::Message::Event(event) => event,
        wire::Message::Change(change) => panic!("{change:?}"),
    }
}

fn content(text: &str) -> Content {
    match taken_in(text).intent {
        Intent::Trigger { content, .. } => *content,
        other => panic!("{other:?}"),
    }
}

/// A message about one alert of an incident.
fn about(reason: Reason) -> Message {
    Message { about: Some(alert(1)), ..message(reason) }
}

#[test]
fn every_reason_has_its_action() {
    let key = format!("dutygate:{}", incident().id);
    for (reason, action) in [
        (Reason::Opened, "trigger"),
        (Reason::Reopened, "trigger"),
        (Reason::SeverityRaised, "trigger"),
        (Reason::Storm, "trigger"),
        (Reason::Flapping, "trigger"),
        (Reason::Repeat, "trigger"),
        (Reason::AlertsAdded, "trigger"),
        (Reason::Acknowledged, "acknowledge"),
        (Reason::Resolved, "resolve"),
    ] {
        assert_eq!(told(json!({}), &message(reason)), [format!("{action} {key}")], "{reason}");
    }
}

#[test]
fn a_test_resolves_itself() {
    let message = message(Reason::Test);
    let key = format!("dutygate:test:{}", message.delivery);

    let told = told(json!({"passthrough": true}), &message);

    assert_eq!(told, [format!("trigger {key}"), format!("resolve {key}")]);
    let payload = &events(json!({}), &message)[0]["payload"];
    assert_eq!(payload["severity"], "info");
    assert!(payload["summary"].as_str().unwrap().contains("pagerduty-main"), "{payload}");
}

#[test]
fn what_is_acknowledged_no_more_begins_anew() {
    let key = format!("dutygate:{}", incident().id);
    for reason in [Reason::Repeat, Reason::SeverityRaised] {
        let woken = Message { wakes: true, ..message(reason) };

        assert_eq!(
            told(json!({}), &woken),
            [format!("resolve {key}"), format!("trigger {key}")],
            "{reason}"
        );
    }
    let resolved = Message { wakes: true, ..message(Reason::Resolved) };
    assert_eq!(told(json!({}), &resolved), [format!("resolve {key}")]);
}

#[test]
fn who_knows_of_nothing_is_told_what_is_acknowledged() {
    let key = format!("dutygate:{}", incident().id);
    let first = Message { first: true, ..message(Reason::Acknowledged) };

    assert_eq!(told(json!({}), &first), [format!("trigger {key}"), format!("acknowledge {key}")]);
}

#[test]
fn an_incident_is_told_as_its_first_alert_says_it() {
    let mut message = message(Reason::AlertsAdded);
    message.late = Some(Span::from_secs(7200));
    message.incident.storm = Some(50);
    let url = message.incident_url();

    let [event] = &events(json!({}), &message)[..] else { panic!("one event") };

    let payload = &event["payload"];
    assert_eq!(payload["summary"], "DISK at 99% on srv01");
    assert_eq!(payload["severity"], "critical", "the incident's");
    for (field, value) in [
        ("source", "srv01.example.com"),
        ("component", "mysql"),
        ("group", "prod-datapipe"),
        ("class", "disk"),
        ("timestamp", "2025-11-20T09:51:13.000Z"),
    ] {
        assert_eq!(payload[field], value);
    }
    assert_eq!((&event["client"], &event["client_url"]), (&json!("dutygate"), &json!(url)));
    assert_eq!(
        event["links"],
        json!([
            {"href": url, "text": "Incident #42 in dutygate"},
            {"href": "https://kibana.example.com/1", "text": "ElastAlert"},
            {"href": "https://wiki.example.com", "text": "Runbook"},
        ])
    );
    let image = json!({"src": "https://g.example.com/1.png", "alt": "graph"});
    assert_eq!(event["images"], json!([image]), "nothing that was not sent");
    let ours = &payload["custom_details"]["dutygate"];
    for (field, value) in [
        ("reason", json!("alerts_added")),
        ("late", json!("late by 2h")),
        ("service", json!("payments")),
        ("incident", json!(42)),
        ("alerts", json!(2)),
        ("open_alerts", json!(2)),
        ("events", json!(6)),
        ("storm", json!(50)),
        ("labels", json!({"team": "core"})),
        ("group", json!({"rule": "r", "values": {"class": "disk"}})),
    ] {
        assert_eq!(ours[field], value, "{field}");
    }
    assert_eq!(ours["further_alerts"].as_array().unwrap().len(), 1);
    assert_eq!(ours["further_alerts"][0]["source"], "srv02.example.com");
}

#[test]
fn what_the_source_sent_stays_as_it_was_written() {
    let message = message(Reason::Opened);

    let [text] = &texts(json!({}), &message)[..] else { panic!("one event") };

    let begins =
        r#""custom_details":{"z":1.0000000000000000001,"a":"\u0000","a":[1, 2],"dutygate":{"#;
    assert!(text.contains(begins), "{text}");
}

#[test]
fn details_that_are_no_object_and_what_another_dutygate_added_have_their_place() {
    let mut message = message(Reason::Opened);
    for (sent, details, received) in [
        (r#""text""#, json!("text"), Value::Null),
        ("[1, 2]", json!([1, 2]), Value::Null),
        (r#"{"dutygate":{"incident":7}}"#, Value::Null, json!({"incident": 7})),
    ] {
        message.alerts[1].custom_details = Some(raw(sent));

        let event = &events(json!({}), &message)[0];

        let found = &event["payload"]["custom_details"];
        assert_eq!(found["details"], details, "{sent}");
        assert_eq!(found["dutygate"]["received"], received, "{sent}");
        assert_eq!(found["dutygate"]["incident"], 42, "{sent}");
    }
    message.alerts[1].custom_details = None;
    let found = events(json!({}), &message)[0]["payload"]["custom_details"].clone();
    assert_eq!(found.as_object().unwrap().len(), 1, "{found}");
}

#[test]
fn each_alert_goes_on_by_itself_under_its_id() {
    let settings = json!({"per_alert": true});
    let message = about(Reason::Opened);
    let key = format!("dutygate:{}", alert(1).id);

    let [event] = &events(settings.clone(), &message)[..] else { panic!("one event") };

    assert_eq!(event["dedup_key"], *key);
    assert_eq!(event["payload"]["severity"], "error", "the alert's");
    assert_eq!(event["client"], "dutygate");
    let page = format!("{}#alert-{}", message.incident_url(), alert(1).id);
    assert_eq!(event["client_url"], *page);
    let ours = &event["payload"]["custom_details"]["dutygate"];
    assert_eq!((&ours["incident"], &ours["further_alerts"]), (&json!(42), &Value::Null));
    assert_eq!(told(settings.clone(), &about(Reason::Resolved)), [format!("resolve {key}")]);
    assert_eq!(told(settings, &about(Reason::Acknowledged)), [format!("acknowledge {key}")]);
}

#[test]
fn passed_through_an_alert_is_what_its_source_sent() {
    let settings = json!({"passthrough": true});

    let [text] = &texts(settings.clone(), &about(Reason::Opened))[..] else { panic!("one event") };

    let found = content(text);
    assert_eq!(
        found.custom_details.as_deref(),
        Some(r#"{"z": 1.0000000000000000001, "a":"\u0000", "a": [1, 2]}"#)
    );
    assert_eq!(found.summary, "DISK at 99% on srv01");
    assert_eq!(found.source.as_deref(), Some("srv01.example.com"));
    assert_eq!(found.severity, Severity::Error);
    assert_eq!(found.client.as_deref(), Some("ElastAlert"));
    assert_eq!(found.client_url.as_deref(), Some("https://kibana.example.com/1"));
    assert_eq!(found.links.len(), 1);
    assert_eq!(found.images[0].alt.as_deref(), Some("graph"));
    let event = taken_in(text);
    assert_eq!(event.intent.dedup_key().unwrap().as_str(), "srv01/mysql");
    assert_eq!(event.sent_time.at, Some(super::at(1)));
    assert_eq!(told(settings.clone(), &about(Reason::Resolved)), ["resolve srv01/mysql"]);
    let mut unsaid = about(Reason::Opened);
    if let Some(alert) = &mut unsaid.about {
        (alert.custom_details, alert.client, alert.client_url) = (None, None, None);
        alert.links = raw("[]");
    }
    let event = &events(settings, &unsaid)[0];
    for absent in ["client", "client_url", "links"] {
        assert_eq!(event.get(absent), None, "{absent}");
    }
    assert_eq!(event["payload"].get("custom_details"), None);
}

#[test]
fn our_own_entrance_takes_whatever_is_sent() {
    let mut odd = message(Reason::Opened);
    odd.incident.title = "é".repeat(2000);
    odd.alerts[1].source = "  ".to_owned();
    let cut = content(&texts(json!({}), &odd)[0]);
    assert_eq!(cut.summary, "é".repeat(1024));
    assert_eq!(cut.source.as_deref(), Some("dutygate"));

    odd.incident.title = " ".to_owned();
    odd.alerts.clear();
    let bare = content(&texts(json!({}), &odd)[0]);
    assert_eq!(bare.summary, "Incident #42");
    assert_eq!(bare.source.as_deref(), Some("payments"));

    for reason in Reason::ALL {
        for text in texts(json!({}), &Message { wakes: true, ..message(*reason) }) {
            assert!(taken_in(&text).intent.dedup_key().is_some(), "{reason}");
        }
    }
}

#[test]
fn it_is_known_beforehand_how_many_events_a_message_is() {
    for reason in Reason::ALL {
        for (first, wakes) in [(false, false), (false, true), (true, false), (true, true)] {
            let events = texts(json!({}), &Message { first, wakes, ..message(*reason) }).len();

            let requests = notifier(json!({})).requests(*reason, first, wakes);
            assert_eq!(usize::try_from(requests), Ok(events), "{reason} {first} {wakes}");
        }
    }
}

#[test]
fn what_is_too_large_loses_its_details_first() {
    let mut large = about(Reason::Opened);
    let alert = large.about.as_mut().unwrap();
    alert.custom_details = Some(raw(&json!({"log": "x".repeat(512_000)}).to_string()));
    for settings in [json!({"passthrough": true}), json!({"per_alert": true})] {
        let event = &events(settings, &large)[0];
        let details = event["payload"]["custom_details"].as_object().unwrap();
        assert!(details["error"].as_str().unwrap().contains("512KB"), "{details:?}");
        assert_eq!(details.len(), 1);
        assert_eq!(event["images"].as_array().unwrap().len(), 1, "all else is there");
    }

    let alert = large.about.as_mut().unwrap();
    alert.component = Some("ö".repeat(300_000));
    let text = &texts(json!({"passthrough": true}), &large)[0];
    assert!(text.len() < 512_000 && text.len() < MAX_BODY_BYTES);
    assert_eq!(content(text).component, Some("ö".repeat(1024)));
}
