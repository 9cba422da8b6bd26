//! What is written of a silence.

use serde_json::Value;

use super::super::{
    error::ApiError,
    members::{Members, REQUIRED},
};
use crate::{
    domain::{
        routing::Directory,
        schedule::Schedule,
        silence::{Silence, When},
        time::Timestamp,
    },
    ingest::SilenceDraft,
};

/// How a silence is read.
#[derive(Debug)]
pub(super) struct Input<'s> {
    pub(super) now: Timestamp,
    /// What is replaced.
    pub(super) before: Option<&'s Silence>,
}

impl Input<'_> {
    pub(super) fn read(
        &self,
        mut members: Members,
        directory: &Directory,
    ) -> Result<SilenceDraft, ApiError> {
        let name = members.optional_name();
        let matches = members.required_matches("matchers");
        let service_id = members.service(directory);
        let when = self.when(&mut members);
        let comment = members.comment();
        let confirmed = members.flag("confirm");
        let draft = match (matches, when) {
            (Some(matches), Some(when)) => {
                Some(SilenceDraft { name, matches, service_id, when, comment })
            }
            _ => None,
        };
        if let Some(draft) = &draft
            && draft.service_id.is_none()
            && draft.matches.accepts_everything()
            && !confirmed
            && !self.was_confirmed()
        {
            let what = "must be true: these matchers hold for every alert of every service. \
                        Narrow them, name a service, or confirm";
            members.wrong("confirm", what);
        }
        members.finish()?;
        Ok(draft.expect(REQUIRED))
    }

    /// Somebody took the responsibility when it was made.
    fn was_confirmed(&self) -> bool {
        self.before.is_some_and(|old| old.service_id.is_none() && old.accepts_everything())
    }

    /// From and until, or a schedule.
    fn when(&self, members: &mut Members) -> Option<When> {
        let mistakes = members.errors.len();
        let from = members.time("from");
        let until = members.time("until");
        if let Some(value) = members.take("schedule") {
            for (name, given) in [("from", from), ("until", until)] {
                if given.is_some() {
                    members.wrong(name, "must be left out where there is a schedule");
                }
            }
            return self.weekly(members, &value);
        }
        let from = from.unwrap_or(self.now);
        match until {
            None if members.errors.len() == mistakes => {
                members.wrong("until", "is required, unless there is a schedule");
            }
            Some(until) if until <= self.now => {
                members.wrong("until", "must be later than now");
            }
            Some(until) if until <= from => members.wrong("until", "must be later than from"),
            _ => {}
        }
        let until = until.filter(|_| members.errors.len() == mistakes)?;
        Some(When::Once { from, until })
    }

    #[expect(clippy::unused_self, reason = "reads as the other half of `when`")]
    fn weekly(&self, members: &mut Members, value: &Value) -> Option<When> {
        Schedule::from_json(value, "schedule", &mut members.errors).map(When::Weekly)
    }
}
