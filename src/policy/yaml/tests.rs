//! What a file means and where it says so.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn value(text: &str) -> Value {
    parse(text).unwrap().value
}

#[test]
fn scalars_mean_what_the_core_schema_says() {
    let text =
        "[null, ~, true, no, 007, +5, -1, 0.85, 1e3, 23:00, 0x1F, .inf, '5', !!str 5, 1_000]";

    let meant = json!([
        null, null, true, "no", 7, 5, -1, 0.85, 1000.0, "23:00", "0x1F", ".inf", "5", "5", "1_000"
    ]);

    assert_eq!(value(text), meant);
    assert_eq!(value(""), Value::Null);
    assert_eq!(value("a: |\n  x\n  y\n"), json!({"a": "x\ny\n"}));
}

#[test]
fn every_part_has_its_line_and_column() {
    let document = parse("a:\n  - b: 1\n    c: [x, y]\n").unwrap();
    let at = |path: &str| document.mark(path).map(|mark| (mark.line, mark.column));

    assert_eq!(at("a"), Some((1, 1)));
    assert_eq!(at("a[0].b"), Some((2, 5)));
    assert_eq!(at("a[0].c[1]"), Some((3, 12)));
    assert_eq!(at("a[0].missing[3]"), Some((2, 5)), "what holds it");
    assert_eq!(at("elsewhere"), Some((1, 1)));
}

#[test]
fn a_key_that_is_there_twice_is_a_mistake_with_its_line() {
    let document = parse("a: 1\nb: {c: 1, c: 2}\na: 3\n").unwrap();

    let said: Vec<_> = document
        .mistakes
        .iter()
        .map(|m| (m.path.as_str(), m.mark.unwrap().line, m.message.as_str()))
        .collect();

    assert_eq!(said, [("b.c", 2, "is there twice"), ("a", 3, "is there twice")]);
    assert_eq!(document.value, json!({"a": 1, "b": {"c": 1}}));
}

#[test]
fn aliases_stand_for_what_they_name_within_bounds() {
    assert_eq!(value("a: &x [1, 2]\nb: *x\n"), json!({"a": [1, 2], "b": [1, 2]}));
    assert!(parse("a: &x [*x]\n").is_err());
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..30 {
        let again = format!("*a{}, ", i - 1).repeat(10);
        let again = again.trim_end_matches(", ");
        bomb = format!("{bomb}a{i}: &a{i} [{again}]\n");
    }

    let mistake = parse(&bomb).unwrap_err();

    assert_eq!(mistake.message, "unfolds to more than can be meant");
    let text = "x".repeat(900_000);
    let long = format!("a: &a {text}\nb: [{}]\n", ["*a"; 1000].join(", "));
    assert!(parse(&long).is_err());
    let long_path = format!("{text}: [{}]\n", vec!["1"; 10_000].join(", "));
    assert!(parse(&long_path).is_err());
}

#[test]
fn what_goes_beyond_a_bound_is_refused() {
    assert!(parse(&"[".repeat(100)).unwrap_err().message.contains("deeper than 64"));
    assert!(parse(&"- ".repeat(100)).unwrap_err().message.contains("deeper than 64"));
    assert!(parse(&" ".repeat(BYTES_MAX + 1)).unwrap_err().message.contains("more than 1048576"));
}

#[test]
fn what_is_no_yaml_is_said_with_its_line() {
    for (text, line) in [("a: [1, 2\nb: 3", 2), ("a: 1\n b: 2", 2), ("a: *x", 1)] {
        let mistake = parse(text).unwrap_err();
        assert!(mistake.message.starts_with("is no YAML: "), "{}", mistake.message);
        assert_eq!(mistake.mark.unwrap().line, line, "{text}");
    }
    assert_eq!(parse("a: 1\n---\nb: 2\n").unwrap_err().message, "must be one document");
    assert!(parse("a: !secret b").unwrap_err().message.contains("tag"));
    assert_eq!(parse("[a]: b").unwrap_err().message, "must be a text, as all keys");
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(text in r#"([ \n:\-\[\]{},&*!|>'"%@#?a~0.]|\PC){0,60}"#) {
        if let Ok(document) = parse(&text) {
            prop_assert!(document.mark("").is_some());
        }
    }
}
