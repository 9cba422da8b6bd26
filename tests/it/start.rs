//! How a gateway starts: the first time, again, and when it must not.

use std::fs;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    harness::{ADMIN, KEY, Process, command, database, fails, place, trigger},
    http::{Answer, Request},
    sql,
};

/// As an operator without any settings has it: the gateway makes the key and the token.
const NO_SECRETS: [(&str, &str); 2] =
    [("DUTYGATE_DEFAULT_INTEGRATION_KEY", ""), ("DUTYGATE_ADMIN_TOKEN", "")];

async fn alerts(gateway: &Process, token: &str) -> Answer {
    gateway.send(&Request::get("/api/v1/alerts").bearer(token)).await
}

fn shown<'a>(log: &'a str, before: &str) -> Option<&'a str> {
    let (_, rest) = log.split_once(before)?;
    Some(rest.split_whitespace().next().unwrap())
}

#[tokio::test]
async fn the_first_start_shows_where_to_send_and_the_token_this_once() {
    let place = place();
    let gateway = Process::start(place.path(), &NO_SECRETS).await;
    gateway.hears("shown this once").await;
    let log = gateway.log();

    assert!(log.contains("(new database)"), "{log}");
    assert!(log.contains(database(place.path()).to_str().unwrap()), "{log}");
    let key = shown(&log, "?integration_key=").unwrap_or_else(|| panic!("{log}"));
    let token = shown(&log, "  admin token ").unwrap_or_else(|| panic!("{log}"));
    assert!(key.len() == 32 && key.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()));
    assert!(token.starts_with("dg_") && token.len() > 60, "{token}");
    let target = format!("/event/push/alert/pagerduty?integration_key={key}");
    gateway.post(&target, trigger("k", "s").to_string(), 202).await;
    alerts(&gateway, token).await.expect(200);
    gateway.terminate().await;

    let gateway = Process::start(place.path(), &NO_SECRETS).await;
    gateway.post(&target, trigger("k", "s").to_string(), 202).await;
    let log_of_second = gateway.terminate().await;
    assert!(!log_of_second.contains("new database"), "{log_of_second}");
    assert_eq!(shown(&log_of_second, "?integration_key="), None, "{log_of_second}");
    assert_eq!(shown(&log_of_second, "  admin token "), None, "{log_of_second}");
}

#[tokio::test]
async fn lost_output_of_the_first_start_locks_nobody_out() {
    let place = place();
    Process::start(place.path(), &NO_SECRETS).await.terminate().await;

    // The harness sets a key and a token of its own.
    let gateway = Process::start(place.path(), &[]).await;

    gateway.enqueue(&trigger("k", "s"), 202).await;
    alerts(&gateway, ADMIN).await.expect(200);
    alerts(&gateway, "another-token-of-16-characters").await.expect(401);
    let log = gateway.terminate().await;
    assert!(log.contains("made an admin token"), "{log}");
    assert!(!log.contains(ADMIN) && !log.contains(KEY), "{log}");

    let gateway = Process::start(place.path(), &[]).await;
    alerts(&gateway, ADMIN).await.expect(200);
    let log = gateway.terminate().await;
    assert!(!log.contains("made an admin token"), "{log}");
}

#[tokio::test]
async fn a_new_default_key_leaves_the_old_one_a_day() {
    let place = place();
    Process::start(place.path(), &[]).await.terminate().await;
    let other = "fedcba9876543210fedcba9876543210";

    let gateway =
        Process::start(place.path(), &[("DUTYGATE_DEFAULT_INTEGRATION_KEY", other)]).await;

    gateway.enqueue(&trigger("k", "s"), 202).await;
    gateway.post("/v2/enqueue", trigger("k", "s").to_string().replace(KEY, other), 202).await;
    gateway.terminate().await;
}

#[tokio::test]
async fn a_default_key_that_is_named_again_takes_its_place_back() {
    let place = place();
    let other = [("DUTYGATE_DEFAULT_INTEGRATION_KEY", "fedcba9876543210fedcba9876543210")];
    for environment in [&[][..], &other[..], &[][..]] {
        Process::start(place.path(), environment).await.terminate().await;
    }

    let lasting = "SELECT lower(hex(key_sha256)) FROM integration_keys k JOIN integrations i \
                   ON i.seq = k.integration_seq WHERE i.name = 'default' AND expires_at_ms IS NULL";
    let lasting = sql::texts(&database(place.path()), lasting).await;

    let hash: Vec<String> = Sha256::digest(KEY).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(lasting, [hash.concat()]);
}

#[tokio::test]
async fn a_second_gateway_on_the_same_database_is_refused() {
    let place = place();
    let gateway = Process::start(place.path(), &[]).await;

    let said = fails(command(place.path(), &[])).await;

    assert!(said.contains("another dutygate is running on the database"), "{said}");
    assert!(said.contains("gateway.db"), "{said}");
    gateway.enqueue(&trigger("k", "s"), 202).await;
    gateway.terminate().await;
    // The lock goes with the process, not with its file.
    assert!(place.path().join("data/gateway.db.lock").exists());
    Process::start(place.path(), &[]).await.terminate().await;
}

#[tokio::test]
async fn a_port_in_use_is_said_clearly() {
    let place = place();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();

    let said = fails(command(place.path(), &[("DUTYGATE_LISTEN", &listen)])).await;

    assert!(said.contains(&format!("cannot listen on {listen}")), "{said}");
    assert!(said.contains("another program is listening there"), "{said}");
}

#[tokio::test]
async fn a_first_start_that_fails_does_not_use_up_what_is_shown_once() {
    let place = place();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let mut in_use = NO_SECRETS.to_vec();
    in_use.push(("DUTYGATE_LISTEN", &listen));
    let said = fails(command(place.path(), &in_use)).await;
    assert!(said.contains("another program is listening there"), "{said}");

    let gateway = Process::start(place.path(), &NO_SECRETS).await;

    gateway.hears("shown this once").await;
    let log = gateway.log();
    let token = shown(&log, "  admin token ").unwrap_or_else(|| panic!("{log}"));
    alerts(&gateway, token).await.expect(200);
    gateway.terminate().await;
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let place = place();
    Process::start(place.path(), &[]).await.terminate().await;
    sql::run(
        &database(place.path()),
        "INSERT INTO _sqlx_migrations \
         (version, description, installed_on, success, checksum, execution_time) \
         VALUES (9999, 'of the future', '2030-01-01', TRUE, x'00', 0)",
    )
    .await;

    let said = fails(command(place.path(), &[])).await;

    assert!(said.contains("was written by a newer dutygate"), "{said}");
    assert!(said.contains("9999"), "{said}");
}

#[tokio::test]
async fn a_damaged_database_is_refused_with_what_to_do() {
    let place = place();
    let gateway = Process::start(place.path(), &[]).await;
    for number in 0..50 {
        gateway.enqueue(&trigger(&format!("k{number}"), "s"), 202).await;
    }
    gateway.terminate().await;
    let file = database(place.path());
    let whole = fs::read(&file).unwrap();
    let mut damaged = whole.clone();
    damaged[100..4096].fill(0x5a);
    fs::write(&file, damaged).unwrap();

    let said = fails(command(place.path(), &[])).await;

    assert!(said.contains("is damaged"), "{said}");
    assert!(said.contains("restore"), "{said}");
    fs::write(&file, whole).unwrap();
    Process::start(place.path(), &[]).await.terminate().await;
}

#[tokio::test]
async fn what_is_not_our_database_is_left_alone() {
    let place = place();
    let file = database(place.path());
    fs::create_dir(file.parent().unwrap()).unwrap();

    let letter = "Dear diary, this is not a database. ".repeat(100);
    fs::write(&file, &letter).unwrap();
    let said = fails(command(place.path(), &[])).await;
    assert!(said.contains("is not a SQLite database"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), letter);

    fs::write(&file, "").unwrap();
    sql::run(&file, "CREATE TABLE recipes (name TEXT); INSERT INTO recipes VALUES ('soup')").await;
    let said = fails(command(place.path(), &[])).await;
    assert!(said.contains("is a database of another program"), "{said}");
    assert_eq!(sql::texts(&file, "SELECT name FROM recipes").await, ["soup"]);
    assert_eq!(sql::texts(&file, "SELECT name FROM sqlite_schema").await, ["recipes"]);
    assert_eq!(sql::texts(&file, "PRAGMA journal_mode").await, ["delete"], "{said}");
}

#[tokio::test]
async fn an_empty_file_becomes_a_database() {
    let place = place();
    let file = database(place.path());
    fs::create_dir(file.parent().unwrap()).unwrap();
    fs::write(&file, "").unwrap();

    let gateway = Process::start(place.path(), &[]).await;

    gateway.enqueue(&trigger("k", "s"), 202).await;
    gateway.terminate().await;
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_said_clearly() {
    let place = place();
    fs::write(place.path().join("file"), "").unwrap();
    let below_a_file = format!("sqlite://{}/file/data/gateway.db", place.path().display());
    let a_directory = format!("sqlite://{}", place.path().display());
    // Not even root can write there.
    let nowhere = "sqlite:///proc/dutygate/gateway.db";

    for (url, hint) in [
        (below_a_file.as_str(), "cannot create the directory"),
        (nowhere, "cannot create the directory"),
        (&a_directory, "cannot open the database"),
    ] {
        let said = fails(command(place.path(), &[("DUTYGATE_DATABASE_URL", url)])).await;
        assert!(said.contains(hint), "{url}: {said}");
    }
}

#[tokio::test]
async fn every_wrong_setting_is_said_at_once() {
    let place = place();
    let wrong = [
        ("DUTYGATE_LISTEN", "nowhere"),
        ("DUTYGATE_LIMITS_BODY_BYTES", "many"),
        ("DUTYGATE_TLS_CERT", "/nonexistent/cert.pem"),
    ];

    let said = fails(command(place.path(), &wrong)).await;

    for name in ["DUTYGATE_LISTEN", "DUTYGATE_LIMITS_BODY_BYTES", "tls.key"] {
        assert!(said.contains(name), "{name}: {said}");
    }
    assert!(!database(place.path()).exists());
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart() {
    let place = place();
    let gateway = Process::start(place.path(), &[]).await;
    gateway.enqueue(&trigger("k", "before"), 202).await;
    gateway.terminate().await;

    let gateway = Process::start(place.path(), &[]).await;
    gateway.enqueue(&trigger("k", "after"), 202).await;

    let alerts = gateway.read("/alerts?count=true").await;
    assert_eq!(alerts["total"], json!(1), "{alerts}");
    assert_eq!(alerts["items"][0]["event_count"], json!(2), "{alerts}");
    assert_eq!(alerts["items"][0]["summary"], json!("after"), "{alerts}");
    gateway.terminate().await;
}
