//! Mail: one message a notification, in text and HTML, that mail programs thread by incident.

mod content;
mod details;
mod smtp;
mod words;

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use lettre::{
    Address,
    message::{
        Mailbox, Message as Mail, MultiPart, SinglePart,
        header::{ContentType, HeaderName, HeaderValue},
    },
};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::smtp::{Envelope, Login, Security, Server};
use super::{Attempt, Guard, Message, Notifier, Outcome, Sent, http::cut, secret::Secrets};
use crate::domain::{
    event::Severity,
    id::DeliveryId,
    notify::Reason,
    time::{Span, Timestamp},
};

#[cfg(test)]
mod tests;

/// No more of a mail is kept to be shown.
const SHOWN_BYTES: usize = 8 * 1024;

/// Between a mail that some were refused for now, and the next try for those: as after any first
/// failure.
const REST_AFTER: Span = Span::from_secs(5);

/// How long those are tried. Servers that greylist ask for some minutes; and the incident's next
/// mails, its end too, wait for everybody meanwhile.
const REST_WITHIN: Span = Span::from_secs(900);

/// A receiver that takes mail.
#[derive(Debug)]
pub struct Email {
    server: Server,
    from: Mailbox,
    to: Vec<Mailbox>,
    password: Option<SecretString>,
}

/// What is composed: a mail without its addresses and its date.
#[derive(Debug, Serialize, Deserialize)]
struct Letter {
    subject: String,
    text: String,
    html: String,
    /// What all mails of the incident refer to.
    thread: String,
    /// For filters.
    headers: Vec<(String, String)>,
    /// What we call ourselves, if we have a name.
    host: Option<String>,
}

/// Who has still to get a mail that the others have. Kept with the lane until the mail is through:
/// if that has to go out once more, it goes to all. It is about one delivery, and no longer than the
/// list of its receiver.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Rest {
    delivery: Option<DeliveryId>,
    to: Vec<String>,
    /// When the others got it.
    #[serde(default)]
    since: Timestamp,
}

impl Rest {
    fn of(attempt: &Attempt<'_>) -> Option<Self> {
        let rest = Self::deserialize(attempt.remote?).ok()?;
        (rest.delivery == Some(attempt.delivery)).then_some(rest)
    }

    fn stored(&self) -> Option<Value> {
        serde_json::to_value(self).ok()
    }
}

impl Email {
    pub fn new(
        settings: &Map<String, Value>,
        secrets: &Secrets,
        guard: Guard,
    ) -> Result<Self, String> {
        let text = |key: &str| settings.get(key).and_then(Value::as_str);
        let list = |key: &str| settings.get(key).and_then(Value::as_array).into_iter().flatten();
        let from = mailbox("from", text("from").unwrap_or_default())?;
        let to: Result<Vec<Mailbox>, String> =
            list("to").map(|to| mailbox("to", to.as_str().unwrap_or_default())).collect();
        let password = secrets.find(settings, "password")?;
        let login = text("username").zip(password.as_ref()).map(|(user, password)| {
            Login::new(user.to_owned(), password.expose_secret().to_owned())
        });
        let server = server(text("smtp").unwrap_or_default(), login, guard)?;
        let allowed = list("allowed_hosts").filter_map(Value::as_str).map(str::to_owned).collect();
        Ok(Self { server: server.allowing(allowed), from, to: to?, password })
    }

    /// The mail as it goes out. Its id is the delivery's: one that is sent again because nobody
    /// knows whether it arrived is known as the same.
    fn mail(&self, letter: &Letter, attempt: &Attempt<'_>) -> Result<Mail, String> {
        let domain = self.from.email.domain();
        let thread = format!("<{}@{domain}>", letter.thread);
        let millis = u64::try_from(attempt.now.as_millis()).unwrap_or(0);
        let mut mail = Mail::builder()
            .from(self.from.clone())
            .subject(&letter.subject)
            .date(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
            .message_id(Some(format!("<{}@{domain}>", attempt.delivery)))
            .in_reply_to(thread.clone())
            .references(thread);
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        for (name, value) in &letter.headers {
            let name =
                HeaderName::new_from_ascii(name.clone()).map_err(|error| error.to_string())?;
            mail = mail.raw_header(HeaderValue::new(name, value.clone()));
        }
        let part = |kind: ContentType, body: &str| {
            SinglePart::builder().header(kind).body(body.to_owned())
        };
        let parts = MultiPart::alternative()
            .singlepart(part(ContentType::TEXT_PLAIN, &letter.text))
            .singlepart(part(ContentType::TEXT_HTML, &letter.html));
        mail.multipart(parts).map_err(|error| format!("the mail cannot be written: {error}"))
    }

    /// To whom it goes now.
    fn recipients(&self, rest: Option<&Rest>) -> Vec<Address> {
        let all = self.to.iter().map(|to| to.email.clone());
        all.filter(|to| rest.is_none_or(|rest| rest.to.contains(&to.to_string()))).collect()
    }

    fn shown(&self, letter: &Letter) -> String {
        let to: Vec<String> = self.to.iter().map(ToString::to_string).collect();
        let head = format!(
            "{}\nFrom: {}\nTo: {}\nSubject: {}",
            self.server,
            self.from,
            to.join(", "),
            letter.subject
        );
        cut(format!("{head}\n\n{}", letter.text), SHOWN_BYTES)
    }
}

#[async_trait]
impl Notifier for Email {
    fn compose(&self, message: &Message) -> Result<Value, String> {
        let content = content::write(message)?;
        let letter = Letter {
            subject: content.subject,
            text: content.text,
            html: content.html,
            thread: format!("incident.{}", message.incident.id),
            headers: headers(message),
            host: host(&message.base_url),
        };
        serde_json::to_value(letter).map_err(|error| error.to_string())
    }

    async fn send(&self, attempt: &Attempt<'_>) -> Sent {
        let Ok(letter) = Letter::deserialize(attempt.payload) else {
            return Sent::dead("what was to be sent is not what a mail is made of");
        };
        let mail = match self.mail(&letter, attempt) {
            Ok(mail) => mail,
            Err(error) => return Sent::dead(error),
        };
        let rest = Rest::of(attempt);
        let to: Vec<Address> = self.recipients(rest.as_ref());
        let envelope = Envelope {
            from: &self.from.email,
            to: &to,
            bytes: &mail.formatted(),
            host: letter.host.as_deref(),
            is_rest: rest.is_some(),
        };
        let secrets: Vec<&SecretString> = self.password.iter().collect();
        let mask = |text: &str| super::secret::mask(text, &secrets);
        let request = self.shown(&letter);
        match self.server.send(&envelope).await {
            Ok(taken) => {
                let since = rest.as_ref().map_or(attempt.now, |rest| rest.since);
                let left = Rest { delivery: Some(attempt.delivery), to: taken.left(), since };
                // Whoever tests waits for the answer, and that is what it is.
                let (outcome, remote) = if left.to.is_empty() || attempt.reason == Reason::Test {
                    (Outcome::Delivered, rest.and_then(|_| Rest::default().stored()))
                } else {
                    // A step and no failure: some know of the incident now, and are owed its end.
                    (Outcome::Continue { after: REST_AFTER }, left.stored())
                };
                Sent {
                    outcome,
                    status: Some(taken.status),
                    error: taken.refused().map(|refused| mask(&refused)),
                    request,
                    answer: mask(&taken.answer),
                    remote,
                }
            }
            Err(trouble) => {
                let since = rest.as_ref().map(|rest| rest.since);
                let is_over = since.is_some_and(|at| attempt.now.since(at) >= REST_WITHIN);
                let mut error = mask(&trouble.error);
                let outcome = match trouble.outcome {
                    Outcome::Retry { failure, .. } if is_over => {
                        error.push_str("; the others have it, and the next mails wait no longer");
                        Outcome::Dead { failure }
                    }
                    outcome => outcome,
                };
                let is_through = outcome == Outcome::Delivered;
                Sent {
                    outcome,
                    status: trouble.status,
                    error: Some(error),
                    request,
                    answer: mask(&trouble.answer),
                    remote: rest.filter(|_| is_through).and_then(|_| Rest::default().stored()),
                }
            }
        }
    }
}

/// No machine should answer a machine, and filters want more than a subject.
fn headers(message: &Message) -> Vec<(String, String)> {
    let incident = &message.incident;
    let urgent = incident.severity == Severity::Critical
        && !matches!(message.reason, Reason::Resolved | Reason::Acknowledged | Reason::Test);
    let mut headers = vec![
        // RFC 3834 §5.
        ("Auto-Submitted", "auto-generated".to_owned()),
        // Exchange and Outlook.
        ("X-Auto-Response-Suppress", "All".to_owned()),
        ("X-Dutygate-Incident", incident.number.to_string()),
        ("X-Dutygate-Reason", message.reason.to_string()),
        ("X-Dutygate-Severity", incident.severity.to_string()),
        ("X-Dutygate-Status", incident.status.to_string()),
        ("X-Dutygate-Service", words::one_line(&incident.service)),
    ];
    if urgent {
        headers.push(("Importance", "high".to_owned()));
    }
    headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What is wrong with addresses that look like some: each with its member.
pub fn mistakes(settings: &Map<String, Value>) -> Vec<(&'static str, String)> {
    let given = |key: &str| {
        let value = settings.get(key);
        let list = value.and_then(Value::as_array).into_iter().flatten();
        let all: Vec<&str> = value.into_iter().chain(list).filter_map(Value::as_str).collect();
        all
    };
    let wrong = |key: &'static str, address: &str| {
        address
            .parse::<Mailbox>()
            .err()
            .map(|error| (key, format!("{address:?} is wrong: {error}")))
    };
    let from = given("from").into_iter().filter_map(|address| wrong("from", address));
    let to = given("to").into_iter().filter_map(|address| wrong("to", address));
    from.chain(to).collect()
}

/// The name by which this gateway is reached, if it is one that a mail server may look up.
fn host(base_url: &str) -> Option<String> {
    let url = Url::parse(base_url).ok()?;
    url.domain().filter(|domain| domain.contains('.')).map(str::to_owned)
}

fn mailbox(key: &str, text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|error| format!("{key}: {text:?} is no mail address: {error}"))
}

/// Reads `smtp://host[:port]` or `smtps://host[:port]`.
fn server(url: &str, login: Option<Login>, guard: Guard) -> Result<Server, String> {
    let wrong = || "smtp must be an address such as smtps://mail.example.com".to_owned();
    let url = Url::parse(url).map_err(|_| wrong())?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
    let security = match url.scheme() {
        "smtps" => Security::Tls,
        "smtp" if login.is_some() => Security::StartTls,
        "smtp" => Security::Opportunistic,
        _ => return Err(wrong()),
    };
    Ok(Server::new(host.trim_matches(['[', ']']), url.port(), security, login, guard))
}
