//! What people read in Jira.

use serde_json::{Value, json};

use super::{alert, jira, message};
use crate::{
    domain::{
        alert::Status,
        id::AlertId,
        notify::Reason,
        time::{Span, Timestamp},
    },
    notify::{Message, Notifier as _},
    store::query::views::raw,
};

fn composed(message: &Message, settings: &Value) -> Value {
    jira("https://jira.example.com", settings).compose(message).unwrap()
}

fn description(message: &Message) -> String {
    composed(message, &json!({}))["fields"]["description"].as_str().unwrap().to_owned()
}

fn comment(message: &Message) -> String {
    composed(message, &json!({}))["comment"].as_str().unwrap().to_owned()
}

#[test]
fn an_alert_is_described_by_its_facts_and_links() {
    let mut message = message(Reason::Opened, 1);
    message.alerts[0].custom_details = Some(raw(r#"{"free space":"1 %","value":97.50}"#));
    message.alerts[0].links = raw(r#"[{"href":"https://wiki.example.com/disk","text":"runbook"}]"#);
    message.alerts[0].images = raw(r#"[{"src":"https://example.com/a.png","alt":"graph"}]"#);
    message.late = Some(Span::from_secs(7200));
    let incident = message.incident_url();

    assert_eq!(
        description(&message),
        format!(
            "||Severity|critical|\n\
             ||Service|payments|\n\
             ||Source|db-1|\n\
             ||Component|mysql|\n\
             ||Class|disk|\n\
             ||Labels|host=db-1|\n\
             ||Since|2025-11-20 09:51:12 UTC|\n\
             ||Told|late by 2h|\n\
             ||free space|1 %|\n\
             ||value|97.50|\n\
             \n\
             [Incident #42|{incident}] · [ElastAlert|https://kibana.example.com/] · \
             [runbook|https://wiki.example.com/disk] · [graph|https://example.com/a.png]"
        )
    );
}

/// As the script did that people wrote by hand before: Guance's title and message.
#[test]
fn what_the_sender_describes_comes_first_in_its_own_words() {
    let mut message = message(Reason::Opened, 1);
    let said = ">等级：critical    \n>实例：share    \n>内容：磁盘使用率为 100.00%    ";
    let details = json!({"description": said, "df_title": "x", "result": 100});
    message.incident.title = "实例名称为 share 磁盘使用率过高".to_owned();
    message.alerts[0].custom_details = Some(raw(&details.to_string()));

    let composed = composed(&message, &json!({}));

    let fields = &composed["fields"];
    assert_eq!(fields["summary"], "实例名称为 share 磁盘使用率过高");
    let description = fields["description"].as_str().unwrap();
    assert!(
        description.starts_with(
            ">等级：critical\n>实例：share\n>内容：磁盘使用率为 100.00%\n\n||Severity|critical|\n"
        ),
        "{description}"
    );
    assert!(description.contains("||result|100|") && !description.contains("df_"));
}

#[test]
fn whatever_the_reason_it_says_that_a_key_flaps() {
    let mut opened = message(Reason::Opened, 1);
    opened.incident.flapping = true;
    let mut repeated = message(Reason::Repeat, 1);
    repeated.incident.flapping = true;

    let said = "it ends and comes back again and again";

    assert!(description(&opened).contains(&format!("||Flapping|{said}|")));
    assert!(comment(&repeated).contains(&format!("It flaps: {said}.")));
}

#[test]
fn long_texts_stand_below_the_facts() {
    let mut message = message(Reason::Opened, 1);
    let details = json!({"firing": "Labels:\n - alertname = DiskFull\n{noformat}*"});
    message.alerts[0].custom_details = Some(raw(&details.to_string()));

    let description = description(&message);

    let block = "*firing*\n{noformat}\nLabels:\n - alertname = DiskFull\n{ noformat}*\n{noformat}";
    assert!(description.contains(block), "{description}");
}

#[test]
fn several_alerts_are_a_table() {
    let mut message = message(Reason::Opened, 1);
    message.alerts = vec![alert("disk 97 % full"), alert("a|b\n[x]")];
    message.alerts[1].status = Status::Resolved;
    message.incident.alert_count = 31;
    message.incident.open_alert_count = 30;
    message.incident.group_key = Some(raw(r#"{"rule":"r","values":{"class":"disk"}}"#));

    let description = description(&message);

    for part in [
        "||Alerts|31, 30 of them open|",
        "||In common|class=disk|",
        "||Severity||Status||Source||Summary||Since||\n|critical|triggered|db-1|disk 97 % full|2025",
        "|critical|resolved|db-1|a\\|b \\[x]|2025-11-20 09:51:12 UTC|\n… and 29 more",
    ] {
        assert!(description.contains(part), "{part}\n{description}");
    }
}

#[test]
fn texts_fit_into_what_jira_takes() {
    let mut message = message(Reason::Opened, 1);
    message.incident.title = "磁盘😀\r\n ".repeat(200);
    let details = json!({"description": "*a* ".repeat(30_000), "b": "c\n".repeat(30_000)});
    message.alerts = vec![alert(&"|".repeat(1024))];
    let links = vec![json!({"href": format!("https://x/{}", "a".repeat(2000))}); 20];
    message.alerts[0].links = raw(&json!(links).to_string());
    message.alerts[0].custom_details = Some(raw(&details.to_string()));

    let composed =
        composed(&message, &json!({"fields": {"customfield_1": "{{ alert.custom_details.b }}"}}));

    let length = |text: &Value| text.as_str().unwrap().encode_utf16().count();
    let fields = &composed["fields"];
    let summary = fields["summary"].as_str().unwrap();
    assert_eq!(length(&fields["summary"]), 255);
    assert!(summary.starts_with("磁盘😀 磁盘😀 ") && summary.ends_with('…'), "{summary}");
    assert!(length(&fields["description"]) <= 32_767);
    let description = fields["description"].as_str().unwrap();
    for part in ["*a* \\*a*", "||Severity|", "[Incident #42|"] {
        assert!(description.contains(part), "{part}");
    }
    assert_eq!(length(&fields["customfield_1"]), 32_767);
}

#[test]
fn a_digest_names_what_came_last() {
    let mut message = message(Reason::AlertsAdded, 5);
    message.incident.alert_count = 12;
    message.incident.open_alert_count = 12;
    message.alerts = (0..12_u32)
        .map(|n| {
            let mut alert = alert(&format!("disk {n}"));
            let at = Timestamp::from_millis(1_763_632_272_000).plus(Span::from_secs(n));
            alert.id = AlertId::new(at, n.into(), 1);
            alert.first_event_at = at;
            alert
        })
        .collect();

    let comment = comment(&message);

    let begin = "*More alerts.* 12 of 12 alerts are open.\n\n* critical · db-1 · disk 11\n";
    assert!(comment.starts_with(begin), "{comment}");
    assert!(comment.contains("disk 2\n… and 2 more\n\n[Incident #42|"), "{comment}");
    assert!(comment.ends_with(" · alerts_added · 2025-11-20T09:56:12.000Z"), "{comment}");
}

#[test]
fn who_acknowledged_and_that_nobody_does_any_more_is_said() {
    let mut message = message(Reason::Acknowledged, 1);
    message.incident.acknowledged_by = Some("token:*ops*".to_owned());
    assert!(comment(&message).starts_with("*Acknowledged* by token:\\*ops*."));

    let mut message = super::message(Reason::Repeat, 1);
    message.wakes = true;
    message.late = Some(Span::from_secs(60));
    let comment = comment(&message);
    let said = "*Still open* after 1 min: severity critical. Nobody has acknowledged it any more. \
                Told late by 1m.";
    assert!(comment.starts_with(said), "{comment}");
}

#[test]
fn durations_are_said_as_people_say_them() {
    for (seconds, said) in [
        (0, "0 s"),
        (59, "59 s"),
        (720, "12 min"),
        (3600, "1 h"),
        (11_100, "3 h 5 min"),
        (187_200, "2 d 4 h"),
    ] {
        assert_eq!(super::super::text::duration(Span::from_secs(seconds)), said);
    }
}

#[test]
fn fields_may_say_what_is_composed_otherwise() {
    let settings = json!({
        "labels": ["alert"],
        "fields": {
            "summary": "[{{ incident.severity|upper }}] {{ incident.title }}\n",
            "labels": ["{{ alert.class }}", "{{ alert.group }}", "on {{ alert.source }}"],
            "project": {"key": "OTHER"},
            "customfield_1": {"value": "Platform"},
            "customfield_2": "{{ alert.labels.cluster|default('unknown') }}",
            "customfield_3": "{{ incident.alert_count }}",
        },
    });

    let fields = &composed(&message(Reason::Opened, 1), &settings)["fields"];

    assert_eq!(fields["summary"], "[CRITICAL] disk 97 % full");
    assert_eq!(fields["labels"], json!(["alert", "disk", "on-db-1"]), "none without a group");
    assert_eq!(fields["project"], json!({"key": "OPS"}), "it has a setting of its own");
    assert_eq!(fields["customfield_1"], json!({"value": "Platform"}));
    assert_eq!(
        (&fields["customfield_2"], &fields["customfield_3"]),
        (&json!("unknown"), &json!(1))
    );
}
