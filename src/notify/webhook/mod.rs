//! Webhooks: an incident as a JSON document, as a template makes it, or as Alertmanager
//! would send it; signed if there is a secret.

mod alertmanager;
mod chat;
mod document;
mod signature;
mod template;

use async_trait::async_trait;
use reqwest::{
    Method, Url,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

use self::signature::Key;
pub use self::template::check_template;
use super::{
    Attempt, Failure, Message, Notifier, Outcome, Sent,
    http::{Exchange, Http, Request},
    secret::Secrets,
};

#[cfg(test)]
mod tests;

/// Largest body that is sent, in bytes: as much as the gateway itself takes.
const BODY_BYTES: usize = 512 * 1024;

/// A receiver that takes webhooks.
#[derive(Debug)]
pub struct Webhook {
    http: Http,
    url: Url,
    content: Content,
    /// The settings' own.
    headers: Vec<(HeaderName, HeaderValue)>,
    key: Option<Key>,
    /// Not to be shown.
    secrets: Vec<SecretString>,
    allowed_hosts: Vec<String>,
}

/// What the body is.
#[derive(Debug)]
enum Content {
    Document,
    Alertmanager,
    Template { text: String, json: bool },
}

impl Webhook {
    pub fn new(
        settings: &Map<String, Value>,
        secrets: &Secrets,
        http: &Http,
    ) -> Result<Self, String> {
        let text = |key: &str| settings.get(key).and_then(Value::as_str);
        let mut hidden = Vec::new();
        let url = if let Some(url) = text("url") {
            address(url)?
        } else {
            let url = address(secrets.required(settings, "url")?.expose_secret())?;
            // The host is no secret, and helps whoever reads of a failure.
            hidden.extend(parts(&url).into_iter().map(SecretString::from));
            url
        };
        let headers = headers(settings, *secrets, &mut hidden)?;
        let key = secrets.find(settings, "secret")?;
        let bare = key.as_ref().and_then(|key| key.expose_secret().strip_prefix("whsec_"));
        hidden.extend(bare.map(SecretString::from));
        hidden.extend(key.clone());
        let content = match (text("template"), text("format")) {
            (Some(template), _) => {
                Content::Template { text: template.to_owned(), json: is_json(&headers) }
            }
            (None, Some("alertmanager")) => Content::Alertmanager,
            (None, _) => Content::Document,
        };
        let allowed_hosts = settings.get("allowed_hosts").and_then(Value::as_array);
        let allowed_hosts = allowed_hosts.into_iter().flatten().filter_map(Value::as_str);
        Ok(Self {
            http: http.clone(),
            url,
            content,
            headers,
            key: key.map(|key| Key::parse(key.expose_secret())).transpose()?,
            secrets: hidden,
            allowed_hosts: allowed_hosts.map(str::to_owned).collect(),
        })
    }

    async fn post(&self, attempt: &Attempt<'_>, body: &str, secrets: &[&SecretString]) -> Exchange {
        let id = attempt.delivery.to_string();
        let seconds = attempt.now.as_millis().div_euclid(1000);
        let mut ours = vec![("webhook-id", id.clone()), ("webhook-timestamp", seconds.to_string())];
        if let Some(key) = &self.key {
            ours.push(("webhook-signature", key.standard(&id, seconds, body)));
            ours.push(("x-pagerduty-signature", key.pagerduty(body)));
        }
        let ours = ours.into_iter().filter_map(|(name, value)| {
            Some((HeaderName::from_static(name), HeaderValue::try_from(value).ok()?))
        });
        let mut headers = self.headers.clone();
        for (name, value) in ours {
            headers.retain(|(known, _)| *known != name);
            headers.push((name, value));
        }
        let request = Request {
            method: Method::POST,
            url: self.url.clone(),
            headers,
            body: Some(body.to_owned()),
            secrets,
            allowed_hosts: &self.allowed_hosts,
        };
        self.http.exchange(request).await
    }
}

#[async_trait]
impl Notifier for Webhook {
    /// `{"body": text}`, so that it is sent byte for byte as it was made; or `{"nothing": why}`.
    fn compose(&self, message: &Message) -> Result<Value, String> {
        let body = match &self.content {
            Content::Document => document::body(message)?,
            Content::Alertmanager => match alertmanager::body(message)? {
                Ok(body) => body,
                Err(nothing) => return Ok(json!({"nothing": nothing})),
            },
            Content::Template { text, json } => {
                template::render(text, &document::body(message)?, *json)?
            }
        };
        Ok(json!({"body": body}))
    }

    async fn send(&self, attempt: &Attempt<'_>) -> Sent {
        if let Some(why) = attempt.payload.get("nothing").and_then(Value::as_str) {
            return nothing_to_send(why);
        }
        let Some(body) = attempt.payload.get("body").and_then(Value::as_str) else {
            return Sent::dead("what was to be sent is not what a webhook is made of");
        };
        let secrets: Vec<&SecretString> = self.secrets.iter().collect();
        let exchange = self.post(attempt, body, &secrets).await;
        let host = self.url.host_str().unwrap_or_default();
        let refusal = exchange.result.as_ref().ok().filter(|answer| answer.status < 300);
        let refusal = refusal.and_then(|answer| chat::refusal(host, &answer.body));
        let mut sent = exchange.sent(attempt.now);
        if let Some(refusal) = refusal {
            let failure = if refusal.too_many { Failure::Throttled } else { Failure::Refused };
            sent.outcome = Outcome::Retry { failure, after: None };
            sent.error = Some(refusal.error);
        }
        sent.masked(&secrets)
    }
}

fn nothing_to_send(why: &str) -> Sent {
    Sent {
        outcome: Outcome::Delivered,
        status: None,
        error: None,
        request: String::new(),
        answer: format!("nothing was sent: {why}"),
        remote: None,
    }
}

/// Reads an address, which may be a secret and so is not repeated in what is wrong with it.
fn address(text: &str) -> Result<Url, String> {
    let wrong = || "url must be an address such as https://example.com/in".to_owned();
    let url = Url::parse(text).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("url must hold no user or password: use the header Authorization".to_owned());
    }
    Ok(url)
}

/// What of a secret address must not be shown: all behind the host, and what of it may come back
/// alone.
fn parts(url: &Url) -> Vec<String> {
    let whole = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let segments = url.path().split('/').filter(|segment| !is_words(segment));
    let values = url.query().unwrap_or_default().split('&');
    let values = values.map(|pair| value(pair.split_once('=').unwrap_or((pair, ""))));
    let mut parts: Vec<String> = segments.chain(values).map(str::to_owned).collect();
    parts.push(whole);
    let decoded: Vec<String> = parts.iter().map(|part| decoded(part)).collect();
    parts.extend(decoded);
    // In a query a plus is a blank.
    parts.extend(url.query_pairs().map(|(name, text)| value((&name, &text)).to_owned()));
    parts
}

/// A name without a value is one.
fn value<'t>((name, value): (&'t str, &'t str)) -> &'t str {
    if value.is_empty() { name } else { value }
}

/// Without percent encoding, in which a plus is a plus.
fn decoded(text: &str) -> String {
    let text = format!("={}", text.replace('+', "%2B").replace('&', "%26"));
    let pair = form_urlencoded::parse(text.as_bytes()).next();
    pair.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// Whether a part of a path is short or plain words, such as `incoming-webhooks`, as no token is:
/// to mask those would tear holes into what people write.
fn is_words(segment: &str) -> bool {
    let is_word = |word: &str| word.len() <= 16 && word.bytes().all(|b| b.is_ascii_lowercase());
    segment.len() < 8 || segment.split(['-', '_', '.']).all(is_word)
}

/// The settings' headers, and the content type if they do not say it. Secret ones are marked so and
/// added to `hidden`.
fn headers(
    settings: &Map<String, Value>,
    secrets: Secrets,
    hidden: &mut Vec<SecretString>,
) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let mut headers = Vec::new();
    for (name, setting) in settings.get("headers").and_then(Value::as_object).into_iter().flatten()
    {
        let wrong = || format!("the header {name} cannot be sent: it must be a text of one line");
        let key = HeaderName::try_from(name).map_err(|_| wrong())?;
        let value = match setting {
            Value::Object(location) => {
                let secret = secrets
                    .required(location, "value")
                    .map_err(|error| format!("of the header {name}: {error}"))?;
                let bytes = secret.expose_secret().as_bytes();
                let mut value = HeaderValue::from_bytes(bytes).map_err(|_| wrong())?;
                value.set_sensitive(true);
                // `Bearer …`: the rest may come back without its scheme.
                let credential = secret.expose_secret().split_once(' ');
                hidden.extend(credential.map(|(_, credential)| credential.into()));
                hidden.push(secret);
                value
            }
            setting => {
                let text = setting.as_str().unwrap_or_default();
                HeaderValue::from_bytes(text.as_bytes()).map_err(|_| wrong())?
            }
        };
        headers.push((key, value));
    }
    if headers.iter().all(|(name, _)| name != CONTENT_TYPE) {
        headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
    }
    Ok(headers)
}

/// Whether the body is to be JSON.
fn is_json(headers: &[(HeaderName, HeaderValue)]) -> bool {
    let value = headers.iter().find(|(name, _)| name == CONTENT_TYPE);
    value.is_none_or(|(_, value)| is_json_type(value.to_str().unwrap_or_default()))
}

/// Whether a content type is of JSON: `application/json`, `application/cloudevents+json`, …
fn is_json_type(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.ends_with("/json") || kind.ends_with("+json")
}
