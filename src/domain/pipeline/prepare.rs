//! What follows from an event, or an alert's content, and the directory alone.

use std::{borrow::Cow, cell::OnceCell};

use serde_json::Value;

use crate::domain::{
    changes::{EventInput, Prepared},
    enrich,
    event::{Action, Content, Event, Fingerprints, Intent},
    grouping::{self, GroupChoice},
    id::ServiceId,
    key::DedupKey,
    matcher::{Field, Fields, details_in},
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
        matches: Matches::default(),
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
        let mut changed = event.clone();
        prepared.enriched =
            enrich::enrich(&policy.enrich, &mut changed, &integration.name, &service.name);
        if let Intent::Trigger { content: enriched, .. } = changed.intent {
            prepared.content = (enriched != *content).then_some(enriched);
        }
    }
    let content = prepared.content.as_ref().unwrap_or(content);
    let view = ContentView::new(content, key, &integration.name, &service.name);
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
    view: &ContentView<'_>,
    service: &Service,
    directory: &Directory,
) -> (Matches, Option<GroupChoice>) {
    let policy = &service.policy;
    let sides = policy
        .inhibition
        .iter()
        .filter_map(|rule| {
            let sides = rule.sides(view)?;
            Some(Side {
                rule: rule.id,
                hash: sides.hash,
                source: sides.source,
                target: sides.target,
            })
        })
        .collect();
    let notify =
        policy.notify.iter().filter(|rule| rule.matches.holds(view)).map(|rule| rule.id).collect();
    let silences = directory.silences().matching(service.id, view);
    (Matches { silences, sides, notify }, grouping::choose(&policy.grouping, view))
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
    let view = ContentView::new(content, key, &integration.name, service);
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
        self.prepared_as(std::sync::Arc::clone(integration), prepared)
    }
}

/// What a trigger, or an alert, looks like to matchers and rules.
pub(super) struct ContentView<'a> {
    content: &'a Content,
    dedup_key: &'a str,
    integration: &'a str,
    service: &'a str,
    /// The details, read when a rule first asks for them.
    details: OnceCell<Option<Value>>,
}

impl<'a> ContentView<'a> {
    pub(super) fn new(
        content: &'a Content,
        dedup_key: &'a str,
        integration: &'a str,
        service: &'a str,
    ) -> Self {
        Self { content, dedup_key, integration, service, details: OnceCell::new() }
    }
}

impl Fields for ContentView<'_> {
    fn field(&self, field: &Field) -> Cow<'_, str> {
        fn optional(value: Option<&String>) -> Cow<'_, str> {
            value.map_or("", String::as_str).into()
        }
        let content = self.content;
        match field {
            Field::Summary => content.summary.as_str().into(),
            Field::Source => content.source.as_deref().unwrap_or(self.integration).into(),
            Field::Severity => content.severity.as_str().into(),
            Field::Component => optional(content.component.as_ref()),
            Field::Group => optional(content.group.as_ref()),
            Field::Class => optional(content.class.as_ref()),
            Field::Client => optional(content.client.as_ref()),
            Field::DedupKey => self.dedup_key.into(),
            Field::Integration => self.integration.into(),
            Field::Service => self.service.into(),
            Field::Action => Action::Trigger.as_str().into(),
            Field::Label(name) => optional(content.labels.get(name)),
            Field::Details(path) => {
                let details = self.details.get_or_init(|| {
                    serde_json::from_str(content.custom_details.as_deref()?).ok()
                });
                let found = details.as_ref().and_then(|details| details_in(details, path));
                found.unwrap_or_default().into()
            }
        }
    }
}
