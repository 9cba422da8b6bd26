//! The JSON Schema of the policy file, for editors and for checks before a commit.
//!
//! It knows the form. What hangs together (names that are there once, windows that can be, secrets)
//! is told by reading the file.

use serde_json::{Map, Value, json};

use crate::domain::{
    event::Severity,
    grouping::{Aggregate, WindowType},
    receiver::ReceiverKind,
    service::{AutoResolveFrom, IntegrationType, NAME_MAX_CHARS},
    settings::{FlappingMode, PauseWhen},
};

/// JSON Schema (draft 2020-12) of the policy file.
pub fn schema() -> Value {
    let file = object(
        &[],
        json!({
            "services": list(definition("service")),
            "silences": list(definition("silence")),
            "routes": list(definition("route")),
            "receivers": list(definition("receiver")),
        }),
    );
    let mut schema = Map::new();
    schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".into(), json!("dutygate policy"));
    schema.extend(file.as_object().cloned().unwrap_or_default());
    schema.insert("type".into(), json!(["object", "null"]));
    schema.insert("$defs".into(), definitions());
    Value::Object(schema)
}

fn definitions() -> Value {
    let mut all = Map::new();
    for part in [basics(), service_parts(), rules(), receivers()] {
        all.extend(part.as_object().cloned().unwrap_or_default());
    }
    Value::Object(all)
}

fn basics() -> Value {
    json!({
        "name": {"type": "string", "minLength": 1, "maxLength": NAME_MAX_CHARS},
        "text": {"type": "string", "minLength": 1},
        "duration": {
            "description": "one number and one unit: 90s, 15m, 4h, 7d",
            "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"
        },
        "span": {
            "description": "a duration, or the number 0",
            "anyOf": [definition("duration"), {"const": 0}]
        },
        "field": {
            "type": "string",
            "pattern": "^(summary|source|severity|component|group|class|dedup_key|client|integration|service|action|label\\..+|details\\..+)$"
        },
        "matcher": {
            "description": "name=\"value\", !=, =~ or !~; regular expressions are anchored",
            "type": "string", "pattern": "^[^=!]+(=|!=|=~|!~)"
        },
        "match": {
            "description": "a list is AND, a list of lists is OR",
            "type": "array",
            "items": {"anyOf": [definition("matcher"), list(definition("matcher"))]}
        },
        "label": {"type": "string", "pattern": "^[a-zA-Z_][a-zA-Z0-9_]{0,63}$"},
        "schedule": object(&["from", "to"], json!({
            "days": {
                "description": "on which it begins; left out: every day",
                "type": "array", "minItems": 1,
                "items": {"enum": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}
            },
            "from": {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"},
            "to": {
                "description": "up to 24:00; not after from: on the next day",
                "type": "string", "pattern": "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"
            },
            "timezone": {"description": "IANA name; left out: UTC", "type": "string"},
        })),
    })
}

fn service_parts() -> Value {
    json!({
        "service": object(&["name"], json!({
            "name": definition("name"),
            "description": {"type": "string"},
            "integrations": list(definition("integration")),
            "enrich": list(definition("enrich")),
            "drop": list(object(&["match"], json!({"match": definition("match")}))),
            "grouping": list(definition("grouping")),
            "storm": {
                "description": "numbers of alerts that are worth a notification, ascending",
                "type": "array", "maxItems": 10, "items": {"type": "integer", "minimum": 2}
            },
            "flapping": object(&[], json!({
                "max_changes": {"type": "integer", "minimum": 2, "maximum": 50, "default": 4},
                "within": or_default(definition("duration"), "60m"),
                "mute": or_default(definition("duration"), "120m"),
                "mode": one_of(FlappingMode::ALL, FlappingMode::as_str),
            })),
            "inhibition": list(definition("inhibition")),
            "auto_pause": nullable(object(&["for"], json!({
                "for": definition("duration"),
                "when": one_of(PauseWhen::ALL, PauseWhen::as_str),
            }))),
            "auto_resolve": nullable(object(&["after"], json!({
                "after": definition("duration"),
                "from": one_of(AutoResolveFrom::ALL, AutoResolveFrom::as_str),
            }))),
            "acknowledgement_timeout": nullable(definition("duration")),
            "notify": list(definition("notify")),
        })),
        "integration": object(&["name", "type"], json!({
            "name": definition("name"),
            "type": one_of(IntegrationType::ALL, IntegrationType::as_str),
            "key_env": definition("text"),
            "key_file": definition("text"),
            "shared": {"type": "boolean", "default": false},
        })),
        "silence": object(&["name", "match"], json!({
            "name": definition("name"),
            "match": definition("match"),
            "schedule": definition("schedule"),
            "from": {"type": "string", "format": "date-time"},
            "until": {"type": "string", "format": "date-time"},
            "service": definition("name"),
            "comment": {"type": "string"},
            "confirm": {
                "description": "true if it is meant to silence everything", "type": "boolean"
            },
        })),
        "route": object(&["match", "service"], json!({
            "match": definition("match"), "service": definition("name"),
        })),
    })
}

fn rules() -> Value {
    let step = |name: &str, step: Value| {
        let mut members = json!({"match": definition("match")});
        members[name] = step;
        object(&[name], members)
    };
    json!({
        "enrich": {"oneOf": [
            step("extract", object(&["from", "regex"], json!({
                "from": definition("field"),
                "regex": {"description": "its named groups become labels", "type": "string"},
            }))),
            step("set", object(&["label", "value"], json!({
                "label": definition("label"), "value": definition("text"),
            }))),
            step("map", object(&["label", "from", "table"], json!({
                "label": definition("label"),
                "from": definition("field"),
                "table": {
                    "type": "object", "minProperties": 1,
                    "additionalProperties": definition("text")
                },
                "default": definition("text"),
            }))),
            step("severity", one_of(Severity::ALL, Severity::as_str)),
        ]},
        "grouping": object(&["by"], json!({
            "match": definition("match"),
            "by": {"anyOf": [fields(), {"enum": ["time", "similarity"]}]},
            "aggregate": one_of(Aggregate::ALL, Aggregate::as_str),
            "window": or_default(definition("span"), 0),
            "window_type": one_of(WindowType::ALL, WindowType::as_str),
            "max_span": or_default(definition("duration"), "24h"),
            "strict": {"type": "boolean", "default": false},
            "max_alerts": {"type": "integer", "minimum": 1, "maximum": 100_000, "default": 5000},
            "reopen_within": nullable(definition("duration")),
            "fields": fields(),
            "threshold": {"type": "number", "minimum": 0, "maximum": 1},
        })),
        "inhibition": object(&["source", "target"], json!({
            "source": definition("match"),
            "target": definition("match"),
            "equal": list(definition("field")),
            "release_delay": or_default(definition("duration"), "60s"),
            "allow_empty": {"type": "boolean", "default": false},
            "acknowledged_sources": {"type": "boolean", "default": true},
        })),
        "notify": object(&["receivers"], json!({
            "match": definition("match"),
            "receivers": {
                "type": "array", "minItems": 1, "maxItems": 20, "uniqueItems": true,
                "items": definition("name")
            },
            "delay": or_default(definition("span"), "0s"),
            "repeat": nullable(definition("duration")),
            "active": nullable(definition("schedule")),
        })),
    })
}

fn receivers() -> Value {
    let receiver = |kind: ReceiverKind, required: &[&str], members: Value| {
        let mut all = json!({
            "name": definition("name"),
            "kind": {"const": kind},
            "fallback": definition("name"),
            "allowed_hosts": list(definition("text")),
            "concurrency": {"type": "integer", "minimum": 1, "maximum": 100},
            "rate_per_minute": {"type": "integer", "minimum": 1, "maximum": 100_000},
        });
        if let (Some(all), Value::Object(members)) = (all.as_object_mut(), members) {
            all.extend(members);
        }
        object(&[&["name", "kind"], required].concat(), all)
    };
    let text = || definition("text");
    let url = || json!({"type": "string", "pattern": "^https?://"});
    json!({"receiver": {"oneOf": [
        receiver(ReceiverKind::PagerDuty, &[], json!({
            "routing_key_env": text(), "routing_key_file": text(), "url": url(),
            "per_alert": {"type": "boolean"}, "passthrough": {"type": "boolean"},
            "webhook_secret_env": text(), "webhook_secret_file": text(),
        })),
        receiver(ReceiverKind::Jira, &["url", "auth", "project"], json!({
            "url": url(),
            "api": {"enum": ["auto", "cloud", "datacenter"]},
            "auth": {"anyOf": [
                object(&[], json!({"bearer_env": text(), "bearer_file": text()})),
                object(&["user"], json!({
                    "user": text(), "password_env": text(), "password_file": text(),
                })),
            ]},
            "project": text(),
            "issue_type": text(),
            "priority": object(&[], json!({
                "critical": text(), "error": text(), "warning": text(), "info": text(),
            })),
            "assignee": text(),
            "labels": list(text()),
            "components": list(text()),
            "fields": {"type": "object"},
            "transitions": object(&[], json!({"resolve": text(), "reopen": text()})),
            "reopen_within": definition("span"),
        })),
        receiver(ReceiverKind::Webhook, &[], json!({
            "url": url(), "url_env": text(), "url_file": text(),
            "secret_env": text(), "secret_file": text(),
            "format": {"enum": ["dutygate", "alertmanager"]},
            "template": text(),
            "headers": {"type": "object", "additionalProperties": {"anyOf": [
                {"type": "string"},
                object(&[], json!({"value_env": text(), "value_file": text()})),
            ]}},
        })),
        receiver(ReceiverKind::Email, &["smtp", "from", "to"], json!({
            "smtp": {"type": "string", "pattern": "^smtps?://"},
            "from": text(),
            "to": {"type": "array", "minItems": 1, "items": text()},
            "username": text(), "password_env": text(), "password_file": text(),
        })),
    ]}})
}

fn definition(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

fn list(items: Value) -> Value {
    let mut list = json!({"type": "array"});
    list["items"] = items;
    list
}

fn fields() -> Value {
    json!({"type": "array", "minItems": 1, "maxItems": 10, "items": definition("field")})
}

/// An object that has these members and no others.
fn object(required: &[&str], members: Value) -> Value {
    let mut object = json!({"type": "object", "additionalProperties": false});
    object["properties"] = members;
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

fn nullable(schema: Value) -> Value {
    Value::Object(Map::from_iter([(
        "anyOf".to_owned(),
        Value::from(vec![schema, json!({"type": "null"})]),
    )]))
}

fn or_default(schema: Value, default: impl Into<Value>) -> Value {
    let mut schema = schema;
    schema["default"] = default.into();
    schema
}

fn one_of<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str) -> Value {
    let names: Vec<&str> = all.iter().map(|it| name(*it)).collect();
    json!({"enum": names})
}
