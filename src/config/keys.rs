//! The table of all settings: what each is called, what it may be, and why its default is what it is.
//!
//! Parsing, flags, environment names and `config.example.yaml` are all made from this table.

use super::values::Kind;

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Its place in the YAML file: `limits.body_bytes`.
    pub path: &'static str,
    pub kind: Kind,
    /// Written as in the environment; read by the same parser as what an operator writes.
    pub default: Option<&'static str>,
    /// What happens without a value; empty if there is a default.
    pub unset: &'static str,
    pub meaning: &'static str,
    /// Why the default is what it is, or when to change it.
    pub reason: &'static str,
}

impl Key {
    /// The name in the environment: `DUTYGATE_LIMITS_BODY_BYTES`.
    pub fn env(&self) -> String {
        format!("{ENV_PREFIX}{}", self.path.replace('.', "_").to_ascii_uppercase())
    }

    /// The long flag without its dashes: `limits-body-bytes`.
    pub fn flag(&self) -> String {
        self.path.replace(['.', '_'], "-")
    }

    /// The part of the file it is in: `limits`, or nothing at the top.
    pub fn group(&self) -> Option<&'static str> {
        self.path.split_once('.').map(|(group, _)| group)
    }

    /// Its name within its group.
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }

    pub fn find(path: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.path == path)
    }
}

pub const ENV_PREFIX: &str = "DUTYGATE_";

/// Names under our prefix that are not settings: the client commands read them.
pub(super) const CLIENT_ENV: &[&str] =
    &["DUTYGATE_CONFIG", "DUTYGATE_URL", "DUTYGATE_TOKEN", "DUTYGATE_ROUTING_KEY"];

/// A hundred years: longer than any retention, short enough never to overflow.
const FOREVER: &str = "36500d";

/// In the order of `config.example.yaml`; keys of one group are neighbours.
pub const KEYS: &[Key] = &[
    Key {
        path: "listen",
        kind: Kind::Listen,
        default: Some("127.0.0.1:8080"),
        unset: "",
        meaning: "Address to listen on.",
        reason: "Only this machine at first, because the first thing to do is to set keys. \
                 0.0.0.0:8080 listens on all IPv4 addresses, [::]:8080 on IPv6 too.",
    },
    Key {
        path: "database_url",
        kind: Kind::Database,
        default: Some("sqlite://data/dutygate.db"),
        unset: "",
        meaning: "Where everything is kept.",
        reason: "SQLite needs nothing else to run. sqlite://data/x.db is relative to the working \
                 directory, sqlite:///var/lib/dutygate/x.db is absolute. Use a local disk: \
                 network file systems break SQLite's locks.",
    },
    Key {
        path: "public_url",
        kind: Kind::Url,
        default: None,
        unset: "made from listen",
        meaning: "Base of the links in notifications, as people's browsers reach the gateway.",
        reason: "Set it when a proxy or a name stands before the gateway.",
    },
    Key {
        path: "default_integration_key",
        kind: Kind::IntegrationKey,
        default: None,
        unset: "generated at the first start",
        meaning: "Key of the integration `default`; ensured at every start.",
        reason: "Set it to keep a key that senders already have. Better set in the environment \
                 than in a file that is shared.",
    },
    Key {
        path: "admin_token",
        kind: Kind::AdminToken,
        default: None,
        unset: "generated at the first start",
        meaning: "API token with the role admin; ensured at every start.",
        reason: "Set it if the one that was printed is lost. Better set in the environment than \
                 in a file that is shared.",
    },
    Key {
        path: "limits.events_per_minute",
        kind: Kind::Integer { min: 0, max: 100_000_000, unit: "events, 0 = no limit" },
        default: Some("0"),
        unset: "",
        meaning: "Most events of one integration in a minute; beyond it V2 gets 429 and V1 403.",
        reason: "Off, because an alert that was turned away is worse than a busy gateway.",
    },
    Key {
        path: "limits.body_bytes",
        kind: Kind::Integer { min: 1_024, max: 512 * 1024, unit: "bytes" },
        default: Some("524288"),
        unset: "",
        meaning: "Largest body of an event, as sent and after decompression.",
        reason: "512 KB is PagerDuty's limit, so what PagerDuty takes is taken here.",
    },
    Key {
        path: "ingest.queue_capacity",
        kind: Kind::Integer { min: 1, max: 1_000_000, unit: "events" },
        default: Some("4096"),
        unset: "",
        meaning: "Events that may wait for the database; when it is full senders get 503.",
        reason: "Sixteen full batches: enough for a burst, and short enough that nobody waits \
                 seconds for an answer.",
    },
    Key {
        path: "ingest.max_batch",
        kind: Kind::Integer { min: 1, max: 10_000, unit: "events" },
        default: Some("256"),
        unset: "",
        meaning: "Most events in one transaction.",
        reason: "One write to disk is shared by the batch; far larger ones only add waiting.",
    },
    Key {
        path: "retention.events",
        kind: Kind::Duration { min: "1s", max: FOREVER },
        default: Some("30d"),
        unset: "",
        meaning: "How long events are kept after they were received.",
        reason: "Events are most of the database; their alerts stay longer.",
    },
    Key {
        path: "retention.alerts",
        kind: Kind::Duration { min: "1s", max: FOREVER },
        default: Some("180d"),
        unset: "",
        meaning: "How long alerts and incidents are kept after they were resolved.",
        reason: "Half a year shows what comes back every quarter.",
    },
    Key {
        path: "retention.changes",
        kind: Kind::Duration { min: "1s", max: FOREVER },
        default: Some("90d"),
        unset: "",
        meaning: "How long change events are kept.",
        reason: "As long as PagerDuty keeps them.",
    },
    Key {
        path: "retention.deliveries",
        kind: Kind::Duration { min: "1s", max: FOREVER },
        default: Some("30d"),
        unset: "",
        meaning: "How long notifications that were decided are kept.",
        reason: "Deliveries and the answers of receivers are to be kept as long; there are none yet.",
    },
    Key {
        path: "tls.cert",
        kind: Kind::Path,
        default: None,
        unset: "plain HTTP",
        meaning: "Certificate chain for HTTPS, a PEM file; read again on SIGHUP.",
        reason: "Set it together with tls.key, unless a proxy speaks TLS for the gateway.",
    },
    Key {
        path: "tls.key",
        kind: Kind::Path,
        default: None,
        unset: "plain HTTP",
        meaning: "Private key of tls.cert, a PEM file; read again on SIGHUP.",
        reason: "Set it together with tls.cert.",
    },
    Key {
        path: "metrics.listen",
        kind: Kind::Listen,
        default: None,
        unset: "/metrics is served on listen",
        meaning: "Own address for /metrics.",
        reason: "Set it when senders must not see the metrics.",
    },
    Key {
        path: "log.format",
        kind: Kind::LogFormat,
        default: None,
        unset: "text on a terminal, else json",
        meaning: "How log lines on stderr look.",
        reason: "People read terminals, machines read everything else.",
    },
    Key {
        path: "log.level",
        kind: Kind::LogLevel,
        default: Some("info"),
        unset: "",
        meaning: "What is logged; can be changed with SIGHUP.",
        reason: "info shows the lifecycle and decisions, debug every event. No level shows keys, \
                 tokens or bodies.",
    },
    Key {
        path: "otlp.endpoint",
        kind: Kind::Unsupported,
        default: None,
        unset: "no traces are sent",
        meaning: "OpenTelemetry collector to send traces to.",
        reason: "Reserved: this version sends no traces and refuses to start with it.",
    },
    Key {
        path: "heartbeat_url",
        kind: Kind::SecretUrl,
        default: None,
        unset: "no heartbeat",
        meaning: "Called every minute while all is well.",
        reason: "Point it at a dead man's switch: who alerts when the alerting is down?",
    },
    Key {
        path: "outbound.allow_private_addresses",
        kind: Kind::Bool,
        default: Some("false"),
        unset: "",
        meaning: "Whether receivers may be at private, loopback or link-local addresses.",
        reason: "Reserved: this version has no receivers yet, so it changes nothing.",
    },
    Key {
        path: "shutdown.delay",
        kind: Kind::Duration { min: "0s", max: "1h" },
        default: Some("0s"),
        unset: "",
        meaning: "From readiness going off to the listener closing.",
        reason: "Set a few seconds behind a load balancer that needs them to notice.",
    },
    Key {
        path: "shutdown.grace",
        kind: Kind::Duration { min: "0s", max: "1h" },
        default: Some("30s"),
        unset: "",
        meaning: "How long connections that do not finish are waited for.",
        reason: "What Kubernetes waits before it kills.",
    },
    Key {
        path: "clients.header_timeout",
        kind: Kind::Duration { min: "1ms", max: "1h" },
        default: Some("10s"),
        unset: "",
        meaning: "How long a client may take to send the head of a request.",
        reason: "Slow clients get 408 and are cut; others are not affected.",
    },
    Key {
        path: "clients.body_timeout",
        kind: Kind::Duration { min: "1ms", max: "1h" },
        default: Some("30s"),
        unset: "",
        meaning: "How long a client may take to send a body.",
        reason: "Enough for 512 KB over a bad line.",
    },
    Key {
        path: "clients.max_connections",
        kind: Kind::Integer { min: 1, max: 1_000_000, unit: "connections" },
        default: Some("20000"),
        unset: "",
        meaning: "Most connections at a time; each needs a file descriptor.",
        reason: "More than a fleet of agents opens, within what one process can have.",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_in_the_file_the_environment_and_as_flags() {
        let count = KEYS.len();

        assert_eq!(KEYS.iter().map(|key| key.path).collect::<BTreeSet<_>>().len(), count);
        assert_eq!(KEYS.iter().map(Key::env).collect::<BTreeSet<_>>().len(), count);
        assert_eq!(KEYS.iter().map(Key::flag).collect::<BTreeSet<_>>().len(), count);
        assert!(KEYS.iter().all(|key| !CLIENT_ENV.contains(&key.env().as_str())));
    }

    #[test]
    fn a_key_has_a_default_or_says_what_happens_without() {
        for key in KEYS {
            assert_ne!(key.default.is_some(), !key.unset.is_empty(), "{}", key.path);
            if let Some(default) = key.default {
                assert_eq!(key.kind.check(default), Ok(()), "{}", key.path);
            }
        }
    }
}
