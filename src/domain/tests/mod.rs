//! The laws of the pipeline, as properties over random histories.

mod each_alert;
pub(crate) mod gateway;
pub(crate) mod laws;
pub(crate) mod noise;
pub(crate) mod scenarios;
mod stages;
pub(crate) mod world;
