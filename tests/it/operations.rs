//! What those who run a gateway look at: health, metrics, request ids, limits.

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use serde_json::{Value, json};

use crate::{
    harness::{KEY, Process, TestGateway, act, command, place, trigger, trigger_with},
    http::{Connection, Request},
    sql,
};

fn received(api: &str, action: &str, result: &str) -> String {
    format!(
        r#"dutygate_events_received_total{{action="{action}",api="{api}",integration="default",result="{result}"}}"#
    )
}

fn rejected(api: &str, reason: &str) -> String {
    format!(r#"dutygate_events_rejected_total{{api="{api}",reason="{reason}"}}"#)
}

fn open_alerts(severity: &str) -> String {
    format!(r#"dutygate_alerts_open{{service="default",severity="{severity}"}}"#)
}

fn open_incidents(status: &str) -> String {
    format!(r#"dutygate_incidents_open{{service="default",status="{status}"}}"#)
}

#[tokio::test]
async fn a_gateway_is_alive_ready_and_says_so_to_healthcheck() {
    let place = place();
    let gateway = Process::start(place.path(), &[]).await;

    assert_eq!(gateway.get("/livez", 200).await.json()["status"], "alive");
    assert_eq!(gateway.get("/readyz", 200).await.json()["status"], "ready");
    for path in ["/livez", "/readyz", "/livez/"] {
        gateway.send(&Request::new("HEAD", path)).await.expect(200);
    }
    let url = format!("http://{}", gateway.address);
    let asked = command(place.path(), &[("DUTYGATE_URL", &url)]).arg("healthcheck").status();
    assert!(asked.unwrap().success());
    gateway.terminate().await;

    let asked = command(place.path(), &[("DUTYGATE_URL", &url)]).arg("healthcheck").status();
    assert_eq!(asked.unwrap().code(), Some(1));
}

#[tokio::test]
async fn metrics_count_what_was_received() {
    let gateway = TestGateway::start().await;
    let v1 = json!({"service_key": KEY, "event_type": "trigger", "description": "d"});
    let change = json!({"routing_key": KEY, "payload": {"summary": "deployed"}});

    for event in [
        trigger("k", "s"),
        trigger("k", "s"),
        act("acknowledge", "k"),
        act("acknowledge", "k"),
        act("acknowledge", "nobody's"),
        act("resolve", "k"),
        act("resolve", "k"),
        trigger("k", "s"),
    ] {
        gateway.enqueue(&event, 202).await;
    }
    gateway.post("/generic/2010-04-15/create_event.json", v1.to_string(), 200).await;
    gateway.post("/v2/change/enqueue", change.to_string(), 202).await;

    let metrics = gateway.metrics().await;
    metrics.expect(&received("v2", "trigger", "opened"), 2);
    metrics.expect(&received("v2", "trigger", "merged"), 1);
    metrics.expect(&received("v2", "acknowledge", "acknowledged"), 1);
    metrics.expect(&received("v2", "acknowledge", "ignored"), 2);
    metrics.expect(&received("v2", "resolve", "resolved"), 1);
    metrics.expect(&received("v2", "resolve", "ignored"), 1);
    metrics.expect(&received("v1", "trigger", "opened"), 1);
    metrics.expect(&received("change", "change", "stored"), 1);
    metrics.expect("dutygate_event_commit_duration_seconds_count", 10);
    let answered =
        r#"dutygate_http_requests_total{method="POST",route="/v2/enqueue",status="202"}"#;
    metrics.expect(answered, 8);
    metrics.expect("dutygate_database_writable", 1);
    assert!(metrics.value("dutygate_database_size_bytes") > 4096.0);
    assert!(metrics.value("process_resident_memory_bytes") > 0.0);
    gateway.drain().await;
}

#[tokio::test]
async fn metrics_count_what_was_rejected_and_why() {
    let gateway = TestGateway::with("limits: {events_per_minute: 1}").await;
    let with_key = |key: &str| trigger("k", "s").to_string().replace(KEY, key);
    gateway.enqueue(&trigger("k", "s"), 202).await;

    gateway.enqueue(&trigger("k", "s"), 429).await;
    gateway.enqueue(&trigger("", ""), 400).await;
    gateway.enqueue(&act("resolve", ""), 400).await;
    gateway.post("/v2/enqueue", "no JSON", 400).await;
    gateway.post("/v2/enqueue", vec![b' '; 524_289], 400).await;
    gateway.post("/v2/enqueue", with_key("ffffffffffffffffffffffffffffffff"), 400).await;
    gateway.post("/v2/change/enqueue", "{}", 400).await;
    gateway.post("/generic/2010-04-15/create_event.json", "{}", 400).await;
    gateway.post(&format!("/somewhere/{KEY}"), "{}", 404).await;

    let metrics = gateway.metrics().await;
    metrics.expect(&rejected("v2", "throttled"), 1);
    metrics.expect(&rejected("v2", "invalid"), 2);
    metrics.expect(&rejected("v2", "unreadable"), 1);
    metrics.expect(&rejected("v2", "too_large"), 1);
    metrics.expect(&rejected("v2", "unknown_key"), 1);
    metrics.expect(&rejected("change", "invalid"), 1);
    metrics.expect(&rejected("v1", "invalid"), 1);
    let elsewhere = r#"dutygate_http_requests_total{method="POST",route="other",status="404"}"#;
    metrics.expect(elsewhere, 1);
    gateway.drain().await;
}

#[tokio::test]
async fn gauges_of_what_is_open_follow_every_change_and_survive_a_restart() {
    let gateway = TestGateway::start().await;
    let severity = |level: &str| json!({"severity": level});

    gateway.enqueue(&trigger_with("a", &severity("critical")), 202).await;
    gateway.enqueue(&trigger_with("b", &severity("warning")), 202).await;
    gateway.enqueue(&trigger_with("c", &severity("warning")), 202).await;
    gateway.enqueue(&trigger_with("c", &severity("info")), 202).await;
    gateway.enqueue(&act("acknowledge", "b"), 202).await;
    let assert_open = async |gateway: &TestGateway, a: u32| {
        let metrics = gateway.metrics().await;
        metrics.expect(&open_alerts("critical"), a);
        metrics.expect(&open_alerts("warning"), 1);
        metrics.expect(&open_alerts("info"), 1);
        metrics.expect(&open_incidents("triggered"), 1 + a);
        metrics.expect(&open_incidents("acknowledged"), 1);
        metrics.expect(&open_incidents("resolved"), 0);
    };
    assert_open(&gateway, 1).await;

    gateway.enqueue(&act("resolve", "a"), 202).await;
    assert_open(&gateway, 0).await;

    let gateway = gateway.restart().await;
    assert_open(&gateway, 0).await;
    gateway.metrics().await.expect(&received("v2", "trigger", "opened"), 0);
    gateway.drain().await;
}

#[tokio::test]
async fn a_request_id_is_taken_over_or_made_and_is_in_the_log() {
    let place = place();
    let log = [("DUTYGATE_LOG_LEVEL", "debug"), ("DUTYGATE_LOG_FORMAT", "json")];
    let gateway = Process::start(place.path(), &log).await;
    let ask = async |id: &str| {
        let request = Request::get("/livez").header("X-Request-Id", id);
        gateway.send(&request).await.expect(200).header("X-Request-Id").unwrap().to_owned()
    };

    assert_eq!(ask("from-a.proxy_42").await, "from-a.proxy_42");
    gateway.hears("from-a.proxy_42").await;
    for unfit in ["with space", "ü", "\"}{", &"x".repeat(65)] {
        let made = ask(unfit).await;
        assert_ne!(made, unfit);
        assert_ne!(made, ask(unfit).await);
        gateway.hears(&made).await;
    }
    // Also what is at no path, and what is refused.
    for request in [Request::get("/nowhere"), Request::post("/v2/enqueue", "x")] {
        assert!(gateway.send(&request).await.header("X-Request-Id").is_some());
    }
    let log = gateway.terminate().await;
    let is_json = |line: &&str| serde_json::from_str::<Value>(line).is_ok();
    // All but the three lines that say where it is.
    assert_eq!(log.lines().filter(|line| !is_json(line)).count(), 3, "{log}");
}

#[tokio::test]
async fn a_full_queue_is_answered_503_at_once_and_nothing_accepted_is_lost() {
    let gateway = TestGateway::with("ingest: {queue_capacity: 1, max_batch: 1}").await;
    // Somebody else writes: the committer waits for its turn, and the queue fills.
    let mut other = sql::open(&gateway.database()).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();

    let (mut accepted, mut turned_away) = (0, 0);
    let events: Vec<_> = (0..12).map(|n| trigger(&format!("k{n}"), "s").to_string()).collect();
    let requests: Vec<_> =
        events.into_iter().map(|event| Request::post("/v2/enqueue", event)).collect();
    let mut answers: FuturesUnordered<_> =
        requests.iter().map(|request| gateway.send(request)).collect();
    while let Some(answer) = answers.next().await {
        if answer.status == 202 {
            accepted += 1;
        } else {
            turned_away += 1;
            assert_eq!(answer.clone().expect(503).header("Retry-After"), Some("1"), "{answer:?}");
            assert!(!answer.closes(), "{answer:?}");
        }
        // One in the committer's hands, one in the queue; all others were answered meanwhile.
        if turned_away == 10 && accepted == 0 {
            sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
        }
    }
    drop(answers);

    assert_eq!(accepted + turned_away, 12);
    let metrics = gateway.metrics().await;
    assert!(metrics.value("dutygate_ingest_queue_refused_total") >= 10.0);
    metrics.expect(&received("v2", "trigger", "opened"), accepted);
    metrics.expect(&rejected("v2", "unavailable"), turned_away);
    gateway.get("/readyz", 200).await;
    gateway.enqueue(&trigger("later", "s"), 202).await;
    gateway.drain().await;
}

#[tokio::test]
async fn throttling_is_by_integration_and_counts_events_and_changes_together() {
    let gateway = TestGateway::with("limits: {events_per_minute: 2}").await;
    let other = "fedcba9876543210fedcba9876543210";
    let integration = json!({
        "name": "other", "service": "default", "type": "pagerduty", "key": other,
    });
    gateway.call("POST", "/integrations", Some(integration), 201).await;
    let change = json!({"routing_key": KEY, "payload": {"summary": "deployed"}});

    gateway.enqueue(&trigger("k", "s"), 202).await;
    gateway.post("/v2/change/enqueue", change.to_string(), 202).await;

    let answer = gateway.enqueue(&trigger("k", "s"), 429).await;
    let seconds: u32 = answer.header("Retry-After").unwrap().parse().unwrap();
    assert!((1..=30).contains(&seconds), "{answer:?}");
    gateway.post("/v2/change/enqueue", change.to_string(), 429).await;
    let elsewhere = trigger("k", "s").to_string().replace(KEY, other);
    gateway.post("/v2/enqueue", elsewhere, 202).await;
    gateway.drain().await;
}

#[tokio::test]
async fn many_connections_at_once_are_served() {
    let place = place();
    let gateway = Process::start(place.path(), &[]).await;

    let mut connections = Vec::new();
    for _ in 0..500 {
        connections.push(Connection::open(gateway.address).await);
    }
    let event = Request::post("/v2/enqueue", trigger("k", "s").to_string());
    let sent = connections.iter_mut().map(|connection| connection.send(&event));
    for answer in futures_util::future::join_all(sent).await {
        answer.expect(202);
    }

    gateway.metrics().await.expect(&received("v2", "trigger", "merged"), 499);
    drop(connections);
    gateway.terminate().await;
}

#[tokio::test]
async fn a_wrong_method_is_said_in_json_everywhere() {
    let gateway = TestGateway::start().await;

    for path in ["/livez", "/readyz", "/metrics", "/api/openapi.json", "/api/v1/alerts"] {
        let answer = gateway.send(&Request::new("DELETE", path)).await.expect(405);
        assert!(answer.header("Allow").is_some_and(|allow| allow.contains("GET")), "{path}");
        let kind = answer.header("Content-Type").unwrap_or_default();
        assert!(kind.starts_with("application/") && kind.ends_with("json"), "{path}: {answer:?}");
        assert!(answer.json().is_object(), "{path}: {answer:?}");
    }
    gateway.drain().await;
}

#[tokio::test]
async fn the_heartbeat_is_called_while_all_is_well() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let switch = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/ping/secret", switch.local_addr().unwrap());
    let place = place();
    let gateway = Process::start(place.path(), &[("DUTYGATE_HEARTBEAT_URL", &url)]).await;

    let (mut beat, _) = switch.accept().await.unwrap();
    let mut request = [0; 18];
    beat.read_exact(&mut request).await.unwrap();
    beat.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();

    assert_eq!(&request, b"GET /ping/secret H");
    gateway.terminate().await;
}

#[tokio::test]
async fn every_metric_is_in_the_list_and_the_list_has_no_other() {
    let gateway = TestGateway::start().await;
    let receiver = json!({"name": "hook", "kind": "webhook", "url": "https://example.com/in",
        "secret_env": "HOOK_SECRET"});
    gateway.call("POST", "/receivers", Some(receiver), 201).await;
    gateway.enqueue(&trigger("k", "s"), 202).await;
    gateway.post("/v2/enqueue", "no JSON".to_owned(), 400).await;

    let served = gateway.send(&Request::new("GET", "/metrics")).await.expect(200).text();

    let mut served: Vec<&str> =
        served.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let mut listed: Vec<&str> = include_str!("../../docs/METRICS.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|name| name.starts_with("dutygate_") || name.starts_with("process_"))
        .collect();
    served.sort_unstable();
    listed.sort_unstable();
    assert_eq!(served, listed);
}
