//! Ids: UUIDs of version 7, one type for each kind of thing, made from a given time.
//!
//! RFC 9562 §6.2 lets a version 7 UUID carry a monotonic counter behind its timestamp. Ours is the
//! row's own sequence number (42 bits), so an id tells where its row lies: looking one up is a
//! primary-key access and no table needs an index on random ids. The last 32 bits are random.
//! Nothing here reads a clock or the system's randomness: both are handed in.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::time::Timestamp;

/// Highest sequence number an id can carry: 42 bits, 139 years of 1,000 a second.
pub const SEQ_MAX: i64 = (1 << 42) - 1;

fn compose(at: Timestamp, seq: i64, random: u32) -> Uuid {
    let millis = at.as_millis().clamp(0, (1 << 48) - 1).unsigned_abs();
    let seq = seq.clamp(0, SEQ_MAX).unsigned_abs();
    let mut bits: u128 = u128::from(millis) << 80;
    bits |= 0x7 << 76;
    bits |= u128::from(seq >> 30) << 64;
    bits |= 0b10 << 62;
    bits |= u128::from(seq & ((1 << 30) - 1)) << 32;
    bits |= u128::from(random);
    Uuid::from_u128(bits)
}

fn seq_of(id: Uuid) -> i64 {
    let bits = id.as_u128();
    let high = (bits >> 64) & 0xfff;
    let low = (bits >> 32) & ((1 << 30) - 1);
    i64::try_from((high << 30) | low).unwrap_or(SEQ_MAX)
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The id of row `seq`, made at `at`.
            pub fn new(at: Timestamp, seq: i64, random: u32) -> Self {
                Self(compose(at, seq, random))
            }

            pub fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            /// Reads the usual text form. A UUID of any origin is taken: it names no row of ours
            /// then, which is "not found" and no error.
            pub fn parse(text: &str) -> Option<Self> {
                Uuid::try_parse(text).ok().map(Self)
            }

            pub fn uuid(self) -> Uuid {
                self.0
            }

            /// The sequence number of its row.
            pub fn seq(self) -> i64 {
                seq_of(self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut text = Uuid::encode_buffer();
                serializer.serialize_str(self.0.hyphenated().encode_lower(&mut text))
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Uuid::deserialize(deserializer).map(Self)
            }
        }
    )*};
}

ids! {
    /// One event: a trigger, acknowledge or resolve that was accepted.
    EventId
    /// All events of one key on one integration until it is resolved.
    AlertId
    /// A group of alike alerts of one service.
    IncidentId
    /// One change event.
    ChangeId
    /// A service: the unit of consistency.
    ServiceId
    /// An inbound integration, owner of a routing key.
    IntegrationId
    /// An API token.
    TokenId
    /// A silence.
    SilenceId
    /// A route.
    RouteId
    /// A receiver.
    ReceiverId
    /// A grouping, inhibition or notify rule. Kept when the service is edited, so that no open
    /// incident is split.
    RuleId
    /// One thing owed to one receiver.
    DeliveryId
    /// A row of the audit log.
    AuditId
    /// A row of a timeline.
    TimelineId
}

/// One version of an alert's content (summary, details, …). Nobody outside sees these, so the row
/// number alone will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentSeq(pub i64);

/// The row of an event, where only the chain from one to the next matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventSeq(pub i64);

impl EventId {
    pub fn row(self) -> EventSeq {
        EventSeq(self.seq())
    }
}

/// The next sequence number of each kind, as found in the database at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequences {
    pub event: i64,
    pub alert: i64,
    pub incident: i64,
    pub content: i64,
    pub change: i64,
    pub timeline: i64,
    pub delivery: i64,
    /// What is configured (services, tokens, silences, rules, …) and audit rows share one: they
    /// are few.
    pub object: i64,
}

impl Default for Sequences {
    fn default() -> Self {
        Self {
            event: 1,
            alert: 1,
            incident: 1,
            content: 1,
            change: 1,
            timeline: 1,
            delivery: 1,
            object: 1,
        }
    }
}

/// Makes ids and generated keys. Same seed, same sequences, same times: same ids.
#[derive(Clone, Debug)]
pub struct Ids {
    next: Sequences,
    random: Random,
}

/// Random numbers that can be drawn again: SHA-256 over a seed and a counter. A batch that has to
/// be processed anew makes the same ids as before.
#[derive(Clone, Debug)]
struct Random {
    seed: [u8; 32],
    block: u64,
    drawn: [u32; 8],
    left: usize,
}

impl Random {
    fn new(seed: [u8; 32]) -> Self {
        Self { seed, block: 0, drawn: [0; 8], left: 0 }
    }

    fn next_u32(&mut self) -> u32 {
        if self.left == 0 {
            let hash = Sha256::new().chain_update(self.seed).chain_update(self.block.to_le_bytes());
            let bytes: [u8; 32] = hash.finalize().into();
            for (number, four) in self.drawn.iter_mut().zip(bytes.chunks_exact(4)) {
                *number = four.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
            }
            self.block += 1;
            self.left = self.drawn.len();
        }
        self.left -= 1;
        self.drawn[self.left]
    }
}

impl Ids {
    pub fn new(next: Sequences, seed: [u8; 32]) -> Self {
        Self { next, random: Random::new(seed) }
    }

    /// Uses no number below these: they are taken.
    pub fn skip_to(&mut self, taken: Sequences) {
        let Sequences { event, alert, incident, content, change, timeline, delivery, object } =
            self.next;
        self.next = Sequences {
            event: event.max(taken.event),
            alert: alert.max(taken.alert),
            incident: incident.max(taken.incident),
            content: content.max(taken.content),
            change: change.max(taken.change),
            timeline: timeline.max(taken.timeline),
            delivery: delivery.max(taken.delivery),
            object: object.max(taken.object),
        };
    }

    /// 128 random bits, for a dedup key that the sender left to us.
    pub fn random_128(&mut self) -> u128 {
        (0..4).fold(0, |bits, _| bits << 32 | u128::from(self.random.next_u32()))
    }

    pub fn content(&mut self) -> ContentSeq {
        let seq = self.next.content;
        self.next.content += 1;
        ContentSeq(seq)
    }

    fn take(random: &mut Random, counter: &mut i64) -> (i64, u32) {
        let seq = *counter;
        *counter += 1;
        (seq, random.next_u32())
    }
}

macro_rules! makers {
    ($($method:ident $kind:ident $counter:ident)*) => {
        impl Ids {$(
            pub fn $method(&mut self, now: Timestamp) -> $kind {
                let (seq, random) = Self::take(&mut self.random, &mut self.next.$counter);
                $kind::new(now, seq, random)
            }
        )*}
    };
}

makers! {
    event EventId event
    alert AlertId alert
    incident IncidentId incident
    change ChangeId change
    timeline TimelineId timeline
    delivery DeliveryId delivery
    service ServiceId object
    integration IntegrationId object
    token TokenId object
    rule RuleId object
    silence SilenceId object
    route RouteId object
    receiver ReceiverId object
    audit AuditId object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_version_7_uuid_that_carries_its_row() {
        for seq in [0, 1, 48, 1 << 30, SEQ_MAX] {
            let id = EventId::new(Timestamp::from_millis(1_763_632_272_345), seq, u32::MAX);

            assert_eq!(id.uuid().get_version_num(), 7);
            assert_eq!(id.uuid().get_variant(), uuid::Variant::RFC4122);
            assert_eq!(id.seq(), seq);
        }
    }

    #[test]
    fn ids_of_one_millisecond_sort_as_they_were_made() {
        let mut ids = Ids::new(Sequences::default(), [7; 32]);
        let now = Timestamp::from_millis(1_763_632_272_345);

        let made: Vec<_> = (0..100).map(|_| ids.event(now)).collect();

        assert!(made.is_sorted());
    }

    #[test]
    fn an_id_of_foreign_origin_is_read_without_complaint() {
        let id = AlertId::parse("ffffffff-ffff-ffff-ffff-ffffffffffff").unwrap();

        assert_eq!(id.seq(), SEQ_MAX);
    }
}
