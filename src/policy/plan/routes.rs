//! Routes have no names: the file's are known again by what they match, and their order counts.

use serde_json::json;

use super::{ADOPTED, Change, Planner, Sign, Step, details::differences, route_name};
use crate::domain::{id::RouteId, routing::Route};

/// A route where it will be: one that is there, or a new one of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Old(RouteId),
    New(usize),
}

impl Planner<'_> {
    /// Brings the file's routes into the file's order; others keep their places between them.
    /// Returns all routes as they will be.
    pub(super) fn routes(&mut self) -> Vec<Slot> {
        let (file, directory) = (self.file, self.directory);
        let known = self.known_again();
        let mut order: Vec<Slot> =
            directory.routes().iter().map(|route| Slot::Old(route.id)).collect();
        let mut least = 0;
        for (at, spec) in file.routes.iter().enumerate() {
            let old = known[at].map(|at| &directory.routes()[at]);
            let slot = old.map_or(Slot::New(at), |old| Slot::Old(old.id));
            let here = order.iter().position(|other| *other == slot);
            let stays = here.filter(|here| *here >= least);
            let position = match (stays, here) {
                (Some(here), _) => here,
                (None, Some(here)) => {
                    // It is before the one that it should follow, which moves down by one.
                    order.remove(here);
                    order.insert(least - 1, slot);
                    least - 1
                }
                (None, None) => {
                    let position =
                        if at == 0 { first_of_file(&order, &known, self) } else { least };
                    order.insert(position, slot);
                    position
                }
            };
            least = position + 1;
            let mut details = Vec::new();
            if let Some(old) = old {
                let before = json!({"service": self.service_name(old.service_id)});
                details = differences(&before, &json!({"service": spec.service}));
                if stays.is_none() {
                    details.push(format!("moves to place {}", position + 1));
                }
                if !old.managed {
                    details.push(ADOPTED.to_owned());
                }
                if details.is_empty() {
                    continue;
                }
            }
            let sign = if old.is_some() { Sign::Change } else { Sign::Make };
            let change = Change::Route {
                id: old.map(|old| old.id),
                position,
                matches: spec.matches.clone(),
                service: spec.service.clone(),
            };
            let name = route_name(&spec.matches, &spec.service);
            self.step("route", &name, Step { sign, details, change });
        }
        order
    }

    /// For each route of the file the place of the same one in the directory: by what it matches
    /// and where it leads, else by what it matches alone.
    pub(super) fn known_again(&self) -> Vec<Option<usize>> {
        let routes = self.directory.routes();
        let mut free: Vec<bool> = vec![true; routes.len()];
        let mut known: Vec<Option<usize>> = vec![None; self.file.routes.len()];
        for exactly in [true, false] {
            for (spec, known) in self.file.routes.iter().zip(&mut known) {
                let same = |route: &Route| {
                    route.matches.to_json() == spec.matches.to_json()
                        && (!exactly || self.service_name(route.service_id) == spec.service)
                };
                if known.is_none() {
                    *known = (0..routes.len()).find(|at| free[*at] && same(&routes[*at]));
                    if let Some(at) = known {
                        free[*at] = false;
                    }
                }
            }
        }
        known
    }
}

/// Where a first, new route goes: before all others of the file, else to the end.
fn first_of_file(order: &[Slot], known: &[Option<usize>], planner: &Planner<'_>) -> usize {
    let of_file = known.iter().flatten().map(|at| Slot::Old(planner.directory.routes()[*at].id));
    let of_file: Vec<Slot> = of_file.collect();
    order.iter().position(|slot| of_file.contains(slot)).unwrap_or(order.len())
}
