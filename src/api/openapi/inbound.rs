//! The paths of emitters: one description for each API, under every path that speaks it.

use serde_json::json;
use utoipa::{
    ToSchema,
    openapi::{
        self, ArrayBuilder, ContentBuilder, HeaderBuilder, HttpMethod, ObjectBuilder, OneOfBuilder,
        PathItem, Ref, RefOr, Required, ResponseBuilder, ResponsesBuilder, Schema,
        path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::{SchemaType, Type},
    },
};

use crate::{
    api::inbound::{GUANCE_PATH, PATHS},
    domain::event::Api,
    wire::{Endpoint, pagerduty::reply::Reply},
};

/// An event of PagerDuty's Events API V2.
#[derive(Debug, ToSchema)]
#[schema(example = json!({
    "routing_key": "k3yfk3yfk3yfk3yfk3yfk3yfk3yfk3yf", "event_action": "trigger",
    "dedup_key": "srv01/mysql", "payload": {
        "summary": "DISK at 99% on machine prod-datapipe03.example.com",
        "source": "prod-datapipe03.example.com", "severity": "critical", "component": "mysql",
        "group": "prod-datapipe", "class": "disk",
        "custom_details": {"free space": "1%", "load avg": "0.75"},
    },
}))]
pub struct EventV2 {
    /// May be given in the URL instead, or in the header `X-Routing-Key`.
    #[schema(nullable = false)]
    pub routing_key: Option<String>,
    pub event_action: EventAction,
    /// Names the problem. Required to acknowledge or resolve; a trigger without it always opens a
    /// new alert.
    #[schema(max_length = 255)]
    pub dedup_key: Option<String>,
    /// Required to trigger; not looked at otherwise.
    pub payload: Option<PayloadV2>,
    pub client: Option<String>,
    pub client_url: Option<String>,
    pub links: Option<Vec<EventLink>>,
    pub images: Option<Vec<EventImage>>,
}

/// What happened.
#[derive(Debug, ToSchema)]
pub struct PayloadV2 {
    #[schema(max_length = 1024)]
    pub summary: String,
    pub source: String,
    pub severity: EventSeverity,
    /// ISO 8601, or seconds or milliseconds since 1970. One that cannot be read does not reject
    /// the event.
    pub timestamp: Option<String>,
    pub component: Option<String>,
    pub group: Option<String>,
    pub class: Option<String>,
    /// Kept as it was sent, whatever JSON it is.
    #[schema(value_type = Option<Object>)]
    pub custom_details: Option<serde_json::Value>,
}

/// What an event wants.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum EventAction {
    Trigger,
    Acknowledge,
    Resolve,
}

/// How bad it is.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum EventSeverity {
    Critical,
    Error,
    Warning,
    Info,
}

/// A link, shown to people.
#[derive(Debug, ToSchema)]
pub struct EventLink {
    pub href: String,
    pub text: Option<String>,
}

/// An image, shown to people.
#[derive(Debug, ToSchema)]
pub struct EventImage {
    pub src: String,
    pub href: Option<String>,
    pub alt: Option<String>,
}

/// An event of PagerDuty's Events API V1.
#[derive(Debug, ToSchema)]
#[schema(example = json!({
    "service_key": "k3yfk3yfk3yfk3yfk3yfk3yfk3yfk3yf", "event_type": "trigger",
    "incident_key": "srv01/HTTP", "description": "FAILURE for production/HTTP on machine srv01",
    "client": "Sample Monitoring Service", "client_url": "https://monitoring.example.com",
    "details": {"ping time": "1500ms", "load avg": 0.75},
}))]
pub struct EventV1 {
    /// May be given in the URL instead, or in the header `X-Routing-Key`.
    #[schema(nullable = false)]
    pub service_key: Option<String>,
    pub event_type: EventAction,
    /// Names the problem. Required to acknowledge or resolve.
    #[schema(max_length = 255)]
    pub incident_key: Option<String>,
    /// Required to trigger.
    #[schema(max_length = 1024)]
    pub description: Option<String>,
    /// Kept as it was sent, whatever JSON it is.
    #[schema(value_type = Option<Object>)]
    pub details: Option<serde_json::Value>,
    pub client: Option<String>,
    pub client_url: Option<String>,
    /// Links and images.
    #[schema(value_type = Option<Vec<Object>>)]
    pub contexts: Option<serde_json::Value>,
}

/// A change event: something that was changed on purpose. Opens nothing.
#[derive(Debug, ToSchema)]
#[schema(example = json!({
    "routing_key": "k3yfk3yfk3yfk3yfk3yfk3yfk3yfk3yf",
    "payload": {
        "summary": "Build success: increase snapshot create timeout to 30 seconds",
        "source": "acme-build-pipeline-tool-default-i-9999",
        "custom_details": {"build_state": "passed", "build_number": "2"},
    },
    "links": [{"href": "https://ci.example.com/builds/2", "text": "View more details"}],
}))]
pub struct ChangeEvent {
    /// May be given in the URL instead, or in the header `X-Routing-Key`.
    #[schema(nullable = false)]
    pub routing_key: Option<String>,
    pub payload: ChangePayload,
    pub links: Option<Vec<EventLink>>,
}

/// What was changed.
#[derive(Debug, ToSchema)]
pub struct ChangePayload {
    #[schema(max_length = 1024)]
    pub summary: String,
    pub source: Option<String>,
    /// As in an event.
    pub timestamp: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub custom_details: Option<serde_json::Value>,
}

/// An event of Guance (观测云), as the webhook of its monitors sends it: an object with fields whose
/// names begin with `df_`. These are looked at; all are kept, in the alert's `custom_details`.
#[derive(Debug, ToSchema)]
#[schema(example = json!({
    "df_event_id": "event-f20a38aa58b54c6c8d4c9a84e655db1a", "df_status": "critical",
    "df_title": "Disk of share is full", "df_message": "Used: 100.00 %", "Result": 100,
    "df_monitor_checker_event_ref": "13713ac25e993a37d2ca5899e2a7bba6",
    "df_monitor_checker_name": "Disk is full", "df_monitor_checker": "custom_metric",
    "df_monitor_name": "Default", "df_dimension_tags": "{\"host\":\"share\"}", "df_label": "[]",
    "df_event_link": "https://console.guance.com/keyevents/monitor", "host": "share",
    "df_workspace_uuid": "wksp_968577392a1c4714a464cd2f6ee42a9c",
    "df_workspace_name": "observer", "timestamp": 1_693_034_940, "date": 1_693_034_940,
}))]
pub struct EventGuance {
    /// What comes again with an id that came before changes nothing.
    pub df_event_id: Option<String>,
    /// `critical`, `error`, `warning` and `nodata` trigger; `info` informs; `ok`, `nodata_ok`,
    /// `nodata_as_ok` and `manual_ok` resolve. Anything else triggers as a warning.
    pub df_status: Option<String>,
    /// Resolves with the same words as `df_status`.
    pub df_sub_status: Option<String>,
    /// Resolves if it is `ok`.
    pub df_fault_status: Option<String>,
    /// `audit` and `change` make it a change event.
    pub df_source: Option<String>,
    pub df_title: Option<String>,
    pub df_message: Option<String>,
    /// Names the problem, within its workspace.
    pub df_monitor_checker_event_ref: Option<String>,
    pub df_monitor_checker_id: Option<String>,
    pub df_monitor_checker_name: Option<String>,
    pub df_monitor_checker: Option<String>,
    pub df_monitor_name: Option<String>,
    /// A JSON object, in a string.
    pub df_dimension_tags: Option<String>,
    /// A JSON list, in a string.
    pub df_label: Option<String>,
    pub df_event_link: Option<String>,
    pub df_workspace_uuid: Option<String>,
    pub df_workspace_name: Option<String>,
    /// Seconds since 1970.
    pub timestamp: Option<i64>,
}

/// A list of events of Guance.
#[derive(Debug, ToSchema)]
pub struct EventsGuance {
    #[schema(min_items = 1, max_items = 1000)]
    pub events: Vec<EventGuance>,
}

/// The answer to an emitter, as PagerDuty gives it.
#[derive(Debug, ToSchema)]
pub struct EmitterAnswer {
    #[schema(example = "success")]
    pub status: String,
    #[schema(example = "Event processed")]
    pub message: String,
    /// Everything that is wrong, on a refusal only.
    #[schema(nullable = false)]
    pub errors: Option<Vec<String>>,
    /// Of an accepted event of V2 or Guance; made if it had none.
    #[schema(nullable = false)]
    pub dedup_key: Option<String>,
    /// Of an accepted list of Guance: those of its events, in their order.
    #[schema(nullable = false)]
    pub dedup_keys: Option<Vec<String>>,
    /// Of an accepted V1 event; made if it had none.
    #[schema(nullable = false)]
    pub incident_key: Option<String>,
}

/// Adds the paths of emitters and their schemas.
pub(super) fn add(document: &mut openapi::OpenApi) {
    for (path, endpoint) in PATHS {
        let item = PathItem::new(HttpMethod::Post, operation(path, endpoint));
        document.paths.paths.insert(path.to_owned(), item);
    }
    let item = PathItem::new(HttpMethod::Post, guance());
    document.paths.paths.insert(GUANCE_PATH.to_owned(), item);
    let components = document.components.get_or_insert_default();
    let mut found: Vec<(String, RefOr<Schema>)> = Vec::new();
    add_schema::<EventV2>(&mut found);
    add_schema::<EventV1>(&mut found);
    add_schema::<ChangeEvent>(&mut found);
    add_schema::<EventsGuance>(&mut found);
    add_schema::<EmitterAnswer>(&mut found);
    components.schemas.extend(found);
}

fn add_schema<T: ToSchema>(found: &mut Vec<(String, RefOr<Schema>)>) {
    found.push((T::name().into_owned(), T::schema()));
    T::schemas(found);
}

fn operation(path: &str, endpoint: Endpoint) -> Operation {
    let (summary, about) = match endpoint {
        Endpoint::Either => (
            "Send an event (V1 or V2)",
            "Takes events of both versions: one with `event_action` is V2, else one with \
             `event_type` or `service_key` is V1. The answer's status follows the version.",
        ),
        Endpoint::V2 => {
            ("Send an event (V2)", "As PagerDuty's `POST https://events.pagerduty.com/v2/enqueue`.")
        }
        Endpoint::V1 => (
            "Send an event (V1)",
            "As PagerDuty's `POST \
             https://events.pagerduty.com/generic/2010-04-15/create_event.json`.",
        ),
        Endpoint::Change => (
            "Send a change event",
            "As PagerDuty's `POST https://events.pagerduty.com/v2/change/enqueue`.",
        ),
    };
    let mut description = format!("{about}{COMMON}");
    if path.starts_with("/event/push/alert/pagerduty/") {
        description.push_str("\n\nAn alias for clients that append to a base URL.");
    }
    described(path, summary, description, body(endpoint), responses(endpoint))
}

const COMMON: &str = "\n\nThe key is the first that is there of: path, query, body, header \
                      `X-Routing-Key`. A body may be compressed (`Content-Encoding: gzip`, \
                      `deflate` or `zstd`); its `Content-Type` is not looked at. An answer of \
                      success means that the event is on disk.";

fn guance() -> Operation {
    let about = "Takes what the webhook of a monitor sends: one event, an array of events, or an \
                 object with such an array as `events`. Of a list all events are taken or none. \
                 What comes again with a `df_event_id` that came before is answered alike and \
                 changes nothing.";
    let named = |name: &str| RefOr::from(Ref::from_schema_name(name));
    let array = ArrayBuilder::new().items(named("EventGuance")).max_items(Some(1000));
    let body =
        OneOfBuilder::new().item(named("EventGuance")).item(named("EventsGuance")).item(array);
    let body = RefOr::T(Schema::OneOf(body.build()));
    let key = "guance:wksp_968577392a1c4714a464cd2f6ee42a9c:13713ac25e993a37d2ca5899e2a7bba6";
    let accepted = vec![Reply::AcceptedGuance { dedup_key: Some(key) }];
    let error = "Event is invalid (must be an object with fields whose names begin with 'df_')";
    let responses = answers(accepted, &[Api::Guance], error);
    let summary = "Send events of Guance (观测云)";
    described(GUANCE_PATH, summary, format!("{about}{COMMON}"), body, responses)
}

fn described(
    path: &str,
    summary: &str,
    description: String,
    body: RefOr<Schema>,
    responses: openapi::Responses,
) -> Operation {
    let id: Vec<&str> =
        path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()).collect();
    OperationBuilder::new()
        .tag("emitters")
        .summary(Some(summary))
        .description(Some(description))
        .operation_id(Some(format!("send_{}", id.join("_"))))
        .parameters(Some(parameters(path)))
        .request_body(Some(
            RequestBodyBuilder::new()
                .content("application/json", ContentBuilder::new().schema(Some(body)).build())
                .required(Some(Required::True))
                .build(),
        ))
        .responses(responses)
        .build()
}

fn parameters(path: &str) -> Vec<Parameter> {
    let text = || ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).build();
    let key = |name: &str, parameter_in: ParameterIn, required: Required, what: &str| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(parameter_in)
            .required(required)
            .description(Some(what))
            .schema(Some(text()))
            .build()
    };
    let mut parameters = Vec::new();
    if path.contains("{key}") {
        parameters.push(key("key", ParameterIn::Path, Required::True, "The routing key"));
    } else {
        let what = "The routing key; a key in the body stays unread then";
        parameters.push(key("integration_key", ParameterIn::Query, Required::False, what));
        let what = "The routing key, if there is none elsewhere";
        parameters.push(key("X-Routing-Key", ParameterIn::Header, Required::False, what));
    }
    parameters
}

fn body(endpoint: Endpoint) -> RefOr<Schema> {
    let named = |name: &str| RefOr::from(Ref::from_schema_name(name));
    match endpoint {
        Endpoint::V2 => named("EventV2"),
        Endpoint::V1 => named("EventV1"),
        Endpoint::Change => named("ChangeEvent"),
        Endpoint::Either => {
            let either = OneOfBuilder::new().item(named("EventV2")).item(named("EventV1"));
            RefOr::T(Schema::OneOf(either.build()))
        }
    }
}

/// Every answer with its very body; the statuses are those of `api/error.rs`.
fn responses(endpoint: Endpoint) -> openapi::Responses {
    let v1 = Reply::AcceptedV1 { incident_key: "srv01/HTTP" };
    let v2 = Reply::AcceptedV2 { dedup_key: "srv01/mysql" };
    let no_severity = "'payload.severity' is missing or blank";
    match endpoint {
        Endpoint::V1 => answers(vec![v1], &[Api::V1], "Service key is missing or blank"),
        Endpoint::V2 => answers(vec![v2], &[Api::V2], no_severity),
        Endpoint::Change => {
            let no_summary = "'payload.summary' is missing or blank";
            answers(vec![Reply::AcceptedChange], &[Api::Change], no_summary)
        }
        Endpoint::Either => answers(vec![v2, v1], &[Api::V2, Api::V1], no_severity),
    }
}

fn answers(accepted: Vec<Reply<'_>>, versions: &[Api], example: &str) -> openapi::Responses {
    let mut all: Vec<(Reply<'_>, &str)> =
        accepted.into_iter().map(|reply| (reply, "It is stored")).collect();
    let errors = [example.to_owned()];
    all.push((
        Reply::Invalid { errors: &errors },
        "Not a valid event, the key is nobody's, or the body is no JSON or over 512 KB",
    ));
    for api in versions {
        let what = match api {
            Api::V1 => "Too many events of this integration (V1)",
            Api::V2 | Api::Change => "Too many events of this integration (V2)",
            Api::Guance => "Too many events of this integration",
        };
        all.push((Reply::Throttled { api: *api }, what));
    }
    all.push((Reply::Unavailable, "It cannot be stored now"));
    let mut responses = ResponsesBuilder::new();
    for (reply, description) in all {
        let status = crate::api::error::emitter_status(reply);
        let example = serde_json::from_str(&reply.body()).unwrap_or_else(|_| json!({}));
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("EmitterAnswer")))
            .example(Some(example))
            .build();
        let mut response =
            ResponseBuilder::new().description(description).content("application/json", content);
        if matches!(reply, Reply::Throttled { .. } | Reply::Unavailable) {
            let seconds = HeaderBuilder::new().description(Some("Seconds until a retry")).build();
            response = response.header("Retry-After", seconds);
        }
        responses = responses.response(status.as_str(), response.build());
    }
    let timeout = ResponseBuilder::new().description("The body did not arrive in time").build();
    responses.response("408", timeout).build()
}
