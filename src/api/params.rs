//! Query strings: filters, pages and cursors. Every mistake in one is reported, with its field.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::error::ApiError;
use crate::{
    domain::{
        matcher::{MATCHERS_MAX, Match, Matcher},
        search::Query,
        time::Timestamp,
    },
    store::{
        StoreError,
        query::{AlertFilter, IncidentRef, Listed, Page, Reads, TextField},
    },
};

/// Items on a page if nothing is said.
pub const LIMIT_DEFAULT: usize = 50;
/// Most items on a page.
pub const LIMIT_MAX: usize = 500;

/// What every list takes.
const PAGE: [&str; 3] = ["limit", "cursor", "count"];

/// What lists of alerts, incidents and events filter by.
pub const FILTERS: [&str; 16] = [
    "status",
    "severity",
    "service",
    "integration",
    "dedup_key",
    "source",
    "component",
    "group",
    "class",
    "suppressed",
    "incident",
    "match",
    "q",
    "since",
    "until",
    "number",
];

const TEXTS: [(&str, TextField); 5] = [
    ("dedup_key", TextField::DedupKey),
    ("source", TextField::Source),
    ("component", TextField::Component),
    ("group", TextField::Group),
    ("class", TextField::Class),
];

/// Cursors of another form are not ours.
const CURSOR_VERSION: u8 = 1;
const CURSOR_BYTES: usize = 1 + 8 + 8;

/// A query string, and what is wrong with it.
#[derive(Debug)]
pub struct Params<'r> {
    pairs: Vec<(Cow<'r, str>, Cow<'r, str>)>,
    errors: Vec<(String, String)>,
    /// Of the list and its filters: a cursor is good for these only.
    fingerprint: [u8; 8],
}

impl<'r> Params<'r> {
    /// Reads the query string of a list at `path` that takes `allowed`, besides what every list
    /// takes.
    pub fn of_list(path: &str, query: &'r str, allowed: &[&[&str]]) -> Self {
        let known = PAGE.iter().chain(allowed.iter().copied().flatten()).copied().collect();
        let mut params = Self::read(query, known);
        params.fingerprint = fingerprint(path, &params.pairs);
        params
    }

    /// Reads the query string of a call that takes `allowed` and has no pages.
    pub fn of_call(query: &'r str, allowed: &[&str]) -> Self {
        Self::read(query, allowed.to_vec())
    }

    fn read(query: &'r str, mut known: Vec<&str>) -> Self {
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        let mut errors = Vec::new();
        let mut unknown: Vec<&str> = pairs
            .iter()
            .map(|(name, _)| name.as_ref())
            .filter(|name| !known.contains(name))
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() {
            known.sort_unstable();
            let names = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            errors.extend(unknown.into_iter().map(|name| {
                (name.to_owned(), format!("is not a parameter of this call; it takes {names}"))
            }));
        }
        Self { pairs, errors, fingerprint: [0; 8] }
    }

    /// Says everything that is wrong.
    pub fn finish(self) -> Result<(), ApiError> {
        if self.errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(self.errors)) }
    }

    /// Notes a mistake.
    pub fn wrong(&mut self, name: &str, message: impl Into<String>) {
        self.errors.push((name.to_owned(), message.into()));
    }

    /// All values of a parameter.
    pub fn all(&self, name: &str) -> Vec<String> {
        let of_name = |pair: &&(Cow<'_, str>, Cow<'_, str>)| pair.0 == name;
        self.pairs.iter().filter(of_name).map(|(_, value)| value.to_string()).collect()
    }

    /// The value of a parameter that may be given once.
    fn one(&mut self, name: &str) -> Option<String> {
        let mut values = self.all(name);
        if values.len() > 1 {
            self.wrong(name, "must be given once");
        }
        values.pop()
    }

    /// The values of a parameter, each read by `parse`; `what` completes "must be …".
    pub fn each<T>(&mut self, name: &str, what: &str, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let mut values = Vec::new();
        for value in self.all(name) {
            match parse(&value) {
                Some(value) => values.push(value),
                None => self.wrong(name, format!("must be {what}, is {value:?}")),
            }
        }
        values
    }

    /// The values of a parameter that are of a closed set.
    pub fn named<T: Copy + std::fmt::Display>(
        &mut self,
        name: &str,
        known: &[T],
        parse: fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let names: Vec<String> = known.iter().map(ToString::to_string).collect();
        self.each(name, &format!("one of {}", names.join(", ")), parse)
    }

    /// A time.
    pub fn time(&mut self, name: &str) -> Option<Timestamp> {
        let text = self.one(name)?;
        // A plus sign that was not encoded arrives as a space.
        let read = Timestamp::parse_rfc3339(&text)
            .or_else(|| Timestamp::parse_rfc3339(&text.replace(' ', "+")));
        if read.is_none() {
            self.wrong(name, "must be an RFC 3339 time such as 2026-11-20T10:11:12Z");
        }
        read
    }

    /// The words of `q`.
    pub fn q(&self) -> Vec<Query> {
        self.all("q").iter().map(|text| Query::parse(text)).collect()
    }

    fn boolean(&mut self, name: &str) -> Option<bool> {
        match self.one(name)?.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                self.wrong(name, "must be true or false");
                None
            }
        }
    }

    /// Incidents, by id or number.
    pub fn incidents(&mut self, name: &str) -> Vec<IncidentRef> {
        self.each(name, "the id or the number of an incident", IncidentRef::parse)
    }

    /// Looks the services and integrations up that are named: a name that nothing has, or had, is a
    /// mistake.
    pub async fn owners<T>(
        &mut self,
        name: &str,
        find: impl AsyncFn(String) -> Result<Vec<T>, StoreError>,
    ) -> Result<Vec<T>, ApiError> {
        let mut found = Vec::new();
        for value in self.all(name) {
            let called = find(value.clone()).await?;
            if called.is_empty() {
                self.wrong(name, format!("names nothing that is, or was: {value:?}"));
            }
            found.extend(called);
        }
        Ok(found)
    }

    /// The conditions that lists of alerts, incidents and events have in common.
    pub async fn alert_filter(
        &mut self,
        reads: &(dyn Reads + '_),
    ) -> Result<AlertFilter, ApiError> {
        use crate::domain::{alert::Status, event::Severity};
        let texts = TEXTS
            .into_iter()
            .map(|(name, field)| (field, self.all(name)))
            .filter(|(_, values)| !values.is_empty())
            .collect();
        let mut matchers = Vec::new();
        for text in self.all("match") {
            match Matcher::parse(&text) {
                Ok(matcher) => matchers.push(matcher),
                Err(error) => self.wrong("match", error.to_string()),
            }
        }
        if matchers.len() > MATCHERS_MAX {
            self.wrong("match", format!("must be given at most {MATCHERS_MAX} times"));
        }
        let mut incidents = self.incidents("incident");
        incidents.extend(self.each("number", "the number of an incident", |text| {
            text.parse().ok().filter(|number| *number > 0).map(IncidentRef::Number)
        }));
        Ok(AlertFilter {
            status: self.named("status", Status::ALL, Status::parse),
            severity: self.named("severity", Severity::ALL, Severity::parse),
            services: self
                .owners("service", async |name| reads.services_called(&name).await)
                .await?,
            integrations: self
                .owners("integration", async |name| reads.integrations_called(&name).await)
                .await?,
            texts,
            suppressed: self.suppressed(),
            incidents,
            matches: Match::all_of(matchers),
            q: self.q(),
            since: self.time("since"),
            until: self.time("until"),
        })
    }

    /// Both values together are everything.
    fn suppressed(&mut self) -> Option<bool> {
        let values = self.each("suppressed", "true or false", |text| text.parse().ok());
        match values.as_slice() {
            [first, rest @ ..] if rest.iter().all(|value| value == first) => Some(*first),
            _ => None,
        }
    }

    /// The page that is asked for, if nothing at all is wrong.
    pub fn page(mut self) -> Result<Asked, ApiError> {
        let limit = match self.one("limit").map(|text| text.parse()) {
            None => LIMIT_DEFAULT,
            Some(Ok(limit)) if (1..=LIMIT_MAX).contains(&limit) => limit,
            Some(_) => {
                self.wrong("limit", format!("must be a number from 1 to {LIMIT_MAX}"));
                LIMIT_DEFAULT
            }
        };
        let count = self.boolean("count").unwrap_or(false);
        let before = match self.one("cursor").map(|text| self.read_cursor(&text)) {
            None => None,
            Some(Ok(before)) => Some(before),
            Some(Err(what)) => {
                self.wrong("cursor", what);
                None
            }
        };
        if !self.errors.is_empty() {
            return Err(ApiError::Invalid(self.errors));
        }
        Ok(Asked { page: Page { limit, before, count }, fingerprint: self.fingerprint })
    }

    fn read_cursor(&self, text: &str) -> Result<i64, &'static str> {
        const UNREADABLE: &str = "is not a next_cursor of this API";
        let bytes = hex::decode(text).map_err(|_| UNREADABLE)?;
        let bytes = <[u8; CURSOR_BYTES]>::try_from(bytes).map_err(|_| UNREADABLE)?;
        let (head, fingerprint) = bytes.split_at(CURSOR_BYTES - 8);
        let [CURSOR_VERSION, seq @ ..] = head else { return Err(UNREADABLE) };
        let seq = <[u8; 8]>::try_from(seq).map_err(|_| UNREADABLE)?;
        if fingerprint != self.fingerprint {
            return Err("belongs to another list or to other filters; repeat those it came with");
        }
        Ok(i64::from_be_bytes(seq))
    }
}

/// The list and its filters, whatever their order.
fn fingerprint(path: &str, pairs: &[(Cow<'_, str>, Cow<'_, str>)]) -> [u8; 8] {
    let mut filters: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(name, value)| (name.as_ref(), value.as_ref()))
        .filter(|(name, _)| !PAGE.contains(name))
        .collect();
    filters.sort_unstable();
    filters.dedup();
    let mut hash = Sha256::new();
    for text in [path].into_iter().chain(filters.into_iter().flat_map(|(n, v)| [n, v])) {
        hash.update(text.len().to_le_bytes());
        hash.update(text.as_bytes());
    }
    let mut eight = [0; 8];
    eight.copy_from_slice(&hash.finalize()[..8]);
    eight
}

/// Reads a query string that has nothing but these switches, each `true` or `false`.
pub fn flags<const N: usize>(query: &str, names: [&str; N]) -> Result<[bool; N], ApiError> {
    let mut flags = [None; N];
    let mut errors = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let mut wrong = |what: String| errors.push((name.to_string(), what));
        let Some(at) = names.iter().position(|known| *known == name) else {
            wrong(match names.join(", ") {
                none if none.is_empty() => "is not a parameter of this call".to_owned(),
                known => format!("is not a parameter of this call; it takes {known}"),
            });
            continue;
        };
        match (flags[at], value.as_ref()) {
            (Some(_), _) => wrong("must be given once".to_owned()),
            (None, "true") => flags[at] = Some(true),
            (None, "false") => flags[at] = Some(false),
            (None, _) => wrong("must be true or false".to_owned()),
        }
    }
    if errors.is_empty() {
        Ok(flags.map(Option::unwrap_or_default))
    } else {
        Err(ApiError::Invalid(errors))
    }
}

/// A page that was asked for, and of what.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub page: Page,
    fingerprint: [u8; 8],
}

impl Asked {
    /// The cursor to the page after `listed`.
    pub fn next_cursor<T>(&self, listed: &Listed<T>) -> Option<String> {
        let seq = listed.next?;
        let mut bytes = vec![CURSOR_VERSION];
        bytes.extend(seq.to_be_bytes());
        bytes.extend(self.fingerprint);
        Some(hex::encode(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(query: &str) -> Params<'_> {
        Params::of_list("/api/v1/alerts", query, &[&FILTERS])
    }

    fn wrong(query: &str) -> Vec<(String, String)> {
        match list(query).page() {
            Err(ApiError::Invalid(errors)) => errors,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_cursor_is_good_for_its_list_and_filters_only() {
        let asked = list("q=disk&status=triggered&limit=5").page().unwrap();
        let listed = Listed::<()> { items: Vec::new(), next: Some(77), total: None };
        let cursor = asked.next_cursor(&listed).unwrap();

        let again = format!("status=triggered&limit=9&count=true&q=disk&cursor={cursor}");
        assert_eq!(
            list(&again).page().unwrap().page,
            Page { limit: 9, before: Some(77), count: true }
        );
        assert_eq!(wrong(&format!("q=disc&cursor={cursor}"))[0].0, "cursor");
        assert_eq!(wrong("cursor=zz")[0].1, "is not a next_cursor of this API");
        let other = format!("q=disk&status=triggered&cursor={cursor}");
        let other = Params::of_list("/api/v1/events", &other, &[&FILTERS]);
        assert!(other.page().is_err());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_field() {
        let errors = wrong("colour=red&limit=0&count=yes");

        let fields: Vec<_> = errors.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["colour", "limit", "count"]);
        assert!(errors[0].1.contains("it takes class, component, count, cursor"), "{errors:?}");
        assert_eq!(wrong("limit=1&limit=2")[0].1, "must be given once");
    }

    #[test]
    fn times_take_an_offset_whose_plus_was_not_encoded() {
        let mut params = list("since=2026-11-20T10:00:00+02:00&until=yesterday");

        assert_eq!(params.time("since"), Timestamp::parse_rfc3339("2026-11-20T08:00:00Z"));
        assert_eq!(params.time("until"), None);
        assert_eq!(params.errors[0].0, "until");
    }

    #[test]
    fn values_are_decoded() {
        let params = list("q=%E7%A3%81%E7%9B%98+x&group=a%26b&group=c");

        assert_eq!(params.all("q"), ["磁盘 x"]);
        assert_eq!(params.all("group"), ["a&b", "c"]);
    }
}
