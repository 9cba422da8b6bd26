//! The document of Alertmanager, as its readers take it.

use serde_json::{Value, json};

use super::{body, webhook};
use crate::{
    domain::{event::Severity, notify::Reason, time::Span},
    notify::{
        Message, Notifier as _, Outcome,
        tests::message::{alert, attempt, message, of_thirty, resolved, update},
    },
    store::query::views::raw,
};

fn document(message: &Message) -> Value {
    let settings = json!({"format": "alertmanager"});
    serde_json::from_str(&body(&settings, message).unwrap()).unwrap()
}

#[test]
fn it_has_all_that_alertmanager_sends() {
    let message = message();

    let document = document(&message);

    let group_key = format!("{{}}:{{incident=\"{}\"}}", message.incident.id);
    let summary = &message.alerts[0].summary;
    let labels = json!({
        "alertname": "disk", "severity": "critical", "instance": "db-1.example.com",
        "source": "db-1.example.com", "service": "payments", "integration": "guance-hz",
        "component": "mysql", "group": "prod-datapipe", "class": "disk", "incident": "42",
        "host": "db-1", "team_name": "core",
    });
    let annotations = json!({
        "summary": summary, "description": "free space: 1 %\n请尽快处理",
        "incident_url": message.incident_url(),
    });
    assert_eq!(
        document,
        json!({
            "version": "4", "groupKey": group_key, "truncatedAlerts": 0, "status": "firing",
            "receiver": "hook", "externalURL": "https://duty.example.com",
            "groupLabels": {"alertname": "disk", "service": "payments", "incident": "42"},
            "commonLabels": labels, "commonAnnotations": annotations,
            "alerts": [{
                "status": "firing", "labels": labels, "annotations": annotations,
                "startsAt": "2026-11-20T10:11:12.345Z", "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "https://console.example.com/event?a=1&b=2",
                "fingerprint": document["alerts"][0]["fingerprint"],
            }],
        })
    );
    let fingerprint = document["alerts"][0]["fingerprint"].as_str().unwrap();
    assert!(fingerprint.len() == 16 && fingerprint.bytes().all(|b| b.is_ascii_hexdigit()));
}

#[test]
fn the_end_names_the_same_alerts_and_when_they_ended() {
    let (opened, resolved) = (document(&message()), document(&resolved()));

    assert_eq!(resolved["status"], "resolved");
    assert_eq!(resolved["groupKey"], opened["groupKey"]);
    let (before, after) = (&opened["alerts"][0], &resolved["alerts"][0]);
    assert_eq!(after["status"], "resolved");
    assert_eq!(after["endsAt"], "2026-11-20T10:23:12.345Z");
    assert_eq!(after["fingerprint"], before["fingerprint"]);
    assert_eq!(after["labels"], before["labels"]);
}

#[test]
fn an_alert_that_ended_before_its_incident_is_told_as_resolved_among_firing_ones() {
    let mut message = of_thirty(Reason::AlertsAdded);
    message.alerts.truncate(2);
    message.alerts[1].status = crate::domain::alert::Status::Resolved;
    message.alerts[1].resolved_at = Some(message.at.plus(Span::from_secs(1)));

    let document = document(&message);

    assert_eq!(document["status"], "firing");
    assert_eq!(document["alerts"][0]["status"], "firing");
    assert_eq!(document["alerts"][1]["status"], "resolved");
    assert_eq!(document["truncatedAlerts"], 28);
}

#[test]
fn what_alerts_have_in_common_is_what_all_of_them_have() {
    let mut message = of_thirty(Reason::Storm);
    message.alerts[2].class = None;

    let document = document(&message);

    assert_eq!(document["groupLabels"], json!({"service": "payments", "incident": "42"}));
    assert_eq!(document["commonLabels"]["component"], "mysql");
    assert!(document["commonLabels"].get("severity").is_none());
    assert!(document["commonAnnotations"].get("summary").is_none());
    assert_eq!(document["alerts"][2]["labels"]["alertname"], message.alerts[2].summary);
}

#[test]
fn labels_have_legal_names_and_never_hide_ours() {
    let mut message = message();
    message.alerts[0].labels = raw(r#"{"severity":"P1","1st":"x","地区":"杭州","n":3}"#);
    message.alerts[0].severity = Severity::Warning;

    let document = document(&message);

    let labels = &document["alerts"][0]["labels"];
    assert_eq!(labels["severity"], "warning");
    assert_eq!(labels["exported_severity"], "P1");
    assert_eq!(labels["_1st"], "x");
    assert_eq!(labels["__"], "杭州");
    assert_eq!(labels["n"], "3");
}

#[test]
fn the_description_is_in_words_if_there_are_any() {
    for (details, description) in [
        (r#""free space: 1 %""#, json!("free space: 1 %")),
        (r#"{"a":1.10}"#, json!(r#"{"a":1.10}"#)),
        ("{}", Value::Null),
        ("null", Value::Null),
    ] {
        let mut message = message();
        message.alerts[0].custom_details = Some(raw(details));

        let document = document(&message);

        assert_eq!(document["alerts"][0]["annotations"]["description"], description, "{details}");
    }
}

#[test]
fn only_addresses_of_the_web_are_the_source() {
    let mut message = message();
    message.alerts[0].client_url = Some("javascript:alert(1)".to_owned());
    assert_eq!(document(&message)["alerts"][0]["generatorURL"], "https://wiki.example.com/disk");

    message.alerts[0].links = raw("[]");
    assert_eq!(document(&message)["alerts"][0]["generatorURL"], message.incident_url());
}

#[test]
fn one_that_is_about_one_alert_has_that_one() {
    let mut message = of_thirty(Reason::Opened);
    message.about = Some(alert(7));

    let document = document(&message);

    assert_eq!(document["alerts"].as_array().unwrap().len(), 1);
    assert_eq!(document["alerts"][0]["labels"]["instance"], "db-7.example.com");
    assert_eq!(document["truncatedAlerts"], 0);
}

#[tokio::test]
async fn what_alertmanager_has_no_word_for_is_not_sent_and_said_so() {
    let settings = json!({"format": "alertmanager", "url": "https://name.invalid/"});
    let webhook = webhook(&settings).unwrap();

    let payload = webhook.compose(&update(Reason::Acknowledged)).unwrap();
    let sent = webhook.send(&attempt(&payload)).await;

    assert_eq!(sent.outcome, Outcome::Delivered);
    assert!(sent.answer.contains("nothing was sent"), "{}", sent.answer);
    let first = Message { first: true, ..update(Reason::Acknowledged) };
    assert_eq!(document(&first)["status"], "firing");
}
