//! Jira: one issue an incident, and never two.
//!
//! An incident's first message makes the issue, later ones comment on it, its end moves it to a
//! status that means done, and its return moves it back if it was we who closed it, else opens
//! another one that is linked with it. One write a try: what comes before the next write is stored
//! first, so that a gateway that dies in between neither repeats nor forgets it. How that makes one
//! issue of any number of tries is in `lane`.

mod check;
mod details;
mod fields;
mod issue;
mod lane;
mod moves;
mod talk;
mod text;
mod wiki;

use std::collections::BTreeMap;

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{Url, header::HeaderValue};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use self::fields::check_fields;
use self::{
    issue::Work,
    lane::{Api, Lane},
    talk::{Patience, Site, Talk},
};
use super::{Attempt, Message, Notifier, Sent, http::Http, secret::Secrets};
use crate::domain::{event::Severity, notify::Reason, time::Span};

/// A Jira project in which incidents become issues.
#[derive(Debug)]
pub struct Jira {
    settings: Settings,
    site: Site,
}

/// The settings of the receiver but for `url`, `auth` and what every kind has.
#[derive(Debug, Deserialize)]
struct Settings {
    #[serde(default)]
    api: Option<String>,
    project: String,
    #[serde(default = "task")]
    issue_type: String,
    #[serde(default)]
    priority: BTreeMap<Severity, String>,
    #[serde(default)]
    assignee: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    components: Vec<String>,
    #[serde(default)]
    fields: Map<String, Value>,
    #[serde(default)]
    transitions: Transitions,
    #[serde(default = "a_week")]
    reopen_within: Span,
    #[serde(default)]
    allowed_hosts: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Transitions {
    resolve: Option<String>,
    reopen: Option<String>,
}

/// The type that every Jira has.
fn task() -> String {
    "Task".to_owned()
}

fn a_week() -> Span {
    Span::from_secs(7 * 86_400)
}

/// What a message is to Jira.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Act {
    /// There is to be an open issue of it.
    Introduce,
    Comment,
    Resolve,
    Test,
}

/// What is composed of a message: all that may have to be written, whichever it turns out to be.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    act: Act,
    /// By which the issues of the incident are found.
    label: String,
    /// Of an issue to be made, but for what depends on the API and on which issue it is.
    fields: Map<String, Value>,
    comment: String,
    /// What tells this comment from the others.
    mark: String,
}

impl Jira {
    pub fn new(
        settings: &Map<String, Value>,
        secrets: &Secrets,
        http: &Http,
    ) -> Result<Self, String> {
        let url = settings.get("url").and_then(Value::as_str).unwrap_or_default();
        let url = Url::parse(url).map_err(|error| format!("url is no address: {error}"))?;
        let none = Map::new();
        let auth = settings.get("auth").and_then(Value::as_object).unwrap_or(&none);
        let user = auth.get("user").and_then(Value::as_str);
        let secret = secrets.required(auth, if user.is_some() { "password" } else { "bearer" })?;
        let mut secrets = vec![secret.clone()];
        let authorization = match (user, secret.expose_secret()) {
            (Some(user), password) => {
                let credential = BASE64_STANDARD.encode(format!("{user}:{password}"));
                let authorization = format!("Basic {credential}");
                secrets.push(credential.into());
                authorization
            }
            (None, token) => format!("Bearer {token}"),
        };
        let mut authorization = HeaderValue::from_str(&authorization).map_err(|_| {
            "the secret of auth holds what cannot be sent: a line break?".to_owned()
        })?;
        authorization.set_sensitive(true);
        let settings: Settings = Settings::deserialize(settings)
            .map_err(|error| format!("the settings cannot be read: {error}"))?;
        let allowed_hosts = settings.allowed_hosts.clone();
        let patience = Patience::DEFAULT;
        let http = http.clone();
        let site = Site { http, url, authorization, secrets, allowed_hosts, patience };
        Ok(Self { settings, site })
    }

    /// The API that the settings name; `None`: Jira is to be asked.
    fn api(&self) -> Option<Api> {
        match self.settings.api.as_deref() {
            Some("cloud") => Some(Api::Cloud),
            Some("datacenter") => Some(Api::DataCenter),
            _ => None,
        }
    }

    /// The fields of an issue, but for its assignee and the label that tells which one it is.
    fn fields(&self, message: &Message) -> Result<Map<String, Value>, String> {
        let settings = &self.settings;
        let named = |name: &String| json!({"name": name});
        let context = json!({
            "incident": message.incident,
            "alerts": message.alerts,
            "alert": message.about.as_ref().or(message.alerts.first()),
            "url": message.incident_url(),
        });
        let mut fields = Map::new();
        fields.insert("description".to_owned(), text::description(message).into());
        if let Some(priority) = settings.priority.get(&message.incident.severity) {
            fields.insert("priority".to_owned(), named(priority));
        }
        if !settings.components.is_empty() {
            let components = settings.components.iter().map(named).collect();
            fields.insert("components".to_owned(), components);
        }
        fields.extend(fields::render(&settings.fields, &context)?);
        let summary = fields.get("summary").and_then(Value::as_str);
        let summary = text::summary(summary.unwrap_or(&message.incident.title));
        fields.insert("summary".to_owned(), summary.into());
        let given = fields.get("labels").and_then(Value::as_array);
        let given = given.into_iter().flatten().filter_map(Value::as_str);
        let labels = settings.labels.iter().map(String::as_str).chain(given).map(text::label);
        let labels: Value = labels.filter(|label| !label.is_empty()).collect();
        fields.insert("labels".to_owned(), labels);
        fields.insert("project".to_owned(), json!({"key": settings.project}));
        fields.insert("issuetype".to_owned(), named(&settings.issue_type));
        Ok(fields)
    }
}

#[async_trait]
impl Notifier for Jira {
    fn compose(&self, message: &Message) -> Result<Value, String> {
        let act = match message.reason {
            Reason::Test => Act::Test,
            Reason::Resolved => Act::Resolve,
            Reason::Opened | Reason::Reopened => Act::Introduce,
            _ if message.first => Act::Introduce,
            Reason::SeverityRaised
            | Reason::Storm
            | Reason::Flapping
            | Reason::Repeat
            | Reason::AlertsAdded
            | Reason::Acknowledged => Act::Comment,
        };
        let payload = Payload {
            act,
            label: format!("dutygate-{}", message.incident.id),
            fields: self.fields(message)?,
            comment: text::comment(message),
            mark: text::mark(message),
        };
        serde_json::to_value(payload).map_err(|error| error.to_string())
    }

    async fn send(&self, attempt: &Attempt<'_>) -> Sent {
        let payload = match Payload::deserialize(attempt.payload) {
            Ok(payload) => payload,
            Err(error) => return Sent::dead(format!("what was composed is unreadable: {error}")),
        };
        let mut talk = Talk::new(&self.site, attempt.now);
        if payload.act == Act::Test {
            let end = check::check(self, &mut talk, &payload).await;
            return talk.sent(end, None);
        }
        let lane = Lane::read(attempt.remote, self.site.name(), attempt.delivery, attempt.now);
        let mut work = Work { jira: self, attempt, payload: &payload, talk, lane };
        let end = work.step().await;
        let Work { talk, lane, .. } = work;
        talk.sent(end, lane.stored())
    }
}

#[cfg(test)]
mod tests;
