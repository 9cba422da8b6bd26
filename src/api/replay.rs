//! `POST /policy/replay`: stored events through a candidate policy, beside today's.

use std::{collections::BTreeMap, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{ACCEPT, CACHE_CONTROL},
    web::{self, Bytes},
};
use futures_util::stream;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use utoipa::{OpenApi, ToSchema};

use super::{
    Api,
    auth::Viewer,
    body,
    error::ApiError,
    members::{Members, REQUIRED},
    policy,
    table::Call,
};
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
    ingest::{PolicyRequest, candidate},
    store::{
        Store, StoreError,
        query::{StoredEvent, StoredSpan},
    },
    wire::{self, Endpoint, GivenKeys, Message},
};

/// A policy file with its events' worth of names is far below this.
const BODY_BYTES: usize = 2 * 1024 * 1024;
/// Lines that may wait for a reader who is slow; the replay waits with them.
const LINES_WAITING: usize = 16;
const SINCE_DEFAULT: Span = Span::from_secs(7 * 86_400);
const SINCE_MAX: Span = Span::from_secs(366 * 86_400);

pub(super) const CALLS: &[Call] = &[Call::post("/api/v1/policy/replay", || web::to(replay))];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(replay))]
pub(super) struct Documented;

/// What is to be replayed.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "described, and read member by member")]
pub(super) struct ReplayInput {
    /// The candidate, as YAML.
    #[schema(example = "services: [{name: default, grouping: [{by: [class]}]}]")]
    policy: String,
    /// How far back, as a duration; 7 days if left out.
    #[schema(example = "7d", required = false)]
    since: String,
    /// Only the events of this service, by name or id.
    #[schema(required = false)]
    service: Option<String>,
}

/// Run stored events through a candidate policy
///
/// Decides the events of the last days again, under the policy of today and under the candidate,
/// both from the same cold start a day earlier, and answers what each comes to. Nothing is written.
/// With `Accept: application/x-ndjson` the answer comes line by line:
/// `{"progress":{"done","of"}}` while it runs, at last `{"result":{…}}`. One replay runs at a time.
#[utoipa::path(
    post, path = "/api/v1/policy/replay", tag = "policy", operation_id = "replay_policy",
    request_body = ReplayInput,
    responses(
        (status = 200, description = "What both policies come to, by service", body = Object,
            example = json!({"since": "2026-11-13T00:00:00.000Z", "until": "2026-11-20T00:00:00.000Z",
                "warm_up": "1d", "skipped": 0,
                "today": {"events": 9000, "alerts": 800, "incidents": 700, "notifications": 900,
                    "noise_reduction_pct": 92.22},
                "candidate": {"events": 9000, "alerts": 800, "incidents": 60, "notifications": 70,
                    "noise_reduction_pct": 99.33}, "services": []})),
        (status = 400, description = "Something in the policy is wrong; `errors` says all of it, \
            each with its path and line"),
        (status = 409, description = "Another replay is running"),
    ),
)]
async fn replay(
    _: Viewer,
    request: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let object = body::read_json(payload, BODY_BYTES, api.limits.body_timeout).await?;
    let today = api.ingest.directory();
    let mut members = Members::of(object);
    let policy = members.required_text("policy");
    let since = members.span("since", SINCE_DEFAULT, SINCE_MAX);
    let service = members.service(&today);
    members.finish()?;
    let file = policy::parse(policy.expect(REQUIRED), &api).await?;
    let now = api.ingest.now();
    let (keys, told) = (BTreeMap::new(), BTreeMap::new());
    let file = PolicyRequest { file, keys, told, prune: false, dry_run: false };
    let candidate = candidate(file, &today, now)?;
    let candidate = Arc::new(candidate);
    let Ok(turn) = Arc::clone(&api.limits.replays).try_acquire_owned() else {
        let what = "another replay is running; it takes a core, so one runs at a time";
        return Err(ApiError::Conflict(what.to_owned()));
    };
    let plan = Plan { today, candidate, since: now.minus(since), now, service };
    let wants_lines = request.headers().get(ACCEPT);
    let wants_lines = wants_lines.is_some_and(|accept| accept == "application/x-ndjson");
    let store = Arc::clone(&api.store);
    if !wants_lines {
        let result = run(&*store, plan, async |_| true).await?;
        drop(turn);
        return Ok(HttpResponse::Ok().json(result));
    }
    let (lines, waiting) = mpsc::channel::<Value>(LINES_WAITING);
    actix_web::rt::spawn(async move {
        let progress = lines.clone();
        let report = async |reached: Reached| {
            let Reached { done, of } = reached;
            // Nobody reads any more: whoever asked has gone.
            progress.send(json!({"progress": {"done": done, "of": of}})).await.is_ok()
        };
        let last = match run(&*store, plan, report).await {
            Ok(Some(result)) => json!({"result": result}),
            Ok(None) => return,
            Err(error) => {
                let error = crate::telemetry::chain(&error);
                tracing::error!(%error, "a replay broke off");
                json!({"error": "the gateway cannot read its events; its log says why"})
            }
        };
        drop(turn);
        lines.send(last).await.ok();
    });
    let body = stream::unfold(waiting, async |mut waiting| {
        let line = waiting.recv().await?;
        Some((Ok::<_, actix_web::Error>(Bytes::from(format!("{line}\n"))), waiting))
    });
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, "no-store")).content_type("application/x-ndjson");
    Ok(response.streaming(Box::pin(body)))
}

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
    mut report: impl AsyncFnMut(Reached) -> bool,
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
        if !report(Reached { done, of }).await {
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
    object.insert("noise_reduction_pct".into(), json!(totals.noise_reduction_pct()));
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
    let decode =
        |endpoint| Some(wire::decode(endpoint, NO_KEY, stored.body.as_bytes()).ok()?.message);
    let message = match stored.api {
        EventApi::V1 => decode(Endpoint::V1)?,
        EventApi::V2 => decode(Endpoint::V2)?,
        EventApi::Guance => wire::guance::decode_stored(&stored.body)?,
        EventApi::Change => return None,
    };
    let Message::Event(mut event) = message else { return None };
    let integration = directory.integration(stored.integration_id)?;
    // Rules do not see a key that was made; but it is the alert's: its resolve names it.
    let prepared = pipeline::prepare(&event, integration, directory);
    if let Intent::Trigger { dedup_key, .. } = &mut event.intent {
        *dedup_key = Some(DedupKey::parse(&stored.dedup_key).ok()?);
    }
    Some(Input::Event(Arc::new(EventInput {
        integration: Arc::clone(integration),
        received_at: stored.received_at,
        event,
        body: StoredBody { text: String::new(), details: None },
        prepared,
    })))
}
