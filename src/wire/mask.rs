//! Takes the keys out of a body before it is stored.
//!
//! Routing keys are credentials, and stored bodies are shown in the console, backed up and
//! exported. `custom_details` are the exception: they are kept verbatim, as SECURITY.md says.

use memchr::memmem::Finder;

use crate::domain::{event::StoredBody, key::RoutingKey};

use super::json::{Field, Text};

/// A text this long or longer shows its first four characters; a shorter one none.
const SHORTEST_SHOWN: usize = 8;

/// What stands in the place of a secret: its first four characters and `…`.
pub(super) fn hint(secret: &str) -> String {
    if secret.chars().nth(SHORTEST_SHOWN - 1).is_none() {
        return "…".to_owned();
    }
    secret.chars().take(4).chain(['…']).collect()
}

/// Returns `text` with every value of `secrets` and every literal copy of `key` replaced by its
/// hint, except inside `details`. All of them are spans of `text`.
pub(super) fn store(
    text: &str,
    secrets: &[Field<'_>],
    details: Option<&str>,
    key: &str,
) -> StoredBody {
    let mut cuts: Vec<Cut> =
        secrets.iter().filter_map(|field| Cut::of_secret(text, *field)).collect();
    cuts.extend(details.map(|details| Cut { span: span_of(text, details), hint: None }));
    cuts.sort_unstable_by_key(|cut| cut.span.0);

    // Only a well-formed key is anyone's secret. Searching for another one (`?integration_key=a`)
    // would tear the JSON apart and hide nothing.
    let key = RoutingKey::parse(key).is_ok().then(|| (key, Finder::new(key)));
    let copies = Copies { hint: key.as_ref().map_or_else(String::new, |(key, _)| hint(key)), key };
    let mut masked = String::with_capacity(text.len() + 8);
    let mut masked_details = None;
    let mut done = 0;
    for cut in cuts {
        let (start, end) = cut.span;
        copies.replace(&text[done..start], &mut masked);
        if let Some(hint) = cut.hint {
            masked.push_str(&hint);
        } else {
            let start_in_masked = masked.len();
            masked.push_str(&text[start..end]);
            masked_details =
                u32::try_from(start_in_masked).ok().zip(u32::try_from(masked.len()).ok());
        }
        done = end;
    }
    copies.replace(&text[done..], &mut masked);
    StoredBody { text: masked, details: masked_details }
}

/// A value that is not copied as it is.
struct Cut {
    span: (usize, usize),
    /// The JSON to put there; `None` to copy it without looking for keys.
    hint: Option<String>,
}

impl Cut {
    /// `None` for a blank value, which has nothing to hide.
    fn of_secret(text: &str, secret: Field<'_>) -> Option<Self> {
        let hint = match secret.text() {
            Text::Blank => return None,
            Text::Given(secret) => hint(&secret),
            Text::Container => hint(""),
        };
        let json = serde_json::Value::String(hint).to_string();
        Some(Self { span: span_of(text, secret.raw()?), hint: Some(json) })
    }
}

fn span_of(text: &str, part: &str) -> (usize, usize) {
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    (start, start + part.len())
}

/// The literal copies of one key, and what replaces them.
struct Copies<'a> {
    key: Option<(&'a str, Finder<'a>)>,
    hint: String,
}

impl Copies<'_> {
    /// Appends `piece` to `masked`. It must start outside any string; all pieces do, for they lie
    /// between whole values.
    fn replace(&self, mut piece: &str, masked: &mut String) {
        let Some((key, finder)) = &self.key else {
            masked.push_str(piece);
            return;
        };
        // `"x":12345678901234567890123456789012` is the only copy outside a string.
        let may_be_number = key.bytes().all(|b| matches!(b, b'0'..=b'9' | b'e' | b'E'));
        let mut in_string = false;
        while let Some(start) = finder.find(piece.as_bytes()) {
            let (before, found) = piece.split_at(start);
            let after = &found[key.len()..];
            if may_be_number {
                in_string ^= crosses_string_border(before, in_string);
            }
            if may_be_number && !in_string {
                let before = before.trim_end_matches(is_part_of_number);
                masked.push_str(before);
                masked.push('"');
                masked.push_str(&self.hint);
                masked.push('"');
                piece = after.trim_start_matches(is_part_of_number);
                continue;
            }
            masked.push_str(before);
            // The copy's `u` may belong to an escape, whose four digits must stay with it.
            let in_unicode_escape = found.starts_with('u') && ends_with_open_escape(before);
            if in_unicode_escape {
                masked.push_str(&found[..5]);
                masked.push('…');
            } else {
                masked.push_str(&self.hint);
            }
            piece = after;
        }
        masked.push_str(piece);
    }
}

/// Whether the end of `json` is inside a string and its start is not, or the other way round.
fn crosses_string_border(json: &str, starts_in_string: bool) -> bool {
    let mut in_string = starts_in_string;
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            // The escaped byte, which may be a quote, is passed over.
            b'\\' if in_string => drop(bytes.next()),
            _ => {}
        }
    }
    in_string != starts_in_string
}

fn ends_with_open_escape(json: &str) -> bool {
    !json.bytes().rev().take_while(|byte| *byte == b'\\').count().is_multiple_of(2)
}

fn is_part_of_number(c: char) -> bool {
    matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Endpoint, GivenKeys, decode};

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn masked(url_key: Option<&str>, body: &str) -> StoredBody {
        let keys = GivenKeys { url: url_key, header: None };
        decode(Endpoint::Change, keys, body.as_bytes()).unwrap().body
    }

    fn details_of(body: &StoredBody) -> Option<&str> {
        body.details.map(|(start, end)| &body.text[start as usize..end as usize])
    }

    #[test]
    fn a_key_shows_four_characters_and_a_short_one_none() {
        assert_eq!(hint(KEY), "0123…");
        assert_eq!(hint("12345678"), "1234…");
        assert_eq!(hint("1234567"), "…");
        assert_eq!(hint("磁磁磁磁磁磁磁磁"), "磁磁磁磁…");
    }

    #[test]
    fn every_key_of_the_body_is_masked_however_it_is_written() {
        let body = format!(
            "{{\"routing_key\": \"{KEY}\",\n \"r\\u006futing_key\":\"{KEY}\",\"service_key\":\"sec\\\"ret-é\",\
             \"payload\":{{\"summary\":\"s\"}},\"routing_key\":\"\\u0030{rest}\",\"service_key\":null}} ",
            rest = &KEY[1..]
        );

        let stored = masked(None, &body);

        assert_eq!(
            stored.text,
            "{\"routing_key\": \"0123…\",\n \"r\\u006futing_key\":\"0123…\",\"service_key\":\"sec\\\"…\",\
             \"payload\":{\"summary\":\"s\"},\"routing_key\":\"0123…\",\"service_key\":null} "
        );
    }

    #[test]
    fn copies_elsewhere_are_masked_and_details_stay_as_they_are() {
        let body = format!(
            r#"{{"payload":{{"summary":"磁 {KEY}{KEY}","custom_details": {{"k":"{KEY}"}} }},"{KEY}":"{KEY}"}}"#
        );

        let stored = masked(Some(KEY), &body);

        assert_eq!(
            stored.text,
            format!(
                r#"{{"payload":{{"summary":"磁 0123…0123…","custom_details": {{"k":"{KEY}"}} }},"0123…":"0123…"}}"#
            )
        );
        assert_eq!(details_of(&stored), Some(&*format!(r#"{{"k":"{KEY}"}}"#)));
    }

    #[test]
    fn a_key_of_the_body_that_is_not_read_is_masked_too() {
        for (sent, kept) in [
            (r#""xxx""#, r#""…""#),
            ("12345678", r#""1234…""#),
            (r#"{"a":"b"}"#, r#""…""#),
            (r#""""#, r#""""#),
        ] {
            let body = format!(r#"{{"routing_key":{sent},"payload":{{"summary":"s"}}}}"#);

            let stored = masked(Some(KEY), &body);

            let expected = format!(r#"{{"routing_key":{kept},"payload":{{"summary":"s"}}}}"#);
            assert_eq!(stored.text, expected);
        }
    }

    #[test]
    fn the_body_stays_json_when_a_copy_stands_in_a_number_or_in_an_escape() {
        let digits = "12345678901234567890123456789012";
        let body = format!(
            r#"{{"a":-{digits}.5e1,"b":[{digits},{digits}9{digits}],"c":"\"{digits}","payload":{{"summary":"s"}}}}"#
        );
        assert_eq!(
            masked(Some(digits), &body).text,
            r#"{"a":"1234…","b":["1234…","1234…"],"c":"\"1234…","payload":{"summary":"s"}}"#
        );

        let hex = "u00e9abcdefabcdefabcdefabcdefabc";
        let body = format!(r#"{{"a":"\{hex} \\{hex}","payload":{{"summary":"s"}}}}"#);
        assert_eq!(
            masked(Some(hex), &body).text,
            r#"{"a":"\u00e9… \\u00e…","payload":{"summary":"s"}}"#
        );
    }

    #[test]
    fn a_malformed_key_of_the_url_is_not_searched_for() {
        let stored = masked(Some("s"), r#"{"payload":{"summary":"s"}}"#);

        assert_eq!(stored.text, r#"{"payload":{"summary":"s"}}"#);
    }
}
