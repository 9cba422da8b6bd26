//! The HTTP client of the commands: where to, how long, and which certificates.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

use anyhow::{Context as _, bail};
use reqwest::{Client, Url, redirect};

use crate::config::{Listen, Settings};

/// Makes `ring` what TLS is done with, in clients and in the server. Once a process; again is
/// nothing.
pub(super) fn install_crypto_provider() {
    // The error says that one is installed already, which is what is wanted.
    rustls::crypto::ring::default_provider().install_default().ok();
}

/// What to do when a gateway does not answer.
pub(super) const NOT_REACHED: &str =
    "is the gateway running? `dutygate serve` starts it, --url names another";

/// Where a gateway is.
#[derive(Clone, Debug)]
pub(super) struct Target {
    base: Url,
    socket: Option<PathBuf>,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    /// Reads `http://…`, `https://…` or `unix:/path`.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        if text.starts_with("unix:") {
            let listen = Listen::parse(text).map_err(anyhow::Error::msg)?;
            return Self::of_listen(&listen, "http");
        }
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        match url {
            Some(base) if base.host_str().is_some() => Ok(Self { base, socket: None }),
            _ => bail!("must begin with http://, https:// or unix:"),
        }
    }
}

/// Scheme, host and port: the path may hold a key.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(path) => write!(f, "unix:{}", path.display()),
            None => f.write_str(&self.base.origin().ascii_serialization()),
        }
    }
}

impl Target {
    /// The gateway that runs with these settings, on this machine.
    pub(super) fn of_gateway(settings: &Settings) -> anyhow::Result<Self> {
        let scheme = if settings.tls.is_some() { "https" } else { "http" };
        Self::of_listen(&settings.listen, scheme)
    }

    fn of_listen(listen: &Listen, scheme: &str) -> anyhow::Result<Self> {
        let (base, socket) = match listen.reachable() {
            Listen::Tcp { port: 0, .. } => {
                bail!(
                    "the setting listen leaves the port to the system: name the gateway with --url"
                )
            }
            listen @ Listen::Tcp { .. } => (format!("{scheme}://{listen}"), None),
            Listen::Unix(path) => (format!("{scheme}://localhost"), Some(path)),
        };
        let base = Url::parse(&base).context("the setting listen makes no URL")?;
        Ok(Self { base, socket })
    }

    /// The address of `path` below the gateway's.
    pub(super) fn join(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let below = format!("{}{path}", self.base.path().trim_end_matches('/'));
        url.set_path(&below);
        url
    }

    /// The address as it was given if it has a path, else that of `path`.
    pub(super) fn or_path(&self, path: &str) -> Url {
        if self.base.path() == "/" { self.join(path) } else { self.base.clone() }
    }

    /// Whether what is sent cannot leave this machine.
    fn is_loopback(&self) -> bool {
        let host = self.base.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        self.socket.is_some() || host == "localhost" || address.is_ok_and(|ip| ip.is_loopback())
    }

    /// A client for this target and no other: it follows no redirect, so a token goes nowhere
    /// else, and takes no proxy from the environment.
    pub(super) fn client(&self, timeout: Duration) -> anyhow::Result<Client> {
        let mut builder = Client::builder()
            .user_agent(concat!("dutygate/", env!("CARGO_PKG_VERSION")))
            .timeout(timeout)
            .connect_timeout(timeout.min(Duration::from_secs(10)))
            .redirect(redirect::Policy::none())
            .no_proxy();
        if self.base.scheme() == "http" {
            // The system's certificates are not read: an image may have none, and needs none.
            builder = builder.tls_certs_only([]);
        } else if self.is_loopback() {
            // A certificate is made out to a public name, or by oneself; nobody is in between.
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        if let Some(path) = &self.socket {
            builder = builder.unix_socket(path.as_path());
        }
        builder.build().context("cannot set up the HTTP client")
    }

    /// Says why there was no answer, without the path, which may hold a key.
    pub(super) fn explain(&self, error: reqwest::Error) -> anyhow::Error {
        if error.is_timeout() {
            return anyhow::anyhow!("no answer from {self} in time");
        }
        let error = anyhow::Error::new(error.without_url());
        anyhow::anyhow!("cannot reach {self}: {}", error.root_cause())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Loaded;

    #[test]
    fn the_gateway_of_the_settings_is_found() {
        for (yaml, url) in [
            ("", "http://127.0.0.1:8080/readyz"),
            ("listen: 0.0.0.0:9000", "http://127.0.0.1:9000/readyz"),
            ("{listen: '[::]:9000', tls: {cert: a, key: b}}", "https://[::1]:9000/readyz"),
            ("listen: unix:/run/x.sock", "http://localhost/readyz"),
        ] {
            let settings = Loaded::from_texts(yaml, [], []).unwrap().settings;
            let target = Target::of_gateway(&settings).unwrap();
            assert_eq!(target.join("/readyz").as_str(), url);
            assert!(target.is_loopback());
        }
        let settings = Loaded::from_texts("listen: 127.0.0.1:0", [], []).unwrap().settings;
        assert!(Target::of_gateway(&settings).is_err());
    }

    #[test]
    fn certificates_count_beyond_this_machine() {
        for (text, loopback) in [
            ("https://127.8.8.8", true),
            ("https://[::1]:8443", true),
            ("https://localhost", true),
            ("unix:/run/x.sock", true),
            ("https://localhost.example.com", false),
            ("https://10.0.0.1", false),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().is_loopback(), loopback, "{text}");
        }
    }

    #[test]
    fn a_path_is_kept_and_not_shown() {
        let target: Target = "https://a.example.com/integration/KEY/enqueue".parse().unwrap();

        assert_eq!(target.or_path("/v2/enqueue").path(), "/integration/KEY/enqueue");
        assert_eq!(target.to_string(), "https://a.example.com");
        let bare: Target = "http://a.example.com/".parse().unwrap();
        assert_eq!(bare.or_path("/v2/enqueue").path(), "/v2/enqueue");
        for wrong in ["", "a.example.com", "ftp://a", "unix:", "localhost:8080"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }
}
