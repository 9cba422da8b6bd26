//! What is kept of an incident's issue between two tries: how one incident never gets two issues.
//!
//! An issue can only be made by the call that follows directly on storing the intent. Whoever finds
//! an intent without having just stored it, or gets no clear answer, is *unsure*: the issue may be
//! there. Then the label is searched for, no sooner than Jira's index has had time to learn of it,
//! and only after two searches in vain is the issue made anew.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{
    id::DeliveryId,
    time::{Span, Timestamp},
};

/// From the end of a create without a clear answer until the first search, and between two.
const SEARCH_GAP: Span = Span::from_secs(60);
/// By when a create that was sent is at an end: the time-out of a request.
const CREATE_TAKES: Span = Span::from_secs(15);
/// So many searches in vain say that there is no issue.
const SEARCHES: usize = 2;

/// Which of its two APIs a Jira speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Api {
    Cloud,
    DataCenter,
}

/// An issue, by what never changes and by what people call it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Issue {
    pub(super) id: String,
    pub(super) key: String,
}

/// What is known of the issue of an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lane {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) api: Option<Api>,
    /// Which issue of the incident it is, from 1: an incident that comes back too late gets another.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub(super) number: u32,
    /// The issue before it, to be linked with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) follows: Option<Issue>,
    #[serde(flatten)]
    pub(super) state: State,
}

fn first() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_first(number: &u32) -> bool {
    *number == first()
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum State {
    /// There is no issue, for certain.
    None,
    /// `by` is about to make it, or was.
    Intended {
        by: DeliveryId,
        at: Timestamp,
    },
    /// `by` may have made it. Times are those of searches in vain.
    Unsure {
        by: DeliveryId,
        at: Timestamp,
        #[serde(default)]
        searches: Vec<Timestamp>,
    },
    Open(Open),
    /// It was there, and is not any more.
    Gone {
        issue: Issue,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    pub(super) issue: Issue,
    /// Only what we closed do we open again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) closed_by_us: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) closed_at: Option<Timestamp>,
    /// How far a delivery has got that has several things to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) step: Option<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) by: DeliveryId,
    pub(super) done: Done,
}

/// What a delivery has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Done {
    /// Its issue, which is to be linked.
    Created,
    /// Perhaps its comment.
    MaybeCommented,
    /// Its comment; the issue is to be moved.
    Commented,
}

impl Lane {
    /// As it was stored. What cannot be read is searched for by its label.
    pub(super) fn read(remote: Option<&Value>, by: DeliveryId, now: Timestamp) -> Self {
        let unread = State::Unsure { by, at: now, searches: Vec::new() };
        let new = |state| Self { api: None, number: first(), follows: None, state };
        match remote {
            None | Some(Value::Null) => new(State::None),
            Some(remote) => Self::deserialize(remote).unwrap_or_else(|_| new(unread)),
        }
    }

    pub(super) fn stored(&self) -> Option<Value> {
        serde_json::to_value(self).ok()
    }

    /// From now on the issue may be there. Returns how long to wait before it is searched for.
    pub(super) fn unsure(&mut self, by: DeliveryId, now: Timestamp) -> Span {
        self.state = State::Unsure { by, at: now, searches: Vec::new() };
        next_search(now, &[]).since(now)
    }

    /// The label that only this issue has.
    pub(super) fn label(&self, incident: &str) -> String {
        match self.number {
            1 => incident.to_owned(),
            number => format!("{incident}-{number}"),
        }
    }

    /// Another issue is to be made, which comes after `follows`.
    pub(super) fn another(&mut self, follows: Option<Issue>) {
        self.number = self.number.saturating_add(1);
        self.follows = follows;
        self.state = State::None;
    }
}

/// When the label of an issue that may have been made at `at` is searched for next.
pub(super) fn next_search(at: Timestamp, searches: &[Timestamp]) -> Timestamp {
    searches.last().map_or(at.plus(CREATE_TAKES), |last| *last).plus(SEARCH_GAP)
}

/// Whether so many searches in vain say that it was not made.
pub(super) fn is_absent(searches: &[Timestamp]) -> bool {
    searches.len() >= SEARCHES
}

impl Open {
    pub(super) fn new(issue: Issue) -> Self {
        Self { issue, closed_by_us: false, closed_at: None, step: None }
    }

    /// How far `delivery` has got here.
    pub(super) fn done_by(&self, delivery: DeliveryId) -> Option<Done> {
        self.step.as_ref().filter(|step| step.by == delivery).map(|step| step.done)
    }
}
