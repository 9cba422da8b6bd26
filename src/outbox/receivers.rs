//! Receivers as the dispatcher needs them: a notifier, and how much at a time.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;

use crate::{
    domain::{
        receiver::ReceiverKind,
        time::{Span, Timestamp},
    },
    notify::{self, Notifier, http::Http, secret::Secrets},
    store::{
        StoreError,
        outbox::{Outbox, StoredRevision},
    },
};

/// Makes the notifier of a receiver. `Err`: it has none, because a secret is gone.
pub trait Notifiers: Send + Sync + Debug {
    fn notifier(&self, of: &StoredRevision) -> Result<Arc<dyn Notifier>, String>;
}

/// The real ones.
#[derive(Clone, Debug)]
pub struct Receivers {
    secrets: Secrets,
    http: Http,
}

impl Receivers {
    pub fn new(secrets: Secrets, http: Http) -> Self {
        Self { secrets, http }
    }
}

impl Notifiers for Receivers {
    fn notifier(&self, of: &StoredRevision) -> Result<Arc<dyn Notifier>, String> {
        notify::notifier(of.kind, &of.settings, &self.secrets, &self.http).map(Arc::from)
    }
}

/// How much a receiver may be told at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) concurrency: usize,
    pub(super) per_minute: Option<u32>,
    /// Receivers with the same one share the pace: `PagerDuty` counts by routing key.
    pub(super) shared: Option<String>,
}

impl Limits {
    pub(super) fn of(receiver: &StoredRevision) -> Self {
        let number = |key: &str| receiver.settings.get(key).and_then(Value::as_u64);
        let text = |key: &str| receiver.settings.get(key).and_then(Value::as_str);
        // Source: PagerDuty's Events API, "Rate limiting": 120 events a minute and key. Jira and mail
        // servers do not say what they bear: five a second is no burden, and a backlog of a thousand
        // is out in minutes. What stands behind a webhook sets its own pace by answering.
        let (usual, per_minute) = match receiver.kind {
            ReceiverKind::PagerDuty => (4, Some(120)),
            ReceiverKind::Webhook => (4, None),
            ReceiverKind::Jira | ReceiverKind::Email => (2, Some(300)),
        };
        let key = text("routing_key_env").or_else(|| text("routing_key_file"));
        let concurrency = number("concurrency").and_then(|n| usize::try_from(n).ok());
        let given = number("rate_per_minute").and_then(|n| u32::try_from(n).ok());
        Self {
            concurrency: concurrency.unwrap_or(usual),
            per_minute: given.or(per_minute),
            shared: key.map(|key| format!("{} {key}", text("url").unwrap_or_default())),
        }
    }
}

/// A secret that was rotated is taken after this long.
const FRESH: Span = Span::from_secs(10);
/// Most that are kept.
const KEPT_MAX: usize = 1000;

type Made = Result<Arc<dyn Notifier>, String>;

/// What is known of one revision.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) revision: Arc<StoredRevision>,
    pub(super) notifier: Made,
    made_at: Timestamp,
}

/// Revisions that were met lately, with their notifiers.
#[derive(Debug)]
pub(super) struct Book {
    notifiers: Arc<dyn Notifiers>,
    known: Mutex<HashMap<(i64, i64), Known>>,
}

impl Book {
    pub(super) fn new(notifiers: Arc<dyn Notifiers>) -> Self {
        Self { notifiers, known: Mutex::default() }
    }

    /// The revision and its notifier; `None` if there is no such revision.
    pub(super) async fn look_up(
        &self,
        store: &(dyn Outbox + '_),
        receiver: i64,
        version: i64,
        now: Timestamp,
    ) -> Result<Option<Known>, StoreError> {
        let key = (receiver, version);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let revision = match known {
            Some(known) if now.since(known.made_at) < FRESH => return Ok(Some(known)),
            Some(known) => known.revision,
            None => match store.revision(receiver, version).await? {
                Some(revision) => Arc::new(revision),
                None => return Ok(None),
            },
        };
        let notifier = self.notifiers.notifier(&revision);
        let known = Known { revision, notifier, made_at: now };
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT_MAX {
            all.clear();
        }
        all.insert(key, known.clone());
        Ok(Some(known))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::id::ReceiverId;

    fn per_minute(kind: ReceiverKind, settings: &Value) -> Option<u32> {
        let id = ReceiverId::new(Timestamp::default(), 1, 1);
        let settings = settings.as_object().unwrap().clone();
        Limits::of(&StoredRevision { id, name: "a".to_owned(), kind, settings }).per_minute
    }

    #[test]
    fn pagerduty_gets_what_it_takes_a_minute_unless_it_is_to_get_less() {
        let key = json!({"routing_key_env": "PD_KEY"});
        let shared = json!({"routing_key_env": "PD_KEY", "rate_per_minute": 60});

        assert_eq!(per_minute(ReceiverKind::PagerDuty, &key), Some(120));
        assert_eq!(per_minute(ReceiverKind::PagerDuty, &shared), Some(60));
    }

    #[test]
    fn only_what_stands_behind_a_webhook_sets_its_own_pace() {
        for (kind, usual) in [
            (ReceiverKind::Jira, Some(300)),
            (ReceiverKind::Email, Some(300)),
            (ReceiverKind::Webhook, None),
        ] {
            assert_eq!(per_minute(kind, &json!({})), usual, "{kind:?}");
            assert_eq!(per_minute(kind, &json!({"rate_per_minute": 1000})), Some(1000));
        }
    }
}
