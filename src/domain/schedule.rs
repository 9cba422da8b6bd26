//! Weekly times on a wall clock: `days`, `from`, `to` and a time zone.
//!
//! Daylight saving goes by the clock on the wall. A time that the clock skips means the moment at
//! which it jumps. A time that it shows twice means the first for a beginning and the second for
//! an end, so that every moment at which the clock shows a time inside a period belongs to it.

use std::{fmt, sync::LazyLock};

use jiff::{
    ToSpan as _,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};
use serde_json::{Map, Value, json};

use super::{
    read::{FieldError, Place},
    time::Timestamp,
};

const KEYS: [&str; 4] = ["days", "from", "to", "timezone"];
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const EVERY_DAY: u8 = 0b111_1111;
const MINUTES_OF_A_DAY: i16 = 24 * 60;
/// How far to look for a period to begin. It begins every week but where the clock skips all of
/// it, which no zone does twice in a row.
const LOOK_AHEAD_DAYS: i64 = 22;

/// Only what is compiled in: the machine's own tables would make a schedule mean different things
/// in different places.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Times of a week, by the clock on the wall of a time zone.
#[derive(Clone, PartialEq, Eq)]
pub struct Schedule {
    /// On which it begins; bit 0 is Monday.
    days: u8,
    /// Minutes since midnight, below 24 hours.
    from: i16,
    /// Minutes since the midnight before `from`, so up to 48 hours: beyond 24 it is the next day.
    to: i16,
    zone: TimeZone,
}

impl Schedule {
    /// Reads `{"days": ["sat"], "from": "23:00", "to": "02:00", "timezone": "Asia/Shanghai"}`.
    /// Without `days` it is every day, without `timezone` UTC.
    pub fn from_json(value: &Value, path: &str, errors: &mut Vec<FieldError>) -> Option<Self> {
        let mut place = Place::new(path, errors);
        let before = place.mistakes();
        let object = place.object(value)?;
        let (mut days, mut from, mut to, mut zone) = (EVERY_DAY, None, None, TimeZone::UTC);
        for (key, value) in object {
            let mut place = place.member(key);
            match key.as_str() {
                "days" => days = days_from_json(&mut place, value),
                "from" => from = minutes_from_json(&mut place, value, MINUTES_OF_A_DAY - 1),
                "to" => to = minutes_from_json(&mut place, value, MINUTES_OF_A_DAY),
                "timezone" => match value.as_str().map(|name| ZONES.get(name)) {
                    Some(Ok(found)) => zone = found,
                    _ => place.wrong("must be the name of a time zone such as \"Asia/Shanghai\""),
                },
                _ => place.unknown(&KEYS),
            }
        }
        for key in ["from", "to"] {
            place.needs(object, key, "is required: a time of day such as \"23:00\"");
        }
        if place.mistakes() > before {
            return None;
        }
        let (from, to) = (from?, to?);
        let to = if to <= from { to + MINUTES_OF_A_DAY } else { to };
        Some(Self { days, from, to, zone })
    }

    /// The form it is read from.
    pub fn to_json(&self) -> Value {
        let clock = |minutes: i16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let mut object = Map::new();
        if self.days != EVERY_DAY {
            let days: Vec<&str> = self.weekdays().collect();
            object.insert("days".into(), json!(days));
        }
        object.insert("from".into(), clock(self.from).into());
        let to = if self.to > MINUTES_OF_A_DAY { self.to - MINUTES_OF_A_DAY } else { self.to };
        object.insert("to".into(), clock(to).into());
        object.insert("timezone".into(), self.zone_name().into());
        Value::Object(object)
    }

    fn weekdays(&self) -> impl Iterator<Item = &'static str> {
        let on = |(bit, name): (usize, &&'static str)| (self.days >> bit & 1 == 1).then_some(*name);
        DAYS.iter().enumerate().filter_map(on)
    }

    fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    pub fn is_on(&self, now: Timestamp) -> bool {
        self.is_always_on() || self.period_at(now).is_some_and(|(start, _)| start <= now)
    }

    /// First time strictly after `after` at which it goes on or off; `None` if it never does.
    /// Periods that touch are one.
    pub fn next_change(&self, after: Timestamp) -> Option<Timestamp> {
        if self.is_always_on() {
            return None;
        }
        let (start, end) = self.period_at(after)?;
        Some(if start > after { start } else { end })
    }

    /// `now` if it is on, else the start of the next period.
    pub fn next_on(&self, now: Timestamp) -> Timestamp {
        if self.is_on(now) { now } else { self.next_change(now).unwrap_or(Timestamp::MAX) }
    }

    fn is_always_on(&self) -> bool {
        self.days == EVERY_DAY && self.to - self.from == MINUTES_OF_A_DAY
    }

    /// The period that `at` lies in, else the next one. `None` at the end of the calendar.
    fn period_at(&self, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let instant = jiff::Timestamp::from_millisecond(at.as_millis()).ok()?;
        let today = self.zone.to_datetime(instant).date();
        let mut found: Option<(Timestamp, Timestamp)> = None;
        // From before yesterday: where a whole day was skipped, yesterday is two days ago. Periods
        // that touch follow each other for a week at most, or it would always be on.
        for ahead in -2..=LOOK_AHEAD_DAYS {
            let Ok(day) = today.checked_add(ahead.days()) else { break };
            let bit = day.weekday().to_monday_zero_offset();
            if self.days >> bit & 1 == 0 {
                continue;
            }
            let Some((start, end)) = self.period_of(day) else { continue };
            match &mut found {
                Some((_, until)) if start <= *until => *until = end.max(*until),
                Some((_, until)) if *until > at => break,
                _ => found = Some((start, end)),
            }
        }
        found.filter(|(_, end)| *end > at)
    }

    /// The period that begins on `day`; `None` if the clock skips all of it.
    fn period_of(&self, day: Date) -> Option<(Timestamp, Timestamp)> {
        let start = self.instant(day, self.from, Edge::Start)?;
        let end = self.instant(day, self.to, Edge::End)?;
        (start < end).then_some((start, end))
    }

    /// When the clock shows so many minutes since the midnight of `day`.
    fn instant(&self, day: Date, minutes: i16, edge: Edge) -> Option<Timestamp> {
        let (later, minutes) =
            (i64::from(minutes / MINUTES_OF_A_DAY), i64::from(minutes % MINUTES_OF_A_DAY));
        let midnight = DateTime::from(day.checked_add(later.days()).ok()?);
        let wall = midnight.checked_add(minutes.minutes()).ok()?;
        let at = match self.zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok()?,
            AmbiguousOffset::Fold { before, after } => match edge {
                Edge::Start => before.to_timestamp(wall).ok()?,
                Edge::End => after.to_timestamp(wall).ok()?,
            },
            AmbiguousOffset::Gap { after, .. } => {
                // By the offset that holds after the jump this is before it.
                let early = after.to_timestamp(wall).ok()?;
                self.zone.following(early).find(|jump| jump.offset() == after)?.timestamp()
            }
        };
        Some(Timestamp::from_millis(at.as_millisecond()))
    }
}

#[derive(Clone, Copy)]
enum Edge {
    Start,
    End,
}

/// `sat,sun 23:00-02:00 Asia/Shanghai`; the zone's table would say nothing.
impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({})", self.to_json())
    }
}

fn days_from_json(place: &mut Place<'_>, value: &Value) -> u8 {
    let mut days = 0;
    for (i, item) in place.list(value, DAYS.len()).into_iter().flatten().enumerate() {
        match item.as_str().and_then(|text| DAYS.iter().position(|day| *day == text)) {
            Some(bit) if days >> bit & 1 == 1 => place.item(i).wrong("is named twice"),
            Some(bit) => days |= 1 << bit,
            None => place.item(i).wrong("must be mon, tue, wed, thu, fri, sat or sun"),
        }
    }
    if value.as_array().is_some_and(Vec::is_empty) {
        place.wrong("must name a day, or be left out for every day");
    }
    days
}

fn minutes_from_json(place: &mut Place<'_>, value: &Value, most: i16) -> Option<i16> {
    let minutes = value.as_str().and_then(minutes_of).filter(|minutes| *minutes <= most);
    if minutes.is_none() {
        let most = format!("{:02}:{:02}", most / 60, most % 60);
        place.wrong(format!("must be a time of day from \"00:00\" to \"{most}\", in quotes"));
    }
    minutes
}

/// `"23:05"` in minutes.
fn minutes_of(text: &str) -> Option<i16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |part: &str| {
        let is_two_digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        is_two_digits.then(|| part.parse::<i16>().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (minutes < 60).then_some(hours * 60 + minutes)
}

#[cfg(test)]
mod tests;
