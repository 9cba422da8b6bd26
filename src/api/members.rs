//! Reads the members of a JSON body one by one and keeps all that is wrong, to say it at once.

use serde_json::{Map, Value};

use super::error::ApiError;
use crate::domain::{
    service::{FieldError, NAME_MAX_CHARS},
    time::Span,
};

/// Why a required member is there once [`Members::finish`] went well.
pub(super) const REQUIRED: &str = "a body without it was refused";

/// Longest description, in characters.
const DESCRIPTION_MAX_CHARS: usize = 2000;

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
        match parse_name(&text) {
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
        let chars = text.chars().count();
        if chars > DESCRIPTION_MAX_CHARS {
            let what = format!("must have at most {DESCRIPTION_MAX_CHARS} characters, has {chars}");
            self.wrong("description", what);
        }
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            self.wrong("description", "must not contain control characters");
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

/// Takes a name in any script, without blanks around it. Not what nobody can see, which would make
/// two names look alike, and nothing that reads as an id, which stands wherever a name does.
fn parse_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    let chars = name.chars().count();
    if chars == 0 {
        return Err("is required".to_owned());
    }
    if chars > NAME_MAX_CHARS {
        return Err(format!("must have at most {NAME_MAX_CHARS} characters, has {chars}"));
    }
    if name.chars().any(is_unseen) {
        return Err("must not contain control or invisible characters".to_owned());
    }
    if uuid::Uuid::try_parse(name).is_ok() {
        return Err("must not look like an id".to_owned());
    }
    if matches!(name, "." | "..") {
        return Err("must be more than dots: it stands in paths".to_owned());
    }
    Ok(name.to_owned())
}

/// Control characters, separators of lines, and the format characters that hide or turn text.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(
            u32::from(c),
            0xad | 0x061c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_in_any_script() {
        assert_eq!(parse_name("  支付 / payments-1  "), Ok("支付 / payments-1".to_owned()));
        assert_eq!(parse_name(&"磁".repeat(100)).map(|name| name.chars().count()), Ok(100));
    }

    #[test]
    fn a_name_that_is_empty_long_unseen_or_an_id_is_refused() {
        let long = "a".repeat(101);
        for wrong in [
            "",
            "  ",
            "a\u{0}",
            "a\nb",
            "a\u{202e}b",
            "\u{200b}",
            "..",
            long.as_str(),
            "0199f9a5-4d3b-7000-8000-000000000000",
        ] {
            assert!(parse_name(wrong).is_err(), "{wrong:?}");
        }
    }
}
