//! The pure core: what events mean and what follows from them.
//!
//! Nothing in here does I/O, reads a clock or makes randomness: `now`, ids and loaded state are
//! arguments, changes are return values, and every decision returns its reason. It cannot fail.

pub mod alert;
pub mod changes;
pub mod configuration;
pub mod delivery;
pub mod enrich;
pub mod event;
pub mod fields;
pub mod grouping;
pub mod id;
pub mod incident;
pub mod inhibition;
pub mod key;
pub mod key_state;
pub mod loading;
pub mod matcher;
pub mod memory;
pub mod name;
pub mod notify;
pub mod notify_rule;
mod pattern;
pub mod pipeline;
pub(crate) mod read;
pub mod receiver;
pub mod replay;
pub mod routing;
pub mod rules;
pub mod schedule;
pub mod search;
pub mod service;
pub mod settings;
pub mod silence;
pub mod similarity;
pub mod standing;
pub mod suggest;
pub mod time;
pub mod trace;
mod working;

#[cfg(test)]
pub(crate) mod tests;
