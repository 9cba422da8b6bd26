//! `dutygate completions`: lets a shell complete commands and flags.

use clap_complete::Shell;

use super::ui::{self, Failure};

const EXAMPLES: &str = "\
Examples:
  dutygate completions bash > /etc/bash_completion.d/dutygate
  dutygate completions zsh  > \"${fpath[1]}/_dutygate\"
  dutygate completions fish > ~/.config/fish/completions/dutygate.fish";

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Completions {
    /// The shell to complete in
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<(), Failure> {
        Ok(ui::out(script(self.shell).trim_end())?)
    }
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "dutygate", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_shell_learns_every_command() {
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for command in super::super::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell} {}", command.get_name());
            }
        }
    }
}
