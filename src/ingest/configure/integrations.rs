//! Changes of integrations and their keys.

use std::sync::Arc;

use serde_json::json;

use super::{ConfigAnswer, ConfigureError, Planner, fresh, new_key};
use crate::domain::{
    configuration::{Configuration, Refused},
    id::{IntegrationId, ServiceId},
    key::RoutingKey,
    service::{Integration, IntegrationType},
    time::Span,
};

const KIND: &str = "integration";

impl Planner<'_> {
    pub(super) fn create_integration(
        &mut self,
        name: String,
        service_id: ServiceId,
        kind: IntegrationType,
        shared: bool,
        key: Option<RoutingKey>,
    ) -> Result<ConfigAnswer, ConfigureError> {
        let service = self.directory.service(service_id).ok_or(Refused::NotFound("service"))?;
        if self.directory.integration_named(&name).is_some() {
            return Err(Refused::NameTaken { kind: KIND, name }.into());
        }
        let key = key.unwrap_or_else(new_key);
        if self.directory.integration_of_key(&key.hash(), self.now).is_some() {
            return Err(Refused::KeyTaken.into());
        }
        let detail = json!({
            "service": service.name, "type": kind, "shared": shared, "key_hint": key.hint()
        });
        let integration = Integration {
            id: self.ids.integration(self.now),
            name,
            service_id,
            kind,
            shared,
            key_hint: key.hint(),
            managed: self.by_policy,
            version: 1,
            created_at: self.now,
        };
        let change =
            Configuration::CreateIntegration { integration: integration.clone(), key: key.hash() };
        self.add(change, "create", (KIND, integration.id.uuid(), &integration.name), detail);
        Ok(ConfigAnswer::Integration { integration: Arc::new(integration), key: Some(key) })
    }

    pub(super) fn update_integration(
        &mut self,
        id: IntegrationId,
        version: Option<i64>,
        name: String,
        service_id: ServiceId,
        kind: IntegrationType,
        shared: bool,
    ) -> Result<ConfigAnswer, ConfigureError> {
        let old = self.directory.integration(id).ok_or(Refused::NotFound(KIND))?;
        fresh(version, old.version)?;
        if self.directory.integration_named(&name).is_some_and(|other| other.id != id) {
            return Err(Refused::NameTaken { kind: KIND, name }.into());
        }
        let service = self.directory.service(service_id).ok_or(Refused::NotFound("service"))?;
        let detail = json!({
            "name_before": old.name, "service": service.name, "type": kind, "shared": shared
        });
        let integration = Integration {
            name,
            service_id,
            kind,
            shared,
            managed: old.managed || self.by_policy,
            version: old.version + 1,
            ..Integration::clone(old)
        };
        let change = Configuration::UpdateIntegration(integration.clone());
        self.add(change, "update", (KIND, id.uuid(), &integration.name), detail);
        Ok(ConfigAnswer::Integration { integration: Arc::new(integration), key: None })
    }

    pub(super) fn delete_integration(
        &mut self,
        id: IntegrationId,
        version: Option<i64>,
    ) -> Result<ConfigAnswer, ConfigureError> {
        let old = Arc::clone(self.directory.integration(id).ok_or(Refused::NotFound(KIND))?);
        fresh(version, old.version)?;
        let detail = json!({"key_hint": old.key_hint});
        let change = Configuration::DeleteIntegration(id);
        self.add(change, "delete", (KIND, id.uuid(), &old.name), detail);
        Ok(ConfigAnswer::Deleted)
    }

    pub(super) fn rotate_key(
        &mut self,
        id: IntegrationId,
        overlap: Span,
        key: Option<RoutingKey>,
    ) -> Result<ConfigAnswer, ConfigureError> {
        let old = self.directory.integration(id).ok_or(Refused::NotFound(KIND))?;
        let key = key.unwrap_or_else(new_key);
        // Its own from before, while that still works, may take its place back.
        let owner = self.directory.integration_of_key(&key.hash(), self.now);
        if owner.is_some_and(|owner| owner.id != id)
            || self.directory.is_current_key(&key.hash(), id)
        {
            return Err(Refused::KeyTaken.into());
        }
        let detail = json!({
            "key_hint_before": old.key_hint, "key_hint": key.hint(), "overlap": overlap
        });
        let integration = Integration {
            key_hint: key.hint(),
            version: old.version + 1,
            ..Integration::clone(old)
        };
        let change = Configuration::RotateKey {
            integration_id: id,
            key: key.hash(),
            key_hint: key.hint(),
            old_keys_expire_at: self.now.plus(overlap),
        };
        self.add(change, "rotate", (KIND, id.uuid(), &integration.name), detail);
        Ok(ConfigAnswer::Integration { integration: Arc::new(integration), key: Some(key) })
    }
}
