//! The loop: lease → send → record.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::{Id, JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    Outlook,
    line::{Line, Ready},
    pace::Pace,
    receivers::{Book, Known, Limits, Notifiers},
    retry::{self, Tried},
    send::{Finished, Sender, message},
};
use crate::{
    clock::Clock,
    domain::{
        id::DeliveryId,
        time::{Span, Timestamp},
    },
    notify::{Failure, Outcome, Sent},
    store::{
        Store, StoreError,
        outbox::{DueAt, Knows, Leased, Next, Recorded, Turn, Want},
    },
    telemetry::{self, metrics::Metrics},
};

/// Behind the nudge: how often the store is asked at least.
const POLL: Duration = Duration::from_secs(1);
/// What is done waits this long for company before it is recorded.
const GATHER: Span = Span::from_millis(50);
const GATHER_MAX: usize = 64;
/// After the database refused.
const RETRY_STORE: Duration = Duration::from_secs(1);
/// A lease: longer than any try takes.
const LEASE: Span = Span::from_secs(60);
/// What is left of a lease when a try may begin.
const LEASE_LEFT: Span = Span::from_secs(25);

/// What the dispatcher works with.
#[derive(Debug)]
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    pub notifiers: Arc<dyn Notifiers>,
    /// The base of links.
    pub base_url: String,
    /// Who leases: unlike any other process that is or was.
    pub worker: String,
    pub outlook: Outlook,
}

/// Sends what is owed.
#[derive(Debug)]
pub struct Dispatcher {
    parts: Parts,
    nudge: Arc<Notify>,
    book: Arc<Book>,
    lines: HashMap<i64, Line>,
    paces: HashMap<String, Pace>,
    sends: JoinSet<Finished>,
    sending: HashMap<Id, Leased>,
    /// What is done and not recorded yet, and since when the first of it waits.
    done: Vec<Recorded>,
    done_since: Option<Timestamp>,
    /// Receivers that are up again.
    up: Vec<i64>,
    /// Steps that go on right after what they came to has been stored.
    continuing: HashSet<DeliveryId>,
    due: Vec<DueAt>,
    due_is_stale: bool,
}

impl Dispatcher {
    pub fn new(parts: Parts) -> Self {
        Self {
            nudge: parts.store.nudge(),
            book: Arc::new(Book::new(Arc::clone(&parts.notifiers))),
            parts,
            lines: HashMap::new(),
            paces: HashMap::new(),
            sends: JoinSet::new(),
            sending: HashMap::new(),
            done: Vec::new(),
            done_since: None,
            up: Vec::new(),
            continuing: HashSet::new(),
            due: Vec::new(),
            due_is_stale: true,
        }
    }

    /// Sends until `stop`; then lets what is on its way end, and records it.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let released = self.parts.store.release(self.parts.clock.now()).await;
            match released {
                Ok(()) => break,
                Err(error) => self.refused(&error, &stop).await,
            }
        }
        while !stop.is_cancelled() {
            if let Err(error) = self.step().await {
                self.refused(&error, &stop).await;
                continue;
            }
            self.wait(&stop).await;
        }
        self.finish().await;
    }

    async fn refused(&self, error: &StoreError, stop: &CancellationToken) {
        let error = telemetry::chain(error);
        tracing::error!(%error, "what is owed to receivers cannot be read or recorded");
        tokio::select! {
            () = tokio::time::sleep(RETRY_STORE) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Records what is done, leases what is due, and starts what may go.
    pub(super) async fn step(&mut self) -> Result<(), StoreError> {
        for receiver in self.parts.outlook.take_tried() {
            let now = self.parts.clock.now();
            if let Some(line) = self.lines.get_mut(&receiver) {
                line.breaker.try_now(now);
                line.paused_until = None;
            }
        }
        self.start();
        let now = self.parts.clock.now();
        let next_due = self.due.iter().map(|due| due.at).min();
        if self.due_is_stale || next_due.is_some_and(|at| at <= now) {
            self.due = self.parts.store.due().await?;
            self.due_is_stale = false;
        }
        let wanted = self.wanted(now);
        let gathered = self.done.len() >= GATHER_MAX
            || self.done_since.is_some_and(|since| now.since(since) >= GATHER)
            || (self.sends.is_empty() && !self.done.is_empty());
        if gathered || !self.up.is_empty() || !wanted.is_empty() {
            self.turn(&wanted, now).await?;
            self.start();
        }
        Ok(())
    }

    async fn turn(&mut self, wanted: &[Want], now: Timestamp) -> Result<(), StoreError> {
        let turn = Turn {
            now,
            worker: &self.parts.worker,
            until: now.plus(LEASE),
            done: &self.done,
            up: &self.up,
            wanted,
        };
        let leased = self.parts.store.turn(&turn).await?;
        self.done.clear();
        self.done_since = None;
        self.up.clear();
        self.due_is_stale = true;
        for early in wanted.iter().filter(|want| want.early) {
            let found = leased.iter().any(|leased| leased.receiver == early.receiver);
            let line = self.lines.get_mut(&early.receiver).filter(|_| !found);
            if let Some(line) = line {
                line.breaker.found_nothing(now);
            }
        }
        let subjects = self.parts.store.subjects(&leased).await?;
        for (leased, subject) in leased.into_iter().zip(subjects) {
            let (receiver, version) = (leased.receiver, leased.version);
            let known = self.book.look_up(&*self.parts.store, receiver, version, now).await?;
            let notifier = known.as_ref().and_then(|known| known.notifier.as_ref().ok());
            let first = leased.knows != Knows::Yes;
            let requests = notifier
                .map_or(1, |notifier| notifier.requests(leased.reason, first, leased.wakes));
            let line = self.line(receiver, known.as_ref());
            line.ready.push_back(Ready { leased, subject, requests });
        }
        Ok(())
    }

    fn line(&mut self, receiver: i64, known: Option<&Known>) -> &mut Line {
        let limits = known.map(|known| Limits::of(&known.revision));
        let paused_until = match self.lines.get(&receiver) {
            Some(line) => line.paused_until,
            None => limits.as_ref().and_then(|limits| self.paused(limits.shared.as_deref()?)),
        };
        let line = self.lines.entry(receiver).or_insert_with(|| {
            let name = known.map(|known| known.revision.name.clone()).unwrap_or_default();
            let kind = known.map_or("", |known| known.revision.kind.as_str());
            let none = Limits { concurrency: 1, per_minute: None, shared: None };
            Line::new(name, kind, limits.clone().unwrap_or(none))
        });
        if let Some(limits) = limits.filter(|limits| *limits != line.limits) {
            line.limits = limits;
        }
        line.paused_until = paused_until;
        line
    }

    /// Until when nothing is sent with a key.
    fn paused(&self, shared: &str) -> Option<Timestamp> {
        let same = |line: &&Line| line.limits.shared.as_deref() == Some(shared);
        self.lines.values().filter(same).filter_map(|line| line.paused_until).max()
    }

    /// What each receiver has room for.
    fn wanted(&mut self, now: Timestamp) -> Vec<Want> {
        let mut wanted = Vec::new();
        for due in &self.due {
            let line = self.lines.get(&due.receiver);
            let early = due.at > now;
            if early && line.is_none_or(|line| line.breaker.allows(now) != Some(1)) {
                continue;
            }
            let most = match line {
                // Nothing is known of it before something of it was leased.
                None => 1,
                Some(line) => {
                    let pace = self.paces.get(&pace_key(due.receiver, line));
                    let room = pace.map_or(usize::MAX, |pace| pace.room(now));
                    line.wants(room, now)
                }
            };
            if most > 0 {
                wanted.push(Want { receiver: due.receiver, most, early });
            }
        }
        wanted
    }

    /// Starts whatever may go now.
    fn start(&mut self) {
        let now = self.parts.clock.now();
        let Self { lines, paces, sends, sending, parts, book, continuing, .. } = self;
        for (receiver, line) in lines.iter_mut() {
            while let Some(requests) = line.may_go(now) {
                if let Some(per_minute) = line.limits.per_minute {
                    let key = pace_key(*receiver, line);
                    let pace = paces.entry(key).or_insert_with(|| Pace::new(per_minute));
                    if pace.next(requests, now) > now {
                        break;
                    }
                    pace.go(requests, now);
                }
                let Some(Ready { leased, subject, .. }) = line.ready.pop_front() else { break };
                if leased.until.minus(LEASE_LEFT) <= now {
                    // Somebody else may have it by the time it is sent: it is due again as it is.
                    continue;
                }
                line.on_the_way += 1;
                line.breaker.sends();
                let message = message(&leased, subject, &parts.base_url, now);
                let sender = Sender {
                    store: Arc::clone(&parts.store),
                    clock: Arc::clone(&parts.clock),
                    book: Arc::clone(book),
                    continues: continuing.remove(&leased.id),
                };
                let task = sends.spawn(sender.send(leased.clone(), message));
                sending.insert(task.id(), leased);
            }
        }
    }

    /// Waits for something to do.
    async fn wait(&mut self, stop: &CancellationToken) {
        let now = self.parts.clock.now();
        let until = self.next_time(now).map_or(POLL, |at| at.since(now).to_std().min(POLL));
        let asked = Arc::clone(&self.parts.outlook.nudge);
        tokio::select! {
            Some(finished) = self.sends.join_next_with_id(), if !self.sends.is_empty() => {
                self.take(finished);
                while let Some(finished) = self.sends.try_join_next_with_id() {
                    self.take(finished);
                }
            }
            () = self.nudge.notified() => self.due_is_stale = true,
            () = asked.notified() => {}
            () = tokio::time::sleep(until) => self.due_is_stale |= until >= POLL,
            () = stop.cancelled() => {}
        }
    }

    /// When there is something to do next, as far as that is known.
    pub(super) fn next_time(&self, now: Timestamp) -> Option<Timestamp> {
        if self.due_is_stale {
            return Some(now);
        }
        let gathered = self.done_since.map(|since| since.plus(GATHER));
        let due: HashSet<i64> =
            self.due.iter().filter(|due| due.at <= now).map(|due| due.receiver).collect();
        let lines = self.lines.iter().flat_map(|(receiver, line)| {
            let pace = self.paces.get(&pace_key(*receiver, line));
            let has_more = !line.ready.is_empty() || due.contains(receiver);
            let requests = line.ready.front().map_or(1, |ready| ready.requests);
            let paced = pace.filter(|_| has_more).map(|pace| pace.next(requests, now));
            let waits = line.on_the_way >= line.at_once();
            [paced.filter(|_| !waits), line.paused_until, line.breaker.next_probe()]
        });
        // What is due already waits for one of the above, or for a try to end.
        let due = self.due.iter().map(|due| Some(due.at));
        let times = due.chain(lines).flatten().filter(|at| *at > now);
        times.chain(gathered).min()
    }

    fn take(&mut self, finished: Result<(Id, Finished), JoinError>) {
        let now = self.parts.clock.now();
        let finished = match finished {
            Ok((id, finished)) => {
                self.sending.remove(&id);
                finished
            }
            Err(error) => {
                let Some(leased) = self.sending.remove(&error.id()) else { return };
                tracing::error!(delivery = %leased.id, "sending a delivery ended in a panic");
                let outcome = Outcome::Retry { failure: Failure::Unanswered, after: None };
                let sent = Sent { outcome, ..Sent::dead("an error of dutygate: see its log") };
                Finished { leased, payload: None, started_at: now, sent }
            }
        };
        let Finished { leased, payload, started_at, sent } = finished;
        self.observe(&leased, &sent, started_at, now);
        if let Outcome::Continue { after } = sent.outcome
            && after == Span::ZERO
        {
            self.continuing.insert(leased.id);
        }
        let payload = payload.as_ref();
        let tried = Tried { leased: &leased, payload, started_at, now, jitter: jitter() };
        let recorded = retry::record(&tried, sent);
        let outcome = match recorded.next {
            Next::Delivered => Some("delivered"),
            Next::Dead => Some("dead"),
            Next::Again { .. } => None,
        };
        if let (Some(outcome), Some(line)) = (outcome, self.lines.get(&leased.receiver)) {
            self.parts.metrics.outbox.ended(&line.name, line.kind, outcome);
        }
        self.done.push(recorded);
        self.done_since.get_or_insert(now);
    }

    /// What a try says about its receiver as a whole.
    fn observe(&mut self, leased: &Leased, sent: &Sent, started_at: Timestamp, now: Timestamp) {
        let Some(line) = self.lines.get_mut(&leased.receiver) else { return };
        line.on_the_way = line.on_the_way.saturating_sub(1);
        let (outcome, failure) = match sent.outcome {
            Outcome::Delivered => ("delivered", None),
            Outcome::Continue { .. } => ("step", None),
            Outcome::Retry { failure, .. } => ("retry", Some(failure)),
            Outcome::Dead { failure } => ("dead", Some(failure)),
        };
        let took = now.since(started_at).to_std();
        self.parts.metrics.outbox.attempted(&line.name, outcome, took);
        if failure.is_some_and(Failure::is_outage) {
            if line.breaker.failed(leased.lane, now) {
                let error = sent.error.as_deref().unwrap_or_default();
                tracing::warn!(
                    receiver = line.name,
                    error,
                    "the receiver is down; what is owed to it waits, and it is tried again all the \
                     while"
                );
                self.parts.outlook.set_down(&line.name, line.breaker.down_since());
                self.parts.metrics.outbox.receiver_up(&line.name, false);
            }
        } else if line.breaker.answered(line.limits.concurrency) {
            tracing::info!(receiver = line.name, "the receiver is up again");
            self.parts.outlook.set_down(&line.name, None);
            self.parts.metrics.outbox.receiver_up(&line.name, true);
            self.up.push(leased.receiver);
        }
        if let Outcome::Retry { failure: Failure::Throttled, after } = sent.outcome {
            let until = Some(now.plus(after.unwrap_or(Span::from_secs(10))));
            line.paused_until = until;
            // It is the key that was used too often, whoever used it.
            let shared = line.limits.shared.clone();
            let same = |line: &&mut Line| shared.is_some() && line.limits.shared == shared;
            for line in self.lines.values_mut().filter(same) {
                line.paused_until = until;
            }
        }
    }

    /// Lets what is on its way end, and gives back what was not begun.
    async fn finish(&mut self) {
        while let Some(finished) = self.sends.join_next_with_id().await {
            self.take(finished);
        }
        let now = self.parts.clock.now();
        let waiting = self.lines.values_mut().flat_map(|line| line.ready.drain(..));
        self.done.extend(waiting.map(|ready| given_back(&ready.leased, now)));
        if let Err(error) = self.turn(&[], now).await {
            let error = telemetry::chain(&error);
            tracing::error!(%error, "what was sent last is not recorded, and will be sent again");
        }
    }

    /// Takes one step, and lets what is sent get there; nothing of that is looked at.
    #[cfg(test)]
    pub(super) async fn advance(&mut self) {
        self.due_is_stale = true;
        self.step().await.expect("the store works");
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }

    /// The same, and takes what has come to its end.
    #[cfg(test)]
    pub(super) async fn round(&mut self) {
        self.advance().await;
        while let Some(finished) = self.sends.try_join_next_with_id() {
            self.take(finished);
        }
    }

    /// Does all there is to do at this time, and returns once nothing is left.
    #[cfg(test)]
    pub(super) async fn settle(&mut self) {
        self.due_is_stale = true;
        loop {
            self.step().await.expect("the store works");
            if let Some(finished) = self.sends.join_next_with_id().await {
                self.take(finished);
            } else if self.done.is_empty() && !self.due_is_stale {
                let now = self.parts.clock.now();
                if self.wanted(now).is_empty() {
                    return;
                }
            }
        }
    }
}

/// By what the pace of a receiver is known.
fn pace_key(receiver: i64, line: &Line) -> String {
    line.limits.shared.clone().unwrap_or_else(|| receiver.to_string())
}

fn jitter() -> u32 {
    rand::random_range(0..1000)
}

/// Ours no more, and as it was.
fn given_back(leased: &Leased, now: Timestamp) -> Recorded {
    Recorded {
        delivery: leased.id,
        lane: leased.lane,
        receiver: leased.receiver,
        incident: leased.incident,
        attempt: None,
        attempts: leased.attempts,
        failures: leased.failures,
        first_attempt_at: leased.first_attempt_at,
        next: Next::Again { at: now, not_before: None },
        payload: None,
        knows: leased.knows,
        remote: None,
    }
}
