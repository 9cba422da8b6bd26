//! The composition root: puts the parts together and runs them until they have drained.

use crate::{
    config::{Loaded, Sources},
    telemetry::logging::Logging,
};

/// Runs the gateway until it is told to stop; an error is a non-zero exit status.
///
/// `sources` is where `loaded` came from and `logging` holds the level of the log: both for
/// `SIGHUP`.
///
/// PLACEHOLDER: replaced by the lead with the real composition root.
#[expect(clippy::unused_async, reason = "the real one awaits")]
pub async fn run(loaded: Loaded, sources: Sources, logging: Logging) -> anyhow::Result<()> {
    drop((loaded, sources, logging));
    anyhow::bail!("the server is not part of this build yet")
}
