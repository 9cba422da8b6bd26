//! What an issue and its comments say: wiki markup made of a [`Message`].

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{details::Details, wiki};
use crate::{
    domain::{
        alert::Status,
        notify::Reason,
        time::{Span, Timestamp},
    },
    notify::Message,
    store::query::views::AlertView,
};

/// Longest summary, in UTF-16 units. Source: Jira, "The summary can't exceed 255 characters".
pub(super) const SUMMARY_MAX: usize = 255;
/// Longest description or comment, in UTF-16 units. Source: Jira, advanced setting
/// `jira.text.field.character.limit`, whose default it is; Cloud has it fixed.
pub(super) const TEXT_MAX: usize = 32_767;
/// Of the sender's own words, so that the facts behind them still have room.
const OWN_MAX: usize = 20_000;
/// Most alerts that are named one by one.
const NAMED_MAX: usize = 20;
/// Most alerts that a comment names: those that came last.
const NEWEST_MAX: usize = 10;
const CELL_MAX: usize = 500;

/// The title, in one line. Never empty: Jira takes no issue without one.
pub(super) fn summary(title: &str) -> String {
    let line = wiki::line(title);
    let line = if line.is_empty() { "(no title)" } else { &line };
    wiki::cut(line, SUMMARY_MAX)
}

/// A label has no blanks, and 255 letters at most.
pub(super) fn label(text: &str) -> String {
    wiki::cut(&wiki::line(text).replace(' ', "-"), SUMMARY_MAX)
}

/// What the issue is opened with.
pub(super) fn description(message: &Message) -> String {
    let only = match message.alerts.as_slice() {
        _ if message.about.is_some() => message.about.as_ref(),
        [only] => Some(only),
        _ => None,
    };
    let mut links = links(message, only).into_iter();
    let to_incident = links.next().unwrap_or_default();
    let mut page = Page::new(TEXT_MAX.saturating_sub(wiki::length(&to_incident) + 2));
    let details = only.map(|alert| Details::of(alert.custom_details.as_deref()));
    let mut details = details.unwrap_or_default();
    if let Some(own) = &details.description {
        // Both before and after: escaping makes it longer.
        page.push(&wiki::cut(&wiki::escape(&wiki::cut(own, OWN_MAX)), OWN_MAX));
    }
    let mut facts = facts(message, only);
    facts.append(&mut details.facts);
    page.push_lines(&table(&facts));
    for (name, text) in details.blocks {
        page.push(&format!("*{}*\n{}", wiki::cell(&name), wiki::verbatim(&text)));
    }
    if only.is_none() {
        page.push_lines(&list(message));
    }
    page.room = TEXT_MAX;
    page.push(&to_incident);
    for link in links {
        page.add(" · ", &link);
    }
    page.text
}

/// What is said on the issue when more happens.
pub(super) fn comment(message: &Message) -> String {
    let incident = &message.incident;
    let mut page = Page::new(TEXT_MAX);
    let severity = incident.severity;
    let told = match message.reason {
        Reason::Opened => format!("*Triggered:* severity {severity}."),
        Reason::Reopened => format!("*Triggered again:* severity {severity}."),
        Reason::SeverityRaised => format!("*Severity raised to {severity}.*"),
        Reason::Storm => format!("*Storm:* {} alerts by now.", incident.alert_count),
        Reason::Flapping => "*Flapping:* it ends and comes back again and again.".to_owned(),
        Reason::Repeat => {
            let age = duration(message.at.since(incident.created_at));
            format!("*Still open* after {age}: severity {severity}.")
        }
        Reason::AlertsAdded => "*More alerts.*".to_owned(),
        Reason::Acknowledged => match &incident.acknowledged_by {
            Some(by) => format!("*Acknowledged* by {}.", wiki::cell(by)),
            None => "*Acknowledged.*".to_owned(),
        },
        Reason::Resolved => {
            let end = incident.resolved_at.unwrap_or(message.at);
            format!("*Resolved* after {}.", duration(end.since(incident.created_at)))
        }
        Reason::Test => "*A test.*".to_owned(),
    };
    let mut words = vec![told];
    if message.wakes {
        words.push("Nobody has acknowledged it any more.".to_owned());
    }
    if incident.flapping && !matches!(message.reason, Reason::Flapping | Reason::Resolved) {
        words.push("It flaps: it ends and comes back again and again.".to_owned());
    }
    if incident.alert_count > 1 && message.reason != Reason::Resolved {
        let (open, all) = (incident.open_alert_count, incident.alert_count);
        words.push(format!("{open} of {all} alerts are open."));
    }
    words.extend(message.lateness().map(|late| format!("Told {late}.")));
    page.push(&words.join(" "));
    if matches!(message.reason, Reason::AlertsAdded | Reason::Storm) {
        page.push(&newest(message));
    }
    let incident = wiki::link(&format!("Incident #{}", incident.number), &message.incident_url());
    page.push(&format!("{incident} · {}", mark(message)));
    page.text
}

/// What tells this comment from all others of the issue.
pub(super) fn mark(message: &Message) -> String {
    format!("{} · {}", message.reason, message.at)
}

/// `12 min`, `3 h 5 min`, `2 d 4 h`.
pub(super) fn duration(span: Span) -> String {
    let seconds = span.as_millis() / 1000;
    let (minutes, hours, days) = (seconds / 60 % 60, seconds / 3600 % 24, seconds / 86_400);
    let two = |a: i64, unit: &str, b: i64, smaller: &str| match b {
        0 => format!("{a} {unit}"),
        b => format!("{a} {unit} {b} {smaller}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => two(hours, "h", minutes, "min"),
        (days, hours, _) => two(days, "d", hours, "h"),
    }
}

/// To the second, as people read it.
fn time(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('T').and_then(|(day, rest)| Some((day, rest.get(..8)?))) {
        Some((day, time)) => format!("{day} {time} UTC"),
        None => text,
    }
}

/// Sections one below the other, as much as fits: the rest can be read in dutygate.
struct Page {
    text: String,
    /// In UTF-16 units.
    room: usize,
}

impl Page {
    fn new(room: usize) -> Self {
        Self { text: String::new(), room }
    }

    /// A section, if there is room for all of it.
    fn push(&mut self, section: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n\n" };
        self.add(gap, section);
    }

    /// As many lines of a section as there is room for.
    fn push_lines(&mut self, section: &str) {
        let mut gap = if self.text.is_empty() { "" } else { "\n\n" };
        for line in section.lines() {
            if !self.add(gap, line) {
                return;
            }
            gap = "\n";
        }
    }

    fn add(&mut self, gap: &str, text: &str) -> bool {
        let fits = wiki::length(&self.text) + gap.len() + wiki::length(text) <= self.room;
        if fits && !text.is_empty() {
            self.text.push_str(gap);
            self.text.push_str(text);
        }
        fits
    }
}

/// What the alerts of an incident have in common.
#[derive(Deserialize)]
struct GroupKey<'a> {
    #[serde(borrow)]
    values: &'a RawValue,
}

fn facts(message: &Message, only: Option<&AlertView>) -> Vec<(String, String)> {
    let incident = &message.incident;
    let mut facts = Vec::new();
    let mut fact = |name: &str, value: Option<String>| {
        facts.extend(value.filter(|v| !v.is_empty()).map(|value| (name.to_owned(), value)));
    };
    fact("Severity", Some(incident.severity.to_string()));
    let flaps = incident.flapping.then(|| "it ends and comes back again and again".to_owned());
    fact("Flapping", flaps);
    fact("Status", (incident.status != Status::Triggered).then(|| incident.status.to_string()));
    fact("Service", Some(incident.service.clone()));
    if let Some(alert) = only {
        fact("Source", Some(alert.source.clone()));
        fact("Component", alert.component.clone());
        fact("Group", alert.group.clone());
        fact("Class", alert.class.clone());
        fact("Labels", Some(pairs(&alert.labels)));
    } else {
        let counts =
            format!("{}, {} of them open", incident.alert_count, incident.open_alert_count);
        fact("Alerts", Some(counts));
        let key = incident.group_key.as_deref().map(RawValue::get);
        let key = key.and_then(|key| serde_json::from_str::<GroupKey<'_>>(key).ok());
        fact("In common", key.map(|key| pairs(key.values)));
    }
    fact("Since", Some(time(incident.created_at)));
    fact("Told", message.lateness());
    facts
}

/// `host=share, team=core` of an object of texts.
fn pairs(raw: &RawValue) -> String {
    let Ok(Value::Object(object)) = serde_json::from_str(raw.get()) else { return String::new() };
    let pairs = object.iter().map(|(name, value)| match value {
        Value::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    });
    pairs.collect::<Vec<_>>().join(", ")
}

fn table(facts: &[(String, String)]) -> String {
    let row = |(name, value): &(String, String)| {
        format!("||{}|{}|", wiki::cell(name), wiki::cell(&wiki::cut(value, CELL_MAX)))
    };
    facts.iter().map(row).collect::<Vec<_>>().join("\n")
}

/// The alerts of the incident.
fn list(message: &Message) -> String {
    let mut rows = vec!["||Severity||Status||Source||Summary||Since||".to_owned()];
    for alert in message.alerts.iter().take(NAMED_MAX) {
        rows.push(format!(
            "|{}|{}|{}|{}|{}|",
            alert.severity,
            alert.status,
            wiki::cell(&wiki::cut(&alert.source, CELL_MAX)),
            wiki::cell(&wiki::cut(&alert.summary, CELL_MAX)),
            time(alert.first_event_at),
        ));
    }
    with_rest(&mut rows, message, NAMED_MAX);
    rows.join("\n")
}

/// The alerts that came last.
fn newest(message: &Message) -> String {
    let mut alerts: Vec<_> = message.alerts.iter().collect();
    alerts.sort_by_key(|alert| std::cmp::Reverse((alert.first_event_at, alert.id)));
    let row = |alert: &&AlertView| {
        let source = wiki::cell(&wiki::cut(&alert.source, CELL_MAX));
        let summary = wiki::cell(&wiki::cut(&alert.summary, CELL_MAX));
        format!("* {} · {source} · {summary}", alert.severity)
    };
    let mut rows: Vec<_> = alerts.iter().take(NEWEST_MAX).map(row).collect();
    with_rest(&mut rows, message, NEWEST_MAX);
    rows.join("\n")
}

fn with_rest(rows: &mut Vec<String>, message: &Message, named: usize) {
    let shown = message.alerts.len().min(named);
    let rest = message.incident.alert_count - i64::try_from(shown).unwrap_or(0);
    if rest > 0 {
        rows.push(format!("… and {rest} more"));
    }
}

/// To the incident, and to what the senders of its alerts point at.
fn links(message: &Message, only: Option<&AlertView>) -> Vec<String> {
    #[derive(Deserialize)]
    struct Link {
        href: Option<String>,
        src: Option<String>,
        text: Option<String>,
        alt: Option<String>,
    }
    let number = format!("Incident #{}", message.incident.number);
    let mut links = vec![wiki::link(&number, &message.incident_url())];
    let Some(alert) = only.or(message.alerts.first()) else { return links };
    let mut seen = BTreeSet::new();
    let mut add = |text: Option<&str>, href: &str| {
        let known = ["http://", "https://", "mailto:"].iter().any(|s| href.starts_with(s));
        if known && seen.len() < NAMED_MAX && seen.insert(href.to_owned()) {
            links.push(wiki::link(&wiki::cut(text.unwrap_or_default(), SUMMARY_MAX), href));
        }
    };
    if let Some(href) = &alert.client_url {
        add(alert.client.as_deref(), href);
    }
    for raw in [&alert.links, &alert.images] {
        for link in serde_json::from_str::<Vec<Link>>(raw.get()).unwrap_or_default() {
            let text = link.text.or(link.alt);
            if let Some(href) = link.href.or(link.src) {
                add(text.as_deref(), &href);
            }
        }
    }
    links
}
