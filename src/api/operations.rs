//! For those who run the gateway: is it alive, is it ready, what does it count.

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::{Api, error};

/// Adds `/livez` and `/readyz`.
pub fn health_routes(config: &mut web::ServiceConfig) {
    for (path, handler) in [("/livez", true), ("/readyz", false)] {
        let resource = web::resource(path);
        config.service(if handler {
            resource.route(web::get().to(livez)).route(web::head().to(livez))
        } else {
            resource.route(web::get().to(readyz)).route(web::head().to(readyz))
        });
    }
}

/// Adds `/metrics`.
pub fn metrics_routes(config: &mut web::ServiceConfig) {
    config.service(web::resource("/metrics").route(web::get().to(metrics)));
}

/// The process serves.
async fn livez() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "alive"}))
}

/// Events can be stored. Never unready because of anything behind the gateway.
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

async fn metrics(api: web::Data<Api>) -> HttpResponse {
    match api.metrics.render() {
        Ok(text) => HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(text),
        Err(cause) => error::not_ready(&cause.to_string()),
    }
}
