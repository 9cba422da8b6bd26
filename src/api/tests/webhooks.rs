//! `/webhooks/pagerduty/{receiver}`: from what is done at PagerDuty to what is done here.

use actix_web::http::Method;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Answer, Gateway, KEY, KEY_OF_PAYMENTS, SIGNING_SECRET};
use crate::domain::time::{Span, Timestamp};

const PATH: &str = "/webhooks/pagerduty/pd";
const PAGE: &str = "https://acme.pagerduty.com/incidents/Q1KD0TLXG4S1VO";

fn signature(secret: &str, body: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    format!("v1={}", hex::encode(mac.chain_update(body).finalize().into_bytes()))
}

async fn post(gateway: &Gateway, headers: &[(&str, &str)], body: &str) -> Answer {
    gateway.request(Method::POST, PATH, headers, body.to_owned()).await
}

/// Signed as it has to be: `result` and `reason` of the answer.
async fn signed(gateway: &Gateway, body: &Value) -> (String, Value) {
    let body = body.to_string();
    let signature = signature(SIGNING_SECRET, &body);
    let answer = post(gateway, &[("X-PagerDuty-Signature", &signature)], &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let answer = answer.json();
    (answer["result"].as_str().unwrap().to_owned(), answer["reason"].clone())
}

async fn result(gateway: &Gateway, body: &Value) -> String {
    signed(gateway, body).await.0
}

/// A webhook as PagerDuty sends it from a service that makes alerts: without an `incident_key`.
fn webhook(gateway: &Gateway, id: &str, event_type: &str) -> Value {
    json!({"event": {
        "id": id, "event_type": event_type, "resource_type": "incident",
        "occurred_at": gateway.api.ingest.now(),
        "agent": {"id": "PLH1HKV", "summary": "Maeve", "type": "user_reference"},
        "client": null,
        "data": {
            "id": "Q1KD0TLXG4S1VO", "type": "incident", "html_url": PAGE, "number": 15,
            "status": "triggered", "incident_key": null, "title": "s", "resolve_reason": null,
        },
    }})
}

/// The webhook that an incident was opened at PagerDuty by our own event.
fn opened(gateway: &Gateway, page: &str) -> Value {
    let mut opened = webhook(gateway, &format!("opened {page}"), "incident.triggered");
    opened["event"]["agent"] = json!({"type": "inbound_integration_reference"});
    opened["event"]["client"] = json!({"name": "dutygate", "url": page});
    opened
}

/// A receiver `pd`, and incident 1 of one alert, known at PagerDuty.
async fn with_incident() -> (Gateway, Value) {
    let gateway = Gateway::start().await;
    made(&gateway, json!({})).await;
    let incident = triggered(&gateway, "srv01/mysql").await;
    let page = format!("https://gate.example.com/duty/incidents/{}", text(&incident["id"]));
    assert_eq!(result(&gateway, &opened(&gateway, &page)).await, "changed");
    (gateway, incident)
}

async fn made(gateway: &Gateway, more: Value) {
    let pd = json!({
        "name": "pd", "kind": "pagerduty", "routing_key_env": "PD_KEY",
        "webhook_secret_env": "SIGNING_SECRET",
    });
    let receiver = merged(pd, more);
    let made = gateway.post("/receivers", &receiver).await;
    assert_eq!(made.status, 201, "{}", made.text);
    told(gateway, "default", &receiver["name"], json!([])).await;
}

/// From now on this receiver is told of what is open at a service.
async fn told(gateway: &Gateway, service: &str, receiver: &Value, grouping: Value) {
    let policy = json!({
        "name": service, "grouping": grouping, "notify": [{"receivers": [receiver]}],
    });
    let put = gateway.call(Method::PUT, &format!("/services/{service}"), &policy).await;
    assert_eq!(put.status, 200, "{}", put.text);
}

/// A service `payments` with an integration of its own, of which only a receiver `other` is told.
async fn payments(gateway: &Gateway, more: Value) {
    made(gateway, merged(json!({"name": "other"}), more)).await;
    assert_eq!(gateway.post("/services", &json!({"name": "payments"})).await.status, 201);
    let integration = json!({"name": "pay", "service": "payments", "key": KEY_OF_PAYMENTS});
    let integrated = gateway.post("/integrations", &integration).await;
    assert_eq!(integrated.status, 201, "{}", integrated.text);
    told(gateway, "payments", &json!("other"), json!([])).await;
}

fn merged(mut all: Value, more: Value) -> Value {
    if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
        all.extend(more);
    }
    all
}

/// The newest incident, after an event that opens it.
async fn triggered(gateway: &Gateway, dedup_key: &str) -> Value {
    assert_eq!(gateway.trigger(KEY, dedup_key, "disk").await.status, 202);
    gateway.get("/incidents").await.json()["items"][0].clone()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

async fn status(gateway: &Gateway, incident: &Value) -> String {
    let path = format!("/incidents/{}", text(&incident["id"]));
    text(&gateway.get(&path).await.json()["status"]).to_owned()
}

/// What the notes of an incident say, the newest first.
async fn notes(gateway: &Gateway, incident: &Value) -> Vec<String> {
    let path = format!("/incidents/{}/timeline", text(&incident["id"]));
    let timeline = gateway.get(&path).await.json();
    let entries = timeline["items"].as_array().unwrap().iter();
    let notes = entries.filter(|entry| entry["kind"] == "note").inspect(|entry| {
        assert_eq!(entry["actor"], "pagerduty:pd");
    });
    notes.map(|note| text(&note["reason"]).to_owned()).collect()
}

#[actix_web::test]
async fn what_is_not_signed_by_the_receivers_secret_is_turned_away() {
    let (gateway, incident) = with_incident().await;
    let body = webhook(&gateway, "1", "incident.resolved").to_string();
    let (right, wrong) = (signature(SIGNING_SECRET, &body), signature("other", &body));
    for headers in [
        vec![],
        vec![("X-PagerDuty-Signature", "")],
        vec![("X-PagerDuty-Signature", wrong.as_str())],
        vec![("Authorization", "Bearer dg_0000")],
    ] {
        let answer = post(&gateway, &headers, &body).await;

        assert_eq!(answer.status, 401, "{headers:?}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert!(answer.text.contains("X-PagerDuty-Signature"), "{}", answer.text);
    }
    let other_body = body.replace("Maeve", "Maev");
    let answer = post(&gateway, &[("X-PagerDuty-Signature", &right)], &other_body).await;
    assert_eq!(answer.status, 401);
    assert_eq!(status(&gateway, &incident).await, "triggered");

    let rotated = format!("{wrong},{right}");
    let answer = post(&gateway, &[("X-PagerDuty-Signature", &rotated)], &body).await;
    assert_eq!(answer.status, 202, "while the secret is rotated there are two");
    assert_eq!(status(&gateway, &incident).await, "resolved");
}

#[actix_web::test]
async fn only_receivers_that_expect_webhooks_get_them() {
    let gateway = Gateway::start().await;
    made(&gateway, json!({"name": "main"})).await;
    let hook = json!({"name": "hook", "kind": "webhook", "url": "https://example.com/in"});
    assert_eq!(gateway.post("/receivers", &hook).await.status, 201);
    let no_secret = json!({"name": "silent", "kind": "pagerduty", "routing_key_env": "PD_KEY"});
    assert_eq!(gateway.post("/receivers", &no_secret).await.status, 201);
    made(&gateway, json!({"name": "gone", "webhook_secret_env": "NOT_SET"})).await;
    let id = gateway.get("/receivers/main").await.json()["id"].as_str().unwrap().to_owned();
    let body = webhook(&gateway, "1", "pagey.ping").to_string();
    let signature = signature(SIGNING_SECRET, &body);
    for (receiver, status) in [
        ("main", 202),
        (id.as_str(), 202),
        ("nobody", 404),
        ("00000000-0000-7000-8000-000000000000", 404),
        ("hook", 404),
        ("silent", 404),
        ("gone", 503),
    ] {
        let path = format!("/webhooks/pagerduty/{receiver}");
        let headers = [("X-PagerDuty-Signature", signature.as_str())];
        let answer = gateway.request(Method::POST, &path, &headers, body.clone()).await;

        assert_eq!(answer.status, status, "{receiver}: {}", answer.text);
        assert!(!answer.text.contains("NOT_SET"), "{}", answer.text);
    }
    let answer = gateway.request(Method::GET, PATH, &[], "").await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "POST"));
}

#[actix_web::test]
async fn what_is_no_webhook_is_told_so_and_what_is_too_large_is_not_read() {
    let gateway = Gateway::start().await;
    made(&gateway, json!({})).await;
    for (body, status) in [
        (String::new(), 400),
        ("{}".to_owned(), 400),
        (r#"{"messages":[{"event":"incident.trigger"}]}"#.to_owned(), 400),
        (" ".repeat(512 * 1024 + 1), 413),
    ] {
        let signature = signature(SIGNING_SECRET, &body);
        let answer = post(&gateway, &[("X-PagerDuty-Signature", &signature)], &body).await;

        assert_eq!(answer.status, status, "{}", answer.text);
    }
}

#[actix_web::test]
async fn an_incident_goes_the_way_that_it_goes_at_pagerduty() {
    let (gateway, incident) = with_incident().await;
    for (event_type, result, status_now) in [
        ("incident.acknowledged", "changed", "acknowledged"),
        ("incident.escalated", "ignored", "acknowledged"),
        ("pagey.ping", "ignored", "acknowledged"),
        ("incident.unacknowledged", "changed", "triggered"),
        ("incident.acknowledged", "changed", "acknowledged"),
        ("incident.resolved", "changed", "resolved"),
        ("incident.resolved", "unchanged", "resolved"),
        ("incident.acknowledged", "ignored", "resolved"),
        ("incident.reopened", "changed", "resolved"),
    ] {
        gateway.clock.advance(Span::from_secs(60));
        let id = gateway.api.ingest.now().to_string();
        let came = self::result(&gateway, &webhook(&gateway, &id, event_type)).await;

        assert_eq!(came, result, "{event_type}");
        assert_eq!(status(&gateway, &incident).await, status_now, "{event_type}");
    }
    assert_eq!(
        notes(&gateway, &incident).await,
        [
            "reopened in PagerDuty by Maeve",
            "resolved in PagerDuty by Maeve",
            "acknowledged in PagerDuty by Maeve",
            "unacknowledged in PagerDuty by Maeve",
            "acknowledged in PagerDuty by Maeve",
            &format!("at PagerDuty: {PAGE}"),
        ]
    );
    let shown = gateway.get(&format!("/incidents/{}", text(&incident["id"]))).await.json();
    assert_eq!(shown["acknowledged_by"], "pagerduty:pd");
}

#[actix_web::test]
async fn a_note_is_taken_over_with_its_author() {
    let (gateway, incident) = with_incident().await;
    let mut note = webhook(&gateway, "1", "incident.annotated");
    note["event"]["data"] = json!({
        "id": "P2LA89X", "type": "incident_note", "content": "Rolled back.", "trimmed": false,
        "incident": {"id": "Q1KD0TLXG4S1VO", "type": "incident_reference", "html_url": PAGE},
    });

    assert_eq!(result(&gateway, &note).await, "changed");
    note["event"]["id"] = "2".into();
    note["event"]["data"]["content"] = "é".repeat(20_000).into();
    assert_eq!(result(&gateway, &note).await, "changed");

    let notes = notes(&gateway, &incident).await;
    assert_eq!(notes[1], "Maeve: Rolled back.");
    assert_eq!(notes[0].chars().count(), 10_000);
    assert!(notes[0].starts_with("Maeve: éé") && notes[0].ends_with("é…"));
}

#[actix_web::test]
async fn a_merge_at_pagerduty_is_a_note_and_no_end() {
    let (gateway, incident) = with_incident().await;
    let mut merged = webhook(&gateway, "1", "incident.resolved");
    merged["event"]["data"]["resolve_reason"] = json!({
        "type": "merge_resolve_reason", "incident": {"html_url": "https://acme.pagerduty.com/2"},
    });

    assert_eq!(result(&gateway, &merged).await, "changed");

    assert_eq!(status(&gateway, &incident).await, "triggered");
    let newest = &notes(&gateway, &incident).await[0];
    assert_eq!(newest, "merged in PagerDuty by Maeve into https://acme.pagerduty.com/2");
}

#[actix_web::test]
async fn a_webhook_that_comes_again_is_ignored() {
    let (gateway, incident) = with_incident().await;
    let mut note = webhook(&gateway, "1", "incident.reopened");
    assert_eq!(result(&gateway, &note).await, "changed");
    assert_eq!(signed(&gateway, &note).await, ("ignored".to_owned(), json!("it came before")));

    // By its header, where the body has no id.
    note["event"]["id"] = Value::Null;
    let body = note.to_string();
    let signature = signature(SIGNING_SECRET, &body);
    let headers = [("X-PagerDuty-Signature", signature.as_str()), ("X-Webhook-Id", "w1")];
    for result in ["changed", "ignored"] {
        assert_eq!(post(&gateway, &headers, &body).await.json()["result"], result);
    }
    assert_eq!(notes(&gateway, &incident).await.len(), 3);
}

#[actix_web::test]
async fn what_our_own_events_did_at_pagerduty_is_not_done_again() {
    let (gateway, incident) = with_incident().await;
    let integration = json!({"type": "inbound_integration_reference", "summary": "Events API V2"});
    for (at, agent) in [integration, Value::Null].into_iter().enumerate() {
        for event_type in ["incident.acknowledged", "incident.resolved"] {
            let mut echo = webhook(&gateway, &format!("{event_type} {at}"), event_type);
            echo["event"]["agent"] = agent.clone();

            assert_eq!(result(&gateway, &echo).await, "ignored", "{echo}");
        }
    }
    assert_eq!(status(&gateway, &incident).await, "triggered");

    // An acknowledgement that ran out is nobody's doing, and holds.
    let mut ended = webhook(&gateway, "ended", "incident.unacknowledged");
    ended["event"]["agent"] = Value::Null;
    assert_eq!(result(&gateway, &webhook(&gateway, "a", "incident.acknowledged")).await, "changed");
    assert_eq!(result(&gateway, &ended).await, "changed");
    assert_eq!(status(&gateway, &incident).await, "triggered");
}

#[actix_web::test]
async fn what_was_done_before_it_was_opened_again_is_not_done_to_it() {
    let gateway = Gateway::start().await;
    made(&gateway, json!({})).await;
    let grouping = json!([{"by": ["class"], "reopen_within": "1h"}]);
    told(&gateway, "default", &json!("pd"), grouping).await;
    let incident = triggered(&gateway, "srv01/mysql").await;
    let page = format!("https://gate.example.com/duty/incidents/{}", text(&incident["id"]));
    assert_eq!(result(&gateway, &opened(&gateway, &page)).await, "changed");
    let path = format!("/incidents/{}/resolve", text(&incident["id"]));
    gateway.clock.advance(Span::from_secs(60));
    assert_eq!(gateway.post(&path, &Value::Null).await.status, 200);
    let old = webhook(&gateway, "old", "incident.resolved");
    gateway.clock.advance(Span::from_secs(60));
    assert_eq!(gateway.trigger(KEY, "srv01/mysql", "disk").await.status, 202);
    assert_eq!(status(&gateway, &incident).await, "triggered", "it was reopened");
    gateway.clock.advance(Span::from_secs(60));

    let (result, reason) = signed(&gateway, &old).await;

    assert_eq!((result.as_str(), reason), ("ignored", json!("it has been opened again since")));
    assert_eq!(status(&gateway, &incident).await, "triggered");
    let new = webhook(&gateway, "new", "incident.resolved");
    assert_eq!(self::result(&gateway, &new).await, "changed");
    assert_eq!(status(&gateway, &incident).await, "resolved");
}

#[actix_web::test]
async fn an_old_service_names_the_key_and_an_unknown_one_is_taken_without_effect() {
    let gateway = Gateway::start().await;
    made(&gateway, json!({})).await;
    let incident = triggered(&gateway, "srv01/mysql").await;
    let mut by_key = webhook(&gateway, "1", "incident.acknowledged");
    by_key["event"]["data"]["incident_key"] = format!("dutygate:{}", text(&incident["id"])).into();

    assert_eq!(result(&gateway, &by_key).await, "changed");
    assert_eq!(status(&gateway, &incident).await, "acknowledged");
    for (at, key) in
        ["dutygate:00000000-0000-7000-8000-000000000000", "dutygate:test:0199", "srv01/mysql", ""]
            .into_iter()
            .enumerate()
    {
        let mut unknown = webhook(&gateway, &format!("unknown {at}"), "incident.resolved");
        unknown["event"]["data"]["incident_key"] = key.into();

        assert_eq!(result(&gateway, &unknown).await, "ignored", "{key}");
    }
    assert_eq!(status(&gateway, &incident).await, "acknowledged");
    for page in ["https://kibana.example.com/1", "https://x/incidents/42", "/incidents/#alert-"] {
        assert_eq!(result(&gateway, &opened(&gateway, page)).await, "ignored", "{page}");
    }
}

#[actix_web::test]
async fn where_each_alert_is_told_of_the_alert_is_meant() {
    let gateway = Gateway::start().await;
    made(&gateway, json!({"per_alert": true})).await;
    told(&gateway, "default", &json!("pd"), json!([{"by": ["class"]}])).await;
    triggered(&gateway, "a").await;
    let incident = triggered(&gateway, "b").await;
    let alert = gateway.get("/alerts?dedup_key=b").await.json()["items"][0].clone();
    let (id, of) = (text(&alert["id"]), text(&incident["id"]));
    let page = format!("https://gate.example.com/duty/incidents/{of}#alert-{id}");
    assert_eq!(result(&gateway, &opened(&gateway, &page)).await, "changed");

    assert_eq!(result(&gateway, &webhook(&gateway, "1", "incident.resolved")).await, "changed");

    let statuses = async || {
        let alerts = gateway.get("/alerts").await.json();
        let alerts = alerts["items"].as_array().unwrap().clone();
        alerts.iter().map(|alert| text(&alert["status"]).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(statuses().await, ["resolved", "triggered"]);
    let other = gateway.get("/alerts?dedup_key=a").await.json()["items"][0]["id"].clone();
    let mut by_key = webhook(&gateway, "2", "incident.acknowledged");
    by_key["event"]["data"]["incident_key"] = format!("dutygate:{}", text(&other)).into();
    assert_eq!(result(&gateway, &by_key).await, "changed");
    assert_eq!(statuses().await, ["resolved", "acknowledged"]);
}

#[actix_web::test]
async fn passed_through_the_newest_open_alert_of_the_key_is_meant() {
    let gateway = Gateway::start().await;
    made(&gateway, json!({"passthrough": true})).await;
    triggered(&gateway, "srv01/mysql").await;
    let mut by_key = webhook(&gateway, "1", "incident.resolved");
    by_key["event"]["data"]["incident_key"] = "srv01/mysql".into();
    assert_eq!(result(&gateway, &by_key).await, "changed");

    triggered(&gateway, "srv01/mysql").await;
    by_key["event"]["id"] = "2".into();
    by_key["event"]["event_type"] = "incident.acknowledged".into();
    assert_eq!(result(&gateway, &by_key).await, "changed");

    let alerts = gateway.get("/alerts").await.json();
    assert_eq!(alerts["items"][0]["status"], "acknowledged");
    assert_eq!(alerts["items"][1]["status"], "resolved");
    let start = Timestamp::from_millis(1_763_632_272_345);
    assert_eq!(gateway.api.ingest.now(), start, "all at one time");
}

#[actix_web::test]
async fn an_incident_that_only_another_receiver_was_told_of_is_not_known() {
    let gateway = Gateway::start().await;
    payments(&gateway, json!({})).await;
    made(&gateway, json!({})).await;
    assert_eq!(gateway.trigger(KEY_OF_PAYMENTS, "srv01/mysql", "disk").await.status, 202);
    let theirs = gateway.get("/incidents").await.json()["items"][0].clone();
    let alert = gateway.get("/alerts").await.json()["items"][0].clone();
    let unknown = ("ignored".to_owned(), json!("it is about nothing that is known here"));

    for (at, id) in [&theirs["id"], &alert["id"]].into_iter().map(text).enumerate() {
        let mut by_key = webhook(&gateway, &format!("{at}"), "incident.resolved");
        by_key["event"]["data"]["incident_key"] = format!("dutygate:{id}").into();
        assert_eq!(signed(&gateway, &by_key).await, unknown);
        let page = format!("https://gate.example.com/duty/incidents/{id}");
        assert_eq!(signed(&gateway, &opened(&gateway, &page)).await, unknown);
    }
    assert_eq!(status(&gateway, &theirs).await, "triggered");

    let own = triggered(&gateway, "srv01/mysql").await;
    let mut by_key = webhook(&gateway, "own", "incident.resolved");
    by_key["event"]["data"]["incident_key"] = format!("dutygate:{}", text(&own["id"])).into();
    assert_eq!(result(&gateway, &by_key).await, "changed");
    assert_eq!(status(&gateway, &own).await, "resolved");
}

#[actix_web::test]
async fn passed_through_an_alert_that_only_another_receiver_was_told_of_is_not_meant() {
    let gateway = Gateway::start().await;
    payments(&gateway, json!({"passthrough": true})).await;
    made(&gateway, json!({"passthrough": true})).await;
    let own = triggered(&gateway, "srv01/mysql").await;
    gateway.clock.advance(Span::from_secs(60));
    assert_eq!(gateway.trigger(KEY_OF_PAYMENTS, "srv01/mysql", "disk").await.status, 202);
    let theirs = gateway.get("/incidents").await.json()["items"][0].clone();
    assert_ne!(own["id"], theirs["id"]);
    let mut by_key = webhook(&gateway, "1", "incident.resolved");
    by_key["event"]["data"]["incident_key"] = "srv01/mysql".into();

    assert_eq!(result(&gateway, &by_key).await, "changed");

    assert_eq!(status(&gateway, &own).await, "resolved");
    assert_eq!(status(&gateway, &theirs).await, "triggered");
    by_key["event"]["id"] = "2".into();
    assert_eq!(result(&gateway, &by_key).await, "ignored");
    assert_eq!(status(&gateway, &theirs).await, "triggered");
}
