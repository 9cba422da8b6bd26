//! A directory that plans are carried out on, as the committer would.

use std::collections::BTreeMap;

use crate::{
    domain::{
        id::{Ids, Sequences},
        key::{KeyHash, RoutingKey},
        receiver::Receiver,
        routing::{Directory, KeyEntry, Route},
        service::{Integration, Service, ServicePolicy},
        silence::Silence,
        time::{Span, Timestamp},
    },
    policy::{Change, Known, Plan, PolicyFile, Told, plan},
};

/// How long a key works on after another took its place.
const KEY_OVERLAP: Span = Span::from_secs(86_400);

/// What is set up.
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) services: Vec<Service>,
    pub(super) integrations: Vec<Integration>,
    keys: Vec<(KeyHash, KeyEntry)>,
    pub(super) silences: Vec<Silence>,
    pub(super) routes: Vec<Route>,
    pub(super) receivers: Vec<Receiver>,
    /// What the file's variables hold, by the integration's name.
    pub(super) secrets: BTreeMap<String, RoutingKey>,
    pub(super) told: Told,
    ids: Ids,
}

impl World {
    /// With the service `default`, which every gateway has.
    pub(super) fn new() -> Self {
        let mut world = Self {
            now: Timestamp::from_millis(1_763_632_260_000),
            services: Vec::new(),
            integrations: Vec::new(),
            keys: Vec::new(),
            silences: Vec::new(),
            routes: Vec::new(),
            receivers: Vec::new(),
            secrets: BTreeMap::new(),
            told: Told::new(),
            ids: Ids::new(Sequences::default(), [1; 32]),
        };
        world.apply("services: [{name: default}]", false);
        world.services[0].managed = false;
        world
    }

    pub(super) fn directory(&self) -> Directory {
        let (services, integrations) = (self.services.clone(), self.integrations.clone());
        Directory::new(1, services, integrations, self.keys.clone(), Vec::new())
            .with_silences(self.silences.clone())
            .with_routes(self.routes.clone())
            .with_receivers(self.receivers.clone())
    }

    pub(super) fn plan(&self, text: &str, prune: bool) -> Plan {
        let directory = self.directory();
        let file =
            PolicyFile::parse(text, &Known::of(&directory, crate::notify::Guard::new(false)))
                .unwrap_or_else(|errors| panic!("{errors:#?}\n{text}"));
        plan(&file, &directory, &self.secrets, &self.told, self.now, prune)
    }

    /// Carries the plan of a file out and returns its text.
    pub(super) fn apply(&mut self, text: &str, prune: bool) -> String {
        let plan = self.plan(text, prune);
        let told = plan.to_string();
        for step in plan.steps {
            self.carry_out(step.change);
        }
        told
    }

    fn service_id(&self, name: &str) -> crate::domain::id::ServiceId {
        self.services.iter().find(|service| service.name == name).unwrap().id
    }

    fn carry_out(&mut self, change: Change) {
        let now = self.now;
        match change {
            Change::Receiver { id, spec } => {
                let receiver = Receiver {
                    id: id.unwrap_or_else(|| self.ids.receiver(now)),
                    name: spec.name,
                    kind: spec.kind,
                    settings: spec.settings,
                    managed: true,
                    version: 1,
                    created_at: now,
                };
                self.receivers.retain(|other| other.id != receiver.id);
                self.receivers.push(receiver);
            }
            Change::Service { id, spec } => {
                let mut policy = spec.policy;
                let old = self.services.iter().find(|service| Some(service.id) == id);
                let before = old.map_or_else(ServicePolicy::default, |old| old.policy.clone());
                policy.pair_ids(&before, || self.ids.rule(now));
                let service = Service {
                    id: id.unwrap_or_else(|| self.ids.service(now)),
                    name: spec.name,
                    description: spec.description,
                    policy,
                    managed: true,
                    version: 1,
                    created_at: now,
                };
                self.services.retain(|other| other.id != service.id);
                self.services.push(service);
            }
            Change::Integration { id, service, spec, key } => {
                let integration = Integration {
                    id: id.unwrap_or_else(|| self.ids.integration(now)),
                    name: spec.name,
                    service_id: self.service_id(&service),
                    kind: spec.kind,
                    shared: spec.shared,
                    key_hint: String::new(),
                    managed: true,
                    version: 1,
                    created_at: now,
                };
                if let Some(key) = key {
                    let until = Some(now.plus(KEY_OVERLAP));
                    self.keys.retain(|(hash, _)| *hash != key.hash());
                    let own = |entry: &&mut KeyEntry| entry.integration_id == integration.id;
                    for entry in self.keys.iter_mut().map(|(_, entry)| entry).filter(own) {
                        entry.expires_at = entry.expires_at.or(until);
                    }
                    let entry = KeyEntry { integration_id: integration.id, expires_at: None };
                    self.keys.push((key.hash(), entry));
                }
                self.integrations.retain(|other| other.id != integration.id);
                self.integrations.push(integration);
            }
            Change::Silence { id, spec } => {
                let silence = Silence {
                    id: id.unwrap_or_else(|| self.ids.silence(now)),
                    name: Some(spec.name),
                    matches: spec.matches,
                    service_id: spec.service.map(|name| self.service_id(&name)),
                    when: spec.when,
                    comment: spec.comment,
                    created_by: "policy".to_owned(),
                    created_at: now,
                    expired_at: None,
                    managed: true,
                    version: 1,
                };
                self.silences.retain(|other| other.id != silence.id);
                self.silences.push(silence);
            }
            Change::Route { id, position, matches, service } => {
                let route = Route {
                    id: id.unwrap_or_else(|| self.ids.route(now)),
                    matches,
                    service_id: self.service_id(&service),
                    managed: true,
                    version: 1,
                    created_at: now,
                };
                self.routes.retain(|other| other.id != route.id);
                self.routes.insert(position, route);
            }
            Change::ExpireSilence(id) => {
                let silence = self.silences.iter_mut().find(|silence| silence.id == id).unwrap();
                silence.expired_at = Some(now);
            }
            Change::DeleteRoute(id) => self.routes.retain(|route| route.id != id),
            Change::DeleteIntegration(id) => self.integrations.retain(|other| other.id != id),
            Change::DeleteService(id) => {
                assert!(self.integrations.iter().all(|other| other.service_id != id));
                assert!(self.routes.iter().all(|route| route.service_id != id));
                self.services.retain(|service| service.id != id);
            }
            Change::DeleteReceiver(id) => {
                let gone = self.receivers.iter().position(|other| other.id == id).unwrap();
                let gone = self.receivers.remove(gone);
                let named = self.receivers.iter().any(|r| r.fallback() == Some(&gone.name));
                assert!(!named, "{} is needed", gone.name);
            }
        }
    }
}
