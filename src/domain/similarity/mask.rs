//! Masking: cuts a text into tokens and hides what varies from one alert to the next.
//!
//! Numbers, sizes, times, addresses, paths, identifiers and the values of `key=value` become
//! variables; neighbours that are variables become one, so that a longer list is the same text.
//! What is left are words. Nothing here looks at other texts.

use std::fmt;

use super::{align::Unit, words};

/// Most tokens of a text that are looked at; the rest says little about what the text is.
pub(super) const TOKENS_MAX: usize = 64;
/// Most bytes of a text that are looked at.
const BYTES_MAX: usize = 4096;
/// From this length on, a word of nothing but hexadecimal letters is a number.
const HEX_MIN: usize = 8;
/// What people see in place of a variable.
pub(super) const WILDCARD: &str = "<*>";
/// Between fields, so that they cannot run into each other.
const FIELD_SEPARATOR: &str = " | ";

/// What a token is, which decides what a difference in it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Masked: it varies.
    Variable,
    /// Found to vary between texts that are alike otherwise; only templates have it.
    Wildcard,
    /// A word that looks like a name or a value: it may vary.
    Soft,
    /// One character of a script that puts no spaces between words.
    Letter,
    Word,
    /// The end of a field.
    Field,
}

/// A range of the masked text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) class: Class,
    /// Of the word in lower case; equal hashes count as equal words.
    pub(super) hash: u64,
    pub(super) start: u32,
    pub(super) end: u32,
}

/// A text after masking: what is left to compare.
#[derive(Clone, PartialEq, Eq)]
pub struct Masked {
    /// The text with its variables replaced; tokens are ranges of it.
    pub(super) shown: String,
    pub(super) tokens: Vec<Token>,
}

impl fmt::Debug for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masked({:?})", self.shown)
    }
}

impl Masked {
    /// Masks one text.
    pub fn of(text: &str) -> Self {
        Self::of_fields(std::iter::once(text))
    }

    /// Masks several texts; a token belongs to one of them.
    pub fn of_fields<'a>(fields: impl Iterator<Item = &'a str>) -> Self {
        let mut lexer = Lexer {
            masked: Self { shown: String::new(), tokens: Vec::with_capacity(16) },
            gap_start: 0,
        };
        for (at, field) in fields.enumerate() {
            if at > 0 {
                lexer.end_field();
            }
            lexer.read(truncate(field));
            if lexer.is_full() {
                break;
            }
        }
        let mut masked = lexer.masked;
        masked.tokens.truncate(TOKENS_MAX);
        masked.shown.truncate(masked.tokens.last().map_or(0, |last| last.end as usize));
        masked
    }

    pub(super) fn units(&self) -> Vec<Unit> {
        self.tokens.iter().map(Unit::from).collect()
    }

    pub(super) fn text(&self, token: &Token) -> &str {
        &self.shown[token.start as usize..token.end as usize]
    }
}

/// The beginning of a text, cut between two characters.
fn truncate(text: &str) -> &str {
    &text[..text.floor_char_boundary(BYTES_MAX)]
}

struct Lexer {
    masked: Masked,
    /// Where the text after the last token begins in `shown`.
    gap_start: usize,
}

/// How many characters of each kind a piece of text has.
#[derive(Clone, Copy, Default)]
struct Counts {
    digits: usize,
    letters: usize,
    /// Letters that no hexadecimal number has, and what joins words.
    not_hex: usize,
    dots: usize,
    slashes: usize,
    ats: usize,
    colons: usize,
}

impl Lexer {
    fn is_full(&self) -> bool {
        self.masked.tokens.len() >= TOKENS_MAX
    }

    fn end_field(&mut self) {
        self.masked.shown.truncate(self.gap_start);
        self.masked.shown.push_str(FIELD_SEPARATOR);
        self.push_token(Class::Field, "", self.masked.shown.len());
    }

    fn push_token(&mut self, class: Class, word: &str, start: usize) {
        let token = Token {
            class,
            hash: hash(word.as_bytes()),
            start: offset(start),
            end: offset(self.masked.shown.len()),
        };
        self.masked.tokens.push(token);
        self.gap_start = self.masked.shown.len();
    }

    fn push_word(&mut self, class: Class, word: &str) {
        let start = self.masked.shown.len();
        self.masked.shown.push_str(word);
        self.push_token(class, word, start);
    }

    fn last(&self) -> Option<&Token> {
        self.masked.tokens.last()
    }

    /// The text since the last token.
    fn gap(&self) -> &str {
        &self.masked.shown[self.gap_start..]
    }

    /// Whether something that belongs to a token may stand here: right after it, or a space on.
    fn is_next_to_last(&self) -> bool {
        matches!(self.gap(), "" | " " | ", " | "  ")
    }

    fn push_variable(&mut self) {
        // A month's or weekday's name before a number is part of a date.
        while let Some(last) = self.last() {
            let is_date = last.class == Class::Word
                && self.is_next_to_last()
                && words::is_date_part(self.masked.text(last));
            if last.class != Class::Variable && !is_date {
                break;
            }
            let start = last.start as usize;
            self.masked.shown.truncate(start);
            self.masked.tokens.pop();
            self.gap_start = self.last().map_or(0, |token| token.end as usize);
        }
        let start = self.masked.shown.len();
        self.masked.shown.push_str(WILDCARD);
        self.push_token(Class::Variable, "", start);
    }

    fn read(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut at = 0;
        let mut is_first = true;
        while at < bytes.len() && !self.is_full() {
            let separators = at;
            at = skip_separators(text, at);
            self.masked.shown.push_str(&text[separators..at]);
            if at == bytes.len() {
                break;
            }
            let next = next_char(text, at);
            if words::is_unspaced(next) {
                let end = at + next.len_utf8();
                self.push_word(Class::Letter, &text[at..end]);
                at = end;
                continue;
            }
            let end = end_of_chunk(text, at);
            self.read_chunk(text, at, end, is_first);
            is_first = false;
            at = end;
            if bytes.get(at) == Some(&b'=')
                && self.gap().is_empty()
                && self.last().is_some_and(|last| last.class != Class::Variable)
                && bytes.get(at + 1) != Some(&b'=')
            {
                self.masked.shown.push('=');
                at = end_of_value(text, at + 1);
                self.push_variable();
            }
        }
    }

    /// Reads a run of characters that are no separators.
    fn read_chunk(&mut self, text: &str, start: usize, end: usize, is_first: bool) {
        let chunk = &text[start..end];
        let counts = count(chunk);
        if is_empty(counts) {
            self.masked.shown.push_str(chunk);
            return;
        }
        if counts.colons > 0
            && let Some(colon) = key_before_colon(chunk)
        {
            self.push_word(Class::Word, &chunk[..colon]);
            self.masked.shown.push(':');
            let value = start + colon + 1;
            self.read_value(text, value, end);
            return;
        }
        if let Some(last) = self.last()
            && last.class == Class::Variable
            && matches!(self.gap(), "" | " ")
            && words::is_unit(chunk)
        {
            // Part of the number before it.
            self.masked.shown.truncate(self.gap_start);
            return;
        }
        if is_variable(chunk, counts) {
            self.push_variable();
            return;
        }
        let is_quoted = start > 0
            && matches!(text.as_bytes()[start - 1], b'"' | b'\'' | b'`')
            && text.as_bytes().get(end) == text.as_bytes().get(start - 1);
        let is_call = text[end..].starts_with("()");
        let is_soft = !is_first
            && !is_call
            && (counts.dots > 0
                || is_quoted
                || words::is_literal(chunk)
                || self.is_named(chunk, text[end..].bytes().all(is_separator)));
        self.push_word(if is_soft { Class::Soft } else { Class::Word }, chunk);
    }

    /// Reads what follows `key:` without a space.
    fn read_value(&mut self, text: &str, start: usize, end: usize) {
        let chunk = &text[start..end];
        let counts = count(chunk);
        if is_empty(counts) {
            self.masked.shown.push_str(chunk);
        } else if is_variable(chunk, counts) {
            self.push_variable();
        } else {
            self.push_word(Class::Soft, chunk);
        }
    }

    /// Whether the word before says that this is a name: `user admin`, `on web-primary`, and
    /// `on checkout` at the end of a text.
    fn is_named(&self, word: &str, is_last: bool) -> bool {
        let is_joined = word.contains(['-', '_']);
        let is_name = word.len() == 1
            || word.contains('-')
            || word.bytes().any(|byte| byte.is_ascii_lowercase());
        if !is_name || !self.is_next_to_last() {
            return false;
        }
        self.last().filter(|last| last.class == Class::Word).is_some_and(|last| {
            let before = self.masked.text(last);
            (words::is_kind(before) && (is_joined || !words::is_state(word)))
                || (is_joined && words::is_preposition(before))
                || (is_last && words::is_place(before))
        })
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn next_char(text: &str, at: usize) -> char {
    text[at..].chars().next().unwrap_or(' ')
}

fn is_separator(byte: u8) -> bool {
    byte <= b' '
        || matches!(
            byte,
            b'(' | b')'
                | b'['
                | b']'
                | b'{'
                | b'}'
                | b'<'
                | b'>'
                | b','
                | b';'
                | b'"'
                | b'\''
                | b'`'
                | b'|'
                | b'='
        )
}

/// Whether punctuation that is no letter of a chunk stands here: two dots, or the mark at its end.
fn is_end_mark(bytes: &[u8], at: usize) -> bool {
    matches!(bytes[at], b'.' | b':' | b'!' | b'?')
        && match bytes.get(at + 1) {
            None => true,
            Some(b'.') => bytes[at] == b'.',
            Some(next) => is_separator(*next),
        }
}

fn skip_separators(text: &str, mut at: usize) -> usize {
    let bytes = text.as_bytes();
    while at < bytes.len() {
        if bytes[at] < 128 {
            if !is_separator(bytes[at]) && !matches!(bytes[at], b'.' | b':' | b'!' | b'?' | b'*') {
                break;
            }
            at += 1;
        } else {
            let next = next_char(text, at);
            if next.is_alphanumeric() {
                break;
            }
            at += next.len_utf8();
        }
    }
    at
}

fn end_of_chunk(text: &str, mut at: usize) -> usize {
    let bytes = text.as_bytes();
    let mut slashes = 0;
    while at < bytes.len() {
        if bytes[at] < 128 {
            slashes += usize::from(bytes[at] == b'/');
            // The query of an address belongs to it, and so do placeholders.
            let is_in_path = slashes > 1 && matches!(bytes[at], b'=' | b'{' | b'}');
            if (is_separator(bytes[at]) && !is_in_path) || is_end_mark(bytes, at) {
                break;
            }
            at += 1;
        } else {
            let next = next_char(text, at);
            if !next.is_alphanumeric() || words::is_unspaced(next) {
                break;
            }
            at += next.len_utf8();
        }
    }
    at
}

/// Where the value of `key=value` ends: it may be quoted, and it may be empty.
fn end_of_value(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    if let Some(quote @ (b'"' | b'\'')) = bytes.get(start)
        && let Some(length) = bytes[start + 1..].iter().position(|byte| byte == quote)
    {
        return start + length + 2;
    }
    let length = bytes[start..].iter().position(|&byte| is_separator(byte) && byte != b'=');
    length.map_or(bytes.len(), |length| start + length)
}

fn count(chunk: &str) -> Counts {
    let mut counts = Counts::default();
    for letter in chunk.chars() {
        match letter {
            '0'..='9' => counts.digits += 1,
            'a'..='f' | 'A'..='F' => counts.letters += 1,
            'g'..='z' | 'G'..='Z' => {
                counts.letters += 1;
                counts.not_hex += 1;
            }
            '.' => counts.dots += 1,
            '/' | '\\' => counts.slashes += 1,
            '@' => counts.ats += 1,
            ':' => counts.colons += 1,
            '_' => counts.not_hex += 1,
            letter if letter.is_ascii() => {}
            letter if letter.is_numeric() => counts.digits += 1,
            _ => {
                counts.letters += 1;
                counts.not_hex += 1;
            }
        }
    }
    counts
}

/// Whether there is something to compare, and not punctuation only.
fn is_empty(counts: Counts) -> bool {
    counts.digits + counts.letters == 0
}

fn is_variable(chunk: &str, counts: Counts) -> bool {
    if counts.colons > 1 && chunk.contains("::") {
        // A name in code, whatever its digits.
        return false;
    }
    let is_path = counts.slashes > 1 || (counts.slashes == 1 && chunk.starts_with(['/', '\\']));
    let is_hex = counts.not_hex == 0 && chunk.len() >= HEX_MIN;
    counts.digits > 0 || counts.ats > 0 || is_path || is_hex
}

/// Where the key of `key:value` ends, if that is what it is: not `host.example.com:80`, `12:30`.
fn key_before_colon(chunk: &str) -> Option<usize> {
    let colon = chunk.find(':')?;
    let rest = &chunk[colon + 1..];
    let is_key = colon > 1
        && !rest.starts_with([':', '/', '\\'])
        && chunk[..colon].bytes().all(|b| b.is_ascii_alphabetic() || b == b'_' || b == b'-');
    is_key.then_some(colon)
}

/// FNV-1a over the word in lower case, mixed once more. It is not stored.
pub(super) fn hash(word: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in word {
        hash = (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^ (hash >> 29)
}
