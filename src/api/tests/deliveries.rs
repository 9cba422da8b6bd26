//! `/api/v1/deliveries`, what is shown of them elsewhere, and `/api/v1/receivers/{id}/test`.

use std::{sync::Arc, time::Duration};

use actix_web::{http::Method, web};
use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::{Gateway, KEY, description};
use crate::{
    clock::Clock as _,
    domain::{
        notify::Reason,
        time::{Span, Timestamp},
    },
    notify::{
        Attempt, Failure, Guard, Message, Notifier, Outcome, Sent,
        http::{Http, Request},
    },
    outbox::{Dispatcher, Notifiers, Parts},
    store::outbox::{AttemptRow, Knows, Leased, Next, Recorded, StoredRevision, Turn, Want},
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

    /// Tests of receivers are looked at once.
    fn waiting_no_longer(mut self) -> Self {
        let api = self.api.into_inner();
        let mut api = Arc::into_inner(api).expect("no request is on its way");
        api.limits.test_wait = Duration::ZERO;
        self.api = web::Data::new(api);
        self
    }

    async fn first_id(&self, path: &str) -> String {
        self.get(path).await.json()["items"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Sends what is owed in the background, in this way, until the guard goes.
    fn sending(&self, notifier: impl Notifier + 'static) -> Sending {
        let parts = Parts {
            store: Arc::clone(&self.api.store),
            clock: Arc::<crate::clock::ManualClock>::clone(&self.clock),
            metrics: Arc::clone(&self.api.metrics),
            notifiers: Arc::new(Always(Arc::new(notifier))),
            base_url: self.api.base_url.clone(),
            worker: "w".to_owned(),
            outlook: self.api.outlook.clone(),
        };
        let stop = CancellationToken::new();
        let task = actix_web::rt::spawn(Dispatcher::new(parts).run(stop.clone()));
        Sending { stop, task }
    }
}

struct Sending {
    stop: CancellationToken,
    task: actix_web::rt::task::JoinHandle<()>,
}

impl Sending {
    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
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

/// Every receiver has this notifier.
#[derive(Debug)]
struct Always(Arc<dyn Notifier>);

impl Notifiers for Always {
    fn notifier(&self, _: &StoredRevision) -> Result<Arc<dyn Notifier>, String> {
        Ok(Arc::clone(&self.0))
    }
}

/// Cannot reach anybody.
#[derive(Debug)]
struct Cut;

#[async_trait]
impl Notifier for Cut {
    fn compose(&self, _: &Message) -> Result<Value, String> {
        Ok(Value::Null)
    }

    async fn send(&self, _: &Attempt<'_>) -> Sent {
        let outcome = Outcome::Retry { failure: Failure::Unreachable, after: None };
        Sent { outcome, ..Sent::dead("no connection") }
    }
}

/// Sends what it composes, and a password, over real HTTP.
#[derive(Debug)]
struct Posting {
    url: String,
    password: SecretString,
}

const PASSWORD: &str = "open-sesame";

#[async_trait]
impl Notifier for Posting {
    fn compose(&self, message: &Message) -> Result<Value, String> {
        Ok(json!({"reason": message.reason.as_str(), "title": message.incident.title}))
    }

    async fn send(&self, attempt: &Attempt<'_>) -> Sent {
        let http = Http::new(Guard::new(true)).unwrap();
        let request = Request {
            method: reqwest::Method::POST,
            url: format!("{}/in?password={PASSWORD}", self.url).parse().unwrap(),
            headers: Vec::new(),
            body: Some(attempt.payload.to_string()),
            secrets: &[&self.password],
            allowed_hosts: &[],
        };
        http.exchange(request).await.sent(attempt.now)
    }
}

impl Posting {
    /// To a server that answers every request with this status, and repeats what it was sent.
    async fn to_echo(status: &'static str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        actix_web::rt::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut seen = Vec::new();
                while !seen.ends_with(b"}") {
                    stream.read_buf(&mut seen).await.unwrap();
                }
                let seen = String::from_utf8(seen).unwrap();
                let length = seen.len();
                let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n");
                let answer = format!("{head}content-length: {length}\r\n\r\n{seen}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { url, password: PASSWORD.to_owned().into() }
    }
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

#[actix_web::test]
async fn a_test_is_answered_with_what_the_receiver_said_without_secrets() {
    let gateway = Gateway::telling(&["pager"]).await;
    for (status, outcome, error) in [
        ("200 OK", "delivered", Value::Null),
        ("503 Busy", "failed", json!("the receiver is in trouble (status 503)")),
    ] {
        let sending = gateway.sending(Posting::to_echo(status).await);

        let answer = gateway.post("/receivers/pager/test", &json!({})).await;

        assert_eq!(answer.status, 200, "{}", answer.text);
        let test = answer.json();
        description::assert_described("ReceiverTest", &test);
        assert_eq!((&test["outcome"], &test["error"]), (&json!(outcome), &error));
        assert_eq!(test["status"], status[..3].parse::<u16>().unwrap());
        let path = format!("/deliveries/{}", test["delivery_id"].as_str().unwrap());
        let delivery = gateway.get(&path).await;
        let log = delivery.json()["attempt_log"].clone();
        assert_eq!(log.as_array().unwrap().len(), 1, "a test is tried once");
        assert_eq!(log[0]["answer"], test["answer"]);
        description::assert_described("Delivery", &delivery.json());
        description::assert_described("Attempt", &log[0]);
        for text in [&answer.text, &delivery.text] {
            assert!(text.contains("/in?password=…"), "{text}");
            assert!(text.contains("Test of dutygate"), "{text}");
            assert!(!text.contains(PASSWORD), "{text}");
        }
        assert_eq!(delivery.json()["reason"], "test");
        assert_eq!(delivery.json()["incident_id"], Value::Null);
        let again = gateway.post(&format!("{path}/retry"), &Value::Null).await;
        assert_eq!(again.status, 409);
        assert!(again.text.contains("test the receiver anew"), "{}", again.text);
        sending.end().await;
    }
    assert_eq!(gateway.post("/receivers/nobody/test", &Value::Null).await.status, 404);
    let wrong = gateway.post("/receivers/pager/test", &json!({"loud": true})).await;
    assert_eq!(wrong.wrong(), ["loud"]);
}

#[actix_web::test]
async fn a_receiver_that_is_down_is_tested_all_the_same() {
    let gateway = Gateway::telling(&["pager"]).await;
    let sending = gateway.sending(Cut);
    for key in ["a", "b", "c", "d", "e"] {
        gateway.trigger(KEY, key, "c").await;
    }
    let is_down = async {
        while gateway.api.outlook.down().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), is_down).await.expect("it is found out");

    let test = gateway.post("/receivers/pager/test", &Value::Null).await.json();

    assert_eq!((&test["outcome"], &test["error"]), (&json!("failed"), &json!("no connection")));
    assert_eq!((&test["status"], &test["answer"]), (&Value::Null, &json!("")));
    assert_eq!(gateway.listed("/deliveries?state=pending").await.len(), 5);
    sending.end().await;
    let gateway = gateway.waiting_no_longer();
    let test = gateway.post("/receivers/pager/test", &Value::Null).await.json();
    assert_eq!(test["outcome"], "pending");
    let error = test["error"].as_str().unwrap();
    assert!(error.contains("cannot be reached since 2025-11-20T09:51:12.345Z"), "{error}");
}

#[actix_web::test]
async fn a_test_that_is_not_at_its_end_says_what_it_waits_for() {
    let gateway = Gateway::telling(&["pager"]).await.waiting_no_longer();
    let seq = gateway.api.ingest.directory().receivers().next().unwrap().id.seq();

    let waits = gateway.post("/receivers/pager/test", &Value::Null).await.json();
    assert_eq!((&waits["outcome"], &waits["status"]), (&json!("pending"), &Value::Null));
    assert!(waits["error"].as_str().unwrap().contains("waits for its turn"), "{waits}");
    let id = waits["delivery_id"].as_str().unwrap();
    assert_eq!(gateway.first_id("/deliveries?state=pending").await, id, "it is sent later");
    assert_eq!(gateway.turn(&[], &[Want { receiver: seq, most: 9, early: false }]).await.len(), 1);

    gateway.api.phase.leave();
    let waits = gateway.post("/receivers/pager/test", &Value::Null).await.json();
    assert!(waits["error"].as_str().unwrap().contains("shutting down"), "{waits}");
}
