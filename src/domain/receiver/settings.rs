//! The settings of each kind of receiver: one table a kind.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::ReceiverKind;
use crate::domain::{event::Severity, read::Place, service::NAME_MAX_CHARS, time::Span};

const TEXT_MAX: usize = 255;
const URL_MAX: usize = 2048;
const LIST_MAX: usize = 50;
const TEMPLATE_MAX: usize = 64 * 1024;

/// Headers that are credentials, so that their value is never in the settings.
const SECRET_HEADERS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-key"];

/// Checks the value of a key.
type Check = fn(&mut Place<'_>, &Value);

/// What an object may hold.
struct Table {
    members: &'static [(&'static str, Check)],
    /// What is secret: `…_env` or `…_file` says where it is. One that is a member too may be given
    /// itself.
    secrets: &'static [&'static str],
    required: &'static [&'static str],
}

/// What every kind has.
const COMMON: [(&str, Check); 4] = [
    ("fallback", name),
    ("allowed_hosts", |place, value| each(place, value, host)),
    ("concurrency", |place, value| {
        place.number(value, 1..=100);
    }),
    ("rate_per_minute", |place, value| {
        place.number(value, 1..=100_000);
    }),
];

const PAGERDUTY: Table = Table {
    members: &[("url", url), ("per_alert", flag), ("passthrough", flag)],
    secrets: &["routing_key", "webhook_secret"],
    required: &["routing_key"],
};

const JIRA: Table = Table {
    members: &[
        ("url", url),
        ("api", |place, value| choice(place, value, &["auto", "cloud", "datacenter"])),
        ("auth", auth),
        ("project", text),
        ("issue_type", text),
        ("priority", priority),
        ("assignee", text),
        ("labels", |place, value| each(place, value, word)),
        ("components", |place, value| each(place, value, text)),
        ("fields", |place, value| {
            place.object(value);
        }),
        ("transitions", |place, value| TRANSITIONS.check(place, value)),
        ("reopen_within", |place, value| {
            place.span(value, Span::ZERO..=Span::from_secs(10 * 365 * 86_400));
        }),
    ],
    secrets: &[],
    required: &["url", "auth", "project"],
};

const BEARER: Table = Table { members: &[], secrets: &["bearer"], required: &["bearer"] };

const BASIC: Table =
    Table { members: &[("user", text)], secrets: &["password"], required: &["user", "password"] };

const TRANSITIONS: Table =
    Table { members: &[("resolve", text), ("reopen", text)], secrets: &[], required: &[] };

const WEBHOOK: Table = Table {
    members: &[
        ("url", url),
        ("format", |place, value| choice(place, value, &["dutygate", "alertmanager"])),
        ("template", |place, value| {
            place.text(value, TEMPLATE_MAX);
        }),
        ("headers", headers),
    ],
    // Addresses of chat services are secrets themselves: who knows one may write there.
    secrets: &["secret", "url"],
    required: &["url"],
};

const EMAIL: Table = Table {
    members: &[("smtp", smtp), ("from", address), ("to", addresses), ("username", text)],
    secrets: &["password"],
    required: &["smtp", "from", "to"],
};

pub(super) fn check(kind: ReceiverKind, object: &Map<String, Value>, place: &mut Place<'_>) {
    let table = match kind {
        ReceiverKind::PagerDuty => PAGERDUTY,
        ReceiverKind::Jira => JIRA,
        ReceiverKind::Webhook => WEBHOOK,
        ReceiverKind::Email => EMAIL,
    };
    table.members(place, object, &COMMON);
    let has = |key: &str| object.contains_key(key);
    let on = |key: &str| object.get(key) == Some(&Value::Bool(true));
    if on("per_alert") && on("passthrough") {
        place.member("passthrough").wrong("cannot be together with per_alert");
    }
    if has("template") && object.get("format").is_some_and(|format| format != "dutygate") {
        place.member("template").wrong("is for format: dutygate only");
    }
    if kind == ReceiverKind::Email {
        let password = has("password_env") || has("password_file");
        if has("username") != password {
            let missing = if password { "username" } else { "password_env" };
            place.member(missing).wrong("is required: username and password go together");
        }
    }
}

impl Table {
    fn check(&self, place: &mut Place<'_>, value: &Value) {
        if let Some(object) = place.object(value) {
            self.members(place, object, &[]);
        }
    }

    fn members(
        &self,
        place: &mut Place<'_>,
        object: &Map<String, Value>,
        common: &[(&'static str, Check)],
    ) {
        let all = || self.members.iter().chain(common);
        for (key, value) in object {
            let mut place = place.member(key);
            let known = all().find(|(name, _)| name == key);
            let location = self.secrets.iter().any(|secret| is_location(key, secret));
            if let Some((_, check)) = known {
                check(&mut place, value);
            } else if location {
                location_of_secret(&mut place, key, value);
            } else if self.secrets.contains(&key.as_str()) {
                place.wrong(format!(
                    "is a secret, which is never given itself: name the variable or file that \
                     holds it by {key}_env or {key}_file"
                ));
            } else {
                let located =
                    self.secrets.iter().flat_map(|s| [format!("{s}_env"), format!("{s}_file")]);
                let names = all().map(|(name, _)| (*name).to_owned());
                let known: Vec<String> = names.chain(located).collect();
                place.unknown(&known.iter().map(String::as_str).collect::<Vec<_>>());
            }
        }
        for secret in self.secrets {
            let is_member = self.members.iter().any(|(name, _)| name == secret);
            let ways = [(*secret).to_owned(), format!("{secret}_env"), format!("{secret}_file")];
            let ways = if is_member { &ways[..] } else { &ways[1..] };
            let given: Vec<&String> = ways.iter().filter(|way| object.contains_key(*way)).collect();
            if let [first, second, ..] = given[..] {
                place.member(second).wrong(format!("cannot be together with {first}"));
            } else if given.is_empty()
                && self.required.contains(secret)
                && !object.contains_key(*secret)
            {
                place.member(&ways[0]).wrong(format!("is required, or {}", ways[1..].join(" or ")));
            }
        }
        for key in self.required.iter().filter(|key| !self.secrets.contains(key)) {
            place.required(object, &[key]);
        }
    }
}

/// Whether `key` is `secret` with `_env` or `_file` behind it.
fn is_location(key: &str, secret: &str) -> bool {
    key.strip_prefix(secret).is_some_and(|end| end == "_env" || end == "_file")
}

fn location_of_secret(place: &mut Place<'_>, key: &str, value: &Value) {
    if key.ends_with("_file") {
        place.text(value, 4096);
        return;
    }
    let is_name = |text: &str| {
        let begins = text.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        let is_word = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        begins && is_word && text.len() <= TEXT_MAX
    };
    if !value.as_str().is_some_and(is_name) {
        place.wrong("must be the name of an environment variable, such as PD_KEY");
    }
}

fn text(place: &mut Place<'_>, value: &Value) {
    place.text(value, TEXT_MAX);
}

fn name(place: &mut Place<'_>, value: &Value) {
    place.text(value, NAME_MAX_CHARS);
}

fn flag(place: &mut Place<'_>, value: &Value) {
    place.flag(value);
}

fn choice(place: &mut Place<'_>, value: &Value, names: &[&'static str]) {
    place.named(value, names, |name| name);
}

fn each(place: &mut Place<'_>, value: &Value, check: Check) {
    for (i, item) in place.list(value, LIST_MAX).into_iter().flatten().enumerate() {
        check(&mut place.item(i), item);
    }
}

/// A Jira label has no blanks.
fn word(place: &mut Place<'_>, value: &Value) {
    let word = place.text(value, TEXT_MAX);
    if word.is_some_and(|word| word.contains(char::is_whitespace)) {
        place.wrong("must have no blanks");
    }
}

fn host(place: &mut Place<'_>, value: &Value) {
    let host = place.text(value, TEXT_MAX);
    if host.is_some_and(|host| host.contains(['/', '@']) || host.contains(char::is_whitespace)) {
        place.wrong("must be a host name or an address, such as hooks.internal or 10.0.0.7");
    }
}

fn auth(place: &mut Place<'_>, value: &Value) {
    let Some(object) = place.object(value) else { return };
    let is_basic = object.keys().any(|key| key == "user" || key.starts_with("password"));
    if is_basic { BASIC } else { BEARER }.members(place, object, &[]);
}

fn priority(place: &mut Place<'_>, value: &Value) {
    for (key, value) in place.object(value).into_iter().flatten() {
        let mut place = place.member(key);
        if Severity::parse(key).is_some() {
            text(&mut place, value);
        } else {
            place.unknown(&["critical", "error", "warning", "info"]);
        }
    }
}

fn headers(place: &mut Place<'_>, value: &Value) {
    let is_token = |name: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        !name.is_empty() && name.bytes().all(allowed)
    };
    for (key, value) in place.object(value).into_iter().flatten() {
        let mut place = place.member(key);
        let credential = SECRET_HEADERS.contains(&key.to_ascii_lowercase().as_str());
        match value {
            _ if !is_token(key) => place.wrong("is no name of a header"),
            Value::Object(_) => HEADER.check(&mut place, value),
            _ if credential => place.wrong(
                "is a secret, which is never given itself: name the variable that holds it, as \
                 {value_env: NAME}",
            ),
            Value::String(text) if !text.contains(['\r', '\n']) => {
                place.text(value, URL_MAX);
            }
            _ => place.wrong("must be a text of one line, or {value_env: NAME}"),
        }
    }
}

/// The value of a header that is a secret.
const HEADER: Table = Table { members: &[], secrets: &["value"], required: &["value"] };

fn address(place: &mut Place<'_>, value: &Value) {
    let is_address = |text: &str| {
        let inner = text.rsplit_once('<').map_or(text, |(_, rest)| rest.trim_end_matches('>'));
        let halves = inner.split_once('@');
        halves.is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
            && !inner.contains(char::is_whitespace)
            && !text.contains(['\r', '\n'])
    };
    if !value.as_str().is_some_and(|text| text.len() <= TEXT_MAX && is_address(text)) {
        place.wrong("must be a mail address, such as ops@example.com");
    }
}

fn addresses(place: &mut Place<'_>, value: &Value) {
    each(place, value, address);
    if value.as_array().is_some_and(Vec::is_empty) {
        place.wrong("must have an address");
    }
}

fn url(place: &mut Place<'_>, value: &Value) {
    located(place, value, &["https://", "http://"], "https://example.com/in");
}

fn smtp(place: &mut Place<'_>, value: &Value) {
    located(place, value, &["smtps://", "smtp://"], "smtps://mail.example.com");
}

fn located(place: &mut Place<'_>, value: &Value, schemes: &[&str], example: &str) {
    let text = value.as_str().filter(|text| text.len() <= URL_MAX).unwrap_or_default();
    let Some(authority) = schemes.iter().find_map(|scheme| authority_of(text, scheme)) else {
        place.wrong(format!("must be an address such as {example}"));
        return;
    };
    if authority.contains('@') {
        place.wrong("must hold no user or password: they have settings of their own");
    } else if host_of(authority).is_empty() || text.contains(|c: char| c <= ' ') {
        place.wrong(format!("must be an address such as {example}"));
    }
}

/// What stands between `scheme` and the path.
fn authority_of<'t>(url: &'t str, scheme: &str) -> Option<&'t str> {
    let begins = url.get(..scheme.len())?.eq_ignore_ascii_case(scheme);
    let rest = url.get(scheme.len()..).filter(|_| begins)?;
    rest.split(['/', '?', '#']).next()
}

/// The host of an authority, without its port and the brackets of an IPv6 address.
fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(host, _)| host),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// Whether an address is of no public host: private, loopback, link-local, shared, reserved or for
/// many, also where a version 6 address only wraps such a one.
///
/// Source: the IANA special-purpose address registries (RFC 6890).
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a, b, c) == (192, 0, 0)
                || (a == 198 && (18..20).contains(&b))
        }
        IpAddr::V6(v6) => {
            let wrapped = |high: u16, low: u16| {
                IpAddr::from((u32::from(high) << 16 | u32::from(low)).to_be_bytes())
            };
            match v6.segments() {
                // Mapped, translated (NAT64) and tunnelled (6to4) addresses of version 4.
                [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                    is_private(wrapped(high, low))
                }
                [0x2002, high, low, ..] => is_private(wrapped(high, low)),
                // Translated inside one network.
                [0x64, 0xff9b, ..] => true,
                _ => {
                    v6.is_loopback()
                        || v6.is_unspecified()
                        || v6.is_unique_local()
                        || v6.is_unicast_link_local()
                        || v6.is_multicast()
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
