//! No text panics, and no time lies beyond what can be shown.

#![no_main]

use dutygate::{domain::time::Timestamp, wire::timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Some(at) = timestamp::parse(text) {
        assert!(at <= Timestamp::MAX);
    }
});
