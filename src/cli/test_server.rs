//! A server for tests: gives prepared answers, one a connection, and returns what it was asked.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

#[derive(Debug)]
pub(super) struct Prepared {
    listener: TcpListener,
    pub url: String,
}

impl Prepared {
    pub(super) async fn bind() -> Self {
        super::client::install_crypto_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self { listener, url }
    }

    /// Gives each answer (its head after `HTTP/1.1 `, and its body) and returns the requests.
    pub(super) async fn answer(self, answers: &[(&str, &str)]) -> Vec<String> {
        let mut requests = Vec::new();
        for (head, body) in answers {
            let (mut stream, _) = self.listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !is_complete(&request) {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "the request was cut");
            }
            requests.push(String::from_utf8(request).unwrap());
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        requests
    }
}

fn is_complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}
