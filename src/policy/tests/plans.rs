//! Which steps lead from what is to what a file says, and back to the file.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{EXAMPLE, world::World};
use crate::{
    domain::{key::RoutingKey, time::Span},
    policy::render,
};

/// The lines that begin with a sign.
fn steps(plan: &str) -> Vec<&str> {
    plan.lines().filter(|line| line.starts_with(['+', '~', '-'])).collect()
}

#[test]
fn the_example_is_made_and_then_nothing_is_to_do() {
    let mut world = World::new();

    let first = world.apply(EXAMPLE, false);

    assert_eq!(
        steps(&first),
        [
            "+ receiver pagerduty-main",
            "+ receiver jira-ops",
            "+ receiver hook",
            "+ receiver mail-night",
            "+ service payments",
            "+ integration elastalert-prod",
            "+ integration guance-hz",
            "+ silence weekly patching",
            r#"+ route ["component=~\"payments-.*\""] to payments"#,
        ]
    );
    assert!(first.lines().all(|line| {
        line.starts_with("    ") || ["+ ", "~ ", "- "].iter().any(|sign| line.starts_with(sign))
    }));
    assert_eq!(world.apply(EXAMPLE, false), "");
    assert_eq!(world.apply(EXAMPLE, true), "");
}

#[test]
fn an_edit_says_what_it_changes() {
    let mut world = World::new();
    world.apply(EXAMPLE, false);
    let edited = EXAMPLE.replace("window: 15m", "window: 20m").replace("storm: [50, 500]", "");

    let plan = world.apply(&edited, false);

    assert_eq!(
        plan,
        "~ service payments\n    grouping[1].window: \"15m\" -> \"20m\"\n    storm[0]: no longer \
         50\n    storm[1]: no longer 500\n"
    );
    assert_eq!(world.apply(&edited, false), "");
}

#[test]
fn what_the_file_does_not_name_stays_unless_it_is_pruned() {
    let mut world = World::new();
    world.apply(EXAMPLE, false);

    assert_eq!(world.apply("", false), "");
    let pruned = world.apply("", true);

    assert_eq!(
        steps(&pruned),
        [
            "- silence weekly patching",
            r#"- route ["component=~\"payments-.*\""] to payments"#,
            "- integration elastalert-prod",
            "- integration guance-hz",
            "- service payments",
            "- receiver hook",
            "- receiver jira-ops",
            "- receiver mail-night",
            "- receiver pagerduty-main",
        ]
    );
    assert_eq!(world.apply("", true), "");
    assert_eq!(world.services.len(), 1, "default stays");
}

#[test]
fn what_was_made_by_hand_is_never_pruned() {
    let mut world = World::new();
    world.apply(EXAMPLE, false);
    world.silences[0].managed = false;
    world.routes[0].managed = false;
    world.integrations[0].managed = false;
    for receiver in &mut world.receivers {
        receiver.managed = receiver.name != "hook";
    }

    let pruned = world.apply("", true);

    assert_eq!(
        pruned,
        "- integration guance-hz\n\
         note: the service payments stays: the route [\"component=~\\\"payments-.*\\\"\"] to payments \
         needs it\n\
         note: the receiver jira-ops stays: it is still named\n\
         note: the receiver mail-night stays: it is still named\n\
         note: the receiver pagerduty-main stays: it is still named\n"
    );
}

#[test]
fn the_service_default_is_never_deleted() {
    let mut world = World::new();
    let adopted = world.apply("services: [{name: default, storm: [10]}]", false);

    assert_eq!(
        adopted,
        "~ service default\n    storm[0]: 10\n    belongs to the policy from now on\n"
    );
    assert_eq!(world.apply("", true), "");
    assert_eq!(world.services.len(), 1);
}

#[test]
fn a_silence_that_is_over_is_nothing_to_do() {
    let silence = |until: &str| {
        format!(
            "silences: [{{name: a, match: ['class=\"a\"'], from: 2025-11-01T00:00:00Z, until: {until}}}]"
        )
    };
    let mut world = World::new();

    assert_eq!(world.apply(&silence("2025-11-02T00:00:00Z"), false), "");
    assert_eq!(steps(&world.apply(&silence("2026-11-02T00:00:00Z"), false)), ["+ silence a"]);
    assert_eq!(
        world.apply(&silence("2026-11-03T00:00:00Z"), false),
        "~ silence a\n    until: \"2026-11-02T00:00:00.000Z\" -> \"2026-11-03T00:00:00.000Z\"\n"
    );
    world.silences[0].expired_at = Some(world.now);
    assert_eq!(steps(&world.apply(&silence("2026-11-03T00:00:00Z"), false)), ["+ silence a"]);
    assert_eq!(world.apply(&silence("2026-11-03T00:00:00Z"), true), "");
}

#[test]
fn routes_keep_the_order_of_the_file_and_others_their_place() {
    let file = |order: &[&str]| {
        let route = |class: &&str| format!("{{match: ['class=\"{class}\"'], service: default}}");
        format!("routes: [{}]", order.iter().map(route).collect::<Vec<_>>().join(", "))
    };
    let mut world = World::new();
    world.apply(&file(&["hand"]), false);
    world.routes[0].managed = false;
    let order = |world: &World| -> Vec<String> {
        let class = |route: &crate::domain::routing::Route| {
            route.matches.to_json()[0].as_str().unwrap().to_owned()
        };
        let classes = world.routes.iter().map(class);
        classes.map(|text| text.trim_start_matches("class=").trim_matches('"').to_owned()).collect()
    };

    world.apply(&file(&["a", "b", "c"]), false);
    assert_eq!(order(&world), ["hand", "a", "b", "c"]);
    let moved = world.apply(&file(&["c", "a", "d", "b"]), false);
    assert_eq!(order(&world), ["hand", "c", "a", "d", "b"]);

    assert_eq!(steps(&moved).len(), 3, "{moved}");
    assert_eq!(world.apply(&file(&["c", "a", "d", "b"]), false), "");
    world.apply(&file(&["d"]), true);
    assert_eq!(order(&world), ["hand", "d"]);
}

#[test]
fn a_key_that_the_file_names_is_taken_and_kept() {
    let file = "services: [{name: a, integrations: [{name: i, type: guance, key_env: K}]}]";
    let key = |letter: &str| RoutingKey::parse(&letter.repeat(32)).unwrap();
    let mut world = World::new();
    world.secrets.insert("i".to_owned(), key("a"));
    world.apply(file, false);

    assert_eq!(world.apply(file, false), "");
    world.secrets.insert("i".to_owned(), key("b"));
    let changed = "~ integration i\n    key: \"from the variable K\"\n";
    assert_eq!(world.apply(file, false), changed);
    assert_eq!(world.apply(file, false), "");
    // The first key still works, but not for long: named again, it takes over again.
    world.secrets.insert("i".to_owned(), key("a"));
    assert_eq!(world.apply(file, false), changed);
    assert_eq!(world.apply(file, false), "");
    world.now = world.now.plus(Span::from_secs(2 * 86_400));
    assert_eq!(world.apply(file, false), "");
}

#[test]
fn rules_keep_their_ids_when_the_file_is_applied_again() {
    let mut world = World::new();
    world.apply(EXAMPLE, false);
    let ids = |world: &World| -> Vec<_> {
        let payments = world.services.iter().find(|service| service.name == "payments").unwrap();
        payments.policy.grouping.iter().map(|rule| rule.id).collect()
    };
    let before = ids(&world);

    world.apply(&EXAMPLE.replace("window: 15m", "window: 20m"), false);

    assert_eq!(ids(&world), before);
}

#[test]
fn the_policy_is_shown_as_the_file_that_makes_it() {
    let mut world = World::new();
    world.apply(EXAMPLE, false);

    let shown = render(&world.directory());

    assert_eq!(world.plan(&shown, true).to_string(), "");
    let mut other = World::new();
    assert_eq!(steps(&other.apply(&shown, false)).len(), 9);
    assert_eq!(render(&other.directory()), shown);
    assert!(!shown.contains("default"), "what no policy made is left out: {shown}");
    assert_eq!(render(&World::new().directory()).trim(), "{}");
}

/// Scripts that read the policy do so with `PyYAML` more often than not, which has YAML 1.1.
#[test]
fn what_yaml_1_1_takes_for_something_else_is_shown_in_quotes() {
    let file = r#"
services:
  - {name: a, flapping: {mode: "off"}, notify: [{receivers: [r], active: {from: "09:00", to: "24:00"}}]}
receivers: [{name: r, kind: jira, url: "https://j", auth: {bearer_env: K}, project: "no",
  fields: {"on": "text with: 1\nand: no\n", plain: "15m", "23:59": 1, "2026-01-01": true}}]
silences:
  - {name: s, match: ['class="a"'], schedule: {from: "23:00", to: "02:00"}}
"#;
    let mut world = World::new();
    world.apply(file, false);

    let shown = render(&world.directory());

    for quoted in [
        "mode: 'off'",
        "from: '09:00'",
        "to: '24:00'",
        "project: 'no'",
        "'on': |",
        "plain: 15m",
        "'23:59': 1",
        "'2026-01-01': true",
        "from: '23:00'",
    ] {
        assert!(shown.contains(quoted), "{quoted} is not in\n{shown}");
    }
    assert!(shown.contains("and: no\n"), "a text of lines is as it was: {shown}");
    assert_eq!(world.plan(&shown, true).to_string(), "");
}

#[test]
fn what_every_yaml_takes_for_a_text_is_shown_without_quotes() {
    for (name, quoted) in [
        ("on", true),
        ("Off", true),
        ("YES", true),
        ("n", true),
        ("y", true),
        ("1_000", true),
        ("0b11", true),
        ("017", true),
        ("0x1F", true),
        ("1e3", true),
        ("190:20:30", true),
        ("190:20:30.15", true),
        ("+12", true),
        (".5", true),
        ("-.INF", true),
        (".nan", true),
        ("2026-1-1 10:00:00", true),
        ("2026-01-01T10:00:00Z", true),
        ("<<", true),
        ("=", true),
        ("nobody", false),
        ("15m", false),
        ("1d", false),
        ("v1.2", false),
        ("12 monkeys", false),
        ("http://x:80", false),
    ] {
        let mut world = World::new();
        world.apply(&json!({"services": [{"name": name}]}).to_string(), false);

        let shown = render(&world.directory());

        let name = if quoted { format!("'{name}'") } else { name.to_owned() };
        assert!(shown.contains(&format!("name: {name}\n")), "{name}: {shown}");
    }
}

/// Names and values that YAML may take for something else.
fn awkward() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        "no",
        "null",
        "~",
        "1",
        "0x1F",
        "1e3",
        "007",
        "true",
        ".inf",
        "23:00",
        "- a",
        "a: b",
        "#x",
        "'",
        "\"",
        "a\\nb",
        "*a",
        "&a",
        "!a",
        "{}",
        "[",
        "%",
        "@x",
        "`",
        "故障",
        "a b",
        "|",
        ">",
        "=",
        "<<",
        "2026-01-01",
        "a: 'b' # c",
        "1_000",
        "+5",
        "0o7",
        "1.",
        "-",
        "?",
        ":",
    ]);
    prop_oneof![fixed.prop_map(str::to_owned), r##"[a-z'"#:\\{}\[\], é磁-]{1,12}"##]
        .prop_filter("a name", |name| crate::domain::name::parse(name).as_ref() == Ok(name))
}

proptest! {
    #[test]
    fn whatever_is_managed_is_shown_so_that_applying_it_changes_nothing(
        names in prop::collection::btree_set(awkward(), 1..5),
        values in prop::collection::vec(awkward(), 5),
        managed in prop::collection::vec(prop::bool::ANY, 24),
    ) {
        let names: Vec<_> = names.into_iter().filter(|name| name != "default").collect();
        let text = |i: usize| values[i % values.len()].as_str();
        let matcher = |i: usize| json!([format!("class={:?}", text(i))]);
        let services = names.iter().enumerate().map(|(i, name)| json!({
            "name": name, "description": text(i),
            "integrations": [{"name": format!("{name} in"), "type": "guance", "shared": i % 2 == 0}],
            "enrich": [{"set": {"label": "a", "value": text(i + 1)}}],
            "grouping": [{"by": "similarity", "threshold": 0.9, "match": matcher(i)}],
            "notify": [{"receivers": [name], "delay": "5m"}],
        }));
        // Texts in fields are templates: a brace would have to make sense.
        let plain = |i: usize| text(i).replace(['{', '}'], "");
        let receivers = names.iter().enumerate().map(|(i, name)| json!({
            "name": name, "kind": "jira", "url": "https://j", "auth": {"bearer_env": "K"},
            "project": text(i), "fields": {text(i): [plain(i), 1, 0.5, true, null, {}]},
        }));
        let silences = names.iter().enumerate().map(|(i, name)| json!({
            "name": name, "match": matcher(i), "comment": text(i), "service": name,
            "schedule": {"days": ["sun"], "from": "23:00", "to": "02:00"},
        }));
        let routes = names.iter().enumerate()
            .map(|(i, name)| json!({"match": matcher(i), "service": name}));
        let file = json!({
            "services": services.collect::<Value>(), "receivers": receivers.collect::<Value>(),
            "silences": silences.collect::<Value>(), "routes": routes.collect::<Value>(),
        });
        let mut world = World::new();
        // JSON is YAML.
        world.apply(&file.to_string(), false);
        let mut flags = managed.into_iter().cycle();
        let mut flag = || flags.next().unwrap();
        world.services.iter_mut().for_each(|service| service.managed = flag());
        world.integrations.iter_mut().for_each(|integration| integration.managed = flag());
        world.silences.iter_mut().for_each(|silence| silence.managed = flag());
        world.routes.iter_mut().for_each(|route| route.managed = flag());
        world.receivers.iter_mut().for_each(|receiver| receiver.managed = flag());

        let shown = render(&world.directory());

        prop_assert_eq!(world.plan(&shown, false).to_string(), "", "{}", shown);
    }
}

#[test]
fn who_is_named_no_more_is_still_owed_resolves_and_the_plan_says_how_many() {
    let file = |notify: &str, receivers: &[&str]| {
        let hook = |name: &&str| format!("{{name: {name}, kind: webhook, url_env: HOOK}}");
        let receivers: Vec<_> = receivers.iter().map(hook).collect();
        let receivers = receivers.join(", ");
        format!("services: [{{name: a, notify: [{notify}]}}]\nreceivers: [{receivers}]\n")
    };
    let mut world = World::new();
    let both = "{receivers: [one, two]}, {receivers: [two]}";
    world.apply(&file(both, &["one", "two", "spare"]), false);
    let service = world.services.iter().find(|service| service.name == "a").unwrap().id;
    let other = world.services[0].id;
    for (service, receiver, incidents) in
        [(service, "one", 2), (service, "two", 1), (other, "one", 3), (other, "spare", 1)]
    {
        world.told.insert((service, receiver.to_owned()), incidents);
    }
    let owed = |plan: &str| -> Vec<String> {
        plan.lines().filter(|line| line.contains("told of")).map(|l| l.trim().to_owned()).collect()
    };

    let leaves = world.plan(&file("{receivers: [two]}", &["one", "two", "spare"]), false);
    let stays = world.plan(&file("{receivers: [one]}, {receivers: [two]}", &["one"]), false);
    let pruned = world.plan(&file("{receivers: [two]}", &["two"]), true);

    let of_one = "2 open incidents that one was told of: their resolves still go";
    assert_eq!(owed(&leaves.to_string()), [of_one]);
    assert_eq!(owed(&stays.to_string()), [""; 0]);
    assert_eq!(
        owed(&pruned.to_string()),
        [
            of_one,
            "5 open incidents that it was told of: their resolves still go",
            "1 open incident that it was told of: its resolve still goes",
        ]
    );
}
