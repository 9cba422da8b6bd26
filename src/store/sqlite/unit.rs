//! The transaction of one batch: load, save, commit.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use async_trait::async_trait;
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};
use tokio::sync::{Notify, OwnedMutexGuard};

use super::{
    Names, StoreError, Writer, binding, bulk::Binder, configuration, noise, outbox, rows, sent_ids,
    statements as sql, store_error,
};
use crate::{
    domain::{
        alert::Alert,
        changes::Changes,
        configuration::{Audit, Configuration, Refused},
        event::Severity,
        id::{AlertId, IncidentId, IntegrationId},
        incident::Incident,
        key::DedupKey,
        loading::{Asked, LoadKeys, Loaded, SourceKey},
        time::Timestamp,
    },
    store::Unit,
};

/// A transaction on the one writing connection.
pub(super) struct SqliteUnit {
    pub(super) writer: OwnedMutexGuard<Writer>,
    pub(super) names: Arc<Names>,
    /// Newest time of any input of this batch.
    pub(super) latest: Timestamp,
    /// Nothing is due before this, milliseconds since the epoch. Only a bound: most batches are
    /// spared the look at what is due.
    pub(super) next_due: i64,
    /// What was due has been dealt with, so the bound can be set anew.
    pub(super) due_was_loaded: bool,
    pub(super) finished: bool,
    /// It owes something to receivers.
    pub(super) owes: bool,
    pub(super) nudge: Arc<Notify>,
}

impl SqliteUnit {
    fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        self.writer.connection.as_mut().ok_or_else(|| {
            StoreError::Unavailable(sqlx::Error::Io(std::io::ErrorKind::NotConnected.into()))
        })
    }
}

/// A unit that is dropped half-way leaves its transaction to be rolled back by the next one.
impl Drop for SqliteUnit {
    fn drop(&mut self) {
        if !self.finished {
            self.writer.in_transaction = true;
        }
    }
}

#[async_trait]
impl Unit for SqliteUnit {
    async fn load(&mut self, keys: &LoadKeys) -> Result<Loaded, StoreError> {
        let names = Arc::clone(&self.names);
        let floor = self.writer.latest;
        let next_due = self.next_due;
        let due = keys.due.filter(|(now, _)| now.as_millis() >= next_due);
        let connection = self.connection()?;
        let bind_key = |b: &mut Binder, (integration, key): &(IntegrationId, DedupKey)| {
            b.bind(integration.seq()).bind(key.shared());
        };
        let bind_seq = |b: &mut Binder, seq: &i64| {
            b.bind(*seq);
        };
        let mut alerts: HashMap<i64, Alert> = HashMap::new();
        let mut take = |found: Vec<SqliteRow>| -> Result<(), StoreError> {
            for row in found {
                let alert = rows::alert(&row, &names)?;
                alerts.insert(alert.id.seq(), alert);
            }
            Ok(())
        };
        let open = sql::OPEN_ALERTS
            .fetch(connection, &keys.alert_keys, |b, (integration, key, _)| {
                b.bind(integration.seq()).bind(key.shared());
            })
            .await?;
        let by_seq: Vec<i64> = keys.alerts.iter().map(|id| id.seq()).collect();
        let mut found = sql::ALERTS_BY_SEQ.fetch(connection, &by_seq, bind_seq).await?;
        // An id of foreign origin may carry the number of a row that is not its own.
        let wanted: Vec<uuid::Uuid> = keys.alerts.iter().map(|id| id.uuid()).collect();
        found.retain(|row| row.try_get::<uuid::Uuid, _>(1).is_ok_and(|id| wanted.contains(&id)));
        take(found)?;
        let whole: Vec<i64> = keys.incidents.iter().map(|id| id.seq()).collect();
        take(sql::OPEN_ALERTS_OF_INCIDENTS.fetch(connection, &whole, bind_seq).await?)?;
        let mut more_due = false;
        let mut key_rows = sql::KEY_STATES.fetch(connection, &keys.key_states, bind_key).await?;
        if let Some((now, most)) = due {
            let due_keys = sqlx::query(sql::DUE_KEYS).bind(now.as_millis()).bind(most);
            key_rows.extend(due_keys.fetch_all(&mut *connection).await.map_err(store_error)?);
            let due = sqlx::query(sql::DUE_ALERTS).bind(now.as_millis()).bind(most);
            let due = due.fetch_all(&mut *connection).await.map_err(store_error)?;
            more_due |= due.len() >= most as usize;
            take(due)?;
        }
        if let Some((service, most)) = keys.open_of_service {
            let open = sqlx::query(sql::OPEN_ALERTS_OF_SERVICE).bind(service.seq()).bind(most);
            take(open.fetch_all(&mut *connection).await.map_err(store_error)?)?;
        }
        // What was taken so far changes its incident; of the open alerts found by key only those
        // that are no mere repeats do.
        let (mut key_states, due_keys) =
            noise::key_states(&key_rows, due.map(|(now, _)| now), &names)?;
        let targets = noise::targets(connection, &keys.targets).await?;
        let target_seqs: Vec<i64> = targets.iter().flat_map(|(_, seqs)| seqs).copied().collect();
        let found = sql::ALERTS_BY_SEQ.fetch(connection, &target_seqs, bind_seq).await?;
        let mut take = |found: Vec<SqliteRow>| -> Result<(), StoreError> {
            for row in found {
                let alert = rows::alert(&row, &names)?;
                alerts.insert(alert.id.seq(), alert);
            }
            Ok(())
        };
        take(found)?;
        // A key that is due comes with its alert: the open one, else the newest.
        let bind_due = |b: &mut Binder, (key, _): &((IntegrationId, DedupKey), Timestamp)| {
            bind_key(b, key);
        };
        take(sql::NEWEST_ALERTS.fetch(connection, &due_keys, bind_due).await?)?;
        let latest = keys.due.map(|(now, _)| now);
        let mut incident_seqs: Vec<i64> =
            alerts.values().filter_map(|alert| alert.incident_id).map(IncidentId::seq).collect();
        let mut open_keys: HashSet<(IntegrationId, DedupKey)> = HashSet::new();
        let repeated: HashMap<(IntegrationId, &DedupKey), Option<Severity>> =
            keys.alert_keys.iter().map(|(i, key, severity)| ((*i, key), *severity)).collect();
        for row in open {
            let alert = rows::alert(&row, &names)?;
            let key = (alert.integration_id, &alert.dedup_key);
            let is_due = alert.dues.earliest().is_some_and(|at| Some(at) <= latest);
            if is_due || repeated.get(&key).copied().flatten() != Some(alert.severity) {
                incident_seqs.extend(alert.incident_id.map(IncidentId::seq));
            }
            open_keys.insert((alert.integration_id, alert.dedup_key.clone()));
            alerts.entry(alert.id.seq()).or_insert(alert);
        }
        let returning: Vec<(IntegrationId, DedupKey)> =
            keys.returning_keys.iter().filter(|key| !open_keys.contains(*key)).cloned().collect();
        let newest = sql::NEWEST_ALERTS.fetch(connection, &returning, bind_key).await?;
        let mut came_back: Vec<SourceKey> = Vec::new();
        for row in newest {
            let alert = rows::alert(&row, &names)?;
            incident_seqs.extend(alert.incident_id.map(IncidentId::seq));
            came_back.push((alert.integration_id, alert.dedup_key.clone()));
            alerts.insert(alert.id.seq(), alert);
        }
        came_back.retain(|key| !keys.key_states.contains(key));
        let key_rows = sql::KEY_STATES.fetch(connection, &came_back, bind_key).await?;
        key_states.extend(noise::key_states(&key_rows, None, &names)?.0);

        let is_open = |key: &SourceKey| open_keys.contains(key);
        let asked_groups = keys.groups_unless(is_open);
        let group_keys: Vec<(i64, i64, i64)> = asked_groups
            .iter()
            .map(|(service, rule, hash)| (service.seq(), rule.seq(), *hash))
            .collect();
        let found = sql::NEWEST_OF_GROUPS
            .fetch(connection, &group_keys, |b, (service, rule, hash)| {
                b.bind(*service).bind(*rule).bind(*hash);
            })
            .await?;
        let mut group_rows: HashMap<(i64, i64, i64), i64> = HashMap::new();
        for row in found {
            let mut c = rows::Columns::of(&row, "open_groups");
            let key = (c.read("service_seq")?, c.read("rule_seq")?, c.read("hash")?);
            group_rows.insert(key, c.read("incident_seq")?);
        }

        incident_seqs.extend(whole);
        incident_seqs.extend(keys.bare_incidents.iter().map(|id| id.seq()));
        incident_seqs.extend(group_rows.values());
        incident_seqs.sort_unstable();
        incident_seqs.dedup();
        let mut incident_rows =
            sql::INCIDENTS_BY_SEQ.fetch(connection, &incident_seqs, bind_seq).await?;
        if let Some((now, most)) = due {
            let due = sqlx::query(sql::DUE_INCIDENTS).bind(now.as_millis()).bind(most);
            let due = due.fetch_all(&mut *connection).await.map_err(store_error)?;
            more_due |= due.len() >= most as usize;
            incident_rows.extend(due);
        }
        let mut incidents: HashMap<i64, Incident> = HashMap::new();
        for row in incident_rows {
            let incident = rows::incident(&row, &names)?;
            incidents.insert(incident.id.seq(), incident);
        }

        let groups = asked_groups
            .iter()
            .filter_map(|key| {
                let (service, rule, hash) = key;
                let seq = group_rows.get(&(service.seq(), rule.seq(), *hash))?;
                Some((*key, incidents.get(seq)?.id))
            })
            .collect();
        let ids: HashMap<i64, AlertId> = alerts.iter().map(|(seq, a)| (*seq, a.id)).collect();
        let targets = targets
            .into_iter()
            .map(|(key, seqs)| (key, seqs.iter().filter_map(|s| ids.get(s).copied()).collect()))
            .collect();
        let mut loaded = Loaded {
            alerts: alerts.into_values().collect(),
            groups,
            incidents: incidents.into_values().collect(),
            service_clocks: names.service_ids().map(|id| (id, floor)).collect(),
            more_due,
            key_states,
            due_keys,
            inhibitors: noise::inhibitors(connection, &keys.inhibitors_unless(is_open)).await?,
            targets,
            contents: noise::contents(connection, &keys.contents).await?,
            templates: noise::templates(connection, &keys.templates).await?,
            sent_ids: sent_ids::known(connection, &keys.sent_ids, &names).await?,
            asked: Asked::default(),
        };
        loaded.answers(keys, is_open);
        loaded.asked.key_states.extend(came_back);
        self.due_was_loaded |= due.is_some();
        Ok(loaded)
    }

    async fn save(&mut self, changes: &Changes) -> Result<(), StoreError> {
        for (_, now) in &changes.service_clocks {
            self.latest = self.latest.max(*now);
        }
        let alerts = changes.new_alerts.iter().chain(&changes.updated_alerts);
        let incidents = changes.new_incidents.iter().chain(&changes.updated_incidents);
        let dues = alerts
            .filter(|alert| alert.is_open())
            .filter_map(|alert| alert.dues.earliest())
            .chain(incidents.filter_map(|incident| incident.due))
            .chain(changes.key_states.iter().filter_map(|(.., due)| *due))
            .chain(changes.woken.iter().map(|(_, at)| *at));
        self.next_due = dues.map(Timestamp::as_millis).fold(self.next_due, i64::min);
        let c = self.connection()?;
        sql::INSERT_INCIDENTS.execute(c, &changes.new_incidents, binding::new_incident).await?;
        sql::UPDATE_INCIDENTS.execute(c, &changes.updated_incidents, binding::incident).await?;
        sql::INSERT_GROUPS
            .execute(c, &changes.groups, |b, ((service, rule, hash), incident)| {
                b.bind(service.seq()).bind(rule.seq()).bind(*hash).bind(incident.seq());
            })
            .await?;
        sql::DELETE_GROUPS
            .execute(c, &changes.closed_groups, |b, (service, rule, hash)| {
                b.bind(service.seq()).bind(rule.seq()).bind(*hash);
            })
            .await?;
        // Resolved ones first: an alert of a key may be opened in the batch that resolved its
        // predecessor, and the law of one open alert a key is checked at every row.
        sql::UPDATE_ALERTS.execute(c, &changes.updated_alerts, binding::alert).await?;
        let merge = |b: &mut Binder, alert: &Alert| {
            binding::merge(b, alert);
        };
        sql::MERGE_ALERTS.execute(c, &changes.merged_alerts, merge).await?;
        let (gone, open): (Vec<&Alert>, Vec<&Alert>) =
            changes.new_alerts.iter().partition(|alert| !alert.is_open());
        sql::INSERT_ALERTS.execute(c, &gone, |b, a| binding::new_alert(b, a)).await?;
        sql::INSERT_ALERTS.execute(c, &open, |b, a| binding::new_alert(b, a)).await?;
        sql::INSERT_CONTENTS.execute(c, &changes.contents, binding::content).await?;
        sql::INSERT_EVENTS.execute(c, &changes.events, binding::event).await?;
        sql::INSERT_TIMELINE
            .execute(c, &changes.timeline, |b, entry| {
                b.bind(entry.id.seq())
                    .bind(entry.id.uuid())
                    .bind(entry.at.as_millis())
                    .bind(entry.alert_id.map(crate::domain::id::AlertId::seq))
                    .bind(entry.incident_id.map(crate::domain::id::IncidentId::seq))
                    .bind(entry.kind.as_str())
                    .bind(entry.actor.as_str())
                    .bind(entry.reason.as_str());
            })
            .await?;
        sql::INSERT_CHANGES
            .execute(c, &changes.change_events, |b, row| {
                let change = &row.input.change;
                b.bind(row.id.seq())
                    .bind(row.id.uuid())
                    .bind(row.input.integration.id.seq())
                    .bind(row.input.integration.service_id.seq())
                    .bind(row.received_at.as_millis())
                    .bind(row.event_at.as_millis())
                    .bind(change.sent_time.text.as_deref())
                    .bind(change.summary.as_str())
                    .bind(change.source.as_deref())
                    .bind(change.custom_details.as_deref())
                    .bind(binding::links_json(&change.links));
            })
            .await?;
        sql::ADD_COUNTS
            .execute(c, &changes.counts, |b, count| {
                b.bind(count.service_id.seq())
                    .bind(count.hour)
                    .bind(count.events)
                    .bind(count.alerts)
                    .bind(count.incidents)
                    .bind(count.resolved_alerts)
                    .bind(count.acknowledged)
                    .bind(count.acknowledged_after_ms)
                    .bind(count.resolved)
                    .bind(count.resolved_after_ms);
            })
            .await?;
        sent_ids::save(c, &changes.sent_ids).await?;
        noise::save(c, changes).await?;
        self.owes |= !changes.deliveries.is_empty();
        if self.owes { outbox::save(self.connection()?, changes).await } else { Ok(()) }
    }

    async fn configure(
        &mut self,
        changes: &[(Configuration, Audit)],
    ) -> Result<Result<(), Refused>, StoreError> {
        self.writer.names_changed = true;
        self.next_due = i64::MIN;
        configuration::apply(self.connection()?, changes).await
    }

    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        if self.due_was_loaded {
            self.next_due = next_due(self.connection()?).await?;
        }
        sqlx::query("COMMIT").execute(self.connection()?).await.map_err(store_error)?;
        self.finished = true;
        if self.owes {
            self.nudge.notify_one();
        }
        self.writer.next_due = self.next_due;
        self.writer.in_transaction = false;
        self.writer.latest = self.writer.latest.max(self.latest);
        Ok(())
    }
}

/// The earliest bound of any timer.
pub(super) async fn next_due(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    sqlx::query_scalar(sql::NEXT_DUE)
        .bind(i64::MAX)
        .fetch_one(connection)
        .await
        .map_err(store_error)
}
