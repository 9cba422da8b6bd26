//! `dutygate check-config`: says everything that is wrong with the settings and with a policy file.

use std::path::{Path, PathBuf};

use super::{
    settings_args::{SettingsArgs, load},
    ui::{self, Failure, OrNext as _},
};
use crate::{
    config::{self, ConfigErrors},
    notify::Guard,
    policy::{self, Known, PolicyFile},
};

const EXAMPLES: &str = "\
Examples:
  dutygate check-config
  dutygate check-config --config /etc/dutygate.yaml
  dutygate check-config --policy policy.yaml
  dutygate check-config --print-policy-schema > policy.schema.json
  DUTYGATE_LISTEN=unix:/run/dutygate.sock dutygate check-config";

/// Check the settings, and a policy file, and print every error with its place
///
/// Reads the file, the environment and the flags as `serve` would, and starts nothing. A policy
/// file is checked by itself: a receiver or service that it names and does not have is a warning,
/// because the gateway may have it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckConfig {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Also check this policy file
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Print the JSON Schema of policy files instead, for editors
    #[arg(long)]
    print_policy_schema: bool,
    /// Print config.example.yaml instead (what `make config-example` calls)
    #[arg(long, hide = true)]
    print_example: bool,
}

impl CheckConfig {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.print_example {
            return Ok(ui::out(config::example().trim_end())?);
        }
        if self.print_policy_schema {
            return Ok(ui::out(format_args!("{:#}", policy::schema()))?);
        }
        // Both are looked at, whatever is wrong with one.
        let settings = self.check_settings();
        let Some(path) = &self.policy else { return Ok(ui::out(settings?)?) };
        let allowed = load(&self.settings.sources())
            .is_ok_and(|loaded| loaded.settings.outbound.allow_private_addresses);
        let policy = check_policy(path, Guard::new(allowed));
        match (settings, policy) {
            (Ok(settings), Ok(policy)) => Ok(ui::out(format_args!("{settings}\n{policy}"))?),
            (Err(settings), Err(policy)) => {
                ui::note(settings);
                Err(policy)
            }
            (Err(failure), _) | (_, Err(failure)) => Err(failure),
        }
    }

    fn check_settings(&self) -> Result<String, Failure> {
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
        Ok(format!("ok: {what} valid\n  next: start the gateway with `{serve}`"))
    }
}

fn check_policy(path: &Path, guard: Guard) -> Result<String, Failure> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| anyhow::anyhow!("cannot read {name}: {error}"))?;
    let known = Known::offline(guard);
    let file = match PolicyFile::parse(&text, &known) {
        Ok(file) => file,
        Err(mistakes) => {
            let lines: Vec<String> = mistakes.iter().map(|it| it.in_file(&name)).collect();
            let many = if lines.len() == 1 { "a mistake" } else { "mistakes" };
            let told = anyhow::anyhow!("{name} has {many}:\n{}", lines.join("\n"));
            let next = format!("correct them; `dutygate check-config --policy {name}` looks again");
            return Err(Failure::new(told, next));
        }
    };
    for warning in file.unknown_names(&known).into_iter().chain(file.warnings()) {
        ui::note(format_args!("warning: {}", warning.in_file(&name)));
    }
    Ok(format!(
        "ok: {name} is valid\n  \
         next: `dutygate apply --policy {name} --dry-run` shows what it would change"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_file_is_checked_with_every_mistake_and_its_line() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("p.yaml");
        let name = path.display();
        std::fs::write(&path, "services:\n  - name: a\n    storm: x\n    colour: red\n").unwrap();

        let told = check_policy(&path, Guard::new(false)).unwrap_err().to_string();

        assert!(
            told.starts_with(&format!("error: {name} has mistakes:\n{name}:3: services[0].storm "))
        );
        assert!(told.contains(&format!("\n{name}:4: services[0].colour is unknown")), "{told}");
        std::fs::write(&path, "services:\n  - name: a\n").unwrap();
        let said = check_policy(&path, Guard::new(false)).unwrap();
        assert!(said.starts_with(&format!("ok: {name} is valid\n")), "{said}");
        assert!(check_policy(&place.path().join("no.yaml"), Guard::new(false)).is_err());
    }

    #[test]
    fn a_name_that_only_the_gateway_may_know_is_no_mistake() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("p.yaml");
        std::fs::write(&path, "routes: [{match: [], service: elsewhere}]\n").unwrap();

        let said = check_policy(&path, Guard::new(false)).unwrap();

        assert!(said.contains("is valid"), "{said}");
    }
}
