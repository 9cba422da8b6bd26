//! The HTTP servers: listeners, limits, middleware.

use std::{fmt, io, net::SocketAddr, os::unix::net::UnixStream, path::Path, sync::Arc};

use actix_web::{
    App, HttpServer,
    dev::{Server, ServerHandle},
    middleware::from_fn,
    web,
};
use anyhow::Context as _;

use super::{shown, tls::Certificate};
use crate::{
    api::{self, Api},
    config::{Listen, Settings},
    shutdown::Tasks,
};

/// Where a gateway listens.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The addresses, with the port that a port 0 became. Empty for a socket file.
    pub addresses: Vec<SocketAddr>,
    shown: String,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Listeners that are bound. Who connects waits until the servers run.
pub(super) struct Listening {
    pub(super) bound: Bound,
    pub(super) certificate: Option<Arc<Certificate>>,
    servers: Vec<(&'static str, Start)>,
}

type Start = Box<dyn FnOnce() -> Server>;

/// Binds the listeners: what can go wrong with them goes wrong here.
pub(super) fn bind(api: &web::Data<Api>, settings: &Settings) -> anyhow::Result<Listening> {
    let certificate = settings.tls.as_ref().map(Certificate::open).transpose()?;
    let metrics = settings.metrics.listen.as_ref();
    warn_if_metrics_are_public(settings);
    let (server, bound) = main_server(api, settings, metrics.is_none(), certificate.as_ref())
        .with_context(|| format!("cannot listen on {}", settings.listen))?;
    let mut servers = vec![("http", server)];
    if let Some(listen) = metrics {
        let server = metrics_server(api, listen)
            .with_context(|| format!("metrics.listen: cannot listen on {listen}"))?;
        servers.push(("metrics", server));
    }
    Ok(Listening { bound, certificate, servers })
}

impl Listening {
    /// Has the servers run as tasks; the handles stop them.
    pub(super) fn run(self, tasks: &Tasks) -> Vec<ServerHandle> {
        let start = |(name, start): (&'static str, Start)| {
            let server = start();
            let handle = server.handle();
            tasks.spawn_essential(name, serve(server));
            handle
        };
        self.servers.into_iter().map(start).collect()
    }
}

async fn serve(server: Server) {
    if let Err(error) = server.await {
        tracing::error!(%error, "the HTTP server failed");
    }
}

fn warn_if_metrics_are_public(settings: &Settings) {
    let Listen::Tcp { host, .. } = &settings.listen else { return };
    let local = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if settings.metrics.listen.is_none() && !local {
        tracing::warn!(
            "/metrics is open to whoever reaches the gateway and names services and \
             integrations; set metrics.listen to an address of its own"
        );
    }
}

fn main_server(
    api: &web::Data<Api>,
    settings: &Settings,
    with_metrics: bool,
    certificate: Option<&Arc<Certificate>>,
) -> anyhow::Result<(Start, Bound)> {
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let data = api.clone();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .wrap(from_fn(api::middleware::observe))
            .configure(|config| api::routes(config, with_metrics))
    })
    .workers(workers)
    .disable_signals()
    .backlog(4096)
    .max_connections((settings.clients.max_connections / workers).max(1))
    .client_request_timeout(settings.clients.header_timeout.to_std())
    .shutdown_timeout(settings.shutdown.grace.to_std().as_secs().max(1));
    match &settings.listen {
        Listen::Tcp { host, port } => {
            let address = (host.as_str(), *port);
            let (server, scheme) = match certificate {
                Some(certificate) => {
                    let config = certificate.server_config()?;
                    (server.bind_rustls_0_23(address, config).map_err(in_use)?, "https")
                }
                None => (server.bind(address).map_err(in_use)?, "http"),
            };
            let addresses = server.addrs();
            let port = addresses.first().map_or(*port, SocketAddr::port);
            let shown = shown(&Listen::Tcp { host: host.clone(), port }, scheme);
            Ok((Box::new(|| server.run()), Bound { addresses, shown }))
        }
        Listen::Unix(path) => {
            remove_stale_socket(path)?;
            let server = server.bind_uds(path)?;
            let bound = Bound { addresses: Vec::new(), shown: shown(&settings.listen, "http") };
            Ok((Box::new(|| server.run()), bound))
        }
    }
}

fn metrics_server(api: &web::Data<Api>, listen: &Listen) -> anyhow::Result<Start> {
    let data = api.clone();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .configure(api::operations::metrics_routes)
            .configure(api::operations::health_routes)
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(1);
    let server = match listen {
        Listen::Tcp { host, port } => server.bind((host.as_str(), *port)).map_err(in_use)?,
        Listen::Unix(path) => {
            remove_stale_socket(path)?;
            server.bind_uds(path)?
        }
    };
    Ok(Box::new(|| server.run()))
}

/// The usual mistake, with what to do about it.
fn in_use(error: io::Error) -> anyhow::Error {
    let is_in_use = error.kind() == io::ErrorKind::AddrInUse;
    let error = anyhow::Error::new(error);
    if is_in_use {
        error.context("another program is listening there; stop it, or set another address")
    } else {
        error
    }
}

/// A socket file that nobody answers on was left by a process that was killed.
fn remove_stale_socket(path: &Path) -> anyhow::Result<()> {
    match UnixStream::connect(path) {
        Ok(_) => anyhow::bail!("another process is listening there"),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).context("cannot remove the socket of an earlier process")
        }
        Err(_) => Ok(()),
    }
}
