//! What the steps do to an event.

use super::*;
use crate::domain::event::{Api, SentTime};

fn rules(value: &Value) -> Vec<EnrichRule> {
    let mut errors = Vec::new();
    let mut read = |(i, rule): (usize, &Value)| {
        EnrichRule::from_json(rule, &format!("enrich[{i}]"), &mut errors)
    };
    let rules = value.as_array().unwrap().iter().enumerate().filter_map(&mut read).collect();
    assert_eq!(errors, []);
    rules
}

fn trigger(summary: &str) -> Event {
    let content = Content {
        summary: summary.to_owned(),
        source: Some("prod-1".to_owned()),
        severity: Severity::Critical,
        component: Some("canary".to_owned()),
        group: None,
        class: Some("disk".to_owned()),
        custom_details: Some(r#"{"free":{"pct":1}}"#.into()),
        client: None,
        client_url: None,
        links: Vec::new(),
        images: Vec::new(),
        labels: BTreeMap::new(),
    };
    let intent = Intent::Trigger { dedup_key: None, content: Box::new(content) };
    Event::new(Api::V2, intent, SentTime::default())
}

/// The content after the steps, and what they say.
fn enriched(steps: &Value, mut event: Event) -> (Content, Vec<(usize, String)>) {
    let notes = enrich(&rules(steps), &mut event, "mon", "payments");
    let Intent::Trigger { content, .. } = event.intent else { panic!("it was a trigger") };
    (*content, notes.into_iter().map(|note| (note.rule, note.what)).collect())
}

#[test]
fn a_later_step_sees_what_an_earlier_one_did() {
    let steps = json!([
        {"extract": {"from": "summary", "regex": r"on machine (?P<host>\S+)"}},
        {"map": {"label": "tier", "from": "label.host", "table": {"db1": "gold"}}},
        {"severity": "warning", "match": [r#"label.tier="gold""#]},
        {"set": {"label": "pct", "value": "one"}, "match": [r#"details.free.pct="1""#]},
    ]);

    let (content, notes) = enriched(&steps, trigger("DISK at 99% on machine db1"));

    let labels: Vec<_> = content.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(labels, ["host=db1", "pct=one", "tier=gold"]);
    assert_eq!(content.severity, Severity::Warning);
    let said: Vec<_> = notes.iter().map(|(rule, what)| format!("{rule}: {what}")).collect();
    assert_eq!(
        said,
        [
            r#"0: label host: "db1""#,
            r#"1: label tier: "gold""#,
            "2: severity warning, was critical",
            r#"3: label pct: "one""#,
        ]
    );
}

#[test]
fn a_step_that_finds_nothing_to_do_says_nothing() {
    let steps = json!([
        {"extract": {"from": "summary", "regex": r"on machine (?P<host>\S+)"}},
        {"map": {"label": "tier", "from": "label.host", "table": {"db1": "gold"}}},
        {"severity": "critical"},
        {"set": {"label": "team", "value": "core"}, "match": [r#"class="cpu""#]},
    ]);

    let (content, notes) = enriched(&steps, trigger("all is well"));

    assert_eq!(notes, []);
    assert!(content.labels.is_empty());
}

#[test]
fn a_table_may_have_a_default() {
    let steps = json!([
        {"map": {"label": "tier", "from": "group", "table": {"a": "b"}, "default": "none"}}
    ]);

    let (content, _) = enriched(&steps, trigger("x"));

    assert_eq!(content.labels["tier"], "none");
}

#[test]
fn labels_are_bounded_in_number_and_length() {
    let mut steps: Vec<Value> = (0..=LABELS_MAX)
        .map(|i| json!({"set": {"label": format!("l{i}"), "value": "x"}}))
        .collect();
    steps.push(json!({"extract": {"from": "summary", "regex": "(?P<l0>.+)"}}));

    let (content, notes) = enriched(&Value::Array(steps), trigger(&"磁".repeat(2000)));

    assert_eq!(content.labels.len(), LABELS_MAX);
    assert_eq!(notes[LABELS_MAX].1, "label l50 left out: there are 50 labels");
    assert_eq!(content.labels["l0"].chars().count(), LABEL_VALUE_MAX_CHARS);
}

#[test]
fn only_triggers_are_enriched() {
    let steps = rules(&json!([{"severity": "info"}]));
    let dedup_key = DedupKey::parse("a").unwrap();
    let mut resolve = Event { intent: Intent::Resolve { dedup_key }, ..trigger("x") };
    let before = resolve.clone();

    assert_eq!(enrich(&steps, &mut resolve, "mon", "payments"), []);
    assert_eq!(resolve, before);
}

#[test]
fn a_step_is_written_as_it_is_read() {
    let steps = json!([
        {"extract": {"from": "label.a", "regex": r"(?P<host>\S+)"}, "match": [r#"class="disk""#]},
        {"set": {"label": "team", "value": "core"}},
        {"map": {"label": "tier", "from": "label.host", "table": {"a": "b"}, "default": "c"}},
        {"severity": "info"},
    ]);

    let written: Value = rules(&steps).iter().map(EnrichRule::to_json).collect();

    assert_eq!(written, steps);
}

#[test]
fn every_mistake_is_said_with_its_path() {
    let wrong = [
        json!({"extract": {"from": "colour", "regex": "("}}),
        json!({"extract": {"from": "summary", "regex": "no group"}}),
        json!({"extract": {"from": "summary", "regex": "(?P<a.b>x)"}}),
        json!({"set": {"label": "9a"}}),
        json!({"map": {"label": "a", "from": "source", "table": {}, "tabel": 1}}),
        json!({"severity": "fatal"}),
        json!({"set": {"label": "a", "value": "b"}, "severity": "info"}),
        json!({"match": []}),
        json!({"extract": {"from": "summary", "regex": "(?P<a>(?:a{1000}){1000})"}}),
    ];
    let mut errors = Vec::new();
    for (i, rule) in wrong.iter().enumerate() {
        assert!(EnrichRule::from_json(rule, &format!("[{i}]"), &mut errors).is_none());
    }

    let paths: Vec<_> = errors.iter().map(|(path, _)| path.as_str()).collect();

    assert_eq!(
        paths,
        [
            "[0].extract.from",
            "[0].extract.regex",
            "[1].extract.regex",
            "[2].extract.regex",
            "[3].set.label",
            "[3].set.value",
            "[4].map.tabel",
            "[4].map.table",
            "[5].severity",
            "[6]",
            "[7]",
            "[8].extract.regex",
        ]
    );
}
