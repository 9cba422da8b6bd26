//! Policy as code: a YAML file that says what is to be, and the steps from what is.
//!
//! Pure: the file's text, the directory and the time go in, a plan comes out. It carries nothing
//! out and reads no secret; where the file names a variable, the caller looks it up.

mod check;
mod file;
mod plan;
mod render;
mod schema;
mod yaml;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt};

pub use self::{
    file::{IntegrationSpec, KeySource, PolicyFile, RouteSpec, ServiceSpec, SilenceSpec},
    plan::{Change, Plan, PlanStep, Sign, Told, plan},
    render::render,
    schema::schema,
    yaml::Mark,
};
use crate::{domain::routing::Directory, notify::Guard};

/// The service that a gateway makes for what it has to say about itself.
pub const OWN_SERVICE: &str = "dutygate";

/// A mistake in a policy file, or a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// Its path: `services[0].grouping[1].window`; `""` for the file as a whole.
    pub field: String,
    /// `None` if it has no place, as a file that is too long.
    pub mark: Option<Mark>,
    pub message: String,
}

impl PolicyError {
    /// As it is told of a file: `policy.yaml:12: services[0].storm must be a list`.
    pub fn in_file(&self, name: &str) -> String {
        let line = self.mark.map(|mark| format!(":{}", mark.line)).unwrap_or_default();
        format!("{name}{line}: {self}")
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, message, .. } = self;
        if field.is_empty() { f.write_str(message) } else { write!(f, "{field} {message}") }
    }
}

/// The names that a file may use without saying what they are, because they are there already.
#[derive(Clone, Debug)]
pub struct Known {
    pub services: BTreeSet<String>,
    pub receivers: BTreeSet<String>,
    /// There may be others as well: then a name that is not known is no mistake.
    pub others: bool,
    /// Which addresses receivers may have.
    pub guard: Guard,
}

impl Known {
    pub fn of(directory: &Directory, guard: Guard) -> Self {
        Self {
            guard,
            others: false,
            services: directory.services().map(|service| service.name.clone()).collect(),
            receivers: directory.receivers().map(|receiver| receiver.name.clone()).collect(),
        }
    }

    /// For checking a file without a gateway.
    pub fn offline(guard: Guard) -> Self {
        Self { guard, others: true, ..Self::default() }
    }
}

/// What every gateway has, and nothing else.
impl Default for Known {
    fn default() -> Self {
        let services = [plan::DEFAULT_SERVICE, OWN_SERVICE].map(str::to_owned).into();
        Self { services, receivers: BTreeSet::new(), others: false, guard: Guard::new(false) }
    }
}
