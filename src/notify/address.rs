//! Which addresses may be talked to: a gateway that posts wherever its settings say must not be a
//! way into the network that it stands in.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use reqwest::Url;
use serde_json::{Map, Value};

use crate::domain::receiver::is_private;

/// Refuses private, loopback and link-local addresses unless they are allowed.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    allow_private: bool,
}

/// An address that must not be talked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAllowed {
    pub host: String,
    pub address: IpAddr,
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, address } = self;
        write!(
            f,
            "address not allowed: {host} is at {address}, which is private; name the host in the \
             receiver's allowed_hosts, or set outbound.allow_private_addresses"
        )
    }
}

impl std::error::Error for NotAllowed {}

impl Guard {
    pub fn new(allow_private: bool) -> Self {
        Self { allow_private }
    }

    /// Whether any address of `host` will do.
    pub fn trusts(self, host: &str, allowed_hosts: &[String]) -> bool {
        self.allow_private || allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
    }

    /// Whether the host of `url` is an address that is written out and may not be talked to. The
    /// address is what the URL's parser makes of it: `127.1` is one as well.
    pub fn literal(self, url: &Url, allowed_hosts: &[String]) -> Result<(), NotAllowed> {
        let host = host(url);
        match host.parse() {
            Ok(address) if is_private(address) && !self.trusts(host, allowed_hosts) => {
                Err(NotAllowed { host: host.to_owned(), address })
            }
            _ => Ok(()),
        }
    }

    /// Of the addresses that `host` was resolved to, those that may be talked to.
    pub fn allowed(
        host: &str,
        found: impl Iterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, NotAllowed> {
        let (private, public): (Vec<_>, Vec<_>) = found.partition(|at| is_private(at.ip()));
        match private.first() {
            Some(at) if public.is_empty() => {
                Err(NotAllowed { host: host.to_owned(), address: at.ip() })
            }
            _ => Ok(public),
        }
    }

    /// The addresses of a host that may be talked to. `Err`: none may, or it has none.
    pub async fn resolve(
        self,
        host: &str,
        port: u16,
        allowed_hosts: &[String],
    ) -> Result<Vec<SocketAddr>, Unresolved> {
        let found = tokio::net::lookup_host((host, port)).await.map_err(Unresolved::Unknown)?;
        if self.trusts(host, allowed_hosts) {
            return Ok(found.collect());
        }
        Self::allowed(host, found).map_err(Unresolved::NotAllowed)
    }
}

/// The host of a URL, an address of version 6 without its brackets.
pub(super) fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_matches(['[', ']'])
}

/// The host of a receiver's `url` or `smtp` if it is a literal address inside a private network
/// that `allowed_hosts` does not name: nothing would ever be sent there.
pub(super) fn private_address(settings: &Map<String, Value>) -> Option<(&'static str, IpAddr)> {
    let (key, text) = ["url", "smtp"]
        .into_iter()
        .find_map(|key| settings.get(key)?.as_str().map(|text| (key, text)))?;
    let (_, rest) = text.split_once("://")?;
    // The parser knows addresses only where it knows the scheme, and that of mail it does not.
    let url = Url::parse(&format!("http://{rest}")).ok()?;
    let allowed = settings.get("allowed_hosts").and_then(Value::as_array);
    let allowed = allowed.into_iter().flatten().filter_map(Value::as_str);
    let allowed: Vec<String> = allowed.map(str::to_owned).collect();
    let refused = Guard::new(false).literal(&url, &allowed).err()?;
    Some((key, refused.address))
}

/// Why there is no address to talk to.
#[derive(Debug, thiserror::Error)]
pub enum Unresolved {
    #[error("the name cannot be resolved: {0}")]
    Unknown(std::io::Error),
    #[error("{0}")]
    NotAllowed(NotAllowed),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_public_addresses_of_a_name_are_talked_to() {
        let at = |address: &str| SocketAddr::new(address.parse().unwrap(), 443);
        let mixed = [at("10.0.0.7"), at("192.0.2.7")];

        assert_eq!(Guard::allowed("x", mixed.into_iter()), Ok(vec![at("192.0.2.7")]));

        let private = Guard::allowed("x", [at("127.0.0.1")].into_iter()).unwrap_err();
        assert!(private.to_string().starts_with("address not allowed: x is at 127.0.0.1"));
    }

    #[test]
    fn a_literal_private_address_is_found_however_it_is_written() {
        let found = |key: &str, url: &str| {
            let settings = json!({key: url});
            private_address(settings.as_object().unwrap()).map(|(_, address)| address.to_string())
        };

        for (host, address) in [
            ("127.0.0.1:8080", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("10.0.0.010", "10.0.0.8"),
            ("１２７.0.0.1", "127.0.0.1"),
            ("127。0。0。1", "127.0.0.1"),
            ("%31%32%37.0.0.1", "127.0.0.1"),
            ("[fd00::1]", "fd00::1"),
            ("[::ffff:10.0.0.1]", "::ffff:10.0.0.1"),
        ] {
            for (key, scheme) in [("url", "http"), ("url", "HTTPS"), ("smtp", "smtps")] {
                let url = format!("{scheme}://{host}/x");
                let found = found(key, &url).map(|found| found.parse());

                assert_eq!(found, Some(address.parse::<IpAddr>()), "{url}");
            }
        }
        assert_eq!(found("url", "https://93.184.216.34/"), None);
        assert_eq!(found("url", "https://localhost/"), None, "names are looked up when it is sent");
    }

    #[test]
    fn a_literal_private_address_may_be_allowed() {
        for (url, allowed, is_found) in [
            ("https://10.0.0.1/", "10.0.0.1", false),
            ("https://10.1/", "10.0.0.1", false),
            ("https://[fd00::1]/", "FD00::1", false),
            ("https://10.0.0.2/", "10.0.0.1", true),
        ] {
            let settings = json!({"url": url, "allowed_hosts": [allowed]});

            let found = private_address(settings.as_object().unwrap());

            assert_eq!(found.is_some(), is_found, "{url}");
        }
    }

    #[test]
    fn a_host_is_trusted_by_its_name() {
        let allowed = ["Hooks.internal".to_owned()];

        assert!(Guard::new(false).trusts("hooks.internal", &allowed));
        assert!(!Guard::new(false).trusts("other.internal", &allowed));
        assert!(Guard::new(true).trusts("other.internal", &[]));
    }
}
