//! A running gateway as the commands call it: its address, a token, and what a refusal says.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::{Client, Method, Response, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    client::{NOT_REACHED, Target},
    settings_args::ConfigArg,
    ui::{Failure, OrNext as _},
};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Which gateway, and who asks.
#[derive(Debug, Args)]
pub(super) struct Gateway {
    /// The gateway; `unix:/path` is a socket [default: from the setting `listen`]
    #[arg(long, value_name = "URL", env = "DUTYGATE_URL", hide_env_values = true)]
    url: Option<Target>,
    /// API token with the role admin [default: the setting `admin_token`]
    #[arg(long, value_name = "TOKEN", env = "DUTYGATE_TOKEN", hide_env_values = true)]
    token: Option<SecretString>,
    #[command(flatten)]
    config: ConfigArg,
}

/// A gateway that can be called.
#[derive(Debug)]
pub(super) struct Api {
    target: Target,
    client: Client,
    token: SecretString,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body<'b> {
    None,
    Json(&'b Value),
    Yaml(&'b str),
}

impl Gateway {
    /// Settings are read only for what was not given.
    pub(super) fn open(self) -> Result<Api, Failure> {
        self.open_for(TIMEOUT)
    }

    /// The same for calls that take up to `timeout`.
    pub(super) fn open_for(self, timeout: Duration) -> Result<Api, Failure> {
        let (target, token) = match (self.url, self.token) {
            (Some(target), Some(token)) => (target, Some(token)),
            (url, token) => {
                let settings = self.config.load()?.settings;
                let target = url.map_or_else(|| Target::of_gateway(&settings), Ok)?;
                (target, token.or(settings.admin_token))
            }
        };
        let token = token.context("no API token was given").or_next(
            "set DUTYGATE_TOKEN to a token with the role admin; the first start of the gateway \
             printed one, and the setting admin_token makes one",
        )?;
        Ok(Api { client: target.client(timeout)?, target, token })
    }
}

impl Api {
    #[cfg(test)]
    pub(super) fn new(target: Target, token: SecretString) -> Result<Self, Failure> {
        Ok(Self { client: target.client(TIMEOUT)?, target, token })
    }

    /// Calls and returns the answer if it is a success.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Body<'_>,
    ) -> Result<Response, Failure> {
        let answer = self.send(method, path, query, body).await?;
        if answer.status().is_success() { Ok(answer) } else { Err(refusal(answer).await) }
    }

    /// Calls for an answer that comes line by line.
    pub(super) async fn stream(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Response, Failure> {
        let request = self.client.request(method, self.target.join(path));
        let request = request.bearer_auth(self.token.expose_secret()).json(body);
        let request = request.header(header::ACCEPT, "application/x-ndjson");
        request.send().await.map_err(|error| self.target.explain(error)).or_next(NOT_REACHED)
    }

    /// Calls and returns the answer, whatever it is.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Body<'_>,
    ) -> Result<Response, Failure> {
        let mut url = self.target.join(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.client.request(method, url).bearer_auth(self.token.expose_secret());
        request = match body {
            Body::None => request,
            Body::Json(value) => request.json(value),
            Body::Yaml(text) => {
                request.header(header::CONTENT_TYPE, "application/yaml").body(text.to_owned())
            }
        };
        request.send().await.map_err(|error| self.target.explain(error)).or_next(NOT_REACHED)
    }
}

/// Reads an answer.
pub(super) async fn read<T: DeserializeOwned>(answer: Response) -> anyhow::Result<T> {
    let text = answer.text().await.map_err(reqwest::Error::without_url)?;
    match serde_json::from_str(&text) {
        Ok(read) => Ok(read),
        Err(_) => bail!("the answer is not that of a gateway; is the URL right?"),
    }
}

/// RFC 9457, as the gateway answers errors.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    title: Option<String>,
    detail: Option<String>,
    pub(super) errors: Vec<FieldError>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FieldError {
    pub(super) field: String,
    /// Of a text that was sent, counted from one.
    pub(super) line: Option<u64>,
    pub(super) message: String,
}

/// What a refusal says, and what to do about it.
pub(super) async fn refusal(answer: Response) -> Failure {
    let status = answer.status();
    let body = answer.text().await.unwrap_or_default();
    refused(status, &body)
}

pub(super) fn refused(status: StatusCode, body: &str) -> Failure {
    let problem = anyhow::anyhow!("the gateway refused ({status}){}", explained(body));
    match status.as_u16() {
        401 => Failure::new(problem, "is DUTYGATE_TOKEN (or admin_token) a token of this gateway?"),
        403 => Failure::new(problem, "this needs a token with the role admin"),
        _ => problem.into(),
    }
}

/// The problem in words; nothing if the body is none.
fn explained(body: &str) -> String {
    let problem: Problem = serde_json::from_str(body).unwrap_or_default();
    let said = problem.detail.or(problem.title).map(|text| format!(": {text}")).unwrap_or_default();
    let fields =
        problem.errors.iter().map(|error| format!("\n  {}: {}", error.field, error.message));
    said + &fields.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_with_its_fields() {
        let body = r#"{"type":"about:blank","title":"Invalid","status":400,"detail":"the token is not valid",
            "errors":[{"field":"name","message":"is taken"},{"field":"role","message":"is unknown"}]}"#;

        assert_eq!(
            explained(body),
            ": the token is not valid\n  name: is taken\n  role: is unknown"
        );
        assert_eq!(explained("<html>"), "");
        assert_eq!(explained(r#"{"title":"Gone"}"#), ": Gone");
    }
}
