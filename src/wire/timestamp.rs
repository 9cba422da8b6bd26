//! Reads the times that clients put into `timestamp`.
//!
//! Senders disagree about the form: RFC 3339 from Go, `+0000` from Python's `strftime`, no offset
//! from `datetime.isoformat()`, a space for the `T` from Go's `time.DateTime`, epoch milliseconds
//! from Elasticsearch. A time that cannot be read is no reason to lose an event, so this says
//! `None` and nothing more. Whether a time is plausible is judged against the time of receipt, in
//! the pipeline, not here.

use jiff::{civil, tz::Offset};

use crate::domain::time::Timestamp;

/// Integers from here up are milliseconds: as seconds they would lie after the year 5138, and as
/// milliseconds those below would lie before March 1973.
const FIRST_MILLIS: i64 = 100_000_000_000;

/// What `text` means, whether it was sent as a string or as a number; `None` if unreadable.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    parse_epoch(text).or_else(|| parse_date_time(text)).filter(|at| *at <= Timestamp::MAX)
}

/// `1795169472`, `1795169472345`, and seconds with a fraction as Python's `time.time()` has them.
fn parse_epoch(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let number: i64 = whole.parse().ok()?;
    let millis = if number < FIRST_MILLIS {
        number * 1000 + i64::from(millis_of_fraction(fraction))
    } else {
        number
    };
    Some(Timestamp::from_millis(millis))
}

/// The first three digits after the point; what is finer than a millisecond is cut off.
fn millis_of_fraction(digits: &str) -> i16 {
    digits
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(3)
        .fold(0, |millis, digit| millis * 10 + i16::from(digit - b'0'))
}

/// `2026-11-20T10:11:12.345Z` and its relatives. Seconds, fraction and offset may be missing.
fn parse_date_time(text: &str) -> Option<Timestamp> {
    let mut rest = Rest(text);
    let year = i16::try_from(rest.digits(4)?).ok()?;
    rest.one_of("-")?;
    let month = rest.two_digits()?;
    rest.one_of("-")?;
    let day = rest.two_digits()?;
    rest.one_of("Tt ")?;
    let hour = rest.two_digits()?;
    rest.one_of(":")?;
    let minute = rest.two_digits()?;
    let second = if rest.one_of(":").is_some() { rest.two_digits()? } else { 0 };
    let millis = if rest.one_of(".,").is_some() { rest.fraction()? } else { 0 };
    let offset_seconds = rest.offset()?;
    if second > 60 {
        return None;
    }

    // RFC 3339 §5.6 allows a leap second as :60; Unix time has none, so it is the second before.
    let time =
        civil::Time::new(hour, minute, second.min(59), i32::from(millis) * 1_000_000).ok()?;
    let date_time = civil::Date::new(year, month, day).ok()?.to_datetime(time);
    let at = Offset::from_seconds(offset_seconds).ok()?.to_timestamp(date_time).ok()?;
    Some(Timestamp::from_millis(at.as_millisecond()))
}

/// What is left to read of a text.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn digits(&mut self, count: usize) -> Option<i32> {
        let digits = self.0.get(..count)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        self.0 = &self.0[count..];
        digits.parse().ok()
    }

    fn two_digits(&mut self) -> Option<i8> {
        self.digits(2).and_then(|number| i8::try_from(number).ok())
    }

    fn one_of(&mut self, allowed: &str) -> Option<char> {
        let first = self.0.chars().next().filter(|first| allowed.contains(*first))?;
        self.0 = &self.0[first.len_utf8()..];
        Some(first)
    }

    fn fraction(&mut self) -> Option<i16> {
        let count = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        (count > 0).then(|| millis_of_fraction(digits))
    }

    /// All that is left, as an offset in seconds: `Z`, `+01:00`, `+0100`, `+01`, or nothing, which
    /// is read as UTC.
    fn offset(mut self) -> Option<i32> {
        if matches!(self.0, "" | "Z" | "z") {
            return Some(0);
        }
        let sign = if self.one_of("+-")? == '-' { -1 } else { 1 };
        let hours = self.digits(2)?;
        let minutes = if self.0.is_empty() {
            0
        } else {
            // Both `+0100` and `+01:00`.
            let _colon = self.one_of(":");
            self.digits(2)?
        };
        let in_range = hours < 24 && minutes < 60 && self.0.is_empty();
        in_range.then_some(sign * (hours * 3600 + minutes * 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_clients_send_means_the_same_time() {
        let forms = [
            "2026-11-20T10:11:12.345Z",
            "2026-11-20t10:11:12.345z",
            "2026-11-20T10:11:12.345+00:00",
            "2026-11-20T10:11:12.345+0000",
            "2026-11-20T10:11:12.345+00",
            "2026-11-20T10:11:12.345-00:00",
            "2026-11-20T10:11:12.345",
            "2026-11-20 10:11:12.345",
            "2026-11-20 10:11:12,345",
            "2026-11-20T10:11:12.345678Z",
            "2026-11-20T10:11:12.345678901Z",
            "2026-11-20T10:11:12.34567890123456789Z",
            "2026-11-20T18:11:12.345678+08:00",
            "2026-11-20T05:41:12.345-0430",
            " 2026-11-20T10:11:12.345Z\n",
            "1795169472345",
            "1795169472.345678",
        ];
        for form in forms {
            let at = parse(form).map(|at| at.to_string());
            assert_eq!(at.as_deref(), Some("2026-11-20T10:11:12.345Z"), "{form}");
        }
    }

    #[test]
    fn fraction_and_seconds_may_be_missing() {
        let cases = [
            ("2026-11-20 10:11:12", "2026-11-20T10:11:12.000Z"),
            ("1795169472", "2026-11-20T10:11:12.000Z"),
            ("2026-11-20T10:11:12.3Z", "2026-11-20T10:11:12.300Z"),
            ("2026-11-20T10:11Z", "2026-11-20T10:11:00.000Z"),
            ("2026-11-20T10:11+0100", "2026-11-20T09:11:00.000Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000Z"),
            ("2024-02-29T00:00:00", "2024-02-29T00:00:00.000Z"),
        ];
        for (form, meaning) in cases {
            assert_eq!(parse(form).map(|at| at.to_string()).as_deref(), Some(meaning), "{form}");
        }
    }

    #[test]
    fn integers_are_seconds_or_milliseconds_by_their_size() {
        assert_eq!(parse("99999999999"), Some(Timestamp::from_millis(99_999_999_999_000)));
        assert_eq!(parse("100000000000"), Some(Timestamp::from_millis(100_000_000_000)));
    }

    #[test]
    fn anything_else_has_no_meaning() {
        let forms = [
            "",
            " ",
            "now",
            "true",
            "-1",
            "1e9",
            "1.",
            ".5",
            "99999999999999999999",
            "9223372036854775807",
            "2026-11-20",
            "2026-11-20T",
            "2026-11-20T10",
            "2026-13-20T10:11:12Z",
            "2026-02-30T10:11:12Z",
            "2026-11-20T24:11:12Z",
            "2026-11-20T10:61:12Z",
            "2026-11-20T10:11:61Z",
            "2026-11-20T10:11:12.Z",
            "2026-11-20T10:11:12+1",
            "2026-11-20T10:11:12+24:00",
            "2026-11-20T10:11:12+01:60",
            "2026-11-20T10:11:12+01:000",
            "2026-11-20T10:11:12Zulu",
            "9999-12-31T23:59:59-01:00",
            "2026-11-20磁10:11:12Z",
            "２０２６-11-20T10:11:12Z",
        ];
        for form in forms {
            assert_eq!(parse(form), None, "{form}");
        }
    }
}
