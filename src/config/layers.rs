//! Gathers what was given: the file, the environment and the flags, each as texts by key.
//!
//! Does not know what values mean; it only knows which names exist.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use yaml_serde::{Mapping, Value};

use super::{
    error::{ConfigError, Origin},
    keys::{CLIENT_ENV, ENV_PREFIX, KEYS, Key},
};
use crate::domain::suggest::nearest;

/// The file that is read if it exists and no other is named.
pub const DEFAULT_FILE: &str = "dutygate.yaml";

/// What one source gave.
#[derive(Debug)]
pub(super) struct Layer {
    pub origin: Origin,
    pub values: BTreeMap<&'static str, String>,
}

impl Layer {
    /// How the key is written in this source.
    pub(super) fn name_of(&self, key: &Key) -> String {
        match self.origin {
            Origin::Environment => key.env(),
            Origin::Flag => format!("--{}", key.flag()),
            Origin::File(_) | Origin::Together => key.path.to_owned(),
        }
    }
}

/// Returns the path and the text of the file, or nothing if none was named and none is there.
pub(super) fn read_file(named: Option<&Path>) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.to_owned(), text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => Ok(None),
        Err(error) => Err(ConfigError {
            origin: Origin::File(path.to_owned()),
            at: String::new(),
            problem: format!("cannot be read: {error}"),
        }),
    }
}

/// Reads the YAML file into a layer; what is wrong goes to `errors`.
pub(super) fn from_yaml(path: &Path, text: &str, errors: &mut Vec<ConfigError>) -> Layer {
    let origin = Origin::File(path.to_owned());
    let mut walk = Walk { origin: &origin, errors, values: BTreeMap::new() };
    match yaml_serde::from_str::<Value>(text) {
        Ok(Value::Null) => {}
        Ok(Value::Mapping(mapping)) => walk.mapping("", &mapping),
        Ok(_) => walk.error("", "must be keys with values, such as \"listen: 127.0.0.1:8080\""),
        Err(error) => walk.error("", format!("is not YAML: {}", without_value(&error.to_string()))),
    }
    let values = walk.values;
    Layer { origin, values }
}

/// Cuts the value out of "KEY: invalid type: integer `VALUE` …": it may be a secret of digits only.
fn without_value(error: &str) -> String {
    match error.split_once("invalid ") {
        Some((at, _)) => format!("{at}has a value that YAML cannot hold; put it in quotes"),
        None => error.to_owned(),
    }
}

struct Walk<'a> {
    origin: &'a Origin,
    errors: &'a mut Vec<ConfigError>,
    values: BTreeMap<&'static str, String>,
}

impl Walk<'_> {
    fn error(&mut self, at: &str, problem: impl Into<String>) {
        self.errors.push(ConfigError {
            origin: self.origin.clone(),
            at: at.to_owned(),
            problem: problem.into(),
        });
    }

    fn mapping(&mut self, group: &str, mapping: &Mapping) {
        for (name, value) in mapping {
            let Some(name) = name.as_str() else {
                self.error(group, "has a key that is not text");
                continue;
            };
            let path = if group.is_empty() { name.to_owned() } else { format!("{group}.{name}") };
            if let Some(key) = Key::find(&path).filter(|_| group.is_empty() != path.contains('.')) {
                self.scalar(key, value);
            } else if group.is_empty() && keys_of(name).next().is_some() {
                self.group(name, value);
            } else {
                self.error(&path, unknown(group, name));
            }
        }
    }

    fn group(&mut self, group: &str, value: &Value) {
        match value {
            // A group whose keys are all commented out.
            Value::Null => {}
            Value::Mapping(mapping) => self.mapping(group, mapping),
            _ => {
                let names: Vec<_> = keys_of(group).map(Key::name).collect();
                self.error(group, format!("must be a group of the keys {}", names.join(", ")));
            }
        }
    }

    fn scalar(&mut self, key: &'static Key, value: &Value) {
        let allowed = || format!("must be {}", key.kind.allowed());
        let text = match value {
            Value::Null => return,
            Value::String(text) => text.clone(),
            Value::Number(number) if key.kind.is_bare() => number.to_string(),
            Value::Bool(bool) if key.kind.is_bare() => bool.to_string(),
            // A key of digits only would lose some of them as a number.
            Value::Number(_) | Value::Bool(_) => {
                return self.error(key.path, format!("{}, as text in quotes", allowed()));
            }
            Value::Sequence(_) => return self.error(key.path, format!("{}, is a list", allowed())),
            Value::Mapping(_) => return self.error(key.path, format!("{}, is a group", allowed())),
            Value::Tagged(_) => return self.error(key.path, format!("{}, has a tag", allowed())),
        };
        if !text.is_empty() {
            self.values.insert(key.path, text);
        }
    }
}

fn keys_of(group: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.group() == Some(group))
}

fn unknown(group: &str, name: &str) -> String {
    if group.is_empty() && Key::find(name).is_some() {
        let (group, name) = name.split_once('.').unwrap_or_default();
        return format!("is unknown; write it as a group: \"{group}: {{{name}: …}}\"");
    }
    let here = KEYS.iter().filter(|key| key.group().unwrap_or_default() == group).map(Key::name);
    let groups = KEYS.iter().filter_map(Key::group).filter(|_| group.is_empty());
    let meant = nearest(name, here.chain(groups)).map(|near| match group {
        "" => near.to_owned(),
        group => format!("{group}.{near}"),
    });
    // Perhaps the right name without its group.
    let deeper = || KEYS.iter().find(|key| group.is_empty() && key.name() == name);
    let deeper = || deeper().map(|key| key.path.to_owned());
    match meant.or_else(deeper) {
        Some(meant) => format!("is unknown; did you mean {meant}?"),
        None if group.is_empty() => "is unknown; config.example.yaml lists all keys".to_owned(),
        None => {
            let names: Vec<_> = keys_of(group).map(Key::name).collect();
            format!("is unknown; {group} has {}", names.join(", "))
        }
    }
}

/// Takes our variables out of the environment. An unknown name is a warning and no error: names
/// under our prefix come from elsewhere too (Kubernetes sets `DUTYGATE_SERVICE_HOST` and
/// `DUTYGATE_PORT_…` for a service called dutygate, and receivers' secrets may be named so).
pub(super) fn from_environment(
    variables: impl Iterator<Item = (String, String)>,
    warnings: &mut Vec<String>,
) -> Layer {
    let names: BTreeMap<String, &Key> = KEYS.iter().map(|key| (key.env(), key)).collect();
    let mut values = BTreeMap::new();
    for (name, text) in variables {
        match names.get(&name) {
            // Compose files pass variables that are not set as empty ones.
            Some(_) if text.is_empty() => {}
            Some(key) => {
                values.insert(key.path, text);
            }
            None if !name.starts_with(ENV_PREFIX) || CLIENT_ENV.contains(&name.as_str()) => {}
            None if is_from_kubernetes(&name) => {}
            None => {
                let near = nearest(&name, names.keys().map(String::as_str));
                let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                warnings
                    .push(format!("{name} (environment): is no setting and has no effect{hint}"));
            }
        }
    }
    Layer { origin: Origin::Environment, values }
}

fn is_from_kubernetes(name: &str) -> bool {
    let rest = name.strip_prefix(ENV_PREFIX).unwrap_or_default();
    rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_")
}
