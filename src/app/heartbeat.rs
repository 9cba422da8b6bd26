//! A sign of life for a dead man's switch: who alerts when the alerting is down?

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::sync::CancellationToken;

use crate::ingest::committer::DatabaseHealth;

const EVERY: Duration = Duration::from_mins(1);
const TIMEOUT: Duration = Duration::from_secs(15);

/// Calls a URL every minute while events can be stored.
#[derive(Debug)]
pub(super) struct Heartbeat {
    client: reqwest::Client,
    /// Often holds a token.
    url: SecretString,
    health: Arc<DatabaseHealth>,
}

impl Heartbeat {
    pub(super) fn new(url: SecretString, health: Arc<DatabaseHealth>) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("heartbeat_url")?;
        Ok(Self { client, url, health })
    }

    /// Beats until `stop`. A failure is warned about once, not every minute.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut failing = false;
        loop {
            if self.health.is_writable() {
                let sent = self.client.get(self.url.expose_secret()).send().await;
                let outcome = sent.and_then(reqwest::Response::error_for_status);
                match &outcome {
                    Ok(_) if failing => tracing::info!("the heartbeat is taken again"),
                    Ok(_) => {}
                    Err(_) if failing => {}
                    Err(error) => {
                        let status = error.status().map(|status| status.as_u16());
                        tracing::warn!(
                            status,
                            timed_out = error.is_timeout(),
                            connected = !error.is_connect(),
                            "the heartbeat is not taken; check heartbeat_url"
                        );
                    }
                }
                failing = outcome.is_err();
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}
