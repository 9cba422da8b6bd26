//! What every gateway has: the service `default`, its integration, an admin token.
//!
//! Looked at on every start, so that a key or token that the settings name works after any start:
//! lost output of the first one locks nobody out.

use anyhow::{Context as _, bail};
use secrecy::ExposeSecret as _;

use super::caretaker::OWN_NAME;
use crate::{
    config::Settings,
    domain::{
        configuration::Refused,
        id::ServiceId,
        key::{KeyHash, RoutingKey},
        service::{IntegrationType, Role, ServicePolicy},
        time::Span,
    },
    ingest::{
        ConfigAnswer, ConfigRequest, ConfigureError, Ingest, RequestedBy, configure::DEFAULT_NAME,
    },
};

/// How long the key before works on when the settings name another one.
const KEY_OVERLAP: Span = Span::from_secs(86_400);

/// What was made, to be shown once. Only secrets that nobody knows yet are in it.
#[derive(Default)]
pub(super) struct Ensured {
    pub(super) new_key: Option<String>,
    pub(super) new_token: Option<String>,
}

// Holds secrets.
impl std::fmt::Debug for Ensured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ensured(…)")
    }
}

/// Makes what is missing.
pub(super) async fn ensure(ingest: &Ingest, settings: &Settings) -> anyhow::Result<Ensured> {
    let mut ensured = Ensured::default();
    let service_id = ensure_service(ingest).await?;
    let wanted_key = settings.default_integration_key.as_ref();
    let wanted_key = wanted_key
        .map(|key| RoutingKey::parse(key.expose_secret()))
        .transpose()
        .context("default_integration_key")?;
    ensured.new_key = ensure_integration(ingest, service_id, wanted_key).await?;
    ensure_own_service(ingest).await?;
    let wanted_token = settings.admin_token.as_ref().map(|token| token.expose_secret().to_owned());
    ensured.new_token = ensure_token(ingest, wanted_token).await?;
    Ok(ensured)
}

fn at_start() -> RequestedBy {
    RequestedBy { actor: "start".to_owned(), address: None }
}

async fn ensure_service(ingest: &Ingest) -> anyhow::Result<ServiceId> {
    if let Some(service) = ingest.directory().service_named(DEFAULT_NAME) {
        return Ok(service.id);
    }
    let request = ConfigRequest::CreateService {
        name: DEFAULT_NAME.to_owned(),
        description: "Where events go that no other service takes".to_owned(),
        policy: ServicePolicy::default(),
    };
    match ingest.configure(request, at_start()).await? {
        ConfigAnswer::Service(service) => Ok(service.id),
        other => bail!("unexpected answer {other:?}"),
    }
}

/// The service in which the gateway tells of its own troubles. Nobody else sends to it, so nobody
/// is shown the key.
async fn ensure_own_service(ingest: &Ingest) -> anyhow::Result<()> {
    if ingest.directory().integration_named(OWN_NAME).is_some() {
        return Ok(());
    }
    let existing = ingest.directory().service_named(OWN_NAME).map(|service| service.id);
    let service_id = if let Some(id) = existing {
        id
    } else {
        let request = ConfigRequest::CreateService {
            name: OWN_NAME.to_owned(),
            description: "What goes wrong between this gateway and its receivers".to_owned(),
            policy: ServicePolicy::default(),
        };
        match ingest.configure(request, at_start()).await? {
            ConfigAnswer::Service(service) => service.id,
            other => bail!("unexpected answer {other:?}"),
        }
    };
    let request = ConfigRequest::CreateIntegration {
        name: OWN_NAME.to_owned(),
        service_id,
        kind: IntegrationType::PagerDuty,
        shared: false,
        key: None,
    };
    ingest.configure(request, at_start()).await?;
    Ok(())
}

async fn ensure_integration(
    ingest: &Ingest,
    service_id: ServiceId,
    wanted: Option<RoutingKey>,
) -> anyhow::Result<Option<String>> {
    let directory = ingest.directory();
    let existing = directory.integration_named(DEFAULT_NAME);
    let owner =
        wanted.as_ref().and_then(|key| directory.integration_of_key(&key.hash(), ingest.now()));
    let request = match (existing, owner, &wanted) {
        (_, Some(owner), Some(_)) if owner.name != DEFAULT_NAME => {
            tracing::warn!(
                integration.name = owner.name,
                "default_integration_key is the key of this integration already"
            );
            return Ok(None);
        }
        // One that was replaced works for a day yet; named again, it takes its place back.
        (_, Some(owner), Some(key)) if directory.is_current_key(&key.hash(), owner.id) => {
            return Ok(None);
        }
        (Some(_), _, None) => return Ok(None),
        (Some(existing), _, Some(key)) => {
            tracing::info!(
                "default_integration_key is the key of the integration default now; \
                 the one before works for a day longer"
            );
            let key = Some(key.clone());
            ConfigRequest::RotateKey { id: existing.id, overlap: KEY_OVERLAP, key }
        }
        // It was deleted on purpose; only a key in the settings makes it again.
        (None, _, _) if directory.integrations().next().is_some() && wanted.is_none() => {
            return Ok(None);
        }
        (None, _, key) => ConfigRequest::CreateIntegration {
            name: DEFAULT_NAME.to_owned(),
            service_id,
            kind: IntegrationType::PagerDuty,
            shared: false,
            key: key.clone(),
        },
    };
    match ingest.configure(request, at_start()).await? {
        ConfigAnswer::Integration { key: Some(key), .. } if wanted.is_none() => {
            Ok(Some(key.reveal().to_owned()))
        }
        _ => Ok(None),
    }
}

async fn ensure_token(ingest: &Ingest, wanted: Option<String>) -> anyhow::Result<Option<String>> {
    let directory = ingest.directory();
    let known = match &wanted {
        Some(secret) => directory.token(&KeyHash::of(secret)).is_some(),
        None => directory.tokens().any(|token| token.role == Role::Admin),
    };
    if known {
        return Ok(None);
    }
    // A name may be taken by a token with another secret, which goes on working.
    for number in 1.. {
        let name = if number == 1 { "admin".to_owned() } else { format!("admin-{number}") };
        let secret = wanted.clone();
        let request = ConfigRequest::CreateToken { name, role: Role::Admin, secret };
        match ingest.configure(request, at_start()).await {
            Ok(ConfigAnswer::Token { token, secret }) => {
                tracing::info!(token.name, "made an admin token");
                return Ok(wanted.is_none().then_some(secret));
            }
            Ok(other) => bail!("unexpected answer {other:?}"),
            Err(ConfigureError::Refused(Refused::NameTaken { .. })) if number < 1000 => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}
