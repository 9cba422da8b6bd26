//! Reads JSON without building a tree: one linear check of the bytes, then spans of what is asked.
//!
//! What serde's `RawValue` skips is not looked into, so three things are checked here before it
//! runs: UTF-8, nesting, and surrogates in `\u` escapes. The grammar is `serde_json`'s. Values stay
//! spans of the body: `custom_details` must come out byte for byte as they were sent.
//!
//! This module knows no field names and reports no errors to the sender; it says what is there.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// Deepest nesting of containers that is read; the outermost counts as one.
///
/// Ours: real events use fewer than ten, and everything that reads a stored body later may recurse.
pub(super) const MAX_DEPTH: usize = 64;

/// The body is not what it must be: JSON in UTF-8, within [`MAX_DEPTH`], a single object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Checks what no later step checks, and returns the body as text without its byte order mark.
///
/// The text still has to be parsed: of the grammar only what ends strings is looked at.
pub(super) fn check(body: &[u8]) -> Result<&str, Unreadable> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let text = str::from_utf8(body).map_err(|_| Unreadable)?;
    check_nesting_and_escapes(text.as_bytes()).ok_or(Unreadable)?;
    Ok(text)
}

fn check_nesting_and_escapes(bytes: &[u8]) -> Option<()> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return None;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = end_of_string(bytes, at)?,
            _ => {}
        }
    }
    Some(())
}

/// The position after the closing quote of the string whose contents start at `at`.
fn end_of_string(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at = end_of_escape(bytes, at + 1)?,
            _ => at += 1,
        }
    }
}

/// The position after the escape whose backslash stands before `at`; `None` for half a surrogate
/// pair, which no Rust string and no PostgreSQL text can hold.
fn end_of_escape(bytes: &[u8], at: usize) -> Option<usize> {
    if *bytes.get(at)? != b'u' {
        return Some(at + 1);
    }
    match code_unit(bytes, at + 1)? {
        0xD800..=0xDBFF => {
            let low = at + 5;
            let paired = bytes.get(low..low + 2)? == b"\\u"
                && matches!(code_unit(bytes, low + 2)?, 0xDC00..=0xDFFF);
            paired.then_some(low + 6)
        }
        0xDC00..=0xDFFF => None,
        _ => Some(at + 5),
    }
}

fn code_unit(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at + 4)?
        .iter()
        .try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}

/// Calls `take` for each entry of the object `text`, in the order sent, so that the last of
/// duplicate names wins if `take` overwrites. Names come with their escapes resolved.
///
/// The text must be that one object and nothing else, else [`Unreadable`]; `take` may have been
/// called by then.
pub(super) fn for_each_entry<'a>(
    text: &'a str,
    take: impl FnMut(&str, Field<'a>),
) -> Result<(), Unreadable> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Entries(take)).and_then(|()| json.end()).map_err(|_| Unreadable)
}

/// Calls `take` for each element of the array `text`, in order.
pub(super) fn for_each_element<'a>(
    text: &'a str,
    take: impl FnMut(Field<'a>),
) -> Result<(), Unreadable> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_seq(Elements(take)).and_then(|()| json.end()).map_err(|_| Unreadable)
}

/// The name of an entry; owned only if it was written with escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct Entries<F>(F);

impl<'de, F: FnMut(&str, Field<'de>)> Visitor<'de> for Entries<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            (self.0)(&name, Field(Some(value)));
        }
        Ok(())
    }
}

struct Elements<F>(F);

impl<'de, F: FnMut(Field<'de>)> Visitor<'de> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(value) = list.next_element::<&'de RawValue>()? {
            (self.0)(Field(Some(value)));
        }
        Ok(())
    }
}

/// A field of a body: a span of JSON, or nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Field<'a>(Option<&'a RawValue>);

/// A field where text is expected and nothing else will do.
#[derive(Debug)]
pub(super) enum Text<'a> {
    /// Absent, null, or white space alone.
    Blank,
    /// Text, or a number or boolean in its own spelling.
    Given(Cow<'a, str>),
    /// An object or an array.
    Container,
}

impl<'a> Field<'a> {
    /// The JSON of the field as it was sent; `None` if it is absent.
    pub(super) fn raw(self) -> Option<&'a str> {
        self.0.map(RawValue::get)
    }

    /// The JSON of the field as it was sent; `None` if it means "absent".
    pub(super) fn verbatim(self) -> Option<&'a str> {
        self.raw().filter(|_| !self.is_blank())
    }

    /// Whether it means "absent": not there, null, or text of white space alone.
    pub(super) fn is_blank(self) -> bool {
        matches!(self.text(), Text::Blank)
    }

    /// The field as text, if it can be text. U+0000 becomes U+FFFD: PostgreSQL holds no NUL.
    pub(super) fn text(self) -> Text<'a> {
        let Some(raw) = self.raw() else { return Text::Blank };
        match raw.as_bytes() {
            [b'"', ..] => match unescape(raw) {
                text if text.trim().is_empty() => Text::Blank,
                text if text.contains('\0') => Text::Given(text.replace('\0', "\u{FFFD}").into()),
                text => Text::Given(text),
            },
            [b'{' | b'[', ..] => Text::Container,
            [b'n', ..] => Text::Blank,
            _ => Text::Given(Cow::Borrowed(raw)),
        }
    }

    /// The field as text whatever it is: a container becomes its JSON text. `None` if blank.
    pub(super) fn lenient_text(self) -> Option<Cow<'a, str>> {
        match self.text() {
            Text::Blank => None,
            Text::Given(text) => Some(text),
            Text::Container => self.raw().map(Cow::Borrowed),
        }
    }

    /// As [`Self::lenient_text`], owned.
    pub(super) fn owned_text(self) -> Option<String> {
        self.lenient_text().map(Cow::into_owned)
    }

    /// The text of an entry's own address (`href`, `src`), which nothing else can stand in for.
    pub(super) fn plain_text(self) -> Option<String> {
        match self.text() {
            Text::Given(text) => Some(text.into_owned()),
            Text::Blank | Text::Container => None,
        }
    }
}

/// The contents of a JSON string that has been parsed before; borrowed if it has no escapes.
fn unescape(json: &str) -> Cow<'_, str> {
    match json.get(1..json.len() - 1) {
        Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
        _ => Cow::Owned(
            serde_json::from_str(json)
                .expect("a span of the parser, whose surrogates were checked before"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_readable(body: &[u8]) -> bool {
        check(body).is_ok_and(|text| for_each_entry(text, |_, _| ()).is_ok())
    }

    fn nested(containers: usize) -> String {
        let inner = containers - 1;
        format!("{{\"a\":{}{}}}", "[".repeat(inner), "]".repeat(inner))
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert_eq!(check(b"\xEF\xBB\xBF{}"), Ok("{}"));
    }

    #[test]
    fn sixty_four_containers_are_read_and_one_more_is_not() {
        assert!(is_readable(nested(64).as_bytes()));
        assert!(!is_readable(nested(65).as_bytes()));
    }

    #[test]
    fn brackets_inside_strings_are_not_nesting() {
        let body = format!(r#"{{"a\"":"\\\"{}"}}"#, "[{".repeat(200));

        assert!(is_readable(body.as_bytes()));
    }

    #[test]
    fn half_a_surrogate_pair_is_unreadable_wherever_it_stands() {
        for escaped in [r"\ud800", r"\udc00", r"\ud800x", r"\ud800\n", r"\ud800\ud800", r"\uDBFF"] {
            assert!(!is_readable(format!(r#"{{"a":[{{"b":"{escaped}"}}]}}"#).as_bytes()));
            assert!(!is_readable(format!(r#"{{"{escaped}":1}}"#).as_bytes()));
        }
        assert!(is_readable(br#"{"a":"\uD83D\uDD25 \\ud800 \uFFFF"}"#));
    }

    #[test]
    fn what_is_not_one_object_is_unreadable() {
        let bodies: [&[u8]; 16] = [
            b"",
            b" ",
            b"[]",
            b"null",
            b"\"text\"",
            b"{",
            b"{}}",
            b"{} {}",
            b"{\"a\":1,}",
            b"{\"a\":01}",
            b"{\"a\":\"\\u12\"}",
            b"{\"a\":\"\\x\"}",
            b"{\"a\":\"\n\"}",
            b"{\"a\":\"\xFF\"}",
            b"{\"a\":\"\xED\xA0\x80\"}",
            b"{a:1}",
        ];
        for body in bodies {
            assert!(!is_readable(body), "{body:?}");
        }
    }

    #[test]
    fn names_are_compared_without_their_escapes_and_the_last_one_wins() {
        let mut last = None;

        for_each_entry(r#"{"key":1,"k\u0065y": 2 ,"other":3}"#, |name, field| {
            if name == "key" {
                last = field.raw();
            }
        })
        .unwrap();

        assert_eq!(last, Some("2"));
    }

    #[test]
    fn a_field_becomes_text_by_its_own_spelling() {
        let cases = [
            (r#""plain""#, Some("plain")),
            (r#""a\u0000b""#, Some("a\u{FFFD}b")),
            (r#"" \t\u00a0""#, None),
            (r#""""#, None),
            ("null", None),
            ("1.50e+02", Some("1.50e+02")),
            ("false", Some("false")),
            (r#"{"a": [1]}"#, Some(r#"{"a": [1]}"#)),
        ];
        for (json, text) in cases {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            assert_eq!(Field(Some(raw)).lenient_text().as_deref(), text, "{json}");
        }
    }
}
