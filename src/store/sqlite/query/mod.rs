//! Reading for people, on SQLite.
//!
//! A list is read in two steps of one short transaction: first the numbers of its rows are found,
//! by whichever way looks at the fewest ([`alerts`], [`incidents`] and [`events`] choose), then what
//! is shown of them is read. Nothing here is indexed for searching but the words of texts.

mod alerts;
pub(super) mod deliveries;
mod events;
mod incidents;
mod logs;
mod noise;
mod replay;
mod search;
mod silences;
mod similar;
mod standing;
mod subject;
mod subjects;
#[cfg(test)]
mod tests;
mod walk;

pub(super) use self::subjects::subjects;

use std::collections::BTreeMap;

use async_trait::async_trait;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    SqliteStore, StoreError,
    maintenance::{self, Log},
    store_error,
};
use crate::{
    domain::{
        id::{AlertId, ChangeId, EventId, IncidentId, IntegrationId, ServiceId, SilenceId},
        matcher::Match,
        time::{Span, Timestamp},
    },
    store::query::{
        AlertFilter, ChangeFilter, EventFilter, IncidentFilter, IncidentRef, Listed, MatchedAlerts,
        NoiseFilter, Page, Reads, SilenceFilter, StoredEvent, StoredSilence, StoredSpan,
        views::{
            AlertView, AuditView, ChangeView, EventView, IncidentView, NoiseView, SimilarIncident,
            TimelineView,
        },
    },
};
use walk::Found;

/// A page ends early when its bodies or details have as many bytes, so that 500 of the largest
/// events are not a quarter of a gigabyte of memory.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// By how much rows can lie out of the order of their times: each service has its own clock.
const OUT_OF_ORDER: Span = Span::from_secs(10);

/// The numbers between which the rows of a time lie, with some to spare. Without times, all.
async fn span(
    connection: &mut SqliteConnection,
    log: Log,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
) -> Result<(i64, i64), StoreError> {
    let (mut low, mut high) = maintenance::bounds(connection, log).await?;
    if let Some(since) = since {
        low = maintenance::first_at(connection, log, since.minus(OUT_OF_ORDER)).await?.max(low);
    }
    if let Some(until) = until {
        high = maintenance::first_at(connection, log, until.plus(OUT_OF_ORDER)).await?.min(high);
    }
    Ok((low, high))
}

/// The numbers of these services, or of all that ever were.
async fn service_seqs(
    connection: &mut SqliteConnection,
    wanted: &[ServiceId],
) -> Result<Vec<i64>, StoreError> {
    if wanted.is_empty() {
        return sqlx::query_scalar("SELECT seq FROM services")
            .fetch_all(connection)
            .await
            .map_err(store_error);
    }
    let mut seqs: Vec<i64> = wanted.iter().map(|id| id.seq()).collect();
    seqs.sort_unstable();
    seqs.dedup();
    Ok(seqs)
}

/// Those of the incidents that there are, by number: an id of foreign origin may carry the number
/// of a row that is not its own. `None` if some were asked for and none is there.
async fn known_incidents(
    connection: &mut SqliteConnection,
    asked: &[IncidentRef],
) -> Result<Option<Vec<IncidentRef>>, StoreError> {
    let mut known = Vec::new();
    for incident in asked {
        let IncidentRef::Id(id) = incident else {
            known.push(*incident);
            continue;
        };
        let stored: Option<Uuid> = sqlx::query_scalar("SELECT id FROM incidents WHERE seq = ?1")
            .bind(id.seq())
            .fetch_optional(&mut *connection)
            .await
            .map_err(store_error)?;
        if stored == Some(id.uuid()) {
            known.push(IncidentRef::Number(id.seq()));
        }
    }
    Ok((asked.is_empty() || !known.is_empty()).then_some(known))
}

/// As [`known_incidents`].
async fn known_alerts(
    connection: &mut SqliteConnection,
    asked: &[AlertId],
) -> Result<Option<Vec<AlertId>>, StoreError> {
    let mut known = Vec::new();
    for id in asked {
        let stored: Option<Uuid> = sqlx::query_scalar("SELECT id FROM alerts WHERE seq = ?1")
            .bind(id.seq())
            .fetch_optional(&mut *connection)
            .await
            .map_err(store_error)?;
        if stored == Some(id.uuid()) {
            known.push(*id);
        }
    }
    Ok((asked.is_empty() || !known.is_empty()).then_some(known))
}

fn nothing<T>(page: Page) -> Listed<T> {
    Listed { items: Vec::new(), next: None, total: page.count.then_some(0) }
}

fn one(seq: i64) -> Found {
    Found { keys: vec![seq], next: None }
}

#[async_trait]
impl Reads for SqliteStore {
    async fn services_called(&self, name_or_id: &str) -> Result<Vec<ServiceId>, StoreError> {
        let id = Uuid::try_parse(name_or_id).ok();
        let found: Vec<Uuid> =
            sqlx::query_scalar("SELECT id FROM services WHERE name = ?1 OR id = ?2")
                .bind(name_or_id)
                .bind(id)
                .fetch_all(&self.readers)
                .await
                .map_err(store_error)?;
        Ok(found.into_iter().map(ServiceId::from_uuid).collect())
    }

    async fn integrations_called(
        &self,
        name_or_id: &str,
    ) -> Result<Vec<IntegrationId>, StoreError> {
        let id = Uuid::try_parse(name_or_id).ok();
        let found: Vec<Uuid> =
            sqlx::query_scalar("SELECT id FROM integrations WHERE name = ?1 OR id = ?2")
                .bind(name_or_id)
                .bind(id)
                .fetch_all(&self.readers)
                .await
                .map_err(store_error)?;
        Ok(found.into_iter().map(IntegrationId::from_uuid).collect())
    }

    async fn alerts(
        &self,
        filter: &AlertFilter,
        page: Page,
    ) -> Result<Listed<AlertView>, StoreError> {
        if alerts::fits_nothing(filter) {
            return Ok(nothing(page));
        }
        let mut transaction = self.readers.begin().await.map_err(store_error)?;
        let Some(incidents) = known_incidents(&mut transaction, &filter.incidents).await? else {
            return Ok(nothing(page));
        };
        let filter = &AlertFilter { incidents, ..filter.clone() };
        let mut found = alerts::find(&mut transaction, filter, page).await?;
        let items = alerts::views(&mut transaction, &mut found).await?;
        transaction.commit().await.map_err(store_error)?;
        let total = if page.count {
            // One transaction: what is indexed meanwhile is not counted twice.
            let mut transaction = self.readers.begin().await.map_err(store_error)?;
            alerts::count(&mut transaction, filter).await?
        } else {
            None
        };
        Ok(Listed { items, next: found.next, total })
    }

    async fn alert(&self, id: AlertId) -> Result<Option<AlertView>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        let views = alerts::views(&mut connection, &mut one(id.seq())).await?;
        Ok(views.into_iter().find(|view| view.id == id))
    }

    async fn alert_timeline(
        &self,
        id: AlertId,
        page: Page,
    ) -> Result<Listed<TimelineView>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        logs::timeline(&mut connection, &logs::OF_ALERT, id.seq(), page).await
    }

    async fn incidents(
        &self,
        filter: &IncidentFilter,
        page: Page,
    ) -> Result<Listed<IncidentView>, StoreError> {
        if alerts::fits_nothing(&filter.alert) {
            return Ok(nothing(page));
        }
        let mut transaction = self.readers.begin().await.map_err(store_error)?;
        let Some(incidents) = known_incidents(&mut transaction, &filter.incidents).await? else {
            return Ok(nothing(page));
        };
        let filter = &IncidentFilter { incidents, ..filter.clone() };
        let found = incidents::find(&mut transaction, filter, page).await?;
        let items = incidents::views(&mut transaction, &found.keys).await?;
        transaction.commit().await.map_err(store_error)?;
        let total = if page.count {
            // One transaction: what is indexed meanwhile is not counted twice.
            let mut transaction = self.readers.begin().await.map_err(store_error)?;
            incidents::count(&mut transaction, filter).await?
        } else {
            None
        };
        Ok(Listed { items, next: found.next, total })
    }

    async fn incident(&self, incident: IncidentRef) -> Result<Option<IncidentView>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        let views = incidents::views(&mut connection, &[incident.seq()]).await?;
        Ok(views.into_iter().find(|view| match incident {
            IncidentRef::Id(id) => view.id == id,
            IncidentRef::Number(number) => view.number == number,
        }))
    }

    async fn incident_timeline(
        &self,
        id: IncidentId,
        page: Page,
    ) -> Result<Listed<TimelineView>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        logs::timeline(&mut connection, &logs::OF_INCIDENT, id.seq(), page).await
    }

    async fn told_of_open(&self) -> Result<BTreeMap<(ServiceId, String), u64>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        incidents::told_of_open(&mut connection).await
    }

    async fn note(&self, actor: &str, text: &str) -> Result<Option<TimelineView>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        logs::note(&mut connection, actor, text).await
    }

    async fn similar_incidents(&self, id: IncidentId) -> Result<Vec<SimilarIncident>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        similar::similar(&mut connection, id.seq()).await
    }

    async fn events(
        &self,
        filter: &EventFilter,
        page: Page,
    ) -> Result<Listed<EventView>, StoreError> {
        if alerts::fits_nothing(&filter.event) {
            return Ok(nothing(page));
        }
        let mut transaction = self.readers.begin().await.map_err(store_error)?;
        let incidents = known_incidents(&mut transaction, &filter.event.incidents).await?;
        let alerts = known_alerts(&mut transaction, &filter.alerts).await?;
        let (Some(incidents), Some(alerts)) = (incidents, alerts) else {
            return Ok(nothing(page));
        };
        let event = AlertFilter { incidents, ..filter.event.clone() };
        let filter = &EventFilter { event, alerts, ..filter.clone() };
        let mut found = events::find(&mut transaction, filter, page).await?;
        let items = events::views(&mut transaction, &mut found).await?;
        transaction.commit().await.map_err(store_error)?;
        let total = if page.count {
            // One transaction: what is indexed meanwhile is not counted twice.
            let mut transaction = self.readers.begin().await.map_err(store_error)?;
            events::count(&mut transaction, filter).await?
        } else {
            None
        };
        Ok(Listed { items, next: found.next, total })
    }

    async fn event(&self, id: EventId) -> Result<Option<EventView>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        let views = events::views(&mut connection, &mut one(id.seq())).await?;
        Ok(views.into_iter().find(|view| view.id == id))
    }

    async fn changes(
        &self,
        filter: &ChangeFilter,
        page: Page,
    ) -> Result<Listed<ChangeView>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        logs::changes(&mut connection, filter, page).await
    }

    async fn change(&self, id: ChangeId) -> Result<Option<ChangeView>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        let views = logs::change_views(&mut connection, &[id.seq()]).await?;
        Ok(views.into_iter().find(|view| view.id == id))
    }

    async fn noise(&self, filter: &NoiseFilter) -> Result<NoiseView, StoreError> {
        let mut transaction = self.readers.begin().await.map_err(store_error)?;
        noise::noise(&mut transaction, filter).await
    }

    async fn stored_span(&self, since: Timestamp) -> Result<StoredSpan, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        replay::span(&mut connection, since).await
    }

    async fn stored_events(
        &self,
        span: StoredSpan,
        service: Option<ServiceId>,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        let service = service.map(ServiceId::seq);
        replay::events(&mut connection, span.first, span.end, service, limit).await
    }

    async fn silences(
        &self,
        filter: &SilenceFilter,
        page: Page,
    ) -> Result<Listed<StoredSilence>, StoreError> {
        let mut transaction = self.readers.begin().await.map_err(store_error)?;
        silences::list(&mut transaction, filter, page).await
    }

    async fn silence(&self, id: SilenceId) -> Result<Option<StoredSilence>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        silences::one(&mut connection, id).await
    }

    async fn alerts_matching(
        &self,
        matches: &Match,
        service: Option<ServiceId>,
        since: Timestamp,
    ) -> Result<MatchedAlerts, StoreError> {
        let mut transaction = self.readers.begin().await.map_err(store_error)?;
        let limits = silences::PREVIEW;
        silences::alerts_matching(&mut transaction, matches, service, since, limits).await
    }

    async fn audit(&self, page: Page) -> Result<Listed<AuditView>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        logs::audit(&mut connection, page).await
    }
}
