//! From what is to what a file says: the steps, in an order in which each can be taken.
//!
//! Nothing is done here. What the file does not name stays, but with `prune`, which deletes what
//! an earlier file made. What is equal is no step, so a plan that was carried out is empty.

mod details;
mod prune;
mod routes;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use serde_json::{Value, json};

use self::details::{differences, shown};
use super::file::{IntegrationSpec, KeySource, PolicyFile, ServiceSpec, SilenceSpec};
use crate::domain::{
    event::closed_enum,
    id::{IntegrationId, ReceiverId, RouteId, ServiceId, SilenceId},
    key::RoutingKey,
    matcher::Match,
    receiver::ReceiverSpec,
    routing::Directory,
    service::{Integration, Service, ServicePolicy},
    silence::Silence,
    time::Timestamp,
};

/// What every gateway has and no plan deletes.
pub(super) const DEFAULT_SERVICE: &str = "default";

/// Said of what was made by hand and is named in the file now.
const ADOPTED: &str = "belongs to the policy from now on";

closed_enum! {
    /// What a step does: make, change or delete.
    Sign { Make = "+", Change = "~", Delete = "-" }
}

/// All steps, in the order in which they are taken.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub steps: Vec<PlanStep>,
    /// What was left undone, and why.
    pub notes: Vec<String>,
}

/// One step: what happens to one object.
#[derive(Clone, Debug)]
pub struct PlanStep {
    pub sign: Sign,
    /// `service`, `integration`, `silence`, `route` or `receiver`.
    pub object: &'static str,
    /// Its name; of a route, what it matches and where it leads.
    pub name: String,
    pub details: Vec<String>,
    pub change: Change,
}

/// Of how many open incidents of a service a receiver was told, by its name.
pub type Told = BTreeMap<(ServiceId, String), u64>;

/// A step in the form in which it is carried out. Without an id it makes something new. Services
/// are named, because an earlier step may only make them; made or changed, all of it is managed by
/// the policy afterwards.
#[derive(Clone, Debug)]
pub enum Change {
    Receiver {
        id: Option<ReceiverId>,
        spec: ReceiverSpec,
    },
    Service {
        id: Option<ServiceId>,
        spec: ServiceSpec,
    },
    Integration {
        id: Option<IntegrationId>,
        service: String,
        spec: IntegrationSpec,
        /// A new integration gets this key, or one is made; an old one gets it in place of its own.
        key: Option<RoutingKey>,
    },
    Silence {
        id: Option<SilenceId>,
        spec: SilenceSpec,
    },
    /// At `position` afterwards, counted from zero.
    Route {
        id: Option<RouteId>,
        position: usize,
        matches: Match,
        service: String,
    },
    ExpireSilence(SilenceId),
    DeleteRoute(RouteId),
    DeleteIntegration(IntegrationId),
    DeleteService(ServiceId),
    DeleteReceiver(ReceiverId),
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// A line a step, beginning with its sign, and its details below, indented. No other line begins
/// with a sign.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for PlanStep { sign, object, name, details, .. } in &self.steps {
            writeln!(f, "{sign} {object} {name}")?;
            for detail in details {
                writeln!(f, "    {detail}")?;
            }
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}

/// The steps from `directory` to `file`. `keys` are those that the file says where to find, by the
/// integration's name; `told` is who is owed resolves.
pub fn plan(
    file: &PolicyFile,
    directory: &Directory,
    keys: &BTreeMap<String, RoutingKey>,
    told: &Told,
    now: Timestamp,
    prune: bool,
) -> Plan {
    let mut planner = Planner { file, directory, keys, told, now, plan: Plan::default() };
    for spec in &file.receivers {
        planner.receiver(spec);
    }
    for spec in &file.services {
        planner.service(spec);
    }
    for service in &file.services {
        for spec in &service.integrations {
            planner.integration(&service.name, spec);
        }
    }
    for spec in &file.silences {
        planner.silence(spec);
    }
    let order = planner.routes();
    if prune {
        planner.prune(order);
    }
    planner.plan
}

struct Planner<'a> {
    file: &'a PolicyFile,
    directory: &'a Directory,
    keys: &'a BTreeMap<String, RoutingKey>,
    told: &'a Told,
    now: Timestamp,
    plan: Plan,
}

impl Planner<'_> {
    fn step(&mut self, object: &'static str, name: &str, step: Step) {
        let Step { sign, details, change } = step;
        self.plan.steps.push(PlanStep { sign, object, name: name.to_owned(), details, change });
    }

    /// Adds a step if there is something to do: `before` is what is there, and whether the policy
    /// manages it.
    fn settle(
        &mut self,
        object: &'static str,
        name: &str,
        before: Option<(Value, bool)>,
        after: &Value,
        change: Change,
    ) {
        let (sign, details) = match before {
            None => (Sign::Make, differences(&json!({}), after)),
            Some((before, managed)) => {
                let mut details = differences(&before, after);
                if !managed {
                    details.push(ADOPTED.to_owned());
                }
                (Sign::Change, details)
            }
        };
        if sign == Sign::Make || !details.is_empty() {
            self.step(object, name, Step { sign, details, change });
        }
    }

    fn receiver(&mut self, spec: &ReceiverSpec) {
        let old = self.directory.receiver_named(&spec.name);
        let before = old.map(|old| {
            let text = json!({"kind": old.kind, "settings": old.settings});
            (text, old.managed)
        });
        let after = json!({"kind": spec.kind, "settings": spec.settings});
        let change = Change::Receiver { id: old.map(|old| old.id), spec: spec.clone() };
        self.settle("receiver", &spec.name, before, &after, change);
    }

    fn service(&mut self, spec: &ServiceSpec) {
        let old = self.directory.service_named(&spec.name);
        let text = |description: &str, policy: &ServicePolicy| {
            let mut object = policy.to_json();
            object.insert("description".into(), description.into());
            Value::Object(object)
        };
        let before = old.map(|old| (text(&old.description, &old.policy), old.managed));
        let after = text(&spec.description, &spec.policy);
        let id = old.map(|old| old.id);
        let spec = spec.clone();
        let name = spec.name.clone();
        if id.is_none() {
            // What of it is not as in any service.
            let details = differences(&text("", &ServicePolicy::default()), &after);
            let change = Change::Service { id, spec };
            self.step("service", &name, Step { sign: Sign::Make, details, change });
        } else {
            let left = old.map(|old| self.left(old, &spec.policy)).unwrap_or_default();
            self.settle("service", &name, before, &after, Change::Service { id, spec });
            // Who leaves a policy changes it, so that there is a step.
            if let Some(step) = self.plan.steps.last_mut().filter(|_| !left.is_empty()) {
                step.details.extend(left);
            }
        }
    }

    /// What the receivers are still owed that no rule of the service names any more.
    fn left(&self, old: &Service, new: &ServicePolicy) -> Vec<String> {
        let named = |policy: &ServicePolicy| -> BTreeSet<Arc<str>> {
            policy.notify.iter().flat_map(|rule| rule.receivers.iter().cloned()).collect()
        };
        let owed = |name: &Arc<str>| {
            let incidents = self.told.get(&(old.id, name.to_string())).copied()?;
            still_owed(incidents, name)
        };
        named(&old.policy).difference(&named(new)).filter_map(owed).collect()
    }

    fn integration(&mut self, service: &str, spec: &IntegrationSpec) {
        let old = self.directory.integration_named(&spec.name);
        let before = old.map(|old| {
            let owner = self.service_name(old.service_id);
            (json!({"service": owner, "type": old.kind, "shared": old.shared}), old.managed)
        });
        let mut after = json!({"service": service, "type": spec.kind, "shared": spec.shared});
        let given = self.keys.get(&spec.name);
        // A key that only works on beside its successor is about to end: it takes its place back.
        let key = given.filter(|key| {
            old.is_none_or(|old| !self.directory.is_current_key(&key.hash(), old.id))
        });
        if old.is_none() || key.is_some() {
            after["key"] = match &spec.key {
                None => "generated".into(),
                Some(KeySource::Env(name)) => format!("from the variable {name}").into(),
                Some(KeySource::File(path)) => format!("from the file {path}").into(),
            };
        }
        let change = Change::Integration {
            id: old.map(|old| old.id),
            service: service.to_owned(),
            spec: spec.clone(),
            key: key.cloned(),
        };
        self.settle("integration", &spec.name, before, &after, change);
    }

    fn silence(&mut self, spec: &SilenceSpec) {
        let all = self.directory.silences().iter();
        let old = all
            .filter(|silence| silence.name.as_ref() == Some(&spec.name))
            .find(|silence| !silence.is_over(self.now));
        let before = old
            .map(|old| (Value::Object(self.silence_spec(old, &spec.name).to_json()), old.managed));
        if before.is_none() && spec.when.is_over(self.now) {
            return;
        }
        let mut after = spec.to_json();
        let id = old.map(|old| old.id);
        if id.is_none() {
            after.remove("name");
        }
        let change = Change::Silence { id, spec: spec.clone() };
        self.settle("silence", &spec.name, before, &Value::Object(after), change);
    }

    fn silence_spec(&self, silence: &Silence, name: &str) -> SilenceSpec {
        SilenceSpec {
            name: name.to_owned(),
            matches: silence.matches.clone(),
            when: silence.when.clone(),
            comment: silence.comment.clone(),
            service: silence.service_id.map(|id| self.service_name(id)),
        }
    }

    fn service_name(&self, id: ServiceId) -> String {
        self.directory.service(id).map(|service| service.name.clone()).unwrap_or_default()
    }

    /// The services as they will be: those of the file, and the others.
    fn other_services(&self) -> Vec<&Arc<Service>> {
        let named = |name: &str| self.file.services.iter().any(|spec| spec.name == name);
        let mut others: Vec<_> =
            self.directory.services().filter(|service| !named(&service.name)).collect();
        others.sort_by(|a, b| a.name.cmp(&b.name));
        others
    }

    fn other_integrations(&self) -> Vec<&Arc<Integration>> {
        let of_file = || self.file.services.iter().flat_map(|service| &service.integrations);
        let named = |name: &str| of_file().any(|spec| spec.name == name);
        let mut others: Vec<_> =
            self.directory.integrations().filter(|other| !named(&other.name)).collect();
        others.sort_by(|a, b| a.name.cmp(&b.name));
        others
    }
}

/// What a step does, its object aside.
struct Step {
    sign: Sign,
    details: Vec<String>,
    change: Change,
}

impl Step {
    fn delete(change: Change) -> Self {
        Self { sign: Sign::Delete, details: Vec::new(), change }
    }
}

/// `None`: `who` was told of nothing that is open.
fn still_owed(incidents: u64, who: &str) -> Option<String> {
    match incidents {
        0 => None,
        1 => Some(format!("1 open incident that {who} was told of: its resolve still goes")),
        n => Some(format!("{n} open incidents that {who} was told of: their resolves still go")),
    }
}

/// How a plan names a route.
fn route_name(matches: &Match, service: &str) -> String {
    format!("{} to {service}", shown(&matches.to_json()))
}
