//! Changes of the configuration: from what was asked to a complete change with its audit row.

use std::sync::Arc;

use rand::{TryRng, rngs::SysRng};
use serde_json::{Value, json};

use super::Unavailable;
use crate::domain::{
    configuration::{Audit, Configuration, Refused},
    id::{Ids, IntegrationId, ServiceId, TokenId},
    key::{KeyHash, RoutingKey},
    routing::{Directory, Token},
    service::{Integration, IntegrationType, Role, Service, ServicePolicy},
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
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A complete change and what to answer once it is committed.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) change: Configuration,
    pub(super) audit: Audit,
    pub(super) secret: Secret,
}

/// The secret of a planned change, which only the answer shows.
#[derive(Debug)]
pub(super) enum Secret {
    None,
    Key(RoutingKey),
    Token(String),
}

/// Works out the change that a request means under `directory`.
pub(super) fn plan(
    request: ConfigRequest,
    by: RequestedBy,
    directory: &Directory,
    ids: &mut Ids,
    now: Timestamp,
) -> Result<Planned, ConfigureError> {
    let audit_id = ids.audit(now);
    let audit = |action, object_kind, object_id, object_name: &str, detail: Value| Audit {
        id: audit_id,
        at: now,
        actor: by.actor,
        address: by.address,
        action,
        object_kind,
        object_id,
        object_name: object_name.to_owned(),
        detail,
    };
    let plain = |change, audit| Planned { change, audit, secret: Secret::None };
    match request {
        ConfigRequest::CreateService { name, description, mut policy } => {
            policy.pair_ids(&ServicePolicy::default(), || ids.rule(now));
            let id = ids.service(now);
            let detail = service_detail(&description, &policy);
            let audit = audit("create", "service", id.uuid(), &name, detail);
            let service = Service {
                id,
                name,
                description,
                policy,
                managed: false,
                version: 1,
                created_at: now,
            };
            Ok(plain(Configuration::CreateService(service), audit))
        }
        ConfigRequest::UpdateService { id, version, name, description, mut policy } => {
            let old = directory.service(id).ok_or(Refused::NotFound("service"))?;
            fresh(version, old.version)?;
            if old.name == DEFAULT_NAME && name != DEFAULT_NAME {
                let what = "the service default cannot be renamed".to_owned();
                return Err(ConfigureError::Conflict(what));
            }
            policy.pair_ids(&old.policy, || ids.rule(now));
            let before = service_detail(&old.description, &old.policy);
            let after = service_detail(&description, &policy);
            let detail = json!({"before": before, "after": after, "name_before": old.name});
            let audit = audit("update", "service", id.uuid(), &name, detail);
            let version = old.version + 1;
            let service = Service { name, description, policy, version, ..Service::clone(old) };
            Ok(plain(Configuration::UpdateService(service), audit))
        }
        ConfigRequest::DeleteService { id, version } => {
            let old = directory.service(id).ok_or(Refused::NotFound("service"))?;
            fresh(version, old.version)?;
            if old.name == DEFAULT_NAME {
                let what = "the service default cannot be deleted".to_owned();
                return Err(ConfigureError::Conflict(what));
            }
            let mut owned: Vec<&str> = directory
                .integrations()
                .filter(|integration| integration.service_id == id)
                .map(|integration| integration.name.as_str())
                .collect();
            owned.sort_unstable();
            if !owned.is_empty() {
                return Err(ConfigureError::Conflict(format!(
                    "the service has integrations ({}); delete or move them first",
                    owned.join(", ")
                )));
            }
            let audit = audit("delete", "service", id.uuid(), &old.name, json!({}));
            Ok(plain(Configuration::DeleteService(id), audit))
        }
        ConfigRequest::CreateIntegration { name, service_id, kind, shared, key } => {
            let service = directory.service(service_id).ok_or(Refused::NotFound("service"))?;
            let key = key.unwrap_or_else(new_key);
            let id = ids.integration(now);
            let detail = json!({
                "service": service.name, "type": kind, "shared": shared, "key_hint": key.hint()
            });
            let audit = audit("create", "integration", id.uuid(), &name, detail);
            let integration = Integration {
                id,
                name,
                service_id,
                kind,
                shared,
                key_hint: key.hint(),
                managed: false,
                version: 1,
                created_at: now,
            };
            let change = Configuration::CreateIntegration { integration, key: key.hash() };
            Ok(Planned { change, audit, secret: Secret::Key(key) })
        }
        ConfigRequest::UpdateIntegration { id, version, name, service_id, kind, shared } => {
            let old = directory.integration(id).ok_or(Refused::NotFound("integration"))?;
            fresh(version, old.version)?;
            let service = directory.service(service_id).ok_or(Refused::NotFound("service"))?;
            let detail = json!({
                "name_before": old.name, "service": service.name, "type": kind, "shared": shared
            });
            let audit = audit("update", "integration", id.uuid(), &name, detail);
            let integration = Integration {
                name,
                service_id,
                kind,
                shared,
                version: old.version + 1,
                ..Integration::clone(old)
            };
            Ok(plain(Configuration::UpdateIntegration(integration), audit))
        }
        ConfigRequest::DeleteIntegration { id, version } => {
            let old = directory.integration(id).ok_or(Refused::NotFound("integration"))?;
            fresh(version, old.version)?;
            let detail = json!({"key_hint": old.key_hint});
            let audit = audit("delete", "integration", id.uuid(), &old.name, detail);
            Ok(plain(Configuration::DeleteIntegration(id), audit))
        }
        ConfigRequest::RotateKey { id, overlap, key } => {
            let old = directory.integration(id).ok_or(Refused::NotFound("integration"))?;
            let key = key.unwrap_or_else(new_key);
            let detail = json!({
                "key_hint_before": old.key_hint, "key_hint": key.hint(), "overlap": overlap
            });
            let audit = audit("rotate", "integration", id.uuid(), &old.name, detail);
            let change = Configuration::RotateKey {
                integration_id: id,
                key: key.hash(),
                key_hint: key.hint(),
                old_keys_expire_at: now.plus(overlap),
            };
            Ok(Planned { change, audit, secret: Secret::Key(key) })
        }
        ConfigRequest::CreateToken { name, role, secret } => {
            let secret = secret.unwrap_or_else(new_token);
            let id = ids.token(now);
            let hint: String = secret.chars().take(TOKEN_PREFIX.len() + 4).collect();
            let audit = audit("create", "token", id.uuid(), &name, json!({"role": role}));
            let hash = KeyHash::of(&secret);
            let token = Token { id, name, role, hint, created_at: now };
            let change = Configuration::CreateToken { token, secret: hash };
            Ok(Planned { change, audit, secret: Secret::Token(secret) })
        }
        ConfigRequest::RevokeToken { id } => {
            let old = directory.tokens().find(|token| token.id == id);
            let old = old.ok_or(Refused::NotFound("token"))?;
            let admins = || directory.tokens().filter(|token| token.role == Role::Admin);
            if old.role == Role::Admin && admins().count() == 1 {
                let what = "it is the last token with the role admin; make another one first";
                return Err(ConfigureError::Conflict(what.to_owned()));
            }
            let audit = audit("revoke", "token", id.uuid(), &old.name, json!({"role": old.role}));
            Ok(plain(Configuration::RevokeToken(id), audit))
        }
    }
}

fn fresh(expected: Option<i64>, stored: i64) -> Result<(), Refused> {
    if expected.is_none_or(|version| version == stored) { Ok(()) } else { Err(Refused::Stale) }
}

fn service_detail(description: &str, policy: &ServicePolicy) -> Value {
    let mut object = policy.to_json();
    object.insert("description".into(), description.into());
    Value::Object(object)
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
