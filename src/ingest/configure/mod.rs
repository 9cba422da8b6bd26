//! Changes of the configuration: from what was asked to complete changes with their audit rows.
//!
//! One request may mean several changes; they are planned one after the other, each under the
//! configuration that the ones before it make, and are carried out together or not at all. Nothing
//! is written here.

mod integrations;
mod services;
mod tokens;

use std::sync::Arc;

use rand::{TryRng, rngs::SysRng};
use serde_json::Value;
use uuid::Uuid;

use super::Unavailable;
use crate::domain::{
    configuration::{Audit, Configuration, Refused},
    id::{Ids, IntegrationId, ServiceId, TokenId},
    key::RoutingKey,
    routing::{Directory, Token},
    service::{FieldError, Integration, IntegrationType, Role, Service, ServicePolicy},
    time::{Span, Timestamp},
};

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
    Deleted,
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
    let mut planner = Planner { directory: directory.clone(), ids, by, now, changes: Vec::new() };
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
