//! What noise reduction keeps: states of keys, inhibitors and their targets, templates.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{Names, StoreError, bulk::Binder, rows::Columns, statements as sql, store_error};
use crate::domain::{
    changes::Changes,
    event::{Content, Severity},
    id::{AlertId, RuleId, ServiceId},
    key::DedupKey,
    key_state::KeyState,
    loading::{InhibitionKey, Inhibitor, SourceKey, TARGETS_MAX},
    similarity::{Template, Templates},
    time::Timestamp,
};

type States = Vec<(SourceKey, KeyState)>;
type DueKeys = Vec<(SourceKey, Timestamp)>;

/// States of keys as they were found; and the keys among them that are due by `now`, with the time
/// at which they were.
pub(super) fn key_states(
    found: &[SqliteRow],
    now: Option<Timestamp>,
    names: &Names,
) -> Result<(States, DueKeys), StoreError> {
    let mut states: HashMap<SourceKey, KeyState> = HashMap::new();
    let mut due = Vec::new();
    for row in found {
        let mut c = Columns::of(row, "key_states");
        let integration = c.known("integration_seq", |seq| names.integration(seq))?;
        let key: &str = c.read("dedup_key")?;
        let key = DedupKey::parse(key).map_err(|e| c.corrupt("dedup_key", e.to_string()))?;
        let state: &str = c.read("state")?;
        let state = serde_json::from_str(state).map_err(|e| c.corrupt("state", e.to_string()))?;
        let key = (integration, key);
        let at = c.time_or_none("due_ms")?;
        due.extend(at.filter(|at| Some(*at) <= now).map(|at| (key.clone(), at)));
        states.insert(key, state);
    }
    due.sort();
    due.dedup();
    Ok((states.into_iter().collect(), due))
}

fn bind_rule(b: &mut Binder, (service, rule, hash): &InhibitionKey) {
    b.bind(service.seq()).bind(rule.seq()).bind(*hash);
}

/// The counted sources under each key that has any.
pub(super) async fn inhibitors(
    connection: &mut SqliteConnection,
    keys: &[InhibitionKey],
) -> Result<Vec<(InhibitionKey, Inhibitor)>, StoreError> {
    let found = sql::INHIBITORS.fetch(connection, keys, bind_rule).await?;
    let known: HashMap<(i64, i64, i64), InhibitionKey> =
        keys.iter().map(|key| ((key.0.seq(), key.1.seq(), key.2), *key)).collect();
    let mut inhibitors = Vec::new();
    for row in &found {
        let mut c = Columns::of(row, "inhibitors");
        let key = (c.read("service_seq")?, c.read("rule_seq")?, c.read("hash")?);
        let state: &str = c.read("state")?;
        let state = serde_json::from_str(state).map_err(|e| c.corrupt("state", e.to_string()))?;
        inhibitors.extend(known.get(&key).map(|key| (*key, state)));
    }
    Ok(inhibitors)
}

/// The rows of open targets under each key, the oldest of them.
pub(super) async fn targets(
    connection: &mut SqliteConnection,
    keys: &[InhibitionKey],
) -> Result<Vec<(InhibitionKey, Vec<i64>)>, StoreError> {
    let mut targets = Vec::new();
    for key in keys {
        let most = i64::try_from(TARGETS_MAX).unwrap_or(i64::MAX);
        let rows = sqlx::query_scalar(sql::TARGETS)
            .bind(key.0.seq())
            .bind(key.1.seq())
            .bind(key.2)
            .bind(most)
            .fetch_all(&mut *connection)
            .await
            .map_err(store_error)?;
        targets.push((*key, rows));
    }
    Ok(targets)
}

/// What alerts say now.
pub(super) async fn contents(
    connection: &mut SqliteConnection,
    alerts: &[AlertId],
) -> Result<Vec<(AlertId, Arc<Content>)>, StoreError> {
    let bind = |b: &mut Binder, id: &AlertId| {
        b.bind(id.seq());
    };
    let found = sql::CONTENTS.fetch(connection, alerts, bind).await?;
    found.iter().map(content).collect()
}

fn content(row: &SqliteRow) -> Result<(AlertId, Arc<Content>), StoreError> {
    fn json<T: serde::de::DeserializeOwned + Default>(text: Option<&str>) -> T {
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }
    let mut c = Columns::of(row, "contents");
    let id = AlertId::from_uuid(c.read::<Uuid>("id")?);
    let content = Content {
        severity: c.named("severity", Severity::parse)?,
        summary: c.read("summary")?,
        source: c.read("source")?,
        component: c.read("component")?,
        group: c.read("group")?,
        class: c.read("class")?,
        client: c.read("client")?,
        client_url: c.read("client_url")?,
        links: json(c.read("links")?),
        images: json(c.read("images")?),
        labels: json(c.read("labels")?),
        custom_details: c.read::<Option<String>>("custom_details")?.map(String::into_boxed_str),
    };
    Ok((id, Arc::new(content)))
}

/// The templates of each rule.
pub(super) async fn templates(
    connection: &mut SqliteConnection,
    rules: &[(ServiceId, RuleId)],
) -> Result<Vec<((ServiceId, RuleId), Arc<Templates>)>, StoreError> {
    let mut all = Vec::new();
    for (service, rule) in rules {
        let rows = sqlx::query(sql::TEMPLATES).bind(service.seq()).bind(rule.seq());
        let mut templates = Vec::new();
        for row in rows.fetch_all(&mut *connection).await.map_err(store_error)? {
            let mut c = Columns::of(&row, "templates");
            let seq = c.read("template_seq")?;
            let text: &str = row.try_get(1).map_err(store_error)?;
            let template = Template::from_stored(seq, text);
            templates.push(template.ok_or_else(|| c.corrupt("template", text.to_owned()))?);
        }
        all.push(((*service, *rule), Arc::new(Templates::from_stored(templates))));
    }
    Ok(all)
}

/// Writes what a batch changed of all that.
pub(super) async fn save(c: &mut SqliteConnection, changes: &Changes) -> Result<(), StoreError> {
    sql::PUT_KEY_STATES
        .execute(c, &changes.key_states, |b, ((integration, key), service, state, due)| {
            b.bind(integration.seq())
                .bind(key.as_str())
                .bind(service.seq())
                .bind(serde_json::to_string(state).unwrap_or_default())
                .bind(due.map(Timestamp::as_millis))
                .bind(state.last_seen.as_millis());
        })
        .await?;
    sql::PUT_INHIBITORS
        .execute(c, &changes.inhibitors, |b, (key, state)| {
            bind_rule(b, key);
            b.bind(serde_json::to_string(state).unwrap_or_default())
                .bind(state.idle_since().map(Timestamp::as_millis));
        })
        .await?;
    // An alert that is new is in no list yet.
    let new: HashSet<AlertId> = changes.new_alerts.iter().map(|alert| alert.id).collect();
    let listed = changes.sides.iter().map(|(id, ..)| *id).filter(|id| !new.contains(id));
    let listed: Vec<AlertId> = listed.collect();
    sql::DELETE_TARGETS
        .execute(c, &listed, |b, id| {
            b.bind(id.seq());
        })
        .await?;
    let targets: Vec<(InhibitionKey, AlertId)> = changes
        .sides
        .iter()
        .flat_map(|(id, service, sides)| {
            let targets = sides.iter().filter(|side| side.target);
            targets.map(|side| ((*service, side.rule, side.hash), *id))
        })
        .collect();
    sql::INSERT_TARGETS
        .execute(c, &targets, |b, (key, id)| {
            bind_rule(b, key);
            b.bind(id.seq());
        })
        .await?;
    for (key, at) in &changes.woken {
        sqlx::query(sql::WAKE_TARGETS)
            .bind(key.0.seq())
            .bind(key.1.seq())
            .bind(key.2)
            .bind(at.as_millis())
            .execute(&mut *c)
            .await
            .map_err(store_error)?;
    }
    for ((service, rule), _, rows) in &changes.templates {
        sql::PUT_TEMPLATES
            .execute(c, &rows.changed, |b, template| {
                b.bind(service.seq()).bind(rule.seq()).bind(template.id).bind(template.to_stored());
            })
            .await?;
        sql::DELETE_TEMPLATES
            .execute(c, &rows.removed, |b, id| {
                b.bind(service.seq()).bind(rule.seq()).bind(*id);
            })
            .await?;
    }
    Ok(())
}
