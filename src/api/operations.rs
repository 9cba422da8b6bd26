//! For those who run the gateway: is it alive, is it ready, what does it count.

use actix_web::{HttpResponse, web};
use serde_json::json;
use utoipa::OpenApi;

use super::{
    Api, error,
    table::{self, Call},
};

/// Always on the main listener.
pub(super) const HEALTH: &[Call] =
    &[Call::get("/livez", || web::to(livez)), Call::get("/readyz", || web::to(readyz))];

/// On the main listener unless they have one of their own.
pub(super) const METRICS: &[Call] = &[Call::get("/metrics", || web::to(metrics))];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(livez, readyz, metrics))]
pub(super) struct Documented;

/// Adds `/livez` and `/readyz`.
pub fn health_routes(config: &mut web::ServiceConfig) {
    table::mount(config, HEALTH);
}

/// Adds `/metrics`.
pub fn metrics_routes(config: &mut web::ServiceConfig) {
    table::mount(config, METRICS);
}

/// Whether the process serves
#[utoipa::path(
    get, path = "/livez", tag = "operations", operation_id = "get_livez",
    responses((status = 200, description = "It does", body = Object,
        example = json!({"status": "alive"}))),
)]
async fn livez() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "alive"}))
}

/// Whether events can be stored
///
/// Never unready because of anything behind the gateway.
#[utoipa::path(
    get, path = "/readyz", tag = "operations", operation_id = "get_readyz",
    responses(
        (status = 200, description = "They can", body = Object,
            example = json!({"status": "ready"})),
        (status = 503, description = "They cannot, and why", body = Object,
            example = json!({"status": "unavailable", "reason": "draining"})),
    ),
)]
async fn readyz(api: web::Data<Api>) -> HttpResponse {
    let reason = if api.is_leaving() {
        Some("draining")
    } else if !api.health.is_writable() {
        Some("the database cannot be written")
    } else {
        None
    };
    match reason {
        None => HttpResponse::Ok().json(json!({"status": "ready"})),
        Some(reason) => error::not_ready(reason),
    }
}

/// Metrics, for Prometheus
///
/// Not here if the setting `metrics.listen` gives them an address of their own.
#[utoipa::path(
    get, path = "/metrics", tag = "operations", operation_id = "get_metrics",
    responses((status = 200, description = "Prometheus text format", body = String,
        content_type = "text/plain")),
)]
async fn metrics(api: web::Data<Api>) -> HttpResponse {
    match api.metrics.render() {
        Ok(text) => HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(text),
        Err(cause) => error::not_ready(&cause.to_string()),
    }
}
