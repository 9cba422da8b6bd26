//! How a receiver knows that a webhook is ours: two signatures of one key, so that what checks
//! either kind already needs no new code.

use std::fmt;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What a secret begins with whose rest is base64.
///
/// Source: Standard Webhooks 1.0, "Signature scheme".
const BASE64_PREFIX: &str = "whsec_";

/// Takes base64 with and without padding: both are found in the field.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What signs.
#[derive(Clone)]
pub(super) struct Key(Hmac<Sha256>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// A secret that begins with `whsec_` is base64, any other is its bytes.
    pub(super) fn parse(secret: &str) -> Result<Self, String> {
        let bytes = match secret.strip_prefix(BASE64_PREFIX) {
            Some(text) => {
                LENIENT.decode(text).ok().filter(|key| !key.is_empty()).ok_or_else(|| {
                    format!(
                        "the secret begins with {BASE64_PREFIX}, and what follows is not base64"
                    )
                })?
            }
            None => secret.as_bytes().to_vec(),
        };
        let mac = Hmac::new_from_slice(&bytes).map_err(|error| error.to_string())?;
        Ok(Self(mac))
    }

    /// `webhook-signature`: over id, seconds and body.
    ///
    /// Source: Standard Webhooks 1.0, "Signature scheme".
    pub(super) fn standard(&self, id: &str, seconds: i64, body: &str) -> String {
        let signed = self.sign(&[id, ".", &seconds.to_string(), ".", body]);
        format!("v1,{}", STANDARD.encode(signed))
    }

    /// `X-PagerDuty-Signature`: over the body.
    ///
    /// Source: PagerDuty, "Webhooks V3", "Verifying signatures".
    pub(super) fn pagerduty(&self, body: &str) -> String {
        format!("v1={}", hex::encode(self.sign(&[body])))
    }

    fn sign(&self, parts: &[&str]) -> Vec<u8> {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification.
    #[test]
    fn the_signature_is_the_one_of_the_specification() {
        let key = Key::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();

        let signature =
            key.standard("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);

        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    /// Worked out with `printf '{"a":1}' | openssl dgst -sha256 -hmac 'key of ours'`.
    #[test]
    fn pagerdutys_signature_is_of_the_body_alone() {
        let key = Key::parse("key of ours").unwrap();

        assert_eq!(
            key.pagerduty(r#"{"a":1}"#),
            "v1=9e2d358345460287066c50f614089c3afde66aeb2cfd7ad29c25f8ed73afaed7"
        );
    }

    #[test]
    fn a_secret_of_base64_may_lack_its_padding() {
        let with = Key::parse("whsec_c2VjcmV0LQ==").unwrap();
        let without = Key::parse("whsec_c2VjcmV0LQ").unwrap();
        let bytes = Key::parse("secret-").unwrap();

        assert_eq!(with.pagerduty("x"), without.pagerduty("x"));
        assert_eq!(with.pagerduty("x"), bytes.pagerduty("x"));
    }

    #[test]
    fn a_secret_that_is_not_what_its_beginning_says_is_refused_and_not_repeated() {
        let wrong = Key::parse("whsec_no base64").unwrap_err();

        assert!(wrong.contains("not base64") && !wrong.contains("no base64"), "{wrong}");
    }
}
