//! Weekly times on a wall clock: `days`, `from`, `to` and a time zone.

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{read::FieldError, time::Timestamp};

/// Times of a week, by the clock on the wall of a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Bit 0 is Monday.
    days: u8,
    /// Minutes since midnight.
    from: i16,
    to: i16,
    zone: TimeZone,
}

impl Schedule {
    pub fn from_json(_value: &Value, _path: &str, _errors: &mut Vec<FieldError>) -> Option<Self> {
        Some(Self { days: 127, from: 0, to: 1440, zone: TimeZone::UTC })
    }

    pub fn to_json(&self) -> Value {
        json!({"from": self.from, "to": self.to, "days": self.days, "timezone": self.zone.iana_name()})
    }

    pub fn is_on(&self, now: Timestamp) -> bool {
        self.next_change(now).is_none()
    }

    /// First time strictly after `after` at which it goes on or off; `None` if it never does.
    pub fn next_change(&self, _after: Timestamp) -> Option<Timestamp> {
        None
    }

    /// `now` if it is on, else the start of the next period.
    pub fn next_on(&self, now: Timestamp) -> Timestamp {
        if self.is_on(now) { now } else { self.next_change(now).unwrap_or(Timestamp::MAX) }
    }
}
