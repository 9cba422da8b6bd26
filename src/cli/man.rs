//! `dutygate man`: manual pages.

use std::path::PathBuf;

use anyhow::Context as _;

use super::ui::{self, Failure};

const EXAMPLES: &str = "\
Examples:
  dutygate man | man -l -
  dutygate man /usr/local/share/man/man1";

/// Print the manual page, or write one for every command into a directory
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Man {
    /// Directory for all pages; made if it is not there
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Some(dir) = self.dir else {
            let mut page = Vec::new();
            clap_mangen::Man::new(super::command()).render(&mut page)?;
            return Ok(ui::out(String::from_utf8_lossy(&page).trim_end())?);
        };
        std::fs::create_dir_all(&dir)
            .and_then(|()| clap_mangen::generate_to(super::command(), &dir))
            .with_context(|| format!("cannot write to {}", dir.display()))?;
        let shown = dir.display();
        Ok(ui::out(format_args!(
            "wrote the manual to {shown}; read it with `man {shown}/dutygate.1`"
        ))?)
    }
}
