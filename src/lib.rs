//! dutygate: a PagerDuty-compatible event gateway.

pub mod clock;
pub mod domain;
pub mod shutdown;
