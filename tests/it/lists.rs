//! Lists of the JSON API: filters, pages, words.

use std::collections::BTreeSet;

use serde_json::json;

use crate::{
    harness::{ADMIN, TestGateway, act, trigger, trigger_with},
    http::Request,
};

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The dedup keys in a list, oldest first.
async fn keys(gateway: &TestGateway, path: &str) -> Vec<String> {
    let items = gateway.read_all(path).await;
    items.iter().rev().map(|item| item["dedup_key"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_filter_finds_what_it_names() {
    let gateway = TestGateway::start().await;
    for (key, payload) in [
        ("a", json!({"class": "disk", "group": "db", "component": "mysql", "source": "srv 1"})),
        ("b", json!({"class": "disk", "group": "web", "severity": "critical"})),
        ("c", json!({"class": "net", "group": "db", "custom_details": {"env": "prod"}})),
        ("d&e", json!({"summary": "nothing & everything", "severity": "info"})),
    ] {
        gateway.enqueue(&trigger_with(key, &payload), 202).await;
        gateway.advance("10m").await;
    }
    gateway.enqueue(&act("acknowledge", "b"), 202).await;
    gateway.enqueue(&act("resolve", "c"), 202).await;

    let matcher = |text: &str| format!("match={}", encoded(text));
    for (filter, found) in [
        (String::new(), vec!["a", "b", "c", "d&e"]),
        ("status=triggered".into(), vec!["a", "d&e"]),
        ("status=triggered&status=acknowledged".into(), vec!["a", "b", "d&e"]),
        ("status=resolved".into(), vec!["c"]),
        ("severity=critical&severity=info".into(), vec!["b", "d&e"]),
        ("class=disk".into(), vec!["a", "b"]),
        ("class=disk&group=db".into(), vec!["a"]),
        ("class=disk&class=net&group=db".into(), vec!["a", "c"]),
        ("component=mysql".into(), vec!["a"]),
        ("source=srv+1".into(), vec!["a"]),
        ("dedup_key=d%26e".into(), vec!["d&e"]),
        ("service=default".into(), vec!["a", "b", "c", "d&e"]),
        ("integration=default&severity=error".into(), vec!["a", "c"]),
        ("incident=2".into(), vec!["b"]),
        ("since=2026-11-20T10:10:00Z&until=2026-11-20T10:20:00Z".into(), vec!["b"]),
        ("since=2026-11-20T12:20:00%2B02:00".into(), vec!["c", "d&e"]),
        ("q=everyth".into(), vec!["d&e"]),
        ("suppressed=true".into(), vec![]),
        ("suppressed=false".into(), vec!["a", "b", "c", "d&e"]),
        (matcher(r#"class=~"di.*|net""#), vec!["a", "b", "c"]),
        (matcher(r#"details.env="prod""#), vec!["c"]),
        (format!("{}&{}", matcher("class!=\"net\""), matcher("group=\"db\"")), vec!["a"]),
    ] {
        let alerts = keys(&gateway, &format!("/alerts?{filter}")).await;
        assert_eq!(alerts, found, "{filter}");
        let counted = gateway.read(&format!("/alerts?count=true&limit=1&{filter}")).await;
        assert_eq!(counted["total"], json!(found.len()), "{filter}");
    }
    for (filter, found) in [
        ("action=trigger", vec!["a", "b", "c", "d&e"]),
        ("action=acknowledge&action=resolve", vec!["b", "c"]),
        ("disposition=resolved", vec!["c"]),
        ("api=v1", vec![]),
        ("api=v2&class=net&action=trigger", vec!["c"]),
    ] {
        assert_eq!(keys(&gateway, &format!("/events?{filter}")).await, found, "{filter}");
    }
    let incidents = gateway.read_all("/incidents?status=acknowledged").await;
    assert_eq!(incidents.len(), 1);
    assert_eq!(incidents[0]["number"], 2);
    gateway.drain().await;
}

#[tokio::test]
async fn a_cursor_goes_on_where_it_was_while_rows_are_added() {
    let gateway = TestGateway::start().await;
    let send = async |from: usize, to: usize| {
        for number in from..to {
            gateway.enqueue(&trigger(&format!("k{number:03}"), "disk full"), 202).await;
        }
    };
    send(0, 25).await;

    for list in ["/alerts?", "/events?", "/incidents?", "/alerts?q=disk&", "/events?q=full&"] {
        let mut seen: Vec<String> = Vec::new();
        let mut cursor = String::new();
        let mut first = None;
        loop {
            let page = gateway.read(&format!("{list}limit=7{cursor}")).await;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 7);
            seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            first.get_or_insert(seen.len());
            // Meanwhile others send on.
            let next = 25 + seen.len();
            send(next * 1000, next * 1000 + 3).await;
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(first, Some(7), "{list}");
        let unique: BTreeSet<_> = seen.iter().collect();
        assert_eq!(unique.len(), seen.len(), "{list}: something is shown twice");
        assert!(seen.len() >= 25, "{list}: {} were shown", seen.len());
    }
    gateway.drain().await;
}

#[tokio::test]
async fn what_was_sent_is_found_at_once_by_its_words() {
    let gateway = TestGateway::start().await;
    let find = async |words: &str| keys(&gateway, &format!("/alerts?q={}", encoded(words))).await;

    for number in 0..30 {
        let key = format!("host{number}/mysql");
        let payload = json!({
            "summary": format!("Replication of 数据库{number} is broken"),
            "source": format!("srv{number:02}.example.com"),
            "class": "replication-lag",
        });
        gateway.enqueue(&trigger_with(&key, &payload), 202).await;
        assert_eq!(find(&format!("SRV{number:02} broken")).await, [key]);
    }
    assert_eq!(find("repl lag mysql").await.len(), 30);
    assert_eq!(find("数据库7").await.len(), 1);
    assert_eq!(find("数据").await.len(), 30);
    assert_eq!(find("host29").await, ["host29/mysql"]);
    assert_eq!(find("broken nothing").await.len(), 0);
    assert_eq!(find("eplication").await.len(), 0, "a word is found by its beginning");
    assert_eq!(find("\"' OR 1=1 -- *").await.len(), 0, "no syntax");
    assert_eq!(find("-*\"").await.len(), 0, "no words, nothing found");
    gateway.drain().await;
}

#[tokio::test]
async fn a_resource_that_did_not_change_is_not_sent_again() {
    let gateway = TestGateway::start().await;
    gateway.enqueue(&trigger("k", "s"), 202).await;
    let read = || Request::get("/api/v1/incidents/1").bearer(ADMIN);
    let answer = gateway.send(&read()).await.expect(200);
    let tag = answer.header("ETag").unwrap().to_owned();

    let again = gateway.send(&read().header("If-None-Match", &tag)).await.expect(304);
    assert!(again.body.is_empty());
    gateway.enqueue(&trigger("k", "s"), 202).await;
    gateway.send(&read().header("If-None-Match", &tag)).await.expect(200);
    gateway.drain().await;
}
