//! A policy file, applied: its plan, and each step of it as the change that it is.

use std::{collections::BTreeMap, sync::Arc};

use super::{ConfigAnswer, ConfigureError, Planner, RequestedBy, SilenceDraft, unknown_receivers};
use crate::{
    domain::{
        configuration::Refused,
        id::{Ids, IntegrationId, Sequences, ServiceId},
        key::RoutingKey,
        routing::Directory,
        service::Integration,
        time::{Span, Timestamp},
    },
    policy::{self, Change, IntegrationSpec, Plan, PolicyFile, ServiceSpec, SilenceSpec, Told},
};

/// How long a key works on that the policy names another one for.
const KEY_OVERLAP: Span = Span::from_secs(86_400);

/// A policy file that is to be applied.
#[derive(Clone, Debug)]
pub struct PolicyRequest {
    pub file: PolicyFile,
    /// The keys that the file says where to find, by the integration's name.
    pub keys: BTreeMap<String, RoutingKey>,
    /// Who is owed resolves: the plan says so of whoever is named no more.
    pub told: Told,
    /// Deletes what an earlier file made and this one does not name.
    pub prune: bool,
    /// Plans and changes nothing.
    pub dry_run: bool,
}

/// Far above the numbers of what there is, so that what a candidate makes is nobody's.
const SCRATCH_IDS: i64 = 1 << 40;

/// What came of a policy file.
#[derive(Debug)]
pub struct Applied {
    pub plan: Plan,
    /// Whether the plan was carried out.
    pub applied: bool,
    /// The keys that were made, which nobody knows yet: shown this once.
    pub new_keys: Vec<(Arc<Integration>, RoutingKey)>,
}

/// The configuration as a policy file would leave it. Nothing is changed, and ids of what is new
/// mean nothing elsewhere.
pub fn candidate(
    request: PolicyRequest,
    directory: &Directory,
    now: Timestamp,
) -> Result<Directory, ConfigureError> {
    let mut planner = Planner {
        directory: directory.clone(),
        ids: &mut Ids::new(Sequences { object: SCRATCH_IDS, ..Sequences::default() }, [0; 32]),
        by: RequestedBy { actor: "replay".to_owned(), address: None },
        now,
        by_policy: false,
        changes: Vec::new(),
    };
    planner.apply(request)?;
    Ok(planner.directory)
}

impl Planner<'_> {
    /// Plans the file under the directory as it is now: nothing comes between plan and change.
    pub(super) fn apply(&mut self, request: PolicyRequest) -> Result<ConfigAnswer, ConfigureError> {
        let PolicyRequest { file, keys, told, prune, dry_run } = request;
        self.by_policy = true;
        let plan = policy::plan(&file, &self.directory, &keys, &told, self.now, prune);
        let mut new_keys = Vec::new();
        for step in &plan.steps {
            let is_made = matches!(&step.change, Change::Integration { id: None, key: None, .. });
            let answer = self.take(step.change.clone())?;
            if is_made && let Some((integration, Some(key))) = answer.integration() {
                new_keys.push((integration, key));
            }
        }
        self.check_names()?;
        if dry_run {
            self.changes.clear();
            new_keys.clear();
        }
        Ok(ConfigAnswer::Applied(Applied { plan, applied: !dry_run, new_keys }))
    }

    fn take(&mut self, change: Change) -> Result<ConfigAnswer, ConfigureError> {
        match change {
            Change::Receiver { id, spec } => match id {
                None => self.create_receiver(spec.name, spec.kind, spec.settings),
                Some(id) => self.update_receiver(id, None, spec.name, spec.kind, spec.settings),
            },
            Change::Service { id, spec } => {
                let ServiceSpec { name, description, policy, .. } = spec;
                match id {
                    None => self.create_service(name, description, policy),
                    Some(id) => self.update_service(id, None, name, description, policy),
                }
            }
            Change::Integration { id, service, spec, key } => {
                let service_id = self.service_called(&service)?;
                match id {
                    None => {
                        let IntegrationSpec { name, kind, shared, .. } = spec;
                        self.create_integration(name, service_id, kind, shared, key)
                    }
                    Some(id) => self.settle_integration(id, service_id, spec, key),
                }
            }
            Change::Silence { id, spec } => {
                let SilenceSpec { name, matches, when, comment, service } = spec;
                let service_id = service.map(|name| self.service_called(&name)).transpose()?;
                let draft = SilenceDraft { name: Some(name), matches, service_id, when, comment };
                match id {
                    None => self.create_silence(draft),
                    Some(id) => self.update_silence(id, None, draft),
                }
            }
            Change::Route { id, position, matches, service } => {
                let service_id = self.service_called(&service)?;
                match id {
                    None => self.create_route(matches, service_id, Some(position)),
                    Some(id) => self.update_route(id, None, matches, service_id, Some(position)),
                }
            }
            Change::ExpireSilence(id) => self.expire_silence(id, None),
            Change::DeleteRoute(id) => self.delete_route(id, None),
            Change::DeleteIntegration(id) => self.delete_integration(id, None),
            Change::DeleteService(id) => self.delete_service(id, None),
            Change::DeleteReceiver(id) => self.delete_receiver(id, None),
        }
    }

    /// Replaces an integration, gives it its new key, or both.
    fn settle_integration(
        &mut self,
        id: IntegrationId,
        service_id: ServiceId,
        spec: IntegrationSpec,
        key: Option<RoutingKey>,
    ) -> Result<ConfigAnswer, ConfigureError> {
        let old = self.directory.integration(id).ok_or(Refused::NotFound("integration"))?;
        let IntegrationSpec { name, kind, shared, .. } = spec;
        let same =
            old.managed && (old.service_id, old.kind, old.shared) == (service_id, kind, shared);
        let mut answer = ConfigAnswer::Integration { integration: Arc::clone(old), key: None };
        if !same {
            answer = self.update_integration(id, None, name, service_id, kind, shared)?;
        }
        if key.is_some() {
            answer = self.rotate_key(id, KEY_OVERLAP, key)?;
        }
        Ok(answer)
    }

    /// The service of this name, as it will be by then.
    fn service_called(&self, name: &str) -> Result<ServiceId, Refused> {
        let service = self.directory.service_named(name).ok_or(Refused::NotFound("service"))?;
        Ok(service.id)
    }

    /// Whether everybody who is named is there once all is done. The file itself was checked: it is
    /// about what it does not name.
    fn check_names(&self) -> Result<(), ConfigureError> {
        for service in self.directory.services() {
            if let Some((path, what)) = unknown_receivers(&service.policy, &self.directory).pop() {
                let what =
                    format!("the service {:?} would name nobody: {path} {what}", service.name);
                return Err(ConfigureError::Conflict(what));
            }
        }
        for receiver in self.directory.receivers() {
            let Some(fallback) = receiver.fallback() else { continue };
            if self.directory.receiver_named(fallback).is_none() {
                let what = format!(
                    "the receiver {:?} would fall back on nobody: there is no receiver {fallback:?}",
                    receiver.name
                );
                return Err(ConfigureError::Conflict(what));
            }
        }
        Ok(())
    }
}
