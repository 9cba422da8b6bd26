//! dutygate: a PagerDuty-compatible event gateway.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod shutdown;
pub mod telemetry;
