//! `dutygate version`: what a bug report needs.

use anyhow::Context as _;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use super::ui::{self, Failure};

const EXAMPLES: &str = "\
Examples:
  dutygate version
  dutygate --version      the number alone";

/// Print the versions of the gateway and of its SQLite, and what it was built for
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Version {}

impl Version {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Self {} = self;
        let sqlite = sqlite_version().await.context("cannot ask SQLite for its version")?;
        let version = env!("CARGO_PKG_VERSION");
        let target = target();
        Ok(ui::out(format_args!(
            "dutygate {version}\nsqlite   {sqlite} (bundled)\ntarget   {target}"
        ))?)
    }
}

async fn sqlite_version() -> sqlx::Result<String> {
    let mut connection = SqliteConnectOptions::new().in_memory(true).connect().await?;
    let version = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(version)
}

/// Architecture, system and C library: what tells one release file from another.
fn target() -> String {
    let library = if cfg!(target_env = "musl") {
        "-musl"
    } else if cfg!(target_env = "gnu") {
        "-gnu"
    } else {
        ""
    };
    format!("{}-{}{library}", std::env::consts::ARCH, std::env::consts::OS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sqlite_is_new_enough_to_have_no_checkpoint_race() {
        let version = sqlite_version().await.unwrap();
        let parts: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();

        assert!(parts >= vec![3, 51, 3], "{version}");
    }
}
