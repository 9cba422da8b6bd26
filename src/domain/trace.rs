//! The trace: what each stage decided about an event, and why.
//!
//! It is written straight into the JSON text that the event's row keeps, because every event has
//! one and nothing but people reads it.

use std::fmt::Write as _;

use super::event::closed_enum;

closed_enum! {
    /// The stages of the pipeline, in their order.
    Stage {
        Route = "route",
        Idempotency = "idempotency",
        Enrich = "enrich",
        Drop = "drop",
        Dedup = "dedup",
        Flapping = "flapping",
        Silence = "silence",
        Inhibition = "inhibition",
        Group = "group",
        Notify = "notify",
    }
}

/// The decisions on one event: `[{"stage":…,"decision":…,"reason":…,…}]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace(String);

impl Default for Trace {
    fn default() -> Self {
        Self(String::with_capacity(320))
    }
}

impl Trace {
    /// Adds one decision. `more` are further members, their values text.
    pub fn decided(&mut self, stage: Stage, decision: &str, reason: &str, more: &[(&str, &str)]) {
        self.0.push(if self.0.is_empty() { '[' } else { ',' });
        self.0.push_str("{\"stage\":\"");
        self.0.push_str(stage.as_str());
        self.0.push('"');
        for (name, value) in [("decision", decision), ("reason", reason)].iter().chain(more) {
            self.0.push_str(",\"");
            self.0.push_str(name);
            self.0.push_str("\":");
            push_json_text(&mut self.0, value);
        }
        self.0.push('}');
    }

    /// The JSON text of the whole trace.
    pub fn into_json(mut self) -> String {
        self.0.push_str(if self.0.is_empty() { "[]" } else { "]" });
        self.0
    }
}

/// Appends `text` as a JSON string. What needs no escape is copied in one piece.
fn push_json_text(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|b| b < 0x20 || b == b'"' || b == b'\\') {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            byte @ (b'"' | b'\\') => out.extend(['\\', char::from(byte)]),
            b'\n' => out.push_str("\\n"),
            byte => {
                // Writing to a string does not fail.
                write!(out, "\\u{byte:04x}").ok();
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_json_whatever_the_values_hold() {
        let mut trace = Trace::default();
        trace.decided(
            Stage::Route,
            "service",
            "a \"quoted\"\nname\t\u{1}磁",
            &[("service", "b\\c")],
        );
        trace.decided(Stage::Dedup, "opened", "no open alert with this key", &[]);

        let value: serde_json::Value = serde_json::from_str(&trace.into_json()).unwrap();

        assert_eq!(value[0]["reason"], "a \"quoted\"\nname\t\u{1}磁");
        assert_eq!(value[0]["service"], "b\\c");
        assert_eq!(value[1]["stage"], "dedup");
        assert_eq!(Trace::default().into_json(), "[]");
    }
}
