//! Deliveries: what is owed to receivers, what became of it, and sending once more what is dead.

use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::{IntoParams, OpenApi};

use super::{
    Api,
    alerts::PageParameters,
    auth::{Responder, Viewer},
    error::ApiError,
    params::Params,
    render::{self, List},
    table::Call,
};
use crate::{
    domain::{
        changes::{Target, Verb},
        id::DeliveryId,
        notify::Reason,
    },
    store::{
        outbox::{DeliveryFilter, DeliveryState, Retried},
        query::views::DeliveryView,
    },
};

pub(super) const CALLS: &[Call] = &[
    Call::get("/api/v1/deliveries", || web::to(list)),
    Call::get("/api/v1/deliveries/{id}", || web::to(read)),
    Call::post("/api/v1/deliveries/{id}/retry", || web::to(retry)),
];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(list, read, retry))]
pub(super) struct Documented;

/// What every list of deliveries filters by.
pub const FILTERS: [&str; 2] = ["state", "receiver"];

/// What every list of deliveries filters by. Values of one name are alternatives, and all names
/// have to fit.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeliveryParameters {
    /// `pending`, `leased` (being sent), `delivered` or `dead`.
    pub state: Option<Vec<String>>,
    /// By the name that it had when the delivery was owed, or by id; also of one that was deleted.
    pub receiver: Option<Vec<String>>,
}

/// Reads them. A receiver that never was is a mistake.
pub async fn filter(params: &mut Params<'_>, api: &Api) -> Result<DeliveryFilter, ApiError> {
    params.owners("receiver", async |name| api.store.receivers_called(&name).await).await?;
    Ok(DeliveryFilter {
        states: params.named("state", DeliveryState::ALL, DeliveryState::parse),
        receivers: params.all("receiver"),
        incidents: params.incidents("incident"),
    })
}

/// Deliveries, newest first.
#[utoipa::path(get, path = "/api/v1/deliveries", tag = "deliveries",
    params(DeliveryParameters,
        ("incident" = Option<Vec<String>>, Query, description = "Id or number"),
        PageParameters),
    responses((status = 200, description = "Deliveries, without their attempts",
            body = List<DeliveryView>),
        (status = 400, description = "A parameter is wrong or unknown")))]
pub async fn list(
    _: Viewer,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let allowed: [&[&str]; 2] = [&FILTERS, &["incident"]];
    let mut params = Params::of_list(request.path(), request.query_string(), &allowed);
    let filter = filter(&mut params, &api).await?;
    let asked = params.page()?;
    Ok(render::list(&asked, api.store.deliveries(&filter, asked.page).await?))
}

/// One delivery, with what was sent and what came back at every attempt.
#[utoipa::path(get, path = "/api/v1/deliveries/{id}", tag = "deliveries",
    params(("id" = String, Path, description = "Id of the delivery")),
    responses((status = 200, description = "The delivery", body = DeliveryView),
        (status = 404, description = "There is no such delivery")))]
pub async fn read(
    _: Viewer,
    request: HttpRequest,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    Ok(render::resource(&request, &find(&api, parse(&id)?).await?))
}

/// Sends a dead delivery once more, and what resolves it behind it.
///
/// It is tried for another 48 hours. Needs the role responder, and is in the timeline of its
/// incident.
#[utoipa::path(post, path = "/api/v1/deliveries/{id}/retry", tag = "deliveries",
    params(("id" = String, Path, description = "Id of the delivery")),
    responses((status = 200, description = "The delivery as it is now", body = DeliveryView),
        (status = 404, description = "There is no such delivery"),
        (status = 409, description = "It is not dead, or it is a test")))]
pub async fn retry(
    caller: Responder,
    request: HttpRequest,
    id: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let id = parse(&id)?;
    let retried = api.store.retry(id, api.ingest.now()).await?;
    let delivery = find(&api, id).await?;
    match retried {
        Retried::Queued => {}
        Retried::NotFound => return Err(ApiError::NotFound("delivery")),
        Retried::NotDead => return Err(ApiError::Conflict(why_not(&delivery).to_owned())),
    }
    note(&api, &delivery, caller.0.actor()).await;
    Ok(render::resource(&request, &delivery))
}

/// Why a delivery is not sent once more.
fn why_not(delivery: &DeliveryView) -> &'static str {
    match (delivery.reason, delivery.state) {
        (Reason::Test, _) => "a test is not sent again: test the receiver anew",
        (_, DeliveryState::Pending) => {
            "the delivery is not dead: it waits, and is tried again by itself"
        }
        (_, DeliveryState::Leased) => "the delivery is not dead: it is being sent",
        (_, DeliveryState::Delivered) => "the delivery is not dead: it was delivered",
        (_, DeliveryState::Dead) => "the delivery was not dead until now: ask again",
    }
}

/// Says who has sent it once more: in the log, and in the timeline of its incident.
async fn note(api: &Api, delivery: &DeliveryView, actor: String) {
    tracing::info!(
        delivery = %delivery.id,
        receiver = delivery.receiver,
        actor,
        "a dead delivery is sent once more"
    );
    let Some(incident) = delivery.incident_id else { return };
    let receiver = delivery.receiver.as_str().into();
    let verb = Verb::Retry { receiver, reason: delivery.reason };
    if let Err(error) = api.ingest.act(Target::Incident(incident), verb, actor).await {
        // It is queued all the same, and who asks again would only hear that it is not dead.
        tracing::warn!(delivery = %delivery.id, %error, "the timeline does not say so");
    }
}

fn parse(id: &str) -> Result<DeliveryId, ApiError> {
    DeliveryId::parse(id).ok_or(ApiError::NotFound("delivery"))
}

async fn find(api: &Api, id: DeliveryId) -> Result<DeliveryView, ApiError> {
    api.store.delivery(id).await?.ok_or(ApiError::NotFound("delivery"))
}
