//! Points in time and spans of it, in whole milliseconds.
//!
//! Nothing here reads a clock: `now` is always an argument (see `clock.rs` for where it comes from).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time: milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The farthest time that is still representable as RFC 3339 (end of the year 9999).
    pub const MAX: Self = Self(253_402_300_799_999);

    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The time `span` later; stops at [`Timestamp::MAX`] instead of overflowing.
    #[must_use]
    pub fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0)).min(Self::MAX)
    }

    /// The time `span` earlier.
    #[must_use]
    pub fn minus(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0).max(0))
    }

    /// Reads an RFC 3339 time (`2026-11-20T10:11:12.345Z`), as the JSON API takes them.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|at| Self(at.as_millisecond()))
    }
}

/// RFC 3339 in UTC with milliseconds, as the JSON API shows every time.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads what [`Timestamp`]'s `Serialize` writes.
impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse_rfc3339(&text)
            .ok_or_else(|| serde::de::Error::custom("must be an RFC 3339 time"))
    }
}

/// A length of time, in whole milliseconds, never negative.
///
/// Written `"90s"`, `"15m"`, `"4h"`, `"7d"`, `"250ms"`: one number and one unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

/// Why a text is not a [`Span`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a duration such as \"90s\", \"15m\", \"4h\" or \"7d\"")]
pub struct InvalidSpan;

impl Span {
    pub const ZERO: Self = Self(0);

    pub const fn from_millis(millis: u32) -> Self {
        Self(millis as i64)
    }

    /// As [`Span::from_millis`], of a number that was calculated; what is negative is nothing.
    pub fn of_millis(millis: i64) -> Self {
        Self(millis.max(0))
    }

    pub const fn from_secs(secs: u32) -> Self {
        Self(secs as i64 * 1000)
    }

    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Both one after the other.
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }

    /// The same length as the standard library's type.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }

    /// Reads `"90s"` and the like; at most 100 years.
    pub fn parse(text: &str) -> Result<Self, InvalidSpan> {
        const MAX_MILLIS: i64 = 100 * 365 * 86_400_000;
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit_millis = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(InvalidSpan),
        };
        let number: i64 = number.parse().map_err(|_| InvalidSpan)?;
        match number.checked_mul(unit_millis) {
            Some(millis) if millis <= MAX_MILLIS => Ok(Self(millis)),
            _ => Err(InvalidSpan),
        }
    }
}

/// The shortest exact form: `90m` for 5,400,000 ms.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (divisor, unit) = match self.0 {
            0 => (1000, "s"),
            n if n % 86_400_000 == 0 => (86_400_000, "d"),
            n if n % 3_600_000 == 0 => (3_600_000, "h"),
            n if n % 60_000 == 0 => (60_000, "m"),
            n if n % 1000 == 0 => (1000, "s"),
            _ => (1, "ms"),
        };
        write!(f, "{}{unit}", self.0 / divisor)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_in_utc_with_milliseconds() {
        let at = Timestamp::parse_rfc3339("2026-11-20T12:11:12.3+02:00").unwrap();

        assert_eq!(at.to_string(), "2026-11-20T10:11:12.300Z");
    }

    #[test]
    fn a_span_is_read_and_shown_in_its_shortest_form() {
        for (text, shown) in
            [("90s", "90s"), ("60s", "1m"), ("24h", "1d"), ("0s", "0s"), ("1500ms", "1500ms")]
        {
            assert_eq!(Span::parse(text).unwrap().to_string(), shown);
        }
        for wrong in ["", "s", "5", "-1s", "1.5h", "5 m", "99999999999999999999d", "36501d"] {
            assert_eq!(Span::parse(wrong), Err(InvalidSpan), "{wrong}");
        }
    }

    #[test]
    fn adding_never_overflows() {
        let end = Timestamp::MAX.plus(Span::parse("36500d").unwrap());

        assert_eq!(end, Timestamp::MAX);
    }
}
