//! `/api/v1/inhibition-rules`: a view of what services have.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::Gateway;

fn rule(source: &str) -> Value {
    json!({
        "service": "default", "source": [format!("class=\"{source}\"")],
        "target": ["severity=~\"warning|info\""], "equal": ["source"]
    })
}

async fn add(gateway: &Gateway, source: &str) -> Value {
    let made = gateway.post("/inhibition-rules", &rule(source)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.json()
}

fn path(rule: &Value) -> String {
    format!("/inhibition-rules/{}", rule["id"].as_str().unwrap())
}

#[actix_web::test]
async fn a_rule_is_a_part_of_its_service() {
    let gateway = Gateway::start().await;

    let answer = gateway.post("/inhibition-rules", &rule("host down")).await;

    assert_eq!((answer.status.as_u16(), answer.header("etag")), (201, "\"v2\""), "{}", answer.text);
    let made = answer.json();
    let service = gateway.get("/services/default").await;
    assert_eq!(service.header("etag"), "\"v2\"", "its version is the service's");
    let member = json!({
        "source": ["class=\"host down\""], "target": ["severity=~\"warning|info\""],
        "equal": ["source"], "release_delay": "1m", "allow_empty": false,
        "acknowledged_sources": true
    });
    assert_eq!(service.json()["inhibition"], json!([member]));
    let mut shown = member;
    shown["id"] = made["id"].clone();
    shown["service"] = "default".into();
    shown["service_id"] = service.json()["id"].clone();
    assert_eq!(made, shown);
    assert_eq!(gateway.get(&path(&made)).await.json(), made);
    let back = gateway.if_match(Method::PUT, &path(&made), "\"v2\"", &made).await;
    assert_eq!((back.status.as_u16(), back.json()), (200, made.clone()), "it can be sent back");
    let audit = gateway.get("/audit").await.json()["items"][0].clone();
    assert_eq!((&audit["action"], &audit["object"]["kind"]), (&json!("update"), &json!("service")));
}

#[actix_web::test]
async fn rules_keep_their_ids_whatever_happens_to_others() {
    let gateway = Gateway::start().await;
    let (a, b, c) = (add(&gateway, "a").await, add(&gateway, "b").await, add(&gateway, "c").await);

    let mut changed = b.clone();
    changed["release_delay"] = "5m".into();
    let replaced = gateway.call(Method::PUT, &path(&b), &changed).await;
    assert_eq!(replaced.json(), changed);
    assert_eq!(
        gateway.if_match(Method::DELETE, &path(&a), "\"v1\"", &Value::Null).await.status,
        412
    );
    assert_eq!(gateway.call(Method::DELETE, &path(&a), &Value::Null).await.status, 204);

    let list = gateway.get("/inhibition-rules?service=default&count=true").await.json();
    assert_eq!(list["items"], json!([c, changed]), "newest first");
    assert_eq!(list["total"], 2);
    assert_eq!(gateway.get(&path(&a)).await.status, 404);
    gateway.post("/services", &json!({"name": "payments"})).await;
    let elsewhere = gateway.get("/inhibition-rules?service=payments").await.json();
    assert_eq!(elsewhere["items"], json!([]));
    let mut moved = c.clone();
    moved["service"] = "payments".into();
    assert_eq!(gateway.call(Method::PUT, &path(&c), &moved).await.wrong(), ["service"]);
}

#[actix_web::test]
async fn all_that_is_wrong_with_a_rule_is_said_at_once() {
    let gateway = Gateway::start().await;
    add(&gateway, "a").await;

    let wrong =
        json!({"service": "no", "source": ["x"], "equal": ["colour"], "release_delay": "0s"});
    let mut fields = gateway.post("/inhibition-rules", &wrong).await.wrong();
    fields.sort();
    assert_eq!(fields, ["equal[0]", "release_delay", "service", "source[0]", "target"]);
    let mut reverse = rule("a");
    reverse["source"] = rule("a")["target"].clone();
    reverse["target"] = rule("a")["source"].clone();
    let refused = gateway.post("/inhibition-rules", &reverse).await;
    assert_eq!(refused.status, 400, "it contradicts the other rule: {}", refused.text);
}

#[actix_web::test]
async fn only_an_admin_changes_rules() {
    let gateway = Gateway::start().await;
    let made = add(&gateway, "a").await;
    let path = path(&made);
    for role in ["viewer", "responder"] {
        let token = gateway.token(role).await;
        for (method, path, status) in [
            (Method::GET, "/inhibition-rules", 200),
            (Method::GET, path.as_str(), 200),
            (Method::POST, "/inhibition-rules", 403),
            (Method::PUT, path.as_str(), 403),
            (Method::DELETE, path.as_str(), 403),
        ] {
            let answer = gateway.call_as(&token, method, path, &rule("b")).await;
            assert_eq!(answer.status, status, "{path}");
        }
    }
}
