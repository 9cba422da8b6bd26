//! What a step changes, in words: a line a difference.

use serde_json::Value;

/// Most lines of one step, and most characters of one value.
const LINES_MAX: usize = 100;
const CHARS_MAX: usize = 200;

/// The differences, each with its path: `grouping[0].window: "15m" -> "30m"`.
pub(super) fn differences(before: &Value, after: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare(&mut String::new(), before, after, &mut lines);
    if lines.len() > LINES_MAX {
        let more = lines.len() - LINES_MAX;
        lines.truncate(LINES_MAX);
        lines.push(format!("… and {more} more"));
    }
    lines
}

fn compare(path: &mut String, before: &Value, after: &Value, lines: &mut Vec<String>) {
    let length = path.len();
    match (before, after) {
        _ if before == after => {}
        (Value::Object(old), Value::Object(new)) => {
            let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                if length > 0 {
                    path.push('.');
                }
                path.push_str(key);
                let missing = Value::Null;
                let (old, new) = (old.get(key), new.get(key));
                compare(path, old.unwrap_or(&missing), new.unwrap_or(&missing), lines);
                path.truncate(length);
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for i in 0..old.len().max(new.len()) {
                path.extend(["[", &i.to_string(), "]"]);
                let missing = Value::Null;
                compare(
                    path,
                    old.get(i).unwrap_or(&missing),
                    new.get(i).unwrap_or(&missing),
                    lines,
                );
                path.truncate(length);
            }
        }
        (Value::Null, new) => lines.push(format!("{path}: {}", shown(new))),
        (old, Value::Null) => lines.push(format!("{path}: no longer {}", shown(old))),
        (old, new) => lines.push(format!("{path}: {} -> {}", shown(old), shown(new))),
    }
}

/// A value on one line, not too long.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
