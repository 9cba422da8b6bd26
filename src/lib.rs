//! dutygate: a PagerDuty-compatible event gateway that keeps what it accepts.
//!
//! Data flows one way, and each step changes its type:
//!
//! ```text
//! bytes ──wire──▶ Event ──ingest──▶ batch ──domain──▶ Changes ──store──▶ committed ──▶ answer
//! ```
//!
//! | module | what it is for |
//! |---|---|
//! | [`domain`] | the pure core: what events mean and what follows from them |
//! | [`wire`] | bytes to events and answers to bytes, as PagerDuty speaks |
//! | [`store`] | what is kept, a batch at a time, and reading it |
//! | [`ingest`] | the queue and the committer: the only writer of alerts and incidents |
//! | [`notify`] | what receivers are told, each in its own language |
//! | [`outbox`] | sends what is owed, in order, until it is through |
//! | [`api`] | HTTP in: emitters, the JSON API, operations |
//! | [`config`], [`telemetry`], [`clock`], [`shutdown`] | settings, logs and metrics, time, life and death |
//! | [`app`], [`cli`] | the composition root and the command line |

pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod ingest;
pub mod notify;
pub mod outbox;
pub mod policy;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod wire;
