//! What holds for every history under every policy: silences come and go, the policy changes,
//! people act, keys flap.

mod consistent;
pub(crate) mod histories;
mod properties;
mod storms;
