//! `/api/v1/deliveries`, and what is shown of them elsewhere.

mod testing;

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{Gateway, KEY};
use crate::{
    clock::Clock as _,
    domain::{
        notify::Reason,
        time::{Span, Timestamp},
    },
    store::outbox::{AttemptRow, Knows, Leased, Next, Recorded, Turn, Want},
};

impl Gateway {
    /// With webhooks of these names, which the service `default` tells of everything.
    async fn telling(receivers: &[&str]) -> Self {
        let gateway = Self::start().await;
        for name in receivers {
            let hook = json!({
                "name": name, "kind": "webhook", "url": "https://example.com/in",
                "secret_env": "HOOK_SECRET"
            });
            assert_eq!(gateway.post("/receivers", &hook).await.status, 201);
        }
        gateway.tell(receivers).await;
        gateway
    }

    async fn tell(&self, receivers: &[&str]) {
        let service = json!({"name": "default", "notify": [{"receivers": receivers}]});
        let answer = self.call(Method::PUT, "/services/default", &service).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    async fn resolved(&self, key: &str) {
        let event = json!({"routing_key": KEY, "event_action": "resolve", "dedup_key": key});
        let answer = self.request(Method::POST, "/v2/enqueue", &[], event.to_string()).await;
        assert_eq!(answer.status, 202);
    }

    /// Leases what is due, and records what `send` says came of each.
    async fn deliver(&self, send: impl Fn(&Leased) -> (Next, AttemptRow)) -> Vec<Leased> {
        let directory = self.api.ingest.directory();
        let receivers = directory.receivers();
        let wanted: Vec<Want> =
            receivers.map(|it| Want { receiver: it.id.seq(), most: 100, early: false }).collect();
        let turn = self.turn(&[], &wanted).await;
        let done: Vec<Recorded> =
            turn.iter().map(|leased| recorded(leased, send(leased))).collect();
        self.turn(&done, &[]).await;
        turn
    }

    async fn turn(&self, done: &[Recorded], wanted: &[Want]) -> Vec<Leased> {
        let now = self.clock.now();
        let until = now.plus(Span::from_secs(60));
        let turn = Turn { now, worker: "w", until, done, up: &[], wanted };
        self.api.store.turn(&turn).await.unwrap()
    }

    /// The reasons, receivers and states of a list.
    async fn listed(&self, path: &str) -> Vec<String> {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let items = answer.json()["items"].as_array().unwrap().clone();
        let text = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
        items
            .iter()
            .map(|it| ["reason", "receiver", "state"].map(|name| text(it, name)).join(" "))
            .collect()
    }

    async fn first_id(&self, path: &str) -> String {
        self.get(path).await.json()["items"][0]["id"].as_str().unwrap().to_owned()
    }
}

fn recorded(leased: &Leased, (next, attempt): (Next, AttemptRow)) -> Recorded {
    let knows = match (next, leased.reason) {
        (Next::Delivered, Reason::Resolved) => Knows::No,
        (Next::Delivered, _) => Knows::Yes,
        _ => leased.knows,
    };
    Recorded {
        delivery: leased.id,
        lane: leased.lane,
        receiver: leased.receiver,
        incident: leased.incident,
        attempts: leased.attempts + 1,
        failures: leased.failures + u32::from(attempt.error.is_some()),
        first_attempt_at: Some(attempt.at),
        attempt: Some(attempt),
        next,
        payload: None,
        knows,
        remote: None,
    }
}

fn delivered(at: Timestamp) -> (Next, AttemptRow) {
    let (request, answer) = ("POST /in".to_owned(), "200 OK\n\n".to_owned());
    let status = Some(200);
    (Next::Delivered, AttemptRow { at, duration_ms: 7, status, error: None, request, answer })
}

fn dead(at: Timestamp) -> (Next, AttemptRow) {
    let (request, answer) = ("POST /in".to_owned(), "400 Bad Request\n\nno".to_owned());
    let error = Some("refused (status 400)".to_owned());
    (Next::Dead, AttemptRow { at, duration_ms: 9, status: Some(400), error, request, answer })
}

#[actix_web::test]
async fn what_is_owed_is_listed_and_found_by_state_receiver_and_incident() {
    let gateway = Gateway::telling(&["pager", "hook"]).await;
    let now = gateway.clock.now();
    let hook = gateway.get("/receivers/hook").await.json()["id"].as_str().unwrap().to_owned();
    gateway.trigger(KEY, "a", "c").await;
    gateway.deliver(|it| if it.name == "hook" { dead(now) } else { delivered(now) }).await;
    gateway.trigger(KEY, "b", "c").await;

    let all = gateway.get("/deliveries?count=true").await.json();

    assert_eq!((&all["total"], &all["next_cursor"]), (&json!(4), &Value::Null));
    let newest = &all["items"][0];
    let incident = gateway.get("/incidents/2").await.json();
    assert_eq!(
        *newest,
        json!({
            "id": newest["id"], "receiver": newest["receiver"], "incident_id": incident["id"],
            "alert_id": null, "reason": "opened", "state": "pending", "attempts": 0,
            "next_attempt_at": "2025-11-20T09:51:12.345Z",
            "created_at": "2025-11-20T09:51:12.345Z", "delivered_at": null, "error": null,
        })
    );
    let waiting = ["opened hook pending", "opened pager pending"];
    let ended = ["opened hook dead", "opened pager delivered"];
    let id = incident["id"].as_str().unwrap();
    let nobody = "0199aaaa-0000-7000-8000-000000000000";
    for (query, expected) in [
        ("/deliveries?state=pending", &waiting[..]),
        ("/deliveries?state=dead", &ended[..1]),
        ("/deliveries?state=delivered", &ended[1..]),
        ("/deliveries?state=dead&state=delivered", &ended),
        ("/deliveries?state=leased", &[]),
        ("/deliveries?receiver=hook", &[waiting[0], ended[0]]),
        (&format!("/deliveries?receiver={hook}"), &[waiting[0], ended[0]]),
        ("/deliveries?receiver=hook&receiver=pager&state=pending", &waiting),
        ("/deliveries?receiver=pager&state=dead", &[]),
        ("/deliveries?incident=1", &ended),
        (&format!("/deliveries?incident={id}"), &waiting),
        ("/deliveries?incident=1&incident=2&receiver=pager", &[waiting[1], ended[1]]),
        ("/deliveries?incident=1&state=dead", &ended[..1]),
        (&format!("/deliveries?incident={nobody}"), &[]),
        ("/incidents/1/deliveries", &ended),
        (&format!("/incidents/{id}/deliveries"), &waiting),
        ("/incidents/1/deliveries?state=dead&receiver=hook", &ended[..1]),
    ] {
        assert_eq!(gateway.listed(query).await, expected, "{query}");
        let counted = format!("{query}{}count=true", if query.contains('?') { '&' } else { '?' });
        assert_eq!(gateway.get(&counted).await.json()["total"], expected.len(), "{query}");
    }
    gateway.tell(&["pager"]).await;
    gateway.call(Method::DELETE, "/receivers/hook", &Value::Null).await;
    for called in ["hook", hook.as_str()] {
        let path = format!("/deliveries?receiver={called}");
        assert_eq!(gateway.listed(&path).await, [waiting[0], ended[0]], "also once it is deleted");
    }
}

#[actix_web::test]
async fn deliveries_come_in_pages_that_stay_as_they_were() {
    let gateway = Gateway::telling(&["pager"]).await;
    for key in ["a", "b", "c", "d", "e"] {
        gateway.trigger(KEY, key, "c").await;
    }
    let ids = |answer: &Value| -> Vec<Value> {
        answer["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect()
    };
    for filter in ["", "&state=pending", "&receiver=pager"] {
        let all = ids(&gateway.get(&format!("/deliveries?limit=500{filter}")).await.json());
        let mut seen = Vec::new();
        let mut path = format!("/deliveries?limit=2{filter}");
        loop {
            let page = gateway.get(&path).await.json();
            seen.extend(ids(&page));
            gateway.trigger(KEY, &format!("{filter} {}", seen.len()), "c").await;
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("/deliveries?limit=2{filter}&cursor={cursor}");
        }
        assert_eq!(seen, all, "{filter}");
    }
}

#[actix_web::test]
async fn what_is_wrong_with_a_question_is_said() {
    let gateway = Gateway::telling(&["pager"]).await;
    gateway.trigger(KEY, "a", "c").await;

    for (path, wrong) in [
        ("/deliveries?colour=red", "colour"),
        ("/deliveries?state=lost", "state"),
        ("/deliveries?receiver=nobody", "receiver"),
        ("/deliveries?receiver=0199aaaa-0000-7000-8000-000000000001", "receiver"),
        ("/deliveries?incident=x", "incident"),
        ("/deliveries?limit=501", "limit"),
        ("/deliveries?cursor=00", "cursor"),
        ("/incidents/1/deliveries?incident=1", "incident"),
    ] {
        let answer = gateway.get(path).await;
        assert_eq!(answer.status, 400, "{path}");
        assert_eq!(answer.wrong(), [wrong], "{path}");
    }
    let nobody = "0199aaaa-0000-7000-8000-000000000001";
    for path in ["/deliveries/x", &format!("/deliveries/{nobody}"), "/incidents/9/deliveries"] {
        assert_eq!(gateway.get(path).await.status, 404, "{path}");
    }
    for id in ["x", nobody] {
        let answer = gateway.post(&format!("/deliveries/{id}/retry"), &Value::Null).await;
        assert_eq!(answer.status, 404, "{id}");
    }
}

#[actix_web::test]
async fn what_is_dead_is_sent_once_more_and_so_is_its_resolve() {
    let gateway = Gateway::telling(&["pager"]).await;
    let now = gateway.clock.now();
    gateway.trigger(KEY, "a", "c").await;
    gateway.deliver(|_| dead(now)).await;
    gateway.resolved("a").await;
    assert!(gateway.deliver(|_| delivered(now)).await.is_empty());
    let never_told = ["resolved pager dead", "opened pager dead"];
    assert_eq!(gateway.listed("/deliveries").await, never_told);
    let opened = gateway.get("/deliveries").await.json()["items"][1]["id"].clone();
    let path = format!("/deliveries/{}", opened.as_str().unwrap());

    let answer = gateway.post(&format!("{path}/retry"), &Value::Null).await;

    assert_eq!(answer.status, 200, "{}", answer.text);
    let retried = answer.json();
    assert_eq!((&retried["id"], &retried["state"]), (&opened, &json!("pending")));
    assert_eq!(retried, gateway.get(&path).await.json());
    assert_eq!(retried["attempt_log"][0]["error"], "refused (status 400)", "what was is kept");
    let queued = ["resolved pager pending", "opened pager pending"];
    assert_eq!(gateway.listed("/deliveries").await, queued);
    let entry = gateway.get("/incidents/1/timeline").await.json()["items"][0].clone();
    assert_eq!(
        [&entry["kind"], &entry["actor"], &entry["reason"]],
        ["retried", "token:admin", "pager: opened"]
    );
    for reason in [Reason::Opened, Reason::Resolved] {
        let sent = gateway.deliver(|_| delivered(now)).await;
        assert_eq!(sent.iter().map(|it| it.reason).collect::<Vec<_>>(), [reason], "in order");
    }
    let told = ["resolved pager delivered", "opened pager delivered"];
    assert_eq!(gateway.listed("/deliveries").await, told);
    let delivery = gateway.get(&path).await.json();
    let log = delivery["attempt_log"].as_array().unwrap();
    assert_eq!((log.len(), &delivery["attempts"]), (2, &json!(2)));
    assert_eq!(delivery["delivered_at"], "2025-11-20T09:51:12.345Z");
    assert_eq!(
        log[1],
        json!({
            "at": "2025-11-20T09:51:12.345Z", "status": 200, "error": null, "duration_ms": 7,
            "request": "POST /in", "answer": "200 OK\n\n",
        })
    );
}

#[actix_web::test]
async fn only_what_is_dead_is_sent_once_more() {
    let gateway = Gateway::telling(&["pager"]).await;
    let now = gateway.clock.now();
    gateway.trigger(KEY, "a", "c").await;
    let path = format!("/deliveries/{}/retry", gateway.first_id("/deliveries").await);
    let refused = async |why: &str| {
        let answer = gateway.post(&path, &Value::Null).await;
        assert_eq!(answer.status, 409, "{}", answer.text);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("is not dead") && detail.contains(why), "{detail}");
    };

    refused("waits").await;
    let seq = gateway.api.ingest.directory().receivers().next().unwrap().id.seq();
    let leased = gateway.turn(&[], &[Want { receiver: seq, most: 1, early: false }]).await;
    refused("is being sent").await;
    gateway.turn(&[recorded(&leased[0], delivered(now))], &[]).await;
    refused("was delivered").await;

    let timeline = gateway.get("/incidents/1/timeline").await.text;
    assert!(!timeline.contains("retried"), "{timeline}");
}

#[actix_web::test]
async fn who_looks_on_sees_deliveries_and_sends_nothing() {
    let gateway = Gateway::telling(&["pager"]).await;
    let now = gateway.clock.now();
    gateway.trigger(KEY, "a", "c").await;
    gateway.deliver(|_| dead(now)).await;
    let path = format!("/deliveries/{}", gateway.first_id("/deliveries").await);
    let (viewer, responder) = (gateway.token("viewer").await, gateway.token("responder").await);
    let (get, post) = (Method::GET, Method::POST);
    let retry = format!("{path}/retry");
    for (token, method, path, status) in [
        (&viewer, &get, "/deliveries", 200),
        (&viewer, &get, &path, 200),
        (&viewer, &get, "/incidents/1/deliveries", 200),
        (&viewer, &post, &retry, 403),
        (&viewer, &post, "/receivers/pager/test", 403),
        (&responder, &post, "/receivers/pager/test", 403),
        (&responder, &post, &retry, 200),
    ] {
        let answer = gateway.call_as(token, method.clone(), path, &Value::Null).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
    }
    assert_eq!(gateway.request(get, "/api/v1/deliveries", &[], "").await.status, 401);
}
