//! Laws of the decoder, on input that nobody wrote.

use proptest::{collection::vec, option, prelude::*, string::string_regex};
use serde_json::{Map, Value, json};

use crate::domain::event::{Action, Content, Event, Image, Intent, Link, StoredBody};
use crate::wire::{
    Decoded, Endpoint, GivenKeys, Message, decode, inflate, json as json_text, timestamp,
};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const ENDPOINTS: [Endpoint; 4] = [Endpoint::Either, Endpoint::V1, Endpoint::V2, Endpoint::Change];

fn without_blanks(fields: Value) -> Value {
    match fields {
        Value::Object(fields) => {
            Value::Object(fields.into_iter().filter(|(_, value)| !value.is_null()).collect())
        }
        other => other,
    }
}

fn links(links: &[Link]) -> Vec<Value> {
    links.iter().map(|link| json!({"type": "link", "href": link.href, "text": link.text})).collect()
}

fn images(images: &[Image]) -> Vec<Value> {
    let image = |image: &Image| json!({"type": "image", "src": image.src, "href": image.href, "alt": image.alt});
    images.iter().map(image).collect()
}

fn details(content: &Content) -> Value {
    let text = content.custom_details.as_deref().unwrap_or("null");
    serde_json::from_str(text).unwrap()
}

fn content(intent: &Intent) -> Option<&Content> {
    match intent {
        Intent::Trigger { content, .. } => Some(content),
        Intent::Acknowledge { .. } | Intent::Resolve { .. } => None,
    }
}

/// Writes an event as a client of version 2 would.
fn encode_v2(event: &Event) -> Value {
    let content = content(&event.intent);
    without_blanks(json!({
        "routing_key": KEY,
        "event_action": event.intent.action().as_str(),
        "dedup_key": event.intent.dedup_key().map(ToString::to_string),
        "client": content.map(|content| &content.client),
        "client_url": content.map(|content| &content.client_url),
        "links": content.map(|content| links(&content.links)),
        "images": content.map(|content| images(&content.images)),
        "payload": {
            "summary": content.map(|content| &content.summary),
            "source": content.map(|content| &content.source),
            "severity": content.map(|content| content.severity),
            "component": content.map(|content| &content.component),
            "group": content.map(|content| &content.group),
            "class": content.map(|content| &content.class),
            "timestamp": event.sent_time.text,
            "custom_details": content.map(details),
        },
    }))
}

/// Writes an event as a client of version 1 would.
fn encode_v1(event: &Event) -> Value {
    let content = content(&event.intent);
    without_blanks(json!({
        "service_key": KEY,
        "event_type": event.intent.action().as_str(),
        "incident_key": event.intent.dedup_key().map(ToString::to_string),
        "description": content.map(|content| &content.summary),
        "client": content.map(|content| &content.client),
        "client_url": content.map(|content| &content.client_url),
        "details": content.map(details),
        "contexts": content.map(|content| [links(&content.links), images(&content.images)].concat()),
    }))
}

fn decode_event(endpoint: Endpoint, body: &Value) -> (Event, StoredBody) {
    let Decoded { message, body, .. } =
        decode(endpoint, GivenKeys::default(), body.to_string().as_bytes()).unwrap();
    match message {
        Message::Event(event) => (event, body),
        Message::Change(_) => panic!("a change event"),
    }
}

/// JSON of any shape. Numbers are integers: their spelling is the same after every round.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::String),
        Just(Value::String(KEY.to_owned())),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::Array),
            vec((any::<String>(), inner), 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn some_text() -> impl Strategy<Value = String> {
    prop_oneof![string_regex("[ -~\u{0}é磁🔥\"\\\\]{0,40}").unwrap(), Just(KEY.to_owned())]
}

fn optional() -> impl Strategy<Value = Value> {
    prop_oneof![any_json(), some_text().prop_map(Value::String)]
}

prop_compose! {
    fn v2_body()(
        action in prop::sample::select(Action::ALL),
        dedup_key in "[a-z/]{1,40}",
        summary in "[a-z磁][ -~]{0,100}",
        source in some_text().prop_map(|text| format!("s{text}")),
        severity in prop::sample::select(vec!["critical", "error", "warning", "info"]),
        rest in vec(optional(), 8),
        links in vec(optional(), 0..3),
        href in option::of(some_text()),
    ) -> Value {
        let mut rest = rest.into_iter();
        let mut next = || rest.next().unwrap();
        json!({
            "routing_key": KEY,
            "event_action": action.as_str(),
            "dedup_key": dedup_key,
            "client": next(),
            "client_url": next(),
            "links": [{"href": href, "text": next()}, links],
            "images": [{"src": href, "alt": links}],
            "payload": {
                "summary": summary, "source": source, "severity": severity,
                "component": next(), "group": next(), "class": next(),
                "timestamp": next(), "custom_details": next(),
            },
        })
    }
}

fn details_of(stored: &StoredBody) -> &str {
    stored.details.map_or("", |(start, end)| &stored.text[start as usize..end as usize])
}

/// Whether the key stands anywhere in the stored text but in its details.
fn leaks(stored: &StoredBody, key: &str) -> bool {
    let (start, end) = stored.details.unwrap_or((0, 0));
    stored.text[..start as usize].contains(key) || stored.text[end as usize..].contains(key)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(body in vec(any::<u8>(), 0..200), text in any::<String>()) {
        for endpoint in ENDPOINTS {
            for keys in [GivenKeys::default(), GivenKeys { url: Some(&text), header: Some(&text) }] {
                prop_assert_eq!(decode(endpoint, keys, &body), decode(endpoint, keys, &body));
                drop(decode(endpoint, keys, text.as_bytes()));
            }
        }
        for encoding in ["gzip", "deflate", "zstd", &text] {
            if let Ok(inflated) = inflate::inflate(Some(encoding), &body, 1000) {
                prop_assert!(inflated.len() <= 1000);
            }
        }
        prop_assert_eq!(timestamp::parse(&text), timestamp::parse(&format!(" {text} ")));
    }

    #[test]
    fn no_damage_to_a_good_body_panics(
        body in v2_body(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = body.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;

        for endpoint in ENDPOINTS {
            drop(decode(endpoint, GivenKeys::default(), &bytes));
            drop(decode(endpoint, GivenKeys::default(), &bytes[..at]));
        }
    }

    #[test]
    fn decoding_what_was_encoded_changes_nothing(body in v2_body()) {
        let (first, _) = decode_event(Endpoint::V2, &body);
        let (second, _) = decode_event(Endpoint::V2, &encode_v2(&first));
        let (third, _) = decode_event(Endpoint::Either, &encode_v2(&second));

        // The first decoding keeps the sender's spelling of the details, the others serde's.
        prop_assert_eq!(&encode_v2(&first), &encode_v2(&second));
        prop_assert_eq!(second, third);
    }

    #[test]
    fn the_same_holds_for_version_1(body in v2_body()) {
        let (v2, _) = decode_event(Endpoint::V2, &body);
        let (first, _) = decode_event(Endpoint::V1, &encode_v1(&v2));
        let (second, _) = decode_event(Endpoint::Either, &encode_v1(&first));

        prop_assert_eq!(first, second);
    }

    #[test]
    fn a_stored_body_never_shows_its_key(body in v2_body(), pretty in any::<bool>()) {
        let text = if pretty { format!("{body:#}") } else { body.to_string() };
        let decoded = decode(Endpoint::V2, GivenKeys::default(), text.as_bytes()).unwrap();

        prop_assert!(!leaks(&decoded.body, KEY), "{}", decoded.body.text);
        prop_assert!(serde_json::from_str::<Value>(&decoded.body.text).is_ok());
        prop_assert!(text.contains(details_of(&decoded.body)));
        if let Message::Event(Event { intent: Intent::Trigger { content, .. }, .. }) = decoded.message {
            prop_assert_eq!(content.custom_details.as_deref().unwrap_or(""), details_of(&decoded.body));
        }
    }

    #[test]
    fn a_stored_body_stays_json_whatever_its_key_looks_like(
        key in "[0-9]{31}[0-9e]|u[0-9a-c]{31}|[tnu01]{32}",
        pieces in vec((0..4_usize, "[0-9u\\\\\"n]{0,6}"), 0..6),
    ) {
        let mut fields = Vec::new();
        for (i, (kind, text)) in pieces.iter().enumerate() {
            let value = match kind {
                0 => format!("\"{key}{key}\""),
                1 => format!("1{key}"),
                2 => format!("\"\\{key}\""),
                _ => format!("{{{}:[{key}]}}", Value::String(format!("{text}{key}"))),
            };
            fields.push(format!("\"f{i}\":{value},"));
        }
        let fields = fields.concat();
        let text = format!(r#"{{{fields}"payload":{{"summary":"s"}}}}"#);
        let keys = GivenKeys { url: Some(&key), header: None };

        if let Ok(decoded) = decode(Endpoint::Change, keys, text.as_bytes()) {
            prop_assert!(!leaks(&decoded.body, &key), "{}", decoded.body.text);
            prop_assert!(serde_json::from_str::<&serde_json::value::RawValue>(&decoded.body.text).is_ok());
        }
    }

    #[test]
    fn what_is_readable_is_what_serde_json_reads(
        value in any_json(),
        at in any::<prop::sample::Index>(),
        with in prop_oneof![
            Just("\\ud800"), Just("\\udc00"), Just("\\ud83d\\udd25"), Just("\\"), Just("\""), Just(","),
            Just("{"), Just("]"), Just("\u{1}"), Just("0"), Just(" "), Just(""),
        ],
    ) {
        let mut text = json!({ "value": value }).to_string();
        let at = (0..=at.index(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        text.insert_str(at, with);

        let readable =
            json_text::check(text.as_bytes()).and_then(|text| json_text::for_each_entry(text, |_, _| ()));
        let by_serde = serde_json::from_slice::<Map<String, Value>>(text.as_bytes());

        prop_assert_eq!(readable.is_ok(), by_serde.is_ok(), "{}", text);
    }
}
