//! The text of a scenario, taken apart: steps, their times and words. `tests/scenarios/README.md`
//! says how it is written.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::domain::time::Timestamp;

/// A Monday.
const START: &str = "2026-11-02T00:00:00Z";

#[derive(Debug)]
pub(super) struct Script {
    pub(super) name: String,
    pub(super) start: Timestamp,
    pub(super) steps: Vec<Step>,
}

/// One line, or the lines of a batch; and what is expected after it.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) lines: Vec<Line>,
    pub(super) expected: Vec<Line>,
}

impl Step {
    /// When the last of it happens.
    pub(super) fn at(&self) -> Timestamp {
        self.lines.last().map(|line| line.at).unwrap_or_default()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) at: Timestamp,
    /// Words without a name.
    pub(super) words: Vec<String>,
    /// Words of the form `name=value`.
    pub(super) named: BTreeMap<String, String>,
    /// What is indented below `policy`.
    pub(super) body: Value,
}

impl Line {
    fn parse(number: usize, at: Timestamp, text: &str) -> Self {
        let mut line =
            Self { number, at, words: Vec::new(), named: BTreeMap::new(), body: Value::Null };
        for word in words(text) {
            let is_name = |name: &str| {
                !name.is_empty()
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.".contains(c))
            };
            match word.split_once('=').filter(|(name, _)| is_name(name)) {
                Some((name, value)) => {
                    line.named.insert(name.to_owned(), unquoted(value));
                }
                None => line.words.push(unquoted(&word)),
            }
        }
        line
    }

    pub(super) fn word(&self, at: usize) -> &str {
        self.words.get(at).map_or("", String::as_str)
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.named.get(name).map(String::as_str)
    }

    /// `disk-{1..60}` stands for sixty lines.
    fn expanded(self) -> Vec<Self> {
        let range = |word: &String| {
            let (before, rest) = word.split_once('{')?;
            let (range, after) = rest.split_once('}')?;
            let (first, last) = range.split_once("..")?;
            let numbers = first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?;
            Some((before.to_owned(), numbers, after.to_owned()))
        };
        let found = self.words.iter().enumerate().find_map(|(at, word)| Some((at, range(word)?)));
        let Some((at, (before, numbers, after))) = found else { return vec![self] };
        let mut lines = Vec::new();
        for number in numbers {
            let mut line = self.clone();
            line.words[at] = format!("{before}{number}{after}");
            for value in line.named.values_mut() {
                *value = value.replace("{n}", &number.to_string());
            }
            lines.push(line);
        }
        lines
    }
}

/// Splits at blanks outside of quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for letter in text.trim().chars() {
        match (quote, letter) {
            (None, ' ') => {
                if words.last().is_some_and(|word| !word.is_empty()) {
                    words.push(String::new());
                }
                continue;
            }
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            _ => {}
        }
        words.last_mut().unwrap().push(letter);
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Without the quotes around all of it; those inside (`class="disk"`) stay.
fn unquoted(text: &str) -> String {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner.to_owned();
        }
    }
    text.to_owned()
}

/// `HH:MM[:SS[.mmm]]` after the start, with `2d` before it for days. Hours may exceed 23.
pub(super) fn time(start: Timestamp, text: &str) -> Option<Timestamp> {
    let (days, clock) = match text.split_once('d') {
        Some((days, clock)) => (days.parse::<i64>().ok()?, clock),
        None => (0, text),
    };
    let mut parts = clock.split(':');
    let hours: i64 = parts.next()?.parse().ok()?;
    let minutes: i64 = parts.next()?.parse().ok()?;
    let (seconds, millis) = match parts.next() {
        None => (0, 0),
        Some(seconds) => match seconds.split_once('.') {
            Some((seconds, millis)) if millis.len() == 3 => {
                (seconds.parse::<i64>().ok()?, millis.parse::<i64>().ok()?)
            }
            Some(_) => return None,
            None => (seconds.parse::<i64>().ok()?, 0),
        },
    };
    let after = (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000 + millis;
    parts.next().is_none().then(|| Timestamp::from_millis(start.as_millis() + after))
}

/// As the scenarios write it.
pub(super) fn shown(start: Timestamp, at: Timestamp) -> String {
    let millis = at.as_millis() - start.as_millis();
    let (seconds, millis) = (millis.div_euclid(1000), millis.rem_euclid(1000));
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    let mut text = format!("{:02}:{:02}", minutes / 60, minutes % 60);
    if seconds > 0 || millis > 0 {
        text = format!("{text}:{seconds:02}");
    }
    if millis > 0 {
        text = format!("{text}.{millis:03}");
    }
    text
}

impl Script {
    /// Takes a text apart. `Err` says which line is not understood.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, String> {
        let wrong = |number: usize, what: &str| Err(format!("{name}:{number}: {what}"));
        let mut script = Self {
            name: name.to_owned(),
            start: Timestamp::parse_rfc3339(START).unwrap_or_default(),
            steps: Vec::new(),
        };
        let mut at = script.start;
        let mut in_batch = false;
        let mut body: Option<String> = None;
        for (index, raw) in text.lines().enumerate() {
            let number = index + 1;
            let is_indented = raw.starts_with(' ');
            let line = raw.trim();
            if line.starts_with('#') || line.is_empty() {
                continue;
            }
            if let Some(expected) = line.strip_prefix("> ") {
                script.end_body(&mut body)?;
                let Some(step) = script.steps.last_mut() else {
                    return wrong(number, "nothing happened yet");
                };
                step.expected.push(Line::parse(number, step.at(), expected));
                continue;
            }
            if is_indented && let Some(body) = &mut body {
                body.push_str(raw);
                body.push('\n');
                continue;
            }
            script.end_body(&mut body)?;
            in_batch &= is_indented;
            if is_indented && !in_batch {
                return wrong(number, "nothing that this could belong to is above");
            }
            let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
            if first == "start" {
                let Some(start) = Timestamp::parse_rfc3339(rest.trim()) else {
                    return wrong(number, "start with a time like 2026-11-02T00:00:00Z");
                };
                script.start = start;
                at = start;
                continue;
            }
            if first == "batch" {
                in_batch = true;
                script.steps.push(Step::default());
                continue;
            }
            let text = match time(script.start, first) {
                Some(time) if time < at => return wrong(number, "time goes back"),
                Some(time) => {
                    at = time;
                    rest
                }
                None if first.starts_with(|c: char| c.is_ascii_digit()) => {
                    return wrong(number, "a time is written 00:10, 00:10:30 or 2d00:10");
                }
                None => line,
            };
            let lines = Line::parse(number, at, text).expanded();
            body = (lines[0].word(0) == "policy").then(String::new);
            match script.steps.last_mut() {
                Some(step) if in_batch => step.lines.extend(lines),
                _ => script.steps.push(Step { lines, expected: Vec::new() }),
            }
        }
        script.end_body(&mut body)?;
        Ok(script)
    }

    /// What was indented below the last line is its body.
    fn end_body(&mut self, body: &mut Option<String>) -> Result<(), String> {
        let Some(text) = body.take() else { return Ok(()) };
        let line = self.steps.last_mut().and_then(|step| step.lines.last_mut());
        if let Some(line) = line {
            let read = yaml_serde::from_str(&text);
            line.body = read.map_err(|e| format!("{}:{}: {e}", self.name, line.number))?;
        }
        Ok(())
    }
}
