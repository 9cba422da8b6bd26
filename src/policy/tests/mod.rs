//! The policy file as its writer sees it.

mod files;
mod plans;
mod schema;
mod world;

/// The example of the documentation.
const EXAMPLE: &str = include_str!("example.yaml");
