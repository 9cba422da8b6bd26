//! What is counted while batches are decided.

use super::id::ServiceId;

/// How often something happened in a batch, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub silenced: u64,
    pub inhibited: u64,
    pub muted: u64,
    pub paused: u64,
    pub dropped: u64,
    pub storms: u64,
    /// Incidents that were opened with an alert that no notify rule matches.
    pub unheard: u64,
    /// By how much the number of open flapping alerts changes.
    pub flapping: i64,
}

impl Tally {
    pub fn add(&mut self, more: &Self) {
        self.silenced += more.silenced;
        self.inhibited += more.inhibited;
        self.muted += more.muted;
        self.paused += more.paused;
        self.dropped += more.dropped;
        self.storms += more.storms;
        self.unheard += more.unheard;
        self.flapping += more.flapping;
    }
}

/// What happened in a service in one hour, counted for statistics that outlive the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourlyCount {
    pub service_id: ServiceId,
    /// Hours since the epoch.
    pub hour: i64,
    pub events: u32,
    pub alerts: u32,
    pub incidents: u32,
    pub resolved_alerts: u32,
    pub notifications: u32,
    /// Incidents that were acknowledged or resolved for the first time, and how long that took
    /// together, in milliseconds.
    pub acknowledged: u32,
    pub acknowledged_after_ms: i64,
    pub resolved: u32,
    pub resolved_after_ms: i64,
}

impl HourlyCount {
    pub fn new(service_id: ServiceId, hour: i64) -> Self {
        Self {
            service_id,
            hour,
            events: 0,
            alerts: 0,
            incidents: 0,
            resolved_alerts: 0,
            notifications: 0,
            acknowledged: 0,
            acknowledged_after_ms: 0,
            resolved: 0,
            resolved_after_ms: 0,
        }
    }
}
