//! The JSON Schema of the policy file.

use serde_json::{Value, json};

/// JSON Schema (draft 2020-12) of the policy file.
pub fn schema() -> Value {
    json!({})
}
