//! Settings from every source, and what is said about wrong ones.

use secrecy::ExposeSecret;

use super::*;

fn problems(yaml: &str) -> Vec<String> {
    match Loaded::from_texts(yaml, [], []) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn no_settings_at_all_are_enough() {
    let settings = Loaded::from_texts("", [], []).unwrap().settings;

    assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.database_url.to_string(), "sqlite://data/dutygate.db");
    assert_eq!(settings.limits.events_per_minute, None);
    assert_eq!(settings.retention.alerts, Span::parse("180d").unwrap());
    assert_eq!(settings.base_url(), "http://127.0.0.1:8080");
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let yaml = "limits: {body_bytes: 2000, events_per_minute: 7}\ningest:\n  max_batch: 10\n";
    let environment = [("DUTYGATE_LIMITS_BODY_BYTES", "3000"), ("DUTYGATE_INGEST_MAX_BATCH", "20")];

    let settings =
        Loaded::from_texts(yaml, environment, [("ingest.max_batch", "30")]).unwrap().settings;

    assert_eq!(settings.limits.events_per_minute, std::num::NonZeroU32::new(7));
    assert_eq!(settings.limits.body_bytes, 3000);
    assert_eq!(settings.ingest.max_batch, 30);
    assert_eq!(settings.ingest.queue_capacity, 4096);
}

#[test]
fn an_empty_value_is_no_value() {
    let yaml = "public_url: ''\nlimits:\nlog:\n  level:\nlisten: 127.0.0.1:1\n";

    let settings = Loaded::from_texts(yaml, [("DUTYGATE_LISTEN", "")], []).unwrap().settings;

    assert_eq!(settings.public_url, None);
    assert_eq!(settings.listen.to_string(), "127.0.0.1:1");
}

#[test]
fn all_errors_of_all_sources_come_at_once_with_their_places() {
    let yaml = "listen: nowhere\nlimits:\n  body_bytes: lots\n  events: 5\nshutdown: 5s\n\
                database_url: postgres://u:hunter2@h/d\ntls:\n  cert: a.pem\n";
    let environment = [("DUTYGATE_LOG_LEVEL", "loud"), ("DUTYGATE_ADMIN_TOKEN", "hunter2")];
    let flags = [("retention.events", "5 days"), ("otlp.endpoint", "http://collector:4318")];

    let errors = Loaded::from_texts(yaml, environment, flags).unwrap_err();

    let text = errors.to_string();
    let expected = [
        "limits.events (dutygate.yaml): is unknown; limits has events_per_minute, body_bytes",
        "shutdown (dutygate.yaml): must be a group of the keys delay, grace",
        "listen (dutygate.yaml): must be host:port or unix:/path, such as \"127.0.0.1:8080\", is \"nowhere\"",
        "database_url (dutygate.yaml): PostgreSQL is not supported by this version yet; use sqlite://path",
        "DUTYGATE_ADMIN_TOKEN (environment): must be at least 16 printable ASCII characters without spaces, has 7 characters",
        "limits.body_bytes (dutygate.yaml): must be a whole number from 1024 to 524288 (bytes), is \"lots\"",
        "--retention-events (flag): must be a duration from 1s to 36500d, such as \"90s\", \"15m\", \"4h\" or \"7d\", is \"5 days\"",
        "tls.key (settings): is missing, but tls.cert is set",
        "DUTYGATE_LOG_LEVEL (environment): must be off, error, warn, info, debug or trace, or a list such as \"info,dutygate::ingest=debug\", is \"loud\"",
        "--otlp-endpoint (flag): must be left out: it is not supported by this version yet",
    ];
    for line in expected {
        assert!(text.contains(line), "missing {line:?} in:\n{text}");
    }
    assert_eq!(errors.0.len(), expected.len(), "{text}");
    assert!(!text.contains("hunter2"));
}

#[test]
fn a_mistake_is_found_although_a_stronger_source_hides_it() {
    let errors =
        Loaded::from_texts("listen: x", [("DUTYGATE_LISTEN", "127.0.0.1:1")], []).unwrap_err();

    assert_eq!(errors.0.len(), 1);
}

#[test]
fn an_unknown_key_is_an_error_that_names_what_was_meant() {
    for (yaml, hint) in [
        ("listenn: x", "listenn (dutygate.yaml): is unknown; did you mean listen?"),
        ("limit: {body_bytes: 1}", "limit (dutygate.yaml): is unknown; did you mean limits?"),
        (
            "limits: {body_byte: 1}",
            "limits.body_byte (dutygate.yaml): is unknown; did you mean limits.body_bytes?",
        ),
        (
            "body_bytes: 1",
            "body_bytes (dutygate.yaml): is unknown; did you mean limits.body_bytes?",
        ),
        (
            "log.level: info",
            "log.level (dutygate.yaml): is unknown; write it as a group: \"log: {level: …}\"",
        ),
        ("colour: red", "colour (dutygate.yaml): is unknown; config.example.yaml lists all keys"),
        ("1: x", "dutygate.yaml: has a key that is not text"),
    ] {
        assert_eq!(problems(yaml), [hint]);
    }
}

#[test]
fn a_value_of_the_wrong_shape_is_an_error() {
    for (yaml, part) in [
        ("- listen", "must be keys with values"),
        ("listen: [a]", "is a list"),
        ("listen: {a: b}", "is a group"),
        ("listen: 8080", "as text in quotes"),
        (
            "default_integration_key: 12345678901234567890123456789012",
            "default_integration_key: has a value that YAML cannot hold; put it in quotes",
        ),
        ("outbound: {allow_private_addresses: maybe}", "must be true or false"),
        ("limits: {body_bytes: 5000.5}", "must be a whole number"),
        ("listen: a:1\nlisten: b:1", "is not YAML"),
        ("listen: 'a:1", "is not YAML"),
        (
            "ingest: {max_batch: 100, queue_capacity: 50}",
            "must not be more than ingest.queue_capacity (50)",
        ),
        ("metrics: {listen: '127.0.0.1:8080'}", "must differ from listen"),
    ] {
        let problems = problems(yaml);
        assert!(problems.len() == 1 && problems[0].contains(part), "{yaml}: {problems:?}");
        assert!(!problems[0].contains("1234567890"), "a key is not repeated");
    }
}

#[test]
fn an_unknown_variable_is_a_warning_and_foreign_ones_are_nothing() {
    let environment = [
        ("DUTYGATE_LISTEM", "127.0.0.1:1"),
        ("DUTYGATE_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("DUTYGATE_SERVICE_HOST", "10.0.0.1"),
        ("DUTYGATE_TOKEN", "x"),
        ("HOME", "/"),
    ];

    let loaded = Loaded::from_texts("", environment, []).unwrap();

    assert_eq!(
        loaded.warnings,
        [
            "DUTYGATE_LISTEM (environment): is no setting and has no effect; did you mean DUTYGATE_LISTEN?"
        ]
    );
}

#[test]
fn a_reload_knows_which_keys_changed() {
    let older = Loaded::from_texts("log: {level: info}", [("DUTYGATE_LISTEN", "a:1")], []).unwrap();
    let newer = Loaded::from_texts(
        "log: {level: debug}",
        [("DUTYGATE_LISTEN", "a:1"), ("DUTYGATE_ADMIN_TOKEN", "correct-horse-battery")],
        [],
    )
    .unwrap();

    assert_eq!(older.changed_keys(&newer), ["admin_token", "log.level"]);
    assert_eq!(newer.changed_keys(&newer.clone()), [""; 0]);
    assert!(!format!("{newer:?}").contains("correct-horse"));
}

#[test]
fn secrets_are_read_and_not_shown() {
    let environment = [
        ("DUTYGATE_ADMIN_TOKEN", "correct-horse-battery"),
        ("DUTYGATE_DEFAULT_INTEGRATION_KEY", "0123456789abcdefABCDEF9876543210"),
        ("DUTYGATE_HEARTBEAT_URL", "https://hc.example.com/correct-horse"),
    ];

    let settings = Loaded::from_texts("", environment, []).unwrap().settings;

    let shown = format!("{settings:?}");
    assert!(!shown.contains("correct-horse") && !shown.contains("ABCDEF"), "{shown}");
    assert_eq!(settings.admin_token.unwrap().expose_secret(), "correct-horse-battery");
}

#[test]
fn every_key_of_the_table_is_read_from_every_source() {
    for key in KEYS {
        let wrong = if matches!(key.kind, Kind::Path) { "x" } else { "\u{1}" };
        let yaml = match key.group() {
            Some(group) => format!("{group}: {{{}: \"{}\"}}", key.name(), wrong.escape_default()),
            None => format!("{}: \"{}\"", key.path, wrong.escape_default()),
        };
        let yaml = yaml.replace("\\u{1}", "\\u0001");
        assert_eq!(problems(&yaml).len(), 1, "{yaml}");
        assert!(Loaded::from_texts("", [(key.env().as_str(), wrong)], []).is_err(), "{}", key.path);
        assert!(Loaded::from_texts("", [], [(key.path, wrong)]).is_err(), "{}", key.path);
    }
}

#[test]
fn the_base_of_links_is_reachable() {
    for (yaml, url) in [
        ("listen: 0.0.0.0:80", "http://127.0.0.1:80"),
        ("listen: '[::]:80'", "http://[::1]:80"),
        ("listen: unix:/run/x.sock", "http://localhost"),
        ("tls: {cert: a, key: b}", "https://127.0.0.1:8080"),
        ("public_url: https://duty.example.com/", "https://duty.example.com"),
    ] {
        let settings = Loaded::from_texts(yaml, [], []).unwrap().settings;
        assert_eq!(settings.base_url(), url);
    }
}

#[test]
fn a_named_file_that_is_not_there_is_an_error() {
    let sources = Sources { file: Some("/nonexistent/dutygate.yaml".into()), flags: Vec::new() };

    let errors = sources.load().unwrap_err();

    assert!(errors.to_string().contains("/nonexistent/dutygate.yaml: cannot be read"), "{errors}");
}

#[test]
fn files_that_are_named_and_not_there_are_found() {
    let loaded = Loaded::from_texts("tls: {cert: /nonexistent/a, key: /nonexistent/b}", [], []);

    let missing = loaded.unwrap().settings.missing_files();

    assert_eq!(missing.iter().map(|e| e.at.as_str()).collect::<Vec<_>>(), ["tls.cert", "tls.key"]);
}
