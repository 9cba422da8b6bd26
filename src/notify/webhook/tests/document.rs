//! The document that is ours.

use serde_json::{Value, json};

use super::body;
use crate::{
    domain::{notify::Reason, time::Span},
    notify::{
        Message,
        tests::message::{alert, message, of_thirty, resolved, update},
    },
    store::query::views::raw,
};

fn document(message: &Message) -> Value {
    serde_json::from_str(&body(&json!({}), message).unwrap()).unwrap()
}

#[test]
fn it_says_what_happened_with_the_incident_and_its_alerts_as_the_api_shows_them() {
    let message = message();

    let document = document(&message);

    assert_eq!(document["type"], "incident.opened");
    assert_eq!(document["timestamp"], "2026-11-20T10:11:12.345Z");
    assert_eq!(document["version"], 1);
    let data = &document["data"];
    assert_eq!(data["reason"], "opened");
    assert_eq!(data["first"], true);
    assert_eq!(data["receiver"], "hook");
    assert_eq!(data["url"], message.incident_url());
    assert_eq!(data["incident"], serde_json::to_value(&message.incident).unwrap());
    assert_eq!(data["alerts"], serde_json::to_value(&message.alerts).unwrap());
    assert!(data.get("late_by").is_none() && data.get("alert").is_none());
}

#[test]
fn custom_details_are_as_they_were_sent() {
    let mut message = message();
    let details = r#"{"z":1.10,"a":10000000000000000000001,"nul":"\u0000"}"#;
    message.alerts[0].custom_details = Some(raw(details));

    assert!(body(&json!({}), &message).unwrap().contains(details));
}

#[test]
fn its_type_is_the_reason_and_the_beginning_of_what_was_never_heard_of() {
    for reason in Reason::ALL {
        let known = match reason {
            Reason::Test => "receiver.test".to_owned(),
            reason => format!("incident.{reason}"),
        };
        let unknown = match reason {
            Reason::Test | Reason::Resolved => known.clone(),
            _ => "incident.opened".to_owned(),
        };

        assert_eq!(document(&update(*reason))["type"], known);
        let first = document(&Message { first: true, ..update(*reason) });
        assert_eq!(first["type"], unknown);
        assert_eq!(first["data"]["reason"], reason.as_str());
    }
}

#[test]
fn it_says_how_late_it_is_and_which_alert_it_is_about() {
    let mut message = resolved();
    message.late = Some(Span::from_secs(7200));
    message.about = Some(alert(1));

    let document = document(&message);

    assert_eq!(document["data"]["late_by"], "2h");
    assert_eq!(document["data"]["alert"]["dedup_key"], "db-1/disk");
    assert_eq!(document["data"]["incident"]["status"], "resolved");
}

#[test]
fn what_is_too_large_loses_alerts_from_the_end() {
    let mut message = of_thirty(Reason::Storm);
    for alert in &mut message.alerts {
        alert.custom_details = Some(raw(&json!("x".repeat(100_000)).to_string()));
    }

    let body = body(&json!({}), &message).unwrap();

    assert!(body.len() <= 512 * 1024, "{}", body.len());
    let document: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(document["data"]["alerts"].as_array().unwrap().len(), 5);
    assert_eq!(document["data"]["incident"]["alert_count"], 30);
}

#[test]
fn a_single_alert_that_is_too_large_loses_its_details() {
    let mut message = message();
    message.alerts[0].custom_details = Some(raw(&json!("x".repeat(530_000)).to_string()));
    message.about = Some(alert(1));

    let body = body(&json!({}), &message).unwrap();

    assert!(body.len() <= 512 * 1024, "{}", body.len());
    let document: Value = serde_json::from_str(&body).unwrap();
    let left_out = document["data"]["alerts"][0]["custom_details"]["error"].as_str().unwrap();
    assert!(left_out.contains("left out"), "{left_out}");
    assert_eq!(document["data"]["alerts"][0]["summary"], message.alerts[0].summary);
    assert_eq!(document["data"]["alert"]["custom_details"]["zoom"], 1.1);
}
