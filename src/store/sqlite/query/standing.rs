//! What keeps alerts quiet, as it is shown.

use std::collections::HashMap;

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    super::{StoreError, rows::Columns, store_error},
    walk::json_list,
};
use crate::{
    domain::{
        id::AlertId,
        loading::Inhibitor,
        standing::{Inhibited, Quiet, Standing},
        time::Timestamp,
    },
    store::query::views::{AlertView, Suppression, SuppressionKind},
};

/// Service, rule and hash of an inhibition, as its row is found by.
type Key = (i64, i64, i64);

pub(super) const INHIBITORS: &str = "SELECT n.service_seq, n.rule_seq, n.hash, n.state \
     FROM json_each(?1) j CROSS JOIN inhibitors n ON n.service_seq = j.value ->> 0 \
     AND n.rule_seq = j.value ->> 1 AND n.hash = j.value ->> 2";

pub(super) const SUMMARIES: &str = "SELECT a.id, c.summary FROM json_each(?1) j \
     CROSS JOIN alerts a ON a.seq = j.value CROSS JOIN contents c ON c.seq = a.content_seq";

/// What a stored standing says is quiet. One that cannot be read is shown as nothing: an odd row
/// must not hide a page of others.
pub(super) fn quiet(stored: Option<&str>) -> Quiet {
    Standing::from_stored(stored).map(|standing| standing.quiet).unwrap_or_default()
}

/// The silences that are on. Why they were made is not in the database's hands.
pub(super) fn silenced(quiet: &Quiet) -> Vec<Suppression> {
    let shown = quiet.silenced.iter().map(|on| Suppression {
        kind: SuppressionKind::Silence,
        id: Some(on.silence.uuid()),
        reason: String::new(),
        until: Some(on.until).filter(|until| *until < Timestamp::MAX),
    });
    shown.collect()
}

/// Names a source alert for each inhibition of the alerts at these places: one that is open now,
/// since what was the newest when the alert was judged may have gone since.
pub(super) async fn add_inhibitions(
    connection: &mut SqliteConnection,
    alerts: &mut [AlertView],
    inhibited: &[(usize, Vec<Inhibited>)],
) -> Result<(), StoreError> {
    if inhibited.is_empty() {
        return Ok(());
    }
    let mut found: Vec<(usize, Inhibited, Option<AlertId>)> = Vec::new();
    for (at, all) in inhibited {
        found.extend(all.iter().map(|by| (*at, *by, by.source)));
    }
    let keys: Vec<Key> =
        found.iter().map(|(at, by, _)| key(alerts[*at].service_id.seq(), by)).collect();
    let open = open_sources(connection, &keys).await?;
    for ((at, _, source), key) in found.iter_mut().zip(&keys) {
        let Some(open) = open.get(key) else { continue };
        let known = source.filter(|id| open.sources.contains(id) || open.both_sources.contains(id));
        *source = known.or_else(|| open.newest_source(false, alerts[*at].id)).or(*source);
    }
    let sources: Vec<i64> = found.iter().filter_map(|(.., id)| *id).map(AlertId::seq).collect();
    let summaries = summaries(connection, sources).await?;
    for (at, by, source) in found {
        let id = source.map(AlertId::uuid);
        let state = if by.until.is_some() { "has ended" } else { "is open" };
        let reason = match id.and_then(|id| summaries.get(&id)) {
            Some(summary) => format!("its source alert {state}: {summary}"),
            None => format!("its source alert {state}"),
        };
        let kind = SuppressionKind::Inhibition;
        alerts[at].suppressed_by.push(Suppression { kind, id, reason, until: by.until });
    }
    Ok(())
}

fn key(service: i64, by: &Inhibited) -> Key {
    (service, by.rule.seq(), by.hash)
}

async fn open_sources(
    connection: &mut SqliteConnection,
    keys: &[Key],
) -> Result<HashMap<Key, Inhibitor>, StoreError> {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    let list = serde_json::to_string(&keys).unwrap_or_default();
    let rows = sqlx::query(INHIBITORS).bind(list).fetch_all(connection).await;
    let mut open = HashMap::new();
    for row in &rows.map_err(store_error)? {
        let mut c = Columns::of(row, "inhibitors");
        let key = (c.read("service_seq")?, c.read("rule_seq")?, c.read("hash")?);
        let state: Inhibitor = serde_json::from_str(c.read("state")?).unwrap_or_default();
        open.insert(key, state);
    }
    Ok(open)
}

async fn summaries(
    connection: &mut SqliteConnection,
    mut alerts: Vec<i64>,
) -> Result<HashMap<Uuid, String>, StoreError> {
    alerts.sort_unstable();
    alerts.dedup();
    let rows = sqlx::query_as(SUMMARIES).bind(json_list(&alerts)).fetch_all(connection).await;
    Ok(rows.map_err(store_error)?.into_iter().collect())
}
