//! What a test of a receiver tells: an incident that there never was.

use crate::{
    domain::{
        alert::Status,
        event::Severity,
        id::{AlertId, IncidentId, IntegrationId, ServiceId},
        time::Timestamp,
    },
    store::{
        outbox::{Leased, Subject},
        query::views::{AlertView, IncidentView, raw},
    },
};

const TITLE: &str = "Test of dutygate: if you can read this, the receiver works";

/// What a test is about.
pub(super) fn subject(leased: &Leased, now: Timestamp) -> Subject {
    let id = leased.id.uuid();
    let (incident_id, service_id) = (IncidentId::from_uuid(id), ServiceId::from_uuid(id));
    let incident = IncidentView {
        id: incident_id,
        number: 0,
        service_id,
        service: "dutygate".to_owned(),
        title: TITLE.to_owned(),
        status: Status::Triggered,
        severity: Severity::Info,
        max_severity: Severity::Info,
        alert_count: 1,
        open_alert_count: 1,
        event_count: 1,
        group_key: None,
        flapping: false,
        storm: None,
        created_at: now,
        last_alert_at: now,
        acknowledged_at: None,
        acknowledged_by: None,
        snoozed_until: None,
        resolved_at: None,
        assignee: None,
        holdings: Vec::new(),
    };
    let alert = AlertView {
        id: AlertId::from_uuid(id),
        integration_id: IntegrationId::from_uuid(id),
        integration: "dutygate".to_owned(),
        service_id,
        service: "dutygate".to_owned(),
        dedup_key: format!("dutygate:test:{id}"),
        status: Status::Triggered,
        severity: Severity::Info,
        max_severity: Severity::Info,
        summary: TITLE.to_owned(),
        source: "dutygate".to_owned(),
        component: None,
        group: None,
        class: Some("test".to_owned()),
        custom_details: Some(raw(
            r#"{"description":"Nothing is wrong. Somebody tests this receiver."}"#,
        )),
        client: Some("dutygate".to_owned()),
        client_url: None,
        links: raw("[]"),
        images: raw("[]"),
        labels: raw("{}"),
        event_count: 1,
        event_at: now,
        first_event_at: now,
        last_event_at: now,
        acknowledged_at: None,
        resolved_at: None,
        incident_id: Some(incident_id),
        suppressed_by: Vec::new(),
        flapping: false,
        muted_until: None,
        paused_until: None,
    };
    Subject { incident, alerts: vec![alert], about: None }
}
