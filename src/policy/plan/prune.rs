//! What an earlier file made and this one does not name is deleted, unless something that stays
//! needs it.

use std::collections::BTreeSet;

use super::{Change, DEFAULT_SERVICE, Planner, Step, route_name, routes::Slot, still_owed};
use crate::domain::{id::RouteId, receiver::Receiver};

impl Planner<'_> {
    /// `order` are the routes as the steps so far leave them.
    pub(super) fn prune(&mut self, order: Vec<Slot>) {
        self.prune_silences();
        let mut needed = self.prune_routes(order);
        self.prune_integrations(&mut needed);
        let deleted = self.prune_services(&needed);
        self.prune_receivers(&deleted);
    }

    fn prune_silences(&mut self) {
        let file = self.file;
        let named = |name: &str| file.silences.iter().any(|spec| spec.name == name);
        for silence in self.directory.silences().iter() {
            let name = silence.name.as_deref().unwrap_or_default();
            if silence.managed && !silence.is_over(self.now) && !named(name) {
                self.step("silence", name, Step::delete(Change::ExpireSilence(silence.id)));
            }
        }
    }

    /// Returns the services that something leads to which stays, with what that is.
    fn prune_routes(&mut self, order: Vec<Slot>) -> Vec<(String, String)> {
        let directory = self.directory;
        let mut needed = Vec::new();
        let known = self.known_again().into_iter().flatten();
        let kept: BTreeSet<RouteId> = known.map(|at| directory.routes()[at].id).collect();
        for slot in order {
            let Slot::Old(id) = slot else { continue };
            let Some(route) = directory.routes().iter().find(|route| route.id == id) else {
                continue;
            };
            let service = self.service_name(route.service_id);
            let name = route_name(&route.matches, &service);
            if kept.contains(&id) {
                continue;
            }
            if route.managed {
                self.step("route", &name, Step::delete(Change::DeleteRoute(id)));
            } else {
                needed.push((service, format!("the route {name}")));
            }
        }
        let file = self.file;
        for route in &file.routes {
            needed.push((route.service.clone(), "a route of the file".to_owned()));
        }
        for silence in &file.silences {
            let service = silence.service.clone();
            needed.extend(service.map(|name| (name, format!("the silence {}", silence.name))));
        }
        needed
    }

    fn prune_integrations(&mut self, needed: &mut Vec<(String, String)>) {
        let others: Vec<_> = self.other_integrations().into_iter().cloned().collect();
        for integration in others {
            if integration.managed {
                let change = Change::DeleteIntegration(integration.id);
                self.step("integration", &integration.name, Step::delete(change));
            } else {
                let service = self.service_name(integration.service_id);
                needed.push((service, format!("the integration {}", integration.name)));
            }
        }
    }

    /// Returns the services that are deleted.
    fn prune_services(&mut self, needed: &[(String, String)]) -> BTreeSet<String> {
        let mut deleted = BTreeSet::new();
        let others: Vec<_> = self.other_services().into_iter().cloned().collect();
        for service in others {
            if !service.managed || service.name == DEFAULT_SERVICE {
                continue;
            }
            if let Some((_, by)) = needed.iter().find(|(name, _)| *name == service.name) {
                self.plan.notes.push(format!("the service {} stays: {by} needs it", service.name));
            } else {
                let change = Change::DeleteService(service.id);
                self.step("service", &service.name, Step::delete(change));
                deleted.insert(service.name.clone());
            }
        }
        deleted
    }

    fn prune_receivers(&mut self, deleted: &BTreeSet<String>) {
        let file = self.file;
        let named = |name: &str| file.receivers.iter().any(|spec| spec.name == name);
        let mut others: Vec<_> =
            self.directory.receivers().filter(|other| !named(&other.name)).cloned().collect();
        others.sort_by(|a, b| a.name.cmp(&b.name));
        let mut used: BTreeSet<String> = BTreeSet::new();
        let of_file = file.services.iter().map(|service| &service.policy);
        let stay = self.other_services();
        let stay = stay.iter().filter(|service| !deleted.contains(&service.name));
        for policy in of_file.chain(stay.map(|service| &service.policy)) {
            let names = policy.notify.iter().flat_map(|rule| &rule.receivers);
            used.extend(names.map(ToString::to_string));
        }
        let fallbacks = file.receivers.iter().filter_map(|spec| spec.settings.get("fallback"));
        used.extend(fallbacks.filter_map(|name| Some(name.as_str()?.to_owned())));
        // A receiver that stays keeps its fallback, which keeps its own.
        let stays = |receiver: &Receiver, used: &BTreeSet<String>| {
            !receiver.managed || used.contains(&receiver.name)
        };
        loop {
            let before = used.len();
            let staying: Vec<_> = others.iter().filter(|other| stays(other, &used)).collect();
            let next: Vec<String> =
                staying.iter().filter_map(|other| Some(other.fallback()?.to_owned())).collect();
            used.extend(next);
            if used.len() == before {
                break;
            }
        }
        let (stay, mut go): (Vec<_>, Vec<_>) =
            others.iter().filter(|other| other.managed).partition(|other| stays(other, &used));
        for receiver in stay {
            let note = format!("the receiver {} stays: it is still named", receiver.name);
            self.plan.notes.push(note);
        }
        // Who falls back on another goes before it.
        while !go.is_empty() {
            let is_needed = |name: &str| go.iter().any(|other| other.fallback() == Some(name));
            let next = go.iter().position(|other| !is_needed(&other.name)).unwrap_or(0);
            let receiver = go.remove(next);
            let told = self.told.iter().filter(|((_, name), _)| *name == receiver.name);
            let details = still_owed(told.map(|(_, incidents)| incidents).sum(), "it");
            let change = Change::DeleteReceiver(receiver.id);
            let step = Step { details: details.into_iter().collect(), ..Step::delete(change) };
            self.step("receiver", &receiver.name, step);
        }
    }
}
