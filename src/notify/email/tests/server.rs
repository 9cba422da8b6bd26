//! A scripted mail server: it answers each command as a test says, also not at all.
//!
//! It has threads of its own, so that a test may stop the clock of its runtime.

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::sync::Notify;

/// What the server does with a command.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Say(&'static str),
    /// Closes the connection without a word.
    Close,
    /// Never answers.
    Hang,
}

/// What came in.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// `!` before what came over TLS.
    pub(super) commands: Vec<String>,
    /// The text of a mail, without the dot at its end.
    pub(super) mails: Vec<String>,
}

type Script = dyn Fn(&str) -> Option<Reply> + Send + Sync;

/// A server on a free port of 127.0.0.1.
pub(super) struct Server {
    pub(super) port: u16,
    seen: Arc<Mutex<Seen>>,
    /// Notified when a `Hang` begins.
    pub(super) hangs: Arc<Notify>,
}

struct Shared {
    seen: Arc<Mutex<Seen>>,
    hangs: Arc<Notify>,
    script: Box<Script>,
    tls: Arc<ServerConfig>,
    implicit: bool,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Server {
    /// `script` answers a command, `connect` and `.` (the end of a mail) too; what it leaves out is
    /// answered as by any server without extensions.
    pub(super) fn start(script: impl Fn(&str) -> Option<Reply> + Send + Sync + 'static) -> Self {
        Self::listen(script, false)
    }

    /// One that speaks TLS from the first byte, with a certificate of its own making.
    pub(super) fn start_tls() -> Self {
        Self::listen(|_| None, true)
    }

    fn listen(
        script: impl Fn(&str) -> Option<Reply> + Send + Sync + 'static,
        implicit: bool,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let hangs = Arc::new(Notify::new());
        let shared = Arc::new(Shared {
            seen: Arc::clone(&seen),
            hangs: Arc::clone(&hangs),
            script: Box::new(script),
            tls: Arc::new(certificate()),
            implicit,
        });
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self { port, seen, hangs }
    }

    pub(super) fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

fn certificate() -> ServerConfig {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap()
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        let mut encrypted = self.implicit;
        let mut stream: BufReader<Box<dyn Stream>> = if encrypted {
            BufReader::new(self.encrypted(stream))
        } else {
            // Both ends of one connection: the plain one is needed again for STARTTLS.
            let plain = stream.try_clone().unwrap();
            let mut reader: BufReader<Box<dyn Stream>> = BufReader::new(Box::new(plain));
            if !self.answer("connect", false, &mut reader) {
                return;
            }
            if self.talk(&mut reader, false) {
                encrypted = true;
                BufReader::new(self.encrypted(stream))
            } else {
                return;
            }
        };
        if self.implicit && !self.answer("connect", false, &mut stream) {
            return;
        }
        self.talk(&mut stream, encrypted);
    }

    fn encrypted(&self, stream: TcpStream) -> Box<dyn Stream> {
        let connection = ServerConnection::new(Arc::clone(&self.tls)).unwrap();
        Box::new(StreamOwned::new(connection, stream))
    }

    /// Until the end; `true`: TLS is to begin.
    fn talk(&self, stream: &mut BufReader<Box<dyn Stream>>, encrypted: bool) -> bool {
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return false;
            }
            let command = line.trim_end();
            let mark = if encrypted { "!" } else { "" };
            self.seen.lock().unwrap().commands.push(format!("{mark}{command}"));
            if !self.answer(command, encrypted, stream) {
                return false;
            }
            match command {
                "STARTTLS" => return true,
                "DATA" if !self.read_mail(stream) || !self.answer(".", encrypted, stream) => {
                    return false;
                }
                _ => {}
            }
        }
    }

    fn read_mail(&self, stream: &mut BufReader<Box<dyn Stream>>) -> bool {
        let mut mail = String::new();
        while !mail.ends_with("\r\n.\r\n") {
            if stream.read_line(&mut mail).unwrap_or(0) == 0 {
                return false;
            }
        }
        mail.truncate(mail.len() - 3);
        self.seen.lock().unwrap().mails.push(mail);
        true
    }

    /// Whether the dialogue goes on.
    fn answer(
        &self,
        command: &str,
        encrypted: bool,
        stream: &mut BufReader<Box<dyn Stream>>,
    ) -> bool {
        let verb = command.split(' ').next().unwrap_or_default();
        let usual = match verb {
            "connect" => "220 mail.test ESMTP",
            "EHLO" => "250 mail.test",
            "STARTTLS" => "220 go ahead",
            "AUTH" => "235 2.7.0 welcome",
            "DATA" => "354 go ahead",
            "." => "250 2.0.0 Ok: queued as 4711",
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        // Nobody offers it twice.
        let script = (self.script)(command).filter(|_| !(encrypted && verb == "EHLO"));
        match script.unwrap_or(Reply::Say(usual)) {
            Reply::Say(text) => {
                let ok = stream.get_mut().write_all(format!("{text}\r\n").as_bytes()).is_ok();
                ok && stream.get_mut().flush().is_ok() && verb != "QUIT" && goes_on(verb, text)
            }
            Reply::Close => false,
            Reply::Hang => {
                self.hangs.notify_one();
                loop {
                    thread::park();
                }
            }
        }
    }
}

/// A refused `DATA` or `STARTTLS` is followed by the next command and not by what they announce.
fn goes_on(verb: &str, text: &str) -> bool {
    !(matches!(verb, "DATA" | "STARTTLS") && text.starts_with(['4', '5']))
}
