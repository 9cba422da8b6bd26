//! The laws of the pipeline, as properties over random histories.

pub(crate) mod laws;
mod stages;
pub(crate) mod world;
