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
    for section in ["services", "silences", "receivers"] {
        names.given_once(section);
    }
    names.integrations();
    if !known.others {
        let no_such = |it: Unknown| (it.path, format!("names no {}{}", it.kind, it.meant));
        names.errors.extend(unknown(file, known).into_iter().map(no_such));
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

/// A name that stands for nothing that is known.
struct Unknown {
    path: String,
    /// `service` or `receiver`.
    kind: &'static str,
    /// `; did you mean …?`, or nothing.
    meant: String,
}

/// All names that the file does not give itself and that are not known either.
fn unknown(file: &Value, known: &Known) -> Vec<Unknown> {
    let all = |section: &str, known: &BTreeSet<String>| -> BTreeSet<String> {
        let given = items(&file[section]).filter_map(|(_, item)| name_of(item));
        given.map(str::to_owned).chain(known.iter().cloned()).collect()
    };
    let services = all("services", &known.services);
    let receivers = all("receivers", &known.receivers);
    let mut unknown = Vec::new();
    let mut refers = |name: &Value, path: String, kind, known: &BTreeSet<String>| {
        // What is no text is said where it is read.
        let Some(name) = name.as_str().map(str::trim).filter(|name| !name.is_empty()) else {
            return;
        };
        if !known.contains(name) {
            let meant = suggest::nearest(name, known.iter().map(String::as_str))
                .map(|meant| format!("; did you mean {meant}?"))
                .unwrap_or_default();
            unknown.push(Unknown { path, kind, meant });
        }
    };
    for section in ["silences", "routes"] {
        for (i, item) in items(&file[section]) {
            refers(&item["service"], format!("{section}[{i}].service"), "service", &services);
        }
    }
    for (i, service) in items(&file["services"]) {
        for (j, rule) in items(&service["notify"]) {
            for (k, name) in items(&rule["receivers"]) {
                let path = format!("services[{i}].notify[{j}].receivers[{k}]");
                refers(name, path, "receiver", &receivers);
            }
        }
    }
    for (i, receiver) in items(&file["receivers"]) {
        refers(&receiver["fallback"], format!("receivers[{i}].fallback"), "receiver", &receivers);
    }
    unknown
}

/// The names that only a gateway may know, in the order of their lines.
pub(super) fn unknown_names(file: &PolicyFile, known: &Known) -> Vec<PolicyError> {
    let told = |Unknown { path, kind, meant }: Unknown| {
        let what = format!(
            "names a {kind} that is not in this file; apply looks for it on the gateway{meant}"
        );
        file.error(path, what)
    };
    let mut names: Vec<_> = unknown(file.json(), known).into_iter().map(told).collect();
    names.sort_by_key(|name| name.mark);
    names
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
    fn given_once(&mut self, section: &str) {
        let mut first = BTreeMap::new();
        for (i, item) in items(&self.file[section]) {
            let Some(name) = name_of(item) else { continue };
            self.once(&mut first, name, format!("{section}[{i}]"));
        }
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
