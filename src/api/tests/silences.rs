//! `/api/v1/silences`: making, showing, changing and ending them, and what they would silence.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{Gateway, KEY};
use crate::{clock::Clock as _, domain::time::Span, store::Maintenance};

/// 2025-11-20T09:51:12.345Z is now.
fn hour() -> Value {
    json!({
        "matchers": ["class=\"disk\""], "until": "2025-11-20T10:51:12.345Z",
        "comment": "migration, ask Ann"
    })
}

fn with(mut object: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        object[name] = value.clone();
    }
    object
}

async fn states(gateway: &Gateway, query: &str) -> Vec<String> {
    let page = gateway.get(&format!("/silences{query}")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let items = page.json()["items"].as_array().unwrap().clone();
    items.iter().map(|it| format!("{} {}", it["comment"], it["state"]).replace('"', "")).collect()
}

#[actix_web::test]
async fn a_silence_is_made_shown_replaced_and_ended() {
    let gateway = Gateway::start().await;
    let given = with(hour(), &json!({"name": "migration", "service": "default"}));

    let made = gateway.post("/silences", &given).await;

    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.header("etag"), "\"v1\"");
    let silence = made.json();
    let id = silence["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), format!("/duty/api/v1/silences/{id}"));
    let default = gateway.get("/services/default").await.json();
    assert_eq!(
        silence,
        json!({
            "id": id, "name": "migration", "state": "active", "comment": "migration, ask Ann",
            "matchers": [["class=\"disk\""]], "service": "default", "service_id": default["id"],
            "from": "2025-11-20T09:51:12.345Z", "until": "2025-11-20T10:51:12.345Z",
            "schedule": null, "created_by": "token:admin",
            "created_at": "2025-11-20T09:51:12.345Z", "managed_by": null
        })
    );
    let path = format!("/silences/{id}");
    assert_eq!(gateway.get(&path).await.json(), silence);
    assert_eq!(gateway.get("/silences/migration").await.json(), silence);

    // What was shown can be sent back.
    let mut changed = silence.clone();
    changed["until"] = "2025-11-20T11:00:00.000Z".into();
    let replaced = gateway.if_match(Method::PUT, &path, "\"v1\"", &changed).await;
    assert_eq!((replaced.status.as_u16(), replaced.header("etag")), (200, "\"v2\""));
    assert_eq!(replaced.json(), changed);
    let stale = gateway.if_match(Method::PUT, &path, "\"v1\"", &changed).await;
    assert_eq!(stale.status, 412);

    gateway.clock.advance(Span::from_secs(60));
    let ended = gateway.post(&format!("{path}/expire"), &Value::Null).await;
    assert_eq!(ended.json()["state"], "expired");
    assert_eq!(ended.json()["until"], "2025-11-20T09:52:12.345Z", "when it ended");
    assert_eq!(gateway.get(&path).await.json(), ended.json(), "it stays to be read");
    let again = gateway.post(&format!("{path}/expire"), &Value::Null).await;
    assert_eq!((again.status.as_u16(), again.json()), (200, ended.json()));
    assert_eq!(gateway.call(Method::DELETE, &path, &Value::Null).await.status, 204);
    let late = gateway.call(Method::PUT, &path, &changed).await;
    assert_eq!(late.status, 409, "what is over changes no more: {}", late.text);
    assert_eq!(gateway.get("/silences/migration").await.status, 404, "its name is free");
}

#[actix_web::test]
async fn deleting_a_silence_ends_it() {
    let gateway = Gateway::start().await;
    let made = gateway.post("/silences", &hour()).await.json();
    let path = format!("/silences/{}", made["id"].as_str().unwrap());

    let stale = gateway.if_match(Method::DELETE, &path, "\"v7\"", &Value::Null).await;
    let deleted = gateway.if_match(Method::DELETE, &path, "\"v1\"", &Value::Null).await;

    assert_eq!((stale.status.as_u16(), deleted.status.as_u16()), (412, 204));
    assert_eq!(gateway.get(&path).await.json()["state"], "expired");
    let nobody = "/silences/0199aaaa-0000-7000-8000-000000000000";
    assert_eq!(gateway.call(Method::DELETE, nobody, &Value::Null).await.status, 404);
}

#[actix_web::test]
async fn the_state_follows_the_clock_and_lists_filter_by_it() {
    let gateway = Gateway::start().await;
    gateway.post("/services", &json!({"name": "payments"})).await;
    let later = json!({
        "comment": "later", "from": "2025-11-20T11:00:00Z", "until": "2025-11-20T12:00:00Z"
    });
    // Thursday now.
    let nightly = json!({"from": "22:00", "to": "02:00", "timezone": "UTC"});
    let weekly = json!({
        "comment": "weekly", "schedule": nightly, "until": null, "service": "payments"
    });
    for more in [json!({"comment": "now"}), later, weekly] {
        let made = gateway.post("/silences", &with(hour(), &more)).await;
        assert_eq!(made.status, 201, "{}", made.text);
    }

    assert_eq!(states(&gateway, "").await, ["weekly pending", "later pending", "now active"]);
    assert_eq!(states(&gateway, "?state=active").await, ["now active"]);
    assert_eq!(states(&gateway, "?service=payments").await, ["weekly pending"]);
    gateway.clock.advance(Span::from_secs(90 * 60));
    assert_eq!(
        states(&gateway, "?state=expired&state=active").await,
        ["later active", "now expired"]
    );
    assert_eq!(states(&gateway, "?state=pending").await, ["weekly pending"]);
    gateway.clock.advance(Span::from_secs(11 * 3600));
    assert_eq!(states(&gateway, "?state=active").await, ["weekly active"]);
    assert_eq!(states(&gateway, "?state=expired").await, ["later expired", "now expired"]);

    let page = gateway.get("/silences?limit=2&count=true").await.json();
    assert_eq!((page["items"].as_array().unwrap().len(), &page["total"]), (2, &json!(3)));
    let next = page["next_cursor"].as_str().unwrap();
    let rest = gateway.get(&format!("/silences?limit=2&cursor={next}")).await.json();
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &Value::Null));
    for (wrong, field) in
        [("?colour=red", "colour"), ("?state=on", "state"), ("?service=no", "service")]
    {
        assert_eq!(gateway.get(&format!("/silences{wrong}")).await.wrong(), [field]);
    }
}

#[actix_web::test]
async fn all_that_is_wrong_with_a_silence_is_said_at_once() {
    let gateway = Gateway::start().await;

    let answer = gateway
        .post(
            "/silences",
            &json!({
                "matchers": ["class=\"disk\"", "colour=\"red\""], "from": "today",
                "until": "2025-11-20T09:00:00Z", "comment": " ", "service": "nobody's",
                "name": "a\u{7}", "confirm": "yes", "id": "x"
            }),
        )
        .await;

    assert_eq!(answer.status, 400);
    let wrong = answer.wrong();
    assert_eq!(
        wrong,
        ["name", "matchers[1]", "service", "from", "until", "comment", "confirm", "id"]
    );
    assert_eq!(
        gateway.post("/silences", &json!({})).await.wrong(),
        ["matchers", "until", "comment"]
    );
    for (more, field) in [
        (json!({"until": "2025-11-20T09:51:12.345Z"}), "until"),
        (json!({"from": "2025-11-20T11:00:00Z"}), "until"),
        (json!({"schedule": {"from": "22:00", "to": "02:00"}}), "until"),
        (json!({"schedule": {"from": "22:00", "to": "26:00"}, "until": null}), "schedule.to"),
        (json!({"matchers": null}), "matchers"),
    ] {
        let answer = gateway.post("/silences", &with(hour(), &more)).await;
        assert_eq!(answer.wrong(), [field], "{more}");
    }
}

#[actix_web::test]
async fn a_name_is_taken_until_its_silence_is_over() {
    let gateway = Gateway::start().await;
    let named = with(hour(), &json!({"name": "deploy"}));
    assert_eq!(gateway.post("/silences", &named).await.status, 201);

    let taken = gateway.post("/silences", &named).await;

    assert_eq!(taken.status, 409);
    assert!(taken.text.contains("there is a silence named"), "{}", taken.text);
    gateway.clock.advance(Span::from_secs(3600));
    let later = with(named, &json!({"until": "2025-11-20T12:00:00Z"}));
    assert_eq!(gateway.post("/silences", &later).await.status, 201, "the first one is over");
}

#[actix_web::test]
async fn silencing_everything_has_to_be_confirmed() {
    let gateway = Gateway::start().await;
    for matchers in [json!([]), json!([["class=\"a\""], []]), json!(["summary=~\".*\""])] {
        let broad = with(hour(), &json!({"matchers": matchers}));

        let refused = gateway.post("/silences", &broad).await;

        assert_eq!(refused.wrong(), ["confirm"], "{matchers}");
        assert!(refused.text.contains("every alert of every service"), "{}", refused.text);
        let confirmed = with(broad.clone(), &json!({"confirm": true}));
        let made = gateway.post("/silences", &confirmed).await;
        assert_eq!(made.status, 201, "{}", made.text);
        assert_eq!(made.json()["warning"], "it silences every alert of every service");
        let path = format!("/silences/{}", made.json()["id"].as_str().unwrap());
        let sent_back = gateway.call(Method::PUT, &path, &made.json()).await;
        assert_eq!(sent_back.status, 200, "it was confirmed already: {}", sent_back.text);

        let of_one = with(broad, &json!({"service": "default"}));
        let made = gateway.post("/silences", &of_one).await;
        assert_eq!(made.json()["warning"], "it silences every alert of the service default");
    }
    let narrow = gateway.post("/silences", &hour()).await.json();
    assert_eq!(narrow["warning"], Value::Null);
}

#[actix_web::test]
async fn a_responder_silences_and_a_viewer_looks_on() {
    let gateway = Gateway::start().await;
    let (viewer, responder) = (gateway.token("viewer").await, gateway.token("responder").await);
    let made = gateway.call_as(&responder, Method::POST, "/silences", &hour()).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.json()["created_by"], "token:responder");
    let path = format!("/silences/{}", made.json()["id"].as_str().unwrap());
    let expire = format!("{path}/expire");
    let preview = json!({"matchers": []});
    for (method, path, body, of_viewer, of_responder) in [
        (Method::GET, "/silences", Value::Null, 200, 200),
        (Method::GET, &path, Value::Null, 200, 200),
        (Method::POST, "/silences/preview", preview, 200, 200),
        (Method::POST, "/silences", hour(), 403, 201),
        (Method::PUT, &path, hour(), 403, 200),
        (Method::POST, &expire, Value::Null, 403, 200),
        (Method::DELETE, &path, Value::Null, 403, 204),
    ] {
        let answer = gateway.call_as(&viewer, method.clone(), path, &body).await;
        assert_eq!(answer.status, of_viewer, "{method} {path}: {}", answer.text);
        let answer = gateway.call_as(&responder, method.clone(), path, &body).await;
        assert_eq!(answer.status, of_responder, "{method} {path}: {}", answer.text);
    }

    let audit = gateway.get("/audit").await.json()["items"].clone();
    let rows: Vec<_> = audit.as_array().unwrap().iter().collect();
    assert_eq!(
        (&rows[0]["action"], &rows[0]["object"]["kind"]),
        (&json!("expire"), &json!("silence"))
    );
    assert_eq!(rows[1]["action"], "update");
    assert_eq!(rows[1]["detail"]["after"]["comment"], "migration, ask Ann");
    assert_eq!(rows[0]["actor"], "token:responder");
}

#[actix_web::test]
async fn the_preview_shows_open_alerts_and_counts_those_of_seven_days() {
    let gateway = Gateway::start().await;
    for (key, class) in [("a", "disk"), ("b", "disk"), ("c", "cpu")] {
        assert_eq!(gateway.trigger(KEY, key, class).await.status, 202);
    }
    let alerts = gateway.get("/alerts").await.json()["items"].clone();
    let oldest = alerts[2]["id"].as_str().unwrap();
    gateway.post(&format!("/alerts/{oldest}/resolve"), &Value::Null).await;
    let preview = async |body: Value| gateway.post("/silences/preview", &body).await;

    let disk = preview(json!({"matchers": ["class=\"disk\""]})).await.json();

    assert_eq!(disk["open"]["count"], 1);
    assert_eq!(
        disk["open"]["alerts"][0],
        gateway.get("/alerts?dedup_key=b").await.json()["items"][0]
    );
    assert_eq!(disk["last_7_days"], json!({"count": 2}));
    assert_eq!((&disk["at_least"], &disk["warning"]), (&Value::Null, &Value::Null));
    let either =
        json!({"matchers": [["class=\"cpu\""], ["dedup_key=\"b\""]], "service": "default"});
    assert_eq!(preview(either).await.json()["open"]["count"], 2);
    let all = preview(json!({"matchers": []})).await.json();
    assert_eq!((&all["open"]["count"], &all["last_7_days"]["count"]), (&json!(2), &json!(3)));
    assert_eq!(all["warning"], "it silences every alert of every service");
    gateway.post("/services", &json!({"name": "payments"})).await;
    let elsewhere = json!({"matchers": ["class=\"disk\""], "service": "payments"});
    assert_eq!(preview(elsewhere).await.json()["last_7_days"]["count"], 0);
    gateway.clock.advance(Span::from_secs(8 * 86_400));
    let later = preview(json!({"matchers": ["class=\"disk\""]})).await.json();
    assert_eq!((&later["open"]["count"], &later["last_7_days"]["count"]), (&json!(1), &json!(0)));
    let wrong = preview(json!({"matchers": ["class"], "service": "x", "until": "y"})).await;
    assert_eq!(wrong.wrong(), ["matchers[0]", "service", "until"]);
    assert_eq!(preview(json!({})).await.wrong(), ["matchers"]);
}

#[actix_web::test]
async fn the_silences_of_a_deleted_service_end_with_it() {
    let gateway = Gateway::start().await;
    gateway.post("/services", &json!({"name": "payments"})).await;
    let made =
        gateway.post("/silences", &with(hour(), &json!({"service": "payments"}))).await.json();

    assert_eq!(gateway.call(Method::DELETE, "/services/payments", &Value::Null).await.status, 204);

    let silence = gateway.get(&format!("/silences/{}", made["id"].as_str().unwrap())).await.json();
    assert_eq!((&silence["state"], &silence["service"]), (&json!("expired"), &json!("payments")));
}

#[actix_web::test]
async fn a_silence_that_is_over_is_kept_as_long_as_alerts() {
    let gateway = Gateway::start().await;
    for (comment, until) in [
        ("short", "2025-11-21T00:00:00Z"),
        ("long", "2025-12-20T00:00:00Z"),
        ("newest", "2025-11-21T00:00:00Z"),
    ] {
        let silence = with(hour(), &json!({"comment": comment, "until": until}));
        assert_eq!(gateway.post("/silences", &silence).await.status, 201);
    }
    gateway.clock.advance(Span::from_secs(12 * 86_400));
    let before = gateway.clock.now().minus(Span::from_secs(10 * 86_400));

    gateway.api.store.maintain(Maintenance::PurgeAlerts { before }).await.unwrap();

    assert_eq!(
        states(&gateway, "").await,
        ["newest expired", "long active"],
        "the newest row stays"
    );
}
