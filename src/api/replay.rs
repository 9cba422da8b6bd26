//! `POST /policy/replay`: stored events through a candidate policy, beside today's.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::{
    domain::{
        changes::{EventInput, Input},
        event::{Api as EventApi, Intent, StoredBody},
        id::ServiceId,
        key::DedupKey,
        pipeline,
        replay::{Replay, Totals},
        routing::Directory,
        time::{Span, Timestamp},
    },
    store::{
        Store, StoreError,
        query::{StoredEvent, StoredSpan},
    },
    wire::{self, Decoded, Endpoint, GivenKeys, Message},
};

/// Events read and decided in one go: a few megabytes, and some milliseconds between two reports.
const CHUNK: usize = 1000;
/// As many inputs as the committer takes under load; that batches never show makes it no matter.
const BATCH: usize = 128;
/// How long before the time that counts both policies begin: incidents that were open already are
/// open then, and keys that flapped flap.
const WARM_UP: Span = Span::from_secs(86_400);

/// What is to be replayed.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) today: Arc<Directory>,
    pub(super) candidate: Arc<Directory>,
    pub(super) since: Timestamp,
    pub(super) now: Timestamp,
    pub(super) service: Option<ServiceId>,
}

/// How far a replay is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reached {
    pub(super) done: u64,
    pub(super) of: u64,
}

/// Runs the events of a plan through both policies; `report` hears how far it is, and says whether
/// anybody still wants the result.
pub(super) async fn run(
    store: &dyn Store,
    plan: Plan,
    mut report: impl FnMut(Reached) -> bool + Send,
) -> Result<Option<Value>, StoreError> {
    let mut span = store.stored_span(plan.since.minus(WARM_UP)).await?;
    let first = span.first;
    let mut both = Both::new(&plan);
    loop {
        let events = store.stored_events(span, plan.service, CHUNK).await?;
        let Some(last) = events.last().map(|event| event.seq) else { break };
        // Deciding takes a core for some milliseconds, and must not hold up those who serve.
        let worked = tokio::task::spawn_blocking(move || {
            both.take(&events);
            both
        });
        both = worked.await.map_err(|_| StoreError::Unusable("a replay broke off".to_owned()))?;
        span = StoredSpan { first: last + 1, ..span };
        let reached = |from: i64, to: i64| u64::try_from(to - from).unwrap_or(0);
        let (done, of) = (reached(first, span.first), reached(first, span.end));
        if !report(Reached { done, of }) {
            return Ok(None);
        }
    }
    Ok(Some(both.finish(&plan)))
}

/// The two runs, over the same events.
#[derive(Debug)]
struct Both {
    today: Replay,
    candidate: Replay,
    since: Timestamp,
    /// Events that cannot be decided again: their integration is gone, or their body unreadable.
    skipped: u64,
}

impl Both {
    fn new(plan: &Plan) -> Self {
        Self {
            today: Replay::new(Arc::clone(&plan.today), plan.since),
            candidate: Replay::new(Arc::clone(&plan.candidate), plan.since),
            since: plan.since,
            skipped: 0,
        }
    }

    fn take(&mut self, events: &[StoredEvent]) {
        // What warms up and what counts must not share a batch.
        let counted = events.partition_point(|event| event.received_at < self.since);
        let (warm, counted) = events.split_at(counted);
        for part in warm.chunks(BATCH).chain(counted.chunks(BATCH)) {
            for run in [&mut self.today, &mut self.candidate] {
                let mut inputs = Vec::with_capacity(part.len());
                inputs.extend(part.iter().filter_map(|event| input(event, run.directory())));
                if inputs.len() < part.len() {
                    self.skipped += (part.len() - inputs.len()) as u64;
                }
                run.run(&inputs);
            }
        }
    }

    fn finish(mut self, plan: &Plan) -> Value {
        self.today.settle(plan.now);
        self.candidate.settle(plan.now);
        let mut services = Vec::new();
        let mut names: Vec<(String, ServiceId)> = plan
            .candidate
            .services()
            .chain(plan.today.services())
            .map(|service| (service.name.clone(), service.id))
            .collect();
        names.sort();
        names.dedup();
        for (name, id) in names {
            let of = |run: &Replay| run.totals().get(&id).copied().unwrap_or_default();
            let (today, candidate) = (of(&self.today), of(&self.candidate));
            if today != Totals::default() || candidate != Totals::default() {
                let (today, candidate) = (shown(&today), shown(&candidate));
                services.push(json!({"service": name, "today": today, "candidate": candidate}));
            }
        }
        json!({
            "since": plan.since,
            "until": plan.now,
            "warm_up": WARM_UP,
            // Each was skipped twice, once under each policy.
            "skipped": self.skipped / 2,
            "today": summary(&self.today),
            "candidate": summary(&self.candidate),
            "services": services,
        })
    }
}

fn shown(totals: &Totals) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("events".into(), totals.events.into());
    object.insert("alerts".into(), totals.alerts.into());
    object.insert("incidents".into(), totals.incidents.into());
    object.insert("notifications".into(), totals.notifications.into());
    let percent = totals.noise_reduction().map(|hundredths| {
        #[expect(clippy::cast_precision_loss, reason = "five digits")]
        let percent = hundredths as f64 / 100.0;
        json!(percent)
    });
    object.insert("noise_reduction_pct".into(), percent.unwrap_or(Value::Null));
    object
}

fn summary(run: &Replay) -> Value {
    let mut sum = Totals::default();
    for totals in run.totals().values() {
        sum.events += totals.events;
        sum.alerts += totals.alerts;
        sum.incidents += totals.incidents;
        sum.notifications += totals.notifications;
    }
    let mut object = shown(&sum);
    let tally = run.tally();
    object.insert("dropped".into(), tally.dropped.into());
    object.insert("silenced".into(), tally.silenced.into());
    object.insert("inhibited".into(), tally.inhibited.into());
    object.insert("storms".into(), tally.storms.into());
    object.insert("reasons".into(), json!(run.reasons()));
    Value::Object(object)
}

/// A stored event as an input again, under a directory's rules.
fn input(stored: &StoredEvent, directory: &Directory) -> Option<Input> {
    // What stands for the keys that were taken out of the body. It opens nothing.
    const NO_KEY: GivenKeys<'static> =
        GivenKeys { url: Some("00000000000000000000000000000000"), header: None };
    let endpoint = match stored.api {
        EventApi::V1 => Endpoint::V1,
        EventApi::V2 => Endpoint::V2,
        EventApi::Change | EventApi::Guance => return None,
    };
    let integration = directory.integration(stored.integration_id)?;
    let decoded = wire::decode(endpoint, NO_KEY, stored.body.as_bytes()).ok()?;
    let Decoded { message: Message::Event(mut event), .. } = decoded else { return None };
    // A key that was made is the alert's: its resolve names it.
    if let Intent::Trigger { dedup_key, .. } = &mut event.intent {
        *dedup_key = Some(DedupKey::parse(&stored.dedup_key).ok()?);
    }
    let prepared = pipeline::prepare(&event, integration, directory);
    Some(Input::Event(Arc::new(EventInput {
        integration: Arc::clone(integration),
        received_at: stored.received_at,
        event,
        body: StoredBody { text: String::new(), details: None },
        prepared,
    })))
}
