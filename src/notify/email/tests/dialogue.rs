//! What goes over the wire to a mail server, and what its answers mean.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};

use super::{
    super::Email,
    email,
    server::{Reply, Server},
};
use crate::{
    domain::{id::DeliveryId, notify::Reason, time::Timestamp},
    notify::{
        Attempt, Failure, Guard, Notifier as _, Outcome, Sent,
        tests::message::{attempt, delivery, message, resolved},
    },
};

const AGAIN: Outcome = Outcome::Retry { failure: Failure::Refused, after: None };
const UNREACHABLE: Outcome = Outcome::Retry { failure: Failure::Unreachable, after: None };
const UNANSWERED: Outcome = Outcome::Retry { failure: Failure::Unanswered, after: None };
const DEAD: Outcome = Outcome::Dead { failure: Failure::Refused };

/// Sends a message with these settings.
async fn sent(settings: &Value) -> Sent {
    let email = email(settings, Guard::new(true)).unwrap();
    let payload = email.compose(&message()).unwrap();
    email.send(&attempt(&payload)).await
}

/// Sends a message to a server that answers one command so.
async fn answered(command: &'static str, reply: Reply) -> Sent {
    let server = Server::start(move |seen| seen.starts_with(command).then(|| reply.clone()));
    sent(&json!({"smtp": server.url()})).await
}

fn other_delivery() -> DeliveryId {
    DeliveryId::new(Timestamp::from_millis(1), 99, 1)
}

fn words(sent: &Sent) -> &str {
    sent.error.as_deref().unwrap_or_default()
}

#[tokio::test]
async fn one_mail_goes_to_all_recipients() {
    let server = Server::start(|_| None);

    let sent = sent(&json!({"smtp": server.url()})).await;

    assert_eq!((sent.outcome, sent.status), (Outcome::Delivered, Some(250)));
    assert_eq!(sent.error, None);
    assert_eq!(sent.answer, "250 2.0.0 Ok: queued as 4711");
    assert!(sent.request.contains("To: night@example.com, Ops <ops@example.org>"), "{sent:?}");
    let seen = server.seen();
    assert_eq!(
        seen.commands,
        [
            "EHLO duty.example.com",
            "MAIL FROM:<gate@example.com>",
            "RCPT TO:<night@example.com>",
            "RCPT TO:<ops@example.org>",
            "DATA",
            "QUIT"
        ]
    );
    let [mail] = &seen.mails[..] else { panic!("{seen:?}") };
    let (head, body) = mail.split_once("\r\n\r\n").unwrap();
    for line in [
        "From: Duty <gate@example.com>",
        "To: night@example.com, Ops <ops@example.org>",
        "Date: Fri, 20 Nov 2026 10:11:12 +0000",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        "Subject: [CRITICAL] DISK at 99 % on db-1: =?utf-8?b?",
    ] {
        assert!(head.contains(line), "{line} is not in:\n{head}");
    }
    assert!(head.is_ascii() && body.is_ascii());
    assert!(head.lines().all(|line| line.len() < 100), "{head}");
    assert!(body.contains("Content-Type: text/plain; charset=utf-8"), "{body}");
    assert!(body.contains("Content-Type: text/html; charset=utf-8"), "{body}");
}

#[tokio::test]
async fn a_mail_has_the_id_of_its_delivery_and_refers_to_its_incident() {
    let server = Server::start(|_| None);
    let email = email(&json!({"smtp": server.url()}), Guard::new(true)).unwrap();
    for message in [message(), message(), resolved()] {
        let payload = email.compose(&message).unwrap();
        assert_eq!(email.send(&attempt(&payload)).await.outcome, Outcome::Delivered);
    }

    let thread = format!("<incident.{}@example.com>", message().incident.id);
    for mail in server.seen().mails {
        for line in [
            format!("Message-ID: <{}@example.com>", delivery()),
            format!("In-Reply-To: {thread}"),
            format!("References: {thread}"),
        ] {
            assert!(mail.contains(&line), "{line} is not in:\n{mail}");
        }
    }
}

#[tokio::test]
async fn an_answer_says_whether_to_try_again() {
    for (command, reply, outcome, said) in [
        ("connect", "554 5.7.1 no service for you", AGAIN, "does not let us in (554"),
        ("connect", "421 4.3.2 shutting down", UNREACHABLE, "takes nothing now (421"),
        ("connect", "450 4.7.0 slow down", AGAIN, "asks to come again (450"),
        ("EHLO", "550 5.7.1 who are you", AGAIN, "does not let us in (550"),
        ("MAIL", "530 5.7.0 authenticate first", AGAIN, "check username and password"),
        ("MAIL", "553 5.7.1 not owned", DEAD, "does not take mail from the address in from (553"),
        ("MAIL", "451 4.3.0 later", AGAIN, "asks to come again (451"),
        ("RCPT", "451 4.7.1 Greylisted", AGAIN, "night@example.com (451 4.7.1 Greylisted)"),
        ("RCPT", "550 5.1.1 no such user", DEAD, "takes no mail for night@example.com (550"),
        ("RCPT", "421 4.7.0 too many", UNREACHABLE, "takes nothing now (421"),
        ("DATA", "554 5.5.1 no recipients", DEAD, "does not take the mail (554"),
        (".", "554 5.7.1 looks like spam", DEAD, "does not take the mail (554 5.7.1 looks like"),
        (".", "552 5.3.4 too large", DEAD, "does not take the mail (552"),
        (".", "451 4.3.0 disk is full", AGAIN, "asks to come again (451"),
    ] {
        let sent = answered(command, Reply::Say(reply)).await;

        assert_eq!(sent.outcome, outcome, "{command}: {reply}");
        assert!(words(&sent).contains(said), "{command}: {reply}: {}", words(&sent));
        assert_eq!(sent.status, reply[..3].parse().ok(), "{command}: {reply}");
        assert!(sent.answer.contains(&reply[..3]), "{}", sent.answer);
    }
}

#[tokio::test]
async fn what_breaks_before_the_mail_has_not_arrived_and_after_it_may_have() {
    for (command, outcome) in [
        ("connect", UNREACHABLE),
        ("EHLO", UNREACHABLE),
        ("MAIL", UNREACHABLE),
        ("RCPT", UNREACHABLE),
        ("DATA", UNREACHABLE),
        (".", UNANSWERED),
    ] {
        let sent = answered(command, Reply::Close).await;

        assert_eq!(sent.outcome, outcome, "{command}: {}", words(&sent));
        assert_eq!(sent.status, None);
        let arrived = words(&sent).contains("may have arrived");
        assert_eq!(arrived, outcome == UNANSWERED, "{command}: {}", words(&sent));
    }
}

#[tokio::test]
async fn a_server_that_is_silent_is_left_after_15_seconds() {
    for (command, outcome) in [("connect", UNREACHABLE), ("MAIL", UNREACHABLE), (".", UNANSWERED)] {
        let server = Server::start(move |seen| seen.starts_with(command).then_some(Reply::Hang));
        let hangs = Arc::clone(&server.hangs);
        let settings = json!({"smtp": server.url()});
        let stop = async move {
            hangs.notified().await;
            tokio::time::pause();
        };

        let (sent, ()) = tokio::join!(sent(&settings), stop);
        tokio::time::resume();

        assert_eq!(sent.outcome, outcome, "{command}: {}", words(&sent));
        assert!(words(&sent).contains("15 s"), "{command}: {}", words(&sent));
    }
}

#[tokio::test]
async fn a_farewell_that_is_not_answered_changes_nothing() {
    let server = Server::start(|seen| (seen == "QUIT").then_some(Reply::Hang));
    let hangs = Arc::clone(&server.hangs);
    let settings = json!({"smtp": server.url()});
    let stop = async move {
        hangs.notified().await;
        tokio::time::pause();
    };

    let (sent, ()) = tokio::join!(sent(&settings), stop);

    assert_eq!(sent.outcome, Outcome::Delivered);
}

#[tokio::test]
async fn a_wrong_address_does_not_keep_the_mail_from_the_others() {
    let reply = "550 5.1.1 no such user";
    let server = Server::start(move |seen| seen.contains("<night@").then_some(Reply::Say(reply)));

    let sent = sent(&json!({"smtp": server.url()})).await;

    assert_eq!((sent.outcome, sent.remote), (Outcome::Delivered, None));
    let said = format!("taken, but not for night@example.com ({reply})");
    assert_eq!(sent.error, Some(said));
    assert_eq!(server.seen().mails.len(), 1);
}

/// A server that takes no mail for one of the two: it says each of these once, and then the last of
/// them. And the receiver that has both.
fn not_now(replies: &'static [&'static str]) -> (Server, Email) {
    let asked = AtomicUsize::default();
    let server = Server::start(move |seen| {
        let reply = || replies[asked.fetch_add(1, Ordering::Relaxed).min(replies.len() - 1)];
        seen.contains("<night@").then(|| Reply::Say(reply()))
    });
    let email = email(&json!({"smtp": server.url()}), Guard::new(true)).unwrap();
    (server, email)
}

/// Who is named in `RCPT TO`, mail by mail.
fn recipients(server: &Server) -> Vec<Vec<String>> {
    let seen = server.seen().commands;
    let mails = seen.split(|command| command == "QUIT").filter(|mail| !mail.is_empty());
    let name = |command: &String| {
        let address = command.strip_prefix("RCPT TO:<")?;
        Some(address.split('@').next().unwrap_or_default().to_owned())
    };
    mails.map(|mail| mail.iter().filter_map(name).collect()).collect()
}

#[tokio::test]
async fn who_is_refused_for_now_gets_the_mail_later_and_nobody_gets_it_twice() {
    let replies = &["452 4.2.2 mailbox full", "450 4.2.0 Greylisted", "250 2.1.5 Ok"];
    let (server, email) = not_now(replies);
    let payload = email.compose(&message()).unwrap();

    let first = email.send(&attempt(&payload)).await;
    let second = email.send(&Attempt { remote: first.remote.as_ref(), ..attempt(&payload) }).await;
    let third = email.send(&Attempt { remote: first.remote.as_ref(), ..attempt(&payload) }).await;

    // Somebody has it, so the end is owed whatever becomes of the others.
    assert!(matches!(first.outcome, Outcome::Continue { .. }), "{first:?}");
    assert_eq!(words(&first), "taken, but not for night@example.com (452 4.2.2 mailbox full)");
    assert_eq!((second.outcome, &second.remote), (AGAIN, &None));
    assert_eq!((third.outcome, &third.error), (Outcome::Delivered, &None));
    assert_eq!(recipients(&server), [vec!["night", "ops"], vec!["night"], vec!["night"]]);
    assert_eq!(server.seen().mails.len(), 2);

    // The next mail is for all, and so is this one if it has to go out anew.
    let other = Attempt { delivery: other_delivery(), ..attempt(&payload) };
    email.send(&Attempt { remote: first.remote.as_ref(), ..other }).await;
    email.send(&Attempt { remote: third.remote.as_ref(), ..attempt(&payload) }).await;
    assert_eq!(recipients(&server)[3..], [["night", "ops"], ["night", "ops"]]);
}

#[tokio::test]
async fn who_is_refused_for_a_quarter_of_an_hour_holds_the_next_mails_up_no_longer() {
    const FULL: &str = "452 4.2.2 mailbox full";
    let (_server, email) = not_now(&[FULL, FULL, FULL]);
    let payload = email.compose(&message()).unwrap();
    let first = email.send(&attempt(&payload)).await;
    let after = |seconds| Attempt {
        remote: first.remote.as_ref(),
        now: attempt(&payload).now.plus(crate::domain::time::Span::from_secs(seconds)),
        ..attempt(&payload)
    };

    let early = email.send(&after(899)).await;
    let late = email.send(&after(900)).await;

    assert_eq!(early.outcome, AGAIN);
    assert!(matches!(late.outcome, Outcome::Dead { .. }), "{late:?}");
    assert!(
        words(&late).contains("night@example.com (452 4.2.2 mailbox full); the others have it")
    );
}

#[tokio::test]
async fn who_is_refused_for_good_after_the_others_got_it_is_named_and_the_mail_is_delivered() {
    let (server, email) = not_now(&["452 4.2.2 mailbox full", "550 5.1.1 no such user"]);
    let payload = email.compose(&message()).unwrap();
    let first = email.send(&attempt(&payload)).await;

    let second = email.send(&Attempt { remote: first.remote.as_ref(), ..attempt(&payload) }).await;

    assert_eq!((second.outcome, second.status), (Outcome::Delivered, Some(550)));
    let said = "takes no mail for night@example.com (550 5.1.1 no such user)";
    assert!(words(&second).contains(said), "{second:?}");
    assert_eq!(server.seen().mails.len(), 1);
}

#[tokio::test]
async fn a_test_that_somebody_got_is_not_tried_again() {
    let (_server, email) = not_now(&["452 4.2.2 mailbox full"]);
    let payload = email.compose(&message()).unwrap();

    let sent = email.send(&Attempt { reason: Reason::Test, ..attempt(&payload) }).await;

    assert_eq!((sent.outcome, &sent.remote), (Outcome::Delivered, &None));
    assert!(words(&sent).contains("not for night@example.com"), "{sent:?}");
}

#[tokio::test]
async fn if_nobody_is_taken_one_who_may_be_later_is_hope() {
    let server = Server::start(|seen| match seen {
        "RCPT TO:<night@example.com>" => Some(Reply::Say("550 5.1.1 no such user")),
        "RCPT TO:<ops@example.org>" => Some(Reply::Say("451 4.7.1 Greylisted")),
        _ => None,
    });

    let sent = sent(&json!({"smtp": server.url()})).await;

    assert_eq!((sent.outcome, sent.status), (AGAIN, Some(451)));
}

#[tokio::test]
async fn without_a_password_starttls_is_used_if_it_is_offered() {
    let server = Server::start(|seen| {
        seen.starts_with("EHLO").then_some(Reply::Say("250-mail.test\r\n250 STARTTLS"))
    });

    let sent = sent(&json!({"smtp": server.url()})).await;

    assert_eq!(sent.outcome, Outcome::Delivered, "{sent:?}");
    let seen = server.seen();
    assert_eq!(seen.commands[..2], ["EHLO duty.example.com", "STARTTLS"]);
    assert!(seen.commands[2..].iter().all(|command| command.starts_with('!')), "{seen:?}");
}

#[tokio::test]
async fn a_password_is_never_sent_in_the_clear() {
    let server = Server::start(|seen| {
        seen.starts_with("EHLO").then_some(Reply::Say("250-mail.test\r\n250 AUTH PLAIN LOGIN"))
    });

    let settings = json!({
        "smtp": server.url(), "username": "gate", "password_env": "MAIL_PASSWORD",
    });
    let sent = sent(&settings).await;

    assert_eq!(sent.outcome, AGAIN);
    assert!(words(&sent).contains("offers no STARTTLS"), "{}", words(&sent));
    assert!(server.seen().commands.iter().all(|command| !command.starts_with("AUTH")));
}

#[tokio::test]
async fn a_password_is_only_sent_to_whom_the_certificate_names() {
    let starttls = Server::start(|seen| {
        seen.starts_with("EHLO").then_some(Reply::Say("250-mail.test\r\n250 STARTTLS"))
    });
    let tls = Server::start_tls();

    for url in [starttls.url(), format!("smtps://127.0.0.1:{}", tls.port)] {
        let settings = json!({"smtp": url, "username": "gate", "password_env": "MAIL_PASSWORD"});
        let sent = sent(&settings).await;

        assert_eq!(sent.outcome, UNREACHABLE, "{url}");
        assert!(words(&sent).contains("no TLS with 127.0.0.1"), "{}", words(&sent));
        assert!(words(&sent).contains("certificate"), "{}", words(&sent));
    }
    assert!(tls.seen().commands.is_empty());
}

#[tokio::test]
async fn a_refused_starttls_is_tried_again() {
    let server = Server::start(|seen| match seen {
        "STARTTLS" => Some(Reply::Say("454 4.7.0 TLS not available")),
        hello if hello.starts_with("EHLO") => Some(Reply::Say("250-mail.test\r\n250 STARTTLS")),
        _ => None,
    });

    let sent = sent(&json!({"smtp": server.url()})).await;

    assert_eq!((sent.outcome, sent.status), (AGAIN, Some(454)));
}

#[tokio::test]
async fn addresses_with_other_letters_need_a_server_that_takes_them() {
    let plain = Server::start(|_| None);
    let modern = Server::start(|seen| {
        seen.starts_with("EHLO").then_some(Reply::Say("250-mail.test\r\n250 SMTPUTF8"))
    });
    let to = json!(["值班@example.com"]);

    let refused = sent(&json!({"smtp": plain.url(), "to": to})).await;
    let taken = sent(&json!({"smtp": modern.url(), "to": to})).await;

    assert_eq!(refused.outcome, DEAD);
    assert!(words(&refused).contains("other letters than ASCII"), "{}", words(&refused));
    assert_eq!(taken.outcome, Outcome::Delivered, "{taken:?}");
    let seen = modern.seen().commands;
    assert_eq!(seen[1], "MAIL FROM:<gate@example.com> SMTPUTF8");
}

#[tokio::test]
async fn private_addresses_are_refused_unless_allowed() {
    let server = Server::start(|_| None);
    let guarded = |host: &str, allowed: &[&str]| {
        let smtp = format!("smtp://{host}:{}", server.port);
        email(&json!({"smtp": smtp, "allowed_hosts": allowed}), Guard::new(false)).unwrap()
    };
    let payload = guarded("localhost", &[]).compose(&message()).unwrap();

    for host in ["127.0.0.1", "localhost", "[::1]"] {
        let sent = guarded(host, &["other"]).send(&attempt(&payload)).await;
        assert_eq!(sent.outcome, DEAD, "{host}");
        assert!(words(&sent).starts_with("address not allowed"), "{host}: {}", words(&sent));
    }
    assert!(server.seen().commands.is_empty());
    for host in ["127.0.0.1", "localhost"] {
        let sent = guarded(host, &[host]).send(&attempt(&payload)).await;
        assert_eq!(sent.outcome, Outcome::Delivered, "{host}: {}", words(&sent));
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("smtp://{}", listener.local_addr().unwrap());
    drop(listener);

    for (url, said) in [(closed.as_str(), "refused"), ("smtp://name.invalid", "name.invalid")] {
        let sent = sent(&json!({"smtp": url})).await;

        assert_eq!(sent.outcome, UNREACHABLE, "{url}");
        assert!(words(&sent).starts_with("no connection"), "{}", words(&sent));
        assert!(words(&sent).contains(said), "{}", words(&sent));
    }
}

#[test]
fn the_port_is_the_usual_one_of_each_way() {
    let login = json!({"username": "gate", "password_env": "MAIL_PASSWORD"});
    for (url, login, shown) in [
        ("smtp://mail.example.com", &json!({}), "smtp://mail.example.com:25"),
        ("smtp://mail.example.com", &login, "smtp://mail.example.com:587"),
        ("smtps://mail.example.com", &login, "smtps://mail.example.com:465"),
        ("smtp://mail.example.com:2525", &login, "smtp://mail.example.com:2525"),
    ] {
        let mut settings = login.clone();
        settings["smtp"] = url.into();
        assert_eq!(email(&settings, Guard::new(true)).unwrap().server.to_string(), shown);
    }
}

#[test]
fn what_is_missing_or_wrong_is_said() {
    for (settings, said) in [
        (json!({"smtp": "smtp://m", "username": "u", "password_env": "GONE"}), "GONE is not set"),
        (json!({"smtp": "imap://m"}), "smtp must be an address"),
        (json!({"smtp": "smtp://m", "from": "nobody"}), "from: \"nobody\" is no mail address"),
        (json!({"smtp": "smtp://m", "to": ["a@b@c"]}), "to: \"a@b@c\" is no mail address"),
    ] {
        let error = email(&settings, Guard::new(true)).unwrap_err();
        assert!(error.contains(said), "{settings}: {error}");
    }
}

#[test]
fn an_address_that_is_none_is_refused_where_it_is_written() {
    let settings = json!({"from": "a@b@c", "to": ["x@example.com", "Name <y@example.com>", "z@"]});

    let mistakes = crate::notify::email::mistakes(settings.as_object().unwrap());

    let members: Vec<_> = mistakes.iter().map(|(member, _)| *member).collect();
    assert_eq!(members, ["from", "to"]);
    assert!(mistakes[1].1.contains("\"z@\" is wrong"), "{mistakes:?}");
}
