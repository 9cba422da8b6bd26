//! What takes effect by itself when its time comes.

use super::Batch;
use crate::domain::{
    alert::Dues,
    changes::TimelineKind,
    event::Action,
    id::{AlertId, IncidentId},
    incident::Incident,
    service::AutoResolveFrom,
    time::Timestamp,
    working::{Due, timers_of},
};

/// Who acts when a timer does.
const TIMER: &str = "timer";

impl Batch<'_> {
    /// Lets every timer that is due by `now` fire, each at its due time, earliest first; says how
    /// many did. Whatever runs this and whenever, the result is that of a timer that is never late.
    pub(super) fn settle(&mut self, now: Timestamp) -> usize {
        let mut fired = 0;
        while let Some((bound, due)) = self.working.next_due(now) {
            fired += usize::from(match due {
                Due::Alert(id) => self.settle_alert(id, bound),
                Due::Incident(id) => self.settle_incident(id, bound),
            });
        }
        fired
    }

    /// The earliest timer of an alert, if it is due by `now`. If only its bound was, the bound is
    /// set to the true time, and its turn comes then: what is due earlier elsewhere goes first.
    pub(super) fn settle_alert(&mut self, id: AlertId, now: Timestamp) -> bool {
        let Some(alert) = self.working.alert(id).filter(|alert| alert.is_open()) else {
            return false;
        };
        let timers = timers_of(self.directory, alert.service_id);
        let acknowledgement = alert.ack_timeout_due(&timers).filter(|at| *at <= now);
        let resolve = alert.auto_resolve_due(&timers).filter(|at| *at <= now);
        match (acknowledgement, resolve) {
            (Some(at), resolve) if resolve.is_none_or(|resolve| at <= resolve) => {
                self.unacknowledge_alert(id, at, TIMER, "the acknowledgement timed out");
                true
            }
            (_, Some(at)) => {
                let reason = timers.auto_resolve.map_or_else(String::new, |auto| {
                    let from = match auto.from {
                        AutoResolveFrom::FirstEvent => "its first event",
                        AutoResolveFrom::LastEvent => "its last event",
                    };
                    format!("automatically, {} after {from}", auto.after)
                });
                self.act_on_alert(id, Action::Resolve, at, TIMER, &reason);
                true
            }
            (_, None) => {
                // A bound that was reached early, or has no timer behind it any more.
                let bounds = [alert.dues.auto_resolve, alert.dues.ack_timeout];
                if bounds.into_iter().flatten().any(|at| at <= now) {
                    self.working.change_alert(id, |alert| alert.dues = Dues::default());
                }
                false
            }
        }
    }

    /// The same for an incident's acknowledgement.
    pub(super) fn settle_incident(&mut self, id: IncidentId, now: Timestamp) -> bool {
        let Some(incident) = self.working.incident(id) else { return false };
        let timers = timers_of(self.directory, incident.service_id);
        if let Some(at) = incident.ack_timeout_due(&timers).filter(|at| *at <= now) {
            self.working.change_incident(id, Incident::unacknowledge);
            let kind = TimelineKind::Unacknowledged;
            let reason = "the acknowledgement timed out";
            self.working.tell(self.ids, at, None, Some(id), kind, TIMER, reason);
            return true;
        }
        if incident.ack_timeout_due.is_some_and(|bound| bound <= now) {
            self.working.change_incident(id, |_| ());
        }
        false
    }
}
