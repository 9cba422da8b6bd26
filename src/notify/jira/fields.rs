//! The `fields` of a receiver's settings: any JSON, in which every text is a template.

use minijinja::{Environment, UndefinedBehavior, value::ValueKind};
use serde_json::{Map, Value};

use super::{text::TEXT_MAX, wiki};

/// Steps that a template may take.
const FUEL: u64 = 100_000;

/// What `fields` may not set, and what does.
const TAKEN: [(&str, &str); 2] = [("project", "project"), ("issuetype", "issue_type")];

/// Every text of `fields` filled in. `Err` says which one cannot be, and why.
pub(super) fn render(
    fields: &Map<String, Value>,
    context: &Value,
) -> Result<Map<String, Value>, String> {
    let environment = environment();
    let context = minijinja::Value::from(minijinja::value::Serde(context));
    let fill = |text: &str| fill(&environment, text, &context);
    let mut rendered = Map::new();
    for (name, value) in fields {
        let value = walk(value, &format!("fields.{name}"), &fill);
        let value = value.map_err(|(path, error)| format!("{path}: {error}"))?;
        rendered.insert(name.clone(), value);
    }
    Ok(rendered)
}

/// Mistakes in a receiver's `fields` that can be seen before anything happens, each with its path.
pub fn check_fields(fields: &Map<String, Value>) -> Vec<(String, String)> {
    let environment = environment();
    let mut mistakes = Vec::new();
    for (name, value) in fields {
        let path = format!("fields.{name}");
        if let Some((_, setting)) = TAKEN.iter().find(|(taken, _)| taken == name) {
            mistakes.push((path, format!("has a setting of its own: {setting}")));
            continue;
        }
        let parse = |text: &str| {
            let parsed = match expression(text) {
                Some(expression) => environment.compile_expression(expression).map(drop),
                None => environment.template_from_str(text).map(drop),
            };
            parsed.map(|()| Value::Null).map_err(|error| words(&error))
        };
        mistakes.extend(walk(value, &path, &parse).err());
    }
    mistakes
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    // What an alert does not have is an empty text, and no reason not to open an issue.
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_formatter(|out, state, value| {
        if value.kind() == ValueKind::None {
            return Ok(());
        }
        minijinja::escape_formatter(out, state, value)
    });
    environment
}

/// Every text in `value` replaced by what `text` makes of it. `Err`: where that failed, and why.
fn walk(
    value: &Value,
    path: &str,
    text: &impl Fn(&str) -> Result<Value, String>,
) -> Result<Value, (String, String)> {
    Ok(match value {
        Value::String(template) => text(template).map_err(|error| (path.to_owned(), error))?,
        Value::Array(items) => {
            let items = items.iter().enumerate();
            let items = items.map(|(at, item)| walk(item, &format!("{path}[{at}]"), text));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Value::Object(members) => {
            let members = members.iter().map(|(name, member)| {
                let filled = walk(member, &format!("{path}.{name}"), text);
                filled.map(|filled| (name.clone(), filled))
            });
            Value::Object(members.collect::<Result<_, _>>()?)
        }
        other => other.clone(),
    })
}

fn fill(
    environment: &Environment<'_>,
    text: &str,
    context: &minijinja::Value,
) -> Result<Value, String> {
    if let Some(expression) = expression(text) {
        let value = environment.compile_expression(expression);
        let value = value.and_then(|expression| expression.eval(context));
        let value = value.map_err(|error| words(&error))?;
        let value = serde_json::to_value(&value).map_err(|error| error.to_string())?;
        return Ok(match value {
            Value::String(text) => wiki::cut(&text, TEXT_MAX).into(),
            other => other,
        });
    }
    let rendered = environment.render_str(text, context).map_err(|error| words(&error))?;
    Ok(wiki::cut(&rendered, TEXT_MAX).into())
}

/// The expression of a text that is nothing else: its value keeps its type, as a number does for a
/// number field.
fn expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}")).then(|| inner.trim_matches('-').trim())
}

fn words(error: &minijinja::Error) -> String {
    let line = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
    match error.detail() {
        Some(detail) => format!("the template is wrong: {}: {detail}{line}", error.kind()),
        None => format!("the template is wrong: {}{line}", error.kind()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(fields: &Value) -> Result<Value, String> {
        let context = json!({
            "incident": {"number": 42, "title": "disk <full>"},
            "alert": {"source": "db-1", "component": null, "labels": {"host": "a"}},
            "alerts": [{"source": "db-1"}, {"source": "db-2"}],
        });
        render(fields.as_object().unwrap(), &context).map(Value::Object)
    }

    #[test]
    fn texts_at_any_depth_are_templates_and_the_rest_stays() {
        let fields = json!({
            "customfield_1": {"value": "{{ alert.source|upper }}", "id": 7},
            "customfield_2": ["a", "{% for a in alerts %}{{ a.source }} {% endfor %}"],
            "customfield_3": "{{ incident.title }}: {{ alert.component }}{{ alert.labels.no.no }}!",
            "customfield_4": null,
        });

        assert_eq!(
            rendered(&fields),
            Ok(json!({
                "customfield_1": {"value": "DB-1", "id": 7},
                "customfield_2": ["a", "db-1 db-2 "],
                "customfield_3": "disk <full>: !",
                "customfield_4": null,
            }))
        );
    }

    #[test]
    fn a_lone_expression_keeps_its_type() {
        let fields = json!({
            "number": "{{ incident.number }}", "text": "{{ incident.number|string }}",
            "none": "{{ alert.component }}", "list": "{{ alerts|map(attribute='source')|list }}",
        });

        assert_eq!(
            rendered(&fields),
            Ok(json!({"number": 42, "text": "42", "none": null, "list": ["db-1", "db-2"]}))
        );
    }

    #[test]
    fn a_template_that_fails_says_where() {
        let wrong = rendered(&json!({"customfield_1": {"value": "{{ 1 // 0 }}"}})).unwrap_err();
        assert!(wrong.starts_with("fields.customfield_1.value: the template is wrong"), "{wrong}");

        let endless =
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        let endless = rendered(&json!({"customfield_1": endless})).unwrap_err();
        assert!(endless.contains("fuel"), "{endless}");
    }

    #[test]
    fn mistakes_are_found_before_anything_happens() {
        let fields = json!({
            "project": {"key": "OPS"}, "customfield_1": ["{{ alert. }}"],
            "customfield_2": "{% if %}", "customfield_3": "{{ anything.at.all }}",
        });

        let found = check_fields(fields.as_object().unwrap());

        let paths: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["fields.customfield_1[0]", "fields.customfield_2", "fields.project"]);
        assert!(found[2].1.contains("project"), "{found:?}");
    }
}
