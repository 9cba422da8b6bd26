//! When the disk says no: senders are told to come back, and it goes on by itself.

use std::fs;

use rlimit::Resource;

use crate::{
    harness::{Process, command, database, eventually, fails, place, trigger},
    http::Request,
    sql,
};

/// Lets the process write no byte more to any file, or as much as it likes again. To the process
/// it is a full disk: every write fails, with EFBIG for ENOSPC, which SQLite treats alike but for
/// its name.
fn set_disk_full(gateway: &Process, full: bool) {
    let process = gateway.id().try_into().unwrap();
    let limit = if full { 0 } else { rlimit::INFINITY };
    let both = Some((limit, rlimit::INFINITY));
    rlimit::prlimit(process, Resource::FSIZE, both, None).unwrap();
}

async fn assert_refused(gateway: &Process, dedup_key: &str) {
    let answer = gateway.enqueue(&trigger(dedup_key, "s"), 503).await;
    assert_eq!(answer.header("Retry-After"), Some("1"), "{answer:?}");
    let expected =
        r#"{"status":"unavailable","message":"The event was not stored. Please retry later."}"#;
    assert_eq!(answer.text(), expected);
}

async fn ready_again(gateway: &Process) {
    eventually("it is ready again", async || {
        let answer = gateway.send(&Request::get("/readyz")).await;
        (answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_turns_senders_away_until_there_is_room() {
    let place = place();
    // A write beyond the limit is an error, not the end of the process.
    let script = r#"trap '' XFSZ; exec "$0" serve"#;
    let gateway = Process::start_in_shell(place.path(), script, &[]).await;
    gateway.enqueue(&trigger("before", "s"), 202).await;

    for round in 0..2 {
        set_disk_full(&gateway, true);
        for number in 0..5 {
            assert_refused(&gateway, &format!("refused-{round}-{number}")).await;
        }
        let answer = gateway.get("/readyz", 503).await;
        assert_eq!(answer.json()["reason"], "the database cannot be written");
        gateway.get("/livez", 200).await;
        gateway.metrics().await.expect("dutygate_database_writable", 0);
        gateway.hears("the database cannot be written").await;

        set_disk_full(&gateway, false);
        ready_again(&gateway).await;
        gateway.hears("the database can be written again").await;
        gateway.metrics().await.expect("dutygate_database_writable", 1);
        gateway.enqueue(&trigger(&format!("after-{round}"), "s"), 202).await;
    }

    gateway.terminate().await;
    let file = database(place.path());
    let keys = sql::texts(&file, "SELECT dedup_key FROM events ORDER BY seq").await;
    assert_eq!(keys, ["before", "after-0", "after-1"]);
    sql::assert_sound(&file).await;
}

#[tokio::test]
async fn a_deleted_database_is_noticed_and_one_put_back_is_used() {
    let place = place();
    let gateway = Process::start(place.path(), &[]).await;
    gateway.enqueue(&trigger("before", "s"), 202).await;
    let file = database(place.path());
    let away = file.with_extension("away");

    fs::rename(&file, &away).unwrap();
    assert_refused(&gateway, "refused").await;
    gateway.get("/readyz", 503).await;
    assert!(!file.exists(), "it must not begin an empty one");

    fs::rename(&away, &file).unwrap();
    ready_again(&gateway).await;
    gateway.enqueue(&trigger("after", "s"), 202).await;
    gateway.terminate().await;
    let keys = sql::texts(&file, "SELECT dedup_key FROM events ORDER BY seq").await;
    assert_eq!(keys, ["before", "after"]);
    sql::assert_sound(&file).await;
}

#[tokio::test]
async fn without_its_database_it_still_ends_when_asked() {
    let place = place();
    let gateway = Process::start(place.path(), &[]).await;
    gateway.enqueue(&trigger("k", "s"), 202).await;
    fs::remove_dir_all(database(place.path()).parent().unwrap()).unwrap();
    assert_refused(&gateway, "k").await;

    gateway.terminate().await;
}

#[tokio::test]
async fn a_backup_of_a_busy_gateway_is_one_sound_state_and_can_be_restored() {
    let place = place();
    let gateway = Process::start(place.path(), &[]).await;
    for number in 0..100 {
        gateway.enqueue(&trigger(&format!("k{}", number % 7), "s"), 202).await;
    }
    let backup = place.path().join("backup.db");
    assert!(command(place.path(), &[]).arg("backup").arg(&backup).status().unwrap().success());
    gateway.enqueue(&trigger("later", "s"), 202).await;
    let mut again = command(place.path(), &[]);
    again.arg("backup").arg(&backup);
    assert!(fails(again).await.contains("exists already"));
    gateway.kill();

    sql::assert_sound(&backup).await;
    let data = database(place.path());
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(format!("{}{suffix}", data.display())).ok();
    }
    fs::copy(&backup, &data).unwrap();
    let gateway = Process::start(place.path(), &[]).await;
    gateway.enqueue(&trigger("k1", "s"), 202).await;
    gateway.terminate().await;
    let counts = sql::texts(&data, "SELECT '' || count(*) FROM events").await;
    assert_eq!(counts, ["101"]);
    sql::assert_sound(&data).await;
}
