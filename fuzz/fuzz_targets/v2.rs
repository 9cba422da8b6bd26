//! No body panics, and none that is accepted shows its key outside of its details.

#![no_main]

use dutygate::wire::{Endpoint, GivenKeys, decode};
use libfuzzer_sys::fuzz_target;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fuzz_target!(|body: &[u8]| {
    for keys in [GivenKeys::default(), GivenKeys { url: Some(KEY), header: None }] {
        for endpoint in [Endpoint::V2, Endpoint::Either] {
            let Ok(decoded) = decode(endpoint, keys, body) else { continue };
            // Version 1 takes keys of any characters; only a well-formed one is a secret.
            if decoded.key.reveal() != KEY {
                continue;
            }
            let stored = decoded.body;
            let (start, end) = stored.details.unwrap_or((0, 0));
            assert!(!stored.text[..start as usize].contains(KEY));
            assert!(!stored.text[end as usize..].contains(KEY));
        }
    }
});
