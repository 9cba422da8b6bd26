//! What is remembered of a dedup key across its alerts: how it flaps, how its episodes ended.

use serde::{Deserialize, Serialize};

use super::{
    id::{AlertId, IncidentId},
    settings::{AutoPause, Flapping, FlappingMode, PauseWhen},
    time::{Span, Timestamp},
};

/// How long a key is remembered that nothing was heard of.
pub const KEPT: Span = Span::from_secs(30 * 86_400);
/// Most episodes that are remembered of a key.
const EPISODES_MAX: usize = 20;
/// Fewest episodes from which to learn, and how many of a hundred must have been short.
const EVIDENCE_MIN: usize = 5;
const TRANSIENT_PERCENT: usize = 80;
/// Most resolved incidents whose resolve waits for one key.
const HELD_MAX: usize = 50;

/// One alert of the key, from its opening to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Episode {
    pub ended_at: Timestamp,
    /// How long it lasted, if its source ended it.
    pub by_source_after: Option<Span>,
}

/// The state of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyState {
    /// Times of its changes within the window, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub episodes: Vec<Episode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flapping_since: Option<Timestamp>,
    /// This flapping has been told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub noticed: bool,
    /// Resolved incidents whose holders are not told so while it is mute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<IncidentId>,
    /// Resolved alerts whose receivers, told of each alert, are not told so while it is mute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_alerts: Vec<AlertId>,
    #[serde(default)]
    pub last_seen: Timestamp,
}

/// What a change did to the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flap {
    Steady,
    Began,
    Goes,
}

impl KeyState {
    /// Counts a change at `now`: the key's alert was resolved, or triggered after a resolve.
    pub fn changed(&mut self, flapping: &Flapping, now: Timestamp) -> Flap {
        self.last_seen = now;
        if flapping.mode == FlappingMode::Off {
            self.changes.clear();
            return Flap::Steady;
        }
        self.changes.retain(|at| at.plus(flapping.within) > now);
        self.changes.push(now);
        let most = flapping.max_changes as usize;
        if self.flapping_since.is_some() {
            let excess = self.changes.len().saturating_sub(most);
            self.changes.drain(..excess);
            return Flap::Goes;
        }
        if self.changes.len() < most {
            return Flap::Steady;
        }
        self.flapping_since = Some(now);
        self.noticed = false;
        Flap::Began
    }

    /// When fewer than half of `max_changes` are left in the window, if it flaps: the state ends.
    pub fn leaves_at(&self, flapping: &Flapping) -> Option<Timestamp> {
        let since = self.flapping_since?;
        if flapping.mode == FlappingMode::Off {
            return Some(since);
        }
        let half = (flapping.max_changes as usize).div_ceil(2);
        let at = self.changes.len().checked_sub(half).and_then(|i| self.changes.get(i));
        Some(at.map_or(since, |at| at.plus(flapping.within)))
    }

    /// Until when it is mute, if it flaps and that mutes it: the earlier of leaving the state and
    /// `mute` after the last change.
    pub fn muted_until(&self, flapping: &Flapping) -> Option<Timestamp> {
        if flapping.mode != FlappingMode::Mute {
            return None;
        }
        let leaves = self.leaves_at(flapping)?;
        let last = self.changes.last().copied().unwrap_or(leaves);
        Some(leaves.min(last.plus(flapping.mute)))
    }

    /// When something about it is due next.
    pub fn due(&self, flapping: &Flapping) -> Option<Timestamp> {
        let leaves = self.leaves_at(flapping)?;
        if self.held.is_empty() && self.held_alerts.is_empty() {
            return Some(leaves);
        }
        Some(self.muted_until(flapping).unwrap_or(leaves).min(leaves))
    }

    pub fn leave(&mut self) {
        self.flapping_since = None;
        self.noticed = false;
    }

    /// The resolve of an incident waits until the key is not mute any more. Beyond a bound none
    /// does: better told at once than never.
    pub fn hold(&mut self, incident: IncidentId) -> bool {
        if self.held.contains(&incident) {
            return true;
        }
        let room = self.held.len() < HELD_MAX;
        if room {
            self.held.push(incident);
        }
        room
    }

    /// As [`KeyState::hold`], for an alert.
    pub fn hold_alert(&mut self, alert: AlertId) -> bool {
        let room = self.held_alerts.len() < HELD_MAX;
        if room {
            self.held_alerts.push(alert);
        }
        room
    }

    pub fn ended(&mut self, now: Timestamp, by_source_after: Option<Span>) {
        self.last_seen = now;
        if self.episodes.len() >= EPISODES_MAX {
            self.episodes.remove(0);
        }
        self.episodes.push(Episode { ended_at: now, by_source_after });
    }

    /// Whether notifications of an alert that opens at `now` wait, and why: `Err` says why not.
    pub fn pauses(&self, pause: &AutoPause, now: Timestamp) -> Result<String, Option<String>> {
        match pause.when {
            PauseWhen::Off => return Err(None),
            PauseWhen::Always => return Ok(format!("every alert waits {}", pause.span)),
            PauseWhen::Transient => {}
        }
        let recent = self.episodes.iter().filter(|episode| episode.ended_at.plus(KEPT) > now);
        let (mut all, mut short) = (0, 0);
        for episode in recent {
            all += 1;
            short += usize::from(episode.by_source_after.is_some_and(|after| after <= pause.span));
        }
        let evidence = format!(
            "{short} of its last {all} episodes were resolved by their source within {}",
            pause.span
        );
        if all >= EVIDENCE_MIN && short * 100 >= all * TRANSIENT_PERCENT {
            Ok(evidence)
        } else {
            Err(Some(evidence))
        }
    }
}
