//! Logs: one subscriber for the process, on stderr, with a level that can be changed while running.
//!
//! Libraries that handle requests are never logged below info, whatever the level says: at debug
//! they write headers, URLs and statements, and with them keys and tokens.

use std::{fmt, io::IsTerminal};

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::filter_fn, layer::SubscriberExt, registry::LookupSpan,
    reload, util::SubscriberInitExt,
};

/// Libraries whose debug output would contain what we must not log.
const CAPPED_AT_INFO: &[&str] =
    &["actix_http", "h2", "hyper", "hyper_util", "sqlx", "reqwest", "rustls"];

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For log collectors: one JSON object a line.
    Json,
}

impl Format {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// Text if somebody watches stderr, else JSON.
    pub fn of_stderr() -> Self {
        if std::io::stderr().is_terminal() { Self::Text } else { Self::Json }
    }
}

/// Why a text is not a log level.
#[derive(Debug, thiserror::Error)]
#[error(
    "must be one of off, error, warn, info, debug, trace, or a list like \"info,dutygate=debug\""
)]
pub struct InvalidLevel;

/// Why logging could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("log.level")]
    Level(#[source] InvalidLevel),
    #[error("another subscriber is already installed")]
    Installed(#[source] tracing_subscriber::util::TryInitError),
    #[error("the subscriber is gone")]
    Gone(#[source] reload::Error),
}

/// Reads `info`, or a list of directives such as `info,dutygate::ingest=debug`.
pub fn parse_level(directives: &str) -> Result<EnvFilter, InvalidLevel> {
    for directive in directives.split(',') {
        // `EnvFilter` takes a bare word for a target, so a misspelt level would silence the log.
        let bare = !directive.contains(['=', ':', '[']);
        if bare && !LEVELS.contains(&directive.trim().to_ascii_lowercase().as_str()) {
            return Err(InvalidLevel);
        }
    }
    EnvFilter::builder().parse(directives).map_err(|_| InvalidLevel)
}

/// The installed log, to change its level.
#[derive(Clone)]
pub struct Logging {
    level: reload::Handle<EnvFilter, Registry>,
}

impl fmt::Debug for Logging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logging")
    }
}

impl Logging {
    /// Installs the subscriber of the process; `format` is chosen by the terminal if not given.
    pub fn init(format: Option<Format>, level: &str) -> Result<Self, LoggingError> {
        let filter = parse_level(level).map_err(LoggingError::Level)?;
        let (filter, handle) = reload::Layer::new(filter);
        Registry::default()
            .with(filter)
            .with(filter_fn(is_harmless))
            .with(lines(format.unwrap_or_else(Format::of_stderr)))
            .try_init()
            .map_err(LoggingError::Installed)?;
        Ok(Self { level: handle })
    }

    /// Changes what is logged from now on.
    pub fn set_level(&self, level: &str) -> Result<(), LoggingError> {
        let filter = parse_level(level).map_err(LoggingError::Level)?;
        self.level.reload(filter).map_err(LoggingError::Gone)
    }
}

fn lines<S: Subscriber + for<'a> LookupSpan<'a>>(
    format: Format,
) -> Box<dyn Layer<S> + Send + Sync> {
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        Format::Text => layer.with_ansi(std::io::stderr().is_terminal()).boxed(),
        Format::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
    }
}

fn is_harmless(line: &Metadata<'_>) -> bool {
    let library = line.target().split("::").next().unwrap_or_default();
    // It tells of its threads while the gateway says where it listens.
    if library == "actix_server" {
        return *line.level() <= Level::WARN;
    }
    *line.level() <= Level::INFO || !CAPPED_AT_INFO.contains(&library)
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[test]
    fn a_misspelt_level_is_refused() {
        for right in ["info", "INFO", "off", "warn,dutygate=debug", "dutygate::ingest=trace,info"] {
            assert!(parse_level(right).is_ok(), "{right}");
        }
        for wrong in ["", "debgu", "info,verbose", "dutygate=loud", "info,"] {
            assert!(parse_level(wrong).is_err(), "{wrong}");
        }
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn libraries_are_capped_and_the_level_can_be_changed() {
        let written = Written::default();
        let writer = written.clone();
        let (filter, handle) = reload::Layer::new(parse_level("trace,sqlx=trace").unwrap());
        let subscriber = Registry::default().with(filter).with(filter_fn(is_harmless)).with(
            tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_ansi(false),
        );

        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!(target: "sqlx::query", "secret statement");
            tracing::debug!(target: "h2", "secret header");
            tracing::info!(target: "sqlx", "harmless");
            tracing::debug!("ours before");
            handle.reload(parse_level("info").unwrap()).unwrap();
            tracing::debug!("ours after");
        });

        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("secret") && !text.contains("ours after"), "{text}");
        assert!(text.contains("harmless") && text.contains("ours before"), "{text}");
    }
}
