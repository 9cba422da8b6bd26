//! From the working set to what is written, or to what has to be loaded first.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{Slot, Working};
use crate::domain::{
    changes::Changes,
    key_state::KeyState,
    loading::{LoadKeys, SourceKey},
};

impl Working<'_> {
    /// What is to be written, in the order in which things were first touched; or what has to be
    /// loaded before that can be said.
    pub(in crate::domain) fn into_changes(mut self) -> Result<Changes, Box<LoadKeys>> {
        for key in std::mem::take(&mut self.touched_groups) {
            match self.group(key).map(|incident| incident.id) {
                Some(id) => self.changes.groups.push((key, id)),
                None => self.changes.closed_groups.push(key),
            }
        }
        if !self.missing.is_empty() {
            self.missing.dedup();
            return Err(Box::new(self.missing));
        }
        let Self {
            loaded,
            mut alerts,
            touched_alerts,
            mut incidents,
            touched_incidents,
            clocks,
            counts,
            key_states,
            touched_keys,
            mut inhibitors,
            touched_inhibitors,
            mut templates,
            touched_templates,
            mut changes,
            directory,
            ..
        } = self;
        for id in touched_alerts {
            let Some(Slot { value: alert, before, .. }) = alerts.remove(&id) else { continue };
            changes.add_alert(alert, before);
        }
        for id in touched_incidents {
            let Some(Slot { value: incident, before, .. }) = incidents.remove(&id) else {
                continue;
            };
            changes.add_incident(incident, before);
        }
        let known: HashMap<&SourceKey, &KeyState> =
            loaded.key_states.iter().map(|(key, state)| (key, state)).collect();
        let was_due: HashSet<&SourceKey> = loaded.due_keys.iter().map(|(key, _)| key).collect();
        for (key, service) in touched_keys {
            let Some(state) = key_states.get(&key) else { continue };
            // What was due is due at another time now, also where nothing else has changed.
            if was_due.contains(&key) || known.get(&key) != Some(&state) {
                let flapping = directory.service(service).map(|s| &s.policy.flapping);
                let due = flapping.and_then(|flapping| state.due(flapping));
                changes.key_states.push((key, service, state.clone(), due));
            }
        }
        for key in touched_inhibitors {
            changes.inhibitors.extend(inhibitors.remove(&key).map(|state| (key, state)));
        }
        for rule in touched_templates {
            let Some(mut learned) = templates.remove(&rule) else { continue };
            let rows = Arc::make_mut(&mut learned).take_changes();
            if !rows.is_empty() {
                changes.templates.push((rule, learned, rows));
            }
        }
        changes.service_clocks = clocks
            .into_iter()
            .filter_map(|(id, (now, moved))| moved.then_some((id, now)))
            .collect();
        changes.service_clocks.sort();
        changes.counts = counts;
        Ok(changes)
    }
}
