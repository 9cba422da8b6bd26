//! `/api/v1/routes`: an ordered list.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::Gateway;

/// The classes that the routes match, in their order.
async fn order(gateway: &Gateway) -> String {
    let mut classes = String::new();
    let mut path = "/routes?limit=2&count=true".to_owned();
    loop {
        let page = gateway.get(&path).await;
        assert_eq!(page.status, 200, "{}", page.text);
        for (at, route) in page.json()["items"].as_array().unwrap().iter().enumerate() {
            let position = route["position"].as_u64().unwrap();
            assert_eq!(position % 2, at as u64, "{route}");
            classes.push_str(route["match"][0].as_str().unwrap().split('"').nth(1).unwrap());
        }
        match page.json()["next_cursor"].as_str() {
            Some(next) => path = format!("/routes?limit=2&cursor={next}"),
            None => return classes,
        }
    }
}

fn route(class: &str, position: &Value) -> Value {
    json!({"match": [format!("class=\"{class}\"")], "service": "default", "position": position})
}

async fn add(gateway: &Gateway, class: &str, position: Value) -> String {
    let made = gateway.post("/routes", &route(class, &position)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    format!("/routes/{}", made.json()["id"].as_str().unwrap())
}

#[actix_web::test]
async fn routes_are_listed_in_their_order_and_moved() {
    let gateway = Gateway::start().await;
    let a = add(&gateway, "a", Value::Null).await;
    let b = add(&gateway, "b", Value::Null).await;
    add(&gateway, "c", json!(0)).await;
    add(&gateway, "d", json!(99)).await;
    assert_eq!(order(&gateway).await, "cabd");

    let moved = gateway.if_match(Method::PUT, &b, "\"v1\"", &route("b", &json!(0))).await;

    assert_eq!((moved.status.as_u16(), moved.header("etag")), (200, "\"v2\""));
    assert_eq!(order(&gateway).await, "bcad");
    let stays = gateway.call(Method::PUT, &a, &route("e", &Value::Null)).await;
    assert_eq!(stays.json()["position"], 2);
    assert_eq!(order(&gateway).await, "bced");
    let shown = gateway.get(&a).await.json();
    assert_eq!(gateway.call(Method::PUT, &a, &shown).await.json(), shown, "it can be sent back");
    assert_eq!(gateway.if_match(Method::DELETE, &b, "\"v1\"", &Value::Null).await.status, 412);
    assert_eq!(gateway.call(Method::DELETE, &b, &Value::Null).await.status, 204);
    assert_eq!(order(&gateway).await, "ced");
    assert_eq!(gateway.get(&b).await.status, 404);
    let gone = b.rsplit('/').next().unwrap();
    assert_eq!(gateway.get(&format!("/routes?cursor={gone}")).await.wrong(), ["cursor"]);
}

#[actix_web::test]
async fn a_route_needs_a_service_that_is_there_and_stays() {
    let gateway = Gateway::start().await;

    let wrong = json!({"match": "x", "service": "no", "position": -1, "to": 1});
    assert_eq!(
        gateway.post("/routes", &wrong).await.wrong(),
        ["match", "service", "position", "to"]
    );
    assert_eq!(gateway.post("/routes", &json!({})).await.wrong(), ["service"]);
    gateway.post("/services", &json!({"name": "payments"})).await;
    let made = gateway.post("/routes", &json!({"service": "payments"})).await.json();
    assert_eq!((&made["match"], &made["service"]), (&json!([]), &json!("payments")));
    let refused = gateway.call(Method::DELETE, "/services/payments", &Value::Null).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text.contains("routes lead to the service"), "{}", refused.text);
}

#[actix_web::test]
async fn only_an_admin_routes() {
    let gateway = Gateway::start().await;
    let path = add(&gateway, "a", Value::Null).await;
    for role in ["viewer", "responder"] {
        let token = gateway.token(role).await;
        for (method, path, status) in [
            (Method::GET, "/routes", 200),
            (Method::GET, path.as_str(), 200),
            (Method::POST, "/routes", 403),
            (Method::PUT, path.as_str(), 403),
            (Method::DELETE, path.as_str(), 403),
        ] {
            let answer = gateway.call_as(&token, method, path, &route("b", &Value::Null)).await;
            assert_eq!(answer.status, status, "{path}");
        }
    }
    let audit = gateway.get("/audit").await.json();
    let row =
        audit["items"].as_array().unwrap().iter().find(|row| row["object"]["kind"] == "route");
    assert_eq!(row.unwrap()["detail"]["service"], "default");
}
