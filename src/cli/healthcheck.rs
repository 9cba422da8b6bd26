//! `dutygate healthcheck`: asks a gateway whether it is ready; for containers without curl.

use std::time::Duration;

use super::{
    client::{NOT_REACHED, Target},
    settings_args::ConfigArg,
    ui::{self, Failure, OrNext as _},
};

const EXAMPLES: &str = "\
Examples:
  dutygate healthcheck
  dutygate healthcheck --url https://127.0.0.1:8443
  dutygate healthcheck --url unix:/run/dutygate.sock

In a Dockerfile:
  HEALTHCHECK CMD [\"dutygate\", \"healthcheck\"]

Exit status: 0 if ready, 1 if not or not reachable.";

/// Container runtimes and load balancers give up after a few seconds themselves.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Ask a running gateway whether it is ready
///
/// A certificate is not verified if the gateway is at a loopback address.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Healthcheck {
    /// The gateway; `unix:/path` is a socket [default: from the setting `listen`]
    #[arg(long, value_name = "URL", env = "DUTYGATE_URL", hide_env_values = true)]
    url: Option<Target>,
    #[command(flatten)]
    config: ConfigArg,
}

impl Healthcheck {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let target = match self.url {
            Some(url) => url,
            None => Target::of_gateway(&self.config.load()?.settings)?,
        };
        ask(&target).await?;
        Ok(ui::out("ready")?)
    }
}

async fn ask(target: &Target) -> Result<(), Failure> {
    let request = target.client(TIMEOUT)?.get(target.join("/readyz"));
    let answer =
        request.send().await.map_err(|error| target.explain(error)).or_next(NOT_REACHED)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let reason = answer.text().await.unwrap_or_default();
    let reason: String = reason.trim().chars().take(500).collect();
    Err(anyhow::anyhow!("{target} is not ready ({status}): {reason}").into())
}

#[cfg(test)]
mod tests {
    use super::{super::test_server::Prepared, *};

    #[tokio::test]
    async fn readiness_is_the_status_and_the_reason_is_told() {
        let server = Prepared::bind().await;
        let target: Target = server.url.parse().unwrap();
        let answers = [("200 OK", "{}"), ("503 Service Unavailable", "{\"status\":\"draining\"}")];

        let (requests, (ready, draining)) = tokio::join!(server.answer(&answers), async {
            (ask(&target).await, ask(&target).await)
        });

        assert!(requests[0].starts_with("GET /readyz HTTP/1.1\r\n"), "{requests:?}");
        assert!(ready.is_ok());
        let told = draining.unwrap_err().to_string();
        assert!(told.contains("503") && told.contains("draining"), "{told}");
    }

    #[tokio::test]
    async fn a_gateway_that_is_not_there_is_not_ready() {
        let Prepared { url, .. } = Prepared::bind().await;

        let told = ask(&url.parse().unwrap()).await.unwrap_err().to_string();

        assert!(told.contains("cannot reach") && told.contains("next: "), "{told}");
    }
}
