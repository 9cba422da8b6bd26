//! Reading JSON with all its mistakes: each is added to a list with its path, and reading goes on.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::{
    matcher::{Field, Match},
    name,
    rules::RULES_MAX,
    suggest,
    time::{Span, Timestamp},
};

/// A mistake in what was given, with its path: `grouping[0].window`.
pub type FieldError = (String, String);

/// Where a value stands, and where its mistakes go.
#[derive(Debug)]
pub(crate) struct Place<'p> {
    pub(crate) path: String,
    errors: &'p mut Vec<FieldError>,
}

impl<'p> Place<'p> {
    pub(crate) fn new(path: impl Into<String>, errors: &'p mut Vec<FieldError>) -> Self {
        Self { path: path.into(), errors }
    }

    /// The place of the member `key`.
    pub(crate) fn member(&mut self, key: &str) -> Place<'_> {
        let path =
            if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Place { path, errors: self.errors }
    }

    /// The place of the item `at` of a list.
    pub(crate) fn item(&mut self, at: usize) -> Place<'_> {
        Place { path: format!("{}[{at}]", self.path), errors: self.errors }
    }

    /// Says which of `keys` are missing.
    pub(crate) fn required(&mut self, object: &Map<String, Value>, keys: &[&str]) {
        for key in keys {
            self.needs(object, key, "is required");
        }
    }

    /// Says `what` if `key` is missing. Not if it is only misspelt, which is said already.
    pub(crate) fn needs(&mut self, object: &Map<String, Value>, key: &str, what: &str) {
        let mut keys = object.keys();
        if !keys.any(|given| suggest::nearest(given, std::iter::once(key)).is_some()) {
            self.member(key).wrong(what);
        }
    }

    /// Hands path and list of mistakes to a function that takes them apart.
    pub(crate) fn with<T>(&mut self, read: impl FnOnce(&str, &mut Vec<FieldError>) -> T) -> T {
        read(&self.path, self.errors)
    }

    /// Adds mistakes whose paths are from here.
    pub(crate) fn below(&mut self, errors: Vec<FieldError>) {
        for (path, what) in errors {
            let path = self.member(&path).path;
            self.errors.push((path, what));
        }
    }

    /// Puts what `read` finds into `target`, which keeps its value if that is a mistake.
    pub(crate) fn take<T>(&mut self, target: &mut T, read: impl FnOnce(&mut Self) -> Option<T>) {
        if let Some(value) = read(self) {
            *target = value;
        }
    }

    /// Says what is wrong here.
    pub(crate) fn wrong(&mut self, what: impl Into<String>) {
        self.errors.push((self.path.clone(), what.into()));
    }

    /// How many mistakes there are by now, to see later whether any came.
    pub(crate) fn mistakes(&self) -> usize {
        self.errors.len()
    }

    /// Says that this key is none of `known`, and which of them was probably meant.
    pub(crate) fn unknown(&mut self, known: &[&str]) {
        let key = self.path.rsplit('.').next().unwrap_or_default();
        let meant = suggest::nearest(key, known.iter().copied())
            .map(|name| format!("did you mean {name}? "))
            .unwrap_or_default();
        let what = format!("is unknown; {meant}must be {}", one_of(known));
        self.wrong(what);
    }

    pub(crate) fn object<'v>(&mut self, value: &'v Value) -> Option<&'v Map<String, Value>> {
        self.said(value.as_object(), "must be an object")
    }

    pub(crate) fn list<'v>(&mut self, value: &'v Value, most: usize) -> Option<&'v [Value]> {
        match value {
            Value::Array(items) if items.len() <= most => Some(items),
            Value::Array(_) => self.said(None, format!("must have at most {most} items")),
            _ => self.said(None, "must be a list"),
        }
    }

    /// A text that is not empty, of at most `most` characters.
    pub(crate) fn text(&mut self, value: &Value, most: usize) -> Option<String> {
        let text = value.as_str().filter(|t| !t.is_empty() && t.chars().count() <= most);
        self.said(text.map(str::to_owned), format!("must be a text of 1 to {most} characters"))
    }

    /// A name as it may be given to something.
    pub(crate) fn name(&mut self, value: &Value) -> Option<String> {
        match value.as_str().map(name::parse) {
            Some(Ok(name)) => Some(name),
            Some(Err(what)) => self.said(None, what),
            None => self.said(None, "must be text"),
        }
    }

    /// A text that describes something.
    pub(crate) fn description(&mut self, value: &Value) -> Option<String> {
        let text = self.said(value.as_str(), "must be text")?;
        name::check_description(text).map_err(|what| self.wrong(what)).ok()?;
        Some(text.to_owned())
    }

    pub(crate) fn flag(&mut self, value: &Value) -> Option<bool> {
        self.said(value.as_bool(), "must be true or false")
    }

    pub(crate) fn number(&mut self, value: &Value, range: RangeInclusive<u32>) -> Option<u32> {
        let number = value.as_u64().and_then(|n| u32::try_from(n).ok());
        let (least, most) = (range.start(), range.end());
        let what = format!("must be a number from {least} to {most}");
        self.said(number.filter(|n| range.contains(n)), what)
    }

    pub(crate) fn span(&mut self, value: &Value, range: RangeInclusive<Span>) -> Option<Span> {
        let span = match value {
            Value::Number(number) if number.as_u64() == Some(0) => Some(Span::ZERO),
            _ => value.as_str().and_then(|text| Span::parse(text).ok()),
        };
        let what = format!("must be a duration from {} to {}", range.start(), range.end());
        self.said(span.filter(|span| range.contains(span)), what)
    }

    pub(crate) fn time(&mut self, value: &Value) -> Option<Timestamp> {
        let at = value.as_str().and_then(Timestamp::parse_rfc3339);
        self.said(at, "must be a time such as \"2026-11-20T10:11:12Z\"")
    }

    /// One of the names of a closed list.
    pub(crate) fn named<T: Copy>(
        &mut self,
        value: &Value,
        all: &[T],
        name: impl Fn(T) -> &'static str,
    ) -> Option<T> {
        let found = value.as_str().and_then(|text| all.iter().find(|it| name(**it) == text));
        let names: Vec<String> = all.iter().map(|it| format!("\"{}\"", name(*it))).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.said(found.copied(), format!("must be {}", one_of(&names)))
    }

    pub(crate) fn matches(&mut self, value: &Value) -> Option<Match> {
        match Match::from_json(value) {
            Ok(matches) => Some(matches),
            Err(list) => {
                for (place, error) in list {
                    self.errors.push((format!("{}{place}", self.path), error.to_string()));
                }
                None
            }
        }
    }

    pub(crate) fn field(&mut self, value: &Value) -> Option<Field> {
        match value.as_str().map(Field::parse) {
            Some(Ok(field)) => Some(field),
            Some(Err(error)) => self.said(None, error.to_string()),
            None => self.said(None, "must be the name of a field"),
        }
    }

    /// A list of at least one and at most `most` names of fields.
    pub(crate) fn fields(&mut self, value: &Value, most: usize) -> Option<Vec<Field>> {
        let before = self.mistakes();
        let items = self.list(value, most)?;
        if items.is_empty() {
            self.wrong(format!("must name 1 to {most} fields"));
        }
        let fields = items.iter().enumerate().filter_map(|(i, item)| self.item(i).field(item));
        let fields = fields.collect();
        (self.mistakes() == before).then_some(fields)
    }

    /// A list of rules, each read by `read` with its path.
    pub(crate) fn rules<T>(
        &mut self,
        value: &Value,
        mut read: impl FnMut(&Value, &str, &mut Vec<FieldError>) -> Option<T>,
    ) -> Vec<T> {
        let rules = self.list(value, RULES_MAX).into_iter().flatten().enumerate();
        rules.filter_map(|(i, rule)| self.item(i).with(|path, e| read(rule, path, e))).collect()
    }

    fn said<T>(&mut self, found: Option<T>, what: impl Into<String>) -> Option<T> {
        if found.is_none() {
            self.wrong(what);
        }
        found
    }
}

/// `a, b or c`.
pub(crate) fn one_of(names: &[&str]) -> String {
    match names {
        [] => "left out".to_owned(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
