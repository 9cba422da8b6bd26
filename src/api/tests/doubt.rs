//! A commit whose outcome is not known: it failed for who asked, and what it wrote is there.

use serde_json::Value;
use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};

use super::{Gateway, KEY};

#[actix_web::test]
async fn numbers_that_such_a_commit_used_are_not_used_again() {
    let gateway = Gateway::start().await;
    gateway.trigger(KEY, "before", "disk").await;
    let file = gateway.directory.path().join("dutygate.db");
    let options = SqliteConnectOptions::new().filename(file);
    let mut behind_its_back = options.connect().await.unwrap();
    sqlx::query(
        "INSERT INTO timeline (seq, id, at_ms, kind, actor, reason) \
         SELECT max(seq) + 1, zeroblob(16), 0, 'note', 'test', 'test' FROM timeline",
    )
    .execute(&mut behind_its_back)
    .await
    .unwrap();

    let refused = gateway.trigger(KEY, "after", "disk").await;
    let accepted = gateway.trigger(KEY, "after", "disk").await;

    assert_eq!(refused.status, 503, "{}", refused.text);
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let alerts: Value = gateway.get("/alerts").await.json();
    assert_eq!(alerts["items"].as_array().unwrap().len(), 2, "{alerts}");
}
