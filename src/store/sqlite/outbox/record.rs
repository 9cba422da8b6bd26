//! Writing down what came of deliveries.

use sqlx::{Row as _, SqliteConnection};

use super::{
    super::{StoreError, bulk::Binder, store_error},
    move_up, statements as sql,
};
use crate::{
    domain::{id::DeliveryId, time::Timestamp},
    store::outbox::{AttemptRow, DeliveryState, Leased, Next, Recorded, Retried},
};

const HOUR_MS: i64 = 3_600_000;

/// A delivery that came to its end without being sent.
pub(super) fn ended(leased: &Leased, next: Next, what: String, now: Timestamp) -> Recorded {
    Recorded {
        delivery: leased.id,
        lane: leased.lane,
        receiver: leased.receiver,
        incident: leased.incident,
        attempt: Some(AttemptRow::word(what, now)),
        attempts: leased.attempts + 1,
        failures: leased.failures,
        first_attempt_at: leased.first_attempt_at,
        next,
        payload: None,
        knows: leased.knows,
        remote: None,
    }
}

pub(super) async fn record(
    c: &mut SqliteConnection,
    done: &[Recorded],
    now: Timestamp,
) -> Result<(), StoreError> {
    let tried: Vec<(&Recorded, &AttemptRow)> =
        done.iter().filter_map(|done| Some((done, done.attempt.as_ref()?))).collect();
    sql::INSERT_ATTEMPTS
        .execute(c, &tried, |b, (done, attempt)| {
            b.bind(done.delivery.seq())
                .bind(done.attempts)
                .bind(attempt.at.as_millis())
                .bind(attempt.duration_ms)
                .bind(attempt.status.map(i64::from))
                .bind(attempt.error.as_deref())
                .bind(attempt.request.as_str())
                .bind(attempt.answer.as_str());
        })
        .await?;
    sql::RECORD.execute(c, done, |b, done| bind(b, done, now)).await?;
    let known: Vec<&Recorded> = done.iter().filter(|done| done.incident.is_some()).collect();
    sql::PUT_LANES
        .execute(c, &known, |b, done| {
            b.bind(done.lane)
                .bind(done.receiver)
                .bind(done.incident)
                .bind(done.knows.as_str())
                .bind(done.remote.as_ref().map(ToString::to_string));
        })
        .await?;
    let hour = now.as_millis() / HOUR_MS;
    // What was folded into another one was not sent.
    let sent = known.iter().filter(|done| {
        let folded = done.attempt.as_ref().is_some_and(|attempt| attempt.request.is_empty());
        done.next == Next::Delivered && !folded
    });
    let sent: Vec<i64> = sent.map(|done| done.delivery.seq()).collect();
    let count = |b: &mut Binder, seq: &i64| {
        b.bind(*seq).bind(hour);
    };
    sql::COUNT_DELIVERED.execute(c, &sent, count).await?;
    let mut lanes: Vec<i64> = done.iter().map(|done| done.lane).collect();
    lanes.sort_unstable();
    lanes.dedup();
    move_up(c, &lanes, now).await
}

fn bind(b: &mut Binder, done: &Recorded, now: Timestamp) {
    let (state, next_at, not_before) = match done.next {
        Next::Delivered => (DeliveryState::Delivered, None, None),
        Next::Dead => (DeliveryState::Dead, None, None),
        Next::Again { at, not_before } => (DeliveryState::Pending, Some(at), not_before),
    };
    let is_at_end = next_at.is_none();
    b.bind(done.delivery.seq())
        .bind(state.as_str())
        .bind(done.attempts)
        .bind(done.failures)
        .bind(done.first_attempt_at.map(Timestamp::as_millis))
        .bind(next_at.map(Timestamp::as_millis))
        .bind(not_before.map(Timestamp::as_millis))
        .bind(is_at_end.then_some(now.as_millis()))
        .bind(done.payload.as_ref().map(ToString::to_string));
}

/// See [`crate::store::outbox::Outbox::retry`].
pub(super) async fn retry(
    c: &mut SqliteConnection,
    id: DeliveryId,
    now: Timestamp,
) -> Result<Retried, StoreError> {
    let found = sqlx::query(sql::DEAD).bind(id.seq()).bind(id.uuid());
    let Some(row) = found.fetch_optional(&mut *c).await.map_err(store_error)? else {
        return Ok(Retried::NotFound);
    };
    let lane: i64 = row.try_get(0).map_err(store_error)?;
    let incident: Option<i64> = row.try_get(1).map_err(store_error)?;
    let alert: Option<i64> = row.try_get(2).map_err(store_error)?;
    let state: &str = row.try_get(3).map_err(store_error)?;
    let Some(incident) = incident.filter(|_| state == DeliveryState::Dead.as_str()) else {
        return Ok(Retried::NotDead);
    };
    // Whoever is told now of what is over already has to hear that it is.
    let resolve: Option<i64> = sqlx::query_scalar(sql::RESOLVE_BEHIND)
        .bind(incident)
        .bind(alert)
        .bind(lane)
        .bind(id.seq())
        .fetch_optional(&mut *c)
        .await
        .map_err(store_error)?;
    for seq in [Some(id.seq()), resolve].into_iter().flatten() {
        sqlx::query(sql::REQUEUE).bind(seq).execute(&mut *c).await.map_err(store_error)?;
    }
    sqlx::query(sql::WAIT).bind(lane).execute(&mut *c).await.map_err(store_error)?;
    move_up(c, &[lane], now).await?;
    Ok(Retried::Queued)
}
