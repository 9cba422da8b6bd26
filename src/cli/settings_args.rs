//! The flags of settings, made from the table of keys, and `--config`.

use std::{path::PathBuf, sync::LazyLock};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::ui::{Failure, OrNext as _};
use crate::config::{KEYS, Key, Loaded, Sources};

/// Which file the settings are in.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ConfigArg {
    /// Settings file; ./dutygate.yaml is read if it exists and no other is named
    #[arg(long, value_name = "FILE", env = "DUTYGATE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
}

impl ConfigArg {
    pub(super) fn load(&self) -> Result<Loaded, Failure> {
        load(&Sources { file: self.config.clone(), flags: Vec::new() })
    }
}

/// The file and a flag for every setting.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct SettingsArgs {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    flags: Flags,
}

impl SettingsArgs {
    pub(super) fn sources(&self) -> Sources {
        Sources { file: self.config.config.clone(), flags: self.flags.0.clone() }
    }
}

pub(super) fn load(sources: &Sources) -> Result<Loaded, Failure> {
    sources.load().or_next("correct them; `dutygate check-config` looks again")
}

/// What was given by flags, by key path.
#[derive(Clone, Debug, Default)]
struct Flags(Vec<(&'static str, String)>);

/// Secrets have no flag: every user of the machine sees the flags of every process.
static FLAGS: LazyLock<Vec<(&'static Key, String)>> = LazyLock::new(|| {
    KEYS.iter().filter(|key| !key.kind.is_secret()).map(|key| (key, key.flag())).collect()
});

/// Shown by `-h`; `--help` shows all.
const MOST_USED: &[&str] = &["listen", "database_url", "public_url", "log.level"];

impl Args for Flags {
    fn augment_args(mut command: Command) -> Command {
        for (key, flag) in FLAGS.iter() {
            let default = match key.default {
                Some(default) => format!("default {default}"),
                None => format!("default: {}", key.unset),
            };
            command = command.arg(
                Arg::new(key.path)
                    .long(flag.as_str())
                    .value_name("VALUE")
                    .hide_short_help(!MOST_USED.contains(&key.path))
                    .help_heading("Settings")
                    .help(format!("{} [{default}]", key.meaning.trim_end_matches('.'))),
            );
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = FLAGS.iter().filter_map(|(key, _)| {
            matches.get_one::<String>(key.path).map(|text| (key.path, text.clone()))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
