//! What a schedule means, above all where the clocks change.

use proptest::prelude::*;

use super::*;

fn schedule(value: &Value) -> Schedule {
    let mut errors = Vec::new();
    let read = Schedule::from_json(value, "schedule", &mut errors);
    read.unwrap_or_else(|| panic!("{errors:?}"))
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// The next changes after `from`, as the API would show them.
fn changes(value: &Value, from: &str, count: usize) -> Vec<String> {
    let schedule = schedule(value);
    let next = |at: &Timestamp| schedule.next_change(*at);
    let all = std::iter::successors(Some(at(from)), next).skip(1).take(count);
    all.map(|at| at.to_string().replace(":00.000Z", "Z")).collect()
}

#[test]
fn a_period_may_cross_midnight_and_is_named_by_the_day_it_begins_on() {
    let sunday_night = json!({"days": ["sun"], "from": "23:00", "to": "02:00"});

    let found = changes(&sunday_night, "2026-11-20T00:00:00Z", 4);

    assert_eq!(
        found,
        ["2026-11-22T23:00Z", "2026-11-23T02:00Z", "2026-11-29T23:00Z", "2026-11-30T02:00Z"]
    );
    let schedule = schedule(&sunday_night);
    assert!(!schedule.is_on(at("2026-11-22T22:59:59.999Z")));
    assert!(schedule.is_on(at("2026-11-22T23:00:00Z")));
    assert!(schedule.is_on(at("2026-11-23T01:59:59.999Z")));
    assert!(!schedule.is_on(at("2026-11-23T02:00:00Z")));
}

#[test]
fn days_that_touch_are_one_period() {
    let weekend = json!({
        "days": ["sat", "sun"], "from": "00:00", "to": "24:00", "timezone": "Asia/Shanghai"
    });

    let found = changes(&weekend, "2026-11-20T00:00:00Z", 3);

    assert_eq!(found, ["2026-11-20T16:00Z", "2026-11-22T16:00Z", "2026-11-27T16:00Z"]);
}

#[test]
fn the_whole_week_never_changes() {
    for (from, to) in [("00:00", "24:00"), ("00:00", "00:00"), ("09:30", "09:30")] {
        let always = schedule(&json!({"from": from, "to": to, "timezone": "Europe/Berlin"}));

        assert!(always.is_on(at("2026-11-20T08:00:00Z")));
        assert_eq!(always.next_change(at("2026-11-20T08:00:00Z")), None);
    }
}

#[test]
fn the_same_time_of_day_stays_the_same_when_the_clocks_change() {
    let office = json!({"days": ["sat", "sun"], "from": "08:00", "to": "18:00",
        "timezone": "Europe/Berlin"});

    // Summer time ends on Sunday, 2026-10-25, at 01:00 UTC.
    let autumn = changes(&office, "2026-10-24T00:00:00Z", 4);
    // It begins in New York on Sunday, 2026-03-08, at 07:00 UTC.
    let mut in_york = office.clone();
    in_york["timezone"] = "America/New_York".into();
    let spring = changes(&in_york, "2026-03-07T00:00:00Z", 4);

    assert_eq!(
        autumn,
        ["2026-10-24T06:00Z", "2026-10-24T16:00Z", "2026-10-25T07:00Z", "2026-10-25T17:00Z"]
    );
    assert_eq!(
        spring,
        ["2026-03-07T13:00Z", "2026-03-07T23:00Z", "2026-03-08T12:00Z", "2026-03-08T22:00Z"]
    );
}

#[test]
fn a_time_that_the_clock_skips_is_the_moment_of_the_jump() {
    // In Berlin, 2026-03-29 has no 02:00 to 03:00: at 01:00 UTC the clock jumps.
    let on_that_day = |from: &str, to: &str| {
        let value = json!({"from": from, "to": to, "timezone": "Europe/Berlin"});
        changes(&value, "2026-03-28T12:00:00Z", 2)
    };

    assert_eq!(on_that_day("02:30", "04:00"), ["2026-03-29T01:00Z", "2026-03-29T02:00Z"]);
    assert_eq!(on_that_day("01:30", "02:30"), ["2026-03-29T00:30Z", "2026-03-29T01:00Z"]);
    // All of it is skipped: the next one is on the day after.
    assert_eq!(on_that_day("02:15", "02:45"), ["2026-03-30T00:15Z", "2026-03-30T00:45Z"]);
}

#[test]
fn a_time_that_the_clock_shows_twice_begins_at_the_first_and_ends_at_the_second() {
    // In New York, 2026-11-01 has 01:00 to 02:00 twice, from 05:00 and from 06:00 UTC.
    let on_that_day = |from: &str, to: &str| {
        let value = json!({"from": from, "to": to, "timezone": "America/New_York"});
        changes(&value, "2026-11-01T04:05:00Z", 2)
    };

    assert_eq!(on_that_day("01:30", "03:00"), ["2026-11-01T05:30Z", "2026-11-01T08:00Z"]);
    assert_eq!(on_that_day("00:30", "01:30"), ["2026-11-01T04:30Z", "2026-11-01T06:30Z"]);
    assert_eq!(on_that_day("01:15", "01:45"), ["2026-11-01T05:15Z", "2026-11-01T06:45Z"]);
}

#[test]
fn a_day_that_a_zone_left_out_leaves_no_hole() {
    // Samoa went from the end of 2011-12-29 to 2011-12-31, at 10:00 UTC.
    let nights = json!({"from": "22:00", "to": "06:00", "timezone": "Pacific/Apia"});

    let found = changes(&nights, "2011-12-29T20:00:00Z", 4);

    // What is left of the night of the 30th follows that of the 29th without a break.
    assert_eq!(
        found,
        ["2011-12-30T08:00Z", "2011-12-30T16:00Z", "2011-12-31T08:00Z", "2011-12-31T16:00Z"]
    );
}

#[test]
fn it_is_written_as_it_is_read() {
    for value in [
        json!({"days": ["mon", "sun"], "from": "23:00", "to": "02:00", "timezone": "UTC"}),
        json!({"from": "00:00", "to": "24:00", "timezone": "Asia/Shanghai"}),
        json!({"from": "10:00", "to": "10:00", "timezone": "Europe/Berlin"}),
    ] {
        assert_eq!(schedule(&value).to_json(), value);
    }
    let short = json!({"days": ["sun", "mon"], "from": "01:00", "to": "00:00"});
    let shown = json!({"days": ["mon", "sun"], "from": "01:00", "to": "24:00", "timezone": "UTC"});
    assert_eq!(schedule(&short).to_json(), shown);
    let by_another_name = json!({"from": "01:00", "to": "02:00", "timezone": "europe/berlin"});
    assert_eq!(schedule(&by_another_name).to_json()["timezone"], "Europe/Berlin");
}

#[test]
fn every_mistake_is_said_with_its_path() {
    let mut errors = Vec::new();
    let value = json!({
        "days": ["sat", "sut", "sat"], "from": "24:00", "to": 120, "timezone": "Mars/Base",
        "timezon": "UTC"
    });

    assert_eq!(Schedule::from_json(&value, "when", &mut errors), None);
    assert_eq!(Schedule::from_json(&json!({"days": []}), "w", &mut errors), None);
    assert_eq!(Schedule::from_json(&json!("sat"), "x", &mut errors), None);

    let paths: Vec<_> = errors.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "when.days[1]",
            "when.days[2]",
            "when.from",
            "when.timezon",
            "when.timezone",
            "when.to",
            "w.days",
            "w.from",
            "w.to",
            "x"
        ]
    );
    assert!(errors[3].1.contains("did you mean timezone?"), "{}", errors[3].1);
}

#[test]
fn the_end_of_the_calendar_is_no_error() {
    let nights = schedule(&json!({"from": "22:00", "to": "06:00"}));

    assert!(nights.next_on(Timestamp::MAX) >= Timestamp::MAX);
    assert!(!nights.is_on(Timestamp::from_millis(i64::MAX)));
    assert!(!nights.is_on(Timestamp::from_millis(i64::MIN)));
}

prop_compose! {
    fn any_schedule()(
        days in 1_u8..=127, from in 0_i16..1440, to in 1_i16..=1440,
        zone in prop::sample::select(vec![
            "UTC", "Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe",
            "Pacific/Apia", "Africa/Casablanca", "America/St_Johns",
        ]),
    ) -> Schedule {
        let to = if to <= from { to + MINUTES_OF_A_DAY } else { to };
        Schedule { days, from, to, zone: ZONES.get(zone).unwrap() }
    }
}

proptest! {
    #[test]
    fn it_flips_at_its_changes_and_nowhere_else(
        schedule in any_schedule(),
        start in 1_300_000_000_000_i64..1_900_000_000_000,
        share in 0_i64..1000,
    ) {
        let start = Timestamp::from_millis(start);
        let Some(change) = schedule.next_change(start) else {
            prop_assert!(schedule.is_on(start));
            return Ok(());
        };

        let before = |at: Timestamp| Timestamp::from_millis(at.as_millis() - 1);
        let between = start.as_millis() + change.since(start).as_millis() * share / 1000;

        prop_assert!(change > start);
        prop_assert_eq!(schedule.is_on(Timestamp::from_millis(between)), schedule.is_on(start));
        prop_assert_eq!(schedule.is_on(before(change)), schedule.is_on(start));
        prop_assert_eq!(schedule.is_on(change), !schedule.is_on(start));
        prop_assert!(schedule.is_on(schedule.next_on(start)));
    }
}
