//! Something that receivers can be pointed at: it keeps what it is told, and answers as it is told.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer, dev::ServerHandle, http::StatusCode, web,
};
use serde_json::Value;
use tokio::sync::Notify;

/// A request that came in.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// `webhook-id`, the same on every retry.
    pub(crate) id: String,
    pub(crate) body: Value,
}

impl Told {
    /// `incident.opened`.
    pub(crate) fn what(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default()
    }

    /// The incident's number.
    pub(crate) fn incident(&self) -> i64 {
        self.body["data"]["incident"]["number"].as_i64().unwrap_or_default()
    }
}

#[derive(Default)]
struct Shared {
    told: Mutex<Vec<Told>>,
    status: AtomicU16,
    count: AtomicUsize,
    heard: Notify,
}

/// A server on a free port of 127.0.0.1.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    server: ServerHandle,
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

impl Sink {
    pub(crate) fn start() -> Self {
        let shared = Arc::new(Shared { status: AtomicU16::new(200), ..Shared::default() });
        let kept = web::Data::from(Arc::clone(&shared));
        let server = HttpServer::new(move || {
            App::new().app_data(kept.clone()).default_service(web::to(hear))
        });
        let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { address, shared, server: handle }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it answers from now on.
    pub(crate) fn answer(&self, status: u16) {
        self.shared.status.store(status, Ordering::SeqCst);
    }

    /// What it took in, answered 2xx, in this order.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.shared.told.lock().unwrap().clone()
    }

    /// Waits until it was asked so many times in all.
    pub(crate) async fn asked(&self, times: usize) {
        while self.shared.count.load(Ordering::SeqCst) < times {
            self.shared.heard.notified().await;
        }
    }

    pub(crate) fn times(&self) -> usize {
        self.shared.count.load(Ordering::SeqCst)
    }
}

async fn hear(request: HttpRequest, body: web::Bytes, shared: web::Data<Shared>) -> HttpResponse {
    let status = StatusCode::from_u16(shared.status.load(Ordering::SeqCst)).unwrap();
    if status.is_success() {
        let id = request.headers().get("webhook-id");
        let id = id.map(|id| id.to_str().unwrap().to_owned()).unwrap_or_default();
        let body = serde_json::from_slice(&body).unwrap();
        shared.told.lock().unwrap().push(Told { id, body });
    }
    shared.count.fetch_add(1, Ordering::SeqCst);
    shared.heard.notify_one();
    HttpResponse::build(status).json(serde_json::json!({"status": "success"}))
}
