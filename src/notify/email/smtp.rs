//! One mail over SMTP: a dialogue that is bounded in time and ends in words.
//!
//! It is led step by step, because what a failure means depends on the step: before the text of the
//! mail nothing has arrived for certain.

use std::{error::Error as _, fmt, net::SocketAddr, time::Duration};

use lettre::{
    Address,
    transport::smtp::{
        Error,
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, TlsParameters},
        commands::{Data, Mail, Rcpt},
        extension::{ClientId, Extension, MailParameter},
        response::Response,
    },
};
use tokio::time::{Instant, timeout, timeout_at};

use super::words::{one_line, shortened};
use crate::notify::{
    Failure, Guard, Outcome,
    address::Unresolved,
    http::{CONNECT_TIMEOUT, TIMEOUT},
};

/// For a farewell, which changes nothing any more.
const FAREWELL: Duration = Duration::from_secs(1);
/// Longest answer of a server that is repeated, in characters.
const ANSWER_CHARS: usize = 500;

/// A mail server, and how it is talked to.
#[derive(Debug)]
pub(super) struct Server {
    host: String,
    port: u16,
    security: Security,
    login: Option<Login>,
    guard: Guard,
    allowed_hosts: Vec<String>,
}

/// How the dialogue is kept from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Security {
    /// TLS from the first byte, with the server's certificate checked.
    Tls,
    /// STARTTLS or nothing, with the certificate checked: a password is to be sent.
    StartTls,
    /// STARTTLS if it is offered, with any certificate: better than none, and a server that only
    /// takes mail in is seldom given a proper one.
    Opportunistic,
}

/// User and password.
pub(super) type Login = Credentials;

/// What is sent, from whom and to whom.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub(super) from: &'a Address,
    pub(super) to: &'a [Address],
    pub(super) bytes: &'a [u8],
    pub(super) host: Option<&'a str>,
    /// Others have it already.
    pub(super) is_rest: bool,
}

/// The server took the mail, if not for everybody.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) status: u16,
    pub(super) answer: String,
    refused: Vec<Refused>,
}

/// A recipient that the server does not take mail for.
#[derive(Debug)]
struct Refused {
    to: Address,
    status: Option<u16>,
    answer: String,
}

/// The server did not take it, as far as is known.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
    pub(super) error: String,
    pub(super) answer: String,
}

/// How far a dialogue has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Greeting,
    StartTls,
    Login,
    Sender,
    Recipients,
    /// The text of the mail may be on its way.
    Text,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.security == Security::Tls { "smtps" } else { "smtp" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl Server {
    /// Without a port it is the usual one: 465 for TLS, 587 where a user logs in, 25 between
    /// servers.
    ///
    /// Source: RFC 8314 §3.3, RFC 6409 §3.1, RFC 5321 §4.5.4.2.
    pub(super) fn new(
        host: &str,
        port: Option<u16>,
        security: Security,
        login: Option<Login>,
        guard: Guard,
    ) -> Self {
        let usual = match security {
            Security::Tls => 465,
            Security::StartTls => 587,
            Security::Opportunistic => 25,
        };
        let port = port.unwrap_or(usual);
        Self { host: host.to_owned(), port, security, login, guard, allowed_hosts: Vec::new() }
    }

    /// The same, with hosts that are talked to wherever they are.
    pub(super) fn allowing(self, allowed_hosts: Vec<String>) -> Self {
        Self { allowed_hosts, ..self }
    }

    /// Sends a mail once.
    pub(super) async fn send(&self, envelope: &Envelope<'_>) -> Result<Taken, Trouble> {
        let deadline = Instant::now() + TIMEOUT - FAREWELL;
        let mut step = Step::Greeting;
        let opened = timeout_at(deadline, self.open(envelope, &mut step)).await;
        let mut connection = opened.unwrap_or_else(|_| Err(self.too_late(step)))?;
        let submitted = self.submit(&mut connection, envelope, &mut step);
        let result = timeout_at(deadline, submitted).await;
        timeout(FAREWELL, connection.abort()).await.ok();
        result.unwrap_or_else(|_| Err(self.too_late(step)))
    }

    /// A connection on which mail may be sent.
    async fn open(
        &self,
        envelope: &Envelope<'_>,
        step: &mut Step,
    ) -> Result<AsyncSmtpConnection, Trouble> {
        let addresses = self.resolve().await?;
        let hello =
            envelope.host.map_or_else(ClientId::default, |host| ClientId::Domain(host.to_owned()));
        let tls = match self.security {
            Security::Tls => Some(self.tls()?),
            Security::StartTls | Security::Opportunistic => None,
        };
        let each = CONNECT_TIMEOUT / u32::try_from(addresses.len()).unwrap_or(1).max(1);
        let connected =
            AsyncSmtpConnection::connect_tokio1(&addresses[..], Some(each), &hello, tls, None)
                .await;
        let mut connection = connected.map_err(|error| self.trouble(*step, &error))?;
        *step = Step::StartTls;
        if connection.can_starttls() {
            let upgraded = connection.starttls(self.tls()?, &hello).await;
            upgraded.map_err(|error| self.trouble(*step, &error))?;
        } else if self.security == Security::StartTls {
            return Err(self.never_in_the_clear());
        }
        *step = Step::Login;
        if let Some(login) = &self.login {
            let let_in = connection.auth(DEFAULT_MECHANISMS, login).await;
            let_in.map_err(|error| self.trouble(*step, &error))?;
        }
        Ok(connection)
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, Trouble> {
        let found = self.guard.resolve(&self.host, self.port, &self.allowed_hosts).await;
        match found {
            Ok(addresses) => Ok(addresses),
            Err(unknown @ Unresolved::Unknown(_)) => {
                let again = Outcome::Retry { failure: Failure::Unreachable, after: None };
                Err(Trouble::silent(again, format!("no connection: {}: {unknown}", self.host)))
            }
            Err(Unresolved::NotAllowed(not_allowed)) => {
                let dead = Outcome::Dead { failure: Failure::Refused };
                Err(Trouble::silent(dead, not_allowed.to_string()))
            }
        }
    }

    fn tls(&self) -> Result<TlsParameters, Trouble> {
        let any = self.security == Security::Opportunistic;
        TlsParameters::builder(self.host.clone())
            .dangerous_accept_invalid_certs(any)
            .dangerous_accept_invalid_hostnames(any)
            .build()
            .map_err(|error| self.trouble(Step::StartTls, &error))
    }

    async fn submit(
        &self,
        connection: &mut AsyncSmtpConnection,
        envelope: &Envelope<'_>,
        step: &mut Step,
    ) -> Result<Taken, Trouble> {
        *step = Step::Sender;
        let mut parameters = Vec::new();
        let all = envelope.to.iter().chain([envelope.from]);
        if !all.map(AsRef::<str>::as_ref).all(str::is_ascii) {
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                let error =
                    format!("{} takes no addresses with other letters than ASCII", self.host);
                return Err(Trouble::silent(Outcome::Dead { failure: Failure::Refused }, error));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        let sender = Mail::new(Some(envelope.from.clone()), parameters);
        connection.command(sender).await.map_err(|error| self.trouble(*step, &error))?;
        *step = Step::Recipients;
        let mut refused = Vec::new();
        for to in envelope.to {
            if let Err(error) = connection.command(Rcpt::new(to.clone(), Vec::new())).await {
                // A wrong address among others must not keep the mail from those.
                let status = error.status().map(u16::from).filter(|status| *status != 421);
                if status.is_none() {
                    return Err(self.trouble(*step, &error));
                }
                refused.push(Refused { to: to.clone(), status, answer: answer(&error) });
            }
        }
        if refused.len() == envelope.to.len() {
            return Err(self.nobody(&refused, envelope.is_rest));
        }
        connection.command(Data).await.map_err(|error| self.trouble(*step, &error))?;
        *step = Step::Text;
        let taken = connection.message(envelope.bytes).await;
        let taken = taken.map_err(|error| self.trouble(*step, &error))?;
        let status = u16::from(taken.code());
        Ok(Taken { status, answer: format!("{status} {}", lines(&taken)), refused })
    }

    /// What an error at this step means.
    fn trouble(&self, step: Step, error: &Error) -> Trouble {
        let host = &self.host;
        let answer = answer(error);
        let Some(status) = error.status().map(u16::from) else {
            return self.broken(step, error, &answer);
        };
        let said = format!("{status} {answer}");
        let again = |failure| Outcome::Retry { failure, after: None };
        let (outcome, error) = match status {
            421 => (again(Failure::Unreachable), format!("{host} takes nothing now ({said})")),
            400..=499 => (again(Failure::Refused), format!("{host} asks to come again ({said})")),
            // It wants a user, or another password.
            530 | 534 | 535 | 538 => (
                again(Failure::Refused),
                format!("{host} does not let us in ({said}): check username and password"),
            ),
            // Not this mail, but we are not wanted: somebody can mend that.
            _ if step < Step::Sender => {
                (again(Failure::Refused), format!("{host} does not let us in ({said})"))
            }
            _ => {
                let what = match step {
                    Step::Sender => "does not take mail from the address in from",
                    _ => "does not take the mail",
                };
                (Outcome::Dead { failure: Failure::Refused }, format!("{host} {what} ({said})"))
            }
        };
        Trouble { outcome, status: Some(status), error, answer: said }
    }

    /// There was no answer.
    fn broken(&self, step: Step, error: &Error, cause: &str) -> Trouble {
        let host = &self.host;
        let again = |failure| Outcome::Retry { failure, after: None };
        let (outcome, error) = match step {
            Step::Text => (
                again(Failure::Unanswered),
                format!("the connection broke before an answer; it may have arrived: {cause}"),
            ),
            // Nothing that the server said: it offers no way that we know.
            Step::Login if error.is_client() => {
                (again(Failure::Refused), format!("{host} lets nobody log in: {cause}"))
            }
            Step::Greeting if self.security != Security::Tls => {
                (again(Failure::Unreachable), format!("no connection: {cause}"))
            }
            Step::Greeting | Step::StartTls => {
                (again(Failure::Unreachable), format!("no TLS with {host}: {cause}"))
            }
            Step::Login | Step::Sender | Step::Recipients => {
                (again(Failure::Unreachable), format!("the connection broke: {cause}"))
            }
        };
        Trouble::silent(outcome, error)
    }

    fn too_late(&self, step: Step) -> Trouble {
        let (failure, error) = match step {
            Step::Text => {
                (Failure::Unanswered, "no answer within 15 s; it may have arrived".to_owned())
            }
            _ => (
                Failure::Unreachable,
                format!("{} does not answer within 15 s; nothing was sent", self.host),
            ),
        };
        Trouble::silent(Outcome::Retry { failure, after: None }, error)
    }

    fn never_in_the_clear(&self) -> Trouble {
        let error = format!(
            "{} offers no STARTTLS on port {}, and a password is never sent in the clear: use \
             smtps://, or the port that offers it (usually 587)",
            self.host, self.port
        );
        Trouble::silent(Outcome::Retry { failure: Failure::Refused, after: None }, error)
    }

    /// Nobody's mail was taken: for good, unless there is hope for one of them. What others have
    /// ends well for want of anybody else who could get it.
    fn nobody(&self, refused: &[Refused], is_rest: bool) -> Trouble {
        let first = refused.first().and_then(|refused| refused.status);
        let hope = refused.iter().find(|refused| refused.is_for_now());
        let hope = hope.and_then(|refused| refused.status);
        let failure = Failure::Refused;
        let outcome = match hope {
            Some(_) => Outcome::Retry { failure, after: None },
            None if is_rest => Outcome::Delivered,
            None => Outcome::Dead { failure },
        };
        let listed = listed(refused);
        let error = format!("{} takes no mail for {listed}", self.host);
        Trouble { outcome, status: hope.or(first), error, answer: listed }
    }
}

impl Trouble {
    /// The server said nothing.
    fn silent(outcome: Outcome, error: String) -> Self {
        Self { outcome, status: None, error, answer: String::new() }
    }
}

impl Refused {
    /// It may be taken later: 530 is a login that somebody can mend.
    fn is_for_now(&self) -> bool {
        self.status.is_some_and(|status| (400..500).contains(&status) || status == 530)
    }
}

impl Taken {
    /// For whom it may be taken later.
    pub(super) fn left(&self) -> Vec<String> {
        let left = self.refused.iter().filter(|refused| refused.is_for_now());
        left.map(|refused| refused.to.to_string()).collect()
    }

    /// For whom it was not taken, in words.
    pub(super) fn refused(&self) -> Option<String> {
        (!self.refused.is_empty()).then(|| format!("taken, but not for {}", listed(&self.refused)))
    }
}

fn listed(refused: &[Refused]) -> String {
    let each = refused.iter().map(|Refused { to, status, answer }| {
        let status = status.map(|status| format!("{status} ")).unwrap_or_default();
        format!("{to} ({status}{answer})")
    });
    shortened(&each.collect::<Vec<_>>().join(", "), 4 * ANSWER_CHARS)
}

/// What the server said, or what went wrong, without lettre's own words before it.
fn answer(error: &Error) -> String {
    let text = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    shortened(&one_line(&text), ANSWER_CHARS)
}

fn lines(response: &Response) -> String {
    let text: Vec<&str> = response.message().collect();
    shortened(&one_line(&text.join(" ")), ANSWER_CHARS)
}
