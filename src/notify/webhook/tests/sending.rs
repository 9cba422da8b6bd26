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

/// What comes of a message to a secret address, which is a server that answers so.
async fn sent_in_secret(path: &str, reply: Reply) -> Sent {
    let server = Server::start(move |_| reply.clone()).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("url");
    std::fs::write(&file, format!("{}{path}", server.url)).unwrap();
    let webhook = webhook(&json!({"url_file": file})).unwrap();
    let payload = webhook.compose(&message()).unwrap();
    let sent = webhook.send(&attempt(&payload)).await;
    assert_eq!(server.seen()[0].path, path);
    sent
}

fn answer(status: u16, body: &str) -> Reply {
    Reply::Answer { status, headers: Vec::new(), body: body.to_owned() }
}

#[tokio::test]
async fn a_redirect_does_not_tell_a_secret_address() {
    let path = "/robot/send?access_token=S3CRET";
    // The second is cut off in the midst of the token.
    for location in [
        format!("https://hooks.example.com{path}"),
        format!("https://hooks.example.com/{}/S3CRET", "x".repeat(200 - 30)),
    ] {
        let sent =
            sent_in_secret(path, Reply::status(301).with_header("location", &location)).await;

        let error = sent.error.as_deref().unwrap();
        assert!(error.contains("redirected to https://hooks.example.com"), "{error}");
        assert!(!format!("{sent:?}").contains("S3C"), "{sent:?}");
    }
}

#[tokio::test]
async fn what_of_a_secret_address_comes_back_is_masked_however_it_is_written() {
    for (path, body, shown) in [
        ("/in?access_token=S3CRET", r#"{"errors":["nope S3CRET"]}"#, r#"{"errors":["nope …"]}"#),
        ("/in?S3CRET", "no S3CRET", "no …"),
        ("/in?key=a%2Bb%22c", "a%2Bb%22c a%2bb%22c", "… …"),
        ("/in?key=a%2Bb%22c", r#"a+b"c, "a+b\"c", "a\u002bb\u0022c""#, r#"…, "…", "…""#),
        ("/in?key=a+b/c", r"a b/c, a%20b%2Fc, a+b\/c", "…, …, …"),
        ("/in?key=%E5%AF%86%E7%A0%81", "密码, %e5%af%86%e7%a0%81, \\u5bc6\\u7801", "…, …, …"),
        ("/services/T0001/xKq%3A93mZ", "no xKq:93mZ at services", "no … at services"),
        ("/incoming-webhooks/notify", "no incoming-webhooks here", "no incoming-webhooks here"),
    ] {
        let sent = sent_in_secret(path, answer(400, body)).await;

        assert_eq!(sent.answer.split_once("\n\n").unwrap().1, shown, "{path}");
        assert!(sent.request.contains("…\n"), "{}", sent.request);
    }
}

#[tokio::test]
async fn the_credential_of_a_header_is_masked_without_its_scheme_too() {
    let settings = json!({"headers": {"Authorization": {"value_env": "HOOK_AUTH"}}});

    let (sent, _) = exchanged(&settings, answer(403, "t0ken-of-ours is not known")).await;

    assert!(sent.answer.ends_with("\n\n… is not known"), "{}", sent.answer);
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
