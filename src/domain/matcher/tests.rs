//! What matchers read, hold for, and how they are shown.

use super::*;

struct Disk;

impl Fields for Disk {
    fn field(&self, field: &Field) -> Cow<'_, str> {
        match field {
            Field::Class => "disk".into(),
            Field::Details(path) => details_at(r#"{"free":{"pct":1},"a.b":"c","l":["x"]}"#, path)
                .unwrap_or_default()
                .into(),
            _ => "".into(),
        }
    }
}

fn holds(text: &str) -> bool {
    Matcher::parse(text).unwrap().holds(&Disk)
}

#[test]
fn the_four_comparisons() {
    assert!(holds(r#"class="disk""#));
    assert!(!holds(r#"class!="disk""#));
    assert!(holds(r#"class=~"di.*|cpu""#));
    assert!(!holds(r#"class=~"dis""#), "regular expressions are anchored");
    assert!(holds(r#"class!~"cpu""#));
}

#[test]
fn a_missing_field_is_the_empty_text() {
    assert!(holds(r#"component="""#));
    assert!(holds(r#"label.team!="core""#));
}

#[test]
fn details_are_reached_by_path() {
    assert!(holds(r#"details.free.pct="1""#));
    assert!(holds(r#"details.a.b="c""#));
    assert!(holds(r#"details.l.0="x""#));
    assert!(holds(r#"details.l.9="""#));
}

#[test]
fn a_matcher_is_shown_as_it_is_read() {
    for text in [r#"class="disk""#, r#"summary=~"a\\d+ \"x\"""#, r#"label.a!="b""#] {
        assert_eq!(Matcher::parse(text).unwrap().to_string(), text);
    }
}

#[test]
fn what_is_wrong_is_said() {
    assert_eq!(Matcher::parse("class").unwrap_err(), InvalidMatcher::NoOperator);
    assert_eq!(Matcher::parse("x=\"a").unwrap_err(), InvalidMatcher::UnknownField("x".into()));
    assert_eq!(Matcher::parse("class=\"a").unwrap_err(), InvalidMatcher::Unclosed);
    assert!(matches!(Matcher::parse("class=~\"(\"").unwrap_err(), InvalidMatcher::Regex(_)));
    assert!(matches!(
        Matcher::parse("class=~\"(?:a{1000}){1000}\"").unwrap_err(),
        InvalidMatcher::Regex(_)
    ));
}

#[test]
fn what_accepts_everything_is_told_by_the_matchers_alone() {
    let everything =
        |matchers: serde_json::Value| Match::from_json(&matchers).unwrap().accepts_everything();
    for all in [
        r#"label.x=~".*""#,
        r#"summary=~".+""#,
        r#"source!="""#,
        r#"severity=~"critical|error|warning|info""#,
        r#"severity!="none""#,
        r#"action!="""#,
        r#"action="trigger""#,
        r#"action!="resolve""#,
    ] {
        assert!(everything(serde_json::json!([all])), "{all}");
        assert!(everything(serde_json::json!([[r#"class="a""#], [all]])), "{all}");
        assert!(!everything(serde_json::json!([r#"class="a""#, all])), "{all}");
    }
    for some in [
        r#"label.x!~"""#,
        r#"label.x=~".+""#,
        r#"severity=~"critical|error""#,
        r#"summary="""#,
        r#"action="resolve""#,
        r#"source!="a""#,
    ] {
        assert!(!everything(serde_json::json!([some])), "{some}");
    }
    assert!(everything(serde_json::json!([])));
    assert!(everything(serde_json::json!([[], [r#"class="a""#]])));
}

#[test]
fn alternatives_that_leave_nothing_out_accept_everything() {
    let everything =
        |lists: serde_json::Value| Match::from_json(&lists).unwrap().accepts_everything();
    let (a, b, rest) = (r#"class="a""#, r#"class="b""#, r#"class!~"a|b""#);
    for all in [
        serde_json::json!([[r#"severity="critical""#], [r#"severity!="critical""#]]),
        serde_json::json!([
            [r#"severity="critical""#, r#"action="trigger""#],
            [r#"severity=~"error|warning""#],
            [b],
            [r#"severity=~"warning|info""#, r#"severity!="error""#]
        ]),
        serde_json::json!([[a], [r#"class!="a""#]]),
        serde_json::json!([[a, r#"action="trigger""#], [r#"class!="a""#]]),
        serde_json::json!([[a], [rest], [b]]),
        serde_json::json!([[r#"class=~"a.*""#], [r#"class!="abc""#]]),
        serde_json::json!([[r#"class=~"a.+c""#], [r#"class!~"a.+c""#]]),
    ] {
        assert!(everything(all.clone()), "{all}");
    }
    for some in [
        serde_json::json!([[a], [b]]),
        serde_json::json!([[a], [rest]]),
        serde_json::json!([[a], [r#"group!="a""#]]),
        serde_json::json!([[a, b], [r#"class!="a""#]]),
        serde_json::json!([[a], [r#"class!="a""#, r#"group="x""#]]),
        serde_json::json!([[r#"severity="critical""#, a], [r#"severity!="critical""#]]),
        serde_json::json!([[r#"severity="critical""#], [r#"severity=~"error|info""#]]),
        serde_json::json!([[r#"class=~"a.+c""#], [r#"class!~"a.*c""#]]),
        serde_json::json!([[r#"class="a.+c""#], [r#"class!~"a.+c""#]]),
        serde_json::json!([[a, r#"class!="a""#]]),
        serde_json::json!([[r#"action="resolve""#], [a]]),
    ] {
        assert!(!everything(some.clone()), "{some}");
    }
}

#[test]
fn a_list_is_and_a_list_of_lists_is_or() {
    let and = serde_json::json!([r#"class="disk""#, r#"class="cpu""#]);
    let or = serde_json::json!([[r#"class="disk""#], [r#"class="cpu""#]]);

    assert!(!Match::from_json(&and).unwrap().holds(&Disk));
    assert!(Match::from_json(&or).unwrap().holds(&Disk));
    assert_eq!(Match::from_json(&or).unwrap().to_json(), or);
    assert_eq!(Match::from_json(&serde_json::json!([3])).unwrap_err()[0].0, "[0]");
}
