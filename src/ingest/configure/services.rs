//! Changes of services.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{ConfigAnswer, ConfigureError, DEFAULT_NAME, Planner, fresh};
use crate::domain::{
    configuration::{Configuration, Refused},
    grouping,
    id::ServiceId,
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
        let now = self.now;
        grouping::pair_ids(&[], &mut policy.grouping, || self.ids.rule(now));
        let id = self.ids.service(now);
        let detail = service_detail(&description, &policy);
        let service = Service { id, name, description, policy, version: 1, created_at: now };
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
        let now = self.now;
        grouping::pair_ids(&old.policy.grouping, &mut policy.grouping, || self.ids.rule(now));
        let before = service_detail(&old.description, &old.policy);
        let after = service_detail(&description, &policy);
        let detail = json!({"before": before, "after": after, "name_before": old.name});
        let (version, created_at) = (old.version + 1, old.created_at);
        let service = Service { id, name, description, policy, version, created_at };
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
        let change = Configuration::DeleteService(id);
        self.add(change, "delete", (KIND, id.uuid(), &old.name), json!({}));
        Ok(ConfigAnswer::Deleted)
    }
}

fn service_detail(description: &str, policy: &ServicePolicy) -> Value {
    let mut object = policy.to_json();
    object.insert("description".into(), description.into());
    Value::Object(object)
}
