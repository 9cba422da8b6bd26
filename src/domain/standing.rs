//! Where an alert stands: which silences, inhibition and notify rules it matches, and what keeps
//! it quiet now.
//!
//! What it matches follows from its content and the policy, whatever the time; what is on follows
//! from that, the clock and the open inhibitors. Both are stored with the alert, so that nothing
//! has to be matched again when a time comes.

use serde::{Deserialize, Serialize};

use super::{
    delivery::ToldOf,
    grouping::GroupChoice,
    id::{AlertId, IncidentId, RuleId, SilenceId},
    time::Timestamp,
};

/// An alert's part in an inhibition rule: under which hash of the `equal` values, on which side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Side {
    pub rule: RuleId,
    pub hash: i64,
    pub source: bool,
    pub target: bool,
}

/// What an alert matches, by its content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matches {
    /// Silences whose matchers accept it, on or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silences: Vec<SilenceId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sides: Vec<Side>,
    /// Notify rules that match it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<RuleId>,
}

impl Matches {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A silence that is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silenced {
    pub silence: SilenceId,
    pub until: Timestamp,
}

/// A source alert that is open, or was until less than `release_delay` ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inhibited {
    pub rule: RuleId,
    pub hash: i64,
    /// The newest source when this was judged.
    pub source: Option<AlertId>,
    /// Set once the last source is gone.
    pub until: Option<Timestamp>,
}

/// What keeps an alert quiet now. An open alert with nothing here is loud.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiet {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silenced: Vec<Silenced>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inhibited: Vec<Inhibited>,
    /// It flaps, and is mute until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Timestamp>,
    /// Its notifications wait, in case it goes away by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<Timestamp>,
}

impl Quiet {
    pub fn is_loud(&self) -> bool {
        !self.is_suppressed() && self.muted_until.is_none() && self.paused_until.is_none()
    }

    /// Silenced or inhibited: it joins no incident.
    pub fn is_suppressed(&self) -> bool {
        !self.silenced.is_empty() || !self.inhibited.is_empty()
    }
}

/// All of it, as it is stored with an alert.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    #[serde(default, skip_serializing_if = "Matches::is_empty")]
    pub matches: Matches,
    #[serde(default, skip_serializing_if = "Quiet::is_loud")]
    pub quiet: Quiet,
    /// Inhibition rules under which it is counted as a source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counted: Vec<Side>,
    /// It has been loud in its incident: when it is loud again, that is a reminder and no news.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub announced: bool,
    /// How it is to be grouped once it is not suppressed any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupChoice>,
    /// Receivers that were told of it on its own, and are owed its resolve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<ToldOf>,
    /// The incident of its key's last alert, to which it returns if that is still open then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returning: Option<IncidentId>,
    /// All that triggered it so far said that nothing is wrong.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub informs: bool,
    /// Since when that is not so any more, if it was so at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong_since: Option<Timestamp>,
}

impl Standing {
    /// The text kept in the database; `None` for the usual alert that no rule looks at.
    pub fn to_stored(&self) -> Option<String> {
        if *self == Self::default() { None } else { serde_json::to_string(self).ok() }
    }

    /// Reads what [`Standing::to_stored`] wrote. `Err` says what is damaged.
    pub fn from_stored(text: Option<&str>) -> Result<Self, String> {
        text.map_or_else(
            || Ok(Self::default()),
            |text| serde_json::from_str(text).map_err(|error| error.to_string()),
        )
    }
}
