//! `/api/v1/policy`: the configuration as a file, all of it or nothing.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{Answer, Gateway, KEY, KEY_OF_PAYMENTS};
use crate::domain::time::Span;

const POLICY: &str = r#"
services:
  - name: payments
    description: money
    integrations:
      - {name: elastalert-prod, type: pagerduty, key_env: PAYMENTS_KEY}
      - {name: guance-hz, type: guance}
    grouping:
      - {match: ['class="disk"'], by: [group, class], window: 30m}
    inhibition:
      - {source: ['class="host down"'], target: ['severity=~"warning|info"'], equal: [source]}
    storm: [50, 500]
    notify:
      - {receivers: [hook], repeat: 4h}
silences:
  - {name: weekly patching, match: ['group="db"'], schedule: {days: [sun], from: "23:00", to: "02:00", timezone: UTC}, service: payments}
routes:
  - {match: ['component=~"payments-.*"'], service: payments}
  - {match: ['class="disk"'], service: default}
receivers:
  - {name: hook, kind: webhook, url: https://example.com/in, secret_env: HOOK_SECRET, fallback: other}
  - {name: other, kind: webhook, url: https://example.com/other}
"#;

async fn put_as(gateway: &Gateway, token: &str, query: &str, text: &str) -> Answer {
    let token = format!("Bearer {token}");
    let headers = [("Authorization", token.as_str()), ("Content-Type", "application/yaml")];
    let path = format!("/api/v1/policy{query}");
    gateway.request(Method::PUT, &path, &headers, text.to_owned()).await
}

async fn put(gateway: &Gateway, query: &str, text: &str) -> Value {
    let answer = put_as(gateway, &gateway.admin, query, text).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// The lines that name an object.
fn lines(answer: &Value) -> Vec<String> {
    let text = answer["text"].as_str().unwrap();
    let named: Vec<String> =
        text.lines().filter(|line| line.starts_with(['+', '~', '-'])).map(str::to_owned).collect();
    let steps: Vec<String> = answer["plan"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| format!("{} {} {}", step["sign"], step["object"], step["name"]))
        .collect();
    assert_eq!(named.len(), steps.len(), "{text}");
    named
}

async fn everything(gateway: &Gateway) -> Value {
    let mut all = json!({});
    for path in ["/services", "/integrations", "/silences", "/routes", "/receivers", "/audit"] {
        all[path] = gateway.get(&format!("{path}?count=true")).await.json();
    }
    all
}

#[actix_web::test]
async fn a_file_is_applied_and_applied_again_changes_nothing() {
    let gateway = Gateway::start().await;

    let first = put(&gateway, "", POLICY).await;

    assert_eq!(first["applied"], true);
    let made = lines(&first);
    assert!(made.iter().all(|line| line.starts_with("+ ")), "{made:?}");
    for line in [
        "+ service payments",
        "+ integration elastalert-prod",
        "+ silence weekly patching",
        "+ receiver hook",
    ] {
        assert!(made.iter().any(|made| made == line), "{made:?}");
    }
    assert_eq!(made.len(), 8);
    // The key that nobody knows yet is shown this once, the other not at all.
    let keys = first["keys"].as_array().unwrap();
    assert_eq!((keys.len(), &keys[0]["integration"]), (1, &json!("guance-hz")));
    assert!(!first.to_string().contains(KEY_OF_PAYMENTS));
    assert_eq!(gateway.trigger(KEY_OF_PAYMENTS, "k", "disk").await.status, 202);
    assert_eq!(gateway.trigger(keys[0]["key"].as_str().unwrap(), "k", "disk").await.status, 202);
    let service = gateway.get("/services/payments").await.json();
    assert_eq!((&service["storm"], &service["managed_by"]), (&json!([50, 500]), &json!("policy")));
    assert_eq!(service["notify"][0]["receivers"], json!(["hook"]));
    let silence = gateway.get("/silences/weekly%20patching").await.json();
    assert_eq!(
        (&silence["service"], &silence["created_by"]),
        (&json!("payments"), &json!("token:admin"))
    );
    let routes = gateway.get("/routes").await.json();
    assert_eq!(routes["items"][1]["service"], "default");
    let rows = gateway.get("/audit?count=true").await.json()["total"].as_u64().unwrap();
    assert_eq!(rows, 3 + 8, "an audit row for each object, besides those of the start");

    let before = everything(&gateway).await;
    let again = put(&gateway, "?prune=true", POLICY).await;
    assert_eq!(
        (&again["plan"], &again["text"], &again["keys"]),
        (&json!([]), &json!(""), &Value::Null)
    );
    assert_eq!(everything(&gateway).await, before, "not a version, not an audit row");
}

#[actix_web::test]
async fn what_is_managed_comes_back_as_a_file_that_changes_nothing() {
    let gateway = Gateway::start().await;
    put(&gateway, "", POLICY).await;
    gateway.post("/services", &json!({"name": "by hand"})).await;

    let shown = gateway.get("/policy").await;

    assert_eq!((shown.status.as_u16(), shown.header("content-type")), (200, "application/yaml"));
    assert!(shown.text.contains("weekly patching"), "{}", shown.text);
    assert!(!shown.text.contains("by hand"), "{}", shown.text);
    let back = put(&gateway, "?prune=true", &shown.text).await;
    assert_eq!(lines(&back), [""; 0], "{}", shown.text);
    for (method, query, field) in [
        (Method::GET, "?x=1", "x"),
        (Method::PUT, "?dry_run=yes", "dry_run"),
        (Method::PUT, "?dryrun=true", "dryrun"),
    ] {
        let answer = gateway.call(method, &format!("/policy{query}"), &Value::Null).await;
        assert_eq!(answer.wrong(), [field]);
    }
}

#[actix_web::test]
async fn a_dry_run_plans_the_same_and_changes_nothing() {
    let gateway = Gateway::start().await;
    let before = everything(&gateway).await;

    let planned = put(&gateway, "?dry_run=true", POLICY).await;

    assert_eq!((&planned["applied"], &planned["keys"]), (&json!(false), &Value::Null));
    assert_eq!(everything(&gateway).await, before);
    let applied = put(&gateway, "?dry_run=false", POLICY).await;
    assert_eq!((&applied["plan"], &applied["text"]), (&planned["plan"], &planned["text"]));
}

#[actix_web::test]
async fn a_dry_run_says_how_many_resolves_go_to_whom_it_names_no_more() {
    let gateway = Gateway::start().await;
    let file = |notify: &str| {
        format!(
            "services: [{{name: default, notify: {notify}}}]\n\
             receivers: [{{name: hook, kind: webhook, url: https://example.com/in}}]\n"
        )
    };
    put(&gateway, "", &file("[{receivers: [hook]}]")).await;
    for key in ["a", "b", "c"] {
        assert_eq!(gateway.trigger(KEY, key, "disk").await.status, 202);
    }
    gateway.post("/incidents/3/resolve", &Value::Null).await;

    let planned = put(&gateway, "?dry_run=true", &file("[]")).await;

    let details = planned["plan"][0]["details"].as_array().unwrap();
    let owed = "2 open incidents that hook was told of: their resolves still go";
    assert_eq!(details.last().unwrap(), owed, "{planned}");
    assert!(planned["text"].as_str().unwrap().contains(&format!("\n    {owed}\n")), "{planned}");
}

#[actix_web::test]
async fn an_edit_changes_what_it_names_and_keeps_ids_and_keys() {
    let gateway = Gateway::start().await;
    put(&gateway, "", POLICY).await;
    let id = async |path: &str| gateway.get(path).await.json()["id"].clone();
    let paths =
        ["/services/payments", "/integrations/elastalert-prod", "/silences/weekly%20patching"];
    let mut before = Vec::new();
    for path in paths {
        before.push(id(path).await);
    }
    let rule = gateway.get("/inhibition-rules").await.json()["items"][0]["id"].clone();

    let edited =
        POLICY.replace("window: 30m", "window: 45m").replace("days: [sun]", "days: [sat]").replace(
            "elastalert-prod, type: pagerduty",
            "elastalert-prod, type: pagerduty, shared: true",
        );
    let answer = put(&gateway, "", &edited).await;

    assert_eq!(
        lines(&answer),
        ["~ service payments", "~ integration elastalert-prod", "~ silence weekly patching"]
    );
    for (path, before) in paths.into_iter().zip(before) {
        assert_eq!(id(path).await, before, "{path}");
    }
    assert_eq!(gateway.get("/inhibition-rules").await.json()["items"][0]["id"], rule);
    assert_eq!(gateway.get("/services/payments").await.json()["grouping"][0]["window"], "45m");
    assert_eq!(gateway.trigger(KEY_OF_PAYMENTS, "k", "disk").await.status, 202, "the key stays");
    // What is not said any more means its default.
    let bare = "services: [{name: payments}]";
    assert_eq!(lines(&put(&gateway, "", bare).await), ["~ service payments"]);
    let service = gateway.get("/services/payments").await.json();
    assert_eq!((&service["storm"], &service["description"]), (&json!([]), &json!("")));
}

#[actix_web::test]
async fn pruning_deletes_what_a_file_made_and_nothing_else() {
    let gateway = Gateway::start().await;
    put(&gateway, "", POLICY).await;
    gateway.post("/services", &json!({"name": "by hand"})).await;
    let night = json!({
        "name": "3 a.m.", "matchers": ["class=\"x\""], "until": "2025-11-21T00:00:00Z", "comment": "ill"
    });
    gateway.post("/silences", &night).await;
    let less = "services: [{name: default, description: all}]";

    let left_alone = put(&gateway, "", less).await;
    assert_eq!(lines(&left_alone), ["~ service default"]);
    let pruned = put(&gateway, "?prune=true", less).await;

    let (routes, mut deleted): (Vec<_>, Vec<_>) =
        lines(&pruned).into_iter().partition(|line| line.starts_with("- route "));
    deleted.sort();
    assert_eq!(routes.len(), 2, "{routes:?}");
    assert_eq!(
        deleted,
        [
            "- integration elastalert-prod",
            "- integration guance-hz",
            "- receiver hook",
            "- receiver other",
            "- service payments",
            "- silence weekly patching",
        ]
    );
    assert_eq!(gateway.get("/services/by%20hand").await.status, 200);
    assert_eq!(gateway.get("/silences/3%20a.m.").await.json()["state"], "active");
    assert_eq!(gateway.get("/services/payments").await.status, 404);
    assert_eq!(gateway.trigger(KEY_OF_PAYMENTS, "k", "disk").await.status, 400);
    let empty = put(&gateway, "?prune=true", "services: []").await;
    assert_eq!(lines(&empty), [""; 0], "default stays, whoever managed it");
    assert_eq!(gateway.trigger(KEY, "k", "disk").await.status, 202);
    for nothing in ["", "# all gone\n---\n"] {
        let refused = put_as(&gateway, &gateway.admin, "?prune=true", nothing).await;
        assert_eq!(refused.wrong(), ["body"], "hardly meant");
    }
}

#[actix_web::test]
async fn every_mistake_is_said_with_its_path_and_line() {
    let gateway = Gateway::start().await;
    let before = everything(&gateway).await;
    let wrong = r#"services:
  - name: payments
    integrations:
      - {name: a, type: pigeon}
    grouping:
      - {by: [colour]}
      - {by: [class], window: 99d}
    flapping: {mode: loud}
    notify:
      - {receivers: [nobody]}
silences:
  - {name: s, match: ['class=~"("'], schedule: {from: "22:00", to: "02:00", timezone: Mars/Base}}
routes:
  - {match: [], service: nowhere}
receivers:
  - {name: r, kind: pigeon}
colour: red
"#;

    let answer = put_as(&gateway, &gateway.admin, "", wrong).await;

    assert_eq!(answer.status, 400);
    let told: Vec<(String, u64)> = answer.json()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["field"].as_str().unwrap().to_owned(), error["line"].as_u64().unwrap()))
        .collect();
    let told: Vec<(&str, u64)> = told.iter().map(|(field, line)| (field.as_str(), *line)).collect();
    assert_eq!(
        told,
        [
            ("services[0].integrations[0].type", 4),
            ("services[0].grouping[0].by[0]", 6),
            ("services[0].grouping[1].window", 7),
            ("services[0].flapping.mode", 8),
            ("services[0].notify[0].receivers[0]", 10),
            ("silences[0].match[0]", 12),
            ("silences[0].schedule.timezone", 12),
            ("routes[0].service", 14),
            ("receivers[0].kind", 16),
            ("colour", 17),
        ]
    );
    assert_eq!(everything(&gateway).await, before);
    let no_key = POLICY.replace("PAYMENTS_KEY", "NO_KEY");
    let answer = put_as(&gateway, &gateway.admin, "?dry_run=true", &no_key).await;
    assert_eq!(answer.wrong(), ["services[0].integrations[0].key_env"]);
    let not_text = gateway.call(Method::PUT, "/policy", &Value::Null).await;
    assert_eq!(not_text.status, 200, "an empty file names nothing: {}", not_text.text);
}

#[actix_web::test]
async fn a_file_is_applied_whole_or_not_at_all() {
    let gateway = Gateway::start().await;
    put(&gateway, "", POLICY).await;
    let by_hand = json!({"name": "by hand", "notify": [{"receivers": ["hook"]}]});
    assert_eq!(gateway.post("/services", &by_hand).await.status, 201);
    // Somebody else has this key: the last of the steps is refused.
    let taken = json!({"name": "taken", "service": "default", "key": "k".repeat(32)});
    assert_eq!(gateway.post("/integrations", &taken).await.status, 201);
    let before = everything(&gateway).await;
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("key");
    std::fs::write(&path, format!("{}\n", "k".repeat(32))).unwrap();
    let path = path.display();
    let more = format!(
        "services:\n  - {{name: default, description: new}}\n  - name: billing\n    \
         integrations: [{{name: billing, type: pagerduty, key_file: '{path}'}}]\n"
    );

    let refused = put_as(&gateway, &gateway.admin, "", &more).await;

    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(!refused.text.contains(&"k".repeat(32)));
    assert_eq!(everything(&gateway).await, before);
    std::fs::write(path.to_string(), "n".repeat(32)).unwrap();
    let applied = put(&gateway, "", &more).await;
    assert_eq!(lines(&applied).len(), 3);
    assert_eq!(gateway.trigger(&"n".repeat(32), "k", "c").await.status, 202);
    // A new key in the file takes over; the one before works on for a day.
    std::fs::write(path.to_string(), "m".repeat(32)).unwrap();
    assert_eq!(lines(&put(&gateway, "", &more).await), ["~ integration billing"]);
    for key in ["n", "m"] {
        assert_eq!(gateway.trigger(&key.repeat(32), "k", "c").await.status, 202, "{key}");
    }
    assert_eq!(lines(&put(&gateway, "", &more).await), [""; 0]);
    // Named again, the one before takes over again and outlives the day.
    std::fs::write(path.to_string(), "n".repeat(32)).unwrap();
    assert_eq!(lines(&put(&gateway, "", &more).await), ["~ integration billing"]);
    assert_eq!(lines(&put(&gateway, "", &more).await), [""; 0]);
    gateway.clock.advance(Span::from_secs(2 * 86_400));
    assert_eq!(gateway.trigger(&"n".repeat(32), "k", "c").await.status, 202);
    assert_eq!(gateway.trigger(&"m".repeat(32), "k", "c").await.status, 400);
}

#[actix_web::test]
async fn what_was_made_by_hand_is_taken_over_when_a_file_names_it() {
    let gateway = Gateway::start().await;
    gateway.post("/services", &json!({"name": "payments"})).await;
    let file = "services: [{name: payments}]";

    let first = put(&gateway, "", file).await;

    assert_eq!(lines(&first), ["~ service payments"]);
    assert_eq!(gateway.get("/services/payments").await.json()["managed_by"], "policy");
    assert_eq!(lines(&put(&gateway, "", file).await), [""; 0]);
    // An edit by hand does not take it back; the next apply undoes it.
    let edited = json!({"name": "payments", "storm": [9]});
    let edited = gateway.call(Method::PUT, "/services/payments", &edited).await.json();
    assert_eq!(edited["managed_by"], "policy");
    assert_eq!(lines(&put(&gateway, "", file).await), ["~ service payments"]);
    assert_eq!(lines(&put(&gateway, "?prune=true", "services: []").await), ["- service payments"]);
}

#[actix_web::test]
async fn only_an_admin_applies() {
    let gateway = Gateway::start().await;
    for role in ["viewer", "responder"] {
        let token = gateway.token(role).await;
        assert_eq!(gateway.call_as(&token, Method::GET, "/policy", &Value::Null).await.status, 200);
        for query in ["", "?dry_run=true"] {
            assert_eq!(put_as(&gateway, &token, query, POLICY).await.status, 403);
        }
    }
    let large = format!("# {}\n", "x".repeat(1024 * 1024));
    assert_eq!(put_as(&gateway, &gateway.admin, "", &large).await.status, 413);
}
