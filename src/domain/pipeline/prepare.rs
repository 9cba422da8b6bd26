//! What follows from an event, or an alert's content, and the directory alone.

use std::sync::Arc;

use crate::domain::{
    changes::{EventInput, Prepared},
    enrich,
    event::{Event, Fingerprints, Intent},
    fields::{ParsedDetails, TriggerFields},
    grouping::GroupChoice,
    id::ServiceId,
    inhibition::Sides,
    key::DedupKey,
    routing::Directory,
    service::{Integration, Service},
    standing::{Matches, Side},
};

/// Works out what follows from an event and the directory: its service, its content after
/// enrichment, the rules that match. Runs before the batch is loaded, wherever there is time,
/// because the result says what to load.
pub fn prepare(event: &Event, integration: &Integration, directory: &Directory) -> Prepared {
    let (service_id, route) = route(event, integration, directory);
    prepare_in(service_id, route, event, integration, directory)
}

/// The same for a given service: events follow the open alert of their key.
pub(super) fn prepare_in(
    service_id: ServiceId,
    route: Option<usize>,
    event: &Event,
    integration: &Integration,
    directory: &Directory,
) -> Prepared {
    let mut prepared = Prepared {
        directory_version: directory.version,
        service_id,
        route,
        enriched: Vec::new(),
        content: None,
        dropped: None,
        group: None,
        matches: Arc::default(),
        fingerprints: Fingerprints::default(),
    };
    let Intent::Trigger { content, dedup_key } = &event.intent else { return prepared };
    let Some(service) = directory.service(service_id) else {
        prepared.fingerprints = content.fingerprints();
        return prepared;
    };
    let key = dedup_key.as_ref().map_or("", DedupKey::as_str);
    let policy = &service.policy;
    if !policy.enrich.is_empty() {
        let mut changed = content.clone();
        prepared.enriched =
            enrich::enrich(&policy.enrich, &mut changed, key, &integration.name, &service.name);
        prepared.content = (changed != *content).then_some(changed);
    }
    let content = prepared.content.as_ref().unwrap_or(content);
    let view = TriggerFields {
        content,
        dedup_key: key,
        integration: &integration.name,
        service: &service.name,
        details: &ParsedDetails::default(),
    };
    prepared.fingerprints = content.fingerprints();
    prepared.dropped = policy.drop.iter().position(|rule| rule.holds(&view));
    if prepared.dropped.is_none() {
        let (matches, group) = judge(&view, service, directory);
        (prepared.matches, prepared.group) = (matches, group);
    }
    prepared
}

/// What an alert with this content matches, and how it is to be grouped.
pub(super) fn judge(
    view: &TriggerFields<'_>,
    service: &Service,
    directory: &Directory,
) -> (Arc<Matches>, Option<Arc<GroupChoice>>) {
    let policy = &service.policy;
    let rules = directory.rules(service.id);
    let standing = rules.map(|rules| rules.inhibition(policy, view)).unwrap_or_default();
    let sides = standing
        .into_iter()
        .filter_map(|at| {
            let rule = &policy.inhibition[at];
            let Sides { hash, source, target } = rule.sides(view)?;
            Some(Side { rule: rule.id, hash, source, target })
        })
        .collect();
    let notify =
        policy.notify.iter().filter(|rule| rule.matches.holds(view)).map(|rule| rule.id).collect();
    let silences = directory.silences().matching(service.id, view);
    let group = rules.and_then(|rules| rules.grouping(policy, view));
    let group = group.map(|at| Arc::new(policy.grouping[at].choice(view)));
    (Arc::new(Matches { silences, sides, notify }), group)
}

/// The service that an event of an integration belongs to, and the route that says so.
fn route(
    event: &Event,
    integration: &Integration,
    directory: &Directory,
) -> (ServiceId, Option<usize>) {
    let own = (integration.service_id, None);
    if !directory.is_routed(integration) {
        return own;
    }
    let Intent::Trigger { content, dedup_key } = &event.intent else { return own };
    let key = dedup_key.as_ref().map_or("", DedupKey::as_str);
    let service = directory.service(integration.service_id);
    let service = service.map_or("", |service| service.name.as_str());
    let view = TriggerFields {
        content,
        dedup_key: key,
        integration: &integration.name,
        service,
        details: &ParsedDetails::default(),
    };
    let found = directory.routes().iter().position(|route| {
        directory.service(route.service_id).is_some() && route.matches.holds(&view)
    });
    found.map_or(own, |at| (directory.routes()[at].service_id, Some(at)))
}

impl EventInput {
    /// The same event as it is under the service of the open alert that it belongs to.
    pub(super) fn in_service(&self, service: ServiceId, directory: &Directory) -> Self {
        let (integration, event) = (&self.integration, &self.event);
        let prepared = prepare_in(service, None, event, integration, directory);
        self.prepared_as(Arc::clone(integration), prepared)
    }
}
