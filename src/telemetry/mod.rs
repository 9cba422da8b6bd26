//! What the gateway says about itself.
//!
//! Never a key, a token, a body or an address: neither in a log line nor in a label.

pub mod logging;
pub mod metrics;
mod outbox;

/// An error and everything behind it, as one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
