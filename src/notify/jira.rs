//! Not written yet.

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{Attempt, Message, Notifier, Sent, http::Http, secret::Secrets};

#[derive(Debug)]
pub struct Jira;

impl Jira {
    pub fn new(
        _settings: &Map<String, Value>,
        _secrets: &Secrets,
        _http: &Http,
    ) -> Result<Self, String> {
        Ok(Self)
    }
}

#[async_trait]
impl Notifier for Jira {
    fn compose(&self, _message: &Message) -> Result<Value, String> {
        Err("not written yet".to_owned())
    }

    async fn send(&self, _attempt: &Attempt<'_>) -> Sent {
        Sent::dead("not written yet")
    }
}
