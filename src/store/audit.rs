//! Reading the audit log.

use serde_json::Value;
use uuid::Uuid;

use crate::domain::{id::AuditId, time::Timestamp};

/// One change of the configuration, as it was written.
#[derive(Clone, Debug)]
pub struct AuditRow {
    pub id: AuditId,
    pub at: Timestamp,
    pub actor: String,
    pub address: Option<String>,
    pub action: String,
    pub object_kind: String,
    pub object_id: Uuid,
    pub object_name: String,
    pub detail: Value,
}
