//! Turns texts by key into [`Settings`], and checks what only holds for several together.

use std::{collections::BTreeMap, num::NonZeroU32, path::PathBuf};

use secrecy::SecretString;

use super::{
    Clients, ConfigError, ConfigErrors, Ingest, Limits, Loaded, Log, Metrics, Origin, Outbound,
    Retention, Settings, Shutdown, Tls,
    keys::Key,
    layers::{Layer, from_environment, from_yaml},
    values::{self, DatabaseUrl, Kind, Listen},
};
use crate::domain::time::Span;

pub(super) fn load(
    file: Option<(PathBuf, String)>,
    environment: Vec<(String, String)>,
    flags: Vec<(&'static str, String)>,
    mut errors: Vec<ConfigError>,
) -> Result<Loaded, ConfigErrors> {
    let mut warnings = Vec::new();
    let mut layers = Vec::new();
    if let Some((path, text)) = &file {
        layers.push(from_yaml(path, text, &mut errors));
    }
    layers.push(from_environment(environment.into_iter(), &mut warnings));
    let flags: BTreeMap<_, _> = flags.into_iter().filter(|(_, text)| !text.is_empty()).collect();
    layers.push(Layer { origin: Origin::Flag, values: flags });

    let mut reader = Reader { layers: &layers, errors, texts: BTreeMap::new() };
    let settings = reader.settings();
    if !reader.errors.is_empty() {
        return Err(ConfigErrors(reader.errors));
    }
    let texts = reader.texts;
    Ok(Loaded { settings, file: file.map(|(path, _)| path), warnings, texts })
}

pub(super) fn defaults() -> Settings {
    Reader { layers: &[], errors: Vec::new(), texts: BTreeMap::new() }.settings()
}

struct Reader<'a> {
    /// Later ones win.
    layers: &'a [Layer],
    errors: Vec<ConfigError>,
    /// What won, by key.
    texts: BTreeMap<&'static str, SecretString>,
}

impl Reader<'_> {
    /// Walks all keys. After an error it goes on with the default, which is thrown away with the
    /// rest, so that the next error is found too.
    fn settings(&mut self) -> Settings {
        let events_per_minute = self.integer("limits.events_per_minute");
        let settings = Settings {
            listen: self.required("listen", Listen::parse),
            database_url: self.required("database_url", DatabaseUrl::parse),
            public_url: self.optional("public_url", values::url),
            default_integration_key: self
                .optional("default_integration_key", values::integration_key),
            admin_token: self.optional("admin_token", values::admin_token),
            limits: Limits {
                events_per_minute: NonZeroU32::new(events_per_minute),
                body_bytes: self.integer("limits.body_bytes"),
            },
            ingest: Ingest {
                queue_capacity: self.integer("ingest.queue_capacity"),
                max_batch: self.integer("ingest.max_batch"),
            },
            retention: Retention {
                events: self.duration("retention.events"),
                alerts: self.duration("retention.alerts"),
                changes: self.duration("retention.changes"),
                deliveries: self.duration("retention.deliveries"),
            },
            tls: self.tls(),
            metrics: Metrics { listen: self.optional("metrics.listen", Listen::parse) },
            log: Log {
                format: self.optional("log.format", values::log_format),
                level: self.required("log.level", values::log_level),
            },
            heartbeat_url: self.optional("heartbeat_url", values::secret_url),
            outbound: Outbound {
                allow_private_addresses: self
                    .required("outbound.allow_private_addresses", values::boolean),
            },
            shutdown: Shutdown {
                delay: self.duration("shutdown.delay"),
                grace: self.duration("shutdown.grace"),
            },
            clients: Clients {
                header_timeout: self.duration("clients.header_timeout"),
                body_timeout: self.duration("clients.body_timeout"),
                max_connections: self.integer("clients.max_connections"),
            },
        };
        self.optional("otlp.endpoint", |text| Kind::Unsupported.check(text));
        self.check_together(&settings);
        settings
    }

    fn tls(&mut self) -> Option<Tls> {
        let path = |text: &str| Ok(PathBuf::from(text));
        match (self.optional("tls.cert", path), self.optional("tls.key", path)) {
            (Some(cert), Some(key)) => Some(Tls { cert, key }),
            (None, None) => None,
            (Some(_), None) => {
                self.together("tls.key", "is missing, but tls.cert is set");
                None
            }
            (None, Some(_)) => {
                self.together("tls.cert", "is missing, but tls.key is set");
                None
            }
        }
    }

    fn check_together(&mut self, settings: &Settings) {
        let Ingest { queue_capacity, max_batch } = settings.ingest;
        if max_batch > queue_capacity {
            let problem = format!(
                "must not be more than ingest.queue_capacity ({queue_capacity}), is {max_batch}"
            );
            self.together("ingest.max_batch", &problem);
        }
        let is_port_chosen = !matches!(settings.listen, Listen::Tcp { port: 0, .. });
        if is_port_chosen && settings.metrics.listen.as_ref() == Some(&settings.listen) {
            self.together("metrics.listen", "must differ from listen; leave it out to share that");
        }
    }

    fn together(&mut self, at: &str, problem: &str) {
        self.errors.push(ConfigError {
            origin: Origin::Together,
            at: at.to_owned(),
            problem: problem.to_owned(),
        });
    }

    /// Reads a key in every layer, also where a later one wins: a mistake that is hidden today
    /// shows up on the day the variable is removed.
    fn optional<T>(&mut self, path: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let key = Key::find(path).expect("the key is in the table, a test reads them all");
        let mut value = key.default.and_then(|default| parse(default).ok());
        for layer in self.layers {
            let Some(text) = layer.values.get(key.path) else { continue };
            match parse(text) {
                Ok(parsed) => {
                    value = Some(parsed);
                    self.texts.insert(key.path, SecretString::from(text.as_str()));
                }
                Err(problem) => self.errors.push(ConfigError {
                    origin: layer.origin.clone(),
                    at: layer.name_of(key),
                    problem,
                }),
            }
        }
        value
    }

    fn required<T>(&mut self, path: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        self.optional(path, parse).expect("the key has a valid default, a test checks them all")
    }

    fn integer<T: TryFrom<u64>>(&mut self, path: &str) -> T {
        let kind = kind_of(path);
        self.required(path, |text| {
            let number = kind.integer(text)?;
            T::try_from(number).map_err(|_| format!("must be {}", kind.allowed()))
        })
    }

    fn duration(&mut self, path: &str) -> Span {
        let kind = kind_of(path);
        self.required(path, |text| kind.duration(text))
    }
}

fn kind_of(path: &str) -> Kind {
    Key::find(path).map(|key| key.kind).expect("the key is in the table, a test reads them all")
}
