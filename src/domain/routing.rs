//! The directory: the whole configuration (services, integrations, keys, tokens, silences, routes,
//! receivers), as one immutable snapshot.
//!
//! It is read without locks by whoever needs it, and replaced whole after a configuration change
//! is committed.

mod apply;

use std::{collections::HashMap, sync::Arc};

use super::{
    delivery::Revision,
    id::{IntegrationId, ReceiverId, RouteId, ServiceId, TokenId},
    index::RuleIndex,
    key::KeyHash,
    matcher::Match,
    receiver::Receiver,
    service::{Gap, Integration, Role, Service},
    silence::{Silence, Silences},
    time::Timestamp,
};

/// Name of the integration that is made on first start.
const DEFAULT_INTEGRATION: &str = "default";

/// An API token: who it is for and what it may do. The secret is known by its hash only.
#[derive(Clone, Debug)]
pub struct Token {
    pub id: TokenId,
    pub name: String,
    pub role: Role,
    pub hint: String,
    pub created_at: Timestamp,
}

/// A routing key's owner, and until when the key is good (a rotated one overlaps).
#[derive(Clone, Copy, Debug)]
pub struct KeyEntry {
    pub integration_id: IntegrationId,
    pub expires_at: Option<Timestamp>,
}

/// Which service an event of a shared integration belongs to: the first route that matches says.
#[derive(Clone, Debug)]
pub struct Route {
    pub id: RouteId,
    pub matches: Match,
    pub service_id: ServiceId,
    /// Made by a policy file.
    pub managed: bool,
    pub version: i64,
    pub created_at: Timestamp,
}

/// The whole configuration at one moment.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// Grows with every change; what was prepared under another version is prepared again.
    pub version: u64,
    /// The last time that the gateway was down for long.
    pub gap: Option<Gap>,
    services: HashMap<ServiceId, Arc<Service>>,
    rules: HashMap<ServiceId, Arc<RuleIndex>>,
    integrations: HashMap<IntegrationId, Arc<Integration>>,
    keys: HashMap<KeyHash, KeyEntry>,
    tokens: HashMap<KeyHash, Arc<Token>>,
    silences: Silences,
    routes: Vec<Route>,
    receivers: HashMap<ReceiverId, Arc<Receiver>>,
}

impl Directory {
    pub fn new(
        version: u64,
        services: Vec<Service>,
        integrations: Vec<Integration>,
        keys: Vec<(KeyHash, KeyEntry)>,
        tokens: Vec<(KeyHash, Token)>,
    ) -> Self {
        let index = |service: &Service| (service.id, Arc::new(RuleIndex::new(&service.policy)));
        Self {
            version,
            rules: services.iter().map(index).collect(),
            services: services.into_iter().map(|s| (s.id, Arc::new(s))).collect(),
            integrations: integrations.into_iter().map(|i| (i.id, Arc::new(i))).collect(),
            keys: keys.into_iter().collect(),
            tokens: tokens.into_iter().map(|(hash, token)| (hash, Arc::new(token))).collect(),
            ..Self::default()
        }
    }

    #[must_use]
    pub fn with_silences(mut self, silences: Vec<Silence>) -> Self {
        self.silences = Silences::new(silences.into_iter().map(Arc::new).collect());
        self
    }

    /// `routes` in the order in which they are tried.
    #[must_use]
    pub fn with_routes(mut self, routes: Vec<Route>) -> Self {
        self.routes = routes;
        self
    }

    #[must_use]
    pub fn with_receivers(mut self, receivers: Vec<Receiver>) -> Self {
        self.receivers = receivers.into_iter().map(|r| (r.id, Arc::new(r))).collect();
        self
    }

    /// The integration that a key belongs to, if the key is good at `now`.
    pub fn integration_of_key(&self, key: &KeyHash, now: Timestamp) -> Option<&Arc<Integration>> {
        let entry = self.keys.get(key)?;
        if entry.expires_at.is_some_and(|at| at <= now) {
            return None;
        }
        self.integrations.get(&entry.integration_id)
    }

    /// Whether this is the key of an integration, and none that only works on for a while beside it.
    pub fn is_current_key(&self, key: &KeyHash, integration: IntegrationId) -> bool {
        let entry = self.keys.get(key);
        entry.is_some_and(|it| it.integration_id == integration && it.expires_at.is_none())
    }

    pub fn token(&self, secret: &KeyHash) -> Option<&Arc<Token>> {
        self.tokens.get(secret)
    }

    pub fn tokens(&self) -> impl Iterator<Item = &Arc<Token>> {
        self.tokens.values()
    }

    pub fn service(&self, id: ServiceId) -> Option<&Arc<Service>> {
        self.services.get(&id)
    }

    pub fn service_named(&self, name: &str) -> Option<&Arc<Service>> {
        self.services.values().find(|service| service.name == name)
    }

    /// The rules of a service, by what they match.
    pub(super) fn rules(&self, id: ServiceId) -> Option<&RuleIndex> {
        self.rules.get(&id).map(Arc::as_ref)
    }

    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    pub fn integration(&self, id: IntegrationId) -> Option<&Arc<Integration>> {
        self.integrations.get(&id)
    }

    pub fn integration_named(&self, name: &str) -> Option<&Arc<Integration>> {
        self.integrations.values().find(|integration| integration.name == name)
    }

    pub fn integrations(&self) -> impl Iterator<Item = &Arc<Integration>> {
        self.integrations.values()
    }

    /// Whether the events of an integration go by the routes: shared ones do, and the one that is
    /// made on first start.
    pub fn is_routed(&self, integration: &Integration) -> bool {
        (integration.shared || integration.name == DEFAULT_INTEGRATION) && !self.routes.is_empty()
    }

    pub fn silences(&self) -> &Silences {
        &self.silences
    }

    /// In the order in which they are tried.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    pub fn receiver(&self, id: ReceiverId) -> Option<&Arc<Receiver>> {
        self.receivers.get(&id)
    }

    pub fn receiver_named(&self, name: &str) -> Option<&Arc<Receiver>> {
        self.receivers.values().find(|receiver| receiver.name == name)
    }

    /// The receiver of this name as it is now.
    pub fn revision(&self, name: &str) -> Option<Revision> {
        self.receiver_named(name).map(|receiver| receiver.revision())
    }

    pub fn receivers(&self) -> impl Iterator<Item = &Arc<Receiver>> {
        self.receivers.values()
    }
}
