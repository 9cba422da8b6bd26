//! No webhook panics, signed or not.

#![no_main]

use dutygate::wire::pagerduty::webhook;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let header = String::from_utf8_lossy(body);
    assert!(!webhook::is_signed("s3cret", body, &header));
    if let Ok(read) = webhook::decode(body) {
        assert_eq!(webhook::decode(body), Ok(read));
    }
});
