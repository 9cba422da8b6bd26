//! The types of settings and how each is read from text.
//!
//! A problem says what is wrong and what is allowed, and never repeats a secret.

use std::{fmt, path::PathBuf};

use reqwest::Url;
use secrecy::SecretString;

use crate::{
    domain::{key::RoutingKey, time::Span},
    telemetry::logging,
};

/// Shortest `admin_token`, in characters: with letters and digits some 95 bits, beyond guessing.
pub const ADMIN_TOKEN_MIN_CHARS: usize = 16;

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Listen,
    Database,
    Url,
    SecretUrl,
    IntegrationKey,
    AdminToken,
    Integer { min: u64, max: u64, unit: &'static str },
    Duration { min: &'static str, max: &'static str },
    Bool,
    Path,
    LogFormat,
    LogLevel,
    Unsupported,
}

impl Kind {
    /// Whether the value must not be shown, nor be given where others can read it (flags).
    pub fn is_secret(self) -> bool {
        matches!(self, Self::SecretUrl | Self::IntegrationKey | Self::AdminToken)
    }

    /// Whether YAML's numbers and booleans are values of this kind, and not forgotten quotes.
    pub fn is_bare(self) -> bool {
        matches!(self, Self::Integer { .. } | Self::Duration { .. } | Self::Bool)
    }

    /// What is allowed, as the end of "must be …".
    pub fn allowed(self) -> String {
        match self {
            Self::Listen => "host:port or unix:/path, such as \"127.0.0.1:8080\"".to_owned(),
            Self::Database => "sqlite://path, such as \"sqlite://data/dutygate.db\"".to_owned(),
            Self::Url | Self::SecretUrl => "an http:// or https:// URL".to_owned(),
            Self::IntegrationKey => "32 characters of 0-9, A-Z and a-z".to_owned(),
            Self::AdminToken => {
                format!(
                    "at least {ADMIN_TOKEN_MIN_CHARS} printable ASCII characters without spaces"
                )
            }
            Self::Integer { min, max, unit } => {
                format!("a whole number from {min} to {max} ({unit})")
            }
            Self::Duration { min, max } => {
                format!(
                    "a duration from {min} to {max}, such as \"90s\", \"15m\", \"4h\" or \"7d\""
                )
            }
            Self::Bool => "true or false".to_owned(),
            Self::Path => "the path of a file".to_owned(),
            Self::LogFormat => "text or json".to_owned(),
            Self::LogLevel => "off, error, warn, info, debug or trace, or a list such as \
                               \"info,dutygate::ingest=debug\""
                .to_owned(),
            Self::Unsupported => "left out: it is not supported by this version yet".to_owned(),
        }
    }

    /// Says what is wrong with `text`, if anything.
    pub fn check(self, text: &str) -> Result<(), String> {
        match self {
            Self::Listen => Listen::parse(text).map(drop),
            Self::Database => DatabaseUrl::parse(text).map(drop),
            Self::Url => url(text).map(drop),
            Self::SecretUrl => secret_url(text).map(drop),
            Self::IntegrationKey => integration_key(text).map(drop),
            Self::AdminToken => admin_token(text).map(drop),
            Self::Integer { .. } => self.integer(text).map(drop),
            Self::Duration { .. } => self.duration(text).map(drop),
            Self::Bool => boolean(text).map(drop),
            Self::Path => Ok(()),
            Self::LogFormat => log_format(text).map(drop),
            Self::LogLevel => log_level(text).map(drop),
            Self::Unsupported => Err(format!("must be {}", self.allowed())),
        }
    }

    pub(super) fn integer(self, text: &str) -> Result<u64, String> {
        let problem = || must_be(self, text);
        let number: u64 = text.parse().map_err(|_| problem())?;
        match self {
            Self::Integer { min, max, .. } if (min..=max).contains(&number) => Ok(number),
            _ => Err(problem()),
        }
    }

    pub(super) fn duration(self, text: &str) -> Result<Span, String> {
        let problem = || must_be(self, text);
        // Zero is the one number that needs no unit.
        let span =
            if text == "0" { Span::ZERO } else { Span::parse(text).map_err(|_| problem())? };
        let Self::Duration { min, max } = self else { return Err(problem()) };
        let (Ok(min), Ok(max)) = (Span::parse(min), Span::parse(max)) else {
            return Err(problem());
        };
        if (min..=max).contains(&span) { Ok(span) } else { Err(problem()) }
    }
}

fn must_be(kind: Kind, text: &str) -> String {
    format!("must be {}, is {text:?}", kind.allowed())
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A name or an address (IPv6 without brackets), and a port; 0 lets the system choose one.
    Tcp {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

impl Listen {
    pub fn parse(text: &str) -> Result<Self, String> {
        let problem = || must_be(Kind::Listen, text);
        if let Some(path) = text.strip_prefix("unix:") {
            // Both `unix:/path` and `unix:///path` are in use.
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(problem()) } else { Ok(Self::Unix(path.into())) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(problem)?;
        let port = port.parse().map_err(|_| problem())?;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let address = rest.strip_suffix(']').ok_or_else(problem)?;
                address.parse::<std::net::Ipv6Addr>().map_err(|_| problem())?;
                address
            }
            None => host,
        };
        let is_bare_v6 = host.contains(':') && !text.starts_with('[');
        if host.is_empty() || is_bare_v6 || host.contains(['/', '@', ' ']) {
            return Err(problem());
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Which database, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file; relative to the working directory if the path is.
    Sqlite(PathBuf),
}

impl DatabaseUrl {
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            // The URL holds a password, so it is not repeated.
            return Err("PostgreSQL is not supported by this version yet; use sqlite://path".into());
        }
        let Some(path) = text.strip_prefix("sqlite:") else {
            return Err(format!("must be {}", Kind::Database.allowed()));
        };
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() {
            return Err(format!("must be {}, has no path", Kind::Database.allowed()));
        }
        if path.contains(":memory:") {
            return Err(
                "must be a file: an alert that was accepted has to survive a restart".into()
            );
        }
        if path.contains(['?', '#']) {
            return Err("must be a path without parameters (\"?…\")".into());
        }
        Ok(Self::Sqlite(path.into()))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
        }
    }
}

/// A base URL without its trailing slash, so that paths can be appended.
pub(super) fn url(text: &str) -> Result<String, String> {
    let problem = || must_be(Kind::Url, text);
    let url = Url::parse(text).map_err(|_| problem())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(problem());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must be a URL without a user and a password".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("must be a URL without \"?\" and \"#\", is {text:?}"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// A URL whose path is what protects it, so it is not repeated.
pub(super) fn secret_url(text: &str) -> Result<SecretString, String> {
    let is_http = Url::parse(text)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
    if !is_http {
        return Err(format!("must be {}", Kind::SecretUrl.allowed()));
    }
    Ok(SecretString::from(text))
}

pub(super) fn integration_key(text: &str) -> Result<SecretString, String> {
    match RoutingKey::parse(text) {
        Ok(_) => Ok(SecretString::from(text)),
        Err(_) => Err(format!(
            "must be {}, has {} characters",
            Kind::IntegrationKey.allowed(),
            text.chars().count()
        )),
    }
}

pub(super) fn admin_token(text: &str) -> Result<SecretString, String> {
    // It has to fit into a header as it is.
    let is_token = text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_token || text.len() < ADMIN_TOKEN_MIN_CHARS {
        return Err(format!(
            "must be {}, has {} characters",
            Kind::AdminToken.allowed(),
            text.chars().count()
        ));
    }
    Ok(SecretString::from(text))
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| must_be(Kind::Bool, text))
}

pub(super) fn log_format(text: &str) -> Result<logging::Format, String> {
    logging::Format::parse(text).ok_or_else(|| must_be(Kind::LogFormat, text))
}

pub(super) fn log_level(text: &str) -> Result<String, String> {
    match logging::parse_level(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(must_be(Kind::LogLevel, text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_with_a_port_or_a_socket() {
        for (text, shown) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("localhost:0", "localhost:0"),
            ("[::1]:80", "[::1]:80"),
            ("unix:/run/dutygate.sock", "unix:/run/dutygate.sock"),
            ("unix:///run/dutygate.sock", "unix:/run/dutygate.sock"),
        ] {
            assert_eq!(Listen::parse(text).unwrap().to_string(), shown);
        }
        for wrong in
            ["", "8080", ":8080", "host", "host:", "host:99999", "::1:80", "[::1]", "[x]:1"]
        {
            assert!(Listen::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_database_is_a_file_of_sqlite() {
        for (text, path) in [
            ("sqlite://data/dutygate.db", "data/dutygate.db"),
            ("sqlite:///var/lib/dutygate/x.db", "/var/lib/dutygate/x.db"),
            ("sqlite:x.db", "x.db"),
        ] {
            assert_eq!(DatabaseUrl::parse(text), Ok(DatabaseUrl::Sqlite(path.into())));
        }
        for wrong in ["", "sqlite://", "sqlite::memory:", "mysql://x", "sqlite://x.db?mode=ro"] {
            assert!(DatabaseUrl::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn postgresql_is_refused_without_repeating_the_password() {
        let problem = DatabaseUrl::parse("postgres://user:hunter2@db/x").unwrap_err();

        assert!(problem.contains("PostgreSQL is not supported by this version yet"), "{problem}");
        assert!(!problem.contains("hunter2"));
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_said_without_it() {
        for problem in [
            integration_key("my-secret-key").unwrap_err(),
            admin_token("secret").unwrap_err(),
            secret_url("secret").unwrap_err(),
        ] {
            assert!(!problem.contains("secret"), "{problem}");
        }
    }

    #[test]
    fn a_base_url_loses_its_trailing_slash() {
        assert_eq!(url("https://a.example.com/duty/"), Ok("https://a.example.com/duty".into()));
        for wrong in ["a.example.com", "ftp://a", "https://u:p@a", "https://a/?b", "https://a/#b"] {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_and_durations_have_bounds() {
        let integer = Kind::Integer { min: 1, max: 5, unit: "x" };
        assert_eq!(integer.integer("5"), Ok(5));
        for wrong in ["0", "6", "-1", "1.5", "", "0x2", "1k"] {
            assert!(integer.integer(wrong).is_err(), "{wrong}");
        }
        let duration = Kind::Duration { min: "0s", max: "1h" };
        assert_eq!(duration.duration("0"), Ok(Span::ZERO));
        for wrong in ["61m", "5", "-1s", ""] {
            assert!(duration.duration(wrong).is_err(), "{wrong}");
        }
    }
}
