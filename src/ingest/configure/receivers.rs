//! Changes of receivers.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{ConfigAnswer, ConfigureError, Planner, fresh};
use crate::domain::{
    configuration::{Configuration, Refused},
    id::ReceiverId,
    receiver::{Receiver, ReceiverKind},
    routing::Directory,
    service::{FieldError, ServicePolicy},
};

const KIND: &str = "receiver";

/// Most receivers.
const RECEIVERS_MAX: usize = 1000;

impl Planner<'_> {
    pub(super) fn create_receiver(
        &mut self,
        name: String,
        kind: ReceiverKind,
        settings: Map<String, Value>,
    ) -> Result<ConfigAnswer, ConfigureError> {
        self.free_receiver_name(&name, None)?;
        if self.directory.receivers().count() >= RECEIVERS_MAX {
            let what = format!("there are {RECEIVERS_MAX} receivers, the most there can be");
            return Err(ConfigureError::Conflict(what));
        }
        let receiver = Receiver {
            id: self.ids.receiver(self.now),
            name,
            kind,
            settings,
            managed: self.by_policy,
            version: 1,
            created_at: self.now,
        };
        let detail = detail(&receiver);
        let change = Configuration::CreateReceiver(receiver.clone());
        self.add(change, "create", (KIND, receiver.id.uuid(), &receiver.name), detail);
        self.check_receivers()?;
        Ok(ConfigAnswer::Receiver(Arc::new(receiver)))
    }

    pub(super) fn update_receiver(
        &mut self,
        id: ReceiverId,
        version: Option<i64>,
        name: String,
        kind: ReceiverKind,
        settings: Map<String, Value>,
    ) -> Result<ConfigAnswer, ConfigureError> {
        let old = self.receiver(id, version)?;
        self.free_receiver_name(&name, Some(id))?;
        if name != old.name {
            self.unused(&old.name, "rename")?;
        }
        let receiver = Receiver {
            id,
            name,
            kind,
            settings,
            managed: old.managed || self.by_policy,
            version: old.version + 1,
            created_at: old.created_at,
        };
        let detail = json!({
            "before": detail(&old), "after": detail(&receiver), "name_before": old.name
        });
        let change = Configuration::UpdateReceiver(receiver.clone());
        self.add(change, "update", (KIND, id.uuid(), &receiver.name), detail);
        self.check_receivers()?;
        Ok(ConfigAnswer::Receiver(Arc::new(receiver)))
    }

    pub(super) fn delete_receiver(
        &mut self,
        id: ReceiverId,
        version: Option<i64>,
    ) -> Result<ConfigAnswer, ConfigureError> {
        let old = self.receiver(id, version)?;
        self.unused(&old.name, "delete")?;
        let change = Configuration::DeleteReceiver(id);
        self.add(change, "delete", (KIND, id.uuid(), &old.name), detail(&old));
        Ok(ConfigAnswer::Deleted)
    }

    fn receiver(&self, id: ReceiverId, version: Option<i64>) -> Result<Arc<Receiver>, Refused> {
        let receiver = self.directory.receivers().find(|receiver| receiver.id == id);
        let receiver = receiver.ok_or(Refused::NotFound(KIND))?;
        fresh(version, receiver.version)?;
        Ok(Arc::clone(receiver))
    }

    fn free_receiver_name(&self, name: &str, own: Option<ReceiverId>) -> Result<(), Refused> {
        match self.directory.receiver_named(name) {
            Some(other) if Some(other.id) != own => {
                Err(Refused::NameTaken { kind: KIND, name: name.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Refuses to take the name away from those who name it.
    fn unused(&self, name: &str, verb: &str) -> Result<(), ConfigureError> {
        let mut users = services_naming(&self.directory, name);
        users.extend(receivers_falling_back_on(&self.directory, name));
        if users.is_empty() {
            return Ok(());
        }
        Err(ConfigureError::Conflict(format!(
            "cannot {verb} the receiver {name:?}: it is named by {}; change that first",
            users.join(", ")
        )))
    }

    /// Refuses a receiver that names one that is not there. A policy file is looked at when all of
    /// it is planned: its order does not matter.
    fn check_receivers(&self) -> Result<(), ConfigureError> {
        if self.by_policy {
            return Ok(());
        }
        for receiver in self.directory.receivers() {
            let Some(fallback) = receiver.fallback() else { continue };
            if fallback == receiver.name || self.directory.receiver_named(fallback).is_none() {
                let what = format!("names no other receiver: {fallback:?}");
                return Err(ConfigureError::Invalid(vec![("fallback".to_owned(), what)]));
            }
        }
        Ok(())
    }
}

/// The places of a policy that name a receiver that is not there.
pub fn unknown_receivers(policy: &ServicePolicy, directory: &Directory) -> Vec<FieldError> {
    let mut unknown = Vec::new();
    for (i, rule) in policy.notify.iter().enumerate() {
        for (j, name) in rule.receivers.iter().enumerate() {
            if directory.receiver_named(name).is_none() {
                let path = format!("notify[{i}].receivers[{j}]");
                unknown.push((path, format!("names no receiver: {name:?}")));
            }
        }
    }
    unknown
}

/// `service "a"` for each whose notify rules name the receiver.
fn services_naming(directory: &Directory, name: &str) -> Vec<String> {
    let mut named: Vec<String> = directory
        .services()
        .filter(|service| {
            let rules = &service.policy.notify;
            rules.iter().any(|rule| rule.receivers.iter().any(|it| **it == *name))
        })
        .map(|service| format!("service {:?}", service.name))
        .collect();
    named.sort_unstable();
    named
}

fn receivers_falling_back_on(directory: &Directory, name: &str) -> Vec<String> {
    let mut named: Vec<String> = directory
        .receivers()
        .filter(|receiver| receiver.fallback() == Some(name) && receiver.name != name)
        .map(|receiver| format!("receiver {:?}", receiver.name))
        .collect();
    named.sort_unstable();
    named
}

fn detail(receiver: &Receiver) -> Value {
    json!({"kind": receiver.kind, "settings": receiver.settings})
}
