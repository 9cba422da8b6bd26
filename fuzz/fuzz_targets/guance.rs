//! No body panics; none that is accepted shows its key, and what is stored decodes to the same.

#![no_main]

use dutygate::wire::{
    GivenKeys,
    guance::{decode, decode_stored},
};
use libfuzzer_sys::fuzz_target;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fuzz_target!(|body: &[u8]| {
    for keys in [GivenKeys::default(), GivenKeys { url: Some(KEY), header: None }] {
        let Ok(decoded) = decode(keys, body) else { continue };
        for (message, stored) in decoded.messages {
            assert!(decoded.key.reveal() != KEY || !stored.text.contains(KEY));
            assert_eq!(decode_stored(&stored.text), Some(message));
        }
    }
});
