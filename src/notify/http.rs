//! HTTP out: one exchange, bounded in time and size, that ends in words.
//!
//! Redirects are not followed, no proxy is taken from the environment, and every address is looked
//! at before it is talked to.

use std::{error::Error as _, fmt::Write as _, sync::Arc, time::Duration};

use reqwest::{
    Client, Method, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use secrecy::SecretString;

use super::{
    Failure, Guard, Outcome, Sent,
    address::{self, NotAllowed},
    secret::{MASK, mask},
};
use crate::domain::time::{Span, Timestamp};

/// Until there is a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For everything.
pub const TIMEOUT: Duration = Duration::from_secs(15);
/// No more of an answer is read.
const ANSWER_BYTES: usize = 64 * 1024;
/// No more of a request or an answer is kept to be shown.
const SHOWN_BYTES: usize = 8 * 1024;
/// A `Retry-After` longer than this is taken for this.
const RETRY_AFTER_MAX: Span = Span::from_secs(3600);

/// The HTTP client of all notifiers.
#[derive(Clone, Debug)]
pub struct Http {
    guard: Guard,
    /// Looks at every address that a name has.
    guarded: Client,
    /// For hosts that are allowed wherever they are.
    open: Client,
}

/// What to send.
#[derive(Debug)]
pub struct Request<'a> {
    pub method: Method,
    pub url: Url,
    /// One that is marked sensitive is not shown.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Option<String>,
    /// These are masked in whatever is shown of request and answer.
    pub secrets: &'a [&'a SecretString],
    pub allowed_hosts: &'a [String],
}

/// What was sent, and what came back.
#[derive(Debug)]
pub struct Exchange {
    /// As it may be shown.
    pub request: String,
    pub result: Result<Answer, NoAnswer>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// Its first 64 KB; what is no UTF-8 is replaced.
    pub body: String,
    /// As it may be shown.
    pub shown: String,
    /// What headers and body may repeat.
    secrets: Vec<SecretString>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAnswer {
    /// `None`: it is not allowed, and will not be.
    pub failure: Option<Failure>,
    pub error: String,
}

#[derive(Debug)]
struct GuardedNames;

impl Resolve for GuardedNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed = Guard::allowed(name.as_str(), found)?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

impl Http {
    /// `Err` says why there can be no client: TLS cannot be set up.
    pub fn new(guard: Guard) -> Result<Self, reqwest::Error> {
        // Whoever was first is as good.
        rustls::crypto::ring::default_provider().install_default().ok();
        let builder = || {
            Client::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(TIMEOUT)
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .user_agent(concat!("dutygate/", env!("CARGO_PKG_VERSION")))
        };
        Ok(Self {
            guard,
            guarded: builder().dns_resolver(Arc::new(GuardedNames)).build()?,
            open: builder().build()?,
        })
    }

    pub fn guard(&self) -> Guard {
        self.guard
    }

    /// Sends it and reads the answer.
    pub async fn exchange(&self, request: Request<'_>) -> Exchange {
        let shown = request.shown();
        let Request { method, url, headers, body, secrets, allowed_hosts } = request;
        let result = match self.client(&url, allowed_hosts) {
            Err(not_allowed) => Err(NoAnswer { failure: None, error: not_allowed.to_string() }),
            Ok(client) => {
                let mut request =
                    client.request(method, url).headers(headers.into_iter().collect());
                if let Some(body) = body {
                    request = request.body(body);
                }
                match request.send().await {
                    Ok(response) => Ok(read(response, secrets).await),
                    Err(error) => Err(NoAnswer::of(&error, secrets)),
                }
            }
        };
        Exchange { request: shown, result }
    }

    fn client(&self, url: &Url, allowed_hosts: &[String]) -> Result<&Client, NotAllowed> {
        // The resolver never sees an address that is written out.
        self.guard.literal(url, allowed_hosts)?;
        let trusted = self.guard.trusts(address::host(url), allowed_hosts);
        Ok(if trusted { &self.open } else { &self.guarded })
    }
}

impl Request<'_> {
    fn shown(&self) -> String {
        let mut shown = format!("{} {}\n", self.method, self.url);
        for (name, value) in &self.headers {
            let hidden = value.is_sensitive();
            let value = if hidden { MASK } else { value.to_str().unwrap_or(MASK) };
            writeln!(shown, "{name}: {value}").ok();
        }
        shown.push('\n');
        shown.push_str(self.body.as_deref().unwrap_or_default());
        cut(mask(&shown, self.secrets), SHOWN_BYTES)
    }
}

async fn read(mut response: reqwest::Response, secrets: &[&SecretString]) -> Answer {
    let mut bytes = Vec::new();
    let mut ended = "";
    while bytes.len() < ANSWER_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => break,
            // The status has been said, and that is what counts.
            Err(_) => {
                ended = "\n[the answer breaks off]";
                break;
            }
        }
    }
    bytes.truncate(ANSWER_BYTES);
    let body = String::from_utf8_lossy(&bytes).into_owned();
    let status = response.status();
    let shown = cut(mask(&body, secrets), SHOWN_BYTES);
    Answer {
        status: status.as_u16(),
        headers: response.headers().clone(),
        shown: format!("{status}\n\n{shown}{ended}"),
        body,
        secrets: secrets.iter().map(|secret| (*secret).clone()).collect(),
    }
}

impl NoAnswer {
    fn of(error: &reqwest::Error, secrets: &[&SecretString]) -> Self {
        let mut source = error.source();
        let mut last = None;
        while let Some(cause) = source {
            if let Some(not_allowed) = cause.downcast_ref::<NotAllowed>() {
                return Self { failure: None, error: not_allowed.to_string() };
            }
            last = Some(cause.to_string());
            source = cause.source();
        }
        let cause = last.map(|cause| format!(": {cause}")).unwrap_or_default();
        let (failure, what) = if error.is_connect() && error.is_timeout() {
            (Failure::Unreachable, "no connection within 5 s")
        } else if error.is_connect() {
            (Failure::Unreachable, "no connection")
        } else if error.is_timeout() {
            (Failure::Unanswered, "no answer within 15 s; it may have arrived")
        } else if error.is_builder() {
            (Failure::Refused, "the request cannot be made")
        } else {
            (Failure::Unanswered, "the connection broke before an answer; it may have arrived")
        };
        Self { failure: Some(failure), error: mask(&format!("{what}{cause}"), secrets) }
    }
}

impl Answer {
    /// A part of it as it may be shown: masked before it is cut, which could leave half a secret.
    pub fn show(&self, part: &str, bytes: usize) -> String {
        let secrets: Vec<&SecretString> = self.secrets.iter().collect();
        cut(mask(part, &secrets), bytes)
    }

    /// How long the receiver asks to wait: `Retry-After`, in seconds or as a date, an hour at most.
    ///
    /// Source: RFC 9110 §10.2.3.
    pub fn retry_after(&self, now: Timestamp) -> Option<Span> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let span = if let Ok(seconds) = text.parse::<u32>() {
            Span::from_secs(seconds)
        } else {
            let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Timestamp::from_millis(at.as_millisecond()).since(now)
        };
        Some(span.min(RETRY_AFTER_MAX))
    }

    /// What the status means, unless a receiver's own language says otherwise: what only somebody
    /// at the other end can mend (a wrong password, a path that is not there) is tried again, what
    /// would be refused for ever is not.
    pub fn outcome(&self, now: Timestamp) -> Outcome {
        match self.status {
            200..=299 => Outcome::Delivered,
            300..=399 | 400 | 410 | 413..=415 | 422 => Outcome::Dead { failure: Failure::Refused },
            429 => Outcome::Retry { failure: Failure::Throttled, after: self.retry_after(now) },
            500.. => {
                let after = self.retry_after(now).filter(|_| self.status == 503);
                Outcome::Retry { failure: Failure::Unavailable, after }
            }
            _ => Outcome::Retry { failure: Failure::Refused, after: None },
        }
    }

    /// What went wrong, in words; `None` if nothing did.
    pub fn error(&self) -> Option<String> {
        let status = self.status;
        Some(match status {
            200..=299 => return None,
            300..=399 => {
                let to = self.headers.get("location").and_then(|to| to.to_str().ok());
                let to = to.map(|to| format!(" to {}", self.show(to, 200)));
                format!(
                    "redirected{} (status {status}): redirects are not followed; set url to where \
                     it really is",
                    to.unwrap_or_default()
                )
            }
            401 | 403 => format!("not let in (status {status}): check the receiver's secret"),
            404 => "there is nothing at that address (status 404): check url".to_owned(),
            413 => "too large for the receiver (status 413)".to_owned(),
            429 => "the receiver wants fewer at a time (status 429)".to_owned(),
            500.. => format!("the receiver is in trouble (status {status})"),
            _ => format!("refused (status {status})"),
        })
    }
}

impl Exchange {
    /// The end of a try, as the status alone tells it.
    pub fn sent(self, now: Timestamp) -> Sent {
        match self.result {
            Ok(answer) => Sent {
                outcome: answer.outcome(now),
                status: Some(answer.status),
                error: answer.error(),
                request: self.request,
                answer: answer.shown,
                remote: None,
            },
            Err(no_answer) => no_answer.sent(self.request),
        }
    }
}

impl NoAnswer {
    /// The end of a try that was not answered.
    pub fn sent(self, request: String) -> Sent {
        let outcome = match self.failure {
            None | Some(Failure::Refused) => Outcome::Dead { failure: Failure::Refused },
            Some(failure) => Outcome::Retry { failure, after: None },
        };
        let error = Some(self.error);
        Sent { outcome, status: None, error, request, answer: String::new(), remote: None }
    }
}

/// The text up to so many bytes; says so where something is left out.
pub fn cut(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        let left = text.len();
        text.truncate(text.floor_char_boundary(bytes));
        write!(text, "… [{left} bytes in all]").ok();
    }
    text
}
