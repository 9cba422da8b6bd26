//! `/webhooks/pagerduty/{receiver}`: what people do at PagerDuty is done here, too.
//!
//! No token is asked for: PagerDuty signs what it sends. What is signed and understood is answered
//! 202 whatever comes of it, as PagerDuty stops sending for a day to who refuses three in a row.

mod seen;

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::Value;
use utoipa::{OpenApi, ToSchema};

pub use self::seen::Seen;
use super::{
    Api,
    body::{self, BodyError},
    error::ApiError,
    incidents::NOTE_MAX_CHARS,
    receivers,
    table::Call,
};
use crate::{
    domain::{
        alert::Status,
        changes::{ActionOutcome, Target, TimelineKind, Verb},
        id::{AlertId, IncidentId},
        receiver::{Receiver, ReceiverKind},
        time::Timestamp,
    },
    ingest::Unavailable,
    notify::secret::Secrets,
    store::query::{AlertFilter, IncidentRef, Page, TextField},
    wire::pagerduty::webhook::{self, Webhook, What, Who},
};

/// Largest body, in bytes. PagerDuty's own are under 256 KB ("Webhooks Behavior", "Size Limit").
const BODY_BYTES: usize = 512 * 1024;

/// Longest address of a page at PagerDuty that is kept.
const URL_BYTES: usize = 2048;

/// As many entries of a timeline are read at a time, and so often at most.
const TIMELINE_PAGE: usize = 100;
const TIMELINE_PAGES: usize = 20;

/// Most open alerts of one key, of all integrations, among which the one that is meant is looked for.
const OPEN_ALERTS: usize = 100;

pub(super) const CALLS: &[Call] =
    &[Call::post("/webhooks/pagerduty/{receiver}", || web::to(pagerduty))];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(pagerduty))]
pub(super) struct Documented;

/// What came of a webhook.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct WebhookAnswer {
    /// `changed`, `unchanged` or `ignored`.
    #[schema(example = "changed")]
    result: &'static str,
    /// Why nothing was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "the incident is resolved", nullable = false)]
    reason: Option<&'static str>,
}

impl WebhookAnswer {
    fn ignored(reason: &'static str) -> Self {
        Self { result: "ignored", reason: Some(reason) }
    }
}

/// Take a webhook of PagerDuty (V3)
///
/// Acknowledges, unacknowledges or resolves the incident as it was done at PagerDuty, and takes
/// notes over. The receiver has to have a `webhook_secret`: the signing secret of the webhook
/// subscription.
#[utoipa::path(
    post, path = "/webhooks/pagerduty/{receiver}", tag = "webhooks",
    operation_id = "take_pagerduty_webhook",
    params(
        ("receiver" = String, Path, description = "Id or name of the receiver"),
        ("X-PagerDuty-Signature" = String, Header,
            description = "`v1=` and the HMAC-SHA256 of the body in hexadecimal digits; several \
                with commas between them"),
        ("X-Webhook-Id" = Option<String>, Header,
            description = "The same each time that one webhook is sent"),
    ),
    request_body(content = Object, description = "A webhook of version 3"),
    responses(
        (status = 202, description = "Understood; also if it is about nothing that is known here",
            body = WebhookAnswer),
        (status = 400, description = "Signed, and no webhook of version 3",
            body = super::openapi::schemas::Problem, content_type = "application/problem+json"),
        (status = 401, description = "The signature is missing or wrong",
            body = super::openapi::schemas::Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such receiver, or it has no `webhook_secret`",
            body = super::openapi::schemas::Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time",
            body = super::openapi::schemas::Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 512 KB",
            body = super::openapi::schemas::Problem, content_type = "application/problem+json"),
        (status = 503, description = "It cannot be done now, or the secret is not where the \
            receiver's settings say", body = super::openapi::schemas::Problem,
            content_type = "application/problem+json"),
    ),
)]
async fn pagerduty(
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let receiver = receivers::found(&api.ingest.directory(), &path)
        .ok()
        .filter(|receiver| receiver.kind == ReceiverKind::PagerDuty)
        .ok_or(ApiError::NotFound("receiver"))?;
    let secret = secret(&api, &receiver).await?;
    let body =
        body::read(payload, BODY_BYTES, api.limits.body_timeout).await.map_err(
            |error| match error {
                BodyError::TooLarge => ApiError::TooLarge { limit_bytes: BODY_BYTES },
                BodyError::TimedOut => ApiError::TimedOut,
                BodyError::Broken => ApiError::field("body", "did not arrive whole"),
            },
        )?;
    if !webhook::is_signed(
        secret.expose_secret(),
        &body,
        &header(&request, "X-PagerDuty-Signature"),
    ) {
        return Err(ApiError::Unsigned);
    }
    let webhook =
        webhook::decode(&body).map_err(|error| ApiError::field("body", error.to_string()))?;
    let ids = [webhook.id.as_deref().unwrap_or_default(), &header(&request, "X-Webhook-Id")];
    let Some(claim) = api.webhooks.claim(receiver.id, &ids) else {
        return Ok(HttpResponse::Accepted().json(WebhookAnswer::ignored("it came before")));
    };
    let answer = Taking { api: &api, receiver: &receiver }.take(&webhook).await?;
    claim.keep();
    tracing::info!(receiver = receiver.name, result = answer.result, "took a webhook of PagerDuty");
    Ok(HttpResponse::Accepted().json(answer))
}

/// What a receiver's webhooks are signed with.
async fn secret(api: &Api, receiver: &Arc<Receiver>) -> Result<SecretString, ApiError> {
    let (secrets, wanted) = (Secrets::new(api.environment), Arc::clone(receiver));
    // It may be in a file.
    let found = web::block(move || secrets.find(&wanted.settings, "webhook_secret")).await;
    let found = found.map_err(|_| ApiError::Unavailable(Unavailable::Draining))?;
    let receiver = receiver.name.clone();
    let found = found.map_err(|missing| ApiError::SecretGone { receiver, missing })?;
    found.ok_or(ApiError::NotFound("receiver with a webhook_secret"))
}

/// All headers of a name, joined as RFC 9110 §5.3 says.
fn header(request: &HttpRequest, name: &str) -> String {
    let values = request.headers().get_all(name).filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

/// A webhook being taken.
struct Taking<'a> {
    api: &'a Api,
    receiver: &'a Receiver,
}

impl Taking<'_> {
    fn actor(&self) -> String {
        format!("pagerduty:{}", self.receiver.name)
    }

    async fn take(&self, webhook: &Webhook) -> Result<WebhookAnswer, ApiError> {
        let (verb, done) = match asked(webhook) {
            Ok(asked) => asked,
            Err(reason) => return Ok(WebhookAnswer::ignored(reason)),
        };
        let unknown = WebhookAnswer::ignored("it is about nothing that is known here");
        let Some(target) = self.target(webhook).await? else { return Ok(unknown) };
        if let (Some(at), Some(_)) = (webhook.occurred_at, done)
            && self.woke_after(target, at).await?
        {
            return Ok(WebhookAnswer::ignored("it has been opened again since"));
        }
        Ok(match self.api.ingest.act(target, verb, self.actor()).await? {
            ActionOutcome::Changed => {
                if let (Some(done), Who::Somebody(Some(name))) = (done, &webhook.who) {
                    let who = noted(format!("{done} in PagerDuty by {name}"));
                    self.api.ingest.act(target, who, self.actor()).await?;
                }
                WebhookAnswer { result: "changed", reason: None }
            }
            ActionOutcome::Unchanged => WebhookAnswer { result: "unchanged", reason: None },
            ActionOutcome::NotFound => unknown,
            ActionOutcome::Conflict(why) => WebhookAnswer::ignored(why),
        })
    }

    /// What of ours the incident at PagerDuty is.
    async fn target(&self, webhook: &Webhook) -> Result<Option<Target>, ApiError> {
        if let Some(key) = &webhook.incident_key {
            let found = if self.receiver.settings.get("passthrough") == Some(&Value::Bool(true)) {
                self.newest_open(key).await?
            } else {
                self.known(key.strip_prefix("dutygate:").and_then(AlertId::parse)).await?
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        // By the event that opened it: it has the address of the page here.
        let page = webhook.client_url.as_deref().filter(|_| webhook.what == What::Triggered);
        if let Some(target) = self.known(page.and_then(id_of_page)).await? {
            return Ok(Some(target));
        }
        let Some(url) = &webhook.incident_url else { return Ok(None) };
        let note = self.api.store.note(&self.actor(), &page_note(url)).await?;
        let target = note.and_then(|note| {
            let alert = note.alert_id.map(Target::Alert);
            alert.or(note.incident_id.map(Target::Incident))
        });
        self.if_told(target).await
    }

    /// What this receiver was never told of is none of its business: whoever has its signing secret
    /// must not end what is somebody else's.
    async fn if_told(&self, target: Option<Target>) -> Result<Option<Target>, ApiError> {
        let Some(target) = target else { return Ok(None) };
        let was_told = self.api.store.was_told(self.receiver.id, target).await?;
        Ok(Some(target).filter(|_| was_told))
    }

    /// An incident or alert by its id, if this receiver was told of it.
    async fn known(&self, id: Option<AlertId>) -> Result<Option<Target>, ApiError> {
        let Some(alert) = id else { return Ok(None) };
        let incident = IncidentId::from_uuid(alert.uuid());
        if self.api.store.incident(IncidentRef::Id(incident)).await?.is_some() {
            return self.if_told(Some(Target::Incident(incident))).await;
        }
        let alert = self.api.store.alert(alert).await?;
        self.if_told(alert.map(|alert| Target::Alert(alert.id))).await
    }

    /// The newest open alert of this key that this receiver was told of: other sources may use the
    /// same key.
    async fn newest_open(&self, key: &str) -> Result<Option<Target>, ApiError> {
        let filter = AlertFilter {
            status: vec![Status::Triggered, Status::Acknowledged],
            texts: vec![(TextField::DedupKey, vec![key.to_owned()])],
            ..AlertFilter::default()
        };
        let page = Page { limit: OPEN_ALERTS, before: None, count: false };
        for alert in self.api.store.alerts(&filter, page).await?.items {
            if let Some(target) = self.if_told(Some(Target::Alert(alert.id))).await? {
                return Ok(Some(target));
            }
        }
        Ok(None)
    }

    /// Whether it was opened again after `at`, but for what this receiver's webhooks did: what was
    /// done before that was done about something that is over.
    async fn woke_after(&self, target: Target, at: Timestamp) -> Result<bool, ApiError> {
        let mut before = None;
        let actor = self.actor();
        for _ in 0..TIMELINE_PAGES {
            let page = Page { limit: TIMELINE_PAGE, before, count: false };
            let entries = match target {
                Target::Incident(id) => self.api.store.incident_timeline(id, page).await?,
                Target::Alert(id) => self.api.store.alert_timeline(id, page).await?,
            };
            for entry in &entries.items {
                if entry.at <= at {
                    return Ok(false);
                }
                let wakes = [
                    TimelineKind::Reopened,
                    TimelineKind::TriggeredAgain,
                    TimelineKind::Unacknowledged,
                ];
                if entry.actor != actor && wakes.iter().any(|kind| kind.as_str() == entry.kind) {
                    return Ok(true);
                }
            }
            before = entries.next;
            if before.is_none() {
                break;
            }
        }
        Ok(false)
    }
}

/// What a webhook asks for, and in a word what was done if it is a change of state. `Err`: nothing,
/// and why.
fn asked(webhook: &Webhook) -> Result<(Verb, Option<&'static str>), &'static str> {
    const NO_MATTER: &str = "nothing is done about such events";
    let name = match (&webhook.who, &webhook.what) {
        (_, What::Other) => return Err(NO_MATTER),
        (Who::Somebody(name), _) => name.as_deref().unwrap_or("somebody"),
        // It is opened by an event of ours. An acknowledgement that ran out is nobody's doing.
        (_, What::Triggered) | (Who::Nobody, What::Unacknowledged) => "PagerDuty",
        (Who::Integration, _) => return Err("an integration did it: it came from here"),
        // Our own resolve comes back like this by way of PagerDuty's event rules.
        (Who::Nobody, _) => return Err("nobody did it"),
    };
    Ok(match &webhook.what {
        What::Acknowledged => (Verb::Acknowledge, Some("acknowledged")),
        What::Unacknowledged => (Verb::Unacknowledge, Some("unacknowledged")),
        What::Resolved => (Verb::Resolve, Some("resolved")),
        What::Triggered => match &webhook.incident_url {
            Some(url) if url.len() <= URL_BYTES => (noted(page_note(url)), None),
            Some(_) | None => return Err("it names no page"),
        },
        What::Annotated { note } => (noted(format!("{name}: {note}")), None),
        What::Reopened => (noted(format!("reopened in PagerDuty by {name}")), None),
        What::Merged { into } => {
            let into = into.as_deref().map(|url| format!(" into {url}")).unwrap_or_default();
            (noted(format!("merged in PagerDuty by {name}{into}")), None)
        }
        What::Other => return Err(NO_MATTER),
    })
}

/// The note by which an incident is found again when PagerDuty names its page there.
fn page_note(url: &str) -> String {
    format!("at PagerDuty: {url}")
}

fn noted(mut text: String) -> Verb {
    if let Some((end, _)) = text.char_indices().nth(NOTE_MAX_CHARS) {
        let kept = text[..end].char_indices().next_back().map_or(0, |(at, _)| at);
        text.truncate(kept);
        text.push('…');
    }
    Verb::Note(text)
}

/// The alert or incident whose page here this is: `…/incidents/ID`, `…/incidents/ID#alert-ID`.
fn id_of_page(url: &str) -> Option<AlertId> {
    let (_, page) = url.rsplit_once("/incidents/")?;
    let (incident, alert) = page.split_once("#alert-").unwrap_or((page, page));
    AlertId::parse(incident)?;
    AlertId::parse(alert)
}
