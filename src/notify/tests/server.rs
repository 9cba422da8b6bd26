//! A scripted HTTP server: it answers as a test says, also not at all.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A request as it came in.
#[derive(Clone, Debug)]
pub(in crate::notify) struct Seen {
    pub(in crate::notify) method: String,
    /// With the query.
    pub(in crate::notify) path: String,
    /// Names in lower case.
    pub(in crate::notify) headers: Vec<(String, String)>,
    pub(in crate::notify) body: String,
}

impl Seen {
    pub(in crate::notify) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(in crate::notify) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(in crate::notify) enum Reply {
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
    /// Closes the connection without a word, after it has read everything.
    Reset,
    /// Never answers.
    Hang,
    /// The head of an answer with this status, and then nothing more.
    Stall(u16),
}

impl Reply {
    pub(in crate::notify) fn status(status: u16) -> Self {
        Self::Answer { status, headers: Vec::new(), body: String::new() }
    }

    pub(in crate::notify) fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self::Answer { status, headers, body: body.to_string() }
    }

    pub(in crate::notify) fn with_header(self, name: &str, value: &str) -> Self {
        match self {
            Self::Answer { status, mut headers, body } => {
                headers.push((name.to_owned(), value.to_owned()));
                Self::Answer { status, headers, body }
            }
            other => other,
        }
    }
}

type Script = dyn Fn(&Seen) -> Reply + Send + Sync;

/// A server on a free port of 127.0.0.1; gone when its runtime is.
pub(in crate::notify) struct Server {
    /// `http://127.0.0.1:PORT`.
    pub(in crate::notify) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Starts one that answers each request by `script`.
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    pub(in crate::notify) async fn start(
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, script): (_, Arc<Script>) = (Arc::clone(&seen), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&log), Arc::clone(&script)));
            }
        });
        Self { url, seen }
    }

    /// What came in so far.
    pub(in crate::notify) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test panicked").clone()
    }
}

async fn serve(mut stream: TcpStream, log: Arc<Mutex<Vec<Seen>>>, script: Arc<Script>) {
    while let Some(seen) = read(&mut stream).await {
        let reply = script(&seen);
        log.lock().expect("no test panicked").push(seen);
        match reply {
            Reply::Answer { status, headers, body } => {
                let mut head = format!("HTTP/1.1 {status} Status\r\n");
                for (name, value) in headers {
                    write!(head, "{name}: {value}\r\n").expect("a text");
                }
                write!(head, "content-length: {}\r\n\r\n{body}", body.len()).expect("a text");
                if stream.write_all(head.as_bytes()).await.is_err() {
                    return;
                }
            }
            Reply::Reset => return,
            Reply::Hang => std::future::pending().await,
            Reply::Stall(status) => {
                let head = format!("HTTP/1.1 {status} Status\r\ncontent-length: 100\r\n\r\n{{");
                stream.write_all(head.as_bytes()).await.ok();
                std::future::pending::<()>().await;
            }
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(0, |(_, length)| length.parse().unwrap_or(0));
    let mut body = bytes.split_off(head_end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Some(Seen { method, path, headers, body })
}
