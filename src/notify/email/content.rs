//! What a mail says: subject, text and HTML, of one page of facts.

use std::sync::LazyLock;

use minijinja::{Environment, Error, value::Serde};
use serde::Serialize;
use serde_json::Value;

use super::{
    details::{Details, Fact, facts},
    words::{duration, moment, name_of, one_line, reason, shortened, state},
};
use crate::{
    domain::{alert::Status, event::Severity, notify::Reason},
    notify::Message,
    store::query::views::AlertView,
};

/// Most alerts that are listed.
const ALERTS_SHOWN: usize = 10;
/// Longest title in a subject, in characters: mail programs show fewer.
const SUBJECT_CHARS: usize = 200;
/// Longest summary or title, in characters.
const TEXT_CHARS: usize = 1024;
/// Most links to what the sender names.
const LINKS_SHOWN: usize = 10;

/// By the ends of their names it is known what is escaped how.
const HTML: &str = "message.html";
const TEXT: &str = "message.txt";

static TEMPLATES: LazyLock<Result<Environment<'static>, Error>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.add_template(HTML, include_str!("../../../templates/email/message.html"))?;
    environment.add_template(TEXT, include_str!("../../../templates/email/message.txt"))?;
    Ok(environment)
});

/// A mail without its addresses.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

#[derive(Serialize)]
struct Page {
    subject: String,
    state: String,
    color: Color,
    title: String,
    number: i64,
    service: String,
    reason: String,
    late: Option<String>,
    facts: Vec<Fact>,
    alerts: Vec<Row>,
    /// So many alerts more there are.
    more: i64,
    alert: Option<Single>,
    links: Vec<Link>,
    url: String,
    receiver: String,
    test: bool,
}

/// One of several alerts.
#[derive(Serialize)]
struct Row {
    severity: Severity,
    status: Status,
    color: Color,
    summary: String,
    source: String,
    at: String,
}

/// The only alert.
#[derive(Serialize)]
struct Single {
    /// If it is not the title already.
    summary: Option<String>,
    facts: Vec<Fact>,
    details: Details,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Link {
    href: String,
    text: String,
}

/// Of a badge: on paper, and the same in the dark, where it has to be lighter to be read.
#[derive(Clone, Copy, Serialize)]
struct Color {
    name: &'static str,
    background: &'static str,
    text: &'static str,
}

const RED: Color = Color { name: "red", background: "#fde8e7", text: "#b42318" };
const ORANGE: Color = Color { name: "orange", background: "#ffedde", text: "#b54708" };
const YELLOW: Color = Color { name: "yellow", background: "#fdf3cd", text: "#8a5a00" };
const BLUE: Color = Color { name: "blue", background: "#e5effd", text: "#1d5bbf" };
const GREEN: Color = Color { name: "green", background: "#dff5e5", text: "#18713a" };
const GREY: Color = Color { name: "grey", background: "#eceef2", text: "#4b5566" };

impl Color {
    fn of(severity: Severity) -> Self {
        match severity {
            Severity::Critical => RED,
            Severity::Error => ORANGE,
            Severity::Warning => YELLOW,
            Severity::Info => BLUE,
        }
    }
}

/// Writes the mail. `Err` never happens with the templates that are built in.
pub(super) fn write(message: &Message) -> Result<Content, String> {
    let page = page(message);
    let templates = TEMPLATES.as_ref().map_err(ToString::to_string)?;
    let page = minijinja::Value::from(Serde(&page));
    let render = |name: &str| {
        let template = templates.get_template(name)?;
        template.render(page.clone())
    };
    let in_words = |error: Error| format!("the mail cannot be written: {error}");
    Ok(Content {
        subject: page.get_attr("subject").map_err(in_words)?.to_string(),
        text: render(TEXT).map_err(in_words)?,
        html: render(HTML).map_err(in_words)?,
    })
}

fn page(message: &Message) -> Page {
    let incident = &message.incident;
    let all = message.about.as_ref().map_or(&message.alerts[..], std::slice::from_ref);
    let single = match all {
        [alert] if message.about.is_some() || incident.alert_count <= 1 => Some(alert),
        _ => None,
    };
    let shown = if single.is_some() { 0 } else { all.len().min(ALERTS_SHOWN) };
    let more = match single {
        Some(_) => 0,
        None => incident.alert_count - i64::try_from(shown).unwrap_or(0),
    };
    let test = message.reason == Reason::Test;
    let state = state(message);
    let title = one_line(&incident.title);
    Page {
        subject: format!("[{state}] {} (#{})", shortened(&title, SUBJECT_CHARS), incident.number),
        color: match state.as_str() {
            "RESOLVED" => GREEN,
            "ACKNOWLEDGED" | "TEST" => GREY,
            _ => Color::of(incident.severity),
        },
        state,
        title: shortened(&title, TEXT_CHARS),
        number: incident.number,
        service: incident.service.clone(),
        reason: reason(message),
        late: message.late.map(|late| {
            format!("{} late: it was to be sent at {}.", duration(late), moment(message.at))
        }),
        facts: incident_facts(message, single.is_some()),
        alerts: all[..shown].iter().map(Row::of).collect(),
        more: more.max(0),
        alert: single.map(|alert| Single::of(alert, &title)),
        links: single.map(links).unwrap_or_default(),
        // What is made up for a test has no page.
        url: if test { message.base_url.clone() } else { message.incident_url() },
        receiver: message.receiver.clone(),
        test,
    }
}

fn incident_facts(message: &Message, single: bool) -> Vec<Fact> {
    let incident = &message.incident;
    let mut facts = vec![Fact::new("Service", &incident.service)];
    let mut severity = incident.severity.to_string();
    if incident.max_severity > incident.severity {
        severity = format!("{severity}, was {}", incident.max_severity);
    }
    facts.push(Fact::new("Severity", severity));
    facts.push(Fact::new("Status", incident.status.as_str()));
    if !single {
        let (open, all) = (incident.open_alert_count, incident.alert_count);
        facts.push(Fact::new("Alerts", format!("{open} open of {all}")));
    }
    if incident.event_count > 1 {
        facts.push(Fact::new("Events", incident.event_count.to_string()));
    }
    facts.extend(incident.group_key.as_ref().and_then(|key| grouped_by(key.get())));
    facts.push(Fact::new("Opened", moment(incident.created_at)));
    if let Some(at) = incident.acknowledged_at.filter(|_| incident.status != Status::Resolved) {
        let by = incident.acknowledged_by.as_deref().map(|by| format!(", by {}", name_of(by)));
        facts.push(Fact::new("Acknowledged", moment(at) + &by.unwrap_or_default()));
    }
    facts.extend(incident.resolved_at.map(|at| Fact::new("Resolved", moment(at))));
    facts.extend(incident.assignee.as_ref().map(|who| Fact::new("Assignee", who)));
    facts
}

/// `{"rule", "values": {…}}` in words.
fn grouped_by(key: &str) -> Option<Fact> {
    let key: Value = serde_json::from_str(key).ok()?;
    let values = key.get("values").filter(|values| values.is_object())?.to_string();
    let pairs = facts(&values).into_iter().map(|Fact { name, value }| format!("{name} = {value}"));
    let pairs: Vec<String> = pairs.collect();
    (!pairs.is_empty())
        .then(|| Fact::new("Grouped by", shortened(&one_line(&pairs.join(", ")), 500)))
}

impl Row {
    fn of(alert: &AlertView) -> Self {
        let resolved = alert.status == Status::Resolved;
        Self {
            severity: alert.severity,
            status: alert.status,
            color: if resolved { GREEN } else { Color::of(alert.severity) },
            summary: shortened(&one_line(&alert.summary), TEXT_CHARS),
            source: shortened(&one_line(&alert.source), 200),
            at: moment(alert.first_event_at),
        }
    }
}

impl Single {
    fn of(alert: &AlertView, title: &str) -> Self {
        let summary = shortened(&one_line(&alert.summary), TEXT_CHARS);
        let fields = [
            ("Source", Some(&alert.source)),
            ("Component", alert.component.as_ref()),
            ("Group", alert.group.as_ref()),
            ("Class", alert.class.as_ref()),
            ("Integration", Some(&alert.integration)),
            ("Key", Some(&alert.dedup_key)),
        ];
        let mut all: Vec<Fact> = fields
            .into_iter()
            .filter_map(|(name, value)| Some(Fact::new(name, shortened(value?, 500))))
            .collect();
        all.extend(facts(alert.labels.get()));
        Self {
            summary: (summary != title).then_some(summary),
            facts: all,
            details: alert
                .custom_details
                .as_ref()
                .map(|details| Details::of(details.get()))
                .unwrap_or_default(),
        }
    }
}

/// What the sender links to, as far as a mail may: a link may be anything, also a script.
fn links(alert: &AlertView) -> Vec<Link> {
    let own: Vec<Value> = serde_json::from_str(alert.links.get()).unwrap_or_default();
    let text = |link: &Value, name: &str| link.get(name)?.as_str().map(str::to_owned);
    let own = own.iter().filter_map(|link| Some((text(link, "href")?, text(link, "text"))));
    let client = alert.client_url.clone().map(|href| (href, alert.client.clone()));
    let mut links = Vec::<Link>::new();
    for (href, text) in client.into_iter().chain(own) {
        let scheme = href.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let allowed = ["http", "https", "mailto"].contains(&scheme.as_str())
            && !href.contains(char::is_control)
            && href.len() <= 2048;
        if allowed && links.len() < LINKS_SHOWN && links.iter().all(|link| link.href != href) {
            let text = text.filter(|text| !text.trim().is_empty()).unwrap_or_else(|| href.clone());
            links.push(Link { href, text: shortened(&one_line(&text), 200) });
        }
    }
    links
}
