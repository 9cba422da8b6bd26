//! What the gateway says about itself.
//!
//! Never a key, a token, a body or an address: neither in a log line nor in a label.

pub mod logging;
