//! What on-call people rely on: what is grouped, what is not, and the laws of the matcher.

use proptest::{collection::vec, prelude::*};

use super::*;

fn groups(texts: &[&str]) -> Vec<i64> {
    let mut templates = Templates::default();
    texts.iter().map(|text| learn(&mut templates, text).template).collect()
}

fn learn(templates: &mut Templates, text: &str) -> Matched {
    templates.learn(&Masked::of(text), THRESHOLD_DEFAULT)
}

fn shown(text: &str) -> String {
    Template::new(1, &Masked::of(text)).shown()
}

/// Fails unless the texts of each row, and only those, come to one group.
fn assert_groups(problems: &[&[&str]]) {
    for texts in problems {
        let found = groups(texts);
        assert!(found.iter().all(|group| *group == found[0]), "{texts:#?} came to {found:?}");
    }
    let firsts: Vec<&str> = problems.iter().map(|texts| texts[0]).collect();
    let mut found = groups(&firsts);
    found.dedup();
    assert_eq!(found.len(), firsts.len(), "{firsts:#?} came to {found:?}");
}

#[test]
fn alerts_of_one_problem_group_and_those_of_another_do_not() {
    assert_groups(&[
        &[
            "DISK at 99% on machine prod-datapipe03.example.com",
            "DISK at 7% on machine prod-datapipe11.example.com",
            "DISK at 93.5% on machine backup",
        ],
        &["CPU at 99% on machine prod-datapipe03.example.com"],
        &[
            "[FIRING:1] HighLatency api-7f9c4d-x2kqp",
            "[FIRING:3] HighLatency api-66b9d8-zz1qd",
            "[FIRING:12] HighLatency 10.1.2.3:9090",
        ],
        &["[FIRING:1] HighErrorRate api-7f9c4d-x2kqp"],
        &["[RESOLVED] HighLatency api-7f9c4d-x2kqp"],
        &[
            "Replication lag of 35 seconds on db-primary",
            "Replication lag of 2.5 s on db-replica",
            "Replication lag of 400 ms on db-replica-eu",
        ],
        &["Certificate of shop.example.com expires in 3 days"],
        &["Service checkout is down", "Service payments is down"],
        &["Job nightly-backup failed", "Job report failed"],
        &["Job report succeeded"],
        &["Queue orders has 1200 messages waiting", "Queue invoices has 88 messages waiting"],
        &["High CPU on db-primary (97%)", "High CPU on web01 (91.5%)"],
        &["High memory on web01 (91.5%)"],
        &["HTTP 500 rate above 5% on checkout", "HTTP 503 rate above 7.25% on payments"],
        &[
            "Disk space is low on volume C: at host WIN-ABCDEF",
            "Disk space is low on volume D: at host WIN-XYZ12",
        ],
        &["Latency > 500ms for /api/v1/users", "Latency > 1.5s for /api/v2/orders/{id}"],
        &[
            "Host web01 is unreachable since 2024-05-03T10:11:12Z",
            "Host mail is unreachable since Fri May 03 10:11:12 UTC 2024",
        ],
        &["Host web01 is reachable since 2024-05-03T10:11:12Z"],
    ]);
}

#[test]
fn chinese_alerts_group_by_what_they_say() {
    assert_groups(&[
        &[
            "磁盘使用率 95% 主机 web-01",
            "磁盘使用率 100% 主机 db-12",
            "磁盘使用率 8％ 主机 10.0.0.7",
        ],
        &["内存使用率 95% 主机 web-01"],
        &["主机web-01磁盘使用率超过95%", "主机web-02磁盘使用率超过80%"],
        &["服务启动成功"],
        &["服务启动失败"],
    ]);
}

#[test]
fn one_word_is_another_problem_but_one_name_is_not() {
    assert_groups(&[
        &["[instance: b9000564-fe1a-409b-b8cc-1e88b294cd1d] VM Started (Lifecycle Event)"],
        &["[instance: b9000564-fe1a-409b-b8cc-1e88b294cd1d] VM Paused (Lifecycle Event)"],
        &[
            "Invalid user admin from 1.2.3.4",
            "Invalid user test from 1.2.3.4",
            "Invalid user 0101 from 10.20.30.40",
            "Invalid user oracle from 10.20.30.40",
        ],
        &["Failed password for root from 1.2.3.4 port 22 ssh2"],
        &[
            "Failed password for invalid user admin from 1.2.3.4 port 22 ssh2",
            "Failed password for invalid user ftp from 1.2.3.4 port 5022 ssh2",
        ],
        &["session opened for user root by (uid=0)", "session opened for user news by (uid=0)"],
        &["session closed for user root", "session closed for user news"],
        &["TaskAttempt Transitioned from NEW to UNASSIGNED"],
        &["TaskAttempt Transitioned from UNASSIGNED to ASSIGNED"],
    ]);
}

#[test]
fn texts_of_other_lengths_are_one_problem_if_only_values_differ() {
    assert_groups(&[
        &[
            "shop.example.com:443 close, 0 bytes sent, 815 bytes received, lifetime <1 sec",
            "mail.example.com:80 close, 1165 bytes (1.13 KB) sent, 0 bytes received, lifetime 00:01",
            "10.0.0.7:80 close, 9 bytes sent, 96000 bytes (93.7 KB) received, lifetime 01:22:03",
        ],
        &["shop.example.com:443 open through proxy proxy.example.com:5070 HTTPS"],
        &["ask 10.0.0.1:50010 to delete blk_1", "ask 10.0.0.2:50010 to delete blk_-5 blk_7 blk_9"],
        &[
            "acquire lock=23, flags=0x1, tag=\"View Lock\", name=com.example.ui, ws=null, uid=1",
            "acquire lock=9, flags=0x0, tag=\"RILJ\", name=phone, ws=WorkSource{10113}, uid=12",
        ],
        &["release lock=23, flags=0x1, tag=\"View Lock\", name=com.example.ui, ws=null, uid=1"],
        &["Fan speeds ( 3552 3534 **** 3515 )", "Fan speeds ( 3552 3534 )"],
        &[
            "connection from 1.2.3.4 () at Fri Jun 17",
            "connection from 5.6.7.8 (a.example.org) at Sat Jul 2",
        ],
    ]);
}

#[test]
fn what_varies_is_masked() {
    for (text, masked) in [
        ("DISK at 99% on machine web01.example.com", "DISK at <*> on machine <*>"),
        ("took 12 ms (0.01 s), 3 KB", "took <*>"),
        ("at 2024-05-03 10:11:12,345 UTC by ops@example.com", "at <*> by <*>"),
        ("id 123e4567-e89b-12d3-a456-426614174000 of deadbeefcafe", "id <*> of <*>"),
        ("GET /v1/items?all=True&since=4 failed", "GET <*> failed"),
        ("read C:\\Windows\\cbs.log or /var/log/syslog", "read <*> or <*>"),
        ("uid=0 tty= user='John Doe' done", "uid=<*> tty=<*> user=<*> done"),
        ("Error: code:17, state:ok.", "Error: code:<*>, state:ok"),
        ("Jun 17 restart", "<*> restart"),
        ("", ""),
        ("...", ""),
    ] {
        assert_eq!(shown(text), masked, "{text}");
    }
}

#[test]
fn a_template_shows_people_where_its_texts_differ() {
    let mut templates = Templates::default();
    learn(&mut templates, "session opened for user root by (uid=0)");
    learn(&mut templates, "session opened for user news by (uid=0)");

    let shown: Vec<_> = templates.iter().map(Template::shown).collect();

    assert_eq!(shown, ["session opened for user <*> by (uid=<*>"]);
}

#[test]
fn a_match_says_which_words_agreed_and_how_near_it_is() {
    let mut templates = Templates::default();
    let made = learn(&mut templates, "Invalid user admin from 1.2.3.4");
    let joined = learn(&mut templates, "Invalid user test from 1.2.3.4");

    assert_eq!((made.is_new, made.score), (true, 10_000));
    assert_eq!((joined.is_new, joined.template), (false, made.template));
    assert_eq!(joined.tokens, "Invalid user from");
    assert!((THRESHOLD_DEFAULT..10_000).contains(&joined.score), "{}", joined.score);
}

#[test]
fn a_higher_threshold_groups_less() {
    let texts = [
        "queue orders is full on broker alpha",
        "queue orders is empty on broker alpha",
        "queue orders is empty on broker beta",
        "Invalid user admin from 1.2.3.4",
        "Invalid user test from 1.2.3.4",
    ];
    let count = |threshold| {
        let mut templates = Templates::default();
        for text in texts {
            templates.learn(&Masked::of(text), threshold);
        }
        templates.len()
    };

    let counts = [0, 6000, THRESHOLD_DEFAULT, 10_000].map(count);

    assert_eq!(counts, [2, 2, 4, 5]);
}

#[test]
fn texts_without_a_word_in_common_are_never_alike() {
    let mut templates = Templates::default();
    learn(&mut templates, "disk full");

    assert_eq!(templates.find(&Masked::of("certificate expired"), 0), None);
    assert_eq!(similarity(&Masked::of("disk full"), &Masked::of("certificate expired")), 0);
}

#[test]
fn fields_cannot_run_into_each_other() {
    let of = |fields: &[&str]| Masked::of_fields(fields.iter().copied());

    assert_ne!(of(&["disk full", "web"]), of(&["disk", "full web"]));
    assert_ne!(of(&["disk", "", "web"]), of(&["disk", "web", ""]));
    assert!(similarity(&of(&["disk full", "web"]), &of(&["disk", "full web"])) < THRESHOLD_DEFAULT);
    assert_eq!(similarity(&of(&["load 5", "7 web"]), &of(&["load 1", "2 web"])), 10_000);
}

#[test]
fn the_least_recently_used_template_goes_and_its_id_never_comes_back() {
    let mut templates = Templates::default();
    for at in 0..TEMPLATES_MAX {
        learn(&mut templates, &word(at));
    }
    let first = learn(&mut templates, &word(0));
    templates.take_changes();

    let newest = learn(&mut templates, "one more");

    assert!(!first.is_new);
    assert_eq!(templates.len(), TEMPLATES_MAX);
    let changes = templates.take_changes();
    assert_eq!((changes.changed.len(), changes.removed), (1, vec![2]));
    assert_eq!(changes.changed[0].id, newest.template);
    assert!(newest.template > first.template);
    assert!(templates.find(&Masked::of(&word(0)), THRESHOLD_DEFAULT).is_some());
    assert_eq!(templates.find(&Masked::of(&word(1)), THRESHOLD_DEFAULT), None);
}

/// A word of its own for each number, without digits.
fn word(number: usize) -> String {
    let digits = number.to_string();
    let letters = digits.bytes().map(|digit| char::from(digit - b'0' + b'g'));
    format!("z{}", letters.collect::<String>())
}

#[test]
fn what_is_no_stored_template_is_refused() {
    for text in [
        "",
        "{}",
        "[]",
        r#"{"u":1,"n":1,"s":[["","x","word"]]}"#,
        r#"{"u":1,"n":1,"s":[["","w",""]]}"#,
    ] {
        assert_eq!(Template::from_stored(1, text), None, "{text}");
    }
}

/// Texts near enough to each other that they meet: few words, values between them, any junk.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => prop::sample::select(vec![
            "disk", "full", "user", "on", "from", "VM", "Started", "Paused", "a.b.c", "uid=", "key:v",
            "磁盘", "true", "host", "is", "by", "web-main", "'x'", "(", "Jun", "ms",
        ]).prop_map(str::to_owned),
        3 => "[0-9]{1,3}",
        1 => any::<String>(),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.join(" "))
}

fn threshold() -> impl Strategy<Value = u32> {
    prop_oneof![3 => Just(THRESHOLD_DEFAULT), 1 => 0..=10_000_u32]
}

proptest! {
    #[test]
    fn any_text_is_masked_and_scores_within_bounds(a in any::<String>(), b in text()) {
        let (a, b) = (Masked::of(&a), Masked::of(&b));

        let score = similarity(&a, &b);

        prop_assert!(score <= 10_000);
        prop_assert_eq!(score, similarity(&b, &a));
        prop_assert_eq!(similarity(&a, &a), 10_000);
        prop_assert_eq!(similarity(&b, &b), 10_000);
    }

    #[test]
    fn similarity_is_symmetric(a in text(), b in text()) {
        let (a, b) = (Masked::of(&a), Masked::of(&b));

        prop_assert_eq!(similarity(&a, &b), similarity(&b, &a));
    }

    #[test]
    fn finding_is_what_learning_finds_and_changes_nothing(
        texts in vec(text(), 1..40), threshold in threshold(),
    ) {
        let mut templates = Templates::default();
        for text in texts {
            let text = Masked::of(&text);
            let found = templates.find(&text, threshold);
            prop_assert_eq!(&found, &templates.find(&text, threshold));

            let learned = templates.learn(&text, threshold);

            prop_assert_eq!(found.is_none(), learned.is_new);
            prop_assert!(learned.score <= 10_000 && learned.score >= threshold.min(10_000));
            if let Some(found) = found {
                prop_assert_eq!(found, learned.clone());
            }
            prop_assert_eq!(templates.find(&text, threshold).map(|m| m.template), Some(learned.template));
        }
    }

    #[test]
    fn the_best_of_all_templates_is_found(
        texts in vec(text(), 1..40), last in text(), threshold in threshold(),
    ) {
        let mut templates = Templates::default();
        for text in texts {
            templates.learn(&Masked::of(&text), threshold);
        }
        let last = Masked::of(&last);

        let found = templates.find(&last, threshold).map(|found| (found.score, found.template));

        let scores = templates.iter().map(|template| {
            (align::score_of(template.units(), &last.units()), template.id)
        });
        prop_assert_eq!(found, scores.filter(|(score, _)| *score >= threshold.max(1)).max());
    }

    #[test]
    fn templates_behave_the_same_after_a_restart(
        before in vec(text(), 0..40), after in vec(text(), 1..40), threshold in threshold(), turn in 0..40_usize,
    ) {
        let mut kept = Templates::default();
        let mut stored = std::collections::BTreeMap::new();
        for text in before {
            kept.learn(&Masked::of(&text), threshold);
            let changes = kept.take_changes();
            stored.extend(changes.changed.into_iter().map(|t| (t.id, t.to_stored())));
            stored.retain(|id, _| !changes.removed.contains(id));
        }
        let mut rows: Vec<_> =
            stored.iter().map(|(id, text)| Template::from_stored(*id, text).unwrap()).collect();
        for row in &rows {
            prop_assert_eq!(&row.to_stored(), &stored[&row.id]);
            prop_assert!(kept.iter().any(|template| template == row));
        }
        let middle = turn.min(rows.len());
        rows.rotate_left(middle);
        let mut restarted = Templates::from_stored(rows);

        prop_assert_eq!(restarted.len(), kept.len());
        for text in after {
            let text = Masked::of(&text);
            prop_assert_eq!(restarted.learn(&text, threshold), kept.learn(&text, threshold));
            prop_assert_eq!(restarted.take_changes(), kept.take_changes());
        }
    }
}

proptest! {
    // Each case fills all places more than once.
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn templates_are_bounded(numbers in vec(0..5_000_usize, 1_500..2_000)) {
        let mut templates = Templates::default();
        let mut last = 0;
        for number in numbers {
            let matched = learn(&mut templates, &word(number));
            prop_assert!(!matched.is_new || matched.template > last);
            last = last.max(matched.template);
            prop_assert!(templates.len() <= TEMPLATES_MAX);
        }
    }
}
