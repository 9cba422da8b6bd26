//! What is kept: one contract, batch-sized, for every database.
//!
//! A batch is begun, loaded, saved and committed; between load and save the pure core decides.
//! Nothing here decides anything about alerts. Reading for people is in [`query`].

pub mod decide;
pub mod outbox;
pub mod query;
pub mod sqlite;

use std::fmt::Debug;

use async_trait::async_trait;

use crate::domain::{
    changes::Changes,
    configuration::{Audit, Configuration, Refused},
    id::Sequences,
    loading::{LoadKeys, Loaded},
    routing::Directory,
    service::Gap,
    time::Timestamp,
};

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing can be written or read now; the same may go well later.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// This very statement cannot be carried out, whenever it is tried.
    #[error("the database refuses the statement")]
    Refused(#[source] sqlx::Error),
    /// A row does not mean what it must.
    #[error("the database holds a damaged value in {table}.{column}: {detail}")]
    Corrupt { table: &'static str, column: &'static str, detail: String },
    /// The file cannot be used at all, and what to do about it.
    #[error("{0}")]
    Unusable(String),
}

/// The one database of a gateway. Reading for people is [`query::Reads`], sending [`outbox::Outbox`].
#[async_trait]
pub trait Store: query::Reads + outbox::Outbox + Send + Sync + Debug {
    /// Starts the transaction of a batch. On SQLite there is one at a time.
    async fn begin(&self) -> Result<Box<dyn Unit>, StoreError>;

    /// The whole configuration, as committed, but for what is long over at `now`.
    async fn directory(&self, version: u64, now: Timestamp) -> Result<Directory, StoreError>;

    /// The next sequence numbers.
    async fn sequences(&self) -> Result<Sequences, StoreError>;

    /// The gateway starts at `now`: notes for how long it was down, if that was long.
    async fn started(&self, now: Timestamp) -> Result<Option<Gap>, StoreError>;

    /// Does a bounded piece of background work; says whether more is waiting.
    async fn maintain(&self, step: Maintenance) -> Result<Progress, StoreError>;

    /// Whether a row could be written now. Leaves nothing behind.
    async fn probe(&self) -> Result<(), StoreError>;

    /// Counts for the gauges at start: of open alerts by service and severity, of open incidents by
    /// service and status, and of open alerts that flap.
    async fn open_counts(&self) -> Result<OpenCounts, StoreError>;

    /// Size of the database in bytes, files beside it included.
    async fn size_bytes(&self) -> Result<u64, StoreError>;

    /// Ends all connections, writing back what is pending.
    async fn close(&self);
}

/// The transaction of one batch. Dropped without a commit it leaves nothing.
#[async_trait]
pub trait Unit: Send {
    /// Everything the batch will look at, with one statement a table.
    async fn load(&mut self, keys: &LoadKeys) -> Result<Loaded, StoreError>;

    /// Writes the changes, with few and wide statements.
    async fn save(&mut self, changes: &Changes) -> Result<(), StoreError>;

    /// Carries out changes of the configuration in their order, each with its audit row.
    async fn configure(
        &mut self,
        changes: &[(Configuration, Audit)],
    ) -> Result<Result<(), Refused>, StoreError>;

    /// Returns once everything is on disk.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// One kind of background work on the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// Puts the next texts into the full-text index.
    IndexTexts,
    PurgeEvents {
        before: Timestamp,
    },
    PurgeAlerts {
        before: Timestamp,
    },
    PurgeChanges {
        before: Timestamp,
    },
    /// Notes that the gateway runs, so that the next start knows how long it did not.
    Alive {
        now: Timestamp,
    },
    /// Ids of messages that came before then.
    PurgeSentIds {
        before: Timestamp,
    },
    /// Keys that nothing was heard of since then.
    PurgeKeys {
        before: Timestamp,
    },
    /// Inhibitors without a source since then.
    PurgeInhibitors {
        before: Timestamp,
    },
    /// Deliveries that were decided before then and are at an end.
    PurgeDeliveries {
        before: Timestamp,
    },
    /// Templates of services that are gone.
    PurgeTemplates,
    /// Gives free pages back to the file system.
    Vacuum,
}

/// What a piece of background work came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows indexed or deleted.
    pub rows: u64,
    /// There is more to do at once.
    pub more: bool,
}

/// Counts by service name and a second label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenCounts {
    pub alerts: Vec<(String, crate::domain::event::Severity, i64)>,
    pub incidents: Vec<(String, crate::domain::alert::Status, i64)>,
    /// Open alerts whose key flaps.
    pub flapping: i64,
}

impl OpenCounts {
    /// As the gauges take them.
    pub fn alerts_by_label(&self) -> Vec<(&str, &'static str, i64)> {
        self.alerts.iter().map(|(name, s, count)| (name.as_str(), s.as_str(), *count)).collect()
    }

    /// As the gauges take them.
    pub fn incidents_by_label(&self) -> Vec<(&str, &'static str, i64)> {
        self.incidents.iter().map(|(name, s, count)| (name.as_str(), s.as_str(), *count)).collect()
    }
}
