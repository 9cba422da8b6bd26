//! Custom details for people to read: names and values, as they were sent.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::words::shortened;

/// Most rows of a table: a sender may add hundreds of members.
const ROWS_MAX: usize = 40;
/// Longest value, in characters, and longest description.
const VALUE_MAX: usize = 2000;
const DESCRIPTION_MAX: usize = 4000;
/// No more rows follow once the values have so many characters: Gmail shows 102 KB of a mail.
const VALUES_MAX: usize = 10_000;
/// Longest JSON that stays on one line, in bytes.
const LINE_BYTES: usize = 60;

/// A row of a table.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Fact {
    pub(super) name: String,
    pub(super) value: String,
}

impl Fact {
    pub(super) fn new(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.to_owned(), value: value.into() }
    }
}

/// Custom details.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Details {
    /// In words: details that are text, or their member `description`.
    pub(super) description: Option<String>,
    pub(super) facts: Vec<Fact>,
    /// So many rows more there are.
    pub(super) more: usize,
}

impl Details {
    pub(super) fn of(json: &str) -> Self {
        let Ok(members) = serde_json::from_str::<Members>(json) else {
            let description = shown(json, DESCRIPTION_MAX);
            let description = Some(description).filter(|text| !text.is_empty() && text != "null");
            return Self { description, ..Self::default() };
        };
        let mut details = Self::default();
        let mut chars = 0;
        for (name, value) in members.0 {
            if name == "description" {
                let text = shown(value.get(), DESCRIPTION_MAX);
                details.description = Some(text).filter(|text| !text.is_empty());
            } else if details.facts.len() < ROWS_MAX && chars < VALUES_MAX {
                let value = shown(value.get(), VALUE_MAX);
                chars += value.chars().count();
                details.facts.push(Fact { name: shortened(&name, 100), value });
            } else {
                details.more += 1;
            }
        }
        details
    }
}

/// The members of a JSON object as rows, in their order.
pub(super) fn facts(json: &str) -> Vec<Fact> {
    Details::of(json).facts
}

/// Text as it is, everything else as JSON that is easy to read.
fn shown(json: &str, chars: usize) -> String {
    let text = serde_json::from_str(json).unwrap_or_else(|_| {
        let mut pretty = String::new();
        write(json, 0, &mut pretty);
        pretty
    });
    shortened(text.trim_end(), chars)
}

/// Writes JSON over several lines if it is long; numbers and texts stay as they were spelt.
fn write(json: &str, depth: usize, out: &mut String) {
    let inner = "  ".repeat(depth + 1);
    let lines = |items: Vec<(Option<String>, Box<RawValue>)>, ends: [char; 2], out: &mut String| {
        out.push(ends[0]);
        for (at, (name, value)) in items.into_iter().enumerate() {
            out.push_str(if at == 0 { "\n" } else { ",\n" });
            out.push_str(&inner);
            if let Some(name) = name {
                out.push_str(&serde_json::Value::from(name).to_string());
                out.push_str(": ");
            }
            write(value.get(), depth + 1, out);
        }
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
        out.push(ends[1]);
    };
    if json.len() <= LINE_BYTES && !json.contains('\n') {
        out.push_str(json);
    } else if let Ok(Members(members)) = serde_json::from_str(json) {
        let members = members.into_iter().map(|(name, value)| (Some(name), value)).collect();
        lines(members, ['{', '}'], out);
    } else if let Ok(items) = serde_json::from_str::<Vec<Box<RawValue>>>(json) {
        lines(items.into_iter().map(|value| (None, value)).collect(), ['[', ']'], out);
    } else {
        out.push_str(json);
    }
}

/// The members of an object, in their order and as they were spelt.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_spelling() {
        let details = Details::of(r#"{"z":"two\nlines","a":1.10,"n":null,"list":[1,2]}"#);

        let facts = ["two\nlines", "1.10", "null", "[1,2]"];
        assert_eq!(details.facts.iter().map(|fact| &fact.value[..]).collect::<Vec<_>>(), facts);
        assert_eq!(details.facts[0].name, "z");
        assert_eq!(details.description, None);
    }

    #[test]
    fn what_is_said_in_words_stands_alone() {
        assert_eq!(Details::of(r#""all in words""#).description.unwrap(), "all in words");
        assert_eq!(Details::of(r#"{"description":"why"}"#).description.unwrap(), "why");
        assert_eq!(Details::of("null"), Details::default());
        assert_eq!(Details::of("{}"), Details::default());
        assert_eq!(Details::of("[1]").description.unwrap(), "[1]");
    }

    #[test]
    fn long_json_is_spread_over_lines() {
        let json = r#"{"a":{"first":"0123456789012345678901234567890","second":[1.10,{"x":{}}],"third":""}}"#;

        assert_eq!(
            Details::of(json).facts[0].value,
            "{\n  \"first\": \"0123456789012345678901234567890\",\n  \"second\": [1.10,{\"x\":{}}],\n  \"third\": \"\"\n}"
        );
    }

    #[test]
    fn there_is_an_end_to_rows_and_to_values() {
        let many: serde_json::Map<_, _> =
            (0..100).map(|n| (format!("{n:03}"), "x".into())).collect();
        let long: serde_json::Map<_, _> =
            (0..100).map(|n| (format!("{n:03}"), "x".repeat(5000).into())).collect();

        let many = Details::of(&serde_json::Value::Object(many).to_string());
        let long = Details::of(&serde_json::Value::Object(long).to_string());

        assert_eq!((many.facts.len(), many.more), (40, 60));
        assert_eq!((long.facts.len(), long.more), (5, 95));
        assert_eq!(long.facts[0].value.chars().count(), 2000);
    }
}
