//! What each field of an event becomes, and laws over events that nobody wrote.

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::*;
use crate::domain::{enrich::LABELS_MAX, event::Action, time::Timestamp};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const URL: GivenKeys<'static> = GivenKeys { url: Some(KEY), header: None };

fn all(body: &str) -> Vec<(Message, StoredBody)> {
    decode(URL, body.as_bytes()).unwrap().messages
}

fn decoded(body: &Value) -> Event {
    match all(&body.to_string()).remove(0).0 {
        Message::Event(event) => event,
        Message::Change(change) => panic!("{change:?}"),
    }
}

fn content_of(event: Event) -> Content {
    match event.intent {
        Intent::Trigger { content, .. } => *content,
        other => panic!("{other:?}"),
    }
}

/// A fault with these fields besides.
fn fault(fields: &Value) -> Content {
    let mut body = json!({"df_status": "critical"});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    content_of(decoded(&body))
}

/// The body that Guance's own guide prints.
fn seed() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/guance/seed_003.json");
    let fixture: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    fixture["body_text"].as_str().unwrap().to_owned()
}

#[test]
fn an_event_of_guances_guide_becomes_this() {
    let (message, body) = all(&seed()).remove(0);

    let Message::Event(event) = message else { panic!("{message:?}") };
    let sent_at = Timestamp::from_millis(1_693_034_940_000);
    let sent_time = SentTime { text: Some("1693034940".into()), at: Some(sent_at) };
    assert_eq!((event.api, event.informs, &event.sent_time), (Api::Guance, false, &sent_time));
    assert_eq!(event.sent_id, Some(SentId::of("event-f20a38aa58b54c6c8d4c9a84e655db1a")));
    let key = "guance:wksp_968577392a1c4714a464cd2f6ee42a9c:13713ac25e993a37d2ca5899e2a7bba6";
    assert_eq!(event.intent.dedup_key().unwrap().as_str(), key);
    assert_eq!(body, StoredBody { text: seed(), details: None });
    let content = content_of(event);
    let link = "https://console.guance.com/keyevents/monitor?time=1693034040000%2C1693035000000\
                &tags=%7B%22df_event_id%22%3A%22event-f20a38aa58b54c6c8d4c9a84e655db1a%22%7D\
                &w=wksp_968577392a1c4714a464cd2f6ee42a9c";
    let labels = [("host", "share"), ("workspace", "wksp_968577392a1c4714a464cd2f6ee42a9c")];
    let expected = Content {
        summary: "实例名称为 share 磁盘使用率过高".into(),
        source: Some("share".into()),
        severity: Severity::Critical,
        component: Some("实例名称为 {{host}} 磁盘使用率过高".into()),
        group: Some("默认".into()),
        class: Some("custom_metric".into()),
        custom_details: content.custom_details.clone(),
        client: Some("Guance observer".into()),
        client_url: Some(link.into()),
        links: vec![Link { href: link.into(), text: Some("Event in Guance".into()) }],
        images: Vec::new(),
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    };
    assert_eq!(content, expected);

    let details: Value = serde_json::from_str(&content.custom_details.unwrap()).unwrap();
    let sent: Value = serde_json::from_str(&seed()).unwrap();
    assert_eq!(details["description"], sent["df_message"]);
    assert_eq!((&details["result"], &details["date"]), (&json!(100), &json!(1_693_034_940)));
    let renamed = |name: &String| ["df_message", "Result"].contains(&name.as_str());
    for (name, value) in sent.as_object().unwrap().iter().filter(|(name, _)| !renamed(name)) {
        assert_eq!(&details[name], value, "{name}");
    }
    assert_eq!(details.as_object().unwrap().len(), sent.as_object().unwrap().len());
}

#[test]
fn its_status_says_what_it_wants_and_how_bad_it_is() {
    use Severity::{Critical, Error, Info, Warning};
    let trigger = |severity| (Action::Trigger, Some(severity), severity == Info);
    let resolve = (Action::Resolve, None, false);
    let cases = [
        (json!({"df_status": "critical"}), trigger(Critical)),
        (json!({"df_status": "error", "df_fault_status": "fault"}), trigger(Error)),
        (json!({"df_status": "warning", "df_sub_status": "warning"}), trigger(Warning)),
        (json!({"df_status": "nodata", "df_sub_status": "nodata"}), trigger(Warning)),
        (json!({"df_status": "fatal"}), trigger(Warning)),
        (json!({"df_status": "Critical"}), trigger(Warning)),
        (json!({"df_status": ["ok"]}), trigger(Warning)),
        (json!({"df_status": "", "df_sub_status": "error"}), trigger(Error)),
        (json!({"df_title": "no status"}), trigger(Warning)),
        (json!({"df_status": "ok"}), resolve),
        (json!({"df_status": "nodata_ok"}), resolve),
        (json!({"df_status": "nodata_as_ok"}), resolve),
        (json!({"df_status": "manual_ok"}), resolve),
        (json!({"df_status": "ok", "df_sub_status": "nodata"}), resolve),
        (json!({"df_status": "nodata", "df_sub_status": "nodata_as_ok"}), resolve),
        (json!({"df_status": "critical", "df_fault_status": "ok"}), resolve),
        (json!({"df_status": "info"}), trigger(Info)),
        (
            json!({"df_status": "info", "df_fault_status": "ok", "df_sub_status": "ok"}),
            trigger(Info),
        ),
    ];
    for (body, (action, severity, informs)) in cases {
        let event = decoded(&body);
        assert_eq!((event.intent.action(), event.informs), (action, informs), "{body}");
        if let Some(severity) = severity {
            assert_eq!(content_of(event).severity, severity, "{body}");
        }
    }
}

#[test]
fn trigger_and_resolve_of_one_problem_have_the_same_key() {
    let tags = json!({"df_dimension_tags": "{\"host\":\"a\",\"disk\":\"/\"}"});
    let other_order = json!({"df_dimension_tags": "{\"disk\": \"/\", \"host\": \"a\"}"});
    let key = |status: &str, more: &Value| {
        let mut body = json!({"df_status": status, "df_monitor_checker_id": "rul_1",
                              "df_title": format!("it is {status}")});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        decoded(&body).intent.dedup_key().unwrap().clone()
    };

    assert_eq!(key("critical", &tags), key("ok", &other_order));
    assert_eq!(key("critical", &json!({})), key("ok", &json!({})));
    assert_ne!(key("critical", &tags), key("critical", &json!({})));
    for another in ["df_monitor_checker_id", "df_workspace_uuid"] {
        let mut changed = tags.clone();
        changed[another] = "another".into();
        assert_ne!(key("critical", &tags), key("critical", &changed), "{another}");
    }
}

#[test]
fn the_details_are_the_fields_as_they_were_sent() {
    let body = r#"{"df_status":"error", "Result": 1.50e+02,"df_x": {"b" : [1.0], "a":"磁"},
        "date":null,"df_message":"","result":"own","description":7,"df_x2":"last?","df_x2":"last",
        "a\"b":"\u0041","routing_key":"xxx","service_key":1}"#;

    let (message, _) = all(body).remove(0);

    let Message::Event(event) = message else { panic!("{message:?}") };
    assert_eq!(
        content_of(event).custom_details.as_deref().unwrap(),
        r#"{"description":"","result":1.50e+02,"date":null,"df_status":"error","df_x":{"b" : [1.0], "a":"磁"},"result_":"own","description_":7,"df_x2":"last","a\"b":"\u0041"}"#
    );
    let without = fault(&json!({"result": 1, "description": 2}));
    let expected = r#"{"description":2,"df_status":"critical","result":1}"#;
    assert_eq!(without.custom_details.as_deref(), Some(expected));
    let both = fault(&json!({"df_message": 1, "description": 2, "description_": 3}));
    let expected = r#"{"description":1,"description__":2,"description_":3,"df_status":"critical"}"#;
    assert_eq!(both.custom_details.as_deref(), Some(expected));
}

#[test]
fn the_summary_is_its_title_else_its_checkers_name() {
    let cases = [
        (json!({"df_title": "title", "df_monitor_checker_name": "name"}), "title"),
        (json!({"df_title": " ", "df_monitor_checker_name": "name"}), "name"),
        (json!({"df_message": "\n \n> first\nsecond"}), "> first"),
        (json!({"df_title": null}), "Guance event"),
        (json!({"df_title": 12}), "12"),
    ];
    for (fields, summary) in cases {
        assert_eq!(fault(&fields).summary, summary, "{fields}");
    }
    let long = "磁".repeat(SUMMARY_MAX_CHARS + 1);
    assert_eq!(fault(&json!({"df_title": long})).summary, "磁".repeat(SUMMARY_MAX_CHARS));
}

#[test]
fn the_source_is_its_host_else_a_dimension_else_its_checkers_name() {
    let tags = r#"{"region":"hz","host":"a"}"#;
    let cases = [
        (json!({"host": "h", "df_dimension_tags": tags}), Some("h")),
        (json!({"df_dimension_tags": tags, "df_monitor_checker_name": "c"}), Some("a")),
        (json!({"df_dimension_tags": "{\"zone\":1,\"app\":\"b\"}"}), Some("1")),
        (json!({"df_dimension_tags": "{}", "df_monitor_checker_name": "c"}), Some("c")),
        (json!({"df_dimension_tags": "bad", "df_monitor_checker_name": "c"}), Some("c")),
        (json!({}), None),
    ];
    for (fields, source) in cases {
        assert_eq!(fault(&fields).source.as_deref(), source, "{fields}");
    }
}

#[test]
fn tags_and_labels_become_labels() {
    let cases = [
        (
            json!({"df_dimension_tags": "{\"n\":1.50,\"o\":{\"a\": 1},\"e\":\"\",\"x\":null,\"t\":true}"}),
            json!({"n": "1.50", "o": "{\"a\": 1}", "t": "true"}),
        ),
        (
            json!({"df_dimension_tags": {"host-name": "a", "@level": "b"}}),
            json!({"host-name": "a", "@level": "b"}),
        ),
        (json!({"df_dimension_tags": "{\"a\""}), json!({"df_dimension_tags": "{\"a\""})),
        (
            json!({"df_dimension_tags": "{\"a\":\"\\ud800\"}"}),
            json!({"df_dimension_tags": "{\"a\":\"\\ud800\"}"}),
        ),
        (json!({"df_dimension_tags": ""}), json!({})),
        (json!({"df_label": "[\"prod\",\"db\", 7]"}), json!({"df_label": "prod,db,7"})),
        (json!({"df_label": ["prod", "db"]}), json!({"df_label": "prod,db"})),
        (json!({"df_label": "[]"}), json!({})),
        (json!({"df_label": "prod"}), json!({"df_label": "prod"})),
        (json!({"df_label": "[\"prod\","}), json!({"df_label": "[\"prod\","})),
        (
            json!({"df_workspace_uuid": "w", "df_dimension_tags": {"workspace": "mine", "df_label": "m"}}),
            json!({"workspace": "w", "df_label": "m"}),
        ),
        (json!({"workspace_uuid": "old"}), json!({"workspace": "old"})),
    ];
    for (fields, labels) in cases {
        assert_eq!(json!(fault(&fields).labels), labels, "{fields}");
    }
}

#[test]
fn there_are_only_so_many_labels_and_they_are_only_so_long() {
    let many: serde_json::Map<String, Value> =
        (0..90).map(|n| (format!("tag{n:02}"), "x".repeat(2000).into())).collect();
    let content = fault(&json!({
        "df_workspace_uuid": "w", "df_label": "[\"l\"]", "df_dimension_tags": many,
    }));

    assert_eq!(content.labels.len(), LABELS_MAX);
    assert_eq!((&*content.labels["workspace"], &*content.labels["df_label"]), ("w", "l"));
    assert_eq!(content.labels["tag00"].len(), 1024);
    let long = json!({"df_dimension_tags": {"n".repeat(65): "v", "n".repeat(64): "v"}});
    assert_eq!(fault(&long).labels.len(), 1);
}

#[test]
fn the_client_is_guance_and_the_workspace_and_links_to_the_event() {
    let cases = [
        (
            json!({"df_workspace_name": "ops", "workspace_name": "old", "df_event_link": "l",
                "df_event_url": "u"}),
            "Guance ops",
            Some("l"),
        ),
        (json!({"workspace_name": "old", "df_event_url": "u"}), "Guance old", Some("u")),
        (json!({}), "Guance", None),
    ];
    for (fields, client, link) in cases {
        let content = fault(&fields);
        assert_eq!(content.client.as_deref(), Some(client));
        assert_eq!(content.client_url.as_deref(), link);
        assert_eq!(content.links.first().map(|link| link.href.as_str()), link);
    }
}

#[test]
fn its_time_is_in_seconds() {
    let time = |fields: Value| decoded(&fields).sent_time.at.map(Timestamp::as_millis);

    assert_eq!(time(json!({"df_x": 1, "timestamp": 5, "date": 6})), Some(5000));
    assert_eq!(time(json!({"df_x": 1, "timestamp": "", "date": "6"})), Some(6000));
    assert_eq!(time(json!({"df_x": 1, "date": "now"})), None);
}

#[test]
fn audits_and_changes_are_change_events() {
    let body = json!({"df_source": "audit", "df_event_id": "e", "df_title": "Ann made a monitor",
        "df_user_name": "ann", "df_event_link": "https://l", "host": "h", "date": 5});

    let (message, _) = all(&body.to_string()).remove(0);

    let details = r#"{"date":5,"df_event_id":"e","df_event_link":"https://l","df_source":"audit","df_title":"Ann made a monitor","df_user_name":"ann","host":"h"}"#;
    let expected = ChangeEvent {
        summary: "Ann made a monitor".into(),
        source: Some("h".into()),
        custom_details: Some(details.into()),
        links: vec![Link { href: "https://l".into(), text: Some("Event in Guance".into()) }],
        sent_time: SentTime { text: Some("5".into()), at: Some(Timestamp::from_millis(5000)) },
        sent_id: Some(SentId::of("e")),
    };
    assert_eq!(message, Message::Change(expected));
}

#[test]
fn each_event_of_a_list_is_stored_by_itself_and_without_keys() {
    let body = format!(
        "{{\"routing_key\":\"{KEY}\",\"events\": [{{\"df_a\":1, \"routing_key\":\"secret-key\"}} ,\
         {{\"df_b\":\"at ?integration_key={KEY}\"}}]}}"
    );

    let messages = all(&body);

    let bodies: Vec<&str> = messages.iter().map(|(_, body)| body.text.as_str()).collect();
    let masked = r#"{"df_b":"at ?integration_key=0123…"}"#;
    assert_eq!(bodies, [r#"{"df_a":1, "routing_key":"secr…"}"#, masked]);
    let details = messages.into_iter().map(|(message, _)| match message {
        Message::Event(event) => content_of(event).custom_details.unwrap(),
        Message::Change(change) => panic!("{change:?}"),
    });
    assert_eq!(details.collect::<Vec<_>>(), [r#"{"df_a":1}"#.into(), Box::<str>::from(masked)]);
}

#[test]
fn a_thousand_events_are_taken_and_one_more_is_not() {
    let list = |events: usize| vec![json!({"df_x": 1}); events];
    let body = json!({ "events": list(EVENTS_MAX) }).to_string();
    assert_eq!(all(&body).len(), EVENTS_MAX);

    let body = json!(list(EVENTS_MAX + 1)).to_string();
    let rejection = decode(URL, body.as_bytes()).unwrap_err();

    let text = "List of events is too long (maximum is 1000 events)".to_owned();
    assert_eq!(rejection.reason, RejectReason::Invalid(vec![text]));
    assert_eq!((rejection.api, rejection.key), (Api::Guance, Some(SentKey::new(KEY))));
}

/// JSON of any shape, the key of the request in it now and then.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::String),
        Just(Value::String(format!("a {KEY} b"))),
        prop::sample::select(vec![
            "ok",
            "info",
            "nodata",
            "[\"a\",1]",
            "{\"a\":{\"b\":1}}",
            "{\"a\""
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

const NAMES: [&str; 25] = [
    "df_status",
    "df_sub_status",
    "df_fault_status",
    "df_source",
    "df_event_id",
    "df_title",
    "df_message",
    "Result",
    "date",
    "timestamp",
    "df_workspace_uuid",
    "df_workspace_name",
    "df_monitor_checker_event_ref",
    "df_monitor_checker_id",
    "df_monitor_checker_name",
    "df_monitor_name",
    "df_monitor_checker",
    "df_dimension_tags",
    "df_label",
    "df_event_link",
    "host",
    "events",
    "routing_key",
    "description",
    "result",
];

fn any_event() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        9 => prop::sample::select(&NAMES[..]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    vec((name, any_json()), 0..12).prop_map(|fields| {
        let mut event: serde_json::Map<String, Value> = fields.into_iter().collect();
        event.insert("df_x".to_owned(), Value::Null);
        Value::Object(event)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(body in vec(any::<u8>(), 0..200), text in any::<String>()) {
        for keys in [GivenKeys::default(), GivenKeys { url: Some(&text), header: Some(&text) }] {
            prop_assert_eq!(decode(keys, &body), decode(keys, &body));
            drop(decode(keys, text.as_bytes()));
        }
    }

    #[test]
    fn no_damage_to_a_good_body_panics(
        events in vec(any_event(), 1..4),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = json!({ "events": events }).to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;

        drop(decode(URL, &bytes));
        drop(decode(URL, &bytes[..at]));
    }

    #[test]
    fn a_list_is_its_events_one_by_one(events in vec(any_event(), 1..5)) {
        let one_by_one: Vec<_> = events
            .iter()
            // By itself one without a status and with `events` would be a list.
            .map(|event| all(&json!([event]).to_string()).remove(0))
            .collect();

        for list in [json!(events), json!({ "events": events })] {
            prop_assert_eq!(all(&list.to_string()), one_by_one.clone());
        }
    }

    #[test]
    fn what_is_stored_decodes_to_the_same_and_shows_no_key(event in any_event(), pretty in any::<bool>()) {
        let list = json!([event]);
        let text = if pretty { format!("{list:#}") } else { list.to_string() };
        let (message, stored) = all(&text).remove(0);

        prop_assert!(!stored.text.contains(KEY), "{}", stored.text);
        prop_assert_eq!(decode_stored(&stored.text), Some(message.clone()));
        let details = match &message {
            Message::Event(Event { intent: Intent::Trigger { content, .. }, .. }) => {
                prop_assert!(!content.summary.is_empty() && content.labels.len() <= LABELS_MAX);
                content.custom_details.as_deref()
            }
            Message::Event(_) => None,
            Message::Change(change) => change.custom_details.as_deref(),
        };
        if let Some(details) = details {
            let details = serde_json::from_str::<serde_json::Map<String, Value>>(details);
            prop_assert!(details.is_ok_and(|details| details.contains_key("df_x")));
        }
    }
}
