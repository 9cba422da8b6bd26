//! `dutygate serve`: runs the gateway.

use super::{
    settings_args::{SettingsArgs, load},
    ui::{Failure, OrNext as _},
};
use crate::{app, config::ConfigErrors, telemetry::logging::Logging};

const EXAMPLES: &str = "\
Examples:
  dutygate serve
  dutygate serve --config /etc/dutygate.yaml
  dutygate serve --listen 0.0.0.0:8080 --database-url sqlite:///var/lib/dutygate/dutygate.db
  DUTYGATE_LIMITS_EVENTS_PER_MINUTE=600 dutygate serve

SIGTERM drains and exits with status 0 if all that was accepted is kept; a second one stops at
once. SIGHUP reads the settings again. Secrets (admin_token, default_integration_key,
heartbeat_url) have no flags: set them in the environment or in the file.";

/// Run the gateway (what `dutygate` does without a command)
#[derive(Clone, Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Serve {
    #[command(flatten)]
    settings: SettingsArgs,
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let sources = self.settings.sources();
        let loaded = load(&sources)?;
        let missing = loaded.settings.missing_files();
        if !missing.is_empty() {
            Err(ConfigErrors(missing))
                .or_next("correct them; `dutygate check-config` looks again")?;
        }
        let log = &loaded.settings.log;
        let logging = Logging::init(log.format, &log.level).map_err(anyhow::Error::new)?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        app::run(loaded, sources, logging).await?;
        Ok(())
    }
}
