//! Reading for people: filtered lists, single things, timelines.
//!
//! Everything is listed newest first by the row's number, which is the order of time and never
//! changes, so a place in a list stays where it is while rows are added. How a list is found is the
//! business of each database; that it is exact is checked on the rows themselves.

pub mod views;

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{
    alert::Status,
    event::{Action, Api, Disposition, Severity},
    id::{AlertId, ChangeId, EventId, IncidentId, IntegrationId, ServiceId, SilenceId},
    matcher::Match,
    search::Query,
    silence::{Silence, SilenceState},
    time::Timestamp,
};
use views::{
    AlertView, AuditView, ChangeView, EventView, IncidentView, NoiseView, SimilarIncident,
    TimelineView,
};

/// A part of the log of events, by the numbers of their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredSpan {
    pub first: i64,
    /// One past the last.
    pub end: i64,
}

/// An event as it was stored, to be decoded and decided again.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    pub seq: i64,
    pub integration_id: IntegrationId,
    pub received_at: Timestamp,
    pub api: Api,
    /// Also one that was made because the event had none.
    pub dedup_key: String,
    /// As received, but for the keys in it.
    pub body: String,
}

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Most items, at least one.
    pub limit: usize,
    /// Only rows with a lower number: where the page before ended.
    pub before: Option<i64>,
    /// The number of all items, whatever the page, is wanted too.
    pub count: bool,
}

/// A part of a list.
#[derive(Debug)]
pub struct Listed<T> {
    pub items: Vec<T>,
    /// Where the next page begins. A page may be short, or empty, and still have a next one: when
    /// what was asked for is rare and looking for it took long.
    pub next: Option<i64>,
    /// The exact number of all items, if it was asked for; `None` also if counting took too long.
    pub total: Option<u64>,
}

/// An incident by its id or its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncidentRef {
    Id(IncidentId),
    Number(i64),
}

impl IncidentRef {
    /// Reads a UUID or a number.
    pub fn parse(text: &str) -> Option<Self> {
        match text.parse::<i64>() {
            Ok(number) if number > 0 => Some(Self::Number(number)),
            Ok(_) => None,
            Err(_) => IncidentId::parse(text).map(Self::Id),
        }
    }

    /// The number of its row.
    pub fn seq(self) -> i64 {
        match self {
            Self::Id(id) => id.seq(),
            Self::Number(number) => number,
        }
    }
}

/// The text of which field has to be equal to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextField {
    DedupKey,
    Source,
    Component,
    Group,
    Class,
}

/// What an alert has to be. Within one member one value has to fit, and all members have to; an
/// empty member fits everything.
#[derive(Clone, Debug, Default)]
pub struct AlertFilter {
    pub status: Vec<Status>,
    pub severity: Vec<Severity>,
    pub services: Vec<ServiceId>,
    pub integrations: Vec<IntegrationId>,
    pub texts: Vec<(TextField, Vec<String>)>,
    /// Silenced or inhibited now.
    pub suppressed: Option<bool>,
    pub incidents: Vec<IncidentRef>,
    pub matches: Match,
    pub q: Vec<Query>,
    /// Of the first event; inclusive.
    pub since: Option<Timestamp>,
    /// Exclusive.
    pub until: Option<Timestamp>,
}

/// What an incident has to be: `own` is its own state, `alert` has to be true of one of its alerts
/// as a whole.
#[derive(Clone, Debug, Default)]
pub struct IncidentFilter {
    pub status: Vec<Status>,
    pub severity: Vec<Severity>,
    pub services: Vec<ServiceId>,
    pub incidents: Vec<IncidentRef>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Status, severity, services, incidents and times in here stay empty.
    pub alert: AlertFilter,
}

/// What an event has to be.
///
/// Severity and texts are those of what the event itself said; an acknowledge or resolve says
/// nothing, and has those that its alert has now. Status and incident are those of its alert now.
/// Service, integration and dedup key are the event's own. An event that found no alert has no
/// texts, but its dedup key is looked at all the same.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    pub event: AlertFilter,
    pub action: Vec<Action>,
    pub api: Vec<Api>,
    pub disposition: Vec<Disposition>,
    pub alerts: Vec<AlertId>,
}

/// What a change event has to be.
#[derive(Clone, Debug, Default)]
pub struct ChangeFilter {
    pub services: Vec<ServiceId>,
    pub integrations: Vec<IntegrationId>,
    pub source: Vec<String>,
    pub q: Vec<Query>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// Which statistics are wanted: of these services, or of all.
#[derive(Clone, Debug)]
pub struct NoiseFilter {
    pub services: Vec<ServiceId>,
    /// Both are widened to whole hours.
    pub since: Timestamp,
    pub until: Timestamp,
}

/// What a silence has to be.
#[derive(Clone, Debug)]
pub struct SilenceFilter {
    /// Any of these at `now`; empty: any.
    pub states: Vec<SilenceState>,
    /// Limited to one of these; empty: also those that are not limited.
    pub services: Vec<ServiceId>,
    pub now: Timestamp,
}

/// A silence, with the name of its service, which may be deleted by now.
#[derive(Clone, Debug)]
pub struct StoredSilence {
    pub silence: Silence,
    pub service: Option<String>,
}

/// Alerts that matchers hold for.
#[derive(Debug)]
pub struct MatchedAlerts {
    /// How many open ones.
    pub open: u64,
    /// The newest of these, at most 50.
    pub newest_open: Vec<AlertView>,
    /// How many that were opened since a time.
    pub recent: u64,
    /// Both numbers are exact; else there are at least as many.
    pub complete: bool,
}

/// Reads what is committed. "Not found" is `None`, also for an id that was never ours.
#[async_trait]
pub trait Reads: Send + Sync {
    /// Services that have, or had when they were deleted, this name or id.
    async fn services_called(&self, name_or_id: &str) -> Result<Vec<ServiceId>, StoreError>;
    /// As [`Reads::services_called`].
    async fn integrations_called(&self, name_or_id: &str)
    -> Result<Vec<IntegrationId>, StoreError>;

    async fn alerts(
        &self,
        filter: &AlertFilter,
        page: Page,
    ) -> Result<Listed<AlertView>, StoreError>;
    async fn alert(&self, id: AlertId) -> Result<Option<AlertView>, StoreError>;
    async fn alert_timeline(
        &self,
        id: AlertId,
        page: Page,
    ) -> Result<Listed<TimelineView>, StoreError>;

    async fn incidents(
        &self,
        filter: &IncidentFilter,
        page: Page,
    ) -> Result<Listed<IncidentView>, StoreError>;
    async fn incident(&self, incident: IncidentRef) -> Result<Option<IncidentView>, StoreError>;
    async fn incident_timeline(
        &self,
        id: IncidentId,
        page: Page,
    ) -> Result<Listed<TimelineView>, StoreError>;
    /// Of how many open incidents of each service each receiver was told, by its name.
    async fn told_of_open(&self) -> Result<BTreeMap<(ServiceId, String), u64>, StoreError>;
    /// The newest note by `actor` that says exactly `text`.
    async fn note(&self, actor: &str, text: &str) -> Result<Option<TimelineView>, StoreError>;
    /// Incidents of the same service, opened in the 30 days before, whose titles are like its own:
    /// the most alike first, at most 20.
    async fn similar_incidents(&self, id: IncidentId) -> Result<Vec<SimilarIncident>, StoreError>;

    async fn events(
        &self,
        filter: &EventFilter,
        page: Page,
    ) -> Result<Listed<EventView>, StoreError>;
    async fn event(&self, id: EventId) -> Result<Option<EventView>, StoreError>;

    async fn changes(
        &self,
        filter: &ChangeFilter,
        page: Page,
    ) -> Result<Listed<ChangeView>, StoreError>;
    async fn change(&self, id: ChangeId) -> Result<Option<ChangeView>, StoreError>;

    /// How much noise there was, and where it came from.
    async fn noise(&self, filter: &NoiseFilter) -> Result<NoiseView, StoreError>;
    /// The part of the log of events from a time on, as it is now.
    async fn stored_span(&self, since: Timestamp) -> Result<StoredSpan, StoreError>;
    /// The first events of a part of the log, oldest first, at most `limit`.
    async fn stored_events(
        &self,
        span: StoredSpan,
        service: Option<ServiceId>,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError>;
    async fn silences(
        &self,
        filter: &SilenceFilter,
        page: Page,
    ) -> Result<Listed<StoredSilence>, StoreError>;
    async fn silence(&self, id: SilenceId) -> Result<Option<StoredSilence>, StoreError>;
    /// What `matches` holds for in a service, or in all: of the open alerts, and of those that were
    /// opened since then. Looks for about a second.
    async fn alerts_matching(
        &self,
        matches: &Match,
        service: Option<ServiceId>,
        since: Timestamp,
    ) -> Result<MatchedAlerts, StoreError>;

    async fn audit(&self, page: Page) -> Result<Listed<AuditView>, StoreError>;
}
