//! The gateway as its users see it: over HTTP, by its command line, through signals and files.
//!
//! One binary, because linking is what costs. [`harness`] starts gateways; the other modules are
//! named after what they hold.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod access;
mod api;
mod caretaker;
mod configuration;
mod crash;
mod disk;
mod fixtures;
mod grouping;
mod guance;
mod harness;
mod http;
mod lifecycle;
mod listeners;
mod lists;
mod noise;
mod operations;
mod outbox;
mod policy;
mod secrets;
mod sink;
mod sql;
mod start;
mod wire;
