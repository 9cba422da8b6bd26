//! Services, integrations, keys, tokens and the rest of the configuration: reading it all, and
//! changing one thing.

mod integrations;
mod receivers;
mod rejudge;
mod routes;
pub(super) mod silences;

use sqlx::SqliteConnection;
use uuid::Uuid;

use self::rejudge::Rejudged;
use super::{StoreError, rows::Columns, store_error};
use crate::domain::{
    configuration::{Audit, Configuration, Refused},
    id::{IntegrationId, RuleId, ServiceId, TokenId},
    key::KeyHash,
    matcher::Match,
    routing::{Directory, KeyEntry, Token},
    service::{Integration, IntegrationType, Role, Service, ServicePolicy},
    time::Timestamp,
};

pub(super) async fn directory(
    connection: &mut SqliteConnection,
    version: u64,
    now: Timestamp,
) -> Result<Directory, StoreError> {
    let mut services = Vec::new();
    let found = sqlx::query(
        "SELECT id, name, description, policy, managed, version, created_at_ms FROM services \
         WHERE deleted_at_ms IS NULL",
    );
    for row in found.fetch_all(&mut *connection).await.map_err(store_error)? {
        let mut c = Columns::of(&row, "services");
        services.push(Service {
            id: ServiceId::from_uuid(c.read::<Uuid>("id")?),
            name: c.read("name")?,
            description: c.read("description")?,
            policy: {
                let stored: &str = c.read("policy")?;
                ServicePolicy::from_stored(stored).map_err(|what| c.corrupt("policy", what))?
            },
            managed: c.read("managed")?,
            version: c.read("version")?,
            created_at: c.time("created_at_ms")?,
        });
    }
    let mut integrations = Vec::new();
    let found = sqlx::query(
        "SELECT i.id, i.name, s.id, i.type, i.shared, i.key_hint, i.managed, i.version, \
         i.created_at_ms FROM integrations i JOIN services s ON s.seq = i.service_seq WHERE i.deleted_at_ms IS NULL",
    );
    for row in found.fetch_all(&mut *connection).await.map_err(store_error)? {
        let mut c = Columns::of(&row, "integrations");
        integrations.push(Integration {
            id: IntegrationId::from_uuid(c.read::<Uuid>("id")?),
            name: c.read("name")?,
            service_id: ServiceId::from_uuid(c.read::<Uuid>("service_seq")?),
            kind: c.named("type", IntegrationType::parse)?,
            shared: c.read("shared")?,
            key_hint: c.read("key_hint")?,
            managed: c.read("managed")?,
            version: c.read("version")?,
            created_at: c.time("created_at_ms")?,
        });
    }
    let mut keys = Vec::new();
    let found = sqlx::query(
        "SELECT k.key_sha256, i.id, k.expires_at_ms FROM integration_keys k \
         JOIN integrations i ON i.seq = k.integration_seq WHERE i.deleted_at_ms IS NULL",
    );
    for row in found.fetch_all(&mut *connection).await.map_err(store_error)? {
        let mut c = Columns::of(&row, "integration_keys");
        let hash = hash(&mut c, "key_sha256")?;
        let integration_id = IntegrationId::from_uuid(c.read::<Uuid>("integration_seq")?);
        keys.push((
            hash,
            KeyEntry { integration_id, expires_at: c.time_or_none("expires_at_ms")? },
        ));
    }
    let mut tokens = Vec::new();
    let found = sqlx::query(
        "SELECT token_sha256, id, name, role, hint, created_at_ms FROM tokens \
         WHERE revoked_at_ms IS NULL",
    );
    for row in found.fetch_all(&mut *connection).await.map_err(store_error)? {
        let mut c = Columns::of(&row, "tokens");
        let hash = hash(&mut c, "token_sha256")?;
        tokens.push((
            hash,
            Token {
                id: TokenId::from_uuid(c.read::<Uuid>("id")?),
                name: c.read("name")?,
                role: c.named("role", Role::parse)?,
                hint: c.read("hint")?,
                created_at: c.time("created_at_ms")?,
            },
        ));
    }
    Ok(Directory::new(version, services, integrations, keys, tokens)
        .with_silences(silences::current(connection, now).await?)
        .with_routes(routes::all(connection).await?)
        .with_receivers(receivers::all(connection).await?))
}

fn hash(c: &mut Columns<'_>, column: &'static str) -> Result<KeyHash, StoreError> {
    let bytes: &[u8] = c.read(column)?;
    let bytes = <[u8; 32]>::try_from(bytes)
        .map_err(|_| c.corrupt(column, format!("{} bytes", bytes.len())))?;
    Ok(KeyHash::from_bytes(bytes))
}

/// Carries out changes in their order. A refusal has written nothing that matters: the caller does
/// not commit.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    changes: &[(Configuration, Audit)],
) -> Result<Result<(), Refused>, StoreError> {
    let mut rejudged = Rejudged::default();
    for (change, audit) in changes {
        if let Err(refused) = apply_one(connection, change, audit, &mut rejudged).await? {
            return Ok(Err(refused));
        }
    }
    if let Some((_, last)) = changes.last() {
        rejudged.mark(connection, last.at).await?;
    }
    Ok(Ok(()))
}

async fn apply_one(
    connection: &mut SqliteConnection,
    change: &Configuration,
    audit: &Audit,
    rejudged: &mut Rejudged,
) -> Result<Result<(), Refused>, StoreError> {
    let outcome = match change {
        Configuration::CreateService(service) => create_service(connection, service).await?,
        Configuration::UpdateService(service) => {
            rejudged.add(Some(service.id));
            update_service(connection, service).await?
        }
        Configuration::DeleteService(id) => {
            // Its keys flap no more, and what waited for that goes.
            rejudged.add(Some(*id));
            let done = sqlx::query(
                "UPDATE services SET deleted_at_ms = ?2 WHERE seq = ?1 AND deleted_at_ms IS NULL",
            )
            .bind(id.seq())
            .bind(audit.at.as_millis());
            expect_one(done.execute(&mut *connection).await, "service")?
        }
        Configuration::CreateIntegration { integration, key } => {
            integrations::create(connection, integration, key).await?
        }
        Configuration::UpdateIntegration(integration) => {
            integrations::update(connection, integration).await?
        }
        Configuration::DeleteIntegration(id) => {
            integrations::delete(connection, *id, audit.at).await?
        }
        Configuration::RotateKey { integration_id, key, key_hint, old_keys_expire_at } => {
            let until = *old_keys_expire_at;
            integrations::rotate(connection, *integration_id, key, key_hint, until, audit.at)
                .await?
        }
        Configuration::CreateToken { token, secret } => {
            create_token(connection, token, secret).await?
        }
        Configuration::RevokeToken(id) => {
            let done = sqlx::query(
                "UPDATE tokens SET revoked_at_ms = ?2 WHERE seq = ?1 AND revoked_at_ms IS NULL",
            )
            .bind(id.seq())
            .bind(audit.at.as_millis());
            expect_one(done.execute(&mut *connection).await, "token")?
        }
        Configuration::CreateSilence(silence) => {
            silences::create(connection, silence, rejudged).await?
        }
        Configuration::UpdateSilence(silence) => {
            silences::update(connection, silence, rejudged).await?
        }
        Configuration::CreateRoute { route, position } => {
            routes::create(connection, route, *position).await?
        }
        Configuration::UpdateRoute { route, position } => {
            routes::update(connection, route, *position).await?
        }
        Configuration::DeleteRoute(id) => routes::delete(connection, *id).await?,
        Configuration::CreateReceiver(receiver) => {
            rejudged.add(None);
            receivers::create(connection, receiver).await?
        }
        Configuration::UpdateReceiver(receiver) => {
            rejudged.add(None);
            receivers::update(connection, receiver).await?
        }
        Configuration::DeleteReceiver(id) => {
            rejudged.add(None);
            receivers::delete(connection, *id, audit.at).await?
        }
    };
    if outcome.is_ok() {
        insert_audit(connection, audit).await?;
    }
    Ok(outcome)
}

async fn insert_audit(connection: &mut SqliteConnection, audit: &Audit) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO audit (seq, id, at_ms, actor, address, action, object_kind, object_id, \
         object_name, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )
    .bind(audit.id.seq())
    .bind(audit.id.uuid())
    .bind(audit.at.as_millis())
    .bind(audit.actor.as_str())
    .bind(audit.address.as_deref())
    .bind(audit.action)
    .bind(audit.object_kind)
    .bind(audit.object_id)
    .bind(audit.object_name.as_str())
    .bind(audit.detail.to_string())
    .execute(connection)
    .await
    .map_err(store_error)?;
    Ok(())
}

type Written = Result<sqlx::sqlite::SqliteQueryResult, sqlx::Error>;

fn expect_one(written: Written, kind: &'static str) -> Result<Result<(), Refused>, StoreError> {
    let affected = written.map_err(store_error)?.rows_affected();
    Ok(if affected == 1 { Ok(()) } else { Err(Refused::NotFound(kind)) })
}

/// Tells a name or key that is taken from other failures.
fn unless_taken(written: Written, refused: Refused) -> Result<Result<u64, Refused>, StoreError> {
    match written {
        Ok(done) => Ok(Ok(done.rows_affected())),
        Err(error)
            if error
                .as_database_error()
                .is_some_and(sqlx::error::DatabaseError::is_unique_violation) =>
        {
            Ok(Err(refused))
        }
        Err(error) => Err(store_error(error)),
    }
}

fn taken(kind: &'static str, name: &str) -> Refused {
    Refused::NameTaken { kind, name: name.to_owned() }
}

async fn create_service(
    connection: &mut SqliteConnection,
    service: &Service,
) -> Result<Result<(), Refused>, StoreError> {
    let insert = sqlx::query(
        "INSERT INTO services (seq, id, name, description, policy, version, created_at_ms, managed) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
    .bind(service.id.seq())
    .bind(service.id.uuid())
    .bind(service.name.as_str())
    .bind(service.description.as_str())
    .bind(service.policy.to_stored())
    .bind(service.version)
    .bind(service.created_at.as_millis())
    .bind(service.managed);
    remember_rules(connection, service).await?;
    let written = insert.execute(&mut *connection).await;
    Ok(unless_taken(written, taken("service", &service.name))?.map(|_| ()))
}

async fn update_service(
    connection: &mut SqliteConnection,
    service: &Service,
) -> Result<Result<(), Refused>, StoreError> {
    let update = sqlx::query(
        "UPDATE services SET name = ?2, description = ?3, policy = ?4, version = ?5, managed = ?6 \
         WHERE seq = ?1 AND version = ?5 - 1 AND deleted_at_ms IS NULL",
    )
    .bind(service.id.seq())
    .bind(service.name.as_str())
    .bind(service.description.as_str())
    .bind(service.policy.to_stored())
    .bind(service.version)
    .bind(service.managed);
    remember_rules(connection, service).await?;
    let written = update.execute(&mut *connection).await;
    match unless_taken(written, taken("service", &service.name))? {
        Ok(1) => {}
        Ok(_) => return Ok(Err(Refused::Stale)),
        Err(refused) => return Ok(Err(refused)),
    }
    // New timers hold for what is open already: they are set from their base when it is judged.
    Ok(Ok(()))
}

/// Rules have no table of their own; their numbers are never given again all the same.
async fn remember_rules(
    connection: &mut SqliteConnection,
    service: &Service,
) -> Result<(), StoreError> {
    let Some(last) = service.policy.rule_ids().map(RuleId::seq).max() else {
        return Ok(());
    };
    sqlx::query(
        "INSERT INTO meta (name, value) VALUES ('last_rule_seq', ?1) \
         ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
    )
    .bind(last)
    .execute(connection)
    .await
    .map_err(store_error)?;
    Ok(())
}

async fn create_token(
    connection: &mut SqliteConnection,
    token: &Token,
    secret: &KeyHash,
) -> Result<Result<(), Refused>, StoreError> {
    let written = sqlx::query(
        "INSERT INTO tokens (seq, id, name, role, hint, token_sha256, created_at_ms) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )
    .bind(token.id.seq())
    .bind(token.id.uuid())
    .bind(token.name.as_str())
    .bind(token.role.as_str())
    .bind(token.hint.as_str())
    .bind(&secret.as_bytes()[..])
    .bind(token.created_at.as_millis())
    .execute(connection)
    .await;
    Ok(unless_taken(written, taken("token", &token.name))?.map(|_| ()))
}

/// Reads the matchers of a row.
fn matches(c: &mut Columns<'_>) -> Result<Match, StoreError> {
    let stored: &str = c.read("matchers")?;
    let value = serde_json::from_str(stored).unwrap_or_default();
    Match::from_json(&value).map_err(|errors| {
        let said = errors.into_iter().map(|(place, error)| format!("{place} {error}"));
        c.corrupt("matchers", said.collect::<Vec<_>>().join("; "))
    })
}
