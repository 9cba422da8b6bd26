//! PagerDuty's notifier: what it says, and how it takes what comes back.

mod events;
mod sending;

use serde_json::{Map, Value, json};

use super::PagerDuty;
use crate::{
    domain::{
        alert::Status,
        event::Severity,
        id::{AlertId, DeliveryId, IncidentId, IntegrationId, ServiceId},
        notify::Reason,
        time::Timestamp,
    },
    notify::{Guard, Http, Message, Notifier as _, secret::Secrets},
    store::query::views::{AlertView, IncidentView, raw},
};

const KEY: &str = "R0123456789abcdef0123456789abcde";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_763_632_272_000 + seconds * 1000)
}

fn notifier(settings: Value) -> PagerDuty {
    rustls::crypto::ring::default_provider().install_default().ok();
    let Value::Object(mut settings) = settings else { panic!("{settings}") };
    settings.insert("routing_key_env".into(), "PD_KEY".into());
    let http = Http::new(Guard::new(false)).unwrap();
    PagerDuty::new(&settings, &environment(), &http).unwrap()
}

fn environment() -> Secrets {
    Secrets::new(|name| (name == "PD_KEY").then(|| KEY.to_owned()))
}

fn alert(seq: i64) -> AlertView {
    AlertView {
        id: AlertId::new(at(0), seq, 7),
        integration_id: IntegrationId::new(at(0), 1, 7),
        integration: "elastalert-prod".to_owned(),
        service_id: ServiceId::new(at(0), 1, 7),
        service: "payments".to_owned(),
        dedup_key: format!("srv{seq:02}/mysql"),
        status: Status::Triggered,
        severity: Severity::Error,
        max_severity: Severity::Critical,
        summary: format!("DISK at 99% on srv{seq:02}"),
        source: format!("srv{seq:02}.example.com"),
        component: Some("mysql".to_owned()),
        group: Some("prod-datapipe".to_owned()),
        class: Some("disk".to_owned()),
        custom_details: Some(raw(r#"{"z": 1.0000000000000000001, "a":"\u0000", "a": [1, 2]}"#)),
        client: Some("ElastAlert".to_owned()),
        client_url: Some("https://kibana.example.com/1".to_owned()),
        links: raw(r#"[{"href":"https://wiki.example.com","text":"Runbook"}]"#),
        images: raw(r#"[{"src":"https://g.example.com/1.png","href":null,"alt":"graph"}]"#),
        labels: raw(r#"{"team":"core"}"#),
        event_count: 3,
        event_at: at(seq),
        first_event_at: at(seq),
        last_event_at: at(seq),
        acknowledged_at: None,
        resolved_at: None,
        incident_id: Some(incident().id),
        suppressed_by: Vec::new(),
        flapping: false,
        muted_until: None,
        paused_until: None,
    }
}

fn incident() -> IncidentView {
    IncidentView {
        id: IncidentId::new(at(0), 42, 7),
        number: 42,
        service_id: ServiceId::new(at(0), 1, 7),
        service: "payments".to_owned(),
        title: "DISK at 99% on srv01".to_owned(),
        status: Status::Triggered,
        severity: Severity::Critical,
        max_severity: Severity::Critical,
        alert_count: 2,
        open_alert_count: 2,
        event_count: 6,
        group_key: Some(raw(r#"{"rule":"r","values":{"class":"disk"}}"#)),
        flapping: false,
        storm: None,
        created_at: at(0),
        last_alert_at: at(2),
        acknowledged_at: None,
        acknowledged_by: None,
        snoozed_until: None,
        resolved_at: None,
        assignee: None,
        holdings: Vec::new(),
    }
}

/// An incident of two alerts, the newer one first.
fn message(reason: Reason) -> Message {
    Message {
        delivery: DeliveryId::new(at(0), 9, 7),
        reason,
        at: at(5),
        late: None,
        first: reason == Reason::Opened,
        wakes: false,
        receiver: "pagerduty-main".to_owned(),
        incident: incident(),
        alerts: vec![alert(2), alert(1)],
        about: None,
        base_url: "https://duty.example.com".to_owned(),
    }
}

/// The events that a notifier with these settings makes of a message, as text.
fn texts(settings: Value, message: &Message) -> Vec<String> {
    let composed = notifier(settings).compose(message).unwrap();
    let texts = composed.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned());
    texts.collect()
}

fn events(settings: Value, message: &Message) -> Vec<Value> {
    texts(settings, message).iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

/// `action key` of each event.
fn told(settings: Value, message: &Message) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let events = events(settings, message);
    let line =
        |event: &Value| format!("{} {}", text(&event["event_action"]), text(&event["dedup_key"]));
    events.iter().map(line).collect()
}

#[test]
fn a_key_that_is_not_there_is_missed_by_name() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let http = Http::new(Guard::new(false)).unwrap();
    let new = |settings: Value| {
        let settings: Map<String, Value> = settings.as_object().unwrap().clone();
        PagerDuty::new(&settings, &environment(), &http).map(|_| ())
    };

    let gone = new(json!({"routing_key_env": "OLD_KEY"})).unwrap_err();

    assert!(gone.contains("routing_key") && gone.contains("OLD_KEY"), "{gone}");
    assert_eq!(new(json!({"routing_key_env": "PD_KEY"})), Ok(()));
}
