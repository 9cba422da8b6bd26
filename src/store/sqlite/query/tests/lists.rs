//! Each filter, on the indexed part and on the tail.

use super::*;
use crate::{
    domain::{
        alert::Status,
        event::{Action, Disposition, Link},
        id::{AlertId, IncidentId},
        matcher::{Match, Matcher},
    },
    store::query::{ChangeFilter, IncidentRef},
};

/// Five alerts: two of `default`, three of `payments` of which two share an incident.
async fn filled() -> Bench {
    let mut bench = Bench::new().await;
    let disk = Content {
        component: Some("mysql".into()),
        group: Some("prod db".into()),
        class: Some("disk".into()),
        custom_details: Some(r#"{"free":  "1%", "n": {"a": [7]}}"#.into()),
        labels: [("team".to_owned(), "core".to_owned())].into(),
        links: vec![Link { href: "https://example.com".into(), text: None }],
        ..content("DISK at 99% on srv-01")
    };
    let cpu = Content {
        severity: Severity::Critical,
        source: Some("srv-02".into()),
        class: Some("cpu".into()),
        ..content("CPU load high")
    };
    bench.trigger("default", "d/disk", disk.clone()).await;
    bench.trigger("default", "d/zh", content("磁盘使用率过高")).await;
    bench.trigger("payments", "p/disk", disk.clone()).await;
    bench.trigger("payments", "p/cpu", cpu).await;
    bench.trigger("payments", "p/disk2", Content { severity: Severity::Info, ..disk }).await;
    bench.resolve("default", "d/zh").await;
    bench
}

#[tokio::test]
async fn without_filters_a_list_holds_everything_newest_first() {
    let bench = filled().await;

    let keys = bench.alert_keys(AlertFilter::default()).await;

    assert_eq!(keys, ["p/disk2", "p/cpu", "p/disk", "d/zh", "d/disk"]);
}

#[tokio::test]
async fn an_alert_is_shown_with_the_documented_members_in_their_order() {
    let bench = filled().await;

    let listed = bench.alerts(&text(TextField::DedupKey, &["d/disk"])).await;
    let json = serde_json::to_string(&listed.items[0]).unwrap();

    let members = [
        "id",
        "integration_id",
        "integration",
        "service_id",
        "service",
        "dedup_key",
        "status",
        "severity",
        "max_severity",
        "summary",
        "source",
        "component",
        "group",
        "class",
        "custom_details",
        "client",
        "client_url",
        "links",
        "images",
        "labels",
        "event_count",
        "event_at",
        "first_event_at",
        "last_event_at",
        "acknowledged_at",
        "resolved_at",
        "incident_id",
        "suppressed_by",
        "flapping",
        "muted_until",
        "paused_until",
    ];
    let mut at = 0;
    for member in members {
        let place = json.find(&format!("\"{member}\":")).unwrap_or_else(|| panic!("{member}"));
        assert!(place >= at, "{member} is out of order in {json}");
        at = place;
    }
    assert!(json.contains(r#""custom_details":{"free":  "1%", "n": {"a": [7]}}"#), "{json}");
    assert!(json.contains(r#""labels":{"team":"core"}"#), "{json}");
    assert!(json.contains(r#""links":[{"href":"https://example.com""#), "{json}");
    assert!(json.contains(r#""images":[]"#) && json.contains(r#""client":null"#), "{json}");
    assert!(json.contains(r#""suppressed_by":[],"flapping":false,"#), "{json}");
}

#[tokio::test]
async fn values_of_one_name_are_alternatives_and_names_add_up() {
    let bench = filled().await;
    let service = bench.store.services_called("payments").await.unwrap();
    let integration = bench.store.integrations_called("mon-default").await.unwrap();
    let none = AlertFilter::default;

    for (filter, expected) in [
        (AlertFilter { status: vec![Status::Resolved], ..none() }, vec!["d/zh"]),
        (
            AlertFilter { status: vec![Status::Triggered], services: service.clone(), ..none() },
            vec!["p/disk2", "p/cpu", "p/disk"],
        ),
        (
            AlertFilter { severity: vec![Severity::Critical, Severity::Info], ..none() },
            vec!["p/disk2", "p/cpu"],
        ),
        (AlertFilter { integrations: integration, ..none() }, vec!["d/zh", "d/disk"]),
        (
            AlertFilter { status: vec![Status::Triggered, Status::Acknowledged], ..none() },
            vec!["p/disk2", "p/cpu", "p/disk", "d/disk"],
        ),
        (AlertFilter { suppressed: Some(true), ..none() }, vec![]),
        (
            AlertFilter { suppressed: Some(false), services: service, ..none() },
            vec!["p/disk2", "p/cpu", "p/disk"],
        ),
        (
            AlertFilter { since: Some(Timestamp::from_millis(START + 2)), ..none() },
            vec!["p/disk2", "p/cpu", "p/disk"],
        ),
        (AlertFilter { until: Some(Timestamp::from_millis(START + 1)), ..none() }, vec!["d/disk"]),
    ] {
        assert_eq!(bench.alert_keys(filter.clone()).await, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn texts_are_found_in_the_tail_and_in_the_index_alike() {
    let bench = filled().await;
    for indexed in [false, true] {
        for (filter, expected) in [
            (q("disk"), vec!["p/disk2", "p/disk", "d/disk"]),
            (q("DIS 99"), vec!["p/disk2", "p/disk", "d/disk"]),
            (q("isk"), vec![]),
            (q("磁盘"), vec!["d/zh"]),
            (q("使用率"), vec!["d/zh"]),
            (q("率"), vec!["d/zh"]),
            (q("磁盘率"), vec![]),
            (q("高"), vec!["d/zh"]),
            (q("p/cpu"), vec!["p/cpu"]),
            (q("prod db"), vec!["p/disk2", "p/disk", "d/disk"]),
            (q("!!!"), vec![]),
            (text(TextField::DedupKey, &["p/cpu", "d/zh"]), vec!["p/cpu", "d/zh"]),
            (text(TextField::DedupKey, &["P/CPU"]), vec![]),
            (text(TextField::Source, &["srv-02"]), vec!["p/cpu"]),
            (text(TextField::Group, &["prod"]), vec![]),
            (text(TextField::Group, &["prod db"]), vec!["p/disk2", "p/disk", "d/disk"]),
            (text(TextField::Component, &["mysql"]), vec!["p/disk2", "p/disk", "d/disk"]),
            (text(TextField::Class, &["cpu", "!!!"]), vec!["p/cpu"]),
            (text(TextField::Class, &[""]), vec!["d/zh"]),
            (AlertFilter { severity: vec![Severity::Info], ..q("disk") }, vec!["p/disk2"]),
            (
                AlertFilter { q: vec![Query::parse("cpu"), Query::parse("磁")], ..q("") },
                vec!["p/cpu", "d/zh"],
            ),
        ] {
            let keys = bench.alert_keys(filter.clone()).await;
            assert_eq!(keys, expected, "indexed: {indexed}, {filter:?}");
        }
        bench.index().await;
    }
}

#[tokio::test]
async fn a_text_that_an_alert_had_before_does_not_find_it() {
    let mut bench = filled().await;
    bench.trigger("payments", "p/cpu", content("memory is low")).await;

    for _ in 0..2 {
        assert_eq!(bench.alert_keys(q("load")).await, Vec::<String>::new());
        assert_eq!(bench.alert_keys(q("memory")).await, ["p/cpu"]);
        bench.index().await;
    }
}

fn all_of(texts: &[&str]) -> Match {
    Match::all_of(texts.iter().map(|text| Matcher::parse(text).unwrap()).collect())
}

#[tokio::test]
async fn matchers_reach_every_field() {
    let bench = filled().await;
    let matching =
        |texts: &[&str]| AlertFilter { matches: all_of(texts), ..AlertFilter::default() };

    for (matchers, expected) in [
        (&[r#"class="disk""#, r#"severity!="info""#][..], vec!["p/disk", "d/disk"]),
        (&[r#"label.team="core""#, r#"service="default""#], vec!["d/disk"]),
        (&[r#"details.n.a.0="7""#, r#"integration="mon-payments""#], vec!["p/disk2", "p/disk"]),
        (&[r#"summary=~".*过高""#], vec!["d/zh"]),
        (&[r#"class="""#, r#"action="trigger""#], vec!["d/zh"]),
    ] {
        assert_eq!(bench.alert_keys(matching(matchers)).await, expected, "{matchers:?}");
    }
}

#[tokio::test]
async fn large_details_are_read_from_the_body_and_matched() {
    let mut bench = Bench::new().await;
    let details = format!(r#"{{"说明": "{}", "host": "a"}}"#, "长".repeat(5000));
    let large = Content { custom_details: Some(details.as_str().into()), ..content("big") };
    let intent = Intent::Trigger { dedup_key: Some(key("big")), content: Box::new(large) };
    let text = format!("{{\"é\": {details}}}");
    let at = u32::try_from(text.find(&details).unwrap()).unwrap();
    let end = at + u32::try_from(details.len()).unwrap();
    let body = StoredBody { text, details: Some((at, end)) };
    let input = bench.event("default", intent, body);
    bench.send(input).await;

    let shown = bench.alerts(&AlertFilter::default()).await.items.remove(0);
    assert_eq!(shown.custom_details.unwrap().get(), details);
    let matches = all_of(&[r#"details.host="a""#]);
    let listed = bench.alerts(&AlertFilter { matches, ..AlertFilter::default() }).await;

    assert_eq!(listed.items[0].custom_details.as_ref().unwrap().get(), details);
}

#[tokio::test]
async fn an_incident_fits_if_one_of_its_alerts_fits_as_a_whole() {
    let bench = filled().await;
    let titles = async |filter: IncidentFilter| -> Vec<(i64, i64)> {
        let found = bench.incidents(filter).await;
        found.iter().map(|incident| (incident.number, incident.alert_count)).collect()
    };
    let by_alert = |alert| IncidentFilter { alert, ..IncidentFilter::default() };

    for indexed in [false, true] {
        assert_eq!(titles(IncidentFilter::default()).await, [(4, 1), (3, 2), (2, 1), (1, 1)]);
        assert_eq!(titles(by_alert(q("disk"))).await, [(3, 2), (1, 1)], "{indexed}");
        assert_eq!(titles(by_alert(text(TextField::Class, &["cpu"]))).await, [(4, 1)]);
        let info = AlertFilter { matches: all_of(&[r#"severity="info""#]), ..q("") };
        let info = AlertFilter { q: Vec::new(), ..info };
        assert_eq!(titles(by_alert(info.clone())).await, [(3, 2)]);
        let both = all_of(&[r#"severity="info""#, r#"dedup_key="p/disk""#]);
        let both = AlertFilter { matches: both, ..q("disk") };
        assert_eq!(titles(by_alert(both)).await, [], "no one alert is both");
        let integrations = bench.store.integrations_called("mon-payments").await.unwrap();
        let of_payments = AlertFilter { integrations, ..AlertFilter::default() };
        assert_eq!(titles(by_alert(of_payments)).await, [(4, 1), (3, 2)]);
        let open = IncidentFilter { status: vec![Status::Triggered], ..by_alert(q("d")) };
        assert_eq!(titles(open).await, [(3, 2), (1, 1)]);
        let numbers = vec![IncidentRef::Number(2), IncidentRef::Number(9)];
        let numbered = IncidentFilter { incidents: numbers, ..IncidentFilter::default() };
        assert_eq!(titles(numbered).await, [(2, 1)]);
        bench.index().await;
    }
}

#[tokio::test]
async fn an_incident_is_shown_by_id_and_by_number_with_its_alerts_and_timeline() {
    let mut bench = filled().await;
    let incident = bench.store.incident(IncidentRef::Number(3)).await.unwrap().unwrap();
    bench.act(Target::Incident(incident.id), Verb::Note("looking into it".into())).await;

    assert_eq!(incident.event_count, 2);
    assert_eq!((incident.open_alert_count, incident.severity), (2, Severity::Error));
    assert_eq!(incident.service, "payments");
    let by_id = bench.store.incident(IncidentRef::Id(incident.id)).await.unwrap().unwrap();
    assert_eq!(by_id.number, 3);
    let foreign = IncidentId::new(Timestamp::default(), 3, 0);
    assert!(bench.store.incident(IncidentRef::Id(foreign)).await.unwrap().is_none());
    let of = |incident| AlertFilter { incidents: vec![incident], ..AlertFilter::default() };
    assert_eq!(bench.alert_keys(of(IncidentRef::Id(incident.id))).await, ["p/disk2", "p/disk"]);
    assert_eq!(bench.alert_keys(of(IncidentRef::Id(foreign))).await, Vec::<String>::new());
    let timeline = bench.store.incident_timeline(incident.id, page()).await.unwrap();
    let kinds: Vec<&str> = timeline.items.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["note", "joined", "opened"]);
    assert_eq!(timeline.items[0].reason, "looking into it");
    assert_eq!(timeline.total, Some(3));
    let note = bench.store.note("token:ann", "looking into it").await.unwrap().unwrap();
    assert_eq!((note.id, note.incident_id), (timeline.items[0].id, Some(incident.id)));
    for (actor, text) in [("token:ann", "looking"), ("token:bob", "looking into it")] {
        assert!(bench.store.note(actor, text).await.unwrap().is_none());
    }
    assert!(bench.store.note("token:ann", &timeline.items[1].reason).await.unwrap().is_none());
}

#[tokio::test]
async fn events_are_found_by_their_alert_their_own_words_and_their_key() {
    let mut bench = filled().await;
    bench.resolve("default", "nobody").await;
    bench.trigger("payments", "p/cpu", content("memory is low")).await;
    let dispositions = async |filter: EventFilter| -> Vec<&'static str> {
        bench.events(filter).await.iter().map(|event| event.disposition.as_str()).collect()
    };
    let by = |event| EventFilter { event, ..EventFilter::default() };
    let alert = bench.alerts(&text(TextField::DedupKey, &["d/zh"])).await.items.remove(0);

    for indexed in [false, true] {
        let alerts = vec![alert.id];
        let of_alert = EventFilter { alerts, ..EventFilter::default() };
        assert_eq!(dispositions(of_alert.clone()).await, ["resolved", "opened"]);
        let action = vec![Action::Resolve];
        let resolves = EventFilter { action: action.clone(), ..of_alert };
        assert_eq!(dispositions(resolves).await, ["resolved"]);
        let resolves = EventFilter { action, ..EventFilter::default() };
        assert_eq!(dispositions(resolves).await, ["ignored", "resolved"]);
        let key = by(text(TextField::DedupKey, &["nobody"]));
        assert_eq!(dispositions(key).await, ["ignored"]);
        assert_eq!(dispositions(by(q("磁盘"))).await, ["resolved", "opened"], "{indexed}");
        assert_eq!(dispositions(by(q("load"))).await, ["opened"], "what it said then");
        assert_eq!(dispositions(by(q("memory"))).await, ["merged"]);
        assert_eq!(dispositions(by(q("nobody"))).await, Vec::<&str>::new());
        let foreign = vec![AlertId::new(Timestamp::default(), 1, 0)];
        let foreign = EventFilter { alerts: foreign, ..EventFilter::default() };
        assert_eq!(dispositions(foreign).await, Vec::<&str>::new());
        let opened = EventFilter {
            disposition: vec![Disposition::Opened],
            ..by(AlertFilter { severity: vec![Severity::Critical], ..AlertFilter::default() })
        };
        assert_eq!(dispositions(opened).await, ["opened"]);
        let incident = vec![IncidentRef::Number(3)];
        let incident = by(AlertFilter { incidents: incident, ..AlertFilter::default() });
        assert_eq!(dispositions(incident).await, ["opened", "opened"]);
        let matches = all_of(&[r#"action="resolve""#]);
        let matched = by(AlertFilter { matches, ..AlertFilter::default() });
        assert_eq!(dispositions(matched).await, ["ignored", "resolved"]);
        bench.index().await;
    }
    let receipt = bench.resolve("default", "d/disk").await;
    let event = bench.store.event(receipt.event_id).await.unwrap().unwrap();
    assert_eq!(event.alert_id, receipt.alert_id);
    assert!(event.trace.get().starts_with("[{\"stage\":\"route\""));
}

#[tokio::test]
async fn changes_are_listed() {
    let mut bench = Bench::new().await;
    bench.change("default", "deployed v1").await;
    bench.now = bench.now.plus(Span::parse("2h").unwrap());
    bench.change("default", "deployed v2").await;
    bench.change("payments", "deployed v3").await;

    let all = bench.store.changes(&ChangeFilter::default(), page()).await.unwrap();
    let some = ChangeFilter { q: vec![Query::parse("V2")], ..ChangeFilter::default() };
    let some = bench.store.changes(&some, page()).await.unwrap();

    assert_eq!((all.items.len(), all.total), (3, Some(3)));
    assert_eq!((some.items.len(), some.total), (1, Some(1)));
    assert_eq!(some.items[0].summary, "deployed v2");
    assert_eq!(some.items[0].custom_details.as_ref().unwrap().get(), "{\"b\": 1, \"a\":2}");
    assert!(bench.store.change(all.items[0].id).await.unwrap().is_some());
    let audit = bench.store.audit(Page { limit: 3, ..page() }).await.unwrap();
    assert_eq!((audit.items.len(), audit.total), (3, Some(4)));
    assert!(audit.next.is_some());
}

#[tokio::test]
async fn what_was_deleted_is_found_by_its_old_name() {
    let mut bench = filled().await;
    let integration = bench.directory.integration_named("mon-default").unwrap().id;
    bench.configure(Configuration::DeleteIntegration(integration)).await;

    let found = bench.store.integrations_called("mon-default").await.unwrap();

    assert_eq!(found, [integration]);
    assert_eq!(bench.store.integrations_called(&integration.to_string()).await.unwrap(), found);
    assert!(bench.store.integrations_called("mon-typo").await.unwrap().is_empty());
}
