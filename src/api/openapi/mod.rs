//! The description of everything served, as OpenAPI 3.1: `openapi.json`, `/api/openapi.json`.
//!
//! Each file of resources documents its own calls; they are put together here, and what is the same
//! for all of them is added once: security, the usual problems.

pub mod inbound;
pub mod policy;
pub mod schemas;

use std::sync::OnceLock;

use actix_web::{HttpResponse, web};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        self, ContentBuilder, Ref, RefOr, ResponseBuilder,
        path::{Operation, ParameterIn},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::{
    Api, alerts, audit, changes, deliveries, events, explain, incidents, inhibition_rules,
    integrations, operations, page, policy as policy_file, receivers, replay, routes, services,
    silences, stats, table::Call, tokens, webhooks,
};

pub(super) const CALLS: &[Call] = &[Call::get("/api/openapi.json", || web::to(serve))];

const SCHEME: &str = "token";

/// What is said once, and what this file serves.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "dutygate",
        description = "Self-hosted, PagerDuty-compatible event gateway: keeps what it accepts, \
            deduplicates, groups, explains.\n\n\
            **Emitters** send events with a routing key; the answers are PagerDuty's. The **JSON \
            API** below `/api/v1` takes an API token (`Authorization: Bearer …`) of the role \
            `viewer` (reads), `responder` (also acts on alerts, incidents, silences and deliveries) or `admin` (all).\n\n\
            Times are RFC 3339 in UTC with milliseconds, durations are `\"90s\"`, `\"15m\"`, \
            `\"4h\"`, `\"7d\"`, ids are UUIDs of version 7. Lists are newest first; a cursor stays \
            good while rows are added. Errors are `application/problem+json` (RFC 9457) and name \
            every wrong field at once.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "This gateway")),
    tags(
        (name = "emitters", description = "Where monitoring systems send events to, as PagerDuty's \
            Events API V1 and V2 take them"),
        (name = "alerts", description = "All events of one dedup key on one integration until it \
            is resolved"),
        (name = "incidents", description = "Groups of alike alerts of one service"),
        (name = "events", description = "What was accepted, as it came, with every decision about \
            it"),
        (name = "changes", description = "Change events: deployments, configuration edits"),
        (name = "stats", description = "How much noise there is, where it comes from, and how much \
            of it is taken out"),
        (name = "services", description = "The units inside which alerts are deduplicated and \
            grouped"),
        (name = "integrations", description = "Where events come in: each owns a routing key and \
            belongs to a service"),
        (name = "silences", description = "What nobody wants to hear of for a while"),
        (name = "routes", description = "Which service takes an event of a shared integration: the \
            first that matches"),
        (name = "receivers", description = "Whom incidents are handed on to"),
        (name = "deliveries", description = "What is owed to receivers, in which order, and what \
            they answered"),
        (name = "webhooks", description = "What is done elsewhere to incidents that were handed on"),
        (name = "inhibition_rules", description = "Which alerts explain which others; a view of \
            the rules that services have"),
        (name = "policy", description = "The configuration as a file, changed all at once"),
        (name = "tokens", description = "API tokens"),
        (name = "audit", description = "Who changed the configuration, when, from where, and how"),
        (name = "operations", description = "For those who run the gateway"),
    ),
    paths(serve),
    components(schemas(schemas::Problem)),
)]
struct Base;

/// The description as it is.
pub fn document() -> openapi::OpenApi {
    let mut document = Base::openapi();
    let parts: [fn() -> openapi::OpenApi; 20] = [
        alerts::Documented::openapi,
        incidents::Documented::openapi,
        events::Documented::openapi,
        changes::Documented::openapi,
        explain::Documented::openapi,
        stats::Documented::openapi,
        services::Documented::openapi,
        integrations::Documented::openapi,
        silences::Documented::openapi,
        routes::Documented::openapi,
        receivers::Documented::openapi,
        deliveries::Documented::openapi,
        inhibition_rules::Documented::openapi,
        policy_file::Documented::openapi,
        replay::Documented::openapi,
        tokens::Documented::openapi,
        audit::Documented::openapi,
        operations::Documented::openapi,
        page::Documented::openapi,
        webhooks::Documented::openapi,
    ];
    for part in parts {
        document.merge(part());
    }
    inbound::add(&mut document);
    Common.modify(&mut document);
    document
}

/// The description as text, as the file `openapi.json` has it.
pub fn openapi_json() -> String {
    rendered(&document())
}

fn rendered(document: &openapi::OpenApi) -> String {
    document.to_pretty_json().expect("it consists of texts and numbers") + "\n"
}

/// Show this description
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "operations", operation_id = "get_openapi",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)),
)]
async fn serve(api: web::Data<Api>) -> HttpResponse {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| {
        let mut document = document();
        // Where a proxy serves the gateway below a path, so that calls made from it arrive.
        if let [server] = document.servers.as_deref_mut().unwrap_or_default() {
            server.url = format!("{}/", api.path_prefix());
        }
        rendered(&document)
    });
    HttpResponse::Ok().content_type("application/json").body(text.as_str())
}

/// What all calls of the JSON API have in common.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "An API token. The first start prints one; `dutygate token create` makes more.",
            ))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(SCHEME, SecurityScheme::Http(scheme));
        for (path, item) in &mut document.paths.paths {
            if !path.starts_with("/api/v1/") {
                continue;
            }
            let by_id = path.contains('{');
            let calls = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete];
            for operation in calls.into_iter().flatten() {
                common(operation, by_id);
            }
        }
    }
}

fn common(operation: &mut Operation, by_id: bool) {
    // A handler called `list` is `list_alerts` here: the names of calls are unique.
    if let (Some(id), Some([tag])) = (&mut operation.operation_id, operation.tags.as_deref())
        && !id.contains(tag.trim_end_matches('s'))
    {
        id.push('_');
        id.push_str(tag);
    }
    operation.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(SCHEME, [])]);
    let problem = |description: &str| {
        let schema = Ref::from_schema_name("Problem");
        let content = ContentBuilder::new().schema(Some(schema)).build();
        ResponseBuilder::new()
            .description(description)
            .content("application/problem+json", content)
            .build()
    };
    let takes_body = operation.request_body.is_some();
    let takes_query = operation.parameters.iter().flatten().any(|parameter| match parameter {
        RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Query,
        RefOr::Ref(_) => false,
    });
    let mut usual = vec![
        ("401", "There is no token, or it is unknown or revoked"),
        ("403", "The token's role does not allow this"),
        (
            "503",
            "The database or the gateway cannot do it now; `Retry-After` says when to come back",
        ),
    ];
    if takes_body {
        usual.push(("408", "The body did not arrive in time"));
        usual.push(("413", "The body is larger than 1 MiB"));
    }
    if takes_body || takes_query {
        usual.push(("400", "Something in the request is wrong; `errors` says all of it"));
    }
    if by_id {
        usual.push(("404", "There is no such thing"));
    }
    let responses = &mut operation.responses.responses;
    for (status, description) in usual {
        responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(problem(description)));
    }
    // What a call says about other failures has the same form.
    for (status, response) in responses {
        if let RefOr::T(response) = response
            && response.content.is_empty()
            && (status.starts_with('4') || status.starts_with('5'))
        {
            *response = problem(&response.description);
        }
    }
}
