//! Keys and tokens are nowhere but in the heads of those who were given them: not in the log, the
//! database, its WAL, a backup, `/metrics` or an answer, whatever is sent, at any log level.
//!
//! `custom_details` are the exception: they are kept verbatim, so a key that a sender puts there is
//! stored there (SECURITY.md says so). No capture has one there.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::json;

use crate::{
    fixtures,
    harness::{KEY, Process, command, database, place},
    http::Request,
};

/// The key of the integration `default` here, unlike any other text.
const SENTINEL: &str = "Q7sentinelKEYx0123456789abcdefZZ";
/// A key that is nobody's: a mistyped one is a secret too.
const UNKNOWN: &str = "Q7unknownKEYxx0123456789abcdefZZ";
const TOKEN: &str = "Q7-sentinel-admin-token-0123456789";
const WRONG_TOKEN: &str = "Q7-wrong-admin-token-0123456789";
const SECRETS: [&str; 4] = [SENTINEL, UNKNOWN, TOKEN, WRONG_TOKEN];

fn assert_no_secret(place: &str, bytes: &[u8]) {
    for secret in SECRETS {
        let found = bytes.windows(secret.len()).position(|window| window == secret.as_bytes());
        if let Some(at) = found {
            let around = &bytes[at.saturating_sub(200)..(at + 200).min(bytes.len())];
            panic!("{secret} is in {place}: {}", String::from_utf8_lossy(around));
        }
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Every way to give a key, right and wrong.
fn requests() -> Vec<Request> {
    let mut requests = Vec::new();
    for key in [SENTINEL, UNKNOWN] {
        requests.extend(fixtures::captures().iter().map(|capture| capture.request_with(KEY, key)));
        let v2 = |key: &str| {
            format!(
                r#"{{"routing_key":"{key}","event_action":"trigger","payload":{{"summary":"s","source":"x","severity":"info"}}}}"#
            )
        };
        let v1 = format!(
            r#"{{"service_key":"{key}","event_type":"trigger","incident_key":"k","description":"d"}}"#
        );
        let change = format!(r#"{{"routing_key":"{key}","payload":{{"summary":"deployed"}}}}"#);
        let keyless = v2("");
        let guance = format!(
            r#"{{"df_status":"error","df_source":"monitor","df_alert_info":"sent to ?integration_key={key}","routing_key":"{key}"}}"#
        );
        let changed = guance.replace("monitor", "audit");
        let escaped: Vec<_> = key.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
        let escaped = escaped.concat();
        let encoded: Vec<_> = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let encoded = encoded.concat();
        let base = "/event/push/alert/pagerduty";
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(v2(key).as_bytes()).unwrap();
        requests.extend([
            Request::post("/v2/enqueue", v2(key)),
            Request::post("/v2/enqueue", v2(&escaped)),
            Request::post("/v2/enqueue", v2(key).replace("routing_key", "routing\\u005fkey")),
            Request::post("/v2/enqueue", encoder.finish().unwrap())
                .header("Content-Encoding", "gzip"),
            Request::post("/v2/enqueue", keyless.as_str()).header("X-Routing-Key", key),
            Request::post(&format!("/v2/enqueue?integration_key={key}"), keyless.as_str()),
            Request::post(&format!("{base}?integration_key={key}"), v2(key)),
            Request::post(&format!("{base}?integration_key={encoded}"), v1.as_str()),
            Request::post(&format!("/integration/{key}/enqueue"), v2(key)),
            Request::post(&format!("/x-ere/{key}"), v1.as_str()),
            Request::post("/generic/2010-04-15/create_event.json", v1.as_str()),
            Request::post("/v2/change/enqueue", change.as_str()),
            Request::post("/event/push/alert/guance", guance.as_str()),
            Request::post("/event/push/alert/guance", changed.as_str()),
            Request::post(
                &format!("/event/push/alert/guance?integration_key={key}"),
                format!("[{guance},{changed},{guance}]"),
            ),
            Request::post("/event/push/alert/guance", format!("[{guance},{{\"x\":\"{key}\"}}]"))
                .header("X-Routing-Key", key),
            // Not accepted, each for another reason.
            Request::post("/v2/enqueue", v2(key).replace("trigger", "explode")),
            Request::post("/v2/enqueue", v2(key).replace("info", "bad")),
            Request::post("/v2/enqueue", v2(&key[1..])),
            Request::post("/v2/enqueue", v2(key).replace('}', "")),
            Request::post("/v2/enqueue", key),
            Request::post("/v2/enqueue", format!("routing_key={key}&event_action=trigger")),
            Request::post("/v2/enqueue", v1.as_str()),
            Request::post(&format!("{base}?integration_key={key}"), "nothing"),
            Request::post(&format!("/x-ere/{key}"), ""),
            Request::post(&format!("/x-ere/{key}"), vec![b' '; 600_000]),
            Request::post(&format!("/x-ere/{key}/more"), v2(key)),
            Request::post(&format!("/{key}"), v2(key)),
            Request::get(&format!("/x-ere/{key}")),
            Request::get(&format!("{base}?integration_key={key}")),
            Request::new(key, "/v2/enqueue"),
            Request::post("/v2/enqueue", v2(key)).header("Content-Encoding", key),
            Request::post("/v2/enqueue", v2(key)).header("Content-Type", key),
            Request::post("/v2/enqueue", keyless.as_str()).bearer(key),
        ]);
    }
    for token in [TOKEN, WRONG_TOKEN] {
        requests.extend([
            Request::get("/api/v1/alerts").bearer(token),
            Request::get("/api/v1/events?limit=500").bearer(token),
            Request::get("/api/v1/tokens").bearer(token),
            Request::get("/api/v1/integrations").bearer(token),
            Request::get("/api/v1/audit").bearer(token),
            Request::get("/api/v1/nothing").bearer(token),
            Request::get(&format!("/api/v1/alerts?token={token}")),
            Request::post("/api/v1/services", "not json").bearer(token),
            Request::get("/metrics").bearer(token),
            Request::get("/livez").header("Authorization", token),
        ]);
    }
    requests
}

#[tokio::test]
async fn keys_and_tokens_are_in_no_log_file_metric_or_answer() {
    let place = place();
    let environment = [
        ("DUTYGATE_DEFAULT_INTEGRATION_KEY", SENTINEL),
        ("DUTYGATE_ADMIN_TOKEN", TOKEN),
        ("DUTYGATE_LOG_LEVEL", "trace"),
        ("DUTYGATE_LOG_FORMAT", "json"),
    ];
    let gateway = Process::start(place.path(), &environment).await;
    let mut accepted = 0;
    for request in requests() {
        let answer = gateway.send(&request).await;
        accepted += u32::from(answer.status == 200 || answer.status == 202);
        // Clients may log what they are answered.
        assert_no_secret(&format!("the answer to {request:?}"), &answer.body);
    }
    assert!(accepted > 40, "only {accepted} were accepted");
    assert_no_secret("/metrics", &gateway.get("/metrics", 200).await.body);

    let backup = place.path().join("backup.db");
    let mut copy = command(place.path(), &environment);
    let copied = copy.arg("backup").arg(&backup).output().unwrap();
    assert!(copied.status.success(), "{copied:?}");
    assert_no_secret("what backup says", &copied.stderr);
    assert_no_secret("the backup", &fs::read(&backup).unwrap());
    let names = ["gateway.db", "gateway.db-wal", "gateway.db-shm", "gateway.db.lock"];
    for path in files(database(place.path()).parent().unwrap()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(names.contains(&name), "{name}");
        assert_no_secret(name, &fs::read(&path).unwrap());
    }
    gateway.signal("HUP");
    gateway.hears("settings reloaded").await;
    let log = gateway.terminate().await;
    assert!(log.lines().count() > 100, "the log holds nothing: {log}");
    assert_no_secret("the log", log.as_bytes());
    assert_no_secret("the closed database", &fs::read(database(place.path())).unwrap());
}

#[tokio::test]
async fn what_is_written_is_for_its_owner_alone() {
    let place = place();
    let gateway = Process::start(place.path(), &[]).await;
    gateway.post("/v2/enqueue", crate::harness::trigger("k", "s").to_string(), 202).await;
    let backup = place.path().join("backup.db");
    let copied = command(place.path(), &[]).arg("backup").arg(&backup).status().unwrap();
    assert!(copied.success());

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let directory = database(place.path()).parent().unwrap().to_owned();
    let mut names = Vec::new();
    for path in files(&directory) {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, ["gateway.db", "gateway.db-shm", "gateway.db-wal", "gateway.db.lock"]);
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&backup), 0o600);
    gateway.terminate().await;
}

#[tokio::test]
async fn a_command_line_shows_no_secret_to_other_users() {
    let place = place();

    for flag in ["--admin-token", "--default-integration-key"] {
        let mut serve = command(place.path(), &[]);
        let output = serve.args(["serve", flag, TOKEN]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flag} is no flag");
    }
}

#[tokio::test]
async fn what_the_api_makes_is_shown_once_and_kept_nowhere() {
    let place = place();
    let settings = [("DUTYGATE_LOG_LEVEL", "trace"), ("DUTYGATE_LOG_FORMAT", "json")];
    let gateway = Process::start(place.path(), &settings).await;
    let integration = json!({"name": "made", "service": "default", "type": "pagerduty"});
    let made = gateway.call("POST", "/integrations", Some(integration), 201).await;
    let path = format!("/integrations/{}", made["id"].as_str().unwrap());
    let overlap = json!({"overlap": "1h"});
    let rotated = gateway.call("POST", &format!("{path}/rotate"), Some(overlap), 200).await;
    let token = json!({"name": "made", "role": "viewer"});
    let token = gateway.call("POST", "/tokens", Some(token), 201).await;
    let secrets = [&made["key"], &rotated["key"], &token["token"]].map(|s| s.as_str().unwrap());
    for key in &secrets[..2] {
        let event = crate::harness::trigger("k", "s").to_string().replace(KEY, key);
        gateway.post(&format!("/x-ere/{key}?integration_key={key}"), event, 202).await;
    }
    gateway.send(&Request::get("/api/v1/alerts").bearer(secrets[2])).await.expect(200);

    let mut texts = Vec::new();
    for list in ["integrations", "tokens", "audit", "events", "alerts", "services"] {
        texts.push((list.to_owned(), gateway.read(&format!("/{list}")).await.to_string()));
    }
    texts.push(("one integration".to_owned(), gateway.read(&path).await.to_string()));
    texts.push(("/metrics".to_owned(), gateway.get("/metrics", 200).await.text()));
    for file in files(database(place.path()).parent().unwrap()) {
        let bytes = fs::read(&file).unwrap();
        texts.push((file.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    texts.push(("the log".to_owned(), gateway.terminate().await));
    for (place, text) in texts {
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} is in {place}");
        }
    }
}
