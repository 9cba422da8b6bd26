//! Changes of routes.

use std::sync::Arc;

use serde_json::json;

use super::{ConfigAnswer, ConfigureError, Planner, fresh};
use crate::domain::{
    configuration::{Configuration, Refused},
    id::{RouteId, ServiceId},
    matcher::Match,
    routing::Route,
};

const KIND: &str = "route";

/// Most routes: an event of a shared integration is held against each.
const ROUTES_MAX: usize = 1000;

impl Planner<'_> {
    /// `position` counts from zero; `None`: the end.
    pub(super) fn create_route(
        &mut self,
        matches: Match,
        service_id: ServiceId,
        position: Option<usize>,
    ) -> Result<ConfigAnswer, ConfigureError> {
        let service = self.directory.service(service_id).ok_or(Refused::NotFound("service"))?;
        let number = self.directory.routes().len();
        if number >= ROUTES_MAX {
            let what = format!("there are {ROUTES_MAX} routes, which is the most there can be");
            return Err(ConfigureError::Conflict(what));
        }
        let position = position.unwrap_or(number).min(number);
        let detail = json!({
            "match": matches.to_json(), "service": service.name, "position": position
        });
        let route = Route {
            id: self.ids.route(self.now),
            matches,
            service_id,
            managed: self.by_policy,
            version: 1,
            created_at: self.now,
        };
        let change = Configuration::CreateRoute { route: route.clone(), position };
        self.add(change, "create", (KIND, route.id.uuid(), ""), detail);
        Ok(ConfigAnswer::Route { route: Arc::new(route), position })
    }

    /// `position` counts from zero; `None`: where it is.
    pub(super) fn update_route(
        &mut self,
        id: RouteId,
        version: Option<i64>,
        matches: Match,
        service_id: ServiceId,
        position: Option<usize>,
    ) -> Result<ConfigAnswer, ConfigureError> {
        let (at, old) = self.route(id, version)?;
        let name = |id| self.directory.service(id).map(|service| service.name.clone());
        let service = name(service_id).ok_or(Refused::NotFound("service"))?;
        let last = self.directory.routes().len().saturating_sub(1);
        let position = position.unwrap_or(at).min(last);
        let detail = json!({
            "before": {
                "match": old.matches.to_json(), "service": name(old.service_id), "position": at,
            },
            "after": {"match": matches.to_json(), "service": service, "position": position},
        });
        let route = Route {
            matches,
            service_id,
            managed: old.managed || self.by_policy,
            version: old.version + 1,
            ..old
        };
        let change = Configuration::UpdateRoute { route: route.clone(), position };
        self.add(change, "update", (KIND, id.uuid(), ""), detail);
        Ok(ConfigAnswer::Route { route: Arc::new(route), position })
    }

    pub(super) fn delete_route(
        &mut self,
        id: RouteId,
        version: Option<i64>,
    ) -> Result<ConfigAnswer, ConfigureError> {
        let (at, old) = self.route(id, version)?;
        let service = self.directory.service(old.service_id).map(|service| &service.name);
        let detail = json!({"match": old.matches.to_json(), "service": service, "position": at});
        self.add(Configuration::DeleteRoute(id), "delete", (KIND, id.uuid(), ""), detail);
        Ok(ConfigAnswer::Deleted)
    }

    fn route(&self, id: RouteId, version: Option<i64>) -> Result<(usize, Route), Refused> {
        let routes = self.directory.routes();
        let at = routes.iter().position(|route| route.id == id);
        let at = at.ok_or(Refused::NotFound(KIND))?;
        fresh(version, routes[at].version)?;
        Ok((at, routes[at].clone()))
    }
}
