//! What takes effect by itself when its time comes.

use super::Batch;
use crate::domain::{
    alert::{Dues, Status},
    changes::TimelineKind,
    event::Action,
    id::{AlertId, IncidentId},
    notify::HoldingState,
    service::AutoResolveFrom,
    time::Timestamp,
    working::{Due, timers_of},
};

/// Who acts when a timer does.
pub(super) const TIMER: &str = "timer";

impl Batch<'_> {
    /// Lets every timer that is due by `now` fire, each at its due time, earliest first; says how
    /// many did. Whatever runs this and whenever, the result is that of a timer that is never late.
    pub(super) fn settle(&mut self, now: Timestamp) -> usize {
        let mut fired = 0;
        while let Some((bound, due)) = self.working.next_due(now) {
            let has_fired = match &due {
                Due::Key(key) => self.settle_key(key, bound),
                Due::Alert(id) => self.settle_alert(*id, bound),
                Due::Incident(id) => self.settle_incident(*id, bound),
            };
            fired += usize::from(has_fired);
            if has_fired {
                // It may have another timer that is due at the same moment.
                self.working.watch_again(&due);
            }
        }
        fired
    }

    /// The earliest timer of an alert, if it is due by `now`. If only its bound was, the bound is
    /// set to the true time, and its turn comes then: what is due earlier elsewhere goes first.
    /// At one moment what ends it goes before what would let it be heard.
    fn settle_alert(&mut self, id: AlertId, now: Timestamp) -> bool {
        let Some(alert) = self.working.alert(id).filter(|alert| alert.is_open()).cloned() else {
            return false;
        };
        let timers = timers_of(self.directory, alert.service_id);
        let acknowledgement = alert.ack_timeout_due(&timers).filter(|at| *at <= now);
        let resolve = alert.auto_resolve_due(&timers).filter(|at| *at <= now);
        let judged = alert.dues.judge.filter(|at| *at <= now);
        let first = [acknowledgement, resolve, judged].into_iter().flatten().min();
        // A changed policy may say that it was due before it was made: never before `now`.
        match first {
            Some(at) if resolve == Some(at) => {
                let reason = alert.auto_resolve(&timers).map_or_else(String::new, |auto| {
                    let from = match auto.from {
                        AutoResolveFrom::FirstEvent => "its first event",
                        AutoResolveFrom::LastEvent => "its last event",
                    };
                    format!("automatically, {} after {from}", auto.after)
                });
                self.act_on_alert(id, Action::Resolve, now, TIMER, &reason, false);
                true
            }
            Some(at) if acknowledgement == Some(at) => {
                self.unacknowledge_alert(id, now, TIMER, "the acknowledgement timed out");
                true
            }
            Some(_) => {
                self.judge_alert(id, now, TIMER);
                // What has nothing to wait for any more must not come up again at once.
                self.working.change_alert(id, |alert| {
                    alert.dues.judge = alert.dues.judge.filter(|next| *next > now);
                });
                true
            }
            None => {
                // A bound that was reached early, or has no timer behind it any more.
                let bounds = [alert.dues.auto_resolve, alert.dues.ack_timeout];
                if bounds.into_iter().flatten().any(|at| at <= now) {
                    self.working.change_alert(id, |alert| {
                        alert.dues = Dues { judge: alert.dues.judge, ..Dues::default() };
                    });
                }
                false
            }
        }
    }

    /// The same for an incident: its acknowledgement or snooze runs out, a receiver is to be told.
    fn settle_incident(&mut self, id: IncidentId, now: Timestamp) -> bool {
        let Some(incident) = self.working.incident(id).cloned() else { return false };
        if incident.due.is_none_or(|due| due > now) {
            return false;
        }
        let timers = timers_of(self.directory, incident.service_id);
        let kind = TimelineKind::Unacknowledged;
        if incident.ack_timeout_due(&timers).is_some_and(|at| at <= now) {
            let reason = "the acknowledgement timed out";
            self.working.tell(self.ids, now, None, Some(id), kind, TIMER, reason);
            self.wake_incident(id, now);
        } else if incident.snoozed_until.is_some_and(|until| until <= now) {
            self.working.tell(self.ids, now, None, Some(id), kind, TIMER, "the snooze is over");
            self.working.change_incident(id, |incident| {
                incident.snoozed_until = None;
                for holding in &mut incident.notices.holdings {
                    holding.pending.repeat = holding.state == HoldingState::Told;
                }
            });
            self.wake_incident(id, now);
        } else {
            self.judge_incident(id, now);
            self.working.change_incident(id, |incident| {
                let held = &mut incident.notices.held_until;
                *held = held.filter(|until| *until > now);
                for holding in &mut incident.notices.holdings {
                    holding.due = holding.due.filter(|due| *due > now);
                }
            });
        }
        true
    }

    /// An incident is triggered again, and whoever waits for that hears so.
    pub(super) fn wake_incident(&mut self, id: IncidentId, now: Timestamp) {
        self.working.change_incident(id, |incident| {
            if incident.status == Status::Acknowledged {
                incident.unacknowledge();
            }
            for holding in &mut incident.notices.holdings {
                holding.dormant = false;
            }
        });
        self.judge_incident(id, now);
    }
}
