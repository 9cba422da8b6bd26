//! The schema says what the code takes.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Value, json};

use super::EXAMPLE;
use crate::policy::{Known, PolicyFile, schema, yaml};

/// Whether `value` is valid by `schema`: as much of JSON Schema as ours uses.
fn valid(root: &Value, schema: &Value, value: &Value) -> bool {
    let rules = schema.as_object().unwrap();
    rules.iter().all(|(rule, want)| {
        let each = |check: &dyn Fn(&Value) -> bool| {
            value.as_array().is_none_or(|items| items.iter().all(check))
        };
        let members = || value.as_object().into_iter().flatten();
        let length = || value.as_array().map(Vec::len);
        let bound = |want: &Value| usize::try_from(want.as_u64().unwrap()).unwrap();
        let text_length = || value.as_str().map(|text| text.chars().count());
        match rule.as_str() {
            "$ref" => {
                let pointer = want.as_str().unwrap().trim_start_matches('#');
                valid(root, root.pointer(pointer).unwrap(), value)
            }
            "type" => match want {
                Value::Array(types) => types.iter().any(|want| has_type(value, want)),
                want => has_type(value, want),
            },
            "properties" => members().all(|(name, value)| {
                want.get(name).is_none_or(|schema| valid(root, schema, value))
            }),
            "additionalProperties" => {
                let known = &rules.get("properties").cloned().unwrap_or_default();
                members().filter(|(name, _)| known.get(name.as_str()).is_none()).all(
                    |(_, value)| match want {
                        Value::Bool(allowed) => *allowed,
                        schema => valid(root, schema, value),
                    },
                )
            }
            "required" => {
                let names = want.as_array().unwrap();
                value.as_object().is_none_or(|object| {
                    names.iter().all(|name| object.contains_key(name.as_str().unwrap()))
                })
            }
            "items" => each(&|item| valid(root, want, item)),
            "enum" => want.as_array().unwrap().contains(value),
            "const" => want == value,
            "pattern" => value
                .as_str()
                .is_none_or(|text| Regex::new(want.as_str().unwrap()).unwrap().is_match(text)),
            "anyOf" => want.as_array().unwrap().iter().any(|s| valid(root, s, value)),
            "oneOf" => {
                want.as_array().unwrap().iter().filter(|s| valid(root, s, value)).count() == 1
            }
            "minItems" => length().is_none_or(|n| n >= bound(want)),
            "maxItems" => length().is_none_or(|n| n <= bound(want)),
            "minLength" => text_length().is_none_or(|n| n >= bound(want)),
            "maxLength" => text_length().is_none_or(|n| n <= bound(want)),
            "minimum" => value.as_f64().is_none_or(|n| n >= want.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|n| n <= want.as_f64().unwrap()),
            "minProperties" => value.as_object().is_none_or(|o| o.len() >= bound(want)),
            "uniqueItems" => value.as_array().is_none_or(|items| {
                items.iter().enumerate().all(|(i, item)| !items[..i].contains(item))
            }),
            "$schema" | "$defs" | "title" | "description" | "default" | "format" => true,
            other => panic!("the schema uses {other}, which this test does not know"),
        }
    })
}

fn has_type(value: &Value, want: &Value) -> bool {
    match want.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("no type {other}"),
    }
}

fn accepts(value: &Value) -> bool {
    let schema = schema();
    valid(&schema, &schema, value)
}

#[test]
fn the_committed_schema_is_the_one_of_the_code() {
    let committed = include_str!("../../../policy.schema.json");
    let current = serde_json::to_string_pretty(&schema()).unwrap() + "\n";

    assert_eq!(committed, current, "policy.schema.json is to be written anew from the code");
}

#[test]
fn it_accepts_the_example_and_an_empty_file() {
    assert!(accepts(&yaml::parse(EXAMPLE).unwrap().value));
    assert!(accepts(&Value::Null));
    assert!(accepts(&json!({})));
}

#[test]
fn it_refuses_what_is_misspelt() {
    let example = yaml::parse(EXAMPLE).unwrap().value;
    for (pointer, wrong) in [
        ("/services/0/grouping/0/window", json!("soon")),
        ("/services/0/flapping/mode", json!("loud")),
        ("/services/0/grouping/0/by/0", json!("colour")),
        ("/receivers/0/kind", json!("pigeon")),
        ("/silences/0/schedule/to", json!("25:00")),
        ("/services/0/enrich/0", json!({"extrct": {}})),
    ] {
        let mut edited = example.clone();
        *edited.pointer_mut(pointer).unwrap() = wrong;
        assert!(!accepts(&edited), "{pointer}");
    }
}

/// The properties of the object schema that `value`, an object, is judged by at `path`.
fn properties(pointer: &str) -> BTreeSet<String> {
    let root = schema();
    let found = root.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"));
    found["properties"].as_object().unwrap().keys().cloned().collect()
}

/// The keys that the code names when it meets one that it does not know.
fn known_to_the_code(text: &str) -> BTreeSet<String> {
    let errors = PolicyFile::parse(text, &Known::default()).unwrap_err();
    let unknown = errors.iter().find(|error| error.field.ends_with("zzzzzzzzz")).unwrap();
    let names = unknown.message.strip_prefix("is unknown; must be ").unwrap();
    names.replace(" or ", ", ").split(", ").map(str::to_owned).collect()
}

#[test]
fn it_names_every_key_of_the_code_and_no_other() {
    let service = |member: &str| format!("services: [{{name: a, {member}}}]");
    let receiver = |kind: &str| format!("receivers: [{{name: a, kind: {kind}, zzzzzzzzz: 1}}]");
    let of_receiver = |at: usize| {
        let mut keys = properties(&format!("/$defs/receiver/oneOf/{at}"));
        keys.remove("name");
        keys.remove("kind");
        keys
    };
    let jira =
        |member: &str| format!("receivers: [{{name: a, kind: jira, {member}: {{zzzzzzzzz: 1}}}}]");
    let cases = [
        ("zzzzzzzzz: 1".to_owned(), properties("")),
        (service("zzzzzzzzz: 1"), properties("/$defs/service")),
        (service("integrations: [{zzzzzzzzz: 1}]"), properties("/$defs/integration")),
        (service("drop: [{zzzzzzzzz: 1}]"), properties("/$defs/service/properties/drop/items")),
        (service("grouping: [{zzzzzzzzz: 1}]"), properties("/$defs/grouping")),
        (service("inhibition: [{zzzzzzzzz: 1}]"), properties("/$defs/inhibition")),
        (service("notify: [{zzzzzzzzz: 1}]"), properties("/$defs/notify")),
        (service("flapping: {zzzzzzzzz: 1}"), properties("/$defs/service/properties/flapping")),
        (
            service("auto_pause: {zzzzzzzzz: 1}"),
            properties("/$defs/service/properties/auto_pause/anyOf/0"),
        ),
        (
            service("auto_resolve: {zzzzzzzzz: 1}"),
            properties("/$defs/service/properties/auto_resolve/anyOf/0"),
        ),
        (
            service("enrich: [{extract: {zzzzzzzzz: 1}}]"),
            properties("/$defs/enrich/oneOf/0/properties/extract"),
        ),
        (
            service("enrich: [{set: {zzzzzzzzz: 1}}]"),
            properties("/$defs/enrich/oneOf/1/properties/set"),
        ),
        (
            service("enrich: [{map: {zzzzzzzzz: 1}}]"),
            properties("/$defs/enrich/oneOf/2/properties/map"),
        ),
        (
            service("enrich: [{zzzzzzzzz: 1}]"),
            (0..4).flat_map(|at| properties(&format!("/$defs/enrich/oneOf/{at}"))).collect(),
        ),
        (
            service("notify: [{receivers: [a], active: {zzzzzzzzz: 1}}]"),
            properties("/$defs/schedule"),
        ),
        ("silences: [{zzzzzzzzz: 1}]".to_owned(), properties("/$defs/silence")),
        ("routes: [{zzzzzzzzz: 1}]".to_owned(), properties("/$defs/route")),
        (receiver("pagerduty"), of_receiver(0)),
        (receiver("jira"), of_receiver(1)),
        (receiver("webhook"), of_receiver(2)),
        (receiver("email"), of_receiver(3)),
        (jira("auth"), properties("/$defs/receiver/oneOf/1/properties/auth/anyOf/0")),
        (jira("transitions"), properties("/$defs/receiver/oneOf/1/properties/transitions")),
        (jira("priority"), properties("/$defs/receiver/oneOf/1/properties/priority")),
    ];
    for (text, of_schema) in cases {
        assert_eq!(known_to_the_code(&text), of_schema, "{text}");
    }
}
