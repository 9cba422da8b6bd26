//! A message to compose from, with everything that one may have.

use serde_json::{Value, json};

use crate::{
    domain::{
        alert::Status,
        event::Severity,
        id::{AlertId, DeliveryId, IncidentId, IntegrationId, RuleId, ServiceId},
        notify::Reason,
        time::{Span, Timestamp},
    },
    notify::{Attempt, Message},
    store::query::views::{AlertView, IncidentView, raw},
};

/// 2026-11-20T10:11:12.345Z.
pub(in crate::notify) const NOW: Timestamp = Timestamp::from_millis(1_795_169_472_345);

pub(in crate::notify) fn delivery() -> DeliveryId {
    DeliveryId::new(NOW, 7, 9)
}

/// An incident of one critical alert, told as opened.
pub(in crate::notify) fn message() -> Message {
    Message {
        delivery: delivery(),
        reason: Reason::Opened,
        at: NOW,
        late: None,
        first: true,
        wakes: false,
        receiver: "hook".to_owned(),
        incident: incident(),
        alerts: vec![alert(1)],
        about: None,
        base_url: "https://duty.example.com".to_owned(),
    }
}

/// An update of what the receiver knows.
pub(in crate::notify) fn update(reason: Reason) -> Message {
    Message { reason, first: false, ..message() }
}

/// It is over, after twelve minutes.
pub(in crate::notify) fn resolved() -> Message {
    let mut message = update(Reason::Resolved);
    let ended = Some(NOW.plus(Span::from_secs(12 * 60)));
    message.incident.status = Status::Resolved;
    message.incident.resolved_at = ended;
    message.incident.open_alert_count = 0;
    for alert in &mut message.alerts {
        alert.status = Status::Resolved;
        alert.resolved_at = ended;
    }
    message
}

/// One of thirty alerts, most of them open.
pub(in crate::notify) fn of_thirty(reason: Reason) -> Message {
    let mut message = update(reason);
    message.alerts = (1..=30).map(alert).collect();
    for (at, alert) in message.alerts.iter_mut().enumerate() {
        alert.severity = [Severity::Critical, Severity::Error, Severity::Warning][at % 3];
    }
    message.incident.alert_count = 30;
    message.incident.open_alert_count = 28;
    message.incident.event_count = 412;
    let rule = RuleId::new(NOW, 5, 5);
    let key = json!({"rule": rule, "values": {"class": "disk", "group": "prod-datapipe"}});
    message.incident.group_key = Some(raw(&key.to_string()));
    message
}

fn incident() -> IncidentView {
    IncidentView {
        id: IncidentId::new(NOW, 42, 4),
        number: 42,
        service_id: ServiceId::new(NOW, 2, 2),
        service: "payments".to_owned(),
        title: "DISK at 99 % on db-1: \"数据库磁盘\" is full".to_owned(),
        status: Status::Triggered,
        severity: Severity::Critical,
        max_severity: Severity::Critical,
        alert_count: 1,
        open_alert_count: 1,
        event_count: 3,
        group_key: None,
        flapping: false,
        storm: None,
        created_at: NOW,
        last_alert_at: NOW,
        acknowledged_at: None,
        acknowledged_by: None,
        snoozed_until: None,
        resolved_at: None,
        assignee: None,
        holdings: Vec::new(),
    }
}

pub(in crate::notify) fn alert(number: i64) -> AlertView {
    let details =
        r#"{"description": "free space: 1 %\n请尽快处理", "zoom": 1.10, "mounts": ["/data"]}"#;
    AlertView {
        id: AlertId::new(NOW, number, 1),
        integration_id: IntegrationId::new(NOW, 3, 3),
        integration: "guance-hz".to_owned(),
        service_id: ServiceId::new(NOW, 2, 2),
        service: "payments".to_owned(),
        dedup_key: format!("db-{number}/disk"),
        status: Status::Triggered,
        severity: Severity::Critical,
        max_severity: Severity::Critical,
        summary: format!("DISK at 99 % on db-{number}: \"数据库磁盘\" is full"),
        source: format!("db-{number}.example.com"),
        component: Some("mysql".to_owned()),
        group: Some("prod-datapipe".to_owned()),
        class: Some("disk".to_owned()),
        custom_details: Some(raw(details)),
        client: Some("Guance observer".to_owned()),
        client_url: Some("https://console.example.com/event?a=1&b=2".to_owned()),
        links: raw(r#"[{"href":"https://wiki.example.com/disk","text":"Runbook"}]"#),
        images: raw("[]"),
        labels: raw(r#"{"host":"db-1","team.name":"core"}"#),
        event_count: 3,
        event_at: NOW,
        first_event_at: NOW,
        last_event_at: NOW,
        acknowledged_at: None,
        resolved_at: None,
        incident_id: Some(IncidentId::new(NOW, 42, 4)),
        suppressed_by: Vec::new(),
        flapping: false,
        muted_until: None,
        paused_until: None,
    }
}

/// A try of what was composed.
pub(in crate::notify) fn attempt(payload: &Value) -> Attempt<'_> {
    Attempt {
        delivery: delivery(),
        reason: Reason::Opened,
        payload,
        remote: None,
        continues: false,
        now: NOW,
    }
}
