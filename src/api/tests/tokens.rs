//! `/api/v1/tokens` and `/api/v1/audit`.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{Gateway, KEY};

#[actix_web::test]
async fn a_token_is_shown_once_and_works_until_it_is_revoked() {
    let gateway = Gateway::start().await;

    let made = gateway.post("/tokens", &json!({"name": "grafana", "role": "viewer"})).await;

    assert_eq!((made.status.as_u16(), made.header("cache-control")), (201, "no-store"));
    let token = made.json();
    let secret = token["token"].as_str().unwrap();
    assert!(secret.starts_with("dg_") && secret.len() == 67);
    assert_eq!(token["hint"], secret[..7]);
    let list = gateway.get("/tokens").await;
    assert!(!list.text.contains(secret) && !list.text.contains(&gateway.admin));
    let listed = &list.json()["items"][0];
    assert_eq!(
        *listed,
        json!({"id": token["id"], "name": "grafana", "role": "viewer", "hint": secret[..7],
            "created_at": token["created_at"], "last_used_at": null})
    );

    assert_eq!(gateway.call_as(secret, Method::GET, "/services", &Value::Null).await.status, 200);
    let used = gateway.get("/tokens").await.json()["items"][0]["last_used_at"].clone();
    assert_eq!(used, "2025-11-20T09:51:12.345Z");

    let path = format!("/tokens/{}", token["id"].as_str().unwrap());
    assert_eq!(gateway.call(Method::DELETE, &path, &Value::Null).await.status, 204);
    assert_eq!(gateway.call_as(secret, Method::GET, "/services", &Value::Null).await.status, 401);
    assert_eq!(gateway.call(Method::DELETE, &path, &Value::Null).await.status, 404);
}

#[actix_web::test]
async fn a_token_needs_a_name_of_its_own_and_a_role() {
    let gateway = Gateway::start().await;
    assert_eq!(
        gateway.post("/tokens", &json!({"token": "x"})).await.wrong(),
        ["name", "role", "token"]
    );
    let root = json!({"name": "a", "role": "root"});
    assert_eq!(gateway.post("/tokens", &root).await.wrong(), ["role"]);
    let taken = json!({"name": "admin", "role": "viewer"});
    assert_eq!(gateway.post("/tokens", &taken).await.status, 409);
}

#[actix_web::test]
async fn the_last_admin_cannot_be_locked_out() {
    let gateway = Gateway::start().await;
    let last = gateway.call(Method::DELETE, "/tokens/admin", &Value::Null).await;
    assert_eq!(last.status, 409);
    assert!(last.text.contains("last token with the role admin"), "{}", last.text);

    // With another one it may even revoke itself.
    let other = json!({"name": "other", "role": "admin"});
    let other = gateway.post("/tokens", &other).await.json()["token"].clone();
    assert_eq!(gateway.call(Method::DELETE, "/tokens/admin", &Value::Null).await.status, 204);
    let other = other.as_str().unwrap();
    let last = gateway.call_as(other, Method::DELETE, "/tokens/other", &Value::Null).await;
    assert_eq!(last.status, 409);
}

#[actix_web::test]
async fn every_change_leaves_an_audit_row_and_no_secret() {
    let gateway = Gateway::start().await;
    let integration = json!({"name": "a", "service": "s"});
    let mut secrets = vec![KEY.to_owned(), gateway.admin.clone()];
    gateway.post("/services", &json!({"name": "s"})).await;
    let made = gateway.post("/integrations", &integration).await.json();
    let rotated = gateway.post("/integrations/a/rotate", &json!({})).await.json();
    secrets.extend([&made, &rotated].map(|it| it["key"].as_str().unwrap().to_owned()));
    gateway.call(Method::PUT, "/services/s", &json!({"name": "t"})).await;
    gateway.call(Method::PUT, "/integrations/a", &json!({"name": "b", "service": "t"})).await;
    gateway.call(Method::DELETE, "/integrations/b", &Value::Null).await;
    gateway.call(Method::DELETE, "/services/t", &Value::Null).await;
    secrets.push(gateway.token("viewer").await);
    gateway.call(Method::DELETE, "/tokens/viewer", &Value::Null).await;
    // Refused, so it leaves nothing.
    gateway.call(Method::DELETE, "/services/default", &Value::Null).await;

    let first = gateway.get("/audit?limit=8&count=true").await;
    let page = first.json();
    let cursor = page["next_cursor"].as_str().unwrap();
    let second = gateway.get(&format!("/audit?limit=8&cursor={cursor}")).await;

    for secret in secrets {
        assert!(!first.text.contains(&secret) && !second.text.contains(&secret));
    }
    let rows: Vec<Value> = [&page, &second.json()]
        .into_iter()
        .flat_map(|page| page["items"].as_array().unwrap().clone())
        .collect();
    let shown: Vec<String> = rows
        .iter()
        .map(|row| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let object = &row["object"];
            [&row["actor"], &row["action"], &object["kind"], &object["name"]].map(text).join(" ")
        })
        .collect();
    assert_eq!(
        shown,
        [
            "token:admin revoke token viewer",
            "token:admin create token viewer",
            "token:admin delete service t",
            "token:admin delete integration b",
            "token:admin update integration b",
            "token:admin update service t",
            "token:admin rotate integration a",
            "token:admin create integration a",
            "token:admin create service s",
            "start create token admin",
            "start create integration default",
            "start create service default",
        ]
    );
    assert_eq!((&page["total"], &second.json()["next_cursor"]), (&json!(12), &Value::Null));
    assert_eq!(rows[5]["detail"]["name_before"], "s");
    assert_eq!(rows[7]["object"]["id"], made["id"]);
    assert_eq!(gateway.get("/audit?actor=start").await.wrong(), ["actor"]);
}
