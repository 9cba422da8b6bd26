//! `/api/v1/integrations`: keys, what they open, and where they are never seen.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{Gateway, KEY};
use crate::domain::time::Span;

const PAGERDUTY_KEY: &str = "R0aaaaaaaaaaaaaaaaaaaaaaaaaaaaZZ";

#[actix_web::test]
async fn what_is_made_takes_events_at_once_and_shows_its_key_once() {
    let gateway = Gateway::start().await;
    let made = gateway.post("/integrations", &json!({"name": "es", "service": "default"})).await;

    assert_eq!((made.status.as_u16(), made.header("etag")), (201, "\"v1\""));
    assert_eq!(made.header("cache-control"), "no-store");
    let integration = made.json();
    let id = integration["id"].as_str().unwrap();
    let key = integration["key"].as_str().unwrap();
    assert_eq!(gateway.trigger(key, "a", "c").await.status, 202);
    assert_eq!(made.header("location"), format!("/duty/api/v1/integrations/{id}"));
    assert_eq!(
        (key.len(), &integration["key_hint"], &integration["type"], &integration["shared"]),
        (32, &json!(key[..4]), &json!("pagerduty"), &json!(false))
    );
    let url = "https://gate.example.com/duty/event/push/alert/pagerduty";
    assert_eq!(integration["url"], format!("{url}?integration_key={key}"));

    let shown = gateway.get("/integrations/es").await;
    assert_eq!(shown.json()["url"], url);
    assert_eq!(shown.json()["rejections"], json!([]));
    for path in ["/integrations/es", "/integrations", "/audit", "/services"] {
        assert!(!gateway.get(path).await.text.contains(key), "{path}");
    }
    let list = gateway.get("/integrations").await.json();
    assert_eq!(
        list["items"][0],
        json!({"id": id, "name": "es", "service_id": integration["service_id"],
            "service": "default", "type": "pagerduty", "shared": false, "key_hint": key[..4],
            "created_at": integration["created_at"], "managed_by": null})
    );
}

#[actix_web::test]
async fn a_key_can_be_brought_along_and_belongs_to_one() {
    let gateway = Gateway::start().await;
    let id = gateway.get("/services/default").await.json()["id"].clone();
    let given = json!({"name": "pd", "service": id, "key": PAGERDUTY_KEY, "shared": true});
    let made = gateway.post("/integrations", &given).await;
    assert_eq!((made.status.as_u16(), &made.json()["key"]), (201, &json!(PAGERDUTY_KEY)));
    assert_eq!(gateway.trigger(PAGERDUTY_KEY, "a", "c").await.status, 202);

    let again = json!({"name": "pd2", "service": "default", "key": PAGERDUTY_KEY});
    let taken = gateway.post("/integrations", &again).await;
    assert_eq!(taken.status, 409);
    assert!(!taken.text.contains(PAGERDUTY_KEY));
    let name = json!({"name": "pd", "service": "default"});
    assert_eq!(gateway.post("/integrations", &name).await.status, 409);
    assert_eq!(gateway.get("/integrations/pd2").await.status, 404);
}

#[actix_web::test]
async fn all_that_is_wrong_is_said_at_once() {
    let gateway = Gateway::start().await;
    let body = json!({"name": "", "service": "none", "type": "smtp", "shared": "yes",
        "key": "short", "keys": []});
    let answer = gateway.post("/integrations", &body).await;
    assert_eq!(answer.wrong(), ["key", "name", "service", "type", "shared", "keys"]);
    assert_eq!(gateway.post("/integrations", &json!({})).await.wrong(), ["name", "service"]);

    let key = json!({"name": "default", "service": "default", "key": PAGERDUTY_KEY});
    let put = gateway.call(Method::PUT, "/integrations/default", &key).await;
    assert_eq!(put.wrong(), ["key"]);
    for overlap in [json!("31d"), json!(5), json!("soon")] {
        let body = json!({"overlap": overlap});
        let answer = gateway.post("/integrations/default/rotate", &body).await;
        assert_eq!(answer.wrong(), ["overlap"]);
    }
}

#[actix_web::test]
async fn a_rotated_key_works_until_its_overlap_ends() {
    let gateway = Gateway::start().await;
    let path = "/integrations/default/rotate";

    let rotated = gateway.post(path, &json!({"overlap": "1h"})).await;
    assert_eq!((rotated.status.as_u16(), rotated.header("etag")), (200, "\"v2\""));
    let second = rotated.json()["key"].as_str().unwrap().to_owned();
    assert_eq!(rotated.json()["key_hint"], second[..4]);

    gateway.clock.advance(Span::from_secs(3599));
    assert_eq!(gateway.trigger(KEY, "a", "c").await.status, 202);
    assert_eq!(gateway.trigger(&second, "a", "c").await.status, 202);
    gateway.clock.advance(Span::from_secs(1));
    assert_eq!(gateway.trigger(KEY, "a", "c").await.status, 400);

    // Without a body the overlap is a day; with none at all the old key is over at once.
    let third = gateway.post(path, &Value::Null).await.json()["key"].as_str().unwrap().to_owned();
    gateway.clock.advance(Span::from_secs(86_399));
    assert_eq!(gateway.trigger(&second, "a", "c").await.status, 202);
    let fourth = gateway.post(path, &json!({"overlap": "0s"})).await.json()["key"].clone();
    assert_eq!(gateway.trigger(&third, "a", "c").await.status, 400);
    assert_eq!(gateway.trigger(fourth.as_str().unwrap(), "a", "c").await.status, 202);

    let audit = gateway.get("/audit").await.text;
    for key in [KEY, second.as_str(), third.as_str(), fourth.as_str().unwrap()] {
        assert!(!audit.contains(key));
    }
}

#[actix_web::test]
async fn a_change_keeps_the_key_and_a_deletion_revokes_it() {
    let gateway = Gateway::start().await;
    gateway.post("/services", &json!({"name": "payments"})).await;
    let before = gateway.get("/integrations/default").await.json();

    // What was shown can be sent back; what is not settable is left out of account.
    let mut moved = before.clone();
    moved["service"] = "payments".into();
    moved["shared"] = true.into();
    let path = format!("/integrations/{}", before["id"].as_str().unwrap());
    let answer = gateway.if_match(Method::PUT, &path, "\"v1\"", &moved).await;
    assert_eq!((answer.status.as_u16(), answer.header("etag")), (200, "\"v2\""));
    let after = answer.json();
    assert_eq!((&after["service"], &after["shared"]), (&json!("payments"), &json!(true)));
    assert_ne!(after["service_id"], before["service_id"]);
    assert_eq!(gateway.trigger(KEY, "a", "c").await.status, 202);
    let stale = gateway.if_match(Method::DELETE, &path, "\"v1\"", &Value::Null).await;
    assert_eq!(stale.status, 412);

    let deleted = gateway.if_match(Method::DELETE, &path, "\"v2\"", &Value::Null).await;
    assert_eq!(deleted.status, 204);
    let refused = gateway.trigger(KEY, "a", "c").await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["errors"], json!(["Invalid routing key"]));
    assert_eq!(gateway.get(&path).await.status, 404);
    assert_eq!(gateway.post(&format!("{path}/rotate"), &json!({})).await.status, 404);
}

#[actix_web::test]
async fn lists_can_be_of_one_service() {
    let gateway = Gateway::start().await;
    let payments = gateway.post("/services", &json!({"name": "payments"})).await.json();
    gateway.post("/integrations", &json!({"name": "a", "service": "payments"})).await;
    let names = |page: Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    let id = payments["id"].as_str().unwrap();

    for (query, wanted) in [
        ("service=payments", vec!["a"]),
        (format!("service={id}").as_str(), vec!["a"]),
        ("service=default&service=payments", vec!["a", "default"]),
        ("service=none", vec![]),
    ] {
        let page = gateway.get(&format!("/integrations?{query}")).await.json();
        assert_eq!(names(page), wanted, "{query}");
    }
}

#[actix_web::test]
async fn what_was_not_accepted_is_shown_with_its_integration() {
    let gateway = Gateway::start().await;
    let event = json!({"routing_key": KEY, "event_action": "resolve"}).to_string();
    assert_eq!(gateway.request(Method::POST, "/v2/enqueue", &[], event).await.status, 400);

    let shown = gateway.get("/integrations/default").await.json();

    assert_eq!(
        shown["rejections"],
        json!([{"at": "2025-11-20T09:51:12.345Z", "api": "v2", "reason": "invalid",
            "errors": ["'dedup_key' is missing or blank"]}])
    );
}

#[actix_web::test]
async fn a_test_goes_the_way_of_every_event_and_leaves_nothing_open() {
    let gateway = Gateway::start().await;

    let first = gateway.post("/integrations/default/test", &Value::Null).await;
    let second = gateway.post("/integrations/default/test", &json!({})).await;

    assert_eq!(first.status, 200, "{}", first.text);
    let outcome = first.json();
    assert_eq!(outcome["dedup_key"], "dutygate-test");
    assert!(outcome["alert_id"].is_string());
    assert_eq!(outcome["event_ids"].as_array().unwrap().len(), 2);
    assert_ne!(second.json()["alert_id"], outcome["alert_id"]);
    assert_eq!(gateway.api.store.open_counts().await.unwrap().alerts, []);
    assert_eq!(gateway.post("/integrations/none/test", &Value::Null).await.status, 404);
}
