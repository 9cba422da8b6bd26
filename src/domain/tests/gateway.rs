//! A gateway without disk and network whose configuration changes while it runs: several services,
//! integrations and silences over one [`World`].

use std::sync::Arc;

use serde_json::Value;

use super::world::World;
use crate::domain::{
    changes::{Input, Outcome},
    configuration::Configuration,
    id::{IntegrationId, ReceiverId, RouteId, RuleId, ServiceId, SilenceId},
    key::KeyHash,
    matcher::Match,
    receiver::{Receiver, ReceiverKind},
    routing::{Directory, Route},
    schedule::Schedule,
    service::{Gap, Integration, IntegrationType, Service, ServicePolicy},
    silence::{Silence, When},
    time::Timestamp,
};

/// What happened to a gateway, so that another store can be put through the same.
#[derive(Clone, Debug)]
pub(crate) enum Happened {
    Batch(Vec<Input>),
    /// The configuration was changed.
    Configured(Box<Configuration>, Timestamp),
    Down(Gap),
}

/// What a silence of a test says.
#[derive(Clone, Debug)]
pub(crate) struct SilenceText<'t> {
    pub(crate) name: &'t str,
    /// In any form in which a policy file lists matchers.
    pub(crate) matchers: Value,
    pub(crate) service: Option<&'t str>,
    pub(crate) when: When,
}

#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) world: World,
    pub(crate) log: Vec<Happened>,
    services: Vec<Service>,
    integrations: Vec<Arc<Integration>>,
    silences: Vec<Silence>,
    routes: Vec<Route>,
    receivers: Vec<Receiver>,
    gap: Option<Gap>,
    /// Ids of what is configured.
    objects: i64,
    version: u64,
}

impl Gateway {
    /// The service `default` without rules, and the integration `default`.
    pub(crate) fn new() -> Self {
        let world = World::new(&serde_json::json!({}));
        let services = world.directory.services().map(|service| Service::clone(service)).collect();
        let integrations = vec![Arc::clone(&world.integration)];
        Self {
            world,
            log: Vec::new(),
            services,
            integrations,
            silences: Vec::new(),
            routes: Vec::new(),
            receivers: Vec::new(),
            gap: None,
            objects: 1000,
            version: 1,
        }
    }

    fn object(&mut self) -> i64 {
        self.objects += 1;
        self.objects
    }

    /// The directory as it is now.
    fn publish(&mut self) {
        self.version += 1;
        let integrations = self.integrations.iter().map(|i| Integration::clone(i)).collect();
        let services = self.services.clone();
        // One that was ended by hand is not known any more.
        let silences = self.silences.iter().filter(|silence| silence.expired_at.is_none());
        let silences = silences.cloned().collect();
        let mut directory =
            Directory::new(self.version, services, integrations, Vec::new(), Vec::new())
                .with_silences(silences)
                .with_routes(self.routes.clone())
                .with_receivers(self.receivers.clone());
        directory.gap = self.gap;
        self.world.directory = directory;
    }

    /// What was due before a change takes effect before it.
    fn settle(&mut self, now: Timestamp) {
        self.batch(&[Input::Tick(now)]);
    }

    /// The configuration was changed, and what is open in this service (`None`: in all) has to be
    /// matched anew.
    fn configured(&mut self, change: Configuration, service: Option<ServiceId>, now: Timestamp) {
        self.publish();
        self.world.state.configured(service, now);
        self.log.push(Happened::Configured(Box::new(change), now));
    }

    fn added(&mut self, change: Configuration) {
        self.publish();
        self.log.push(Happened::Configured(Box::new(change), Timestamp::default()));
    }

    pub(crate) fn service(&self, name: &str) -> Option<ServiceId> {
        self.services.iter().find(|service| service.name == name).map(|service| service.id)
    }

    pub(crate) fn services(&self) -> &[Service] {
        &self.services
    }

    pub(crate) fn integration(&self, name: &str) -> Option<&Arc<Integration>> {
        self.integrations.iter().find(|integration| integration.name == name)
    }

    pub(crate) fn add_service(&mut self, name: &str) {
        let id = ServiceId::new(Timestamp::default(), self.object(), 0);
        self.services.push(Service {
            id,
            name: name.to_owned(),
            description: String::new(),
            policy: ServicePolicy::default(),
            managed: false,
            version: 1,
            created_at: Timestamp::default(),
        });
        let made = self.services.last().cloned().unwrap();
        self.added(Configuration::CreateService(made));
    }

    pub(crate) fn add_integration(&mut self, name: &str, service_id: ServiceId) {
        let id = IntegrationId::new(Timestamp::default(), self.object(), 0);
        self.integrations.push(Arc::new(Integration {
            id,
            name: name.to_owned(),
            service_id,
            kind: IntegrationType::PagerDuty,
            shared: false,
            key_hint: String::new(),
            managed: false,
            version: 1,
            created_at: Timestamp::default(),
        }));
        let integration = Integration::clone(self.integrations.last().unwrap());
        let key = KeyHash::of(name);
        self.added(Configuration::CreateIntegration { integration, key });
    }

    /// Events of `default` that match go to this service.
    pub(crate) fn add_route(&mut self, matchers: &Value, service_id: ServiceId) {
        let id = RouteId::new(Timestamp::default(), self.object(), 0);
        let matches = Match::from_json(matchers).unwrap();
        self.routes.push(Route {
            id,
            matches,
            service_id,
            managed: false,
            version: 1,
            created_at: Timestamp::default(),
        });
        let (route, position) = (self.routes.last().cloned().unwrap(), self.routes.len() - 1);
        self.added(Configuration::CreateRoute { route, position });
    }

    /// Replaces the policy of a service; its rules keep their ids where they are the same.
    pub(crate) fn set_policy(
        &mut self,
        service: ServiceId,
        policy: &Value,
        now: Timestamp,
    ) -> Result<(), String> {
        let mut parsed = ServicePolicy::default();
        let mut errors = Vec::new();
        let objects = std::cell::Cell::new(self.objects);
        let mut fresh = || {
            objects.set(objects.get() + 1);
            RuleId::new(Timestamp::default(), objects.get(), 0)
        };
        for (name, value) in policy.as_object().into_iter().flatten() {
            parsed.read_member(name, value, &mut fresh, &mut errors);
        }
        if let Some((path, what)) = errors.first() {
            return Err(format!("{path} {what}"));
        }
        self.settle(now);
        let Some(known) = self.services.iter_mut().find(|known| known.id == service) else {
            return Err("there is no such service".to_owned());
        };
        parsed.pair_ids(&known.policy, &mut fresh);
        known.policy = parsed;
        known.version += 1;
        self.objects = objects.get();
        let change = Configuration::UpdateService(known.clone());
        self.configured(change, Some(service), now);
        Ok(())
    }

    /// Makes a silence, or changes the one of that name.
    pub(crate) fn put_silence(&mut self, text: SilenceText<'_>, now: Timestamp) {
        self.settle(now);
        let service_id = text.service.and_then(|name| self.service(name));
        let before = self.silences.iter().position(|known| known.comment == text.name);
        let id = match before {
            Some(at) => self.silences[at].id,
            None => SilenceId::new(Timestamp::default(), self.object(), 0),
        };
        let silence = Silence {
            id,
            name: None,
            matches: Match::from_json(&text.matchers).unwrap(),
            service_id,
            when: text.when,
            comment: text.name.to_owned(),
            created_by: "token:ann".to_owned(),
            created_at: now,
            expired_at: None,
            managed: false,
            version: before.map_or(1, |at| self.silences[at].version + 1),
        };
        let was_of = before.map(|at| self.silences[at].service_id);
        let change = if let Some(at) = before {
            self.silences[at] = silence.clone();
            Configuration::UpdateSilence(silence)
        } else {
            self.silences.push(silence.clone());
            Configuration::CreateSilence(silence)
        };
        // One that moves from a service to another concerns both.
        let concerned = if was_of.is_some_and(|was| was != service_id) { None } else { service_id };
        self.configured(change, concerned, now);
    }

    pub(crate) fn end_silence(&mut self, name: &str, now: Timestamp) -> bool {
        self.settle(now);
        let Some(silence) = self.silences.iter_mut().find(|known| known.comment == name) else {
            return false;
        };
        silence.expired_at = Some(now);
        silence.version += 1;
        let (service, change) = (silence.service_id, silence.clone());
        self.configured(Configuration::UpdateSilence(change), service, now);
        true
    }

    /// Makes a receiver, or changes the one of that name.
    pub(crate) fn put_receiver(
        &mut self,
        name: &str,
        kind: ReceiverKind,
        settings: &Value,
        now: Timestamp,
    ) {
        self.settle(now);
        let settings = settings.as_object().unwrap().clone();
        let known = self.receivers.iter_mut().find(|known| known.name == name);
        let change = if let Some(known) = known {
            (known.kind, known.settings, known.version) = (kind, settings, known.version + 1);
            Configuration::UpdateReceiver(known.clone())
        } else {
            let id = ReceiverId::new(Timestamp::default(), self.object(), 0);
            let (name, managed, version) = (name.to_owned(), false, 1);
            let created_at = now;
            let made = Receiver { id, name, kind, settings, managed, version, created_at };
            self.receivers.push(made.clone());
            Configuration::CreateReceiver(made)
        };
        // A holding looks at how its receiver is.
        self.configured(change, None, now);
    }

    pub(crate) fn delete_receiver(&mut self, name: &str, now: Timestamp) -> bool {
        self.settle(now);
        let Some(at) = self.receivers.iter().position(|known| known.name == name) else {
            return false;
        };
        let gone = self.receivers.remove(at);
        self.configured(Configuration::DeleteReceiver(gone.id), None, now);
        true
    }

    pub(crate) fn receiver(&self, name: &str) -> Option<ReceiverId> {
        self.receivers.iter().find(|known| known.name == name).map(|known| known.id)
    }

    pub(crate) fn silence_name(&self, id: SilenceId) -> Option<&str> {
        self.silences.iter().find(|known| known.id == id).map(|known| known.comment.as_str())
    }

    /// The gateway comes back after it was down.
    pub(crate) fn was_down(&mut self, from: Timestamp, to: Timestamp) {
        let gap = Gap { from, to };
        self.log.push(Happened::Down(gap));
        self.gap = Some(gap.joined(self.gap));
        self.publish();
    }

    pub(crate) fn batch(&mut self, inputs: &[Input]) -> Vec<Outcome> {
        self.log.push(Happened::Batch(inputs.to_vec()));
        self.world.batch(inputs)
    }
}

/// `{"from": "22:00", "to": "06:00", …}` as a silence has it.
pub(crate) fn weekly(schedule: &Value) -> Result<When, String> {
    let mut errors = Vec::new();
    let read = Schedule::from_json(schedule, "weekly", &mut errors);
    read.map(When::Weekly).ok_or_else(|| format!("{errors:?}"))
}
