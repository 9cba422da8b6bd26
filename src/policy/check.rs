//! What holds for the file as a whole: names are given once, and stand for something.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Known, PolicyError, PolicyFile};
use crate::{
    domain::{read::FieldError, receiver::ReceiverKind, suggest},
    notify,
};

/// Looks at the JSON, where every name has its path, whatever else is wrong around it.
pub(super) fn names(file: &Value, known: &Known, errors: &mut Vec<FieldError>) {
    let mut names = Names { file, errors };
    let services = names.given("services", known.services.clone());
    names.given("silences", BTreeSet::new());
    let receivers = names.given("receivers", known.receivers.clone());
    names.integrations();
    for section in ["silences", "routes"] {
        for (i, item) in items(&file[section]) {
            let path = format!("{section}[{i}].service");
            names.refers(&item["service"], path, "service", &services);
        }
    }
    for (i, service) in items(&file["services"]) {
        for (j, rule) in items(&service["notify"]) {
            for (k, name) in items(&rule["receivers"]) {
                let path = format!("services[{i}].notify[{j}].receivers[{k}]");
                names.refers(name, path, "receiver", &receivers);
            }
        }
    }
    for (i, receiver) in items(&file["receivers"]) {
        let path = format!("receivers[{i}].fallback");
        names.refers(&receiver["fallback"], path, "receiver", &receivers);
    }
    names.fallbacks();
    for (i, receiver) in items(&file["receivers"]) {
        let kind = receiver["kind"].as_str().and_then(ReceiverKind::parse);
        let (Some(kind), Some(settings)) = (kind, receiver.as_object()) else { continue };
        for (member, what) in notify::mistakes(kind, settings, known.guard) {
            errors.push((format!("receivers[{i}].{member}"), what));
        }
    }
}

struct Names<'f> {
    file: &'f Value,
    errors: &'f mut Vec<FieldError>,
}

fn items(list: &Value) -> impl Iterator<Item = (usize, &Value)> {
    list.as_array().into_iter().flatten().enumerate()
}

fn name_of(item: &Value) -> Option<&str> {
    item["name"].as_str().map(str::trim)
}

impl Names<'_> {
    /// The names that `section` gives, each once, with those that are there already.
    fn given(&mut self, section: &str, known: BTreeSet<String>) -> BTreeSet<String> {
        let mut first = BTreeMap::new();
        for (i, item) in items(&self.file[section]) {
            let Some(name) = name_of(item) else { continue };
            self.once(&mut first, name, format!("{section}[{i}]"));
        }
        let given = first.into_keys().map(str::to_owned);
        known.into_iter().chain(given).collect()
    }

    /// Integrations are named once in all services.
    fn integrations(&mut self) {
        let mut first = BTreeMap::new();
        for (i, service) in items(&self.file["services"]) {
            for (j, item) in items(&service["integrations"]) {
                let Some(name) = name_of(item) else { continue };
                self.once(&mut first, name, format!("services[{i}].integrations[{j}]"));
            }
        }
    }

    fn once<'n>(&mut self, first: &mut BTreeMap<&'n str, String>, name: &'n str, path: String) {
        if let Some(other) = first.get(name) {
            self.errors.push((format!("{path}.name"), format!("is the name of {other} already")));
        } else {
            first.insert(name, path);
        }
    }

    fn refers(&mut self, name: &Value, path: String, kind: &str, known: &BTreeSet<String>) {
        // What is no text is said where it is read.
        let Some(name) = name.as_str().map(str::trim).filter(|name| !name.is_empty()) else {
            return;
        };
        if !known.contains(name) {
            let meant = suggest::nearest(name, known.iter().map(String::as_str))
                .map(|meant| format!("; did you mean {meant}?"))
                .unwrap_or_default();
            self.errors.push((path, format!("names no {kind}{meant}")));
        }
    }

    /// Fallbacks that lead back to where they began would never end.
    fn fallbacks(&mut self) {
        let of: BTreeMap<&str, &str> = items(&self.file["receivers"])
            .filter_map(|(_, item)| Some((name_of(item)?, item["fallback"].as_str()?.trim())))
            .collect();
        let mut said: BTreeSet<&str> = BTreeSet::new();
        for (i, item) in items(&self.file["receivers"]) {
            let Some(start) = name_of(item) else { continue };
            let next = |at: &&str| of.get(at).copied();
            let chain: Vec<&str> =
                std::iter::successors(next(&start), next).take(of.len()).collect();
            // A receiver that is its own fallback is said where it is read.
            if chain.len() > 1
                && chain[0] != start
                && chain.contains(&start)
                && !said.contains(start)
            {
                let path = format!("receivers[{i}].fallback");
                let round = chain.iter().take_while(|name| **name != start);
                let round: Vec<&str> = round.copied().collect();
                let what = format!("leads back to itself by {}", round.join(", "));
                self.errors.push((path, what));
                said.extend(chain);
            }
        }
    }
}

/// What is allowed and hardly meant.
pub(super) fn warnings(file: &PolicyFile) -> Vec<PolicyError> {
    let mut warnings = Vec::new();
    let each_alert = |name: &str| {
        file.receivers.iter().any(|receiver| {
            let on = |key: &str| receiver.settings.get(key) == Some(&Value::Bool(true));
            receiver.name == name && (on("per_alert") || on("passthrough"))
        })
    };
    for (i, service) in file.services.iter().enumerate() {
        if service.policy.notify.is_empty() {
            let what = "has no notify rules: its incidents notify nobody";
            warnings.push(file.error(format!("services[{i}]"), what));
        }
        for (j, rule) in service.policy.notify.iter().enumerate() {
            if let Some(name) = rule.receivers.iter().find(|name| each_alert(name)) {
                let what = format!(
                    "names {name}, which is told of each alert: storms and grouping do not bound \
                     how much it is sent"
                );
                warnings.push(file.error(format!("services[{i}].notify[{j}]"), what));
            }
        }
    }
    for (i, silence) in file.silences.iter().enumerate() {
        if silence.matches.accepts_everything() {
            let what = match &silence.service {
                Some(service) => format!("accepts everything of the service {service}"),
                None => "accepts everything of every service".to_owned(),
            };
            warnings.push(file.error(format!("silences[{i}].match"), what));
        }
    }
    warnings
}
