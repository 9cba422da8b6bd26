//! Reads the members of a JSON body one by one and keeps all that is wrong, to say it at once.

use serde_json::{Map, Value};

use super::error::ApiError;
use crate::domain::{name, service::FieldError, time::Span};

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

    pub(super) fn description(&mut self) -> String {
        let Some(value) = self.take("description") else { return String::new() };
        let Value::String(text) = value else {
            self.wrong("description", "must be text");
            return String::new();
        };
        if let Err(what) = name::check_description(&text) {
            self.wrong("description", what);
        }
        text
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
