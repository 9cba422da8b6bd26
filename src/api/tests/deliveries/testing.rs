//! `/api/v1/receivers/{id}/test`, with a dispatcher that sends.

use std::{sync::Arc, time::Duration};

use actix_web::web;
use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::super::{Gateway, KEY, description};
use crate::{
    notify::{
        Attempt, Failure, Guard, Message, Notifier, Outcome, Sent,
        http::{Http, Request},
    },
    outbox::{Dispatcher, Notifiers, Parts},
    store::outbox::{StoredRevision, Want},
};

impl Gateway {
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

    /// Tests of receivers are looked at once.
    fn waiting_no_longer(mut self) -> Self {
        let api = self.api.into_inner();
        let mut api = Arc::into_inner(api).expect("no request is on its way");
        api.limits.test_wait = Duration::ZERO;
        self.api = web::Data::new(api);
        self
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
