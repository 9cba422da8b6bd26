//! What a receiver of mail relies on.

mod dialogue;
mod letter;
mod server;

use serde_json::{Value, json};

use super::Email;
use crate::notify::{Guard, secret::Secrets};

fn environment(name: &str) -> Option<String> {
    (name == "MAIL_PASSWORD").then(|| "pass-of-ours".to_owned())
}

/// A receiver with these settings besides its addresses.
fn email(settings: &Value, guard: Guard) -> Result<Email, String> {
    let mut all = json!({
        "from": "Duty <gate@example.com>", "to": ["night@example.com", "Ops <ops@example.org>"],
    });
    let all = all.as_object_mut().unwrap();
    all.extend(settings.as_object().unwrap().clone());
    Email::new(all, &Secrets::new(environment), guard)
}
