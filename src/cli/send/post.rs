//! One event over HTTP, tried again when the server says "later".

use std::time::{Duration, Instant};

use reqwest::{
    Client, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
};

use super::super::client::Target;

/// Longest pause before a retry, whatever the server asks: somebody is waiting for the command.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(super) struct Poster {
    pub client: Client,
    pub url: Url,
    pub target: Target,
    pub retries: u8,
}

/// What became of one event.
#[derive(Debug)]
pub(super) struct Posted {
    pub outcome: anyhow::Result<Reply>,
    pub retried: u8,
    /// Of the last try, without pauses.
    pub latency: Duration,
}

#[derive(Debug)]
pub(super) struct Reply {
    pub status: StatusCode,
    pub body: String,
}

impl Reply {
    /// The body as it came.
    pub(super) fn shown(&self) -> &str {
        self.body.trim_end()
    }
}

impl Poster {
    pub(super) async fn post(&self, body: Vec<u8>) -> Posted {
        let mut retried = 0;
        loop {
            let begun = Instant::now();
            let outcome = self.once(body.clone()).await;
            let latency = begun.elapsed();
            match outcome {
                Ok((_, Some(pause))) if retried < self.retries => {
                    let pause = pause.unwrap_or(backoff(retried)).min(LONGEST_PAUSE);
                    retried += 1;
                    tokio::time::sleep(pause).await;
                }
                Ok((reply, _)) => return Posted { outcome: Ok(reply), retried, latency },
                Err(error) => {
                    let outcome = Err(self.target.explain(error));
                    return Posted { outcome, retried, latency };
                }
            }
        }
    }

    /// Returns the answer and, if it means "later", how much later if it says so.
    async fn once(
        &self,
        body: Vec<u8>,
    ) -> Result<(Reply, Option<Option<Duration>>), reqwest::Error> {
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        let answer = request.body(body).send().await?;
        let status = answer.status();
        let later = matches!(status.as_u16(), 429 | 503).then(|| retry_after(answer.headers()));
        let body = answer.text().await?;
        Ok((Reply { status, body }, later))
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Half a second, doubled each time: for servers that do not say how much later.
fn backoff(retried: u8) -> Duration {
    Duration::from_millis(500).saturating_mul(1 << retried.min(10))
}
