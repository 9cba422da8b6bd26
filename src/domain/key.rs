//! Keys: what a sender proves itself with (routing key) and names a problem by (dedup key).

use std::{fmt, sync::Arc};

use sha2::{Digest, Sha256};

/// Length of a routing key (V1: service key), in characters.
///
/// Source: PagerDuty Events API v2, field `routing_key` ("This is the 32 character Integration Key").
pub const ROUTING_KEY_CHARS: usize = 32;

/// Longest dedup key (V1: incident key), in characters.
///
/// Source: PagerDuty Events API v2, "Send an event", field `dedup_key`.
pub const DEDUP_KEY_MAX_CHARS: usize = 255;

/// The secret of an integration, as a sender gave it. Only its hash is ever stored.
#[derive(Clone, PartialEq, Eq)]
pub struct RoutingKey(String);

/// Why a text is not a [`RoutingKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoutingKey {
    #[error("must have {ROUTING_KEY_CHARS} characters, has {chars}")]
    WrongLength { chars: usize },
    #[error("must consist of letters A-Z, a-z and digits only")]
    NotAlphanumeric,
}

impl RoutingKey {
    /// Takes a key of the form that PagerDuty's have: `[0-9A-Za-z]{32}`.
    pub fn parse(text: &str) -> Result<Self, InvalidRoutingKey> {
        let chars = text.chars().count();
        if chars != ROUTING_KEY_CHARS {
            return Err(InvalidRoutingKey::WrongLength { chars });
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(InvalidRoutingKey::NotAlphanumeric);
        }
        Ok(Self(text.to_owned()))
    }

    /// A new key `[0-9a-z]{32}` from random bytes: a byte picks one of 36 characters, and bytes
    /// from 252 up are passed over so that each is equally likely. `None` if too few are left.
    pub fn from_random(bytes: &[u8]) -> Option<Self> {
        const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let key: String = bytes
            .iter()
            .filter(|byte| **byte < 252)
            .take(ROUTING_KEY_CHARS)
            .map(|byte| char::from(ALPHABET[usize::from(byte % 36)]))
            .collect();
        (key.len() == ROUTING_KEY_CHARS).then_some(Self(key))
    }

    /// The secret itself, to be shown once by the call that made it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub fn hash(&self) -> KeyHash {
        KeyHash::of(&self.0)
    }

    /// What may be shown later: the first four characters.
    pub fn hint(&self) -> String {
        self.0.chars().take(4).collect()
    }
}

// The key is a credential, so logs get the first four characters and no more.
impl fmt::Debug for RoutingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoutingKey({}…)", self.hint())
    }
}

/// SHA-256 of a secret: what is stored and what keys are looked up by.
///
/// A lookup by hash leaks no timing of use: to steer it one would have to invert SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// Names a problem within one integration; case-sensitive. Cheap to clone: many maps are by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DedupKey(Arc<str>);

/// Why a text is not a [`DedupKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDedupKey {
    #[error("dedup_key is empty")]
    Empty,
    #[error("dedup_key has {chars} characters, more than {DEDUP_KEY_MAX_CHARS}")]
    TooLong { chars: usize },
}

impl DedupKey {
    pub fn parse(text: &str) -> Result<Self, InvalidDedupKey> {
        if text.is_empty() {
            return Err(InvalidDedupKey::Empty);
        }
        let chars = text.chars().count();
        if chars > DEDUP_KEY_MAX_CHARS {
            return Err(InvalidDedupKey::TooLong { chars });
        }
        Ok(Self(text.into()))
    }

    /// The key of a trigger that came without one: 32 lower-case hex digits, as PagerDuty answers.
    pub fn generated(random: u128) -> Self {
        Self(format!("{random:032x}").into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same text, not a copy.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for DedupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_routing_key_shows_four_characters_in_logs() {
        let key = RoutingKey::parse("0123456789abcdefABCDEF9876543210").unwrap();

        assert_eq!(format!("{key:?} {:?}", key.hash()), "RoutingKey(0123…) KeyHash(…)");
    }

    #[test]
    fn a_made_key_is_a_valid_key() {
        let key = RoutingKey::from_random(&[251; 40]).unwrap();

        assert_eq!(RoutingKey::parse(key.reveal()), Ok(key));
        assert_eq!(RoutingKey::from_random(&[255; 64]), None);
    }

    #[test]
    fn dedup_keys_are_counted_in_characters() {
        assert!(DedupKey::parse(&"磁".repeat(255)).is_ok());
        assert_eq!(DedupKey::parse(&"a".repeat(256)), Err(InvalidDedupKey::TooLong { chars: 256 }));
    }
}
