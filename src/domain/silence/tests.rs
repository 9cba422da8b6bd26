//! When silences hold, and for what.

use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::domain::matcher::Field;

struct Values(Vec<(&'static str, String)>);

impl Fields for Values {
    fn field(&self, field: &Field) -> Cow<'_, str> {
        let name = field.to_string();
        self.0.iter().find(|(n, _)| *n == name).map_or("", |(_, v)| v.as_str()).into()
    }
}

fn at(minute: i64) -> Timestamp {
    Timestamp::from_millis(1_763_632_260_000 + minute * 60_000)
}

fn service(seq: i64) -> ServiceId {
    ServiceId::new(Timestamp::default(), seq, 0)
}

fn silence(seq: i64, matchers: &Value, of: Option<ServiceId>, when: When) -> Silence {
    Silence {
        id: SilenceId::new(Timestamp::default(), seq, 0),
        name: None,
        matches: Match::from_json(matchers).unwrap(),
        service_id: of,
        when,
        comment: String::new(),
        created_by: "token:a".to_owned(),
        created_at: at(0),
        expired_at: None,
        managed: false,
        version: 1,
    }
}

fn once(from: i64, until: i64) -> When {
    When::Once { from: at(from), until: at(until) }
}

fn weekly(schedule: &Value) -> When {
    When::Weekly(Schedule::from_json(schedule, "schedule", &mut Vec::new()).unwrap())
}

#[test]
fn its_state_follows_from_the_clock() {
    let silence = silence(1, &json!([]), None, once(10, 20));
    let seen = |minute| {
        let now = at(minute);
        (silence.state(now), silence.active_until(now), silence.next_change(now))
    };

    assert_eq!(seen(9), (SilenceState::Pending, None, Some(at(10))));
    assert_eq!(seen(10), (SilenceState::Active, Some(at(20)), Some(at(20))));
    assert_eq!(seen(19), (SilenceState::Active, Some(at(20)), Some(at(20))));
    assert_eq!(seen(20), (SilenceState::Expired, None, None));
}

#[test]
fn one_that_was_ended_by_hand_is_over() {
    let ended = Silence { expired_at: Some(at(15)), ..silence(1, &json!([]), None, once(10, 20)) };

    assert_eq!(ended.active_until(at(14)), Some(at(15)));
    assert_eq!(ended.next_change(at(14)), Some(at(15)));
    assert!(ended.is_over(at(15)));
    assert_eq!(ended.state(at(15)), SilenceState::Expired);
}

#[test]
fn a_weekly_one_that_is_not_on_is_pending() {
    // 2025-11-20 is a Thursday; minute 0 is 09:51 UTC.
    let thursdays = weekly(&json!({"days": ["thu"], "from": "10:00", "to": "11:00"}));
    let silence = silence(1, &json!([]), None, thursdays);

    assert_eq!(silence.state(at(0)), SilenceState::Pending);
    assert_eq!(silence.next_change(at(0)), Some(at(9)));
    assert_eq!(silence.active_until(at(9)), Some(at(69)));
    assert_eq!(silence.state(at(69)), SilenceState::Pending);
    let always = Silence { when: weekly(&json!({"from": "00:00", "to": "24:00"})), ..silence };
    assert_eq!(always.active_until(at(0)), Some(Timestamp::MAX));
    assert_eq!(always.next_change(at(0)), None);
}

#[test]
fn only_those_of_the_service_and_of_any_service_hold() {
    let all = [
        silence(3, &json!(["class=\"disk\""]), None, once(0, 1)),
        silence(
            1,
            &json!([["class=\"cpu\""], ["class=~\"disk|net\""]]),
            Some(service(1)),
            once(0, 1),
        ),
        silence(2, &json!(["class=\"disk\""]), Some(service(2)), once(0, 1)),
        silence(4, &json!(["source!=\"a\""]), None, once(0, 1)),
        silence(5, &json!([]), Some(service(1)), once(0, 1)),
        Silence { expired_at: Some(at(0)), ..silence(6, &json!([]), None, once(0, 1)) },
    ];
    let silences = Silences::new(all.into_iter().map(Arc::new).collect());
    let disk_of =
        |source: &str| Values(vec![("class", "disk".to_owned()), ("source", source.to_owned())]);

    let found = |of, source| {
        let ids = silences.matching(of, &disk_of(source));
        ids.into_iter().map(SilenceId::seq).collect::<Vec<_>>()
    };

    assert_eq!(found(service(1), "b"), [1, 3, 4, 5]);
    assert_eq!(found(service(1), "a"), [1, 3, 5]);
    assert_eq!(found(service(2), "a"), [2, 3]);
    let sixth = SilenceId::new(Timestamp::default(), 6, 0);
    assert!(silences.get(sixth).is_some());
    assert_eq!(silences.iter().count(), 6);
}

#[test]
fn when_is_read_from_its_members() {
    let read = |value: &Value, now| {
        let mut errors = Vec::new();
        let when = When::from_members(value.as_object().unwrap(), now, "s", &mut errors);
        when.ok_or_else(|| errors.into_iter().map(|(path, _)| path).collect::<Vec<_>>())
    };
    let later = json!({"until": at(5)});

    assert_eq!(read(&later, Some(at(1))), Ok(once(1, 5)));
    assert_eq!(read(&later, Some(at(6))), Err(vec!["s.until".to_owned()]));
    assert_eq!(read(&later, None), Err(vec!["s.from".to_owned()]));
    assert_eq!(read(&json!({}), Some(at(1))), Err(vec!["s.until".to_owned()]));
    let both = json!({"until": at(5), "schedule": {"from": "1:00", "to": "02:00"}});
    assert_eq!(read(&both, None), Err(vec!["s.until".to_owned(), "s.schedule.from".to_owned()]));
    for members in [
        json!({"from": at(1), "until": at(5)}),
        json!({"schedule":
        {"days": ["sun"], "from": "23:00", "to": "02:00", "timezone": "UTC"}}),
    ] {
        let members = members.as_object().unwrap().clone();
        let when = When::from_members(&members, None, "s", &mut Vec::new()).unwrap();
        assert_eq!(when.to_members(), members);
    }
}

prop_compose! {
    fn any_matcher()(
        field in prop::sample::select(vec!["class", "source", "severity", "label.x"]),
        operator in prop::sample::select(vec!["=", "!=", "=~", "!~"]),
        value in prop::sample::select(vec!["", "a", "b", "a|b", "|b", "a.*", ".+"]),
    ) -> Value {
        format!("{field}{operator}\"{value}\"").into()
    }
}

proptest! {
    #[test]
    fn the_index_finds_what_trying_them_one_by_one_would(
        matchers in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any_matcher(), 0..3), 0..3), 0..12,
        ),
        values in prop::collection::vec("[ab]?", 4),
    ) {
        let all: Vec<_> = (1..)
            .zip(&matchers)
            .map(|(seq, lists)| {
                let lists = lists.iter().map(|list| Value::from(list.clone())).collect();
                let of = (seq % 3 == 0).then(|| service(seq % 2));
                Arc::new(silence(seq, &lists, of, once(0, 1)))
            })
            .collect();
        let fields = Values(["class", "source", "severity", "label.x"].into_iter().zip(values).collect());

        let found = Silences::new(all.clone()).matching(service(1), &fields);

        let one_by_one: Vec<_> = all
            .iter()
            .filter(|s| s.service_id.is_none_or(|id| id == service(1)))
            .filter(|s| s.matches.holds(&fields))
            .map(|s| s.id)
            .collect();
        prop_assert_eq!(found, one_by_one);
    }
}
