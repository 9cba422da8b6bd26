//! Reads the members of a JSON body one by one and keeps all that is wrong, to say it at once.

use serde_json::{Map, Value};

use super::{error::ApiError, services};
use crate::domain::{
    id::ServiceId, matcher::Match, name, routing::Directory, service::FieldError, time::Span,
};

/// Why a required member is there once [`Members::finish`] went well.
pub(super) const REQUIRED: &str = "a body without it was refused";

/// The members that were not read yet, and the mistakes so far.
#[derive(Debug)]
pub(super) struct Members {
    object: Map<String, Value>,
    known: Vec<&'static str>,
    pub(super) errors: Vec<FieldError>,
}

impl Members {
    pub(super) fn of(object: Map<String, Value>) -> Self {
        Self { object, known: Vec::new(), errors: Vec::new() }
    }

    pub(super) fn wrong(&mut self, field: &str, what: impl Into<String>) {
        self.errors.push((field.to_owned(), what.into()));
    }

    /// The value of a member; `null` is as good as absent.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.object.remove(name).filter(|value| !value.is_null())
    }

    /// Whether there is such a member, be it `null`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// What answers show and no request sets: left out of account, so that a client can change
    /// what it got and send it back.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.object.remove(*name);
        }
    }

    /// A required name.
    pub(super) fn name(&mut self) -> Option<String> {
        let text = self.required_text("name")?;
        match name::parse(&text) {
            Ok(name) => Some(name),
            Err(what) => {
                self.wrong("name", what);
                None
            }
        }
    }

    /// A name, if one is given.
    pub(super) fn optional_name(&mut self) -> Option<String> {
        if self.object.get("name").is_none_or(Value::is_null) {
            self.take("name");
            return None;
        }
        self.name()
    }

    pub(super) fn description(&mut self) -> String {
        self.prose("description").unwrap_or_default()
    }

    /// A comment, which has to say something.
    pub(super) fn comment(&mut self) -> String {
        let mistakes = self.errors.len();
        let text = self.prose("comment").unwrap_or_default();
        if text.trim().is_empty() && self.errors.len() == mistakes {
            self.wrong("comment", "is required: why, and who knows more");
        }
        text
    }

    /// Text of several lines.
    fn prose(&mut self, member: &'static str) -> Option<String> {
        let Value::String(text) = self.take(member)? else {
            self.wrong(member, "must be text");
            return None;
        };
        if let Err(what) = name::check_description(&text) {
            self.wrong(member, what);
        }
        Some(text)
    }

    /// Matchers, if they are given.
    pub(super) fn matches(&mut self, name: &'static str) -> Option<Match> {
        let value = self.take(name)?;
        match Match::from_json(&value) {
            Ok(matches) => Some(matches),
            Err(list) => {
                for (place, error) in list {
                    self.errors.push((format!("{name}{place}"), error.to_string()));
                }
                None
            }
        }
    }

    /// Matchers that must be given, were it as an empty list.
    pub(super) fn required_matches(&mut self, name: &'static str) -> Option<Match> {
        if self.object.get(name).is_none_or(Value::is_null) {
            self.wrong(name, "is required: a list of matchers such as class=\"disk\"");
        }
        self.matches(name)
    }

    /// The service that the member `service` names, if it is given.
    pub(super) fn service(&mut self, directory: &Directory) -> Option<ServiceId> {
        if self.object.get("service").is_none_or(Value::is_null) {
            self.take("service");
            return None;
        }
        self.required_service(directory)
    }

    /// The service that the member `service` names, by name or id.
    pub(super) fn required_service(&mut self, directory: &Directory) -> Option<ServiceId> {
        let given = self.required_text("service")?;
        let service = services::find(directory, given.trim());
        if service.is_none() {
            self.wrong("service", "is no service; give the name or id of one");
        }
        service.map(|service| service.id)
    }

    pub(super) fn required_text(&mut self, name: &'static str) -> Option<String> {
        match self.take(name) {
            Some(Value::String(text)) => return Some(text),
            Some(_) => self.wrong(name, "must be text"),
            None => self.wrong(name, "is required"),
        }
        None
    }

    /// `false` unless given.
    pub(super) fn flag(&mut self, name: &'static str) -> bool {
        match self.take(name) {
            None => false,
            Some(Value::Bool(flag)) => flag,
            Some(_) => {
                self.wrong(name, "must be true or false");
                false
            }
        }
    }

    /// One of a closed set, said in `choices`.
    pub(super) fn choice<T>(
        &mut self,
        name: &'static str,
        parse: fn(&str) -> Option<T>,
        choices: &str,
    ) -> Option<T> {
        let value = self.take(name)?;
        let chosen = value.as_str().and_then(parse);
        if chosen.is_none() {
            self.wrong(name, format!("must be {choices}"));
        }
        chosen
    }

    /// As [`Members::choice`], and there has to be one.
    pub(super) fn required_choice<T>(
        &mut self,
        name: &'static str,
        parse: fn(&str) -> Option<T>,
        choices: &str,
    ) -> Option<T> {
        if self.object.get(name).is_none_or(Value::is_null) {
            self.wrong(name, format!("is required: {choices}"));
        }
        self.choice(name, parse, choices)
    }

    /// A duration of at most `max`.
    pub(super) fn span(&mut self, name: &'static str, default: Span, max: Span) -> Span {
        let Some(value) = self.take(name) else { return default };
        match value.as_str().and_then(|text| Span::parse(text).ok()) {
            Some(span) if span <= max => span,
            _ => {
                let what = format!("must be a duration such as \"90s\" or \"24h\", at most {max}");
                self.wrong(name, what);
                default
            }
        }
    }

    /// All members that nobody read yet.
    pub(super) fn take_rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.object)
    }

    /// Says everything that is wrong; a member that nobody asked for is.
    pub(super) fn finish(mut self) -> Result<(), ApiError> {
        for name in self.object.keys() {
            let what = if self.known.is_empty() {
                "is unknown; no member is expected".to_owned()
            } else {
                format!("is unknown; must be one of {}", self.known.join(", "))
            };
            self.errors.push((name.clone(), what));
        }
        if self.errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(self.errors)) }
    }
}
