//! Settings: defaults, then the file, then the environment, then flags.
//!
//! The only module that reads the environment. Everything that is wrong is found in one go, in
//! every source, each with its place; nothing is read anywhere else later. What a policy says
//! (services, receivers, grouping) is not a setting.

mod error;
mod example;
mod keys;
mod layers;
mod reader;
mod values;

use std::{collections::BTreeMap, path::PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

pub use error::{ConfigError, ConfigErrors, Origin};
pub use example::example;
pub use keys::{ENV_PREFIX, KEYS, Key};
pub use layers::DEFAULT_FILE;
pub use values::{ADMIN_TOKEN_MIN_CHARS, DatabaseUrl, Kind, Listen};

use crate::{domain::time::Span, telemetry::logging};

/// All settings. See `config.example.yaml` for what each means.
#[derive(Clone, Debug)]
pub struct Settings {
    pub listen: Listen,
    pub database_url: DatabaseUrl,
    pub public_url: Option<String>,
    pub default_integration_key: Option<SecretString>,
    pub admin_token: Option<SecretString>,
    pub limits: Limits,
    pub ingest: Ingest,
    pub retention: Retention,
    pub tls: Option<Tls>,
    pub metrics: Metrics,
    pub log: Log,
    pub heartbeat_url: Option<SecretString>,
    pub outbound: Outbound,
    pub shutdown: Shutdown,
    pub clients: Clients,
}

#[derive(Clone, Debug)]
pub struct Limits {
    /// For each integration; nothing means no limit.
    pub events_per_minute: Option<std::num::NonZeroU32>,
    pub body_bytes: usize,
}

#[derive(Clone, Debug)]
pub struct Ingest {
    pub queue_capacity: usize,
    pub max_batch: usize,
}

#[derive(Clone, Debug)]
pub struct Retention {
    pub events: Span,
    pub alerts: Span,
    pub changes: Span,
    pub deliveries: Span,
}

/// Present if the gateway speaks HTTPS itself.
#[derive(Clone, Debug)]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Metrics {
    /// Nothing means: on the common listener.
    pub listen: Option<Listen>,
}

#[derive(Clone, Debug)]
pub struct Log {
    /// Nothing means: by whether stderr is a terminal.
    pub format: Option<logging::Format>,
    pub level: String,
}

#[derive(Clone, Debug)]
pub struct Outbound {
    pub allow_private_addresses: bool,
}

#[derive(Clone, Debug)]
pub struct Shutdown {
    pub delay: Span,
    pub grace: Span,
}

#[derive(Clone, Debug)]
pub struct Clients {
    pub header_timeout: Span,
    pub body_timeout: Span,
    pub max_connections: usize,
}

impl Default for Settings {
    fn default() -> Self {
        reader::defaults()
    }
}

impl Settings {
    /// Returns the base of links: `public_url`, or what `listen` suggests.
    pub fn base_url(&self) -> String {
        if let Some(url) = &self.public_url {
            return url.clone();
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match &self.listen {
            listen @ Listen::Tcp { .. } => format!("{scheme}://{}", listen.reachable()),
            Listen::Unix(_) => format!("{scheme}://localhost"),
        }
    }

    /// Says which files that the settings name are not there. Apart from reading the settings,
    /// because a client command needs none of them.
    pub fn missing_files(&self) -> Vec<ConfigError> {
        let files =
            self.tls.iter().flat_map(|tls| [("tls.cert", &tls.cert), ("tls.key", &tls.key)]);
        files
            .filter_map(|(at, path)| {
                let error = std::fs::File::open(path).err()?;
                let problem = format!("{} cannot be read: {error}", path.display());
                Some(ConfigError { origin: Origin::Together, at: at.to_owned(), problem })
            })
            .collect()
    }
}

impl Listen {
    /// The address by which this machine reaches itself: a wildcard becomes loopback.
    #[must_use]
    pub fn reachable(&self) -> Self {
        let loopback = |host: &str| match host {
            "0.0.0.0" => "127.0.0.1".to_owned(),
            "::" => "::1".to_owned(),
            host => host.to_owned(),
        };
        match self {
            Self::Tcp { host, port } => Self::Tcp { host: loopback(host), port: *port },
            Self::Unix(path) => Self::Unix(path.clone()),
        }
    }
}

/// Where settings come from. Kept by the running gateway, to read them again on `SIGHUP`.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Nothing means [`DEFAULT_FILE`] if it exists.
    pub file: Option<PathBuf>,
    /// Texts by key path, as the command line gave them.
    pub flags: Vec<(&'static str, String)>,
}

/// Settings and what is to be said about them.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub settings: Settings,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    pub warnings: Vec<String>,
    /// The winning text of every key that has one; secrets among them.
    texts: BTreeMap<&'static str, SecretString>,
}

impl Sources {
    /// Reads the file, the environment and the flags.
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        let mut errors = Vec::new();
        let file = layers::read_file(self.file.as_deref()).unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        reader::load(file, environment(&mut errors), self.flags.clone(), errors)
    }
}

impl Loaded {
    /// Returns the paths of the keys that `newer` has other values for, in the table's order.
    pub fn changed_keys(&self, newer: &Self) -> Vec<&'static str> {
        let text = |loaded: &Self, key: &Key| {
            loaded.texts.get(key.path).map(|text| text.expose_secret().to_owned())
        };
        let changed = KEYS.iter().filter(|key| text(self, key) != text(newer, key));
        changed.map(|key| key.path).collect()
    }

    /// As [`Sources::load`], from texts instead of the file system and the environment.
    pub fn from_texts<const E: usize, const F: usize>(
        yaml: &str,
        environment: [(&str, &str); E],
        flags: [(&'static str, &str); F],
    ) -> Result<Self, ConfigErrors> {
        let owned = |(name, text): (&str, &str)| (name.to_owned(), text.to_owned());
        reader::load(
            Some((PathBuf::from(DEFAULT_FILE), yaml.to_owned())),
            environment.map(owned).to_vec(),
            flags.map(|(path, text)| (path, text.to_owned())).to_vec(),
            Vec::new(),
        )
    }
}

fn environment(errors: &mut Vec<ConfigError>) -> Vec<(String, String)> {
    let mut ours = Vec::new();
    for (name, text) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with(ENV_PREFIX)) else {
            continue;
        };
        match text.into_string() {
            Ok(text) => ours.push((name.to_owned(), text)),
            Err(_) => errors.push(ConfigError {
                origin: Origin::Environment,
                at: name.to_owned(),
                problem: "is not UTF-8".to_owned(),
            }),
        }
    }
    ours
}

/// The value of a variable that a policy names, for what must not be in the policy itself; `None`
/// if there is none, or if it is no UTF-8.
pub fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}

#[cfg(test)]
mod tests;
