//! What an alert's sender added to it, taken apart: its own words, short facts, long texts.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// Most facts and most long texts that are shown.
const FACTS_MAX: usize = 30;
const BLOCKS_MAX: usize = 5;
/// What is longer than this, or has several lines, is no cell of a table.
const FACT_BYTES: usize = 300;
const BLOCK_BYTES: usize = 4_000;
/// What Guance calls its own: names of monitors and texts that the alert has already.
const GUANCE: &str = "df_";

/// The custom details of an alert.
#[derive(Debug, Default)]
pub(super) struct Details {
    /// In the sender's words, if there are any: the details themselves, or their `description`.
    pub(super) description: Option<String>,
    /// In the order in which they were sent; numbers as they were written.
    pub(super) facts: Vec<(String, String)>,
    pub(super) blocks: Vec<(String, String)>,
}

/// The members of an object, in their order.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ordered;
        impl<'de> Visitor<'de> for Ordered {
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
        deserializer.deserialize_map(Ordered)
    }
}

impl Details {
    pub(super) fn of(raw: Option<&RawValue>) -> Self {
        let mut details = Self::default();
        let Some(raw) = raw.map(RawValue::get) else { return details };
        if let Ok(text) = serde_json::from_str::<String>(raw) {
            details.description = Some(text).filter(|text| !text.trim().is_empty());
            return details;
        }
        let Ok(Members(members)) = serde_json::from_str(raw) else {
            if raw != "null" {
                details.add("Details".to_owned(), raw);
            }
            return details;
        };
        for (name, value) in members {
            let text = serde_json::from_str::<String>(value.get());
            match text {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) if name == "description" => details.description = Some(text),
                _ if name.starts_with(GUANCE) || value.get() == "null" => {}
                Ok(text) => details.add(name, &text),
                Err(_) => details.add(name, value.get()),
            }
        }
        details
    }

    fn add(&mut self, name: String, text: &str) {
        let text = text.trim_end();
        if text.len() <= FACT_BYTES && !text.contains('\n') {
            if self.facts.len() < FACTS_MAX {
                self.facts.push((name, text.to_owned()));
            }
        } else if self.blocks.len() < BLOCKS_MAX {
            let text = crate::notify::http::cut(text.to_owned(), BLOCK_BYTES);
            self.blocks.push((name, text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(json: &str) -> Details {
        Details::of(Some(&RawValue::from_string(json.to_owned()).unwrap()))
    }

    #[test]
    fn facts_keep_their_order_and_spelling() {
        let found = details(r#"{"z":1.50,"a":"x y","n":null,"list":[1,{"b":2}],"e":""}"#);

        let facts: Vec<_> = found.facts.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(facts, [("z", "1.50"), ("a", "x y"), ("list", r#"[1,{"b":2}]"#)]);
        assert_eq!(found.description, None);
    }

    #[test]
    fn the_senders_own_words_come_first_and_guances_names_not_at_all() {
        let found = details(r#"{"description":"磁盘满","df_title":"x","result":100}"#);

        assert_eq!(found.description.as_deref(), Some("磁盘满"));
        assert_eq!(found.facts, [("result".to_owned(), "100".to_owned())]);
        assert_eq!(details(r#""all is lost""#).description.as_deref(), Some("all is lost"));
    }

    #[test]
    fn long_texts_stand_apart_and_are_few() {
        let found =
            details(r#"{"firing":"a\nb","1":"x\ny","2":"x\ny","3":"x\ny","4":"x\ny","5":"x\ny"}"#);

        assert_eq!(found.facts, []);
        assert_eq!(found.blocks.len(), BLOCKS_MAX);
        assert_eq!(found.blocks[0], ("firing".to_owned(), "a\nb".to_owned()));
        assert_eq!(details("[1, 2]").facts, [("Details".to_owned(), "[1, 2]".to_owned())]);
    }
}
