//! What is written of a silence.

use serde_json::{Map, Value};

use super::super::{
    error::ApiError,
    members::{Members, REQUIRED},
};
use crate::{
    domain::{
        routing::Directory,
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
        let mut given = Map::new();
        for name in ["from", "until", "schedule"] {
            given.extend(members.take(name).map(|value| (name.to_owned(), value)));
        }
        let until = given.get("until").and_then(Value::as_str).and_then(Timestamp::parse_rfc3339);
        let when = When::from_members(&given, Some(self.now), "", &mut members.errors);
        let said = members.errors.iter().any(|(path, _)| path == "until");
        if !said && until.is_some_and(|until| until <= self.now) {
            members.wrong("until", "must be later than now");
        }
        when
    }
}
