//! Deliveries: what is owed to one receiver, written with the decision that owes it.
//!
//! The core only says that something is owed, through which revision of the receiver, and in which
//! lane; what becomes of it is the outbox's, and nothing here ever looks at that.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    event::{Severity, closed_enum},
    id::{AlertId, DeliveryId, IncidentId, ReceiverId, ServiceId},
    key::DedupKey,
    notify::Reason,
    time::Timestamp,
};

closed_enum! {
    /// What a receiver is told of: an incident as a whole, each of its alerts, or each under the
    /// key of its source.
    Each { Incident = "incident", Alert = "alert", Key = "key" }
}

/// A receiver as it is at one version. What was told through one is resolved through it, whatever
/// becomes of the receiver meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    pub receiver: ReceiverId,
    pub version: i64,
    pub each: Each,
}

/// An alert that a receiver was told of on its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldOf {
    pub receiver: Arc<str>,
    pub revision: Revision,
    /// The highest that it was told.
    pub severity: Severity,
    /// It was told that it is acknowledged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acknowledged: bool,
}

/// Something that is owed to a receiver from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    pub id: DeliveryId,
    /// When it is due.
    pub at: Timestamp,
    /// `None` for a test.
    pub service_id: Option<ServiceId>,
    pub incident_id: Option<IncidentId>,
    /// Where the receiver is told of each alert.
    pub alert_id: Option<AlertId>,
    pub receiver: Arc<str>,
    pub revision: Revision,
    pub reason: Reason,
    pub severity: Severity,
    /// It was told that it is acknowledged, and it is not any more.
    pub wakes: bool,
    pub lane: i64,
}

/// What a lane is about: within one, everything goes out in the order in which it was decided.
#[derive(Clone, Copy, Debug)]
pub enum Lane<'a> {
    Incident(IncidentId),
    Alert(AlertId),
    /// Under the source's own key, which outlives incidents and alerts.
    Key(&'a DedupKey),
    /// A test, which waits for nothing.
    Test(DeliveryId),
}

impl Lane<'_> {
    /// The number of the lane: a hash, and where two have the same they wait for each other.
    pub fn number(self, receiver: ReceiverId) -> i64 {
        let hash = Sha256::new().chain_update(receiver.uuid().as_bytes());
        let hash = match self {
            Self::Incident(id) => hash.chain_update(b"i").chain_update(id.uuid().as_bytes()),
            Self::Alert(id) => hash.chain_update(b"a").chain_update(id.uuid().as_bytes()),
            Self::Key(key) => hash.chain_update(b"k").chain_update(key.as_str()),
            Self::Test(id) => hash.chain_update(b"t").chain_update(id.uuid().as_bytes()),
        };
        let bytes: [u8; 32] = hash.finalize().into();
        bytes.iter().take(8).fold(0, |number, byte| number << 8 | i64::from(*byte))
    }
}

impl Reason {
    /// Whether a newer message of these says all that this one would.
    pub fn is_folded(self) -> bool {
        match self {
            Self::AlertsAdded | Self::SeverityRaised | Self::Repeat => true,
            Self::Opened
            | Self::Reopened
            | Self::Storm
            | Self::Flapping
            | Self::Acknowledged
            | Self::Resolved
            | Self::Test => false,
        }
    }

    /// What of a receiver's backlog goes first: resolves, then what opens, then the rest.
    pub fn rank(self) -> i64 {
        match self {
            Self::Resolved | Self::Test => 0,
            Self::Opened | Self::Reopened => 1,
            Self::SeverityRaised
            | Self::Storm
            | Self::Flapping
            | Self::Repeat
            | Self::AlertsAdded
            | Self::Acknowledged => 2,
        }
    }
}
