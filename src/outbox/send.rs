//! One try: what there is to say, and saying it.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use super::receivers::{Book, Known};
use crate::{
    clock::Clock,
    domain::{
        notify::Reason,
        time::{Span, Timestamp},
    },
    notify::{Attempt, Failure, Message, Outcome, Sent},
    store::{
        Store,
        outbox::{Knows, Leased, Subject},
    },
    telemetry,
};

/// For one try, whatever a notifier does.
const TRY_MAX: Duration = Duration::from_secs(20);
/// From here on a message says how late it is.
const LATE: Span = Span::from_secs(120);

/// A try that is over.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) leased: Leased,
    pub(super) payload: Option<Value>,
    pub(super) started_at: Timestamp,
    pub(super) sent: Sent,
}

/// What there is to tell. `None`: what it is about is gone.
pub(super) fn message(
    leased: &Leased,
    subject: Option<Subject>,
    base_url: &str,
    now: Timestamp,
) -> Option<Message> {
    let Subject { incident, alerts, about } = match leased.reason {
        Reason::Test => super::sample::subject(leased, now),
        _ => subject?,
    };
    let late = now.since(leased.at);
    Some(Message {
        delivery: leased.id,
        reason: leased.reason,
        at: leased.at,
        late: Some(coarse(late)).filter(|late| *late >= LATE),
        first: leased.knows != Knows::Yes,
        wakes: leased.wakes,
        receiver: leased.name.clone(),
        incident,
        alerts,
        about,
        base_url: base_url.to_owned(),
    })
}

/// As people say it: minutes, after two hours hours, after two days days.
fn coarse(span: Span) -> Span {
    const MINUTE: i64 = 60_000;
    let unit = match span.as_millis() / MINUTE {
        ..120 => MINUTE,
        120..2880 => 60 * MINUTE,
        2880.. => 24 * 60 * MINUTE,
    };
    Span::of_millis(span.as_millis() / unit * unit)
}

/// What one try needs.
pub(super) struct Sender {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) book: Arc<Book>,
    pub(super) continues: bool,
}

impl Sender {
    pub(super) async fn send(self, leased: Leased, message: Option<Message>) -> Finished {
        let started_at = self.clock.now();
        let (receiver, version) = (leased.receiver, leased.version);
        let known = self.book.look_up(&*self.store, receiver, version, started_at).await;
        let (payload, sent) = match known {
            Ok(Some(known)) => self.try_once(&leased, message, known).await,
            Ok(None) => (None, Sent::dead("the receiver is gone, and how it was is not known")),
            Err(error) => {
                let what = format!("dutygate's database: {}", telemetry::chain(&error));
                let outcome = Outcome::Retry { failure: Failure::Refused, after: None };
                (None, Sent { outcome, ..Sent::dead(what) })
            }
        };
        Finished { leased, payload, started_at, sent }
    }

    async fn try_once(
        &self,
        leased: &Leased,
        message: Option<Message>,
        known: Known,
    ) -> (Option<Value>, Sent) {
        let notifier = match known.notifier {
            Ok(notifier) => notifier,
            // A resolve that cannot be told is a letter for somebody who can.
            Err(missing) => return (None, Sent::dead(missing)),
        };
        let payload = match (&leased.payload, message) {
            (Some(payload), _) => payload.clone(),
            (None, Some(message)) => match notifier.compose(&message) {
                Ok(payload) => payload,
                Err(why) => return (None, Sent::dead(why)),
            },
            (None, None) => {
                return (None, Sent::dead("its incident is gone: there is nothing to tell"));
            }
        };
        let attempt = Attempt {
            delivery: leased.id,
            reason: leased.reason,
            payload: &payload,
            remote: leased.remote.as_ref(),
            continues: self.continues,
            now: self.clock.now(),
        };
        let sent = tokio::time::timeout(TRY_MAX, notifier.send(&attempt)).await;
        let sent = sent.unwrap_or_else(|_| {
            let outcome = Outcome::Retry { failure: Failure::Unanswered, after: None };
            Sent { outcome, ..Sent::dead("no answer within 20 s; it may have arrived") }
        });
        (Some(payload), sent)
    }
}
