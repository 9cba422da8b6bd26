//! Changes of the configuration: from what was asked to complete changes with their audit rows.
//!
//! One request may mean several changes; they are planned one after the other, each under the
//! configuration that the ones before it make, and are carried out together or not at all. Nothing
//! is written here.

mod apply;
mod integrations;
mod receivers;
mod routes;
mod services;
mod silences;
#[cfg(test)]
mod tests;
mod tokens;

use std::sync::Arc;

use rand::{TryRng, rngs::SysRng};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Unavailable;
use crate::domain::{
    configuration::{Audit, Configuration, Refused},
    id::{Ids, IntegrationId, ReceiverId, RouteId, ServiceId, SilenceId, TokenId},
    key::RoutingKey,
    matcher::Match,
    receiver::{Receiver, ReceiverKind},
    routing::{Directory, Route, Token},
    service::{FieldError, Integration, IntegrationType, Role, Service, ServicePolicy},
    silence::Silence,
    time::{Span, Timestamp},
};

pub use apply::{Applied, PolicyRequest, candidate};
pub use receivers::unknown_receivers;
pub use silences::SilenceDraft;

/// What a token begins with, so that one in the wrong place is recognised.
pub const TOKEN_PREFIX: &str = "dg_";

/// The service and the integration made on first start. The service stays and keeps its name.
pub const DEFAULT_NAME: &str = "default";

/// What somebody wants changed. Fields are validated in form; names may still be taken.
#[derive(Clone, Debug)]
pub enum ConfigRequest {
    CreateService {
        name: String,
        description: String,
        policy: ServicePolicy,
    },
    UpdateService {
        id: ServiceId,
        /// The version the change was made for; `None`: whatever is there.
        version: Option<i64>,
        name: String,
        description: String,
        policy: ServicePolicy,
    },
    DeleteService {
        id: ServiceId,
        version: Option<i64>,
    },
    CreateIntegration {
        name: String,
        service_id: ServiceId,
        kind: IntegrationType,
        shared: bool,
        /// `None`: one is made.
        key: Option<RoutingKey>,
    },
    UpdateIntegration {
        id: IntegrationId,
        version: Option<i64>,
        name: String,
        service_id: ServiceId,
        kind: IntegrationType,
        shared: bool,
    },
    DeleteIntegration {
        id: IntegrationId,
        version: Option<i64>,
    },
    /// The old key works for `overlap` longer.
    RotateKey {
        id: IntegrationId,
        overlap: Span,
        key: Option<RoutingKey>,
    },
    /// `secret` is for a token that the settings name; `None`: one is made.
    CreateToken {
        name: String,
        role: Role,
        secret: Option<String>,
    },
    RevokeToken {
        id: TokenId,
    },
    CreateSilence(SilenceDraft),
    UpdateSilence {
        id: SilenceId,
        version: Option<i64>,
        draft: SilenceDraft,
    },
    /// Ends it now.
    ExpireSilence {
        id: SilenceId,
        version: Option<i64>,
    },
    CreateRoute {
        matches: Match,
        service_id: ServiceId,
        /// Counted from zero; `None`: the end.
        position: Option<usize>,
    },
    UpdateRoute {
        id: RouteId,
        version: Option<i64>,
        matches: Match,
        service_id: ServiceId,
        /// `None`: where it is.
        position: Option<usize>,
    },
    DeleteRoute {
        id: RouteId,
        version: Option<i64>,
    },
    CreateReceiver {
        name: String,
        kind: ReceiverKind,
        settings: Map<String, Value>,
    },
    UpdateReceiver {
        id: ReceiverId,
        version: Option<i64>,
        name: String,
        kind: ReceiverKind,
        settings: Map<String, Value>,
    },
    DeleteReceiver {
        id: ReceiverId,
        version: Option<i64>,
    },
    Apply(Box<PolicyRequest>),
}

/// Who asks, for the audit log.
#[derive(Clone, Debug)]
pub struct RequestedBy {
    /// `token:NAME` or `start`.
    pub actor: String,
    /// Address of the client, if there is one.
    pub address: Option<String>,
}

/// What came of a change.
#[derive(Debug)]
pub enum ConfigAnswer {
    Service(Arc<Service>),
    /// With the key if it was made or changed: shown this once.
    Integration {
        integration: Arc<Integration>,
        key: Option<RoutingKey>,
    },
    /// With the secret: shown this once.
    Token {
        token: Token,
        secret: String,
    },
    Silence(Arc<Silence>),
    /// With its position, counted from zero.
    Route {
        route: Arc<Route>,
        position: usize,
    },
    Receiver(Arc<Receiver>),
    Applied(Applied),
    Deleted,
}

impl ConfigAnswer {
    pub fn service(self) -> Option<Arc<Service>> {
        if let Self::Service(service) = self { Some(service) } else { None }
    }

    pub fn integration(self) -> Option<(Arc<Integration>, Option<RoutingKey>)> {
        if let Self::Integration { integration, key } = self {
            Some((integration, key))
        } else {
            None
        }
    }

    pub fn token(self) -> Option<(Token, String)> {
        if let Self::Token { token, secret } = self { Some((token, secret)) } else { None }
    }

    pub fn silence(self) -> Option<Arc<Silence>> {
        if let Self::Silence(silence) = self { Some(silence) } else { None }
    }

    pub fn route(self) -> Option<(Arc<Route>, usize)> {
        if let Self::Route { route, position } = self { Some((route, position)) } else { None }
    }

    pub fn receiver(self) -> Option<Arc<Receiver>> {
        if let Self::Receiver(receiver) = self { Some(receiver) } else { None }
    }

    pub fn applied(self) -> Option<Applied> {
        if let Self::Applied(applied) = self { Some(applied) } else { None }
    }
}

/// Why a change did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// It names what is not there; each with the field that does.
    #[error("the request is not valid")]
    Invalid(Vec<FieldError>),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Complete changes, and what to answer once they are committed.
#[derive(Debug)]
pub(super) struct Planned {
    /// Empty if nothing is to be done.
    pub(super) changes: Vec<(Configuration, Audit)>,
    pub(super) answer: ConfigAnswer,
}

/// Works out the changes that a request means under `directory`.
pub(super) fn plan(
    request: ConfigRequest,
    by: RequestedBy,
    directory: &Directory,
    ids: &mut Ids,
    now: Timestamp,
) -> Result<Planned, ConfigureError> {
    let mut planner = Planner {
        directory: directory.clone(),
        ids,
        by,
        now,
        by_policy: false,
        changes: Vec::new(),
    };
    let answer = planner.request(request)?;
    Ok(Planned { changes: planner.changes, answer })
}

/// Plans changes one after the other.
struct Planner<'i> {
    /// As it will be after what is planned so far.
    directory: Directory,
    ids: &'i mut Ids,
    by: RequestedBy,
    now: Timestamp,
    /// What is made or replaced is managed by a policy file from now on.
    by_policy: bool,
    changes: Vec<(Configuration, Audit)>,
}

impl Planner<'_> {
    fn request(&mut self, request: ConfigRequest) -> Result<ConfigAnswer, ConfigureError> {
        match request {
            ConfigRequest::CreateService { name, description, policy } => {
                self.create_service(name, description, policy)
            }
            ConfigRequest::UpdateService { id, version, name, description, policy } => {
                self.update_service(id, version, name, description, policy)
            }
            ConfigRequest::DeleteService { id, version } => self.delete_service(id, version),
            ConfigRequest::CreateIntegration { name, service_id, kind, shared, key } => {
                self.create_integration(name, service_id, kind, shared, key)
            }
            ConfigRequest::UpdateIntegration { id, version, name, service_id, kind, shared } => {
                self.update_integration(id, version, name, service_id, kind, shared)
            }
            ConfigRequest::DeleteIntegration { id, version } => {
                self.delete_integration(id, version)
            }
            ConfigRequest::RotateKey { id, overlap, key } => self.rotate_key(id, overlap, key),
            ConfigRequest::CreateToken { name, role, secret } => {
                self.create_token(name, role, secret)
            }
            ConfigRequest::RevokeToken { id } => self.revoke_token(id),
            ConfigRequest::CreateSilence(draft) => self.create_silence(draft),
            ConfigRequest::UpdateSilence { id, version, draft } => {
                self.update_silence(id, version, draft)
            }
            ConfigRequest::ExpireSilence { id, version } => self.expire_silence(id, version),
            ConfigRequest::CreateRoute { matches, service_id, position } => {
                self.create_route(matches, service_id, position)
            }
            ConfigRequest::UpdateRoute { id, version, matches, service_id, position } => {
                self.update_route(id, version, matches, service_id, position)
            }
            ConfigRequest::DeleteRoute { id, version } => self.delete_route(id, version),
            ConfigRequest::CreateReceiver { name, kind, settings } => {
                self.create_receiver(name, kind, settings)
            }
            ConfigRequest::UpdateReceiver { id, version, name, kind, settings } => {
                self.update_receiver(id, version, name, kind, settings)
            }
            ConfigRequest::DeleteReceiver { id, version } => self.delete_receiver(id, version),
            ConfigRequest::Apply(request) => self.apply(*request),
        }
    }

    /// Adds a change with its audit row; what is planned next sees it.
    fn add(
        &mut self,
        change: Configuration,
        action: &'static str,
        (object_kind, object_id, object_name): (&'static str, Uuid, &str),
        detail: Value,
    ) {
        let audit = Audit {
            id: self.ids.audit(self.now),
            at: self.now,
            actor: self.by.actor.clone(),
            address: self.by.address.clone(),
            action,
            object_kind,
            object_id,
            object_name: object_name.to_owned(),
            detail,
        };
        self.directory.apply(&change, self.now);
        self.changes.push((change, audit));
    }
}

fn fresh(expected: Option<i64>, stored: i64) -> Result<(), Refused> {
    if expected.is_none_or(|version| version == stored) { Ok(()) } else { Err(Refused::Stale) }
}

/// Random bytes from the operating system. Without them there are no secrets, and no gateway.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A seed for the ids of this process.
pub fn seed() -> [u8; 32] {
    random()
}

/// A new routing key.
pub fn new_key() -> RoutingKey {
    loop {
        // 64 bytes give 32 usable ones but for a chance beyond 2^-100.
        if let Some(key) = RoutingKey::from_random(&random::<64>()) {
            return key;
        }
    }
}

/// A new API token: a prefix and 256 random bits.
pub fn new_token() -> String {
    format!("{TOKEN_PREFIX}{}", hex::encode(random::<32>()))
}
