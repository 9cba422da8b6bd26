//! What each kind of receiver takes and refuses.

use serde_json::json;

use crate::domain::receiver::ReceiverSpec;

/// The paths of the mistakes below `r`, with what is said.
fn mistakes(value: &serde_json::Value) -> Vec<(String, String)> {
    let mut errors = Vec::new();
    let read = ReceiverSpec::from_json(value, "r", &mut errors);
    assert_eq!(read.is_none(), !errors.is_empty());
    errors
}

fn paths(value: &serde_json::Value) -> Vec<String> {
    mistakes(value).into_iter().map(|(path, _)| path).collect()
}

#[test]
fn what_is_documented_is_taken_and_written_as_it_is_read() {
    for receiver in [
        json!({"name": "a", "kind": "pagerduty", "routing_key_env": "PD_KEY"}),
        json!({
            "name": "a", "kind": "pagerduty", "routing_key_file": "/run/secrets/pd",
            "url": "https://events.eu.pagerduty.com/v2/enqueue", "per_alert": true,
            "webhook_secret_env": "PD_HOOK", "fallback": "b", "allowed_hosts": ["10.0.0.1"],
            "concurrency": 4, "rate_per_minute": 120
        }),
        json!({
            "name": "a", "kind": "jira", "url": "https://jira.example.com", "api": "datacenter",
            "auth": {"bearer_env": "JIRA_PAT"}, "project": "OPS", "issue_type": "故障",
            "priority": {"critical": "Highest"}, "assignee": "ops", "labels": ["alert"],
            "components": ["core db"], "fields": {"customfield_1": {"value": "x"}},
            "transitions": {"resolve": "Done", "reopen": "To Do"}, "reopen_within": "7d"
        }),
        json!({
            "name": "a", "kind": "jira", "url": "https://x.atlassian.net", "project": "OPS",
            "auth": {"user": "a@example.com", "password_file": "/run/secrets/jira"}
        }),
        json!({
            "name": "a", "kind": "webhook", "url": "https://example.com/in",
            "secret_env": "HOOK_SECRET", "format": "dutygate", "template": "{{ incident.title }}",
            "headers": {"X-Team": "core", "Authorization": {"value_env": "HOOK_AUTH"}}
        }),
        json!({"name": "a", "kind": "webhook", "url_file": "/run/secrets/chat"}),
        json!({
            "name": "a", "kind": "email", "smtp": "smtps://mail.example.com:465",
            "from": "Duty <a@example.com>", "to": ["b@example.com"], "username": "a",
            "password_env": "MAIL_PASSWORD"
        }),
    ] {
        let mut errors = Vec::new();
        let spec = ReceiverSpec::from_json(&receiver, "r", &mut errors);
        assert_eq!(errors, []);
        assert_eq!(serde_json::Value::Object(spec.unwrap().to_json()), receiver);
    }
}

#[test]
fn a_secret_itself_is_refused_with_the_way_to_name_it() {
    for (receiver, path) in [
        (json!({"name": "a", "kind": "pagerduty", "routing_key": "k"}), "r.routing_key"),
        (
            json!({"name": "a", "kind": "jira", "url": "https://j", "project": "P",
                "auth": {"user": "u", "password": "p"}}),
            "r.auth.password",
        ),
        (
            json!({"name": "a", "kind": "jira", "url": "https://j", "project": "P",
                "auth": {"bearer": "p"}}),
            "r.auth.bearer",
        ),
        (json!({"name": "a", "kind": "webhook", "url": "https://h", "secret": "k"}), "r.secret"),
    ] {
        let found = mistakes(&receiver);
        assert_eq!(found.len(), 1, "{found:?}");
        let key = path.rsplit('.').next().unwrap();
        assert_eq!(found[0].0, path);
        assert!(found[0].1.contains(&format!("{key}_env or {key}_file")), "{}", found[0].1);
    }
    let in_header = json!({"name": "a", "kind": "webhook", "url": "https://h",
        "headers": {"authorization": "Bearer x"}});
    assert_eq!(paths(&in_header), ["r.headers.authorization"]);
    let in_url = json!({"name": "a", "kind": "webhook", "url": "https://u:p@h/"});
    assert_eq!(paths(&in_url), ["r.url"]);
}

#[test]
fn every_mistake_is_said_with_its_path() {
    let pagerduty = json!({
        "name": "", "kind": "pagerduty", "routing_key_env": "0-9", "url": "ftp://x",
        "per_alert": 1, "passthrough": true, "concurrency": 0, "rout": 1
    });
    let jira = json!({
        "name": "a", "kind": "jira", "auth": {}, "api": "v2", "labels": ["a b"],
        "priority": {"fatal": "x"}, "transitions": {"close": "x"}, "reopen_within": "x"
    });
    let email = json!({
        "name": "a", "kind": "email", "smtp": "mail.example.com", "from": "a", "to": [],
        "username": "u"
    });

    assert_eq!(
        paths(&pagerduty),
        ["r.name", "r.concurrency", "r.per_alert", "r.rout", "r.routing_key_env", "r.url"]
    );
    assert_eq!(
        paths(&jira),
        [
            "r.api",
            "r.auth.bearer_env",
            "r.labels[0]",
            "r.priority.fatal",
            "r.reopen_within",
            "r.transitions.close",
            "r.url",
            "r.project"
        ]
    );
    assert_eq!(paths(&email), ["r.from", "r.smtp", "r.to", "r.password_env"]);
    let twice = json!({"name": "a", "kind": "webhook", "url": "https://h", "url_env": "URL"});
    assert_eq!(paths(&twice), ["r.url_env"]);
    assert_eq!(paths(&json!({"name": "a", "kind": "webhook"})), ["r.url"]);
    assert_eq!(paths(&json!({"name": "a", "kind": "pigeon"})), ["r.kind"]);
    assert_eq!(paths(&json!({})), ["r.name", "r.kind"]);
    let itself = json!({"name": "a", "kind": "pagerduty", "routing_key_env": "K", "fallback": "a"});
    assert_eq!(paths(&itself), ["r.fallback"]);
}
