//! Which files are taken, and what is said of the others.

use super::EXAMPLE;
use crate::{
    notify::Guard,
    policy::{KeySource, Known, PolicyFile},
};

fn parse(text: &str) -> PolicyFile {
    PolicyFile::parse(text, &Known::default()).unwrap_or_else(|errors| {
        let told: Vec<_> = errors.iter().map(|error| error.in_file("policy.yaml")).collect();
        panic!("{told:#?}")
    })
}

/// What is said of a file with mistakes.
fn mistakes(text: &str) -> Vec<String> {
    match PolicyFile::parse(text, &Known::default()) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(|error| error.in_file("policy.yaml")).collect(),
    }
}

/// Where a file has mistakes.
fn places(text: &str) -> Vec<String> {
    let place = |told: String| told.split(' ').take(2).collect::<Vec<_>>().join(" ");
    mistakes(text).into_iter().map(place).collect()
}

#[test]
fn the_example_has_no_mistake() {
    let file = parse(EXAMPLE);

    assert_eq!(file.services.len(), 1);
    assert_eq!(file.services[0].integrations.len(), 2);
    assert_eq!(file.services[0].policy.grouping.len(), 2);
    assert_eq!(file.services[0].policy.notify.len(), 3);
    assert_eq!(file.receivers.len(), 4);
    assert!(file.warnings().is_empty());
}

#[test]
fn an_empty_file_says_nothing() {
    for text in ["", "# only a comment\n", "services:\n", "{}", "services: []\n"] {
        assert!(parse(text).services.is_empty(), "{text:?}");
    }
}

#[test]
fn ten_mistakes_are_ten_messages_with_their_lines() {
    let text = r#"
services:
  - name: payments
    integrations:
      - {name: a, type: pigeon}
    enrich:
      - {extract: {from: summary, regex: '(?P<host>'}}
    grouping:
      - {match: ['colour="red"'], by: [class], windw: 5m}
    flapping: {mode: loud}
    notify:
      - {receivers: [pagerduty-mian]}
silences:
  - {name: s, match: ['group="db"'], schedule: {from: "23:00", to: "02:00", timezone: Mars}}
routes:
  - {match: [], service: payment}
receivers:
  - {name: pagerduty-main, kind: pagerduty, routing_key: abc}
  - {name: hook, kind: carrier, url: https://example.com}
"#;

    let found = mistakes(text);

    let expected = [
        "policy.yaml:5: services[0].integrations[0].type must be \"pagerduty\" or \"guance\"",
        "policy.yaml:7: services[0].enrich[0].extract.regex is no regular expression",
        "policy.yaml:9: services[0].grouping[0].match[0] has the unknown field \"colour\"",
        "policy.yaml:9: services[0].grouping[0].windw is unknown; did you mean window?",
        "policy.yaml:10: services[0].flapping.mode must be \"off\", \"mark\" or \"mute\"",
        "policy.yaml:12: services[0].notify[0].receivers[0] names no receiver; did you mean \
         pagerduty-main?",
        "policy.yaml:14: silences[0].schedule.timezone must be",
        "policy.yaml:16: routes[0].service names no service; did you mean payments?",
        "policy.yaml:18: receivers[0].routing_key is a secret, which is never given itself",
        "policy.yaml:19: receivers[1].kind must be \"pagerduty\", \"jira\", \"webhook\" or \"email\"",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\nis not\n{expected}");
    }
}

#[test]
fn the_paths_of_the_documentation_are_named() {
    for (text, place) in [
        ("services: [{name: a, flapping: {mode: x}}]", "services[0].flapping.mode"),
        (
            "services: [{name: a, grouping: [{by: [class]}, {by: [class], match: ['x']}]}]",
            "services[0].grouping[1].match[0]",
        ),
        (
            "services: [{name: a, grouping: [{by: [class], window: 31d}]}]",
            "services[0].grouping[0].window",
        ),
        (
            "services: [{name: a, enrich: [{extract: {from: summary, regex: '('}}]}]",
            "services[0].enrich[0].extract.regex",
        ),
        (
            "silences: [{name: a, match: ['class=\"a\"'], schedule: {from: '01:00', to: '02:00', \
             timezone: X}}]",
            "silences[0].schedule.timezone",
        ),
        ("receivers: [{name: a, kind: x}]", "receivers[0].kind"),
        ("servces: []", "servces"),
    ] {
        assert_eq!(places(text), [format!("policy.yaml:1: {place}")]);
    }
}

#[test]
fn a_broken_rule_does_not_move_the_places_of_those_after_it() {
    let grouping = "
services:
  - name: a
    grouping:
      - {by: [colour]}
      - {by: [class]}
      - {by: [class], window_type: sliding, window: 90m, max_span: 1h}
";
    let inhibition = "
services:
  - name: a
    inhibition:
      - {source: ['colour=\"red\"'], target: ['class=\"a\"']}
      - {source: ['class=\"a\"'], target: ['class=\"b\"']}
      - {source: ['class=\"b\"'], target: ['class=\"a\"']}
      - {source: ['class=\"c\"'], target: ['class=\"c\"']}
";

    assert_eq!(
        places(grouping),
        [
            "policy.yaml:5: services[0].grouping[0].by[0]",
            "policy.yaml:7: services[0].grouping[2].max_span",
        ]
    );
    assert_eq!(
        places(inhibition),
        [
            "policy.yaml:5: services[0].inhibition[0].source[0]",
            "policy.yaml:7: services[0].inhibition[2]",
            "policy.yaml:8: services[0].inhibition[3].target",
        ]
    );
    let told = mistakes(inhibition);
    assert!(told[1].contains("is the reverse of inhibition[1]"), "{}", told[1]);
    assert!(told[2].contains("is the same as inhibition[3].source"), "{}", told[2]);
}

#[test]
fn names_are_given_once() {
    let text = "
services:
  - {name: a, integrations: [{name: i, type: guance}]}
  - {name: b, integrations: [{name: i, type: guance}]}
  - {name: a}
receivers:
  - {name: r, kind: pagerduty, routing_key_env: K}
  - {name: r, kind: pagerduty, routing_key_env: K}
silences:
  - {name: s, match: ['class=\"a\"'], from: 2026-01-01T00:00:00Z, until: 2026-01-02T00:00:00Z}
  - {name: s, match: ['class=\"a\"'], from: 2026-01-01T00:00:00Z, until: 2026-01-02T00:00:00Z}
";

    assert_eq!(
        places(text),
        [
            "policy.yaml:4: services[1].integrations[0].name",
            "policy.yaml:5: services[2].name",
            "policy.yaml:8: receivers[1].name",
            "policy.yaml:11: silences[1].name",
        ]
    );
}

#[test]
fn what_is_there_already_may_be_named() {
    let text = "services: [{name: a, notify: [{receivers: [old]}]}]\n\
                routes: [{match: [], service: default}]";
    let mut known = Known::default();

    assert_eq!(places(text), ["policy.yaml:1: services[0].notify[0].receivers[0]"]);
    known.receivers.insert("old".to_owned());
    assert!(PolicyFile::parse(text, &known).is_ok());
}

#[test]
fn a_file_by_itself_may_name_what_only_the_gateway_knows() {
    let text = "services: [{name: a, notify: [{receivers: [old, pagerr]}]}]\n\
                routes:\n- {match: [], service: default}\n- {match: [], service: dutygate}\n\
                - {match: [], service: elsewhere}\n\
                receivers: [{name: pager, kind: pagerduty, routing_key_env: K, fallback: mail}]";

    let offline = Known::offline(Guard::new(false));

    let file = PolicyFile::parse(text, &offline).unwrap();

    let told: Vec<_> = file.unknown_names(&offline).iter().map(|w| w.in_file("p.yaml")).collect();
    let looked_for = "is not in this file; apply looks for it on the gateway";
    assert_eq!(
        told,
        [
            format!(
                "p.yaml:1: services[0].notify[0].receivers[0] names a receiver that {looked_for}"
            ),
            format!(
                "p.yaml:1: services[0].notify[0].receivers[1] names a receiver that {looked_for}; \
                 did you mean pager?"
            ),
            format!("p.yaml:5: routes[2].service names a service that {looked_for}"),
            format!("p.yaml:6: receivers[0].fallback names a receiver that {looked_for}"),
        ]
    );
}

#[test]
fn fallbacks_may_not_lead_back() {
    let receiver = |name, fallback| {
        format!("  - {{name: {name}, kind: pagerduty, routing_key_env: K, fallback: {fallback}}}\n")
    };
    let round = format!(
        "receivers:\n{}{}{}{}",
        receiver("x", "a"),
        receiver("a", "b"),
        receiver("b", "a"),
        receiver("c", "c")
    );

    assert_eq!(
        places(&round),
        ["policy.yaml:3: receivers[1].fallback", "policy.yaml:5: receivers[3].fallback"]
    );
}

#[test]
fn a_silence_of_everything_has_to_be_confirmed() {
    let silence = |more: &str| {
        format!(
            "silences:\n  - {{name: a, match: ['summary=~\".*\"'], schedule: {{from: '01:00', to: '02:00'}}{more}}}"
        )
    };

    assert_eq!(places(&silence("")), ["policy.yaml:2: silences[0].match"]);
    let alternatives = silence("")
        .replace("['summary=~\".*\"']", "[['severity=\"critical\"'], ['severity!=\"critical\"']]");
    assert_eq!(places(&alternatives), ["policy.yaml:2: silences[0].match"]);
    assert_eq!(parse(&silence(", confirm: true")).warnings().len(), 1);
    assert_eq!(parse(&silence(", service: default")).warnings().len(), 1);
}

#[test]
fn keys_are_named_and_never_given() {
    let given = "services: [{name: a, integrations: [{name: i, type: guance, key: abc}]}]";
    assert_eq!(places(given), ["policy.yaml:1: services[0].integrations[0].key"]);
    let named = parse(
        "services:\n- name: a\n  integrations:\n  - {name: i, type: guance}\n  \
         - {name: j, type: guance, key_env: J}",
    );

    let keys: Vec<_> = named.keys().collect();

    let source = KeySource::Env("J".to_owned());
    assert_eq!(keys, [("services[0].integrations[1].key_env".to_owned(), "j", &source)]);
    let missing = named.error(keys[0].0.clone(), "is not set");
    assert_eq!(
        missing.in_file("p.yaml"),
        "p.yaml:5: services[0].integrations[1].key_env is not set"
    );
}

#[test]
fn what_is_hardly_meant_is_a_warning() {
    let file = parse(
        "services:\n- name: quiet\n- name: loud\n  notify: [{receivers: [pd]}]\nreceivers:\n\
         - {name: pd, kind: pagerduty, routing_key_env: K, per_alert: true}",
    );

    let told: Vec<_> = file.warnings().iter().map(|w| w.in_file("p.yaml")).collect();

    assert_eq!(told.len(), 2);
    assert!(told[0].starts_with("p.yaml:2: services[0] has no notify rules"), "{}", told[0]);
    assert!(told[1].starts_with("p.yaml:4: services[1].notify[0] names pd"), "{}", told[1]);
}

#[test]
fn what_is_no_yaml_and_what_is_there_twice_have_a_line_too() {
    assert_eq!(places("services: [1, 2\nb: 3"), ["policy.yaml:2: is"]);
    assert_eq!(
        places("services:\n- name: a\n  storm: [1]\n  storm: [2]\n"),
        ["policy.yaml:3: services[0].storm[0]", "policy.yaml:4: services[0].storm"]
    );
}
