//! Bodies that a template makes, and what is wrong with templates.

use serde_json::{Value, json};

use super::{body, webhook};
use crate::{
    domain::notify::Reason,
    notify::{
        Message, Notifier as _,
        tests::message::{message, of_thirty, resolved, update},
        webhook::check_template,
    },
    store::query::views::raw,
};

fn made(template: &str, message: &Message) -> Result<String, String> {
    body(&json!({"template": template}), message)
}

fn checked(template: &str) -> Result<(), String> {
    check_template(json!({"template": template}).as_object().unwrap())
}

#[test]
fn what_is_printed_between_quotes_is_escaped() {
    let template = r#"{"text": "[{{ incident.severity|upper }}] {{ incident.title }}"}"#;
    assert_eq!(checked(template), Ok(()));

    let body: Value = serde_json::from_str(&made(template, &message()).unwrap()).unwrap();

    assert_eq!(body, json!({"text": format!("[CRITICAL] {}", message().incident.title)}));
}

#[test]
fn without_quotes_tojson_gives_whole_values() {
    let template = r#"{"title": {{ incident.title|tojson }}, "n": {{ incident.alert_count }},
        "details": {{ alert.custom_details|tojson }}, "who": {{ incident.assignee|tojson }}}"#;
    assert_eq!(checked(template), Ok(()));

    let body: Value = serde_json::from_str(&made(template, &message()).unwrap()).unwrap();

    assert_eq!(body["title"], message().incident.title);
    assert_eq!(body["n"], 1);
    assert_eq!(body["details"]["mounts"], json!(["/data"]));
    assert_eq!(body["who"], Value::Null);
}

#[test]
fn it_sees_all_that_the_document_has() {
    let template = r#"{"text": "{{ type }} {{ version }} {{ timestamp }} {{ reason }} {{ first }} {{ receiver }} {{ url }} {{ data.reason }} {{ alerts|length }} {{ alert.source }} {{ late_by|default('in time') }}"}"#;
    assert_eq!(checked(template), Ok(()));

    let body = made(template, &resolved()).unwrap();

    let url = resolved().incident_url();
    let text = format!(
        "incident.resolved 1 2026-11-20T10:11:12.345Z resolved false hook {url} resolved 1 \
         db-1.example.com in time"
    );
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["text"], text);
}

#[test]
fn what_is_not_there_prints_nothing() {
    let template = r#"{"text": "<{{ incident.assignee|upper }}{{ alert.custom_details.a.b }}{{ alert.component|truncate(3) }}{{ incident.resolved_at|time }}{{ incident.assignee|urlencode }}>"}"#;
    assert_eq!(checked(template), Ok(()));
    let mut message = message();
    message.alerts[0].component = None;

    assert_eq!(made(template, &message).unwrap(), r#"{"text": "<>"}"#);
}

#[test]
fn loops_and_conditions_make_lists() {
    let template = r#"{"text": "{% for a in alerts[:3] %}{{ a.source }}{{ '\n' if not loop.last }}{% endfor %}{% if alerts|length > 3 %} and {{ incident.alert_count - 3 }} more{% endif %}"}"#;
    assert_eq!(checked(template), Ok(()));

    let body = made(template, &of_thirty(Reason::Storm)).unwrap();

    let text = "db-1.example.com\ndb-2.example.com\ndb-3.example.com and 27 more";
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), json!({"text": text}));
}

#[test]
fn filters_for_chats_are_there() {
    let template = r#"{"a": "{{ incident.title|truncate(8) }}", "b": "{{ incident.created_at|time('Asia/Shanghai') }}", "c": {{ incident.created_at|unix }}, "d": "{{ 'a b&c'|urlencode }}", "e": "{{ incident.created_at|time('UTC', '%H:%M') }}", "f": "{{ '<b>'|e }}"}"#;
    assert_eq!(checked(template), Ok(()));

    let body: Value = serde_json::from_str(&made(template, &message()).unwrap()).unwrap();

    assert_eq!(
        body,
        json!({"a": "DISK at…", "b": "2026-11-20 18:11:12", "c": 1_795_169_472,
            "d": "a%20b%26c", "e": "10:11", "f": "&lt;b&gt;"})
    );
}

#[test]
fn another_content_type_is_printed_as_it_is() {
    let settings = json!({
        "template": "{{ incident.title }}\n{{ alert.labels }}",
        "headers": {"content-type": "text/plain; charset=utf-8"},
    });
    assert_eq!(check_template(settings.as_object().unwrap()), Ok(()));

    let body = body(&settings, &message()).unwrap();

    let title = message().incident.title;
    assert_eq!(body, format!("{title}\n{{\"host\":\"db-1\",\"team.name\":\"core\"}}"));
}

#[test]
fn a_template_that_is_wrong_is_refused_in_words() {
    for (template, said) in [
        ("{{ incident.title", "line 1"),
        ("{% if x %}", "line 1"),
        ("\n{{ incident.title|shout }}", "line 2"),
        (r#"{"a": "{{ incident.titel }}"}"#, "there is no incident.titel"),
        (r#"{"a": "{{ incidnet.title }}"}"#, "there is no incidnet"),
        (r#"{"a": "{{ alert.sumary }}"}"#, "there is no alert.sumary"),
        (r#"{"a": {{ incident.title }}}"#, "no JSON"),
        (r#"{"a": "{{ incident.title|tojson }}"}"#, "no JSON"),
        ("{% if reason == 'opened' %}{}{% endif %}", "empty body (for the reason reopened)"),
        ("{# nothing #}", "empty body"),
        (r#"{"a": "{{ incident.created_at|time('Mars/Olympus') }}"}"#, "no time zone"),
        (
            "{% for i in range(100000) %}{% for i in range(100000) %}{% endfor %}{% endfor %}",
            "steps",
        ),
    ] {
        let error = checked(template).unwrap_err();
        assert!(error.contains(said), "{template}: {error}");
    }
    assert_eq!(
        checked(r#"{"a": "{{ alert.custom_details.any.thing }} {{ alert.labels.x }}"}"#),
        Ok(())
    );
    assert_eq!(check_template(json!({"url": "https://x"}).as_object().unwrap()), Ok(()));
}

#[test]
fn a_body_that_grows_too_large_is_not_made() {
    let template = r#""{% for a in range(6000) %}{{ '0123456789' * 10 }}{% endfor %}""#;

    let error = made(template, &message()).unwrap_err();

    assert!(error.contains("512 KB"), "{error}");
}

#[test]
fn what_the_check_cannot_know_ends_in_words() {
    let mut message = message();
    message.alerts[0].custom_details = Some(raw(r#"{"n": "many"}"#));

    let error = made(r#"{"n": {{ alert.custom_details.n }}}"#, &message).unwrap_err();

    assert!(error.contains("no JSON") && error.contains(r#"{\"n\": many}"#), "{error}");
}

/// The check is only as good as its sample.
#[test]
fn the_sample_has_exactly_what_a_document_has() {
    let sample: Value = serde_json::from_str(include_str!("../sample.json")).unwrap();
    let mut real = of_thirty(Reason::Opened);
    real.late = Some(crate::domain::time::Span::from_secs(7200));
    let real: Value = serde_json::from_str(&body(&json!({}), &real).unwrap()).unwrap();
    let names =
        |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };

    for pointer in ["", "/data", "/data/incident", "/data/alerts/0"] {
        let of = |document: &Value| names(document.pointer(pointer).unwrap());
        assert_eq!(of(&sample), of(&real), "{pointer}");
    }
}

#[test]
fn the_same_message_makes_the_same_body() {
    let settings = json!({"url": "https://x/", "template": "{{ data|tojson }}"});
    let webhook = webhook(&settings).unwrap();
    let message = update(Reason::Repeat);

    assert_eq!(webhook.compose(&message), webhook.compose(&message));
}
