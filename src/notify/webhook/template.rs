//! Bodies that a template makes: Jinja, as minijinja knows it, over our own document.
//!
//! Whatever is printed into a body of JSON is escaped as the inside of a JSON text, so that
//! `"text": "{{ incident.title }}"` is right for every title. A member that is not there prints
//! nothing: a message that lacks a word is better than none.

use std::{fmt::Write as _, io};

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior,
    value::{Serde, ValueKind},
};
use serde_json::{Map, Value};

use super::{BODY_BYTES, is_json_type};
use crate::domain::{alert::Status, notify::Reason};

/// Steps that a template may take: some milliseconds, and enough for 50 alerts with all they have.
const FUEL: u64 = 200_000;

/// The name that errors would give, which nobody knows.
const NAME: &str = "template";

/// What a template is tried with: every member that there is, and texts that want escaping.
const SAMPLE: &str = include_str!("sample.json");

/// Members whose content is the sender's or the policy's, so that any name may stand below them.
const FREE: [&str; 5] = ["custom_details", "labels", "group_key", "links", "images"];

/// Functions that minijinja has.
const FUNCTIONS: [&str; 4] = ["range", "dict", "debug", "namespace"];

/// Checks the template in the settings of a webhook, if they have one: that it can be read, names
/// only what there is, and makes a body. `Err` says what is wrong, where, and how to mend it.
pub fn check_template(settings: &Map<String, Value>) -> Result<(), String> {
    let Some(text) = settings.get("template").and_then(Value::as_str) else { return Ok(()) };
    let headers = settings.get("headers").and_then(Value::as_object);
    let content_type = headers.into_iter().flatten().find_map(|(name, value)| {
        let value = value.as_str()?;
        name.eq_ignore_ascii_case("content-type").then_some(value)
    });
    let json = content_type.is_none_or(is_json_type);
    let environment = environment(json);
    let template =
        environment.template_from_named_str(NAME, text).map_err(|error| in_words(&error))?;
    let context = context(SAMPLE)?;
    let mut names: Vec<String> = template.undeclared_variables(true).into_iter().collect();
    names.sort();
    for name in names {
        check_name(&name, &context)?;
    }
    // Branches that no try gets into are read by nobody before the night they are needed.
    for reason in Reason::ALL {
        let sample = sample(*reason)?;
        render(text, &sample, json).map_err(|error| match reason {
            Reason::Opened => error,
            _ => format!("{error} (for the reason {reason})"),
        })?;
    }
    Ok(())
}

/// The sample as it would be sent for `reason`.
fn sample(reason: Reason) -> Result<String, String> {
    let mut sample: Value = serde_json::from_str(SAMPLE).map_err(|error| error.to_string())?;
    sample["type"] = match reason {
        Reason::Test => "receiver.test".into(),
        _ => format!("incident.{reason}").into(),
    };
    let status = match reason {
        Reason::Resolved => Status::Resolved,
        Reason::Acknowledged => Status::Acknowledged,
        _ => Status::Triggered,
    };
    sample["data"]["reason"] = reason.as_str().into();
    sample["data"]["incident"]["status"] = status.as_str().into();
    Ok(sample.to_string())
}

/// The body that `template` makes of our own `document`.
pub(super) fn render(template: &str, document: &str, json: bool) -> Result<String, String> {
    let environment = environment(json);
    let template =
        environment.template_from_named_str(NAME, template).map_err(|error| in_words(&error))?;
    let mut context = context(document)?;
    forget_nulls(&mut context);
    let context = minijinja::Value::from(Serde(context));
    let mut out = Bounded(Vec::new());
    template.render_captured_to(context, &mut out).map_err(|error| in_words(&error))?;
    let body = String::from_utf8(out.0).map_err(|_| "the template makes no text".to_owned())?;
    if body.trim().is_empty() {
        return Err("the template makes an empty body".to_owned());
    }
    if json {
        serde_json::from_str::<serde::de::IgnoredAny>(&body)
            .map_err(|error| not_json(&body, &error))?;
    }
    Ok(body)
}

/// What a template sees: the document, and the members of its `data` beside it.
fn context(document: &str) -> Result<Value, String> {
    let mut context: Map<String, Value> =
        serde_json::from_str(document).map_err(|error| error.to_string())?;
    let data = context.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
    context.extend(data);
    if !context.contains_key("alert") {
        let first = context.get("alerts").and_then(|alerts| alerts.get(0)).cloned();
        context.insert("alert".to_owned(), first.unwrap_or_default());
    }
    Ok(Value::Object(context))
}

/// Takes out what is null, so that it prints nothing and `default` finds it; but leaves what the
/// sender wrote as it is.
fn forget_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            let members = members.iter_mut().filter(|(name, _)| !FREE.contains(&name.as_str()));
            members.for_each(|(_, value)| forget_nulls(value));
        }
        Value::Array(items) => items.iter_mut().for_each(forget_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn environment(json: bool) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_auto_escape_callback(move |_| {
        // Any but `None`: what a block captures is escaped already.
        if json { AutoEscape::Custom("JSON text".into()) } else { AutoEscape::None }
    });
    environment.set_formatter(move |out, _, value| {
        let text = printed(value)?;
        let done = value.is_safe() || !json;
        Ok(if done { out.write_str(&text) } else { out.write_str(&escaped(&text)) }?)
    });
    environment.add_filter("e", escape);
    environment.add_filter("escape", escape);
    environment.add_filter("truncate", truncate);
    environment.add_filter("urlencode", urlencode);
    environment.add_filter("time", time);
    environment.add_filter("unix", unix);
    environment
}

/// A value as text: nothing for what is not there, JSON for all that is no text.
fn printed(value: &minijinja::Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => Ok(String::new()),
        ValueKind::String => Ok(value.to_string()),
        _ => serde_json::to_string(value).map_err(|error| {
            Error::new(ErrorKind::BadSerialization, "this cannot be printed").with_source(error)
        }),
    }
}

/// The text as it stands between the quotes of a JSON text.
fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// What HTML, and so Slack and Feishu, would take for its own.
fn escape(value: &minijinja::Value) -> Result<String, Error> {
    Ok(printed(value)?.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}

/// At most so many characters, the last of which says that there is more.
fn truncate(value: &minijinja::Value, length: usize) -> Result<String, Error> {
    let text = printed(value)?;
    if text.chars().count() <= length {
        return Ok(text);
    }
    let kept = text.chars().take(length.saturating_sub(1));
    Ok(kept.chain(std::iter::once('…')).take(length).collect())
}

fn urlencode(value: &minijinja::Value) -> Result<String, Error> {
    let text = printed(value)?;
    let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    Ok(encoded.replace('+', "%20"))
}

/// A time of ours in a time zone: `{{ incident.created_at|time("Asia/Shanghai") }}`.
fn time(
    value: &minijinja::Value,
    zone: Option<&str>,
    format: Option<&str>,
) -> Result<String, Error> {
    let wrong = |what: String| Error::new(ErrorKind::InvalidOperation, what);
    let Some(at) = moment(value)? else { return Ok(String::new()) };
    let zone = zone.unwrap_or("UTC");
    let at = at.in_tz(zone).map_err(|_| wrong(format!("there is no time zone {zone:?}")))?;
    let format = format.unwrap_or("%Y-%m-%d %H:%M:%S");
    let mut text = String::new();
    write!(text, "{}", at.strftime(format))
        .map_err(|_| wrong(format!("{format:?} is no format of a time")))?;
    Ok(text)
}

/// A time of ours in seconds since 1970.
fn unix(value: &minijinja::Value) -> Result<Option<i64>, Error> {
    Ok(moment(value)?.map(jiff::Timestamp::as_second))
}

fn moment(value: &minijinja::Value) -> Result<Option<jiff::Timestamp>, Error> {
    Ok(printed(value)?.parse().ok())
}

/// What a template writes into.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > BODY_BYTES {
            return Err(io::Error::other("the body is over 512 KB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Refuses a path, such as `incident.titel`, that names nothing.
fn check_name(path: &str, context: &Value) -> Result<(), String> {
    let mut at = context;
    for (depth, name) in path.split('.').enumerate() {
        let Some(members) = at.as_object() else { return Ok(()) };
        let Some(value) = members.get(name) else {
            if depth == 0 && FUNCTIONS.contains(&name) {
                return Ok(());
            }
            let known: Vec<&str> = members.keys().map(String::as_str).collect();
            return Err(format!("there is no {path}: {name} must be {}", known.join(", ")));
        };
        if FREE.contains(&name) {
            return Ok(());
        }
        at = value;
    }
    Ok(())
}

fn in_words(error: &Error) -> String {
    let line = error.line().map(|line| format!(" in line {line}")).unwrap_or_default();
    let what = match error.kind() {
        ErrorKind::OutOfFuel => "it takes too many steps".to_owned(),
        ErrorKind::WriteFailure => "the body is over 512 KB".to_owned(),
        kind => {
            error.detail().map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}"))
        }
    };
    format!("the template is wrong{line}: {what}")
}

fn not_json(body: &str, error: &serde_json::Error) -> String {
    let line = body.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    let line: String = line.chars().take(80).collect();
    format!(
        "the template makes no JSON: {error}, where the body says {line:?}; write \"{{{{ x }}}}\" \
         between quotes and {{{{ x|tojson }}}} without, or set the header Content-Type if it is not \
         to be JSON"
    )
}
