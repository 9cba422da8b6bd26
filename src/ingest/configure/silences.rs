//! Changes of silences.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{ConfigAnswer, ConfigureError, Planner, fresh};
use crate::domain::{
    configuration::{Configuration, Refused},
    id::{ServiceId, SilenceId},
    matcher::Match,
    routing::Directory,
    silence::{Silence, When},
};

const KIND: &str = "silence";

/// Most silences that are not over: each event is held against them.
const SILENCES_MAX: usize = 10_000;

/// What is given of a silence.
#[derive(Clone, Debug)]
pub struct SilenceDraft {
    pub name: Option<String>,
    pub matches: Match,
    /// `None`: every service.
    pub service_id: Option<ServiceId>,
    pub when: When,
    pub comment: String,
}

impl Planner<'_> {
    pub(super) fn create_silence(
        &mut self,
        draft: SilenceDraft,
    ) -> Result<ConfigAnswer, ConfigureError> {
        self.check(&draft, None)?;
        let others = self.directory.silences().iter();
        if others.filter(|silence| !silence.is_over(self.now)).count() >= SILENCES_MAX {
            return Err(ConfigureError::Conflict(format!(
                "there are {SILENCES_MAX} silences that are not over; expire some first"
            )));
        }
        let SilenceDraft { name, matches, service_id, when, comment } = draft;
        let silence = Silence {
            id: self.ids.silence(self.now),
            name,
            matches,
            service_id,
            when,
            comment,
            created_by: self.by.actor.clone(),
            created_at: self.now,
            expired_at: None,
            managed: self.by_policy,
            version: 1,
        };
        let detail = detail(&silence, &self.directory);
        let change = Configuration::CreateSilence(silence.clone());
        self.add(change, "create", (KIND, silence.id.uuid(), shown(&silence)), detail);
        Ok(ConfigAnswer::Silence(Arc::new(silence)))
    }

    pub(super) fn update_silence(
        &mut self,
        id: SilenceId,
        version: Option<i64>,
        draft: SilenceDraft,
    ) -> Result<ConfigAnswer, ConfigureError> {
        let old = self.open_silence(id)?;
        fresh(version, old.version)?;
        self.check(&draft, Some(id))?;
        let SilenceDraft { name, matches, service_id, when, comment } = draft;
        let silence = Silence {
            name,
            matches,
            service_id,
            when,
            comment,
            managed: old.managed || self.by_policy,
            version: old.version + 1,
            ..Silence::clone(&old)
        };
        let (before, after) = (detail(&old, &self.directory), detail(&silence, &self.directory));
        let detail = json!({"before": before, "after": after, "name_before": old.name});
        let change = Configuration::UpdateSilence(silence.clone());
        self.add(change, "update", (KIND, id.uuid(), shown(&silence)), detail);
        Ok(ConfigAnswer::Silence(Arc::new(silence)))
    }

    /// Ends it now. Deleting one is the same.
    pub(super) fn expire_silence(
        &mut self,
        id: SilenceId,
        version: Option<i64>,
    ) -> Result<ConfigAnswer, ConfigureError> {
        let old = self.open_silence(id)?;
        fresh(version, old.version)?;
        let silence = Silence {
            expired_at: Some(self.now),
            version: old.version + 1,
            ..Silence::clone(&old)
        };
        let change = Configuration::UpdateSilence(silence.clone());
        self.add(change, "expire", (KIND, id.uuid(), shown(&silence)), json!({}));
        Ok(ConfigAnswer::Silence(Arc::new(silence)))
    }

    fn open_silence(&self, id: SilenceId) -> Result<Arc<Silence>, ConfigureError> {
        let found = self.directory.silences().get(id);
        found.filter(|silence| !silence.is_over(self.now)).cloned().ok_or_else(|| {
            let what = "the silence is over, and what is over stays as it was; make a new one";
            ConfigureError::Conflict(what.to_owned())
        })
    }

    /// A name is free again when its silence is over.
    fn check(&self, draft: &SilenceDraft, own: Option<SilenceId>) -> Result<(), ConfigureError> {
        if draft.service_id.is_some_and(|id| self.directory.service(id).is_none()) {
            return Err(Refused::NotFound("service").into());
        }
        let Some(name) = &draft.name else { return Ok(()) };
        let taken = self.directory.silences().iter().any(|other| {
            other.name.as_ref() == Some(name) && Some(other.id) != own && !other.is_over(self.now)
        });
        if taken {
            return Err(Refused::NameTaken { kind: KIND, name: name.clone() }.into());
        }
        Ok(())
    }
}

fn shown(silence: &Silence) -> &str {
    silence.name.as_deref().unwrap_or("")
}

fn detail(silence: &Silence, directory: &Directory) -> Value {
    let service = silence.service_id.and_then(|id| directory.service(id));
    let (from, until, schedule) = match &silence.when {
        When::Once { from, until } => (json!(from), json!(until), Value::Null),
        When::Weekly(schedule) => (Value::Null, Value::Null, schedule.to_json()),
    };
    json!({
        "matchers": silence.matches.to_json(), "service": service.map(|service| &service.name),
        "from": from, "until": until, "schedule": schedule, "comment": silence.comment,
    })
}
