//! Receivers of a test: what each knows, as a real one would, and the weather on the way there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::{
    domain::{
        delivery::Each,
        id::DeliveryId,
        notify::Reason,
        time::{Span, Timestamp},
    },
    notify::{Attempt, Failure, Message, Notifier, Outcome, Sent},
    outbox::Notifiers,
    store::outbox::StoredRevision,
};

/// What becomes of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    Fine,
    /// There is no connection.
    Unreachable,
    /// No answer comes back, whether it arrives or not.
    Unanswered {
        arrives: bool,
    },
    /// 5xx, whether it is taken or not.
    Broken {
        arrives: bool,
    },
    /// 503 with `Retry-After`.
    Busy(Span),
    /// 429, with `Retry-After` or without.
    Throttles(Option<Span>),
    /// For good.
    Refuses,
    /// For good, but for resolves.
    RefusesNews,
    /// It is taken after so many steps, with that much time between them.
    Slow(u32, Span),
    /// Now this and now that, of what passes.
    Erratic,
    /// 5xx for what is called so, and fine for all else.
    Chokes,
    /// It arrives, and the try never ends.
    Hangs,
    /// The notifier has a mistake.
    Panics,
}

/// One call of [`Notifier::send`].
#[derive(Clone, Debug)]
pub(super) struct Try {
    pub(super) at: Timestamp,
    /// Where it went, and what it is known by there.
    pub(super) end: (String, String),
    pub(super) delivery: DeliveryId,
    pub(super) reason: Reason,
    pub(super) payload: Value,
    pub(super) continues: bool,
    pub(super) outcome: Outcome,
    pub(super) arrived: bool,
}

/// Everything at the other end of the wire.
#[derive(Clone, Debug, Default)]
pub(super) struct Receivers(Arc<Mutex<World>>);

#[derive(Debug, Default)]
pub(super) struct World {
    /// By the name of the receiver: what its address begins with.
    weather: BTreeMap<String, Weather>,
    /// Whose secrets cannot be found.
    locked: BTreeSet<String>,
    pub(super) tries: Vec<Try>,
    /// What is open there, by address and key.
    pub(super) open: BTreeSet<(String, String)>,
    draws: usize,
}

fn name_of(url: &str) -> &str {
    url.split('/').next().unwrap_or_default()
}

impl Receivers {
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn weather(&self, receiver: &str, weather: Weather) {
        self.world().weather.insert(receiver.to_owned(), weather);
    }

    pub(super) fn lock(&self, receiver: &str) {
        self.world().locked.insert(receiver.to_owned());
    }

    pub(super) fn unlock(&self, receiver: &str) {
        self.world().locked.remove(receiver);
    }

    /// Nothing is in the way any more.
    pub(super) fn clear_up(&self) {
        let mut world = self.world();
        world.weather.clear();
        world.locked.clear();
    }

    pub(super) fn tries(&self) -> Vec<Try> {
        self.world().tries.clone()
    }

    /// What a receiver took in: `opened k` and so on, in its order; a repetition is marked `again`.
    pub(super) fn taken_in(&self, receiver: &str) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let world = self.world();
        let tries = world.tries.iter().filter(|a| a.arrived && name_of(&a.end.0) == receiver);
        let text = |a: &Try| {
            let again = if seen.insert(a.delivery) { "" } else { " again" };
            format!("{} {}{again}", a.reason, a.payload["what"].as_str().unwrap())
        };
        tries.map(text).collect()
    }

    /// Tries of a receiver that arrived nowhere included: when, from a time on, and the reason.
    pub(super) fn tried(&self, receiver: &str, from: Timestamp) -> Vec<(i64, Reason)> {
        let world = self.world();
        let tries = world.tries.iter().filter(|a| name_of(&a.end.0) == receiver);
        tries.map(|a| (a.at.as_millis() - from.as_millis(), a.reason)).collect()
    }

    /// What is open at a receiver.
    pub(super) fn open_at(&self, receiver: &str) -> usize {
        self.world().open.iter().filter(|(url, _)| name_of(url) == receiver).count()
    }
}

impl Notifiers for Receivers {
    fn notifier(&self, of: &StoredRevision) -> Result<Arc<dyn Notifier>, String> {
        let url = of.settings["url"].as_str().unwrap().to_owned();
        if self.world().locked.contains(name_of(&url)) {
            return Err(format!("the secret of {} is gone", of.name));
        }
        let on = |key: &str| of.settings.get(key) == Some(&Value::Bool(true));
        let each = match (on("passthrough"), on("per_alert")) {
            (true, _) => Each::Key,
            (false, true) => Each::Alert,
            (false, false) => Each::Incident,
        };
        Ok(Arc::new(Fake { url, each, world: self.clone() }))
    }
}

#[derive(Debug)]
struct Fake {
    url: String,
    each: Each,
    world: Receivers,
}

#[async_trait]
impl Notifier for Fake {
    fn compose(&self, message: &Message) -> Result<Value, String> {
        let about = message.about.as_ref();
        let (key, what) = match (self.each, about) {
            (Each::Incident, None) => {
                (message.incident.id.to_string(), message.incident.title.clone())
            }
            (Each::Alert, Some(alert)) => (alert.id.to_string(), alert.dedup_key.clone()),
            (Each::Key, Some(alert)) => (alert.dedup_key.clone(), alert.dedup_key.clone()),
            (Each::Incident, Some(_)) | (Each::Alert | Each::Key, None) => {
                return Err(format!("not what {:?} is told of", self.each));
            }
        };
        if what.contains("unspeakable") {
            return Err("it cannot be said".to_owned());
        }
        Ok(json!({
            "key": key, "what": what, "first": message.first, "wakes": message.wakes,
            "late": message.lateness(), "severity": message.incident.severity.as_str(),
            "status": message.incident.status.as_str(), "alerts": message.alerts.len(),
        }))
    }

    /// As `PagerDuty` counts.
    fn requests(&self, _reason: Reason, _first: bool, wakes: bool) -> u32 {
        1 + u32::from(wakes)
    }

    async fn send(&self, attempt: &Attempt<'_>) -> Sent {
        let (sent, hangs) = self.world.world().send(&self.url, attempt);
        // As over a network: not before somebody looks at it again.
        tokio::task::yield_now().await;
        if hangs {
            std::future::pending::<()>().await;
        }
        sent
    }
}

impl World {
    fn send(&mut self, url: &str, attempt: &Attempt<'_>) -> (Sent, bool) {
        let set = self.weather.get(name_of(url)).copied().unwrap_or(Weather::Fine);
        let weather = if set == Weather::Erratic { self.draw() } else { set };
        let retry = |failure, after| Outcome::Retry { failure, after };
        let mut remote = None;
        let (outcome, arrived, status) = match weather {
            Weather::Panics => panic!("a notifier with a mistake"),
            Weather::Chokes if attempt.payload["what"].as_str().unwrap().contains("chokes") => {
                (retry(Failure::Unavailable, None), false, Some(500))
            }
            Weather::Fine | Weather::Erratic | Weather::Chokes => {
                (Outcome::Delivered, true, Some(202))
            }
            Weather::RefusesNews if attempt.reason == Reason::Resolved => {
                (Outcome::Delivered, true, Some(202))
            }
            Weather::Unreachable => (retry(Failure::Unreachable, None), false, None),
            Weather::Unanswered { arrives } => (retry(Failure::Unanswered, None), arrives, None),
            Weather::Hangs => (retry(Failure::Unanswered, None), true, None),
            Weather::Broken { arrives } => (retry(Failure::Unavailable, None), arrives, Some(500)),
            Weather::Busy(after) => (retry(Failure::Unavailable, Some(after)), false, Some(503)),
            Weather::Throttles(after) => (retry(Failure::Throttled, after), false, Some(429)),
            Weather::Refuses | Weather::RefusesNews => {
                (Outcome::Dead { failure: Failure::Refused }, false, Some(400))
            }
            Weather::Slow(steps, after) => {
                let done = attempt.remote.and_then(|r| r["step"].as_u64()).unwrap_or(0);
                let done = u32::try_from(done).unwrap();
                if done < steps {
                    remote = Some(json!({"step": done + 1}));
                    (Outcome::Continue { after }, false, Some(202))
                } else {
                    remote = Some(json!({"step": 0}));
                    (Outcome::Delivered, true, Some(202))
                }
            }
        };
        let end = (url.to_owned(), attempt.payload["key"].as_str().unwrap().to_owned());
        if arrived && attempt.reason == Reason::Resolved {
            self.open.remove(&end);
        } else if arrived {
            self.open.insert(end.clone());
        }
        self.tries.push(Try {
            at: attempt.now,
            end,
            delivery: attempt.delivery,
            reason: attempt.reason,
            payload: attempt.payload.clone(),
            continues: attempt.continues,
            outcome,
            arrived,
        });
        let answered = matches!(outcome, Outcome::Delivered | Outcome::Continue { .. });
        let error = (!answered).then(|| format!("{weather:?}"));
        let request = attempt.payload.to_string();
        let sent = Sent { outcome, status, error, request, answer: String::new(), remote };
        (sent, weather == Weather::Hangs)
    }

    /// The next of the kinds of weather that pass.
    fn draw(&mut self) -> Weather {
        let kinds = [
            Weather::Unreachable,
            Weather::Fine,
            Weather::Unanswered { arrives: true },
            Weather::Broken { arrives: false },
            Weather::Slow(1, Span::ZERO),
            Weather::Fine,
            Weather::Broken { arrives: true },
            Weather::Throttles(None),
            Weather::Unanswered { arrives: false },
            Weather::Busy(Span::from_secs(30)),
            Weather::Fine,
        ];
        self.draws += 1;
        kinds[self.draws % kinds.len()]
    }
}
