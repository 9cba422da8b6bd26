//! Pages for people: what this is and how to send a first event, and the description to try out.
//!
//! Nothing on them comes from elsewhere, and nobody needs a token to read them: they say nothing
//! that is not public. The console will take the place of the first one.

use std::sync::{Arc, OnceLock};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::header::{self, ContentType},
    web,
};
use utoipa::OpenApi;
use utoipa_swagger_ui::Config;

use super::{
    Api, error,
    table::{self, Call},
};

pub(super) const CALLS: &[Call] =
    &[Call::get("/", || web::to(welcome)), Call::get("/docs", || web::to(docs))];

/// What the pages are made of; not described, because nobody calls them by hand.
const ASSETS: &[Call] = &[
    Call::get("/assets/page.css", || web::to(stylesheet)),
    Call::get("/docs/{file}", || web::to(docs_file)),
];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(welcome, docs))]
pub(super) struct Documented;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const DOCS: &str = include_str!("page/docs.html");

/// A page of text and one stylesheet.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; \
                           form-action 'none'; frame-ancestors 'none'";

/// Swagger UI sets styles from its script and draws icons from `data:`.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' \
                           'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri \
                           'none'; form-action 'none'; frame-ancestors 'none'";

/// The files of Swagger UI that its page needs; the rest of its distribution is not served.
const DOCS_FILES: [&str; 6] = [
    "favicon-32x32.png",
    "index.css",
    "swagger-initializer.js",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "swagger-ui.css",
];

/// What the welcome page can link to.
#[derive(Clone, Copy, Debug)]
struct Shown {
    metrics: bool,
}

/// Adds what the pages are made of.
pub(super) fn assets(config: &mut web::ServiceConfig, with_metrics: bool) {
    config.app_data(web::Data::new(Shown { metrics: with_metrics }));
    table::mount(config, ASSETS);
}

fn guarded(policy: &'static str) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .insert_header(ContentType::html())
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::X_FRAME_OPTIONS, "DENY"))
        .insert_header((header::CACHE_CONTROL, "no-cache"));
    response
}

/// Cached for an hour: an update of the gateway shows soon enough.
fn asset(content_type: &str) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .content_type(content_type)
        .insert_header((header::CACHE_CONTROL, "public, max-age=3600"));
    response
}

/// Show what this is
///
/// A page that says how to send a first event.
#[utoipa::path(
    get, path = "/", tag = "operations", operation_id = "get_welcome",
    responses((status = 200, description = "The page", body = String, content_type = "text/html")),
)]
async fn welcome(api: web::Data<Api>, shown: web::Data<Shown>) -> HttpResponse {
    let (state, words) = if api.is_leaving() {
        ("down", "draining")
    } else if api.health.is_writable() {
        ("up", "ready")
    } else {
        ("down", "the database cannot be written")
    };
    let metrics = if shown.metrics { METRICS_LINK } else { "" };
    let page = PAGE
        .replace("{{metrics}}", metrics)
        .replace("{{version}}", env!("CARGO_PKG_VERSION"))
        .replace("{{state}}", state)
        .replace("{{words}}", words)
        .replace("{{prefix}}", &escaped(api.path_prefix()))
        .replace("{{base_url}}", &escaped(&api.base_url));
    guarded(PAGE_POLICY).body(page)
}

const METRICS_LINK: &str = "<li><a href=\"{{prefix}}/metrics\"><b>Metrics</b> <span>for \
                            Prometheus</span></a></li>";

/// Show this description to try it out
///
/// Swagger UI; works without any other site.
#[utoipa::path(
    get, path = "/docs", tag = "operations", operation_id = "get_docs",
    responses((status = 200, description = "The page", body = String, content_type = "text/html")),
)]
async fn docs(api: web::Data<Api>) -> HttpResponse {
    // Addresses with the path in front: the page itself stands both at `/docs` and at `/docs/`.
    let page = DOCS.replace("{{prefix}}", &escaped(api.path_prefix()));
    guarded(DOCS_POLICY).body(page)
}

async fn docs_file(api: web::Data<Api>, file: web::Path<String>) -> HttpResponse {
    static CONFIG: OnceLock<Arc<Config<'static>>> = OnceLock::new();
    let Some(file) = DOCS_FILES.into_iter().find(|known| *known == *file) else {
        return super::inbound::not_found();
    };
    let config = CONFIG.get_or_init(|| {
        let description = format!("{}/api/openapi.json", api.path_prefix());
        // The default asks an online validator about every description it shows.
        let config = Config::new([description])
            .validator_url("none")
            .use_base_layout()
            .deep_linking(true)
            .display_request_duration(true)
            .try_it_out_enabled(true)
            .doc_expansion("list")
            .default_models_expand_depth(0);
        Arc::new(config)
    });
    match utoipa_swagger_ui::serve(file, Arc::clone(config)) {
        Ok(Some(file)) => asset(&file.content_type).body(file.bytes.into_owned()),
        Ok(None) => super::inbound::not_found(),
        Err(cause) => error::not_ready(&cause.to_string()),
    }
}

async fn stylesheet() -> HttpResponse {
    asset("text/css; charset=utf-8").body(STYLE)
}

/// Text for between tags and in attributes.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(c),
        }
    }
    safe
}
