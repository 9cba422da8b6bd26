//! "Why did my alert not arrive?": the last rejections of each known integration.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{
    id::IntegrationId,
    time::{Span, Timestamp},
};

/// Rejections kept for each integration.
const KEPT: usize = 100;
/// At most one line of log per integration in this time.
const WARN_EVERY: Span = Span::from_secs(60);

/// One request that was not accepted.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Rejection)]
pub struct RejectionNote {
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `v1`, `v2`, `change` or `guance`.
    #[schema(example = "v2")]
    pub api: &'static str,
    /// `invalid`, `unreadable`, `too_large`, `throttled` or `unavailable`.
    #[schema(example = "invalid")]
    pub reason: &'static str,
    /// What the sender was told.
    pub errors: Vec<String>,
}

#[derive(Debug, Default)]
struct Ring {
    notes: VecDeque<RejectionNote>,
    warned_at: Option<Timestamp>,
}

/// The rings of all integrations: in memory, for finding out what is wrong now.
#[derive(Debug, Default)]
pub struct Rejections {
    rings: Mutex<HashMap<IntegrationId, Ring>>,
}

impl Rejections {
    /// Keeps a note; warns if this integration was not warned about lately.
    pub fn note(
        &self,
        integration: IntegrationId,
        name: &str,
        note: RejectionNote,
        request_id: &str,
    ) {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = rings.entry(integration).or_default();
        if ring.warned_at.is_none_or(|at| note.at.since(at) >= WARN_EVERY) {
            ring.warned_at = Some(note.at);
            tracing::warn!(
                integration.name = name,
                request.id = request_id,
                api = note.api,
                reason = note.reason,
                errors = note.errors.join("; "),
                "rejected a request; GET /api/v1/integrations/{integration} shows the last ones"
            );
        }
        if ring.notes.len() == KEPT {
            ring.notes.pop_back();
        }
        ring.notes.push_front(note);
    }

    /// The last rejections, newest first.
    pub fn of(&self, integration: IntegrationId) -> Vec<RejectionNote> {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        rings.get(&integration).map(|ring| ring.notes.iter().cloned().collect()).unwrap_or_default()
    }

    /// Drops the ring of an integration that is gone.
    pub fn forget(&self, integration: IntegrationId) {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner).remove(&integration);
    }
}
