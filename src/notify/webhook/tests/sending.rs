//! What goes over the wire, and what answers mean.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{environment, http, webhook};
use crate::notify::{
    Failure, Notifier as _, Outcome, Sent,
    secret::Secrets,
    tests::{
        message::{attempt, delivery, message},
        server::{Reply, Seen, Server},
    },
    webhook::Webhook,
};

/// Sends a message by a webhook with these settings to a server that answers so.
async fn exchanged(settings: &Value, reply: Reply) -> (Sent, Vec<Seen>) {
    let server = Server::start(move |_| reply.clone()).await;
    let mut settings = settings.clone();
    settings["url"] = format!("{}/in?team=a", server.url).into();
    let webhook = webhook(&settings).unwrap();
    let payload = webhook.compose(&message()).unwrap();
    let sent = webhook.send(&attempt(&payload)).await;
    (sent, server.seen())
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[tokio::test]
async fn it_is_posted_as_json_with_its_id_and_time() {
    let (sent, seen) = exchanged(&json!({}), Reply::status(204)).await;

    assert_eq!(sent.outcome, Outcome::Delivered);
    let [request] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/in?team=a"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("webhook-id"), Some(delivery().to_string().as_str()));
    assert_eq!(request.header("webhook-timestamp"), Some("1795169472"));
    assert!(request.header("user-agent").unwrap().starts_with("dutygate/"));
    assert_eq!(request.header("webhook-signature"), None);
    assert_eq!(request.header("x-pagerduty-signature"), None);
    assert_eq!(request.json()["type"], "incident.opened");
}

#[tokio::test]
async fn with_a_secret_it_is_signed_both_ways() {
    let (_, seen) = exchanged(&json!({"secret_env": "HOOK_SECRET"}), Reply::status(200)).await;

    let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let signed = format!("{}.1795169472.{}", delivery(), seen[0].body);
    let standard = format!("v1,{}", STANDARD.encode(mac(&key, &signed)));
    let pagerduty = format!("v1={}", hex::encode(mac(&key, &seen[0].body)));
    assert_eq!(seen[0].header("webhook-signature"), Some(standard.as_str()));
    assert_eq!(seen[0].header("x-pagerduty-signature"), Some(pagerduty.as_str()));
}

#[tokio::test]
async fn a_retry_has_the_same_id_and_body() {
    let server = Server::start(|_| Reply::status(500)).await;
    let webhook = webhook(&json!({"url": server.url})).unwrap();
    let payload = webhook.compose(&message()).unwrap();

    for _ in 0..2 {
        let sent = webhook.send(&attempt(&payload)).await;
        let unavailable = Outcome::Retry { failure: Failure::Unavailable, after: None };
        assert_eq!(sent.outcome, unavailable);
    }

    let seen = server.seen();
    assert_eq!(seen[0].body, seen[1].body);
    assert_eq!(seen[0].header("webhook-id"), seen[1].header("webhook-id"));
}

#[tokio::test]
async fn headers_are_the_settings_and_cannot_take_the_place_of_ours() {
    let settings = json!({"headers": {
        "X-Team": "core", "Authorization": {"value_env": "HOOK_AUTH"},
        "Content-Type": "application/vnd.example+json", "Webhook-Id": "forged",
    }});

    let (sent, seen) = exchanged(&settings, Reply::status(200)).await;

    let request = &seen[0];
    assert_eq!(request.header("x-team"), Some("core"));
    assert_eq!(request.header("authorization"), Some("Bearer t0ken-of-ours"));
    assert_eq!(request.header("content-type"), Some("application/vnd.example+json"));
    let ids = request.headers.iter().filter(|(name, _)| name == "webhook-id");
    assert_eq!(ids.map(|(_, id)| id.clone()).collect::<Vec<_>>(), [delivery().to_string()]);
    assert!(sent.request.contains("x-team: core"), "{}", sent.request);
    assert!(!format!("{sent:?}").contains("t0ken"), "{}", sent.request);
}

#[tokio::test]
async fn an_answer_ends_the_try_as_its_status_says() {
    for (reply, outcome) in [
        (Reply::status(200), Outcome::Delivered),
        (Reply::status(400), Outcome::Dead { failure: Failure::Refused }),
        (Reply::status(410), Outcome::Dead { failure: Failure::Refused }),
        (Reply::status(404), Outcome::Retry { failure: Failure::Refused, after: None }),
        (Reply::status(429), Outcome::Retry { failure: Failure::Throttled, after: None }),
        (Reply::status(502), Outcome::Retry { failure: Failure::Unavailable, after: None }),
        (Reply::Reset, Outcome::Retry { failure: Failure::Unanswered, after: None }),
    ] {
        let (sent, seen) = exchanged(&json!({}), reply.clone()).await;

        assert_eq!(sent.outcome, outcome, "{reply:?}");
        assert_eq!(seen.len(), 1, "nothing is tried twice here: {reply:?}");
    }
}

#[test]
fn an_address_that_is_a_secret_is_found_and_never_shown() {
    let webhook = webhook(&json!({"url_env": "HOOK_URL"})).unwrap();

    assert_eq!(webhook.url.as_str(), "https://hooks.example.com/services/T000/s3cret");
    let hidden: Vec<&secrecy::SecretString> = webhook.secrets.iter().collect();
    let shown =
        crate::notify::secret::mask("POST https://hooks.example.com/services/T000/s3cret", &hidden);
    assert_eq!(shown, "POST https://hooks.example.com…");
}

#[test]
fn what_is_missing_or_wrong_is_said_and_no_secret_repeated() {
    for (settings, said) in [
        (json!({"url": "https://x", "secret_env": "GONE"}), "GONE is not set"),
        (json!({"url": "https://x", "secret_env": "NO_BASE64"}), "not base64"),
        (json!({"url": "https://x", "headers": {"A": {"value_env": "GONE"}}}), "of the header A"),
        (json!({"url": "https://x", "headers": {"A": {"value_env": "TWO_LINES"}}}), "header A"),
        (json!({"url_env": "HOOK_AUTH"}), "url must be an address"),
        (json!({"url_env": "GONE"}), "GONE is not set"),
        (json!({"url": "https://u:p@x/"}), "no user or password"),
        (json!({}), "url_env"),
    ] {
        let secrets = Secrets::new(environment);
        let error = Webhook::new(settings.as_object().unwrap(), &secrets, &http(true));
        let error = error.unwrap_err();
        assert!(error.contains(said), "{settings}: {error}");
        assert!(!error.contains("t0ken") && !error.contains("whsec_?"), "{error}");
    }
}
