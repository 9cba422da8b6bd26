//! `dutygate openapi`: prints the description of the API.

use super::ui::{self, Failure};
use crate::api::openapi::openapi_json;

const EXAMPLES: &str = "\
Examples:
  dutygate openapi > openapi.json";

/// Print openapi.json
///
/// A running gateway serves the same text at /api/openapi.json, and a page to try it at /docs.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Openapi {}

impl Openapi {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self {} = self;
        Ok(ui::out(openapi_json().trim_end())?)
    }
}
