//! Replays `tests/fixtures` through the decoder. The same files are replayed over HTTP elsewhere.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::domain::{
    event::Api,
    key::{DedupKey, RoutingKey},
};
use crate::wire::{
    Endpoint, GivenKeys, MAX_BODY_BYTES, Message, RejectReason, Rejection, decode,
    inflate::inflate, pagerduty::reply::Reply,
};

/// The one key that belongs to somebody.
const KNOWN_KEY: &str = "0123456789abcdef0123456789abcdef";

#[derive(Deserialize)]
struct Request {
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
    body_text: Option<String>,
    body_base64: Option<String>,
    body_encoding: Option<String>,
    pad_to: Option<usize>,
}

#[derive(Deserialize)]
struct Fixture {
    why: String,
    status: u16,
    answer: Option<String>,
    answer_pattern: Option<String>,
    needs: Option<String>,
}

#[derive(Deserialize)]
struct Capture {
    request: Request,
}

#[derive(Deserialize)]
struct Expected {
    status: u16,
    why: String,
}

impl Request {
    fn body(&self) -> Vec<u8> {
        let mut body = match (&self.body_text, &self.body_base64, self.body_encoding.as_deref()) {
            (Some(text), None, None) => text.clone().into_bytes(),
            (Some(text), None, Some("base64")) | (None, Some(text), None) => base64(text),
            other => panic!("body in an unknown form: {other:?}"),
        };
        body.resize(body.len().max(self.pad_to.unwrap_or(0)), b' ');
        body
    }

    fn header(&self, wanted: &str) -> Option<&str> {
        let is_wanted = |(name, _): &(&String, &String)| name.eq_ignore_ascii_case(wanted);
        self.headers.iter().find(is_wanted).map(|(_, value)| value.as_str())
    }

    /// What the route table does: the path tells what is spoken, and may carry a key.
    fn route(&self) -> (Endpoint, GivenKeys<'_>) {
        let path = self.path.trim_end_matches('/');
        let in_path = path
            .strip_prefix("/x-ere/")
            .or_else(|| path.strip_prefix("/integration/")?.strip_suffix("/enqueue"));
        let endpoint = match path.strip_prefix("/event/push/alert/pagerduty").unwrap_or(path) {
            "/v2/enqueue" => Endpoint::V2,
            "/v2/change/enqueue" => Endpoint::Change,
            "/generic/2010-04-15/create_event.json" => Endpoint::V1,
            "" => Endpoint::Either,
            _ if in_path.is_some() => Endpoint::Either,
            other => panic!("unknown path {other}"),
        };
        let in_query = self.query.strip_prefix("integration_key=");
        let url = in_path.filter(|key| !key.is_empty()).or(in_query);
        (endpoint, GivenKeys { url, header: self.header("X-Routing-Key") })
    }

    /// The answer's status and body. `dedup_key` stands in for one that the gateway makes.
    fn answer(&self) -> (u16, String) {
        let (endpoint, keys) = self.route();
        let body = self.body();
        let decoded = inflate(self.header("Content-Encoding"), &body, MAX_BODY_BYTES)
            .map_err(|error| Rejection::of_unread(endpoint.default_api(), keys, error.into()))
            .and_then(|body| decode(endpoint, keys, &body));
        let decoded = match decoded {
            Ok(decoded) if decoded.key.reveal() != KNOWN_KEY => {
                return (400, Reply::UnknownKey { api: decoded.api }.body());
            }
            Ok(decoded) => decoded,
            Err(rejection) => return (400, Reply::to_rejected(&rejection.reason).body()),
        };
        let made = DedupKey::generated(0x0123_4567_89ab_cdef);
        match (&decoded.message, decoded.api) {
            (Message::Change(_), _) => (202, Reply::AcceptedChange.body()),
            (Message::Event(event), api) => {
                let key = event.intent.dedup_key().unwrap_or(&made).as_str();
                if api == Api::V1 {
                    (200, Reply::AcceptedV1 { incident_key: key }.body())
                } else {
                    (202, Reply::AcceptedV2 { dedup_key: key }.body())
                }
            }
        }
    }
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let digit = ALPHABET.iter().position(|digit| *digit == byte).unwrap();
        bits = (bits << 6) | u32::try_from(digit).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).unwrap());
        }
    }
    bytes
}

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_row_of_the_contract_gets_its_exact_answer() {
    let mut wrong = Vec::new();
    let mut replayed = 0;
    for path in fixtures("wire") {
        let text = fs::read_to_string(&path).unwrap();
        let fixture: Fixture = serde_json::from_str(&text).unwrap();
        if !matches!(fixture.needs.as_deref(), None | Some("unknown_key")) {
            continue;
        }
        let request: Request = serde_json::from_str(&text).unwrap();
        replayed += 1;

        let (status, answer) = request.answer();

        let is_right = match (&fixture.answer, &fixture.answer_pattern) {
            (Some(expected), None) => answer == *expected,
            (None, Some(pattern)) => regex::Regex::new(pattern).unwrap().is_match(&answer),
            _ => false,
        };
        if !is_right || status != fixture.status {
            wrong.push(format!("{} ({}): {status} {answer}", path.display(), fixture.why));
        }
    }

    assert!(replayed > 200, "only {replayed} fixtures were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_decoder_does_not_decide_is_said_in_the_same_words() {
    for path in fixtures("wire") {
        let fixture: Fixture = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let reply = match (fixture.needs.as_deref(), fixture.status) {
            (Some("throttle"), 403) => Reply::Throttled { api: Api::V1 },
            (Some("throttle"), 429) => Reply::Throttled { api: Api::V2 },
            (Some("unavailable"), 503) => Reply::Unavailable,
            (Some("http"), 404) => Reply::NotFound,
            (Some("http"), 405) => Reply::MethodNotAllowed,
            (None | Some("unknown_key"), _) => continue,
            other => panic!("{}: {other:?}", path.display()),
        };

        assert_eq!(Some(reply.body()), fixture.answer, "{}", path.display());
    }
}

#[test]
fn every_captured_request_gets_the_status_that_its_client_needs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/captures");
    let table = fs::read(folder.join("expected.json")).unwrap();
    let table: BTreeMap<String, Expected> = serde_json::from_slice(&table).unwrap();
    let files = fixtures("captures").len() + fixtures("captures/derived").len() - 1;
    assert_eq!(files, table.len(), "files and rows of expected.json");

    for (file, expected) in table {
        let capture = fs::read(folder.join(&file)).unwrap();
        let capture: Capture = serde_json::from_slice(&capture).unwrap();

        let (status, answer) = capture.request.answer();

        assert_eq!(status, expected.status, "{file} ({}): {answer}", expected.why);
    }
}

#[test]
fn no_capture_leaves_its_key_in_the_stored_body() {
    for path in fixtures("captures").into_iter().chain(fixtures("captures/derived")) {
        if path.ends_with("expected.json") {
            continue;
        }
        let capture: Capture = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let request = capture.request;
        let (endpoint, keys) = request.route();
        let body = request.body();
        let body = inflate(request.header("Content-Encoding"), &body, MAX_BODY_BYTES).unwrap();

        if let Ok(decoded) = decode(endpoint, keys, &body) {
            assert!(!decoded.body.text.contains(KNOWN_KEY), "{}", path.display());
            assert_eq!(decoded.key.reveal(), KNOWN_KEY);
        }
    }
}

#[test]
fn a_rejection_names_the_key_if_it_can_be_somebodys() {
    let none = GivenKeys::default();
    let url = GivenKeys { url: Some(KNOWN_KEY), header: None };
    let in_body = format!(r#"{{"routing_key":"{KNOWN_KEY}"}}"#);
    let cases: [(Endpoint, GivenKeys<'_>, &str, Option<&str>, Api); 5] = [
        (Endpoint::Either, url, "{", Some(KNOWN_KEY), Api::V2),
        (Endpoint::V1, none, "{", None, Api::V1),
        (Endpoint::V2, none, &in_body, Some(KNOWN_KEY), Api::V2),
        (Endpoint::Change, none, r#"{"routing_key":"abc"}"#, None, Api::Change),
        (Endpoint::Either, none, r#"{"service_key":"abc"}"#, None, Api::V1),
    ];
    for (endpoint, keys, body, key, api) in cases {
        let rejection = decode(endpoint, keys, body.as_bytes()).unwrap_err();

        assert_eq!(rejection.key.as_ref().map(super::super::SentKey::reveal), key, "{body}");
        assert_eq!(rejection.api, api, "{body}");
        assert!(!format!("{rejection:?}").contains(KNOWN_KEY));
    }
}

#[test]
fn a_body_over_the_limit_is_refused_even_if_nobody_looked_before() {
    let body = vec![b' '; MAX_BODY_BYTES + 1];

    let rejection = decode(Endpoint::V2, GivenKeys::default(), &body);

    assert_eq!(rejection.unwrap_err().reason, RejectReason::TooLarge);
}

#[test]
fn the_known_key_of_the_fixtures_is_a_routing_key() {
    assert!(RoutingKey::parse(KNOWN_KEY).is_ok());
}
