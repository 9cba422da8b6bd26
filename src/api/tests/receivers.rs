//! `/api/v1/receivers`, and the services that name them.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::Gateway;

fn hook(name: &str) -> Value {
    json!({
        "name": name, "kind": "webhook", "url": "https://example.com/in",
        "secret_env": "HOOK_SECRET"
    })
}

async fn made(gateway: &Gateway, receiver: &Value) -> Value {
    let made = gateway.post("/receivers", receiver).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.json()
}

#[actix_web::test]
async fn a_receiver_is_made_shown_replaced_and_deleted() {
    let gateway = Gateway::start().await;

    let answer = gateway.post("/receivers", &hook("hook")).await;

    assert_eq!((answer.status.as_u16(), answer.header("etag")), (201, "\"v1\""), "{}", answer.text);
    let receiver = answer.json();
    let id = receiver["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/duty/api/v1/receivers/{id}"));
    assert_eq!(
        receiver,
        json!({
            "id": id, "name": "hook", "kind": "webhook", "url": "https://example.com/in",
            "secret_env": "HOOK_SECRET", "created_at": "2025-11-20T09:51:12.345Z",
            "managed_by": null
        })
    );
    assert_eq!(gateway.get("/receivers/hook").await.json(), receiver);
    assert_eq!(gateway.get("/receivers?count=true").await.json()["items"], json!([receiver]));
    let mut changed = receiver.clone();
    changed["url"] = "https://example.com/other".into();
    let path = format!("/receivers/{id}");
    let replaced = gateway.if_match(Method::PUT, &path, "\"v1\"", &changed).await;
    assert_eq!((replaced.status.as_u16(), replaced.header("etag")), (200, "\"v2\""));
    assert_eq!(replaced.json(), changed);
    assert_eq!(gateway.if_match(Method::DELETE, &path, "\"v1\"", &Value::Null).await.status, 412);
    assert_eq!(gateway.call(Method::DELETE, &path, &Value::Null).await.status, 204);
    assert_eq!(gateway.get(&path).await.status, 404);
    made(&gateway, &hook("hook")).await;
}

#[actix_web::test]
async fn all_that_is_wrong_with_a_receiver_is_said_at_once() {
    let gateway = Gateway::start().await;
    made(&gateway, &hook("hook")).await;

    let wrong = json!({"name": "", "kind": "pigeon"});
    assert_eq!(gateway.post("/receivers", &wrong).await.wrong(), ["name", "kind"]);
    assert_eq!(gateway.post("/receivers", &json!({})).await.wrong(), ["name", "kind"]);
    let mut secret = hook("other");
    secret["secret"] = "s3cret".into();
    let refused = gateway.post("/receivers", &secret).await;
    assert_eq!(refused.wrong(), ["secret"]);
    assert!(refused.text.contains("secret_env"), "it says what to do: {}", refused.text);
    assert_eq!(gateway.post("/receivers", &hook("hook")).await.status, 409);
    for fallback in ["nobody", "other"] {
        let mut lonely = hook("other");
        lonely["fallback"] = fallback.into();
        assert_eq!(gateway.post("/receivers", &lonely).await.wrong(), ["fallback"], "{fallback}");
    }
    let mut backed = hook("other");
    backed["fallback"] = "hook".into();
    made(&gateway, &backed).await;
}

#[actix_web::test]
async fn a_receiver_that_somebody_names_keeps_its_name_and_stays() {
    let gateway = Gateway::start().await;
    made(&gateway, &hook("hook")).await;
    let mut backed = hook("backed");
    backed["fallback"] = "hook".into();
    made(&gateway, &backed).await;
    for name in ["payments", "billing"] {
        let service = json!({"name": name, "notify": [{"receivers": ["backed", "hook"]}]});
        let made = gateway.post("/services", &service).await;
        assert_eq!(made.status, 201, "{}", made.text);
    }

    let refused = gateway.call(Method::DELETE, "/receivers/hook", &Value::Null).await;

    assert_eq!(refused.status, 409);
    let named = "service \\\"billing\\\", service \\\"payments\\\", receiver \\\"backed\\\"";
    assert!(refused.text.contains(named), "{}", refused.text);
    let renamed = gateway.call(Method::PUT, "/receivers/hook", &hook("new")).await;
    assert_eq!(renamed.status, 409, "{}", renamed.text);
    for name in ["payments", "billing"] {
        gateway.call(Method::PUT, &format!("/services/{name}"), &json!({"name": name})).await;
    }
    for name in ["backed", "hook"] {
        let path = format!("/receivers/{name}");
        assert_eq!(gateway.call(Method::DELETE, &path, &Value::Null).await.status, 204);
    }
}

#[actix_web::test]
async fn a_service_names_receivers_that_are_there() {
    let gateway = Gateway::start().await;
    made(&gateway, &hook("hook")).await;
    let notify = json!([{"receivers": ["hook"]}, {"receivers": ["hook", "nobody"], "delay": "9d"}]);
    let service = json!({"name": "payments", "notify": notify, "storm": [1]});

    let refused = gateway.post("/services", &service).await;

    assert_eq!(refused.status, 400);
    let wrong = refused.wrong();
    assert!(wrong.contains(&"notify[1].delay".to_owned()), "{wrong:?}");
    let notify = json!([{"receivers": ["hook"]}, {"receivers": ["hook", "nobody"]}]);
    let service = json!({"name": "payments", "notify": notify});
    assert_eq!(gateway.post("/services", &service).await.wrong(), ["notify[1].receivers[1]"]);
    let path = "/services/default";
    let service =
        json!({"name": "default", "notify": [{"receivers": ["nobody"]}], "storm": [5, 5]});
    let wrong = gateway.call(Method::PUT, path, &service).await.wrong();
    assert!(wrong.contains(&"notify[0].receivers[0]".to_owned()), "with the others: {wrong:?}");
    assert!(wrong.iter().any(|field| field.starts_with("storm")), "{wrong:?}");
}

#[actix_web::test]
async fn only_an_admin_changes_receivers() {
    let gateway = Gateway::start().await;
    made(&gateway, &hook("hook")).await;
    for role in ["viewer", "responder"] {
        let token = gateway.token(role).await;
        for (method, path, status) in [
            (Method::GET, "/receivers", 200),
            (Method::GET, "/receivers/hook", 200),
            (Method::POST, "/receivers", 403),
            (Method::PUT, "/receivers/hook", 403),
            (Method::DELETE, "/receivers/hook", 403),
        ] {
            let answer = gateway.call_as(&token, method, path, &hook("x")).await;
            assert_eq!(answer.status, status, "{path}");
        }
    }
    let audit = gateway.get("/audit").await.json();
    let is_receiver = |row: &&Value| row["object"]["kind"] == "receiver";
    let row = audit["items"].as_array().unwrap().iter().find(is_receiver).unwrap();
    assert_eq!(row["object"]["name"], "hook");
    assert_eq!(row["detail"]["settings"]["secret_env"], "HOOK_SECRET");
}
