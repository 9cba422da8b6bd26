//! `tests/fixtures`, as requests to send.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::http::Request;

#[derive(Deserialize)]
struct Sent {
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
    body_text: Option<String>,
    body_base64: Option<String>,
    body_encoding: Option<String>,
    pad_to: Option<usize>,
}

impl Sent {
    fn body(&self) -> Vec<u8> {
        let mut body = match (&self.body_text, &self.body_base64, self.body_encoding.as_deref()) {
            (Some(text), None, None) => text.clone().into_bytes(),
            (Some(text), None, Some("base64")) | (None, Some(text), None) => base64(text),
            other => panic!("body in an unknown form: {other:?}"),
        };
        body.resize(body.len().max(self.pad_to.unwrap_or(0)), b' ');
        body
    }

    fn request(&self) -> Request {
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        let mut request = Request::new(&self.method, &format!("{}{query}", self.path));
        for (name, value) in &self.headers {
            // The length is that of the very body; `derived` ones are only illustrative.
            if !name.eq_ignore_ascii_case("Content-Length") {
                request = request.header(name, value);
            }
            if name.eq_ignore_ascii_case("Transfer-Encoding") {
                request = request.chunked();
            }
        }
        request.body(self.body())
    }
}

/// A row of the wire contract.
#[derive(Deserialize)]
pub(crate) struct Fixture {
    #[serde(skip)]
    pub(crate) name: String,
    #[serde(flatten)]
    sent: Sent,
    pub(crate) status: u16,
    pub(crate) answer: Option<String>,
    pub(crate) answer_pattern: Option<String>,
    pub(crate) needs: Option<String>,
}

impl Fixture {
    pub(crate) fn body(&self) -> Vec<u8> {
        self.sent.body()
    }

    pub(crate) fn request(&self) -> Request {
        self.sent.request()
    }
}

/// A request of a real client.
#[derive(Deserialize)]
pub(crate) struct Capture {
    #[serde(skip)]
    pub(crate) name: String,
    request: Sent,
    #[serde(skip)]
    pub(crate) status: u16,
}

impl Capture {
    pub(crate) fn request(&self) -> Request {
        self.request.request()
    }

    /// The same with another text wherever a text is.
    pub(crate) fn request_with(&self, from: &str, to: &str) -> Request {
        let swap = |text: &str| text.replace(from, to);
        let request = &self.request;
        let body_text = match request.body_encoding {
            None => request.body_text.as_deref().map(swap),
            Some(_) => request.body_text.clone(),
        };
        Sent {
            method: request.method.clone(),
            path: swap(&request.path),
            query: swap(&request.query),
            headers: request.headers.iter().map(|(name, v)| (name.clone(), swap(v))).collect(),
            body_text,
            body_base64: request.body_base64.clone(),
            body_encoding: request.body_encoding.clone(),
            pad_to: request.pad_to,
        }
        .request()
    }
}

/// Every row of the wire contract with PagerDuty's clients, by name.
pub(crate) fn wire() -> Vec<Fixture> {
    rows("wire", 150)
}

/// The same with Guance.
pub(crate) fn guance() -> Vec<Fixture> {
    rows("guance", 60)
}

fn rows(folder: &str, at_least: usize) -> Vec<Fixture> {
    let mut fixtures: Vec<Fixture> = Vec::new();
    for path in json_files(&root().join(folder)) {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let fixture: Fixture = read(&path);
        fixtures.push(Fixture { name, ..fixture });
    }
    assert!(fixtures.len() > at_least, "the fixtures are not where they were");
    fixtures
}

/// Every capture with the status that its client needs.
pub(crate) fn captures() -> Vec<Capture> {
    #[derive(Deserialize)]
    struct Expected {
        status: u16,
    }
    let root = root().join("captures");
    let expected: BTreeMap<String, Expected> = read(&root.join("expected.json"));
    let mut captures: Vec<Capture> = Vec::new();
    for (name, Expected { status }) in expected {
        let capture: Capture = read(&root.join(&name));
        captures.push(Capture { name, status, ..capture });
    }
    let files = json_files(&root).len() - 1 + json_files(&root.join("derived")).len();
    assert_eq!(captures.len(), files, "every capture has an expected status");
    captures
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn json_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    paths.sort();
    paths
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut buffer, mut bits) = (0_u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let value = ALPHABET.iter().position(|letter| *letter == byte).unwrap();
        buffer = (buffer << 6) | u32::try_from(value).unwrap();
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((buffer >> bits) & 0xff).unwrap());
        }
    }
    bytes
}
