//! Changes of services.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{ConfigAnswer, ConfigureError, DEFAULT_NAME, Planner, fresh, unknown_receivers};
use crate::domain::{
    configuration::{Configuration, Refused},
    id::{ServiceId, SilenceId},
    service::{Service, ServicePolicy},
};

const KIND: &str = "service";

impl Planner<'_> {
    pub(super) fn create_service(
        &mut self,
        name: String,
        description: String,
        mut policy: ServicePolicy,
    ) -> Result<ConfigAnswer, ConfigureError> {
        self.check_service(&name, None, &policy)?;
        let now = self.now;
        policy.pair_ids(&ServicePolicy::default(), || self.ids.rule(now));
        let id = self.ids.service(now);
        let detail = service_detail(&description, &policy);
        let service = Service {
            id,
            name,
            description,
            policy,
            managed: self.by_policy,
            version: 1,
            created_at: now,
        };
        let change = Configuration::CreateService(service.clone());
        self.add(change, "create", (KIND, id.uuid(), &service.name), detail);
        Ok(ConfigAnswer::Service(Arc::new(service)))
    }

    pub(super) fn update_service(
        &mut self,
        id: ServiceId,
        version: Option<i64>,
        name: String,
        description: String,
        mut policy: ServicePolicy,
    ) -> Result<ConfigAnswer, ConfigureError> {
        let old = Arc::clone(self.directory.service(id).ok_or(Refused::NotFound(KIND))?);
        fresh(version, old.version)?;
        if old.name == DEFAULT_NAME && name != DEFAULT_NAME {
            let what = "the service default cannot be renamed".to_owned();
            return Err(ConfigureError::Conflict(what));
        }
        self.check_service(&name, Some(id), &policy)?;
        let now = self.now;
        policy.pair_ids(&old.policy, || self.ids.rule(now));
        let before = service_detail(&old.description, &old.policy);
        let after = service_detail(&description, &policy);
        let detail = json!({"before": before, "after": after, "name_before": old.name});
        let service = Service {
            id,
            name,
            description,
            policy,
            managed: old.managed || self.by_policy,
            version: old.version + 1,
            created_at: old.created_at,
        };
        let change = Configuration::UpdateService(service.clone());
        self.add(change, "update", (KIND, id.uuid(), &service.name), detail);
        Ok(ConfigAnswer::Service(Arc::new(service)))
    }

    pub(super) fn delete_service(
        &mut self,
        id: ServiceId,
        version: Option<i64>,
    ) -> Result<ConfigAnswer, ConfigureError> {
        let old = Arc::clone(self.directory.service(id).ok_or(Refused::NotFound(KIND))?);
        fresh(version, old.version)?;
        if old.name == DEFAULT_NAME {
            let what = "the service default cannot be deleted".to_owned();
            return Err(ConfigureError::Conflict(what));
        }
        let mut owned: Vec<&str> = self
            .directory
            .integrations()
            .filter(|integration| integration.service_id == id)
            .map(|integration| integration.name.as_str())
            .collect();
        owned.sort_unstable();
        if !owned.is_empty() {
            return Err(ConfigureError::Conflict(format!(
                "the service has integrations ({}); delete or move them first",
                owned.join(", ")
            )));
        }
        let routes = self.directory.routes().iter();
        let routes = routes.filter(|route| route.service_id == id).count();
        if routes > 0 {
            return Err(ConfigureError::Conflict(format!(
                "routes lead to the service ({routes}); delete or change them first"
            )));
        }
        let limited: Vec<SilenceId> = self
            .directory
            .silences()
            .iter()
            .filter(|silence| silence.service_id == Some(id) && !silence.is_over(self.now))
            .map(|silence| silence.id)
            .collect();
        for silence in limited {
            self.expire_silence(silence, None)?;
        }
        let change = Configuration::DeleteService(id);
        self.add(change, "delete", (KIND, id.uuid(), &old.name), json!({}));
        Ok(ConfigAnswer::Deleted)
    }

    fn check_service(
        &self,
        name: &str,
        own: Option<ServiceId>,
        policy: &ServicePolicy,
    ) -> Result<(), ConfigureError> {
        if let Some(other) = self.directory.service_named(name)
            && Some(other.id) != own
        {
            return Err(Refused::NameTaken { kind: KIND, name: name.to_owned() }.into());
        }
        // A policy file is looked at when all of it is planned: its order does not matter.
        if self.by_policy {
            return Ok(());
        }
        let unknown = unknown_receivers(policy, &self.directory);
        if unknown.is_empty() { Ok(()) } else { Err(ConfigureError::Invalid(unknown)) }
    }
}

fn service_detail(description: &str, policy: &ServicePolicy) -> Value {
    let mut object = policy.to_json();
    object.insert("description".into(), description.into());
    Value::Object(object)
}
