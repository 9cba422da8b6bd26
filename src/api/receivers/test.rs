//! Testing a receiver: `POST /api/v1/receivers/{id}/test`. A test goes the way of every delivery;
//! this owes one, and waits for what becomes of it.

use std::time::{Duration, Instant};

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::found;
use crate::{
    api::{API_BODY_BYTES, Api, auth::Admin, body, error::ApiError, members::Members},
    domain::id::DeliveryId,
    store::{outbox::DeliveryState, query::views::DeliveryView},
};

/// How often it is looked whether it is at its end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What came of a test.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReceiverTest)]
pub(super) struct TestView {
    /// `delivered`, `failed`, or `pending`: it is not at its end yet.
    #[schema(example = "failed")]
    outcome: &'static str,
    /// Of HTTP or SMTP; null if there was no answer.
    #[schema(required, example = 401)]
    status: Option<i64>,
    /// What came back, without secrets, cut at 8 KB.
    answer: String,
    /// What went wrong, or what it waits for; null if it was delivered.
    #[schema(required, example = "not let in (status 401): check the receiver's secret")]
    error: Option<String>,
    /// Its delivery has what was sent.
    #[schema(value_type = String, format = Uuid)]
    delivery_id: DeliveryId,
}

/// Test a receiver
///
/// Sends a message that says that it is a test, once, the way that every delivery goes, and answers
/// with what came back; also if the receiver is thought to be down. Waits 25 seconds at most. Needs
/// the role admin, because it speaks to the outside.
#[utoipa::path(
    post, path = "/api/v1/receivers/{id}/test", tag = "receivers", operation_id = "test_receiver",
    params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "What came of it, also if it failed", body = TestView)),
)]
pub(super) async fn test(
    _: Admin,
    path: web::Path<String>,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let object = body::read_json(payload, API_BODY_BYTES, api.limits.body_timeout).await?;
    Members::of(object).finish()?;
    let receiver = found(&api.ingest.directory(), &path)?;
    let owed = api.ingest.test(receiver.id).await?.ok_or(ApiError::NotFound("receiver"))?;
    api.outlook.try_now(receiver.id.seq());
    let delivery = wait(&api, owed).await?;
    Ok(HttpResponse::Ok().json(TestView::of(&api, delivery)))
}

/// The delivery once it is at its end, or as it is when there is no more time.
async fn wait(api: &Api, id: DeliveryId) -> Result<DeliveryView, ApiError> {
    let until = Instant::now() + api.limits.test_wait;
    loop {
        let delivery = api.store.delivery(id).await?.ok_or(ApiError::NotFound("delivery"))?;
        let is_at_end = match delivery.state {
            DeliveryState::Delivered | DeliveryState::Dead => true,
            DeliveryState::Pending | DeliveryState::Leased => false,
        };
        if is_at_end || api.is_leaving() || Instant::now() >= until {
            return Ok(delivery);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl TestView {
    fn of(api: &Api, delivery: DeliveryView) -> Self {
        let (outcome, waits) = match delivery.state {
            DeliveryState::Delivered => ("delivered", None),
            DeliveryState::Dead => ("failed", None),
            DeliveryState::Pending | DeliveryState::Leased => {
                ("pending", Some(waits_for(api, &delivery)))
            }
        };
        let last = delivery.attempt_log.and_then(|mut log| log.pop());
        Self {
            outcome,
            status: last.as_ref().and_then(|attempt| attempt.status),
            error: waits.or_else(|| last.as_ref().and_then(|attempt| attempt.error.clone())),
            answer: last.map(|attempt| attempt.answer).unwrap_or_default(),
            delivery_id: delivery.id,
        }
    }
}

/// Why a test is not at its end.
fn waits_for(api: &Api, delivery: &DeliveryView) -> String {
    if api.is_leaving() {
        return "the gateway is shutting down: the test is sent after its next start".to_owned();
    }
    if delivery.state == DeliveryState::Leased {
        return "the test is being sent, and no answer has come yet".to_owned();
    }
    match api.outlook.down().get(&delivery.receiver) {
        Some(since) => format!(
            "the receiver cannot be reached since {since}; what waits for it is tried one by one \
             until it answers, and the test is among that"
        ),
        None => "the test waits for its turn: the receiver is busy with other deliveries, or \
                 wants fewer at a time"
            .to_owned(),
    }
}
