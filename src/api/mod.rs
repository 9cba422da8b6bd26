//! HTTP in: emitters, the JSON API, operations.
//!
//! Handlers decode, call, render. What they write they write through [`Ingest`]; what they read
//! they read from the store. [`fn@routes`] is the one route table, used by the server and by tests.

pub mod alerts;
mod audit;
pub mod auth;
pub mod body;
pub mod changes;
pub mod deliveries;
pub mod error;
mod etag;
pub mod events;
pub mod explain;
pub mod inbound;
pub mod incidents;
mod inhibition_rules;
mod integrations;
mod listing;
mod members;
pub mod middleware;
pub mod openapi;
pub mod operations;
mod page;
pub mod params;
mod policy;
#[cfg(test)]
mod reading_tests;
mod receivers;
pub mod rejections;
pub mod render;
mod replay;
mod routes;
mod services;
mod silences;
pub mod stats;
pub mod table;
#[cfg(test)]
mod tests;
mod tokens;
pub mod webhooks;

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::Semaphore;

use crate::{
    domain::id::IntegrationId,
    ingest::{Ingest, committer::DatabaseHealth},
    notify::Guard,
    outbox::Outlook,
    store::Store,
    telemetry::metrics::Metrics,
};

/// Largest body of a call of the JSON API, in bytes: a service with some hundred rules.
pub const API_BODY_BYTES: usize = 1024 * 1024;

/// Longer than one try of a delivery takes, and shorter than what proxies wait.
const TEST_WAIT: Duration = Duration::from_secs(25);

/// What handlers work with.
#[derive(Debug)]
pub struct Api {
    pub ingest: Ingest,
    pub store: Arc<dyn Store>,
    pub metrics: Arc<Metrics>,
    pub health: Arc<DatabaseHealth>,
    pub rejections: Rejections,
    pub token_uses: TokenUses,
    pub webhooks: webhooks::Seen,
    pub limits: Limits,
    /// Looks a variable of the environment up: where policies say that keys are.
    pub environment: fn(&str) -> Option<String>,
    /// Base of the links shown, without a slash at the end.
    pub base_url: String,
    pub phase: Arc<Phase>,
    pub outlook: Outlook,
    /// Which addresses receivers may have.
    pub guard: Guard,
}

pub use rejections::Rejections;
pub use tokens::TokenUses;

/// Bounds on what emitters may send.
#[derive(Debug)]
pub struct Limits {
    pub body_bytes: usize,
    pub body_timeout: Duration,
    /// Per integration; `None`: unlimited.
    pub rate: Option<DefaultKeyedRateLimiter<IntegrationId>>,
    /// A replay takes a core, so few run at a time.
    pub replays: Arc<Semaphore>,
    /// How long a test of a receiver is waited for.
    pub test_wait: Duration,
}

impl Limits {
    pub fn new(
        body_bytes: usize,
        body_timeout: Duration,
        events_per_minute: Option<NonZeroU32>,
    ) -> Self {
        // Only known integrations get a state, so their number bounds the memory.
        let rate = events_per_minute.map(|n| RateLimiter::keyed(Quota::per_minute(n)));
        let replays = Arc::new(Semaphore::new(1));
        Self { body_bytes, body_timeout, rate, replays, test_wait: TEST_WAIT }
    }
}

/// How far the gateway is on its way out.
#[derive(Debug, Default)]
pub struct Phase(AtomicU8);

impl Phase {
    /// Not ready for new traffic, which is still served.
    pub fn leave(&self) {
        self.0.fetch_max(1, Ordering::Relaxed);
    }

    /// What still comes in on open connections is turned away.
    pub fn drain(&self) {
        self.0.fetch_max(2, Ordering::Relaxed);
    }
}

impl Api {
    /// What stands before every path when a proxy serves the gateway below one; usually nothing.
    pub fn path_prefix(&self) -> &str {
        let after_scheme = self.base_url.find("://").map_or(0, |at| at + 3);
        let path = self.base_url[after_scheme..].find('/').map(|at| after_scheme + at);
        path.map_or("", |at| self.base_url[at..].trim_end_matches('/'))
    }

    pub fn is_leaving(&self) -> bool {
        self.phase.0.load(Ordering::Relaxed) >= 1
    }

    pub fn is_draining(&self) -> bool {
        self.phase.0.load(Ordering::Relaxed) >= 2
    }
}

/// The calls of the JSON API and of operations, all described in [`openapi`].
pub const TABLES: [&[table::Call]; 21] = [
    alerts::CALLS,
    incidents::CALLS,
    events::CALLS,
    changes::CALLS,
    explain::CALLS,
    stats::CALLS,
    services::CALLS,
    integrations::CALLS,
    silences::CALLS,
    routes::CALLS,
    receivers::CALLS,
    deliveries::CALLS,
    inhibition_rules::CALLS,
    policy::CALLS,
    replay::CALLS,
    tokens::CALLS,
    audit::CALLS,
    openapi::CALLS,
    page::CALLS,
    webhooks::CALLS,
    operations::HEALTH,
];

/// The whole route table; `with_metrics` unless they have a listener of their own.
pub fn routes(config: &mut web::ServiceConfig, with_metrics: bool) {
    config.app_data(web::PathConfig::default().error_handler(|_, _| {
        // Only a path that is no UTF-8 comes here.
        error::ApiError::NotFound("resource").into()
    }));
    inbound::routes(config);
    for calls in TABLES {
        table::mount(config, calls);
    }
    page::assets(config, with_metrics);
    if with_metrics {
        operations::metrics_routes(config);
    }
    config.default_service(web::to(not_found));
}

/// Nothing is at this path: in the words of the API below `/api`, else in an emitter's.
async fn not_found(request: HttpRequest) -> HttpResponse {
    if request.path() == "/api" || request.path().starts_with("/api/") {
        return error::ApiError::NotFound("resource").error_response();
    }
    inbound::not_found()
}
