//! What the notifiers have in common, against a server that does what it is told.

mod http;
pub(super) mod message;
pub(super) mod server;
