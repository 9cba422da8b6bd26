//! Nobody is left alone: what goes wrong between the gateway and people is itself something that
//! people are told of, as alerts of the service `dutygate`; and who has a fallback is replaced by it.
//!
//! Everything here is looked up anew each time, in the store and in what the outbox knows, and
//! every step may be taken twice: an alert is one by its key, a fallback is told once.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{
        alert::Status,
        changes::{ActionOutcome, Target, Verb},
        event::Severity,
        id::{DeliveryId, IncidentId},
        notify::Reason,
        routing::Directory,
        time::{Span, Timestamp},
    },
    ingest::{Ingest, Unavailable},
    outbox::Outlook,
    store::{
        Store, StoreError,
        outbox::{DeadLetter, DeliveryFilter, DeliveryState, NEVER_TOLD},
        query::{AlertFilter, Page},
    },
    telemetry,
    wire::{self, Decoded, Endpoint, GivenKeys, Message},
};

/// The service of the gateway itself, and its integration.
pub(super) const OWN_NAME: &str = crate::policy::OWN_SERVICE;

const EVERY: Duration = Duration::from_secs(10);
/// A receiver that cannot be reached for this long is a problem of its own.
const DOWN_FOR: Span = Span::from_secs(600);
/// So long a dead letter is a problem although its incident is over.
const DEAD_FOR: Span = Span::from_secs(86_400);
/// How long before its end a silence is looked at.
const ENDS_WITHIN: Span = Span::from_secs(900);
const PAGE: Page = Page { limit: 500, before: None, count: false };

/// Watches over what is owed, and over silences.
#[derive(Debug)]
pub(super) struct Caretaker {
    ingest: Ingest,
    store: Arc<dyn Store>,
    outlook: Outlook,
    /// Keys of its alerts that are open; `None`: not known yet.
    raised: Option<BTreeSet<String>>,
    /// For whom a fallback was told in this outage.
    replaced: HashSet<(IncidentId, String)>,
    /// Deaths that are known, and that nobody has to be told of yet.
    waiting: HashSet<DeliveryId>,
}

/// Why a round did not come to its end: the next one tries again.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{}", telemetry::chain(.0))]
    Store(#[from] StoreError),
    #[error("{0}")]
    Ingest(#[from] Unavailable),
}

/// Something that is wrong.
struct Trouble {
    severity: Severity,
    summary: String,
    details: serde_json::Value,
}

impl Caretaker {
    pub(super) fn new(ingest: Ingest, store: Arc<dyn Store>, outlook: Outlook) -> Self {
        Self {
            ingest,
            store,
            outlook,
            raised: None,
            replaced: HashSet::new(),
            waiting: HashSet::new(),
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "what is wrong with receivers cannot be told now");
            }
        }
    }

    async fn round(&mut self) -> Result<(), Failed> {
        let now = self.ingest.now();
        let directory = self.ingest.directory();
        let mut troubles = BTreeMap::new();
        let dead = self.dead_letters(&directory).await?;
        for name in self.store.receivers_with_dead(now.minus(DEAD_FOR)).await? {
            let error = dead.iter().rev().find(|letter| letter.name == name);
            troubles.insert(format!("dead/{name}"), dead_trouble(&name, error));
        }
        for (name, since) in self.outlook.down() {
            if now.since(since) >= DOWN_FOR {
                troubles.insert(format!("down/{name}"), down_trouble(&name, since));
                self.replace_all(&directory, &name).await?;
            }
        }
        let down = self.outlook.down();
        self.replaced.retain(|(_, receiver)| down.contains_key(receiver));
        self.ending_silences(&directory, now, &mut troubles).await?;
        self.tell(&directory, troubles).await
    }

    /// Raises what is wrong, and resolves what is not any more.
    async fn tell(
        &mut self,
        directory: &Directory,
        troubles: BTreeMap<String, Trouble>,
    ) -> Result<(), Failed> {
        let known = match self.raised.take() {
            Some(known) => known,
            None => self.open_keys(directory).await?,
        };
        let mut raised = known.clone();
        let mut result = Ok(());
        for (key, trouble) in &troubles {
            if !known.contains(key) {
                match self.send(directory, key, Some(trouble)).await {
                    Ok(()) => raised.insert(key.clone()),
                    Err(error) => {
                        result = Err(error.into());
                        break;
                    }
                };
            }
        }
        for key in known.iter().filter(|key| !troubles.contains_key(*key)) {
            match self.send(directory, key, None).await {
                Ok(()) => raised.remove(key),
                Err(error) => {
                    result = Err(error.into());
                    break;
                }
            };
        }
        self.raised = Some(raised);
        result
    }

    /// The keys of its own alerts that are open.
    async fn open_keys(&self, directory: &Directory) -> Result<BTreeSet<String>, Failed> {
        let Some(own) = directory.integration_named(OWN_NAME) else { return Ok(BTreeSet::new()) };
        let filter = AlertFilter {
            status: vec![Status::Triggered, Status::Acknowledged],
            services: vec![own.service_id],
            integrations: vec![own.id],
            ..AlertFilter::default()
        };
        let open = self.store.alerts(&filter, PAGE).await?;
        Ok(open.items.into_iter().map(|alert| alert.dedup_key).collect())
    }

    /// Sends an event of its own: a trigger, or the resolve.
    async fn send(
        &self,
        directory: &Directory,
        key: &str,
        trouble: Option<&Trouble>,
    ) -> Result<(), Unavailable> {
        let Some(own) = directory.integration_named(OWN_NAME) else {
            tracing::warn!(key, "there is no integration {OWN_NAME} that could take this");
            return Ok(());
        };
        let body = match trouble {
            Some(Trouble { severity, summary, details }) => json!({
                "event_action": "trigger", "dedup_key": key, "client": "dutygate",
                "payload": {
                    "summary": summary, "source": "dutygate", "severity": severity,
                    "class": key.split('/').next(), "custom_details": details,
                },
            }),
            None => json!({"event_action": "resolve", "dedup_key": key}),
        };
        // Its key is in the directory, not in the event.
        let keys = GivenKeys { url: Some(OWN_NAME), header: None };
        match wire::decode(Endpoint::V2, keys, body.to_string().as_bytes()) {
            Ok(Decoded { message: Message::Event(event), body, .. }) => {
                self.ingest.submit_event(Arc::clone(own), event, body).await.map(|_| ())
            }
            _ => Ok(()),
        }
    }

    /// Deals with deliveries that died: their fallbacks are told. What nobody has to be told of now
    /// is not dealt with, and asked for again in the next round. Returns the new ones.
    async fn dead_letters(&mut self, directory: &Directory) -> Result<Vec<DeadLetter>, Failed> {
        let letters = self.store.dead_letters().await?;
        let mut new = Vec::new();
        let mut done = Vec::new();
        let mut asked = HashSet::new();
        for letter in &letters {
            let never_told = letter.error.as_deref().is_some_and(|why| why.starts_with(NEVER_TOLD));
            if letter.reason == Reason::Test || never_told {
                done.push(letter.id);
                continue;
            }
            if self.waiting.insert(letter.id) {
                tracing::error!(
                    receiver = letter.name,
                    delivery = %letter.id,
                    reason = letter.reason.as_str(),
                    error = letter.error.as_deref().unwrap_or_default(),
                    "a delivery is dead; mend the receiver and retry it"
                );
                new.push(letter.clone());
            }
            let Some(incident) = letter.incident.filter(|_| letter.reason != Reason::Resolved)
            else {
                done.push(letter.id);
                continue;
            };
            // The first of a receiver and an incident speaks for the others.
            if !asked.insert((incident, letter.receiver)) {
                done.push(letter.id);
                continue;
            }
            let receiver = directory.receiver(letter.receiver);
            let fallback = receiver.and_then(|receiver| receiver.fallback());
            match self.fall_back(incident, &letter.name, fallback).await? {
                ActionOutcome::Conflict(_) => {}
                ActionOutcome::Changed | ActionOutcome::Unchanged | ActionOutcome::NotFound => {
                    done.push(letter.id);
                }
            }
        }
        if !done.is_empty() {
            self.store.dealt_with(&done).await?;
        }
        let done: HashSet<_> = done.into_iter().collect();
        self.waiting = letters.iter().map(|letter| letter.id).collect();
        self.waiting.retain(|id| !done.contains(id));
        Ok(new)
    }

    /// Tells the fallback of a receiver that is down of everything that waits for it.
    async fn replace_all(&mut self, directory: &Directory, name: &str) -> Result<(), Failed> {
        let receiver = directory.receiver_named(name);
        let Some(fallback) = receiver.and_then(|receiver| receiver.fallback()) else {
            return Ok(());
        };
        let filter = DeliveryFilter {
            states: vec![DeliveryState::Pending, DeliveryState::Leased],
            receivers: vec![name.to_owned()],
            incidents: Vec::new(),
        };
        let waiting = self.store.deliveries(&filter, PAGE).await?;
        for delivery in waiting.items {
            let opens = !matches!(delivery.reason, Reason::Resolved | Reason::Acknowledged);
            let Some(incident) = delivery.incident_id.filter(|_| opens) else { continue };
            let replaced = (incident, name.to_owned());
            if self.replaced.contains(&replaced) {
                continue;
            }
            match self.fall_back(incident, name, Some(fallback)).await? {
                // Nobody has to be told now; maybe in the next round.
                ActionOutcome::Conflict(_) => {}
                ActionOutcome::Changed | ActionOutcome::Unchanged | ActionOutcome::NotFound => {
                    self.replaced.insert(replaced);
                }
            }
        }
        Ok(())
    }

    async fn fall_back(
        &self,
        incident: IncidentId,
        from: &str,
        to: Option<&str>,
    ) -> Result<ActionOutcome, Unavailable> {
        let Some(to) = to else { return Ok(ActionOutcome::Unchanged) };
        let verb = Verb::FallBack { from: from.into(), to: to.into() };
        self.ingest.act(Target::Incident(incident), verb, OWN_NAME.to_owned()).await
    }

    /// Silences that end soon and under which alerts are open: whoever made one may have forgotten.
    async fn ending_silences(
        &self,
        directory: &Directory,
        now: Timestamp,
        troubles: &mut BTreeMap<String, Trouble>,
    ) -> Result<(), StoreError> {
        for silence in directory.silences().iter() {
            let Some(until) = silence.active_until(now) else { continue };
            if until > now.plus(ENDS_WITHIN) {
                continue;
            }
            let found =
                self.store.alerts_matching(&silence.matches, silence.service_id, now).await?;
            if found.open == 0 {
                continue;
            }
            let (open, comment) = (found.open, &silence.comment);
            let trouble = Trouble {
                severity: Severity::Info,
                summary: format!(
                    "The silence {comment:?} ends at {until} with {open} open alerts under it: \
                     they will be told of then"
                ),
                details: json!({"silence": silence.id, "until": until, "open_alerts": open}),
            };
            troubles.insert(format!("silence/{}", silence.id), trouble);
        }
        Ok(())
    }
}

fn dead_trouble(name: &str, last: Option<&DeadLetter>) -> Trouble {
    let why = last.and_then(|letter| letter.error.as_deref());
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    Trouble {
        severity: Severity::Error,
        summary: format!("Notifications for the receiver {name} are dead{why}"),
        details: json!({
            "receiver": name,
            "what to do": format!(
                "see GET /api/v1/deliveries?state=dead&receiver={name}, mend the receiver, then \
                 POST /api/v1/deliveries/ID/retry for each"
            ),
        }),
    }
}

fn down_trouble(name: &str, since: Timestamp) -> Trouble {
    Trouble {
        severity: Severity::Critical,
        summary: format!("The receiver {name} cannot be reached since {since}"),
        details: json!({
            "receiver": name,
            "since": since,
            "what to do": "nothing is lost: what is owed to it waits up to 48 h, and it is tried \
                           again all the while; see the attempts of its deliveries for what fails",
        }),
    }
}
