//! No bytes panic, and nothing inflates beyond the limit.

#![no_main]

use dutygate::wire::inflate::inflate;
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 4096;

fuzz_target!(|body: &[u8]| {
    for encoding in ["identity", "gzip", "deflate", "zstd"] {
        if let Ok(inflated) = inflate(Some(encoding), body, LIMIT) {
            assert!(inflated.len() <= LIMIT);
        }
    }
});
