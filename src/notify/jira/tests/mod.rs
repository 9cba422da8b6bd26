//! The Jira notifier against a Jira in memory, told things as the outbox tells them.

mod checks;
mod issues;
mod laws;
mod model;
mod returns;
mod texts;

use serde_json::{Value, json};

use self::model::Model;
use super::Jira;
use crate::{
    domain::{
        alert::Status,
        event::Severity,
        id::{AlertId, DeliveryId, IncidentId, IntegrationId, ServiceId},
        notify::Reason,
        time::{Span, Timestamp},
    },
    notify::{
        Attempt, Guard, Message, Notifier as _, Outcome, Sent, http::Http, secret::Secrets,
        tests::server::Server,
    },
    store::query::views::{AlertView, IncidentView, raw},
};

pub(super) const START: Timestamp = Timestamp::from_millis(1_763_632_272_000);

fn environment(name: &str) -> Option<String> {
    match name {
        "JIRA_PAT" => Some("pat-secret".to_owned()),
        "JIRA_PASSWORD" => Some("pass-secret".to_owned()),
        _ => None,
    }
}

fn http() -> Http {
    rustls::crypto::ring::default_provider().install_default().ok();
    Http::new(Guard::new(true)).unwrap()
}

/// A receiver at `url` with these settings besides.
fn jira(url: &str, more: &Value) -> Jira {
    jira_by(url, more, &http())
}

fn jira_by(url: &str, more: &Value, http: &Http) -> Jira {
    let mut settings = json!({
        "url": url, "auth": {"bearer_env": "JIRA_PAT"}, "project": "OPS", "issue_type": "故障",
    });
    let all = settings.as_object_mut().unwrap();
    all.extend(more.as_object().unwrap().clone());
    Jira::new(all, &Secrets::new(environment), http).unwrap()
}

fn alert(summary: &str) -> AlertView {
    AlertView {
        id: AlertId::new(START, 1, 1),
        integration_id: IntegrationId::new(START, 1, 1),
        integration: "elastalert".to_owned(),
        service_id: ServiceId::new(START, 1, 1),
        service: "payments".to_owned(),
        dedup_key: "db-1/disk".to_owned(),
        status: Status::Triggered,
        severity: Severity::Critical,
        max_severity: Severity::Critical,
        summary: summary.to_owned(),
        source: "db-1".to_owned(),
        component: Some("mysql".to_owned()),
        group: None,
        class: Some("disk".to_owned()),
        custom_details: None,
        client: Some("ElastAlert".to_owned()),
        client_url: Some("https://kibana.example.com/".to_owned()),
        links: raw("[]"),
        images: raw("[]"),
        labels: raw(r#"{"host":"db-1"}"#),
        event_count: 1,
        event_at: START,
        first_event_at: START,
        last_event_at: START,
        acknowledged_at: None,
        resolved_at: None,
        incident_id: None,
        suppressed_by: Vec::new(),
        flapping: false,
        muted_until: None,
        paused_until: None,
    }
}

/// Message `number` of an incident of one alert.
fn message(reason: Reason, number: i64) -> Message {
    let at = START.plus(Span::from_secs(60 * u32::try_from(number).unwrap()));
    let resolved = reason == Reason::Resolved;
    Message {
        delivery: DeliveryId::new(at, number, 1),
        reason,
        at,
        late: None,
        first: matches!(reason, Reason::Opened | Reason::Reopened),
        wakes: false,
        receiver: "jira-ops".to_owned(),
        incident: IncidentView {
            id: IncidentId::new(START, 42, 1),
            number: 42,
            service_id: ServiceId::new(START, 1, 1),
            service: "payments".to_owned(),
            title: "disk 97 % full".to_owned(),
            status: if resolved { Status::Resolved } else { Status::Triggered },
            severity: Severity::Critical,
            max_severity: Severity::Critical,
            alert_count: 1,
            open_alert_count: i64::from(!resolved),
            event_count: 1,
            group_key: None,
            flapping: false,
            storm: None,
            created_at: START,
            last_alert_at: START,
            acknowledged_at: None,
            acknowledged_by: None,
            snoozed_until: None,
            resolved_at: resolved.then_some(at),
            assignee: None,
            holdings: Vec::new(),
        },
        alerts: vec![alert("disk 97 % full")],
        about: None,
        base_url: "https://duty.example.com".to_owned(),
    }
}

/// The label of that incident's issues.
fn label() -> String {
    format!("dutygate-{}", IncidentId::new(START, 42, 1))
}

/// A lane of the outbox: tells a notifier one thing after the other, keeps what it returns.
struct Lane {
    jira: Jira,
    model: Model,
    server: Server,
    remote: Option<Value>,
    /// What was told so far.
    count: i64,
    tries: usize,
    /// The tries (counted from 1) after which the process dies before anything of them is stored.
    crashes: Vec<usize>,
}

impl Lane {
    async fn new(model: &Model, settings: &Value) -> Self {
        Self::by(model, settings, &http()).await
    }

    async fn by(model: &Model, settings: &Value, http: &Http) -> Self {
        let server = model.serve().await;
        let jira = jira_by(&server.url, settings, http);
        let (remote, crashes) = (None, Vec::new());
        Self { jira, model: model.clone(), server, remote, count: 0, tries: 0, crashes }
    }

    /// Tells it until it is delivered or dead, 30 tries at most.
    async fn tell(&mut self, reason: Reason) -> Sent {
        self.count += 1;
        self.deliver(&message(reason, self.count)).await
    }

    async fn deliver(&mut self, message: &Message) -> Sent {
        let payload = self.jira.compose(message).unwrap();
        let mut continues = false;
        let mut last = None;
        for _ in 0..30 {
            let sent = self.attempt(message, &payload, continues).await;
            self.tries += 1;
            if self.crashes.contains(&self.tries) {
                self.pass(Span::from_secs(5));
                continues = false;
                continue;
            }
            self.remote = sent.remote.clone().or(self.remote.take());
            match sent.outcome {
                Outcome::Delivered | Outcome::Dead { .. } => return sent,
                Outcome::Continue { after } => {
                    continues = after == Span::ZERO;
                    self.pass(after);
                }
                Outcome::Retry { after, .. } => {
                    continues = false;
                    self.pass(after.unwrap_or(Span::from_secs(5)));
                }
            }
            last = Some(sent);
        }
        last.unwrap()
    }

    async fn attempt(&self, message: &Message, payload: &Value, continues: bool) -> Sent {
        let attempt = Attempt {
            delivery: message.delivery,
            reason: message.reason,
            payload,
            remote: self.remote.as_ref(),
            continues,
            now: self.now(),
        };
        self.jira.send(&attempt).await
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.model.state().now_ms)
    }

    fn pass(&self, span: Span) {
        self.model.state().now_ms += span.as_millis();
    }

    /// The keys of all issues, with their status.
    fn issues(&self) -> Vec<(String, &'static str)> {
        let state = self.model.state();
        state.issues.iter().map(|issue| (issue.key.clone(), issue.status)).collect()
    }
}
