//! Changes of the configuration: one more kind of input, each with its audit row.

use serde_json::Value;

use super::{
    id::{AuditId, IntegrationId, ReceiverId, RouteId, ServiceId, TokenId},
    key::KeyHash,
    receiver::Receiver,
    routing::{Route, Token},
    service::{Integration, Service},
    silence::Silence,
    time::Timestamp,
};

/// One change of the configuration, complete: ids made, secrets hashed, fields validated.
#[derive(Clone, Debug)]
pub enum Configuration {
    CreateService(Service),
    /// Replaces the service of the same id if its stored version is `service.version - 1`.
    UpdateService(Service),
    DeleteService(ServiceId),
    CreateIntegration {
        integration: Integration,
        key: KeyHash,
    },
    UpdateIntegration(Integration),
    DeleteIntegration(IntegrationId),
    /// The new key works at once, older ones until `old_keys_expire_at`.
    RotateKey {
        integration_id: IntegrationId,
        key: KeyHash,
        key_hint: String,
        old_keys_expire_at: Timestamp,
    },
    CreateToken {
        token: Token,
        secret: KeyHash,
    },
    RevokeToken(TokenId),
    CreateSilence(Silence),
    /// Replaces the silence of the same id if its stored version is the one before. One that ends
    /// early is an update too: what is over stays to be read.
    UpdateSilence(Silence),
    /// Puts the route before the one that is at `position` now, counted from zero.
    CreateRoute {
        route: Route,
        position: usize,
    },
    /// As [`Configuration::UpdateSilence`]; at `position` afterwards.
    UpdateRoute {
        route: Route,
        position: usize,
    },
    DeleteRoute(RouteId),
    CreateReceiver(Receiver),
    /// As [`Configuration::UpdateSilence`].
    UpdateReceiver(Receiver),
    DeleteReceiver(ReceiverId),
}

/// Who changed what: written in the same transaction as the change.
#[derive(Clone, Debug)]
pub struct Audit {
    pub id: AuditId,
    pub at: Timestamp,
    pub actor: String,
    /// The client's address, if the change came over a network.
    pub address: Option<String>,
    /// `create`, `update`, `delete`, `rotate`, `revoke`, `expire`.
    pub action: &'static str,
    pub object_kind: &'static str,
    pub object_id: uuid::Uuid,
    pub object_name: String,
    /// What changed; never a secret.
    pub detail: Value,
}

/// Why a configuration change did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there is a {kind} named {name:?} already")]
    NameTaken { kind: &'static str, name: String },
    #[error("this key belongs to another integration already")]
    KeyTaken,
    #[error("it was changed meanwhile")]
    Stale,
    #[error("there is no such {0}")]
    NotFound(&'static str),
}
