//! A small HTTP/1.1 client that sends exactly what it is told to, also what is odd.
//!
//! No library between the test and the wire: clients of the gateway are of all kinds, and a library
//! would mend what they break.

use std::{fmt, io, net::SocketAddr, path::Path, time::Duration};

use serde_json::Value;
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
        BufReader,
    },
    net::{TcpStream, UnixStream},
};

/// No answer takes this long unless something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One request, in the bytes that go over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    target: String,
    version: &'static str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    chunked: bool,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            version: "HTTP/1.1",
            headers: Vec::new(),
            body: Vec::new(),
            chunked: false,
        }
    }

    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub(crate) fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", target).body(body)
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// Sends the body in chunks instead of saying how long it is.
    pub(crate) fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    pub(crate) fn http_1_0(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// Whether the client closes the connection after this.
    pub(crate) fn closes(&self) -> bool {
        self.headers.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("Connection") && value.eq_ignore_ascii_case("close")
        })
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name))
    }

    /// Request line and headers.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} {}\r\n", self.method, self.target, self.version);
        if !self.has("Host") {
            head.push_str("Host: gateway.example\r\n");
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.chunked {
            if !self.has("Transfer-Encoding") {
                head.push_str("Transfer-Encoding: chunked\r\n");
            }
        } else if !self.has("Content-Length") && (!self.body.is_empty() || self.method == "POST") {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// The body as framed.
    pub(crate) fn framed_body(&self) -> Vec<u8> {
        if !self.chunked {
            return self.body.clone();
        }
        let mut framed = Vec::new();
        // Chunks that no message boundary and no buffer size falls on.
        for chunk in self.body.chunks(701) {
            framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            framed.extend_from_slice(chunk);
            framed.extend_from_slice(b"\r\n");
        }
        framed.extend_from_slice(b"0\r\n\r\n");
        framed
    }
}

/// One answer.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Statuses of interim answers (100) that came before.
    pub(crate) interim: Vec<u16>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.headers, self.text())
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Whether the gateway said that it closes the connection.
    pub(crate) fn closes(&self) -> bool {
        self.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// A connection to a gateway, kept alive as long as both sides want it.
pub(crate) struct Connection<S = TcpStream> {
    stream: BufReader<S>,
}

impl Connection<TcpStream> {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::try_open(address).await.unwrap()
    }

    pub(crate) async fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }
}

impl Connection<UnixStream> {
    pub(crate) async fn open_socket_file(path: &Path) -> Self {
        Self { stream: BufReader::new(UnixStream::connect(path).await.unwrap()) }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Sends the request whole and reads its answer.
    pub(crate) async fn send(&mut self, request: &Request) -> Answer {
        let sent = self.try_send(request).await;
        sent.unwrap_or_else(|error| {
            panic!("no answer to {} {}: {error}", request.method, request.target)
        })
    }

    pub(crate) async fn try_send(&mut self, request: &Request) -> io::Result<Answer> {
        let mut bytes = request.head();
        bytes.extend(request.framed_body());
        // A gateway that has answered and closed is written to in vain; its answer counts.
        let written = self.write(&bytes).await;
        match self.read_answer(request.is_head()).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(written.err().unwrap_or(error)),
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes).await?;
        self.stream.get_mut().flush().await
    }

    /// Reads the next answer. `without_body` after a HEAD, whose answer has a length and no body.
    pub(crate) async fn read_answer(&mut self, without_body: bool) -> io::Result<Answer> {
        let read = self.read_answer_patiently(without_body);
        let timed_out = io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
        tokio::time::timeout(PATIENCE, read).await.unwrap_or(Err(timed_out))
    }

    async fn read_answer_patiently(&mut self, without_body: bool) -> io::Result<Answer> {
        let mut interim = Vec::new();
        loop {
            let (status, headers) = self.read_head().await?;
            let mut answer = Answer { status, headers, body: Vec::new(), interim: Vec::new() };
            if (100..200).contains(&status) {
                interim.push(status);
                continue;
            }
            let length = answer.header("Content-Length").and_then(|value| value.parse().ok());
            let is_chunked = answer.header("Transfer-Encoding") == Some("chunked");
            answer.body = if without_body || status == 204 || status == 304 {
                Vec::new()
            } else if is_chunked {
                self.read_chunks().await?
            } else if let Some(length) = length {
                let mut body = vec![0; length];
                self.stream.read_exact(&mut body).await?;
                body
            } else {
                let mut body = Vec::new();
                self.stream.read_to_end(&mut body).await?;
                body
            };
            answer.interim = interim;
            return Ok(answer);
        }
    }

    async fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    async fn read_head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let malformed = |line: &str| io::Error::other(format!("malformed head: {line}"));
        let line = self.read_line().await?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| malformed(&line))?;
        let mut headers = Vec::new();
        loop {
            let line = self.read_line().await?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(&line))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    async fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line().await?;
            let length = usize::from_str_radix(&line, 16).map_err(io::Error::other)?;
            let start = body.len();
            body.resize(start + length, 0);
            self.stream.read_exact(&mut body[start..]).await?;
            self.read_line().await?;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    /// Reads the leave to send a body.
    pub(crate) async fn expect_continue(&mut self) {
        let head = tokio::time::timeout(PATIENCE, self.read_head()).await;
        assert_eq!(head.expect("no leave to go on").unwrap().0, 100);
    }

    /// Waits until the other side has closed; whatever else it sends is an error.
    pub(crate) async fn expect_closed(&mut self) {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        match read.expect("the connection stays open") {
            Ok(_) => assert_eq!(String::from_utf8_lossy(&rest), ""),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }
}
