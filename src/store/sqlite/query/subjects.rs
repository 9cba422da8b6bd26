//! What messages to receivers are about.

use sqlx::SqliteConnection;

use super::{
    super::{StoreError, store_error},
    alerts, incidents,
    walk::Found,
};
use crate::store::{
    outbox::{Leased, Subject},
    query::views::AlertView,
};

/// Most alerts of an incident that a message carries.
const ALERTS_MAX: i64 = 50;

/// Open ones first, then in the order of their opening.
const ALERTS: &str = "SELECT a.seq FROM alerts a INDEXED BY alerts_incident \
     WHERE a.incident_seq = ?1 ORDER BY a.status = 'resolved', a.seq LIMIT ?2";

/// The incident and alerts of each delivery, in their order; `None` where they are gone.
pub(in crate::store::sqlite) async fn subjects(
    connection: &mut SqliteConnection,
    of: &[Leased],
) -> Result<Vec<Option<Subject>>, StoreError> {
    let mut subjects = Vec::with_capacity(of.len());
    for leased in of {
        subjects.push(subject(connection, leased).await?);
    }
    Ok(subjects)
}

async fn subject(
    connection: &mut SqliteConnection,
    leased: &Leased,
) -> Result<Option<Subject>, StoreError> {
    let Some(seq) = leased.incident else { return Ok(None) };
    let Some(incident) = incidents::views(connection, &[seq]).await?.pop() else {
        return Ok(None);
    };
    let about = match leased.alert {
        Some(alert) => match views(connection, vec![alert]).await?.pop() {
            None => return Ok(None),
            about => about,
        },
        None => None,
    };
    // Who is told of each alert is not told of the others.
    let alerts = if about.is_some() { Vec::new() } else { of_incident(connection, seq).await? };
    Ok(Some(Subject { incident, alerts, about }))
}

async fn of_incident(
    connection: &mut SqliteConnection,
    incident: i64,
) -> Result<Vec<AlertView>, StoreError> {
    let seqs = sqlx::query_scalar(ALERTS).bind(incident).bind(ALERTS_MAX);
    let seqs: Vec<i64> = seqs.fetch_all(&mut *connection).await.map_err(store_error)?;
    views(connection, seqs).await
}

async fn views(
    connection: &mut SqliteConnection,
    keys: Vec<i64>,
) -> Result<Vec<AlertView>, StoreError> {
    let mut found = Found { keys, next: None };
    alerts::views(connection, &mut found).await
}
