//! The loop to read first: takes what has come in, decides it as one batch, has it on disk, answers.
//!
//! While one batch is being committed the next one gathers in the queue, so the cost of reaching the
//! disk is shared by all who wait, and with little to do an event waits for one commit only. A batch
//! that the database refuses is tried again in halves, so that one row cannot lose its neighbours.
//! Nothing else writes: whatever changes the database comes through here, one after the other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Command, Explained, Held, Unavailable,
    configure::{self, ConfigAnswer, ConfigRequest, ConfigureError, Planned, RequestedBy},
    explain,
};
use crate::{
    clock::Clock,
    domain::{
        changes::{Changes, EventInput, Input, Outcome, Tally},
        configuration::{Audit, Configuration, Refused},
        id::{Ids, ServiceId},
        notify::Reason,
        pipeline,
        routing::Directory,
        time::Timestamp,
    },
    store::{
        Store, StoreError,
        decide::{Decided, Learned, decide},
    },
    telemetry::{self, metrics::Metrics},
};

/// Bytes of bodies in one batch: a few of the largest, or some thousands of usual ones.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// How often a database that refused to write is tried while nothing else tries it.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Whether the database could be written when it was last tried. Shared with `/readyz`.
#[derive(Debug, Default)]
pub struct DatabaseHealth {
    down: AtomicBool,
}

impl DatabaseHealth {
    pub fn is_writable(&self) -> bool {
        !self.down.load(Ordering::Relaxed)
    }

    /// Notes the state; says whether it is a change.
    fn set(&self, writable: bool) -> bool {
        self.down.swap(!writable, Ordering::Relaxed) == writable
    }
}

/// What the committer works with.
#[derive(Debug)]
pub struct Committer {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) directory: Arc<ArcSwap<Directory>>,
    pub(crate) ids: Ids,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Arc<DatabaseHealth>,
    pub(crate) max_batch: usize,
    /// A change of the configuration is committed and could not be read back yet.
    pub(crate) directory_is_stale: bool,
    /// A transaction failed, and may yet have been committed: numbers and templates that are kept
    /// here are read again before the next one.
    pub(crate) in_doubt: bool,
    /// What similarity rules have learned, as committed.
    pub(crate) templates: Learned,
}

/// The event, prepared under this directory.
fn prepared_under(directory: &Directory, event: Arc<EventInput>) -> Arc<EventInput> {
    if event.prepared.directory_version == directory.version {
        return event;
    }
    let integration = directory.integration(event.integration.id).unwrap_or(&event.integration);
    let prepared = pipeline::prepare(&event.event, integration, directory);
    Arc::new(event.prepared_as(Arc::clone(integration), prepared))
}

type Waiting = (oneshot::Sender<Result<Outcome, Unavailable>>, Held);

impl Committer {
    /// Runs until `closing` is cancelled and everything that was accepted is answered.
    pub async fn run(mut self, closing: CancellationToken) {
        let mut commands = Vec::with_capacity(self.max_batch);
        // Its own clock: commands that need nothing written, such as ticks, must not put it off.
        let mut probe = tokio::time::interval(PROBE_EVERY);
        probe.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let taken = tokio::select! {
                biased;
                taken = self.commands.recv_many(&mut commands, self.max_batch) => taken,
                () = closing.cancelled(), if !self.commands.is_closed() => {
                    self.commands.close();
                    continue;
                }
                _ = probe.tick(), if !self.health.is_writable() => {
                    let probed = self.store.probe().await;
                    self.note_health(probed.as_ref().err());
                    continue;
                }
            };
            if taken == 0 {
                return;
            }
            self.metrics.queue_depth(self.commands.len());
            if self.directory_is_stale {
                self.reload_directory().await.ok();
            }
            self.work(&mut commands).await;
        }
    }

    /// Cuts what was taken into batches: a command that is no input stands alone between them.
    async fn work(&mut self, commands: &mut Vec<Command>) {
        let mut inputs = Vec::new();
        let mut waiting = Vec::new();
        let mut to_explain = Vec::new();
        let mut bytes = 0;
        for command in commands.drain(..) {
            match command {
                Command::Input(input, answer, held) => {
                    if bytes + held.bytes > BATCH_BYTES && !inputs.is_empty() {
                        self.batch(&mut inputs, &mut waiting).await;
                        bytes = 0;
                    }
                    bytes += held.bytes;
                    inputs.push(input);
                    waiting.push((answer, held));
                }
                Command::Configure(request, by, answer) => {
                    self.batch(&mut inputs, &mut waiting).await;
                    bytes = 0;
                    // Whoever asked may have hung up; the change holds all the same.
                    answer.send(self.configure(*request, by).await).ok();
                }
                // Nothing waits for it, so it may as well see the whole batch it came with.
                Command::Explain(event, answer, held) => to_explain.push((event, answer, held)),
                Command::Maintain(step, answer) => {
                    self.batch(&mut inputs, &mut waiting).await;
                    bytes = 0;
                    let done = self.store.maintain(step).await;
                    if let Err(error) = &done {
                        self.note_health(Some(error));
                    }
                    answer.send(done.map_err(|_| Unavailable::Database)).ok();
                }
            }
        }
        self.batch(&mut inputs, &mut waiting).await;
        for (event, answer, _held) in to_explain {
            answer.send(self.explain(event).await).ok();
        }
    }

    async fn explain(&self, event: Arc<EventInput>) -> Result<Explained, Unavailable> {
        let directory = self.directory.load_full();
        let event = prepared_under(&directory, event);
        let (store, templates) = (&*self.store, &self.templates);
        explain::explain(store, event, &directory, &self.ids, templates).await.map_err(|error| {
            let error = telemetry::chain(&error);
            tracing::error!(%error, "an event cannot be explained");
            Unavailable::Database
        })
    }

    async fn batch(&mut self, inputs: &mut Vec<Input>, waiting: &mut Vec<Waiting>) {
        if inputs.is_empty() {
            return;
        }
        let started = Instant::now();
        let mut batch = std::mem::take(inputs);
        self.prepare_again_if_stale(&mut batch);
        self.metrics.batch(batch.len());
        let outcomes = self.commit(&batch).await;
        self.count(&batch, &outcomes);
        for ((answer, held), outcome) in waiting.drain(..).zip(outcomes) {
            drop(held);
            // A client that hung up has lost nothing: its event is stored.
            answer.send(outcome).ok();
        }
        self.metrics.batch_took(started.elapsed());
    }

    /// What was prepared under another configuration is prepared under this one.
    fn prepare_again_if_stale(&self, inputs: &mut [Input]) {
        let directory = self.directory.load();
        for input in inputs {
            if let Input::Event(event) = input {
                *event = prepared_under(&directory, Arc::clone(event));
            }
        }
    }

    /// Decides and writes the inputs, in halves if the database refuses them together.
    async fn commit(&mut self, inputs: &[Input]) -> Vec<Result<Outcome, Unavailable>> {
        match self.try_commit(inputs).await {
            Ok((outcomes, written)) => {
                // A batch that changed nothing says nothing about a full disk.
                if written {
                    self.note_health(None);
                }
                outcomes.into_iter().map(Ok).collect()
            }
            Err(error @ StoreError::Unavailable(_)) => {
                self.note_health(Some(&error));
                vec![Err(Unavailable::Database); inputs.len()]
            }
            Err(_) if inputs.len() > 1 => {
                let (first, second) = inputs.split_at(inputs.len() / 2);
                let mut outcomes = Box::pin(self.commit(first)).await;
                outcomes.extend(Box::pin(self.commit(second)).await);
                outcomes
            }
            Err(error) => {
                let error = telemetry::chain(&error);
                tracing::error!(%error, "the database refuses one input; its sender got 503");
                self.metrics.input_refused();
                vec![Err(Unavailable::Database)]
            }
        }
    }

    /// The outcomes, and whether anything had to be written for them.
    async fn try_commit(&mut self, inputs: &[Input]) -> Result<(Vec<Outcome>, bool), StoreError> {
        if std::mem::replace(&mut self.in_doubt, true) {
            self.ids.skip_to(self.store.sequences().await?);
            self.templates.clear();
        }
        let directory = self.directory.load_full();
        let mut unit = self.store.begin().await?;
        let decided = decide(&mut *unit, inputs, &directory, &self.ids, &self.templates).await?;
        let Decided { mut changes, outcomes, ids } = decided;
        let written = !changes.is_empty();
        if written {
            unit.save(&changes).await?;
        }
        // Also if there is nothing in it: a transaction left open holds back the checkpoint.
        unit.commit().await?;
        self.in_doubt = false;
        self.ids = ids;
        for (rule, learned, _) in changes.templates.drain(..) {
            self.templates.insert(rule, learned);
        }
        self.count_changes(&changes, &directory);
        Ok((outcomes, written))
    }

    fn count(&self, inputs: &[Input], outcomes: &[Result<Outcome, Unavailable>]) {
        let now = self.clock.now();
        for (input, outcome) in inputs.iter().zip(outcomes) {
            match (input, outcome) {
                (Input::Event(event), Ok(Outcome::Event(receipt))) => self.metrics.event_received(
                    &event.integration.name,
                    event.api().as_str(),
                    event.event.intent.action().as_str(),
                    receipt.disposition.as_str(),
                    now.since(event.received_at).to_std(),
                ),
                (Input::Change(change), Ok(Outcome::Change(id))) => self.metrics.event_received(
                    &change.integration.name,
                    "change",
                    "change",
                    if id.is_some() { "stored" } else { "duplicate" },
                    now.since(change.received_at).to_std(),
                ),
                _ => {}
            }
        }
    }

    fn count_changes(&self, changes: &Changes, directory: &Directory) {
        let name = |id| directory.service(id).map_or("", |service| service.name.as_str());
        for (service, severity, by) in &changes.open_alerts {
            self.metrics.open_alerts(name(*service), severity.as_str(), *by);
        }
        for (service, status, by) in &changes.open_incidents {
            self.metrics.open_incidents(name(*service), status.as_str(), *by);
        }
        for count in &changes.counts {
            self.metrics.noise(name(count.service_id), count.events, count.incidents);
        }
        let Tally { silenced, inhibited, muted, paused, dropped, storms, unheard, flapping } =
            changes.tally;
        let suppressed = [
            ("silence", silenced),
            ("inhibition", inhibited),
            ("flapping", muted),
            ("pause", paused),
            ("drop", dropped),
        ];
        for (reason, alerts) in suppressed {
            self.metrics.suppressed(reason, alerts);
        }
        self.metrics.storms(storms);
        self.metrics.unheard(unheard);
        self.metrics.flapping(flapping);
        for reason in Reason::ALL {
            let decided = changes.notifications.iter().filter(|told| told.reason == *reason);
            self.metrics.notifications(reason.as_str(), decided.count() as u64);
        }
    }

    fn note_health(&self, error: Option<&StoreError>) {
        let writable = error.is_none();
        self.metrics.database_writable(writable);
        if self.health.set(writable) {
            match error {
                None => tracing::info!("the database can be written again"),
                Some(error) => {
                    let error = telemetry::chain(error);
                    tracing::error!(
                        %error,
                        "the database cannot be written; senders get 503 and it is tried again \
                         every second"
                    );
                }
            }
        }
    }

    /// A change of the configuration is a barrier: committed, then seen by everyone, then answered.
    async fn configure(
        &mut self,
        request: ConfigRequest,
        by: RequestedBy,
    ) -> Result<ConfigAnswer, ConfigureError> {
        let now = self.clock.now();
        let directory = self.directory.load_full();
        let Planned { changes, answer } =
            configure::plan(request, by, &directory, &mut self.ids, now)?;
        if changes.is_empty() {
            return Ok(answer);
        }
        self.settle(now).await?;
        for (change, audit) in &changes {
            if let Configuration::DeleteService(service_id) = change {
                self.close_service(*service_id, &audit.actor).await?;
            }
        }
        match self.write_configuration(&changes).await {
            Ok(Ok(())) => self.note_health(None),
            Ok(Err(refused)) => return Err(refused.into()),
            Err(error) => {
                (self.in_doubt, self.directory_is_stale) = (true, true);
                let detail = telemetry::chain(&error);
                tracing::error!(error = %detail, "a change of the configuration was not stored");
                if matches!(error, StoreError::Unavailable(_)) {
                    self.note_health(Some(&error));
                }
                return Err(Unavailable::Database.into());
            }
        }
        for (_, audit) in &changes {
            tracing::info!(
                action = audit.action,
                kind = audit.object_kind,
                name = audit.object_name,
                actor = audit.actor,
                "configuration changed"
            );
        }
        self.reload_directory().await.map_err(|_| Unavailable::Database)?;
        Ok(answer)
    }

    /// All of the changes, or none.
    async fn write_configuration(
        &mut self,
        changes: &[(Configuration, Audit)],
    ) -> Result<Result<(), Refused>, StoreError> {
        let mut unit = self.store.begin().await?;
        let outcome = unit.configure(changes).await?;
        if outcome.is_ok() {
            unit.commit().await?;
        }
        Ok(outcome)
    }

    /// What was due before a change of the configuration takes effect before it, as things were.
    async fn settle(&mut self, now: Timestamp) -> Result<(), Unavailable> {
        loop {
            match self.commit(&[Input::Tick(now)]).await.pop() {
                Some(Ok(Outcome::Settled(0))) | None => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(unavailable)) => return Err(unavailable),
            }
        }
    }

    /// Resolves what is open in a service that goes away, a bounded number at a time.
    async fn close_service(
        &mut self,
        service_id: ServiceId,
        actor: &str,
    ) -> Result<(), Unavailable> {
        loop {
            let received_at = self.clock.now();
            let actor = actor.to_owned();
            let close = Input::CloseService { service_id, actor, received_at };
            match self.commit(&[close]).await.pop() {
                Some(Ok(Outcome::Settled(0))) | None => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(unavailable)) => return Err(unavailable),
            }
        }
    }

    async fn reload_directory(&mut self) -> Result<(), StoreError> {
        self.directory_is_stale = true;
        let old = self.directory.load_full();
        let now = self.clock.now();
        let new = self.store.directory(old.version + 1, now).await.inspect_err(|error| {
            let error = telemetry::chain(error);
            tracing::error!(%error, "the changed configuration cannot be read back yet");
        })?;
        for gone in old.integrations() {
            if new.integration(gone.id).is_none_or(|kept| kept.name != gone.name) {
                self.metrics.forget_integration(&gone.name);
            }
        }
        for gone in old.services() {
            if new.service(gone.id).is_none_or(|kept| kept.name != gone.name) {
                self.metrics.forget_service(&gone.name);
            }
        }
        let receivers = new.receivers().map(|r| (r.name.as_str(), r.kind.as_str()));
        self.metrics.outbox.set_receivers(receivers);
        let renamed = old
            .services()
            .any(|service| new.service(service.id).is_some_and(|now| now.name != service.name));
        self.directory.store(Arc::new(new));
        self.directory_is_stale = false;
        if renamed {
            let counts = self.store.open_counts().await?;
            self.metrics.set_open(&counts.alerts_by_label(), &counts.incidents_by_label());
        }
        Ok(())
    }
}
