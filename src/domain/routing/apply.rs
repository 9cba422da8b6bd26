//! What a change of the configuration makes of the directory.
//!
//! For planning only: changes that are asked for together are each worked out under what the ones
//! before them make. What is committed is read back from the database.

use std::sync::Arc;

use super::{Directory, KeyEntry};
use crate::domain::{
    configuration::Configuration, index::RuleIndex, service::Integration, silence::Silences,
    time::Timestamp,
};

impl Directory {
    /// The directory after `change`, made at `now`. Its version stays: nothing is committed yet.
    pub fn apply(&mut self, change: &Configuration, now: Timestamp) {
        match change {
            Configuration::CreateService(service) | Configuration::UpdateService(service) => {
                self.rules.insert(service.id, Arc::new(RuleIndex::new(&service.policy)));
                self.services.insert(service.id, Arc::new(service.clone()));
            }
            Configuration::DeleteService(id) => {
                self.services.remove(id);
                self.rules.remove(id);
            }
            Configuration::CreateIntegration { integration, key } => {
                let entry = KeyEntry { integration_id: integration.id, expires_at: None };
                self.keys.insert(*key, entry);
                self.integrations.insert(integration.id, Arc::new(integration.clone()));
            }
            Configuration::UpdateIntegration(integration) => {
                self.integrations.insert(integration.id, Arc::new(integration.clone()));
            }
            Configuration::DeleteIntegration(id) => {
                self.integrations.remove(id);
                self.keys.retain(|_, entry| entry.integration_id != *id);
            }
            Configuration::RotateKey { integration_id, key, key_hint, old_keys_expire_at } => {
                let until = *old_keys_expire_at;
                for entry in self.keys.values_mut() {
                    if entry.integration_id == *integration_id {
                        entry.expires_at = Some(entry.expires_at.map_or(until, |at| at.min(until)));
                    }
                }
                self.keys.retain(|_, entry| entry.expires_at.is_none_or(|at| at > now));
                let entry = KeyEntry { integration_id: *integration_id, expires_at: None };
                self.keys.insert(*key, entry);
                if let Some(integration) = self.integrations.get_mut(integration_id) {
                    *integration = Arc::new(Integration {
                        key_hint: key_hint.clone(),
                        version: integration.version + 1,
                        ..Integration::clone(integration)
                    });
                }
            }
            Configuration::CreateToken { token, secret } => {
                self.tokens.insert(*secret, Arc::new(token.clone()));
            }
            Configuration::RevokeToken(id) => self.tokens.retain(|_, token| token.id != *id),
            Configuration::CreateSilence(silence) | Configuration::UpdateSilence(silence) => {
                let others = self.silences.iter().filter(|other| other.id != silence.id);
                let mut all: Vec<_> = others.map(Arc::clone).collect();
                all.push(Arc::new(silence.clone()));
                self.silences = Silences::new(all);
            }
            Configuration::CreateRoute { route, position }
            | Configuration::UpdateRoute { route, position } => {
                self.routes.retain(|other| other.id != route.id);
                let position = (*position).min(self.routes.len());
                self.routes.insert(position, route.clone());
            }
            Configuration::DeleteRoute(id) => self.routes.retain(|route| route.id != *id),
            Configuration::CreateReceiver(receiver) | Configuration::UpdateReceiver(receiver) => {
                self.receivers.insert(receiver.id, Arc::new(receiver.clone()));
            }
            Configuration::DeleteReceiver(id) => {
                self.receivers.remove(id);
            }
        }
    }
}
