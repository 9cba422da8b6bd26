//! How the policy of a service is read, written and stored.

use super::*;

/// Reads a whole policy, ids counted from 41.
fn read(given: &Value) -> (ServicePolicy, Vec<FieldError>) {
    let mut policy = ServicePolicy::default();
    let mut errors = Vec::new();
    let mut seq = 40;
    let mut fresh = || {
        seq += 1;
        RuleId::new(Timestamp::default(), seq, 0)
    };
    for (name, value) in given.as_object().unwrap() {
        policy.read_member(name, value, &mut fresh, &mut errors);
    }
    (policy, errors)
}

fn everything() -> Value {
    json!({
        "enrich": [
            {"extract": {"from": "summary", "regex": "on machine (?P<host>\\S+)"}},
            {"severity": "warning", "match": ["component=\"canary\""]}
        ],
        "drop": [{"match": ["source=~\"test-.*\""]}],
        "grouping": [
            {"by": ["class"]},
            {"by": ["source"], "window": "5m", "reopen_within": "1h"},
            {"by": "similarity", "fields": ["summary", "source"], "threshold": 0.9}
        ],
        "storm": [50, 500],
        "flapping": {"max_changes": 6, "within": "30m", "mute": "1h", "mode": "mute"},
        "inhibition": [
            {"source": ["class=\"host down\""], "target": ["severity=\"info\""], "equal": ["source"]}
        ],
        "auto_pause": {"for": "2m", "when": "always"},
        "auto_resolve": {"after": "24h"},
        "acknowledgement_timeout": "30m",
        "notify": [
            {"receivers": ["a"], "match": ["severity=\"critical\""], "repeat": "4h"},
            {"receivers": ["b"], "active": {"from": "08:00", "to": "18:00"}}
        ]
    })
}

fn ids<R: Rule>(rules: &[R]) -> Vec<i64> {
    rules.iter().map(|rule| rule.id().seq()).collect()
}

#[test]
fn a_policy_is_stored_with_the_ids_of_its_rules() {
    let (policy, errors) = read(&everything());
    assert_eq!(errors, []);

    let stored = ServicePolicy::from_stored(&policy.to_stored()).unwrap();

    assert_eq!(ids(&stored.grouping), ids(&policy.grouping));
    assert_eq!(ids(&stored.inhibition), ids(&policy.inhibition));
    assert_eq!(ids(&stored.notify), ids(&policy.notify));
    assert_eq!(ids(&stored.grouping), [41, 42, 43]);
    assert_eq!(stored.timers, policy.timers);
    assert_eq!(stored.to_json(), policy.to_json());
}

#[test]
fn what_is_written_can_be_read_again() {
    let (policy, _) = read(&everything());

    let (again, errors) = read(&Value::Object(policy.to_json()));

    assert_eq!(errors, []);
    assert_eq!(again.to_json(), policy.to_json());
    let members: Vec<String> = policy.to_json().into_iter().map(|(name, _)| name).collect();
    let mut known = ServicePolicy::MEMBERS.to_vec();
    known.sort_unstable();
    assert_eq!(members, known);
    let (empty, errors) = read(&Value::Object(ServicePolicy::default().to_json()));
    assert_eq!(errors, []);
    assert_eq!(empty.to_json(), ServicePolicy::default().to_json());
}

#[test]
fn a_policy_that_an_older_version_stored_still_reads() {
    let stored = r#"{"grouping": [{"by": ["class"], "window": "2d", "window_type": "sliding"}],
        "auto_resolve": null, "acknowledgement_timeout": "30m",
        "rule_ids": ["019353b4-0a3c-7000-8000-002a00000000"]}"#;

    let policy = ServicePolicy::from_stored(stored).unwrap();

    assert_eq!(policy.grouping[0].id.to_string(), "019353b4-0a3c-7000-8000-002a00000000");
    assert_eq!(policy.flapping, Flapping::default());
    assert!(policy.notify.is_empty());
}

#[test]
fn an_edit_keeps_the_ids_of_all_kinds_of_rules() {
    let (old, _) = read(&everything());
    let mut edited = everything();
    edited["grouping"].as_array_mut().unwrap().remove(0);
    edited["inhibition"][0]["release_delay"] = "5m".into();
    edited["notify"].as_array_mut().unwrap().reverse();
    let (mut new, errors) = read(&edited);
    assert_eq!(errors, []);

    new.pair_ids(&old, || RuleId::new(Timestamp::default(), 99, 0));

    assert_eq!(ids(&new.grouping), ids(&old.grouping)[1..]);
    assert_eq!(ids(&new.inhibition), ids(&old.inhibition));
    let reversed: Vec<i64> = ids(&old.notify).into_iter().rev().collect();
    assert_eq!(ids(&new.notify), reversed);
}

#[test]
fn every_mistake_is_said_with_its_path() {
    let (_, errors) = read(&json!({
        "enrich": {}, "drop": [{"match": []}, {}], "grouping": [{"by": "tmie"}, 1],
        "storm": [1, 50, 50], "flapping": {"max_changes": 1, "mode": "loud"},
        "inhibition": [{"source": ["class=\"a\""], "target": ["class=\"a\""]}],
        "auto_pause": {"when": "sometimes"},
        "auto_resolve": {"after": "0s", "form": "x"}, "acknowledgement_timeout": 5,
        "notify": [{"receivers": "a"}], "groupin": []
    }));

    let paths: Vec<_> = errors.iter().map(|(path, _)| path.as_str()).collect();

    assert_eq!(
        paths,
        [
            "acknowledgement_timeout",
            "auto_pause.when",
            "auto_pause.for",
            "auto_resolve.after",
            "auto_resolve.form",
            "drop[0].match",
            "drop[1].match",
            "enrich",
            "flapping.max_changes",
            "flapping.mode",
            "groupin",
            "grouping[0].by",
            "grouping[1]",
            "inhibition[0].target",
            "notify[0].receivers",
            "storm[0]",
            "storm[2]",
        ]
    );
    let (_, what) = errors.iter().find(|(path, _)| path == "groupin").unwrap();
    assert!(what.starts_with("is unknown; did you mean grouping?"), "{what}");
}
