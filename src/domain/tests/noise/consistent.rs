//! Counters, bounds of timers and bookkeeping, held against the alerts themselves.

use std::collections::{BTreeMap, HashMap};

use crate::domain::{
    alert::{Alert, Status},
    changes::NewNotification,
    id::IncidentId,
    incident::Incident,
    notify::{HoldingState, Reason},
    tests::gateway::Gateway,
    time::Timestamp,
};

/// Everything that can be said of a state at any time.
pub(super) fn assert_consistent(gateway: &Gateway) {
    let state = &gateway.world.state;
    let mut open_keys: HashMap<_, u32> = HashMap::new();
    for alert in state.alerts.values().filter(|alert| alert.is_open()) {
        *open_keys.entry((alert.integration_id, alert.dedup_key.clone())).or_default() += 1;
        assert!(
            alert.incident_id.is_some() || alert.is_suppressed() || alert.stale,
            "what nothing suppresses is in an incident: {alert:?}"
        );
    }
    assert!(open_keys.values().all(|n| *n == 1), "one open alert a key: {open_keys:?}");
    for incident in state.incidents.values() {
        let of_incident = |alert: &&Alert| alert.incident_id == Some(incident.id);
        let all: Vec<&Alert> = state.alerts.values().filter(of_incident).collect();
        assert_incident(incident, &all);
    }
    assert_inhibitors(gateway);
}

fn assert_incident(incident: &Incident, all: &[&Alert]) {
    let number = incident.id.seq();
    let open: Vec<_> = all.iter().filter(|alert| alert.is_open()).collect();
    let quiet = open.iter().filter(|alert| !alert.is_loud()).count();
    assert_eq!(incident.alert_count as usize, all.len(), "alerts of {number}");
    assert_eq!(incident.open.total() as usize, open.len(), "open alerts of {number}");
    assert_eq!(incident.notices.quiet.total() as usize, quiet, "quiet alerts of {number}");
    assert_eq!(incident.is_open(), !open.is_empty(), "{number} is resolved once nothing is open");
    if let Some(worst) = open.iter().map(|alert| alert.severity).max() {
        assert_eq!(incident.severity, worst, "severity of {number}");
    }
    let loudest = open.iter().filter(|alert| alert.is_loud()).map(|alert| alert.severity).max();
    assert_eq!(incident.loudest(), loudest, "loudest of {number}");
    if open.iter().any(|alert| alert.stale) {
        return;
    }
    for holding in &incident.notices.holdings {
        for held in &holding.rules {
            let speaks = |alert: &&&Alert| {
                alert.is_loud() && alert.standing.matches.notify.contains(&held.rule)
            };
            let loud = open.iter().copied().filter(speaks).count();
            let receiver = &holding.receiver;
            assert_eq!(held.loud as usize, loud, "loud alerts of {number} for {receiver}");
        }
    }
}

fn assert_inhibitors(gateway: &Gateway) {
    let state = &gateway.world.state;
    let mut counted: BTreeMap<_, (u32, u32)> = BTreeMap::new();
    for alert in state.alerts.values().filter(|alert| alert.is_open()) {
        for side in &alert.standing.counted {
            let sums = counted.entry((alert.service_id, side.rule, side.hash)).or_default();
            *(if side.target { &mut sums.1 } else { &mut sums.0 }) += 1;
        }
    }
    for (key, inhibitor) in &state.inhibitors {
        let expected = counted.get(key).copied().unwrap_or_default();
        assert_eq!((inhibitor.plain, inhibitor.both), expected, "sources under {key:?}");
    }
}

/// Nothing is due any more that a timer has just looked at.
pub(super) fn assert_settled(gateway: &Gateway, now: Timestamp) {
    let state = &gateway.world.state;
    for alert in state.alerts.values().filter(|alert| alert.is_open()) {
        assert!(alert.dues.earliest().is_none_or(|at| at > now), "{now}: {alert:?}");
    }
    for incident in state.incidents.values() {
        assert!(incident.due.is_none_or(|at| at > now), "{now}: {incident:?}");
    }
    for (key, (state, due)) in &state.key_states {
        assert!(due.is_none_or(|at| at > now), "{now}: {key:?} {state:?}");
    }
}

/// Of each incident and receiver, the reasons in their order.
pub(super) fn told(gateway: &Gateway) -> BTreeMap<(IncidentId, String), Vec<&NewNotification>> {
    let mut told: BTreeMap<_, Vec<&NewNotification>> = BTreeMap::new();
    for notification in &gateway.world.state.notifications {
        let key = (notification.incident_id, notification.receiver.to_string());
        told.entry(key).or_default().push(notification);
    }
    told
}

/// Every receiver hears first that it opened (or flaps), nothing after that it is resolved but that
/// it is open again, and at the end that it is resolved.
pub(super) fn assert_told_to_the_end(gateway: &Gateway) {
    for ((incident, receiver), told) in told(gateway) {
        let reasons: Vec<Reason> = told.iter().map(|told| told.reason).collect();
        let first = matches!(reasons[0], Reason::Opened | Reason::Flapping);
        assert!(first, "{receiver} of {}: {reasons:?}", incident.seq());
        for two in reasons.windows(2) {
            let again = matches!(two[1], Reason::Reopened);
            assert_eq!(two[0] == Reason::Resolved, again, "{receiver}: {reasons:?}");
        }
        assert_eq!(reasons.last(), Some(&Reason::Resolved), "{receiver}: {reasons:?}");
        assert!(told.is_sorted_by_key(|told| told.at), "time does not go back");
    }
    for incident in gateway.world.state.incidents.values() {
        assert_eq!(incident.status, Status::Resolved);
        for holding in &incident.notices.holdings {
            assert_eq!(holding.state, HoldingState::Ended, "{holding:?}");
        }
    }
}
