//! What the notifiers have in common, against a server that does what it is told.

pub(super) mod server;
