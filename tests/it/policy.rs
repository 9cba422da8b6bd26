//! Policy files: by the command line against a running gateway, and kept over a restart.

use std::{path::Path, process::Output};

use serde_json::{Value, json};

use crate::{
    harness::{ADMIN, Process, TestGateway, command, place},
    http::Request,
};

const POLICY: &str = r#"services:
  - name: payments
    integrations:
      - {name: elastalert-prod, type: pagerduty, key_env: PAYMENTS_KEY}
      - {name: generated, type: pagerduty}
    grouping:
      - {by: similarity, fields: [summary, source], threshold: 0.85, window: 15m}
    notify:
      - {receivers: [hook]}
silences:
  - {name: patching, match: ['group="db"'], schedule: {from: "23:00", to: "02:00", timezone: UTC}}
routes:
  - {match: ['class="disk"'], service: payments}
receivers:
  - {name: hook, kind: webhook, url: https://example.com/in, secret_env: HOOK_SECRET}
"#;

const PAYMENTS_KEY: &str = "vutsrqponmlkjihgfedcba9876543210";

/// Runs a command of the binary; its status, and what it said on stdout and stderr.
async fn run(place: &Path, arguments: &[&str], url: &str) -> (Option<i32>, String, String) {
    let mut command = command(place, &[("DUTYGATE_URL", url), ("DUTYGATE_TOKEN", ADMIN)]);
    command.args(arguments).stdout(std::process::Stdio::piped());
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let Output { status, stdout, stderr } = run.await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[tokio::test]
async fn a_policy_is_checked_planned_and_applied_by_the_command_line() {
    let place = place();
    let gateway = Process::start(place.path(), &[("PAYMENTS_KEY", PAYMENTS_KEY)]).await;
    let url = format!("http://{}", gateway.client.address);
    let file = place.path().join("policy.yaml");
    std::fs::write(&file, POLICY).unwrap();
    let file = file.to_str().unwrap();
    let run = async |arguments: &[&str]| run(place.path(), arguments, &url).await;

    let (status, said, _) = run(&["check-config", "--policy", file]).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains(&format!("ok: {file} is valid")), "{said}");
    let (status, planned, notes) = run(&["apply", "--policy", file, "--dry-run"]).await;
    assert_eq!((status, notes.as_str()), (Some(0), ""), "{planned}");
    assert!(planned.contains("+ service payments\n    "), "{planned}");
    let last = planned.lines().last().unwrap();
    assert_eq!(
        last,
        format!("6 changes to make; next: `dutygate apply --policy {file}` makes them")
    );
    assert_eq!(gateway.read_all("/services").await.len(), 2, "nothing is changed");

    let (status, applied, notes) = run(&["apply", "--policy", file]).await;
    assert_eq!(status, Some(0), "{applied}{notes}");
    assert_eq!(applied.lines().last(), Some("applied 6 changes"));
    let plan =
        |text: &str| text.rsplit_once('\n').unwrap().0.rsplit_once('\n').unwrap().0.to_owned();
    assert_eq!(plan(&applied), plan(&planned));
    assert!(notes.starts_with("key of generated, not shown again: "), "{notes}");
    assert!(!notes.contains(PAYMENTS_KEY) && !applied.contains(PAYMENTS_KEY));
    let event = json!({
        "routing_key": PAYMENTS_KEY, "event_action": "trigger",
        "payload": {"summary": "s", "source": "x", "severity": "info"},
    });
    gateway.enqueue(&event, 202).await;

    let (status, again, _) = run(&["apply", "--policy", file, "--prune"]).await;
    assert_eq!(status, Some(0));
    let nothing = format!("nothing to do: the gateway has the policy of {file} already\n");
    assert_eq!(again, nothing);
    std::fs::write(
        file,
        "services:\n  - {name: default, storm: [1]}\n  - name: b\n    colour: red\n",
    )
    .unwrap();
    for arguments in [["apply", "--policy", file], ["check-config", "--policy", file]] {
        let (status, _, told) = run(&arguments).await;
        assert_eq!(status, Some(1));
        assert!(told.contains(&format!("{file}:2: services[0].storm[0] ")), "{told}");
        assert!(told.contains(&format!("{file}:4: services[1].colour is unknown")), "{told}");
    }
    let (status, schema, _) = run(&["check-config", "--print-policy-schema"]).await;
    assert_eq!(status, Some(0));
    assert!(serde_json::from_str::<Value>(&schema).unwrap().is_object());
    gateway.terminate().await;
}

async fn put(gateway: &TestGateway, query: &str, text: &str) -> Value {
    let request = Request::new("PUT", &format!("/api/v1/policy{query}")).bearer(ADMIN);
    let request = request.header("Content-Type", "application/yaml").body(text.to_owned());
    gateway.send(&request).await.expect(200).json()
}

#[tokio::test]
async fn an_applied_policy_is_there_after_a_restart() {
    let gateway = TestGateway::start().await;
    let file = POLICY.replace(", key_env: PAYMENTS_KEY", "");
    let applied = put(&gateway, "", &file).await;
    assert_eq!(applied["plan"].as_array().unwrap().len(), 6);
    let services = gateway.read("/services").await;

    let gateway = gateway.restart().await;

    assert_eq!(gateway.read("/services").await, services);
    assert_eq!(put(&gateway, "?prune=true", &file).await["plan"], json!([]));
    let request = Request::get("/api/v1/policy").bearer(ADMIN);
    let shown = gateway.send(&request).await.expect(200);
    assert_eq!(shown.header("Content-Type"), Some("application/yaml"));
    assert_eq!(put(&gateway, "?prune=true", &shown.text()).await["plan"], json!([]));
    gateway.drain().await;
}

/// The first YAML block of the README that is a policy.
fn policy_of_the_readme() -> String {
    let readme = include_str!("../../README.md");
    let blocks = readme.split("```yaml\n").skip(1);
    let mut blocks = blocks.filter_map(|block| block.split_once("```").map(|(yaml, _)| yaml));
    blocks.find(|yaml| yaml.starts_with("services:")).unwrap().to_owned()
}

#[tokio::test]
async fn the_policy_of_the_readme_works_as_pasted() {
    let place = place();
    let gateway = Process::start(place.path(), &[]).await;
    let url = format!("http://{}", gateway.client.address);
    let file = place.path().join("policy.yaml");
    std::fs::write(&file, policy_of_the_readme()).unwrap();
    let file = file.to_str().unwrap();
    let run = async |arguments: &[&str]| run(place.path(), arguments, &url).await;
    let disk = |n: u32| {
        json!({
            "routing_key": crate::harness::KEY, "event_action": "trigger",
            "dedup_key": format!("db-{n}/disk"),
            "payload": {"summary": format!("DISK at 9{n}% on machine db-{n}"), "class": "disk",
                "source": format!("db-{n}"), "severity": "error", "component": "payments-db"},
        })
    };
    for n in 0..3 {
        gateway.enqueue(&disk(n), 202).await;
    }

    for command in
        [&["check-config", "--policy", file][..], &["apply", "--policy", file, "--dry-run"]]
    {
        let (status, said, notes) = run(command).await;
        assert_eq!(status, Some(0), "{command:?}: {said}{notes}");
    }
    let (status, table, notes) = run(&["replay", "--policy", file, "--since", "1d"]).await;
    assert_eq!(status, Some(0), "{table}{notes}");
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    // Today one incident an alert; the candidate routes them to payments and makes one of three.
    let today = ["default", "today", "3", "3", "3", "0", "0.00", "%"];
    let candidate = ["payments", "candidate", "3", "3", "1", "1", "66.67", "%"];
    assert!(rows.iter().any(|row| row[..] == today), "{table}");
    assert!(rows.iter().any(|row| row[..] == candidate), "{table}");
    assert!(notes.contains("next: `dutygate apply"), "{notes}");

    let (status, applied, notes) = run(&["apply", "--policy", file]).await;
    assert_eq!(status, Some(0), "{applied}{notes}");
    gateway.enqueue(&disk(7), 202).await;
    let incidents = gateway.read_all("/incidents?service=payments").await;
    assert_eq!(incidents[0]["group_key"]["values"]["class"], "disk");
    assert_eq!(incidents[0]["holdings"][0]["receiver"], "pagerduty-main");
    assert_eq!(incidents[0]["holdings"][0]["state"], "told");
    let alerts = gateway.read_all("/alerts?service=payments").await;
    assert_eq!(alerts[0]["labels"], json!({"host": "db-7"}), "enriched: {alerts:?}");
    let (_, again, _) = run(&["apply", "--policy", file]).await;
    assert!(again.starts_with("nothing to do"), "{again}");
}

#[tokio::test]
async fn ten_mistakes_print_ten_messages_and_nothing_is_applied() {
    let place = place();
    let gateway = Process::start(place.path(), &[]).await;
    let url = format!("http://{}", gateway.client.address);
    let file = place.path().join("policy.yaml");
    let wrong = r#"services:
  - name: payments
    colour: red
    grouping:
      - {match: ['klass="disk"'], by: [class], window: 31d}
      - {by: similarity, threshold: 2}
    flapping: {mode: loud}
    storm: [500, 50]
    enrich:
      - {extract: {from: summary, regex: '('}}
    notify:
      - {receivers: [nobody]}
routes:
  - {match: ['class="a"'], service: unknown}
silences:
  - {name: s, match: ['class="a"'], schedule: {from: "23:00", to: "02:00", timezone: Mars/Base}}
"#;
    std::fs::write(&file, wrong).unwrap();
    let file = file.to_str().unwrap();

    let (status, _, said) = run(place.path(), &["apply", "--policy", file], &url).await;

    assert_eq!(status, Some(1), "{said}");
    let told: Vec<&str> = said.lines().filter(|line| line.starts_with(file)).collect();
    for (line, path) in [
        (3, "services[0].colour"),
        (5, "services[0].grouping[0].match[0]"),
        (5, "services[0].grouping[0].window"),
        (6, "services[0].grouping[1].threshold"),
        (7, "services[0].flapping.mode"),
        (8, "services[0].storm"),
        (10, "services[0].enrich[0].extract.regex"),
        (12, "services[0].notify[0].receivers[0]"),
        (14, "routes[0].service"),
        (16, "silences[0].schedule.timezone"),
    ] {
        let begins = format!("{file}:{line}: {path}");
        assert!(told.iter().any(|told| told.starts_with(&begins)), "{begins}: {said}");
    }
    assert_eq!(told.len(), 10, "{said}");
    assert_eq!(gateway.read_all("/services").await.len(), 2, "nothing of it is applied");
    assert!(gateway.read_all("/receivers").await.is_empty());
}
