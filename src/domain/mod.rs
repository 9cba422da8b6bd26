//! The pure core: what events mean and what follows from them.
//!
//! Nothing in here does I/O, reads a clock or makes randomness: `now`, ids and loaded state are
//! arguments, changes are return values, and every decision returns its reason. It cannot fail.

pub mod event;
pub mod id;
pub mod key;
pub mod time;
