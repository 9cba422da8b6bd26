//! The policy file, typed.

use serde_json::{Map, Value, json};

use super::{Known, PolicyError, check, yaml};
use crate::domain::{
    id::RuleId,
    matcher::Match,
    read::{FieldError, Place},
    receiver::ReceiverSpec,
    service::{IntegrationType, ServicePolicy},
    silence::When,
    time::Timestamp,
};

/// Most items of each list of a file.
const ITEMS_MAX: usize = 1000;

pub(super) const SECTIONS: [&str; 4] = ["services", "silences", "routes", "receivers"];
pub(super) const INTEGRATION: [&str; 5] = ["name", "type", "key_env", "key_file", "shared"];
pub(super) const SILENCE: [&str; 8] =
    ["name", "match", "schedule", "from", "until", "service", "comment", "confirm"];
pub(super) const ROUTE: [&str; 2] = ["match", "service"];

/// What a policy file says, without mistakes.
#[derive(Clone, Debug)]
pub struct PolicyFile {
    pub services: Vec<ServiceSpec>,
    pub silences: Vec<SilenceSpec>,
    /// In the order in which they are tried.
    pub routes: Vec<RouteSpec>,
    pub receivers: Vec<ReceiverSpec>,
    document: yaml::Document,
}

/// A service with its whole policy. The ids of its rules are not given yet.
#[derive(Clone, Debug)]
pub struct ServiceSpec {
    pub name: String,
    pub description: String,
    pub policy: ServicePolicy,
    pub integrations: Vec<IntegrationSpec>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntegrationSpec {
    pub name: String,
    pub kind: IntegrationType,
    pub shared: bool,
    /// `None`: one is made, and kept.
    pub key: Option<KeySource>,
}

/// Where the gateway's process finds a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A variable of its environment.
    Env(String),
    /// A file.
    File(String),
}

#[derive(Clone, Debug)]
pub struct SilenceSpec {
    pub name: String,
    pub matches: Match,
    pub when: When,
    pub comment: String,
    /// `None`: of any service.
    pub service: Option<String>,
}

#[derive(Clone, Debug)]
pub struct RouteSpec {
    pub matches: Match,
    pub service: String,
}

impl PolicyFile {
    /// Reads a file; all its mistakes at once, in the order of their lines.
    pub fn parse(text: &str, known: &Known) -> Result<Self, Vec<PolicyError>> {
        let document = yaml::parse(text).map_err(|m| vec![told(m)])?;
        let mut errors = Vec::new();
        let mut file = Self::read(&document.value, &mut errors);
        check::names(&document.value, known, &mut errors);
        let mut mistakes: Vec<PolicyError> = document.mistakes.iter().cloned().map(told).collect();
        mistakes.extend(errors.into_iter().map(|(field, message)| {
            let mark = document.mark(&field);
            PolicyError { field, mark, message }
        }));
        if mistakes.is_empty() {
            file.document = document;
            return Ok(file);
        }
        mistakes.sort_by_key(|mistake| mistake.mark);
        Err(mistakes)
    }

    /// A mistake, or a warning, about a part of this file.
    pub fn error(&self, field: impl Into<String>, message: impl Into<String>) -> PolicyError {
        let field = field.into();
        PolicyError { mark: self.document.mark(&field), field, message: message.into() }
    }

    /// The keys that the file says where to find: path, name of the integration, place.
    pub fn keys(&self) -> impl Iterator<Item = (String, &str, &KeySource)> {
        let of = |(i, service)| integrations_of(i, service);
        self.services.iter().enumerate().flat_map(of).filter_map(|(path, integration)| {
            let key = integration.key.as_ref()?;
            let name = match key {
                KeySource::Env(_) => "key_env",
                KeySource::File(_) => "key_file",
            };
            Some((format!("{path}.{name}"), integration.name.as_str(), key))
        })
    }

    /// What is allowed and hardly meant.
    pub fn warnings(&self) -> Vec<PolicyError> {
        check::warnings(self)
    }

    /// Names that stand for nothing in this file nor in `known`: mistakes, unless there may be
    /// others.
    pub fn unknown_names(&self, known: &Known) -> Vec<PolicyError> {
        check::unknown_names(self, known)
    }

    /// What the file says, untyped.
    pub(super) fn json(&self) -> &Value {
        &self.document.value
    }

    fn read(value: &Value, errors: &mut Vec<FieldError>) -> Self {
        let mut file = Self {
            services: Vec::new(),
            silences: Vec::new(),
            routes: Vec::new(),
            receivers: Vec::new(),
            document: yaml::Document::default(),
        };
        let mut place = Place::new("", errors);
        if value.is_null() {
            return file;
        }
        for (key, value) in place.object(value).into_iter().flatten() {
            let mut place = place.member(key);
            match key.as_str() {
                _ if value.is_null() => {}
                "services" => file.services = each(&mut place, value, service),
                "silences" => file.silences = each(&mut place, value, silence),
                "routes" => file.routes = each(&mut place, value, route),
                "receivers" => {
                    file.receivers = each(&mut place, value, |place, value| {
                        place.with(|path, errors| ReceiverSpec::from_json(value, path, errors))
                    });
                }
                _ => place.unknown(&SECTIONS),
            }
        }
        file
    }
}

fn integrations_of(
    at: usize,
    service: &ServiceSpec,
) -> impl Iterator<Item = (String, &IntegrationSpec)> {
    let path = move |i| format!("services[{at}].integrations[{i}]");
    service.integrations.iter().enumerate().map(move |(i, integration)| (path(i), integration))
}

fn told(mistake: yaml::Mistake) -> PolicyError {
    PolicyError { field: mistake.path, mark: mistake.mark, message: mistake.message }
}

fn each<T>(
    place: &mut Place<'_>,
    value: &Value,
    read: impl Fn(&mut Place<'_>, &Value) -> Option<T>,
) -> Vec<T> {
    let items = place.list(value, ITEMS_MAX).into_iter().flatten().enumerate();
    items.filter_map(|(i, item)| read(&mut place.item(i), item)).collect()
}

fn service(place: &mut Place<'_>, value: &Value) -> Option<ServiceSpec> {
    let object = place.object(value)?;
    let mut name = None;
    let mut description = String::new();
    let mut policy = ServicePolicy::default();
    let mut integrations = Vec::new();
    // Rules get their ids when the plan is carried out, from those of the service before.
    let mut no_id_yet = || RuleId::new(Timestamp::default(), 0, 0);
    for (key, value) in object {
        let mut member = place.member(key);
        match key.as_str() {
            "name" => name = member.name(value),
            "description" => member.take(&mut description, |p| p.description(value)),
            "integrations" if value.is_null() => {}
            "integrations" => integrations = each(&mut member, value, integration),
            key if ServicePolicy::MEMBERS.contains(&key) => {
                let mut errors = Vec::new();
                policy.read_member(key, value, &mut no_id_yet, &mut errors);
                place.below(errors);
            }
            _ => {
                let own = ["name", "description", "integrations"];
                member.unknown(&[&own[..], &ServicePolicy::MEMBERS].concat());
            }
        }
    }
    place.required(object, &["name"]);
    Some(ServiceSpec { name: name?, description, policy, integrations })
}

fn integration(place: &mut Place<'_>, value: &Value) -> Option<IntegrationSpec> {
    let object = place.object(value)?;
    let (mut name, mut kind, mut shared, mut key) = (None, None, false, None);
    for (member, value) in object {
        let mut place = place.member(member);
        match member.as_str() {
            "name" => name = place.name(value),
            "type" => {
                kind = place.named(value, IntegrationType::ALL, IntegrationType::as_str);
            }
            "shared" => place.take(&mut shared, |p| p.flag(value)),
            "key_env" => key = place.text(value, 255).map(KeySource::Env),
            "key_file" => key = place.text(value, 4096).map(KeySource::File),
            "key" => place.wrong(
                "is a secret, which is never given itself: name the variable or file that holds \
                 it by key_env or key_file, or leave it out to have one made",
            ),
            _ => place.unknown(&INTEGRATION),
        }
    }
    if object.contains_key("key_env") && object.contains_key("key_file") {
        place.member("key_file").wrong("cannot be together with key_env");
    }
    place.required(object, &["name", "type"]);
    Some(IntegrationSpec { name: name?, kind: kind?, shared, key })
}

fn silence(place: &mut Place<'_>, value: &Value) -> Option<SilenceSpec> {
    let object = place.object(value)?;
    let (mut name, mut matches, mut service) = (None, None, None);
    let (mut comment, mut confirmed) = (String::new(), false);
    for (key, value) in object {
        let mut place = place.member(key);
        match key.as_str() {
            "name" => name = place.name(value),
            "match" => matches = place.matches(value),
            "service" if value.is_null() => {}
            "service" => service = place.name(value),
            "comment" => place.take(&mut comment, |p| p.description(value)),
            "confirm" => place.take(&mut confirmed, |p| p.flag(value)),
            // Read together, below.
            "schedule" | "from" | "until" => {}
            _ => place.unknown(&SILENCE),
        }
    }
    place.required(object, &["name", "match"]);
    let when = when(place, object);
    let of_any_service = object.get("service").is_none_or(Value::is_null);
    let everything = matches.as_ref().is_some_and(Match::accepts_everything);
    if everything && of_any_service && !confirmed {
        place.member("match").wrong(
            "accepts everything of every service; name a service, or say confirm: true if that \
             is meant",
        );
    }
    Some(SilenceSpec { name: name?, matches: matches?, when: when?, comment, service })
}

fn when(place: &mut Place<'_>, object: &Map<String, Value>) -> Option<When> {
    let has = |key: &str| object.get(key).is_some_and(|value| !value.is_null());
    if !has("from") && !has("until") {
        // Most silences of a file come again.
        place.needs(object, "schedule", "is required, or from and until");
    }
    if has("schedule") || has("from") || has("until") {
        place.with(|path, errors| When::from_members(object, None, path, errors))
    } else {
        None
    }
}

fn route(place: &mut Place<'_>, value: &Value) -> Option<RouteSpec> {
    let object = place.object(value)?;
    let (mut matches, mut service) = (Match::default(), None);
    for (key, value) in object {
        let mut place = place.member(key);
        match key.as_str() {
            "match" => place.take(&mut matches, |p| p.matches(value)),
            "service" => service = place.name(value),
            _ => place.unknown(&ROUTE),
        }
    }
    place.required(object, &ROUTE);
    Some(RouteSpec { matches, service: service? })
}

impl RouteSpec {
    /// The form of the file.
    pub fn to_json(&self) -> Map<String, Value> {
        let members = [("match", self.matches.to_json()), ("service", json!(self.service))];
        members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

impl SilenceSpec {
    /// The form of the file.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut object = self.when.to_members();
        object.insert("name".into(), self.name.as_str().into());
        object.insert("match".into(), self.matches.to_json());
        if let Some(service) = &self.service {
            object.insert("service".into(), service.as_str().into());
        } else if self.matches.accepts_everything() {
            object.insert("confirm".into(), true.into());
        }
        if !self.comment.is_empty() {
            object.insert("comment".into(), json!(self.comment));
        }
        object
    }
}
