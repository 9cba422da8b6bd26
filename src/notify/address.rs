//! Which addresses may be talked to: a gateway that posts wherever its settings say must not be a
//! way into the network that it stands in.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

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
    fn a_host_is_trusted_by_its_name() {
        let allowed = ["Hooks.internal".to_owned()];

        assert!(Guard::new(false).trusts("hooks.internal", &allowed));
        assert!(!Guard::new(false).trusts("other.internal", &allowed));
        assert!(Guard::new(true).trusts("other.internal", &[]));
    }
}
