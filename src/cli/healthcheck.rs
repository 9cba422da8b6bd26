//! `dutygate healthcheck`: asks a gateway whether it is ready; for containers without curl.

use std::time::Duration;

use super::{
    client::Target,
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
        let request = target.client(TIMEOUT)?.get(target.join("/readyz"));
        let answer =
            request.send().await.map_err(|error| target.explain(error)).or_next(
                "is the gateway running? `dutygate serve` starts it, --url names another",
            )?;
        let status = answer.status();
        if status.is_success() {
            return Ok(ui::out("ready")?);
        }
        let reason = answer.text().await.unwrap_or_default();
        let reason: String = reason.trim().chars().take(500).collect();
        Err(anyhow::anyhow!("{target} is not ready ({status}): {reason}").into())
    }
}
