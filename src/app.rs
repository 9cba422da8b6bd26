//! The composition root: puts the parts together, runs them, and takes them down in order.
//!
//! Going down follows the data: not ready → no new connections → what is on its way is answered →
//! the last batch is committed → the database is closed. Whatever was answered 2xx is on disk.

mod caretaker;
mod first_start;
mod heartbeat;
mod server;
mod tls;

use std::{sync::Arc, time::Duration};

use actix_web::web;
use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{Api, Limits, Phase, Rejections, TokenUses, webhooks},
    clock::{Clock, SystemClock},
    config::{self, DatabaseUrl, Listen, Loaded, Settings, Sources},
    domain::id::Ids,
    ingest::{
        Ingest,
        committer::{Committer, DatabaseHealth},
        configure,
        timers::{self, Retention},
    },
    notify, outbox,
    shutdown::Tasks,
    store::{Store, sqlite::SqliteStore},
    telemetry::{logging::Logging, metrics::Metrics},
};

pub use server::Bound;

/// Runs the gateway until it is told to stop; an error is a non-zero exit status.
///
/// `sources` is where `loaded` came from and `logging` holds the level of the log: both for
/// `SIGHUP`.
pub async fn run(loaded: Loaded, sources: Sources, logging: Logging) -> anyhow::Result<()> {
    let gateway = Gateway::start(&loaded.settings, Arc::new(SystemClock)).await?;
    let certificate = gateway.certificate.clone();
    let reload = move || reload(&loaded, &sources, &logging, certificate.as_deref());
    let signals = gateway.tasks.signals(reload).context("cannot listen for signals")?;
    // Only now: who reads that it listens may stop it at once, and that has to be a drain.
    gateway.announce();
    tokio::pin!(signals);
    let stopped = gateway.until_stopped();
    tokio::pin!(stopped);
    tokio::select! {
        result = &mut stopped => result,
        // The second signal: everything was dropped where it stood.
        () = &mut signals => stopped.await,
    }
}

/// What `SIGHUP` does: what can be taken over is, what cannot is said.
fn reload(
    running: &Loaded,
    sources: &Sources,
    logging: &Logging,
    certificate: Option<&tls::Certificate>,
) {
    let newer = match sources.load() {
        Ok(newer) => newer,
        Err(errors) => {
            tracing::error!("the settings are not taken over: {errors}");
            return;
        }
    };
    if let Err(error) = logging.set_level(&newer.settings.log.level) {
        tracing::error!(%error, "the log level is not taken over");
    }
    if let (Some(certificate), Some(files)) = (certificate, &newer.settings.tls) {
        match certificate.load(files) {
            Ok(()) => tracing::info!("certificate loaded again"),
            Err(error) => tracing::error!("the certificate is not taken over: {error:#}"),
        }
    }
    let needs_restart: Vec<&str> = running
        .changed_keys(&newer)
        .into_iter()
        .filter(|key| !matches!(*key, "log.level" | "tls.cert" | "tls.key"))
        .collect();
    if needs_restart.is_empty() {
        tracing::info!("settings reloaded");
    } else {
        tracing::warn!(keys = needs_restart.join(", "), "these changes need a restart");
    }
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    pub tasks: Tasks,
    pub api: web::Data<Api>,
    /// Where it listens.
    pub bound: Bound,
    certificate: Option<Arc<tls::Certificate>>,
    store: Arc<SqliteStore>,
    servers: Vec<actix_web::dev::ServerHandle>,
    committer_closing: CancellationToken,
    shutdown_delay: Duration,
    database: String,
    is_new: bool,
    first: first_start::Ensured,
}

impl Gateway {
    /// Opens the database, makes what every gateway has, and starts to serve.
    pub async fn start(settings: &Settings, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        raise_file_limit(settings.clients.max_connections);
        let DatabaseUrl::Sqlite(path) = &settings.database_url;
        let (store, is_new) = SqliteStore::open(path).await?;
        let store = Arc::new(store);
        let started_at = clock.now();
        if let Some(gap) = store.started(started_at).await? {
            tracing::warn!(
                from = %gap.from,
                to = %gap.to,
                "the gateway was down; alerts that were to resolve by themselves meanwhile get 15 \
                 minutes more"
            );
        }
        let directory = Arc::new(ArcSwap::from_pointee(store.directory(1, started_at).await?));
        #[expect(clippy::cast_precision_loss, reason = "53 bits of milliseconds are enough")]
        let metrics =
            Metrics::new(env!("CARGO_PKG_VERSION"), started_at.as_millis() as f64 / 1000.0)?;
        let metrics = Arc::new(metrics);
        let open = store.open_counts().await?;
        metrics.set_open(&open.alerts_by_label(), &open.incidents_by_label());
        metrics.flapping(open.flapping);
        let kept = directory.load_full();
        let receivers = kept.receivers().map(|r| (r.name.as_str(), r.kind.as_str()));
        metrics.outbox.set_receivers(receivers);
        let (ingest, commands) = Ingest::new(
            settings.ingest.queue_capacity,
            Arc::clone(&directory),
            Arc::clone(&clock),
            Arc::clone(&metrics),
        );
        let guard = notify::Guard::new(settings.outbound.allow_private_addresses);
        let http = notify::http::Http::new(guard).context("HTTP to receivers")?;
        let secrets = notify::secret::Secrets::new(config::variable);
        let receivers = outbox::Receivers::new(secrets, http);
        let outlook = outbox::Outlook::default();
        let health = Arc::new(DatabaseHealth::default());
        let committer = Committer {
            commands,
            store: Arc::clone(&store) as Arc<dyn Store>,
            directory,
            ids: Ids::new(store.sequences().await?, configure::seed()),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            health: Arc::clone(&health),
            max_batch: settings.ingest.max_batch,
            directory_is_stale: false,
            in_doubt: false,
            templates: crate::store::decide::Learned::new(),
        };
        let tasks = Tasks::new();
        let committer_closing = CancellationToken::new();
        tasks.spawn_essential("committer", committer.run(committer_closing.clone()));
        let started = async {
            let api = web::Data::new(Api {
                ingest: ingest.clone(),
                store: Arc::clone(&store) as Arc<dyn Store>,
                metrics: Arc::clone(&metrics),
                health,
                rejections: Rejections::default(),
                token_uses: TokenUses::default(),
                webhooks: webhooks::Seen::default(),
                limits: Limits::new(
                    settings.limits.body_bytes,
                    settings.clients.body_timeout.to_std(),
                    settings.limits.events_per_minute,
                ),
                environment: config::variable,
                base_url: settings.base_url(),
                phase: Arc::new(Phase::default()),
                outlook: outlook.clone(),
                guard,
            });
            // Bound before anything is made that is shown this once: a port in use, which is what
            // goes wrong at a first start, must not cost the operator the token.
            let listening = server::bind(&api, settings)?;
            let first = first_start::ensure(&ingest, settings).await?;
            anyhow::Ok((first, api, listening))
        };
        let (first, api, listening) = match started.await {
            Ok(started) => started,
            Err(error) => {
                committer_closing.cancel();
                tasks.drain();
                tasks.drained().await;
                store.close().await;
                return Err(error);
            }
        };
        let stop = tasks.soft();
        let parts = outbox::Parts {
            store: Arc::clone(&store) as Arc<dyn Store>,
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            notifiers: Arc::new(receivers),
            base_url: settings.base_url(),
            worker: hex::encode(configure::seed()),
            outlook: outlook.clone(),
        };
        tasks.spawn_essential("outbox", outbox::Dispatcher::new(parts).run(stop.clone()));
        let caretaker = caretaker::Caretaker::new(
            ingest.clone(),
            Arc::clone(&store) as Arc<dyn Store>,
            outlook,
        );
        tasks.spawn_essential("caretaker", caretaker.run(stop.clone()));
        tasks.spawn_essential("timers", timers::tick(ingest.clone(), stop.clone()));
        tasks.spawn_essential("search index", timers::index(ingest.clone(), stop.clone()));
        tasks.spawn_essential("alive", timers::alive(ingest.clone(), stop.clone()));
        let retention = Retention {
            events: settings.retention.events,
            alerts: settings.retention.alerts,
            changes: settings.retention.changes,
            deliveries: settings.retention.deliveries,
        };
        tasks.spawn_essential("purge", timers::purge(ingest.clone(), retention, stop.clone()));
        if let Some(url) = &settings.heartbeat_url {
            let beat = heartbeat::Heartbeat::new(url.clone(), Arc::clone(&api.health))?;
            tasks.spawn("heartbeat", beat.run(stop.clone()));
        }
        let measured = Arc::clone(&store) as Arc<dyn Store>;
        tasks.spawn_essential("measure", timers::measure(ingest, measured, metrics, stop));
        Ok(Self {
            bound: listening.bound.clone(),
            certificate: listening.certificate.clone(),
            servers: listening.run(&tasks),
            tasks,
            api,
            committer_closing,
            shutdown_delay: settings.shutdown.delay.to_std(),
            database: store.path().display().to_string(),
            store,
            is_new,
            first,
        })
    }

    /// Says on stderr where it listens, and shows what was made on first start, this once. Plain
    /// lines, not the log: logs are collected, and these are secrets.
    fn announce(&self) {
        use std::io::Write as _;
        let base = &self.api.base_url;
        let mut lines = vec![
            format!("dutygate {}", env!("CARGO_PKG_VERSION")),
            format!("  listening on   {}", self.bound),
            format!(
                "  database       {}{}",
                self.database,
                if self.is_new { " (new database)" } else { "" }
            ),
        ];
        if let Some(key) = &self.first.new_key {
            lines.push(format!(
                "  send events to {base}/event/push/alert/pagerduty?integration_key={key}"
            ));
        }
        if let Some(token) = &self.first.new_token {
            lines.push(format!("  admin token    {token}"));
        }
        if self.first.new_key.is_some() || self.first.new_token.is_some() {
            lines.push(
                "  The key and the token are shown this once. To choose your own, set \
                 default_integration_key and admin_token."
                    .to_owned(),
            );
        }
        let mut stderr = std::io::stderr().lock();
        // With nobody to read it there is nothing to be done about it.
        writeln!(stderr, "{}", lines.join("\n")).ok();
    }

    /// Serves until asked to stop, or until an essential part fails; then drains.
    pub async fn until_stopped(&self) -> anyhow::Result<()> {
        self.tasks.soft().cancelled().await;
        let hard = self.tasks.hard();
        self.api.phase.leave();
        tokio::select! {
            () = tokio::time::sleep(self.shutdown_delay) => {}
            () = hard.cancelled() => {}
        }
        self.api.phase.drain();
        // Ends the handlers, or cuts those that outlast `shutdown.grace`.
        let graceful = !hard.is_cancelled();
        let stopping = self.servers.iter().map(|server| server.stop(graceful));
        tokio::select! {
            _ = futures_util::future::join_all(stopping) => {}
            () = hard.cancelled() => {}
        }
        // Nobody sends commands any more: the committer finishes what it has.
        self.committer_closing.cancel();
        self.tasks.drained().await;
        self.store.close().await;
        match self.tasks.failure() {
            None => {
                tracing::info!("stopped; everything that was accepted is stored");
                Ok(())
            }
            Some(failure) => Err(anyhow::Error::new(failure).context("the gateway had to stop")),
        }
    }
}

/// Each connection is a file. The limit of most systems is lower than what they allow.
fn raise_file_limit(max_connections: usize) {
    let wanted = u64::try_from(max_connections).unwrap_or(u64::MAX);
    match rlimit::increase_nofile_limit(wanted.saturating_add(256)) {
        Ok(limit) if limit < wanted => tracing::warn!(
            limit,
            wanted,
            "the limit of open files is lower than clients.max_connections needs; raise it \
             (ulimit -n, LimitNOFILE=) or lower clients.max_connections"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}

/// What a listener is called in a message.
pub(crate) fn shown(listen: &Listen, scheme: &str) -> String {
    match listen {
        tcp @ Listen::Tcp { .. } => format!("{scheme}://{tcp}"),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    }
}
