//! Taking what is due: heads of lanes, resolves first.

use sqlx::{SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    super::{StoreError, bulk::Binder, rows::Columns, store_error},
    record, statements as sql,
};
use crate::{
    domain::{event::Severity, id::DeliveryId, notify::Reason, time::Timestamp},
    store::outbox::{AttemptRow, Knows, Leased, NEVER_TOLD, Next, Recorded, Turn},
};

/// Ranks of reasons, see [`Reason::rank`].
const RANKS: [i64; 3] = [0, 1, 2];
/// Most updates of one lane that are folded at a time.
const FOLDED_MAX: i64 = 50;

/// Leases up to as many as are wanted of each receiver.
pub(super) async fn lease(
    connection: &mut SqliteConnection,
    turn: &Turn<'_>,
) -> Result<Vec<Leased>, StoreError> {
    let mut leased = Vec::new();
    let mut ended = Vec::new();
    for want in turn.wanted {
        if want.early {
            pull_one(connection, want.receiver, turn.now).await?;
        }
        let mut room = want.most;
        for rank in RANKS {
            if room == 0 {
                break;
            }
            let heads = sqlx::query(sql::HEADS)
                .bind(want.receiver)
                .bind(rank)
                .bind(turn.now.as_millis())
                .bind(i64::try_from(room).unwrap_or(i64::MAX))
                .fetch_all(&mut *connection)
                .await
                .map_err(store_error)?;
            room -= heads.len();
            for row in &heads {
                let mut head = read(row, turn.until)?;
                if head.reason.is_folded() {
                    head = fold(connection, head, turn, &mut ended).await?;
                }
                if head.reason == Reason::Resolved
                    && head.knows == Knows::No
                    && !was_told_of_alert(connection, &head).await?
                {
                    ended.push(never_told(&head, turn.now));
                } else {
                    leased.push(head);
                }
            }
        }
    }
    record::record(connection, &ended, turn.now).await?;
    let until = turn.until.as_millis();
    let bind = |b: &mut Binder, head: &Leased| {
        b.bind(head.id.seq()).bind(turn.worker).bind(until);
    };
    sql::LEASE.execute(connection, &leased, bind).await?;
    Ok(leased)
}

/// Makes due what of a receiver is tried again next.
async fn pull_one(
    connection: &mut SqliteConnection,
    receiver: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut next: Option<(i64, i64)> = None;
    for rank in RANKS {
        let found = sqlx::query_as(sql::WAITING).bind(receiver).bind(rank).bind(now.as_millis());
        let found: Option<(i64, i64)> =
            found.fetch_optional(&mut *connection).await.map_err(store_error)?;
        next = next.into_iter().chain(found).min_by_key(|(_, at)| *at);
    }
    let Some((seq, _)) = next else { return Ok(()) };
    let due = sqlx::query(sql::DUE_NOW).bind(seq).bind(now.as_millis());
    due.execute(connection).await.map_err(store_error)?;
    Ok(())
}

/// The newest of the updates that follow one another at the head of a lane, or the resolve behind
/// them: it says what those before it would.
async fn fold(
    connection: &mut SqliteConnection,
    head: Leased,
    turn: &Turn<'_>,
    ended: &mut Vec<Recorded>,
) -> Result<Leased, StoreError> {
    let behind = sqlx::query(sql::BEHIND)
        .bind(head.lane)
        .bind(head.id.seq())
        .bind(FOLDED_MAX)
        .fetch_all(&mut *connection)
        .await
        .map_err(store_error)?;
    let mut newest = head;
    let mut folded = Vec::new();
    for row in &behind {
        let next = read(row, turn.until)?;
        if next.reason == Reason::Resolved {
            // Where somebody resolved it there, an update would open it again.
            folded.push(std::mem::replace(&mut newest, next));
            break;
        }
        if !next.reason.is_folded() {
            break;
        }
        let wakes = next.wakes || newest.wakes;
        if wakes && !next.wakes {
            let woken = sqlx::query(sql::WAKES).bind(next.id.seq()).execute(&mut *connection);
            woken.await.map_err(store_error)?;
        }
        folded.push(std::mem::replace(&mut newest, Leased { wakes, ..next }));
    }
    let what = format!("folded into {}", newest.id);
    let end = |folded| record::ended(folded, Next::Delivered, what.clone(), turn.now);
    ended.extend(folded.iter().map(end));
    Ok(newest)
}

/// Whether the receiver was told of the alert, or may have been, though the lane is resolved: two
/// alerts of different integrations may have one key, and so one lane.
async fn was_told_of_alert(
    connection: &mut SqliteConnection,
    resolve: &Leased,
) -> Result<bool, StoreError> {
    let Some(alert) = resolve.alert else { return Ok(false) };
    let told =
        sqlx::query_scalar(sql::TOLD_BEFORE).bind(alert).bind(resolve.lane).bind(resolve.id.seq());
    told.fetch_one(connection).await.map_err(store_error)
}

/// All attempts to tell it that there is something were refused for certain, so there is nothing to
/// resolve.
fn never_told(resolve: &Leased, now: Timestamp) -> Recorded {
    let what = format!("{NEVER_TOLD}: nothing of it has reached the receiver");
    record::ended(resolve, Next::Dead, what, now)
}

impl AttemptRow {
    /// A word on what became of a delivery that was not sent.
    pub(super) fn word(what: String, at: Timestamp) -> Self {
        let (request, answer) = (String::new(), String::new());
        Self { at, duration_ms: 0, status: None, error: Some(what), request, answer }
    }
}

pub(super) fn read(row: &SqliteRow, until: Timestamp) -> Result<Leased, StoreError> {
    let mut c = Columns::of(row, "deliveries");
    let _seq: i64 = c.read("seq")?;
    let json = |text: Option<&str>| text.and_then(|text| serde_json::from_str(text).ok());
    Ok(Leased {
        id: DeliveryId::from_uuid(c.read::<Uuid>("id")?),
        lane: c.read("lane")?,
        receiver: c.read("receiver_seq")?,
        version: c.read("receiver_version")?,
        name: c.read("receiver")?,
        incident: c.read("incident_seq")?,
        alert: c.read("alert_seq")?,
        reason: c.named("reason", Reason::parse)?,
        severity: c.named("severity", Severity::parse)?,
        wakes: c.read("wakes")?,
        at: c.time("at_ms")?,
        attempts: c.number("attempts")?,
        failures: c.number("failures")?,
        first_attempt_at: c.time_or_none("first_attempt_at_ms")?,
        payload: json(c.read("payload")?),
        knows: c.named("knows", Knows::parse)?,
        remote: json(c.read("remote")?),
        until,
    })
}
