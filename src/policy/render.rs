//! The way back: what is managed by policy, as the file that would make it.

use std::sync::LazyLock;

use regex::Regex;
use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value, json};
use yaml_serde::Mapping;

use super::{
    file::{RouteSpec, SilenceSpec},
    yaml,
};
use crate::domain::{
    routing::Directory,
    service::{Integration, Service, ServicePolicy},
};

/// The order of the members that come first, for people.
const FIRST: [&str; 4] = ["name", "kind", "type", "description"];

/// What readers of YAML 1.1 take for something else than a text: `no`, `23:00`. A little more than
/// they do, which does no harm.
///
/// Source: yaml.org/type, the pages `bool`, `null`, `int`, `float`, `timestamp`, `merge`, `value`.
static NO_TEXT_IN_1_1: LazyLock<Regex> = LazyLock::new(|| {
    let source = r"(?ix)^(?:
        ~ | null | y | yes | n | no | true | false | on | off | << | =
        | [-+]? (?: [0-9][0-9_]* (?: \.[0-9_.]* )? | \.[0-9_.]+ ) (?: e[-+]?[0-9]+ )?
        | [-+]? 0 [box]? [0-9a-f_]+
        | [-+]? [0-9][0-9_]* (?: :[0-5]?[0-9] )+ (?: \.[0-9_]* )?
        | [-+]? \.inf | \.nan
        | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2} (?: [t\ \t] [-+:.tz0-9\ \t]+ )?
    )$";
    Regex::new(source).expect("it is constant, and a test uses it")
});

/// The YAML of everything that the policy manages. Applied to the same directory it is no step.
/// Defaults are left out.
pub fn render(directory: &Directory) -> String {
    let mut services: Vec<_> = directory.services().filter(|s| s.managed).collect();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    let mut receivers: Vec<_> = directory.receivers().filter(|r| r.managed).collect();
    receivers.sort_by(|a, b| a.name.cmp(&b.name));
    let routes = directory.routes().iter().filter(|route| route.managed).filter_map(|route| {
        let service = directory.service(route.service_id)?.name.clone();
        Some(RouteSpec { matches: route.matches.clone(), service }.to_json())
    });
    let sections: [(&str, Vec<Map<String, Value>>); 4] = [
        ("services", services.iter().map(|service| self::service(service, directory)).collect()),
        ("silences", silences(directory)),
        ("routes", routes.collect()),
        ("receivers", receivers.iter().map(|receiver| receiver.to_json()).collect()),
    ];
    let mut file = Mapping::new();
    for (name, items) in sections.into_iter().filter(|(_, items)| !items.is_empty()) {
        let items = items.into_iter().map(|item| ordered(&Value::Object(item))).collect();
        file.insert(name.into(), yaml_serde::Value::Sequence(items));
    }
    // What is only of texts, numbers, lists and objects can always be written.
    quoted(&yaml_serde::to_string(&file).unwrap_or_default())
}

/// The same with quotes around each text that another version of YAML takes for something else.
fn quoted(yaml: &str) -> String {
    let plain = Parser::new_from_str(yaml).map_while(Result::ok).filter_map(|(event, span)| {
        let Event::Scalar(text, ScalarStyle::Plain, ..) = event else { return None };
        let is_mistaken = yaml::meaning(&text).is_string() && NO_TEXT_IN_1_1.is_match(&text);
        is_mistaken.then(|| (span.start.index(), text.chars().count()))
    });
    let mut shown = String::with_capacity(yaml.len());
    let (mut rest, mut at) = (yaml.chars(), 0);
    for (start, length) in plain {
        shown.extend(rest.by_ref().take(start - at));
        shown.push('\'');
        shown.extend(rest.by_ref().take(length));
        shown.push('\'');
        at = start + length;
    }
    shown + rest.as_str()
}

fn service(service: &Service, directory: &Directory) -> Map<String, Value> {
    let default = ServicePolicy::default().to_json();
    let mut object = service.policy.to_json();
    object.retain(|name, value| default.get(name) != Some(value));
    object.insert("name".into(), service.name.as_str().into());
    if !service.description.is_empty() {
        object.insert("description".into(), service.description.as_str().into());
    }
    let of_it = |i: &&Integration| i.managed && i.service_id == service.id;
    let mut integrations: Vec<&Integration> =
        directory.integrations().map(AsRef::as_ref).filter(of_it).collect();
    integrations.sort_by(|a, b| a.name.cmp(&b.name));
    let shown = |i: &&Integration| {
        if i.shared {
            json!({"name": i.name, "type": i.kind, "shared": true})
        } else {
            json!({"name": i.name, "type": i.kind})
        }
    };
    if !integrations.is_empty() {
        object.insert("integrations".into(), integrations.iter().map(shown).collect());
    }
    object
}

/// One a name: where an old one is over and a new one has its name, the new one.
fn silences(directory: &Directory) -> Vec<Map<String, Value>> {
    let managed = directory.silences().iter().filter(|s| s.managed && s.expired_at.is_none());
    let mut named: Vec<SilenceSpec> = Vec::new();
    for silence in managed {
        let Some(name) = &silence.name else { continue };
        let service = silence.service_id.and_then(|id| directory.service(id));
        if silence.service_id.is_some() && service.is_none() {
            continue;
        }
        named.retain(|other| other.name != *name);
        named.push(SilenceSpec {
            name: name.clone(),
            matches: silence.matches.clone(),
            when: silence.when.clone(),
            comment: silence.comment.clone(),
            service: service.map(|service| service.name.clone()),
        });
    }
    named.sort_by(|a, b| a.name.cmp(&b.name));
    named.iter().map(SilenceSpec::to_json).collect()
}

/// The same as YAML, names first.
fn ordered(value: &Value) -> yaml_serde::Value {
    match value {
        Value::Null => yaml_serde::Value::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(_) => yaml_serde::to_value(value).unwrap_or_default(),
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => yaml_serde::Value::Sequence(items.iter().map(ordered).collect()),
        Value::Object(object) => {
            let rank = |key: &str| FIRST.iter().position(|first| *first == key);
            let mut keys: Vec<&String> = object.keys().collect();
            keys.sort_by_key(|key| (rank(key).unwrap_or(FIRST.len()), *key));
            let mut mapping = Mapping::new();
            for key in keys {
                mapping.insert(key.as_str().into(), ordered(&object[key]));
            }
            yaml_serde::Value::Mapping(mapping)
        }
    }
}
