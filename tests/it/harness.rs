//! Gateways to test: in this process with a clock that is set, or the binary as a process.
//!
//! Tests use only what users use: HTTP, the command line, signals, files. Method arguments named
//! `status` are what the answer must have.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use dutygate::{
    app::Gateway,
    clock::{Clock as _, ManualClock},
    config::Loaded,
    domain::time::{Span, Timestamp},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Answer, Connection, PATIENCE, Request};

/// Key of the integration `default` of every gateway here; no other key is anybody's.
pub(crate) const KEY: &str = "0123456789abcdef0123456789abcdef";
/// Token with the role admin of every gateway here.
pub(crate) const ADMIN: &str = "admin-token-of-the-tests-5d1c";
/// Where clocks of tests start: 2026-11-20T10:00:00Z.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_795_168_800_000);

/// Polls until there is a value. Only for what happens behind a process boundary or in the
/// background, where nothing can be awaited.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A directory for one gateway's database, removed at the end.
pub(crate) fn place() -> TempDir {
    tempfile::Builder::new().prefix("dutygate-it-").tempdir().unwrap()
}

/// Talks to a gateway at an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
}

impl Client {
    /// Sends over a connection of its own.
    pub(crate) async fn send(&self, request: &Request) -> Answer {
        Connection::open(self.address).await.send(request).await
    }

    pub(crate) async fn get(&self, target: &str, status: u16) -> Answer {
        self.send(&Request::get(target)).await.expect(status)
    }

    /// Posts a body as emitters do.
    pub(crate) async fn post(&self, target: &str, body: impl Into<Vec<u8>>, status: u16) -> Answer {
        self.send(&Request::post(target, body)).await.expect(status)
    }

    /// Sends an event of V2 to the integration `default`.
    pub(crate) async fn enqueue(&self, event: &Value, status: u16) -> Answer {
        self.post("/v2/enqueue", event.to_string(), status).await
    }

    /// Calls the JSON API as admin; an empty answer is null.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        status: u16,
    ) -> Value {
        let mut request = Request::new(method, &format!("/api/v1{path}")).bearer(ADMIN);
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        let answer = self.send(&request).await.expect(status);
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    pub(crate) async fn read(&self, path: &str) -> Value {
        self.call("GET", path, None, 200).await
    }

    /// Everything in a list, page after page.
    pub(crate) async fn read_all(&self, path: &str) -> Vec<Value> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.read(&format!("{path}{separator}limit=500{cursor}")).await;
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        Metrics::parse(&self.get("/metrics", 200).await.text())
    }
}

/// What `/metrics` said.
#[derive(Debug)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    pub(crate) fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let split = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        };
        Self(samples.map(|line| split(line).unwrap_or_else(|| panic!("{line}"))).collect())
    }

    /// The value of a series as written: `name{label="value"}`; zero if there is none.
    pub(crate) fn value(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn expect(&self, series: &str, value: u32) {
        let (found, wanted) = (self.value(series), f64::from(value));
        assert!(
            (found - wanted).abs() < f64::EPSILON,
            "{series} is {found}, not {wanted}: {self:#?}"
        );
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// A gateway in this process.
pub(crate) struct TestGateway {
    pub(crate) client: Client,
    pub(crate) clock: Arc<ManualClock>,
    gateway: Gateway,
    place: TempDir,
}

impl std::ops::Deref for TestGateway {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl TestGateway {
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// With more settings, as lines of YAML.
    pub(crate) async fn with(yaml: &str) -> Self {
        Self::open(place(), yaml).await
    }

    async fn open(place: TempDir, yaml: &str) -> Self {
        let database = database_url(place.path());
        let environment = [
            ("DUTYGATE_LISTEN", "127.0.0.1:0"),
            ("DUTYGATE_DATABASE_URL", database.as_str()),
            ("DUTYGATE_DEFAULT_INTEGRATION_KEY", KEY),
            ("DUTYGATE_ADMIN_TOKEN", ADMIN),
        ];
        let loaded = Loaded::from_texts(yaml, environment, []).unwrap();
        let clock = Arc::new(ManualClock::new(START));
        let gateway = Gateway::start(&loaded.settings, Arc::clone(&clock) as _).await.unwrap();
        let client = Client { address: gateway.bound.addresses[0] };
        Self { client, clock, gateway, place }
    }

    pub(crate) fn database(&self) -> PathBuf {
        database(self.place.path())
    }

    /// Moves the clock and lets everything that is due take effect.
    pub(crate) async fn advance(&self, span: &str) {
        self.clock.advance(Span::parse(span).unwrap());
        while self.gateway.api.ingest.tick(self.clock.now()).await.unwrap() > 0 {}
    }

    /// Sets how the service `default` treats its alerts.
    pub(crate) async fn policy(&self, policy: Value) {
        let services = self.read("/services").await;
        let is_default = |service: &&Value| service["name"] == "default";
        let service = services["items"].as_array().unwrap().iter().find(is_default).unwrap();
        let path = format!("/services/{}", service["id"].as_str().unwrap());
        let mut service = policy;
        service["name"] = json!("default");
        self.call("PUT", &path, Some(service), 200).await;
    }

    /// Stops as on SIGTERM and gives the database's directory back.
    pub(crate) async fn drain(self) -> TempDir {
        self.gateway.tasks.drain();
        self.gateway.until_stopped().await.unwrap();
        self.place
    }

    /// Stops and starts again on the same database, at the same time of day.
    pub(crate) async fn restart(self) -> Self {
        let now = self.clock.now();
        let restarted = Self::open(self.drain().await, "").await;
        restarted.clock.set(now);
        restarted
    }
}

pub(crate) fn database(place: &Path) -> PathBuf {
    place.join("data").join("gateway.db")
}

fn database_url(place: &Path) -> String {
    format!("sqlite://{}", database(place).display())
}

/// Settings in the environment of a process.
pub(crate) type Environment<'a> = &'a [(&'a str, &'a str)];

/// A command of the binary with the usual settings of a test and no others.
pub(crate) fn command(place: &Path, environment: Environment<'_>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dutygate"));
    set_up(&mut command, place, environment);
    command
}

fn set_up(command: &mut Command, place: &Path, environment: Environment<'_>) {
    command
        .env_clear()
        .current_dir(place)
        .env("DUTYGATE_LISTEN", "127.0.0.1:0")
        .env("DUTYGATE_DATABASE_URL", database_url(place))
        .env("DUTYGATE_DEFAULT_INTEGRATION_KEY", KEY)
        .env("DUTYGATE_ADMIN_TOKEN", ADMIN)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    for (name, value) in environment {
        if value.is_empty() {
            command.env_remove(name);
        } else {
            command.env(name, value);
        }
    }
}

/// Runs a command that must fail; what it said.
pub(crate) async fn fails(mut command: Command) -> String {
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = tokio::time::timeout(PATIENCE, run).await.expect("it goes on running").unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

/// What a process has written to stderr so far.
#[derive(Debug, Default)]
struct Said {
    text: String,
    ended: bool,
}

/// The binary, running.
pub(crate) struct Process {
    pub(crate) client: Client,
    child: Child,
    said: Arc<(Mutex<Said>, Condvar)>,
}

impl std::ops::Deref for Process {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Process {
    /// Starts it on the database in `place` and waits until it listens.
    pub(crate) async fn start(place: &Path, environment: Environment<'_>) -> Self {
        Self::run(command(place, environment)).await
    }

    /// As [`Process::start`], through a shell command that has to `exec "$0"`.
    pub(crate) async fn start_in_shell(
        place: &Path,
        script: &str,
        environment: Environment<'_>,
    ) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_dutygate")]);
        set_up(&mut command, place, environment);
        Self::run(command).await
    }

    async fn run(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let said = Arc::new((Mutex::new(Said::default()), Condvar::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            let mut stderr = BufReader::new(stderr);
            let mut line = String::new();
            while stderr.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                heard.0.lock().unwrap().text.push_str(&line);
                heard.1.notify_all();
                line.clear();
            }
            heard.0.lock().unwrap().ended = true;
            heard.1.notify_all();
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut process = Self { client: Client { address }, child, said };
        // The last line of what is announced; by then it listens.
        process.hears("  database ").await;
        let log = process.log();
        let listening = log.lines().find_map(|line| line.split_once("listening on   "));
        let (_, shown) = listening.unwrap_or_else(|| panic!("{log}"));
        if let Some((_, address)) = shown.split_once("://") {
            process.client.address = address.parse().unwrap();
        }
        process
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything on stderr so far.
    pub(crate) fn log(&self) -> String {
        self.said.0.lock().unwrap().text.clone()
    }

    /// Waits until stderr has `text` in it.
    pub(crate) async fn hears(&self, text: &str) {
        let (said, text) = (Arc::clone(&self.said), text.to_owned());
        let waiting = tokio::task::spawn_blocking(move || {
            let heard = |said: &mut Said| !said.text.contains(&text) && !said.ended;
            let guard = said.0.lock().unwrap();
            let (said, _) = said.1.wait_timeout_while(guard, PATIENCE, heard).unwrap();
            assert!(said.text.contains(&text), "never said {text:?}, but: {}", said.text);
        });
        waiting.await.unwrap();
    }

    /// Kills it as a power cut does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Waits for its end; what it said and how it ended.
    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        let ending = eventually("the process ends", async || self.child.try_wait().unwrap());
        let Ok(status) = tokio::time::timeout(PATIENCE / 2, ending).await else {
            panic!("it does not end: {}", self.log());
        };
        let said = Arc::clone(&self.said);
        let log = tokio::task::spawn_blocking(move || {
            let guard = said.0.lock().unwrap();
            said.1.wait_while(guard, |said| !said.ended).unwrap().text.clone()
        });
        (status, log.await.unwrap())
    }

    /// Ends it as an operator does; it must end well.
    pub(crate) async fn terminate(self) -> String {
        self.signal("TERM");
        let (status, log) = self.ended().await;
        assert!(status.success(), "{status}: {log}");
        log
    }
}

/// A trigger of V2 for the integration `default`.
pub(crate) fn trigger(dedup_key: &str, summary: &str) -> Value {
    json!({
        "routing_key": KEY,
        "event_action": "trigger",
        "dedup_key": dedup_key,
        "payload": {"summary": summary, "source": "srv01", "severity": "error"},
    })
}

/// A trigger with more members in its payload.
pub(crate) fn trigger_with(dedup_key: &str, payload: &Value) -> Value {
    let mut event = trigger(dedup_key, dedup_key);
    for (name, value) in payload.as_object().unwrap() {
        event["payload"][name] = value.clone();
    }
    event
}

/// `acknowledge` or `resolve`.
pub(crate) fn act(action: &str, dedup_key: &str) -> Value {
    json!({"routing_key": KEY, "event_action": action, "dedup_key": dedup_key})
}
