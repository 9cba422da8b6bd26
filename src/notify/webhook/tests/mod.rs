//! What a receiver of webhooks relies on.

mod alertmanager;
mod document;
mod sending;
mod template;

use serde_json::Value;

use super::Webhook;
use crate::notify::{Guard, Message, Notifier as _, http::Http, secret::Secrets};

/// The environment of the tests.
fn environment(name: &str) -> Option<String> {
    let value = match name {
        "HOOK_SECRET" => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "HOOK_AUTH" => "Bearer t0ken-of-ours",
        "HOOK_URL" => "https://hooks.example.com/services/T000/s3cret",
        "NO_BASE64" => "whsec_?",
        "TWO_LINES" => "a\nb",
        _ => return None,
    };
    Some(value.to_owned())
}

fn http(allow_private: bool) -> Http {
    rustls::crypto::ring::default_provider().install_default().ok();
    Http::new(Guard::new(allow_private)).unwrap()
}

fn webhook(settings: &Value) -> Result<Webhook, String> {
    let settings = settings.as_object().unwrap();
    Webhook::new(settings, &Secrets::new(environment), &http(true))
}

/// The body that a webhook with these settings sends.
fn body(settings: &Value, message: &Message) -> Result<String, String> {
    let mut settings = settings.clone();
    settings["url"] = "https://hooks.example.com/in".into();
    let payload = webhook(&settings).unwrap().compose(message)?;
    Ok(payload["body"].as_str().unwrap_or_default().to_owned())
}
