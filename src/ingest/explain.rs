//! What would become of an event: decided as if it had come, and nothing kept of it.

use std::sync::Arc;

use crate::{
    domain::{
        changes::{Changes, EventInput, Input, Outcome, Receipt},
        event::Disposition,
        id::{Ids, IncidentId},
        routing::Directory,
    },
    store::{
        Store, StoreError,
        decide::{Decided, Learned, decide},
    },
};

/// The decisions about an event that did not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    pub disposition: Disposition,
    /// JSON, as the trace of an event. What would be made is called `new` in it.
    pub trace: String,
    /// The incident that its alert is in, or would join; `None` if a new one would be opened.
    pub incident_id: Option<IncidentId>,
}

/// Takes an event through the stages in a transaction that writes nothing.
pub(super) async fn explain(
    store: &dyn Store,
    event: Arc<EventInput>,
    directory: &Directory,
    ids: &Ids,
    templates: &Learned,
) -> Result<Explained, StoreError> {
    let mut unit = store.begin().await?;
    let inputs = [Input::Event(event)];
    let Decided { changes, outcomes, .. } =
        decide(&mut *unit, &inputs, directory, ids, templates).await?;
    // Nothing was saved, so this only ends the transaction: open, it would hold back the checkpoint.
    unit.commit().await?;
    match outcomes.first() {
        Some(Outcome::Event(receipt)) => Ok(Explained::of(receipt, &changes)),
        Some(Outcome::Change(_) | Outcome::Action(_) | Outcome::Test(_) | Outcome::Settled(_))
        | None => unreachable!("an event is answered with a receipt"),
    }
}

impl Explained {
    fn of(receipt: &Receipt, changes: &Changes) -> Self {
        let Changes { new_alerts, merged_alerts, updated_alerts, new_incidents, events, .. } =
            changes;
        let mut alerts = new_alerts.iter().chain(merged_alerts).chain(updated_alerts);
        let incident = receipt
            .alert_id
            .and_then(|id| alerts.find(|alert| alert.id == id))
            .and_then(|alert| alert.incident_id);
        let is_new = |id: &IncidentId| new_incidents.iter().any(|new| new.id == *id);
        let event = events.iter().find(|event| event.id == receipt.event_id);
        let mut trace = event.map_or_else(|| "[]".to_owned(), |event| event.trace.clone());
        // Texts in the trace are escaped, so that nothing in them looks like a member.
        for incident in new_incidents {
            let number = format!(r#""incident":"{}""#, incident.id.seq());
            trace = trace.replace(&number, r#""incident":"new""#);
        }
        for alert in new_alerts {
            trace = trace.replace(&format!(r#"":"{}""#, alert.id), r#"":"new""#);
        }
        let incident_id = incident.filter(|id| !is_new(id));
        Self { disposition: receipt.disposition, trace, incident_id }
    }
}
