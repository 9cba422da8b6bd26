//! dutygate: a PagerDuty-compatible event gateway.

pub mod domain;
pub mod wire;
