//! The only way in: everything that writes is a command to the committer.
//!
//! [`Ingest`] is the handle that HTTP handlers hold. It answers once the command is on disk, and
//! says "unavailable" at once when the queue is full. Read [`committer`] for what happens between.

pub mod committer;
pub mod configure;
mod explain;
pub mod timers;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{
    clock::Clock,
    domain::{
        changes::{
            ActionInput, ActionOutcome, ChangeInput, EventInput, Input, Outcome, Receipt, Target,
            Verb,
        },
        event::{ChangeEvent, Event, StoredBody},
        id::{ChangeId, DeliveryId, ReceiverId},
        pipeline,
        routing::Directory,
        service::Integration,
        time::Timestamp,
    },
    store::{Maintenance, Progress},
    telemetry::metrics::Metrics,
};

pub use configure::{
    Applied, ConfigAnswer, ConfigRequest, ConfigureError, PolicyRequest, RequestedBy, SilenceDraft,
    candidate, unknown_receivers,
};
pub use explain::Explained;

/// Bytes of accepted bodies that may wait for the disk at one time; beyond it senders are told to
/// come back, so that 20,000 connections with the largest bodies are not 10 GB of memory.
const BYTES_IN_FLIGHT: usize = 64 * 1024 * 1024;

/// Why nothing was stored, though the request was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("the queue is full")]
    QueueFull,
    #[error("the database cannot be written")]
    Database,
    #[error("the gateway is shutting down")]
    Draining,
}

/// One of several messages that came together.
#[derive(Debug)]
pub enum Submitted {
    Event(Event, StoredBody),
    Change(ChangeEvent),
}

/// A command on its way to the committer, and where its answer goes.
#[derive(Debug)]
pub(crate) enum Command {
    Input(Input, oneshot::Sender<Result<Outcome, Unavailable>>, Held),
    Configure(
        Box<ConfigRequest>,
        RequestedBy,
        oneshot::Sender<Result<ConfigAnswer, ConfigureError>>,
    ),
    /// Says what would become of an event; nothing is written.
    Explain(Arc<EventInput>, oneshot::Sender<Result<Explained, Unavailable>>, Held),
    Maintain(Maintenance, oneshot::Sender<Result<Progress, Unavailable>>),
}

/// Bytes that a command holds until it is answered.
#[derive(Debug)]
pub(crate) struct Held {
    bytes: usize,
    budget: Arc<Semaphore>,
}

impl Held {
    fn take(budget: &Arc<Semaphore>, bytes: usize) -> Option<Self> {
        let permits = u32::try_from(bytes).ok()?;
        budget.try_acquire_many(permits).ok()?.forget();
        Some(Self { bytes, budget: Arc::clone(budget) })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.add_permits(self.bytes);
    }
}

/// The handle to the one writer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ingest {
    queue: mpsc::Sender<Command>,
    budget: Arc<Semaphore>,
    directory: Arc<ArcSwap<Directory>>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl Ingest {
    /// A handle, and the end of the queue that the committer takes from.
    pub(crate) fn new(
        queue_capacity: usize,
        directory: Arc<ArcSwap<Directory>>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> (Self, mpsc::Receiver<Command>) {
        let (queue, commands) = mpsc::channel(queue_capacity);
        let budget = Arc::new(Semaphore::new(BYTES_IN_FLIGHT));
        (Self { queue, budget, directory, clock, metrics }, commands)
    }

    /// The configuration as last committed.
    pub fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Stores an event and what follows from it. When this returns `Ok`, it is on disk. A caller
    /// that goes away while it waits loses nothing: the event is stored all the same.
    pub async fn submit_event(
        &self,
        integration: Arc<Integration>,
        event: Event,
        body: StoredBody,
    ) -> Result<Receipt, Unavailable> {
        let held = body.text.len() + 1024;
        let input = self.event_input(integration, event, body);
        match self.submit(Input::Event(Arc::new(input)), held).await? {
            Outcome::Event(receipt) => Ok(receipt),
            Outcome::Change(_) | Outcome::Action(_) | Outcome::Test(_) | Outcome::Settled(_) => {
                unreachable!("an event is answered with a receipt")
            }
        }
    }

    /// Decides about an event as [`Ingest::submit_event`] does, and stores nothing.
    pub async fn explain(
        &self,
        integration: Arc<Integration>,
        event: Event,
        body: StoredBody,
    ) -> Result<Explained, Unavailable> {
        let bytes = body.text.len() + 1024;
        let Some(held) = Held::take(&self.budget, bytes) else {
            self.metrics.queue_refused();
            return Err(Unavailable::QueueFull);
        };
        let input = self.event_input(integration, event, body);
        let (answer, answered) = oneshot::channel();
        let command = Command::Explain(Arc::new(input), answer, held);
        self.queue.try_send(command).map_err(|error| {
            self.metrics.queue_refused();
            unavailable(&error)
        })?;
        answered.await.unwrap_or(Err(Unavailable::Draining))
    }

    /// Stores a change event; `None` if it came before.
    pub async fn submit_change(
        &self,
        integration: Arc<Integration>,
        change: ChangeEvent,
        bytes: usize,
    ) -> Result<Option<ChangeId>, Unavailable> {
        let received_at = self.clock.now();
        let input = ChangeInput { integration, received_at, change };
        match self.submit(Input::Change(Arc::new(input)), bytes + 1024).await? {
            Outcome::Change(id) => Ok(id),
            Outcome::Event(_) | Outcome::Action(_) | Outcome::Test(_) | Outcome::Settled(_) => {
                unreachable!("a change event is answered with its id")
            }
        }
    }

    /// Stores what came together, in its order: all of it is taken or nothing is. If this says
    /// that it is unavailable, some of it may be on disk all the same.
    pub async fn submit_all(
        &self,
        integration: &Arc<Integration>,
        messages: Vec<Submitted>,
    ) -> Result<Vec<Outcome>, Unavailable> {
        let mut inputs = Vec::with_capacity(messages.len());
        for message in messages {
            let integration = Arc::clone(integration);
            let (input, bytes) = match message {
                Submitted::Event(event, body) => {
                    let bytes = body.text.len();
                    (Input::Event(Arc::new(self.event_input(integration, event, body))), bytes)
                }
                Submitted::Change(change) => {
                    let bytes = change.custom_details.as_ref().map_or(0, |details| details.len());
                    let received_at = self.clock.now();
                    let input = ChangeInput { integration, received_at, change };
                    (Input::Change(Arc::new(input)), bytes)
                }
            };
            let Some(held) = Held::take(&self.budget, bytes + 1024) else {
                self.metrics.queue_refused();
                return Err(Unavailable::QueueFull);
            };
            inputs.push((input, held));
        }
        let places = self.queue.try_reserve_many(inputs.len()).map_err(|error| {
            self.metrics.queue_refused();
            unavailable(&error)
        })?;
        let mut answers = Vec::with_capacity(inputs.len());
        for (place, (input, held)) in places.zip(inputs) {
            let (answer, answered) = oneshot::channel();
            place.send(Command::Input(input, answer, held));
            answers.push(answered);
        }
        let mut outcomes = Vec::with_capacity(answers.len());
        for answered in answers {
            outcomes.push(answered.await.unwrap_or(Err(Unavailable::Draining))?);
        }
        Ok(outcomes)
    }

    /// Does what a person wants done to an alert or incident.
    pub async fn act(
        &self,
        target: Target,
        verb: Verb,
        actor: String,
    ) -> Result<ActionOutcome, Unavailable> {
        let received_at = self.clock.now();
        let input = Arc::new(ActionInput { target, verb, actor, received_at });
        match self.submit(Input::Action(input), 1024).await? {
            Outcome::Action(outcome) => Ok(outcome),
            Outcome::Event(_) | Outcome::Change(_) | Outcome::Test(_) | Outcome::Settled(_) => {
                unreachable!("an action is answered with its outcome")
            }
        }
    }

    /// Owes a receiver a test; `None` if there is no such receiver.
    pub async fn test(&self, receiver: ReceiverId) -> Result<Option<DeliveryId>, Unavailable> {
        let received_at = self.clock.now();
        match self.submit(Input::Test { receiver, received_at }, 0).await? {
            Outcome::Test(delivery) => Ok(delivery),
            Outcome::Event(_) | Outcome::Change(_) | Outcome::Action(_) | Outcome::Settled(_) => {
                unreachable!("a test is answered with its delivery")
            }
        }
    }

    /// Lets everything take effect that is due at `now`; says how much did.
    pub async fn tick(&self, now: Timestamp) -> Result<usize, Unavailable> {
        match self.submit(Input::Tick(now), 0).await? {
            Outcome::Settled(changed) => Ok(changed),
            Outcome::Event(_) | Outcome::Change(_) | Outcome::Action(_) | Outcome::Test(_) => {
                unreachable!("a tick is answered with a number")
            }
        }
    }

    /// Changes the configuration. When this returns, what is submitted next sees the change.
    pub async fn configure(
        &self,
        request: ConfigRequest,
        by: RequestedBy,
    ) -> Result<ConfigAnswer, ConfigureError> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Configure(Box::new(request), by, answer);
        self.queue
            .try_send(command)
            .map_err(|error| ConfigureError::Unavailable(unavailable(&error)))?;
        answered.await.unwrap_or(Err(ConfigureError::Unavailable(Unavailable::Draining)))
    }

    /// Has a bounded piece of background work done.
    pub async fn maintain(&self, step: Maintenance) -> Result<Progress, Unavailable> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Maintain(step, answer);
        self.queue.send(command).await.map_err(|_| Unavailable::Draining)?;
        answered.await.unwrap_or(Err(Unavailable::Draining))
    }

    fn event_input(
        &self,
        integration: Arc<Integration>,
        event: Event,
        body: StoredBody,
    ) -> EventInput {
        let prepared = pipeline::prepare(&event, &integration, &self.directory.load());
        EventInput { integration, received_at: self.clock.now(), event, body, prepared }
    }

    async fn submit(&self, input: Input, bytes: usize) -> Result<Outcome, Unavailable> {
        let Some(held) = Held::take(&self.budget, bytes) else {
            self.metrics.queue_refused();
            return Err(Unavailable::QueueFull);
        };
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Command::Input(input, answer, held)).map_err(|error| {
            self.metrics.queue_refused();
            unavailable(&error)
        })?;
        answered.await.unwrap_or(Err(Unavailable::Draining))
    }
}

fn unavailable<T>(error: &mpsc::error::TrySendError<T>) -> Unavailable {
    match error {
        mpsc::error::TrySendError::Full(_) => Unavailable::QueueFull,
        mpsc::error::TrySendError::Closed(_) => Unavailable::Draining,
    }
}
