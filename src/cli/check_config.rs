//! `dutygate check-config`: says everything that is wrong with the settings.

use super::{
    settings_args::{SettingsArgs, load},
    ui::{self, Failure, OrNext as _},
};
use crate::config::{self, ConfigErrors};

const EXAMPLES: &str = "\
Examples:
  dutygate check-config
  dutygate check-config --config /etc/dutygate.yaml
  DUTYGATE_LISTEN=unix:/run/dutygate.sock dutygate check-config";

/// Check the settings and print every error with its place
///
/// Reads the file, the environment and the flags as `serve` would, and starts nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckConfig {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Print config.example.yaml instead (what `make config-example` calls)
    #[arg(long, hide = true)]
    print_example: bool,
}

impl CheckConfig {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.print_example {
            return Ok(ui::out(config::example().trim_end())?);
        }
        let loaded = load(&self.settings.sources())?;
        for warning in &loaded.warnings {
            ui::note(format_args!("warning: {warning}"));
        }
        let missing = loaded.settings.missing_files();
        if !missing.is_empty() {
            Err(ConfigErrors(missing)).or_next("create them, or correct the paths")?;
        }
        let (what, serve) = match &loaded.file {
            Some(file) => {
                let file = file.display();
                (
                    format!("{file} and the environment are"),
                    format!("dutygate serve --config {file}"),
                )
            }
            None => ("no file, and the environment is".to_owned(), "dutygate serve".to_owned()),
        };
        Ok(ui::out(format_args!("ok: {what} valid\n  next: start the gateway with `{serve}`"))?)
    }
}
