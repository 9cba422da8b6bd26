//! The description says what is served, all of it and nothing else.

use std::collections::BTreeSet;

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{Gateway, KEY};
use crate::api::{
    TABLES, inbound,
    openapi::{document, openapi_json},
    operations,
};

#[test]
fn the_file_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let kept = std::fs::read_to_string(path).unwrap_or_default();

    assert!(kept == openapi_json(), "openapi.json is not what is served; run `make openapi`");
}

#[test]
fn every_route_is_described_and_every_description_is_a_route() {
    let tables = TABLES.into_iter().chain([operations::METRICS]).flatten();
    let mut served: BTreeSet<(String, String)> =
        tables.map(|call| (call.path.to_owned(), call.method.as_str().to_lowercase())).collect();
    let emitters = inbound::PATHS.map(|(path, _)| path).into_iter().chain([inbound::GUANCE_PATH]);
    served.extend(emitters.map(|path| (path.to_owned(), "post".to_owned())));
    let document = serde_json::to_value(document()).unwrap();
    let mut described = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            described.insert((path.clone(), method.clone()));
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert!(ids.insert(id.clone()), "two calls are called {id}");
            assert!(operation["summary"].is_string(), "{id} has no summary");
        }
    }

    assert_eq!(described, served);
}

#[test]
fn every_reference_leads_somewhere_and_every_tag_is_explained() {
    let document = serde_json::to_value(document()).unwrap();
    let mut places = vec![&document];
    while let Some(place) = places.pop() {
        if let Some(Value::String(reference)) = place.get("$ref") {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        match place {
            Value::Object(object) => places.extend(object.values()),
            Value::Array(items) => places.extend(items),
            _ => {}
        }
    }
    let tags: Vec<&Value> =
        document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            assert!(tags.contains(&&operation["tags"][0]), "{operation}");
        }
    }
}

#[actix_web::test]
async fn answers_have_the_members_that_are_described() {
    let gateway = Gateway::start().await;
    let made = json!({"name": "made", "service": "default", "role": "viewer"});
    let only = |names: &[&str]| -> Value {
        names.iter().map(|name| ((*name).to_owned(), made[*name].clone())).collect()
    };
    let token = gateway.post("/tokens", &only(&["name", "role"])).await.json();
    let problem = gateway.post("/tokens", &json!({})).await.json();
    let test = gateway.post("/integrations/default/test", &Value::Null).await.json();
    let created = gateway.post("/integrations", &only(&["name", "service"])).await.json();
    let first = |page: Value| page["items"][0].clone();
    let event = json!({
        "routing_key": KEY, "event_action": "trigger", "dedup_key": "k",
        "payload": {"summary": "s", "source": "x", "severity": "error"},
    });
    let explained = gateway.post("/explain", &event).await.json();
    let silence = json!({
        "matchers": ["class=\"disk\""], "until": "2030-01-01T00:00:00Z", "comment": "c"
    });
    gateway.post("/silences", &silence).await;
    for (key, class) in [("a", "cpu"), ("b", "disk")] {
        gateway.trigger(KEY, key, class).await;
    }
    let alert = first(gateway.get("/alerts").await.json());
    let noise = gateway.get("/stats/noise").await.json();
    for (schema, answer) in [
        ("Service", gateway.get("/services/default").await.json()),
        ("Service", first(gateway.get("/services").await.json())),
        ("Integration", gateway.get("/integrations/default").await.json()),
        ("Integration", first(gateway.get("/integrations").await.json())),
        ("Integration", created),
        ("TestOutcome", test),
        ("Token", first(gateway.get("/tokens").await.json())),
        ("CreatedToken", token),
        ("AuditEntry", first(gateway.get("/audit").await.json())),
        ("Listing_Token", gateway.get("/tokens?count=true").await.json()),
        ("Alert", alert.clone()),
        ("Suppression", alert["suppressed_by"][0].clone()),
        ("Incident", gateway.get("/incidents/2").await.json()),
        ("Explanation", explained),
        ("Noise", noise.clone()),
        ("NoiseTop", noise["top"].clone()),
        ("TopEntry", noise["top"]["sources"][0].clone()),
        ("NoiseBucket", noise["buckets"][0].clone()),
        ("Problem", problem.clone()),
        ("ProblemField", problem["errors"][0].clone()),
    ] {
        assert_described(schema, &answer);
    }
}

/// An answer has the members that its schema has, and no others.
pub(super) fn assert_described(schema: &str, answer: &Value) {
    let document = serde_json::to_value(document()).unwrap();
    let schema_of = &document["components"]["schemas"][schema];
    for name in answer.as_object().unwrap().keys() {
        assert!(schema_of["properties"][name].is_object(), "{schema} has {name}");
    }
    for name in schema_of["required"].as_array().unwrap() {
        assert!(answer.get(name.as_str().unwrap()).is_some(), "{schema} lacks {name}");
    }
}

#[actix_web::test]
async fn the_description_is_served_without_a_token() {
    let gateway = Gateway::start().await;

    let answer = gateway.request(Method::GET, "/api/openapi.json", &[], "").await;

    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    let here = openapi_json().replace("\"url\": \"/\"", "\"url\": \"/duty/\"");
    assert_eq!(answer.text, here);
    assert_eq!(answer.json()["openapi"], "3.1.0");
    assert_eq!(answer.json()["components"]["securitySchemes"]["token"]["scheme"], "bearer");
}
