//! One try's conversation with Jira: reads, and one write, within 15 seconds; in words what went
//! wrong.

use std::time::Duration;

use reqwest::{
    Method, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use secrecy::SecretString;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    domain::time::{Span, Timestamp},
    notify::{
        Failure, Outcome, Sent,
        http::{Answer, Exchange, Http, NoAnswer, Request},
    },
};

/// Most of Jira's own words that are repeated.
const WORDS_BYTES: usize = 2_000;

/// Where a Jira is, and how it lets us in.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) http: Http,
    pub(super) url: Url,
    /// Marked as sensitive.
    pub(super) authorization: HeaderValue,
    /// What must not be shown.
    pub(super) secrets: Vec<SecretString>,
    pub(super) allowed_hosts: Vec<String>,
    pub(super) patience: Patience,
}

/// How long a try waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For all that is read before something is written.
    pub(super) reads: Duration,
    /// For everything.
    pub(super) whole: Duration,
}

impl Site {
    /// Which Jira it is, however it is reached: what an issue's id means depends on it.
    pub(super) fn name(&self) -> String {
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let path = self.url.path().trim_end_matches('/');
        format!("{}{port}{path}", self.url.host_str().unwrap_or_default())
    }

    fn secrets(&self) -> Vec<&SecretString> {
        self.secrets.iter().collect()
    }
}

impl Patience {
    /// A try takes 15 seconds at most, and what it writes is to have the better part of them.
    pub(super) const DEFAULT: Self =
        Self { reads: Duration::from_secs(8), whole: Duration::from_secs(15) };
}

/// How a try ends.
#[derive(Debug)]
pub(super) struct End {
    outcome: Outcome,
    error: Option<String>,
    /// What there is to say besides the answer.
    note: String,
}

impl End {
    pub(super) fn delivered(note: impl Into<String>) -> Self {
        Self { outcome: Outcome::Delivered, error: None, note: note.into() }
    }

    pub(super) fn go_on(after: Span, note: impl Into<String>) -> Self {
        Self { outcome: Outcome::Continue { after }, error: None, note: note.into() }
    }

    pub(super) fn retry(failure: Failure, after: Option<Span>, error: impl Into<String>) -> Self {
        let outcome = Outcome::Retry { failure, after };
        Self { outcome, error: Some(error.into()), note: String::new() }
    }

    pub(super) fn dead(error: impl Into<String>) -> Self {
        let outcome = Outcome::Dead { failure: Failure::Refused };
        Self { outcome, error: Some(error.into()), note: String::new() }
    }
}

/// What came of a write.
#[derive(Debug)]
pub(super) enum Written {
    /// 2xx.
    Taken(Answer),
    /// It was not done, and asking again would not help: 400, 404 and the like.
    Refused(Answer),
    /// It was not done this time.
    NotNow(End),
    /// It may have been done: no answer, or 5xx.
    Unsure { after: Option<Span>, error: String },
}

#[derive(Debug)]
pub(super) struct Talk<'a> {
    site: &'a Site,
    now: Timestamp,
    started: Instant,
    /// What was asked before the last exchange, a line each.
    before: String,
    request: String,
    answer: String,
    status: Option<u16>,
}

impl<'a> Talk<'a> {
    pub(super) fn new(site: &'a Site, now: Timestamp) -> Self {
        let (before, request, answer) = (String::new(), String::new(), String::new());
        Self { site, now, started: Instant::now(), before, request, answer, status: None }
    }

    /// Reads something. The answer is 2xx, or 4xx where what was asked for may be missing; `Err`:
    /// Jira is not there, or does not let us in. Nothing was written by then.
    pub(super) async fn read(
        &mut self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Answer, End> {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let limit = self.site.patience.reads;
        let answer = match self.exchange(Method::GET, url, None, limit).await {
            Ok(answer) => answer,
            Err(NoAnswer { failure: None, error }) => return Err(End::dead(error)),
            Err(NoAnswer { error, .. }) => {
                let error = error.replace("; it may have arrived", "");
                return Err(End::retry(Failure::Unreachable, None, error));
            }
        };
        if let Some(error) = not_let_in(&answer, true) {
            return Err(End::retry(Failure::Refused, None, error));
        }
        match answer.outcome(self.now) {
            Outcome::Retry { failure: Failure::Throttled, after } => {
                Err(End::retry(Failure::Throttled, after, words(&answer)))
            }
            Outcome::Retry { failure: Failure::Unavailable, after } => {
                Err(End::retry(Failure::Unreachable, after, words(&answer)))
            }
            _ if (300..400).contains(&answer.status) => Err(End::dead(words(&answer))),
            _ => Ok(answer),
        }
    }

    /// Writes something: once in a conversation.
    pub(super) async fn write(&mut self, path: &[&str], body: &Value) -> Written {
        let (url, limit) = (self.url(path), self.site.patience.whole);
        let answer = match self.exchange(Method::POST, url, Some(body.to_string()), limit).await {
            Ok(answer) => answer,
            Err(NoAnswer { failure: Some(failure), error }) if failure.may_have_arrived() => {
                return Written::Unsure { after: None, error };
            }
            Err(NoAnswer { failure: Some(Failure::Unreachable), error }) => {
                return Written::NotNow(End::retry(Failure::Unreachable, None, error));
            }
            Err(NoAnswer { error, .. }) => return Written::NotNow(End::dead(error)),
        };
        if let Some(error) = not_let_in(&answer, false) {
            return Written::NotNow(End::retry(Failure::Refused, None, error));
        }
        let error = words(&answer);
        match answer.outcome(self.now) {
            Outcome::Delivered => Written::Taken(answer),
            Outcome::Retry { failure: Failure::Unavailable, after } => {
                Written::Unsure { after, error }
            }
            Outcome::Retry { failure: Failure::Throttled, after } => {
                Written::NotNow(End::retry(Failure::Throttled, after, error))
            }
            // Only Jira itself can say of a thing that it is not there.
            _ if answer.status == 404 && complaints(&answer).is_none() => {
                Written::NotNow(End::retry(Failure::Refused, None, error))
            }
            _ if (300..400).contains(&answer.status) => Written::NotNow(End::dead(error)),
            _ => Written::Refused(answer),
        }
    }

    /// How it failed if it may have been done all the same.
    pub(super) fn doubt(&self) -> Failure {
        self.status.map_or(Failure::Unanswered, |_| Failure::Unavailable)
    }

    /// Whether the last answer was that the user may not do that.
    pub(super) fn is_forbidden(&self) -> bool {
        self.status == Some(403)
    }

    /// The end of a try that was refused: for good, or until somebody has mended it.
    pub(super) fn refused(&self, answer: &Answer, error: String) -> End {
        End { outcome: answer.outcome(self.now), error: Some(error), note: String::new() }
    }

    /// The end of the try, with what was said.
    pub(super) fn sent(self, end: End, remote: Option<Value>) -> Sent {
        let parts = [end.note, self.answer];
        let answer = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        Sent {
            outcome: end.outcome,
            status: self.status,
            error: end.error,
            request: self.request,
            answer: answer.join("\n\n"),
            remote,
        }
        .masked(&self.site.secrets())
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.site.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["rest", "api"]).extend(path);
        }
        url
    }

    /// Sends it and waits until `limit` after the beginning of the conversation. Of all exchanges
    /// the last is shown whole, of those before it only what they asked for.
    async fn exchange(
        &mut self,
        method: Method,
        url: Url,
        body: Option<String>,
        limit: Duration,
    ) -> Result<Answer, NoAnswer> {
        let line = format!("{method} {url}");
        let json = HeaderValue::from_static("application/json");
        let mut headers =
            vec![(AUTHORIZATION, self.site.authorization.clone()), (ACCEPT, json.clone())];
        if body.is_some() {
            headers.push((CONTENT_TYPE, json));
        }
        let request = Request {
            method,
            url,
            headers,
            body,
            secrets: &self.site.secrets(),
            allowed_hosts: &self.site.allowed_hosts,
        };
        let left = limit.saturating_sub(self.started.elapsed());
        let exchange = self.site.http.exchange(request);
        let Exchange { request, result } =
            tokio::time::timeout(left, exchange).await.unwrap_or_else(|_| {
                let seconds = limit.as_secs();
                let error = format!("no answer within {seconds} s; it may have arrived");
                let failure = Some(Failure::Unanswered);
                Exchange { request: line.clone(), result: Err(NoAnswer { failure, error }) }
            });
        self.request = [&*self.before, &*request].concat();
        self.status = result.as_ref().ok().map(|answer| answer.status);
        let status = self.status.map_or("no answer".to_owned(), |status| status.to_string());
        self.before = [&*self.before, &*line, " → ", &*status, "\n"].concat();
        self.answer = result.as_ref().map(|answer| answer.shown.clone()).unwrap_or_default();
        result
    }
}

/// Why Jira does not let us in, if it does not: also where it takes us for nobody and answers as
/// it answers nobody (`to_anyone`), which finds nothing and says nothing.
///
/// Source: Atlassian, "JIRA REST API Example - Basic Authentication", on CAPTCHA and
/// `X-Seraph-LoginReason`.
fn not_let_in(answer: &Answer, to_anyone: bool) -> Option<String> {
    let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
    let refused = matches!(answer.status, 401 | 403);
    if let Some(denied) = header("x-authentication-denied-reason").filter(|_| refused) {
        return Some(format!(
            "Jira wants a CAPTCHA before it lets this user in again (status {}): log in as that \
             user once with a browser, and check auth ({})",
            answer.status,
            answer.show(denied, 200)
        ));
    }
    let said = complaints(answer).map(|said| format!("; Jira says: {said}")).unwrap_or_default();
    match answer.status {
        401 => Some(format!(
            "Jira does not know this user or token (status 401): check auth. Cloud wants an e-mail \
             address and an API token, Data Center a personal access token or a user and \
             password{said}"
        )),
        403 => Some(format!(
            "Jira does not let this user do that (status 403): check auth, and the user's \
             permissions in the project{said}"
        )),
        _ => {
            let reason = header("x-seraph-loginreason").unwrap_or_default();
            let failed = ["FAILED", "DENIED"].iter().any(|word| reason.contains(word));
            let nobody = header("x-ausername") == Some("anonymous");
            (to_anyone && (failed || nobody)).then(|| {
                "Jira takes the gateway for nobody: its token is not valid any more; check auth"
                    .to_owned()
            })
        }
    }
}

/// What Jira has to say of what was wrong, if it is Jira that answers, and not what it runs on.
pub(super) fn complaints(answer: &Answer) -> Option<String> {
    let body: Value = serde_json::from_str(&answer.body).ok()?;
    let messages = body.get("errorMessages").and_then(Value::as_array);
    let messages = messages.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let errors = body.get("errors").and_then(Value::as_object).into_iter().flatten();
    let errors = errors.map(|(field, said)| {
        let said = said.as_str().map_or_else(|| said.to_string(), str::to_owned);
        format!("{field}: {said}")
    });
    let all: Vec<String> = messages.chain(errors).collect();
    (!all.is_empty()).then(|| answer.show(&all.join("; "), WORDS_BYTES))
}

/// What went wrong, in Jira's words if it has any.
pub(super) fn words(answer: &Answer) -> String {
    match (complaints(answer), answer.error()) {
        (Some(said), _) => format!("Jira says (status {}): {said}", answer.status),
        (None, Some(error)) => error,
        (None, None) => format!("Jira answered {}", answer.status),
    }
}

/// The answer as JSON. `Err`: that is not Jira's.
pub(super) fn json(answer: &Answer) -> Result<Value, End> {
    serde_json::from_str(&answer.body).map_err(|_| {
        End::retry(
            Failure::Refused,
            None,
            "the answer is not Jira's, or longer than 64 KB: check that url is the address of \
             Jira itself, without /browse or /rest",
        )
    })
}
