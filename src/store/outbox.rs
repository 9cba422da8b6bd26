//! What is owed to receivers, as it is kept: the outbox's part of the store.
//!
//! A delivery is due once everything before it in its lane is at an end. Whoever sends leases it
//! first, and records what came of it: both in one transaction, a [`Turn`], so that a dispatcher
//! with much to do commits once for many.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::Notify;

use super::{
    StoreError,
    query::{
        IncidentRef, Listed, Page,
        views::{AlertView, DeliveryView, IncidentView},
    },
};
use crate::domain::{
    changes::Target,
    event::{Severity, closed_enum},
    id::{AlertId, DeliveryId, IncidentId, ReceiverId},
    notify::Reason,
    receiver::ReceiverKind,
    time::Timestamp,
};

closed_enum! {
    /// Where a delivery stands.
    DeliveryState {
        Pending = "pending", Leased = "leased", Delivered = "delivered", Dead = "dead",
    }
}

closed_enum! {
    /// Whether a receiver knows of an incident, or an alert, that is not resolved there.
    Knows { No = "no", Maybe = "maybe", Yes = "yes" }
}

/// How the error of a resolve begins that was not sent because its receiver knew of nothing.
pub const NEVER_TOLD: &str = "never told";

/// A receiver as it was at one version. Never changes.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRevision {
    pub id: ReceiverId,
    pub name: String,
    pub kind: ReceiverKind,
    pub settings: Map<String, Value>,
}

/// What is due at a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueAt {
    /// The number of its row.
    pub receiver: i64,
    /// The earliest that is not at an end and waits for nothing before it.
    pub at: Timestamp,
}

/// A delivery that is ours to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Leased {
    pub id: DeliveryId,
    pub lane: i64,
    /// The numbers of the receiver's row and version.
    pub receiver: i64,
    pub version: i64,
    /// Its name when it was owed.
    pub name: String,
    /// `None` for a test.
    pub incident: Option<i64>,
    pub alert: Option<i64>,
    pub reason: Reason,
    pub severity: Severity,
    pub wakes: bool,
    /// When it was to be told.
    pub at: Timestamp,
    pub attempts: u32,
    pub failures: u32,
    pub first_attempt_at: Option<Timestamp>,
    pub payload: Option<Value>,
    pub knows: Knows,
    /// What the notifier keeps of the lane.
    pub remote: Option<Value>,
    /// Until when nobody else sends it.
    pub until: Timestamp,
}

/// One try, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRow {
    pub at: Timestamp,
    pub duration_ms: i64,
    pub status: Option<u16>,
    pub error: Option<String>,
    pub request: String,
    pub answer: String,
}

/// What becomes of a delivery after a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Delivered,
    /// It is tried again at this time; `not_before`, if the receiver asked for that.
    Again {
        at: Timestamp,
        not_before: Option<Timestamp>,
    },
    Dead,
}

/// What came of a leased delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub delivery: DeliveryId,
    pub lane: i64,
    pub receiver: i64,
    pub incident: Option<i64>,
    pub attempt: Option<AttemptRow>,
    /// How many tries there are now, and how many of them failed.
    pub attempts: u32,
    pub failures: u32,
    pub first_attempt_at: Option<Timestamp>,
    pub next: Next,
    /// To be sent again as it is.
    pub payload: Option<Value>,
    pub knows: Knows,
    pub remote: Option<Value>,
}

/// How many deliveries of a receiver are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    pub receiver: i64,
    pub most: usize,
    /// If none is due, one that waits after a failure does: the receiver is to be tried.
    pub early: bool,
}

/// One transaction of a dispatcher.
#[derive(Debug, Default)]
pub struct Turn<'a> {
    pub now: Timestamp,
    /// Who leases.
    pub worker: &'a str,
    /// Until when.
    pub until: Timestamp,
    pub done: &'a [Recorded],
    /// Receivers that are up again: what waited for that is due now.
    pub up: &'a [i64],
    pub wanted: &'a [Want],
}

/// What there is to say of a delivery's incident and alerts.
#[derive(Debug)]
pub struct Subject {
    pub incident: IncidentView,
    /// Open ones first, then in the order of their opening.
    pub alerts: Vec<AlertView>,
    pub about: Option<AlertView>,
}

/// What waits for a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// By its name now, or its last one.
    pub receiver: String,
    pub pending: i64,
    /// When the oldest was to be told.
    pub oldest: Option<Timestamp>,
}

/// A delivery that died, for whoever deals with that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub id: DeliveryId,
    pub receiver: ReceiverId,
    pub name: String,
    pub incident: Option<IncidentId>,
    pub alert: Option<AlertId>,
    pub reason: Reason,
    /// Why, in words.
    pub error: Option<String>,
}

/// What a delivery has to be. Within one member one value has to fit, and all members have to; an
/// empty member fits everything.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    pub states: Vec<DeliveryState>,
    /// By the name that it had when it was owed, or by id.
    pub receivers: Vec<String>,
    pub incidents: Vec<IncidentRef>,
}

/// What came of retrying by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    Queued,
    NotFound,
    /// It is not dead.
    NotDead,
}

/// The outbox's part of the store.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Is notified when something new may be due.
    fn nudge(&self) -> Arc<Notify>;

    /// Gives back what nobody can be sending any more: all leases, on a database of one process.
    async fn release(&self, now: Timestamp) -> Result<(), StoreError>;

    /// The earliest that is due at each receiver.
    async fn due(&self) -> Result<Vec<DueAt>, StoreError>;

    /// Records and leases.
    async fn turn(&self, turn: &Turn<'_>) -> Result<Vec<Leased>, StoreError>;

    /// A receiver as it was at a version.
    async fn revision(
        &self,
        receiver: i64,
        version: i64,
    ) -> Result<Option<StoredRevision>, StoreError>;

    /// What each is about, in their order; `None` if that is gone.
    async fn subjects(&self, of: &[Leased]) -> Result<Vec<Option<Subject>>, StoreError>;

    /// Receivers that have, or ever had, this name or id.
    async fn receivers_called(&self, name_or_id: &str) -> Result<Vec<ReceiverId>, StoreError>;

    /// Whether a receiver was ever to be told of an incident, or of an alert on its own.
    async fn was_told(&self, receiver: ReceiverId, of: Target) -> Result<bool, StoreError>;

    /// Queues a dead delivery again, and the resolve behind it.
    async fn retry(&self, id: DeliveryId, now: Timestamp) -> Result<Retried, StoreError>;

    /// What waits, by receiver.
    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError>;

    /// Deaths that were not dealt with yet, oldest first, a few.
    async fn dead_letters(&self) -> Result<Vec<DeadLetter>, StoreError>;

    /// They have been.
    async fn dealt_with(&self, dead: &[DeliveryId]) -> Result<(), StoreError>;

    /// Which receivers, by name, have dead deliveries: of incidents that are open, or that died
    /// since then.
    async fn receivers_with_dead(&self, since: Timestamp) -> Result<Vec<String>, StoreError>;

    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        page: Page,
    ) -> Result<Listed<DeliveryView>, StoreError>;

    /// With all attempts.
    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError>;
}
