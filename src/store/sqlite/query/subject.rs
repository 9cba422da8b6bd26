//! What is judged here and not by the database: words of `q` and matchers.

use std::{borrow::Cow, cell::OnceCell, collections::BTreeMap};

use sqlx::sqlite::SqliteRow;

use super::super::{StoreError, rows::Columns};
use crate::domain::{
    matcher::{Field, Fields, Match, details_at},
    search::Query,
};

/// The details of content `c`, wherever they are: large ones in the body of event `d`.
pub(super) const DETAILS: &str = "CASE WHEN c.details_event_seq IS NULL THEN c.custom_details \
     ELSE CAST(substr(CAST(d.body AS BLOB), c.details_offset + 1, c.details_bytes) AS TEXT) END";

/// What holds for every row.
pub(super) static EVERYTHING: Match = Match::everything();

/// What has to be true of a row besides what SQL says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tests<'f> {
    pub(super) q: &'f [Query],
    pub(super) matches: &'f Match,
}

impl Tests<'_> {
    pub(super) fn is_empty(self) -> bool {
        self.q.is_empty() && self.matches.is_empty()
    }

    /// A question without words finds nothing.
    pub(super) fn find_nothing(self) -> bool {
        !self.q.is_empty() && self.q.iter().all(|q| q.words().is_empty())
    }

    fn needs_details(self) -> bool {
        self.matches.looks_at_details()
    }

    /// The columns that [`Tests::hold`] reads, with the comma before them. `c` is the content, `g`
    /// the integration, `s` the service. `given_key` is the dedup key as rules see it.
    pub(super) fn columns(self, dedup_key: &str, given_key: &str, action: &str) -> String {
        if self.is_empty() {
            return String::new();
        }
        let words =
            format!(", {dedup_key}, c.summary, c.source, c.component, c.\"group\", c.class");
        if self.matches.is_empty() {
            return words;
        }
        let details = if self.needs_details() { DETAILS } else { "NULL" };
        format!(
            "{words}, {given_key}, c.severity, c.client, c.labels, g.name, s.name, {action}, \
             {details}"
        )
    }

    /// The tables that [`Tests::columns`] needs besides the content. `owner` is the table that
    /// names integration and service.
    pub(super) fn joins(self, owner: &str) -> String {
        if self.matches.is_empty() {
            return String::new();
        }
        let details = if self.needs_details() {
            " LEFT JOIN events d ON d.seq = c.details_event_seq"
        } else {
            ""
        };
        format!(
            " CROSS JOIN integrations g ON g.seq = {owner}.integration_seq \
             CROSS JOIN services s ON s.seq = {owner}.service_seq{details}"
        )
    }

    /// Whether the row, whose first two columns are the scan's own, fits.
    pub(super) fn hold(self, row: &SqliteRow) -> Result<bool, StoreError> {
        let mut c = Columns::of(row, "contents");
        let _: i64 = c.read("seq")?;
        let _: bool = c.read("taken")?;
        let dedup_key: &str = c.read("dedup_key")?;
        let summary: Option<&str> = c.read("summary")?;
        let mut texts = [""; 4];
        for (text, column) in texts.iter_mut().zip(["source", "component", "group", "class"]) {
            *text = c.read::<Option<&str>>(column)?.unwrap_or("");
        }
        if !self.q.is_empty() {
            let Some(summary) = summary else { return Ok(false) };
            let all = || [summary].into_iter().chain(texts).chain([dedup_key]);
            if !self.q.iter().any(|q| q.found_in(all())) {
                return Ok(false);
            }
        }
        if self.matches.is_empty() {
            return Ok(true);
        }
        let [source, component, group, class] = texts;
        let subject = Subject {
            dedup_key: c.read("dedup_key")?,
            summary: summary.unwrap_or(""),
            source,
            component,
            group,
            class,
            severity: c.read::<Option<&str>>("severity")?.unwrap_or(""),
            client: c.read::<Option<&str>>("client")?.unwrap_or(""),
            labels: c.read("labels")?,
            integration: c.read("integration")?,
            service: c.read("service")?,
            action: c.read("action")?,
            details: c.read("custom_details")?,
            parsed_labels: OnceCell::new(),
        };
        Ok(self.matches.holds(&subject))
    }
}

/// The dedup key of alert `a` as rules see it: nothing, if the sender left it to us.
pub(super) const GIVEN_KEY: &str = "CASE a.generated_key WHEN 1 THEN '' ELSE a.dedup_key END";

/// A row as matchers see it.
struct Subject<'r> {
    dedup_key: &'r str,
    summary: &'r str,
    source: &'r str,
    component: &'r str,
    group: &'r str,
    class: &'r str,
    severity: &'r str,
    client: &'r str,
    labels: Option<&'r str>,
    integration: &'r str,
    service: &'r str,
    action: &'r str,
    details: Option<&'r str>,
    parsed_labels: OnceCell<BTreeMap<String, String>>,
}

impl Fields for Subject<'_> {
    fn field(&self, field: &Field) -> Cow<'_, str> {
        Cow::Borrowed(match field {
            Field::Summary => self.summary,
            Field::Source => self.source,
            Field::Severity => self.severity,
            Field::Component => self.component,
            Field::Group => self.group,
            Field::Class => self.class,
            Field::DedupKey => self.dedup_key,
            Field::Client => self.client,
            Field::Integration => self.integration,
            Field::Service => self.service,
            Field::Action => self.action,
            Field::Label(name) => {
                let parse = || {
                    self.labels.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
                };
                self.parsed_labels.get_or_init(parse).get(name).map_or("", String::as_str)
            }
            Field::Details(path) => {
                let found = self.details.and_then(|details| details_at(details, path));
                return Cow::Owned(found.unwrap_or_default());
            }
        })
    }
}
