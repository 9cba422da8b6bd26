//! `/event/push/alert/guance`: one event of a monitor, or a list of them.

use actix_web::{HttpRequest, HttpResponse, web};

use super::{Failed, OwnedKeys, admit, note, read, unavailable};
use crate::{
    api::{Api, error::emitter_response},
    domain::{changes::Outcome, event},
    ingest::Submitted,
    wire::{
        Message,
        guance::{self, Decoded},
        pagerduty::reply::Reply,
    },
};

pub(super) async fn enqueue(
    request: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> HttpResponse {
    let keys = OwnedKeys::of(&request);
    let keys = keys.given();
    let body = read(&request, payload, &api, event::Api::Guance, keys).await;
    match body.and_then(|body| guance::decode(keys, &body).map_err(Failed::Rejected)) {
        Ok(decoded) => submit(&request, &api, decoded).await,
        Err(failed) => failed.answer(&request, &api),
    }
}

/// Guance sends again what was not answered 2xx, whole: what was stored the first time is known by
/// its `df_event_id`.
async fn submit(request: &HttpRequest, api: &Api, decoded: Decoded) -> HttpResponse {
    let Decoded { key, messages, is_list } = decoded;
    let version = event::Api::Guance;
    let integration = match admit(request, api, version, &key, messages.len()) {
        Ok(integration) => integration,
        Err(answer) => return answer,
    };
    let messages = messages.into_iter().map(|(message, body)| match message {
        Message::Event(event) => Submitted::Event(event, body),
        Message::Change(change) => Submitted::Change(change),
    });
    let Ok(outcomes) = api.ingest.submit_all(&integration, messages.collect()).await else {
        note(request, api, version, &integration, "unavailable", Vec::new());
        return unavailable(api.is_draining());
    };
    let keys: Vec<&str> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Event(receipt) => Some(receipt.dedup_key.as_str()),
            Outcome::Change(_) | Outcome::Action(_) | Outcome::Test(_) | Outcome::Settled(_) => {
                None
            }
        })
        .collect();
    emitter_response(if is_list {
        Reply::AcceptedGuanceList { dedup_keys: &keys }
    } else {
        Reply::AcceptedGuance { dedup_key: keys.first().copied() }
    })
}
