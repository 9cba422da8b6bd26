//! Reading what the real pipeline wrote, from a real file.

mod lists;
mod paging;
mod plans;
mod previews;

use std::sync::Arc;

use crate::{
    domain::{
        changes::{ActionInput, ChangeInput, EventInput, Input, Outcome, Receipt, Target, Verb},
        configuration::{Audit, Configuration},
        event::{Api, ChangeEvent, Content, Event, Intent, SentTime, Severity, StoredBody},
        id::Ids,
        key::{DedupKey, KeyHash},
        pipeline,
        routing::Directory,
        search::Query,
        service::{Integration, IntegrationType, Service, ServicePolicy},
        time::{Span, Timestamp},
    },
    store::{
        Maintenance, Store,
        decide::{Learned, decide},
        query::{
            AlertFilter, EventFilter, IncidentFilter, Listed, Page, Reads, TextField,
            views::{AlertView, EventView, IncidentView},
        },
        sqlite::SqliteStore,
    },
};

const START: i64 = 1_790_000_000_000;

/// A database with the services `default`, which groups nothing, and `payments`, which groups by
/// class; the integrations are `mon-default` and `mon-payments`.
struct Bench {
    store: SqliteStore,
    ids: Ids,
    directory: Directory,
    now: Timestamp,
    _directory: tempfile::TempDir,
}

/// What a trigger says.
fn content(summary: &str) -> Content {
    Content {
        summary: summary.to_owned(),
        source: Some("srv-01".to_owned()),
        severity: Severity::Error,
        component: None,
        group: None,
        class: None,
        custom_details: None,
        client: None,
        client_url: None,
        links: Vec::new(),
        images: Vec::new(),
        labels: std::collections::BTreeMap::new(),
    }
}

fn key(text: &str) -> DedupKey {
    DedupKey::parse(text).unwrap()
}

impl Bench {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = SqliteStore::open(&directory.path().join("test.db")).await.unwrap();
        let ids = Ids::new(store.sequences().await.unwrap(), [7; 32]);
        let mut bench = Self {
            store,
            ids,
            directory: Directory::default(),
            now: Timestamp::from_millis(START),
            _directory: directory,
        };
        bench.add_service("default", &serde_json::json!([])).await;
        let by_class = serde_json::json!([{"by": ["class"], "window": "7d"}]);
        bench.add_service("payments", &by_class).await;
        bench
    }

    async fn add_service(&mut self, name: &str, grouping: &serde_json::Value) {
        let mut policy = ServicePolicy::default();
        let (ids, now) = (&mut self.ids, self.now);
        let mut errors = Vec::new();
        policy.read_member("grouping", grouping, &mut || ids.rule(now), &mut errors);
        assert_eq!(errors, []);
        let service = Service {
            id: ids.service(now),
            name: name.to_owned(),
            description: String::new(),
            policy,
            managed: false,
            version: 1,
            created_at: now,
        };
        let integration = Integration {
            id: ids.integration(now),
            name: format!("mon-{name}"),
            service_id: service.id,
            kind: IntegrationType::PagerDuty,
            shared: false,
            key_hint: "abcd".to_owned(),
            managed: false,
            version: 1,
            created_at: now,
        };
        self.configure(Configuration::CreateService(service)).await;
        let key = KeyHash::of(name);
        self.configure(Configuration::CreateIntegration { integration, key }).await;
    }

    async fn configure(&mut self, change: Configuration) {
        let audit = Audit {
            id: self.ids.audit(self.now),
            at: self.now,
            actor: "token:admin".to_owned(),
            address: None,
            action: "create",
            object_kind: "object",
            object_id: uuid::Uuid::nil(),
            object_name: "name".to_owned(),
            detail: serde_json::json!({"a": 1}),
        };
        let mut unit = self.store.begin().await.unwrap();
        unit.configure(&[(change, audit)]).await.unwrap().unwrap();
        unit.commit().await.unwrap();
        self.directory = self.store.directory(self.directory.version + 1, self.now).await.unwrap();
    }

    /// Carries inputs out, a millisecond later than the ones before.
    async fn carry_out(&mut self, inputs: Vec<Input>) -> Vec<Outcome> {
        self.now = self.now.plus(Span::from_millis(1));
        let mut unit = self.store.begin().await.unwrap();
        let (directory, none) = (&self.directory, Learned::new());
        let decided = decide(&mut *unit, &inputs, directory, &self.ids, &none).await.unwrap();
        unit.save(&decided.changes).await.unwrap();
        unit.commit().await.unwrap();
        self.ids = decided.ids;
        decided.outcomes
    }

    fn event(&self, service: &str, intent: Intent, body: StoredBody) -> Input {
        let integration = self.directory.integration_named(&format!("mon-{service}")).unwrap();
        let event = Event::new(Api::V2, intent, SentTime::default());
        let prepared = pipeline::prepare(&event, integration, &self.directory);
        let received_at = self.now;
        let integration = Arc::clone(integration);
        Input::Event(Arc::new(EventInput { integration, received_at, event, body, prepared }))
    }

    fn trigger_input(&self, service: &str, dedup_key: &str, content: Content) -> Input {
        let text = content.custom_details.as_deref().unwrap_or("{}").to_owned();
        let details = content
            .custom_details
            .as_ref()
            .map(|details| (0, u32::try_from(details.len()).unwrap()));
        let intent =
            Intent::Trigger { dedup_key: Some(key(dedup_key)), content: Box::new(content) };
        self.event(service, intent, StoredBody { text, details })
    }

    async fn send(&mut self, input: Input) -> Receipt {
        match self.carry_out(vec![input]).await.remove(0) {
            Outcome::Event(receipt) => receipt,
            other => panic!("{other:?}"),
        }
    }

    async fn trigger(&mut self, service: &str, dedup_key: &str, content: Content) -> Receipt {
        let input = self.trigger_input(service, dedup_key, content);
        self.send(input).await
    }

    async fn resolve(&mut self, service: &str, dedup_key: &str) -> Receipt {
        let intent = Intent::Resolve { dedup_key: key(dedup_key) };
        let body = StoredBody { text: "{}".to_owned(), details: None };
        let input = self.event(service, intent, body);
        self.send(input).await
    }

    async fn act(&mut self, target: Target, verb: Verb) {
        let (actor, received_at) = ("token:ann".to_owned(), self.now);
        let input = Input::Action(Arc::new(ActionInput { target, verb, actor, received_at }));
        self.carry_out(vec![input]).await;
    }

    async fn change(&mut self, service: &str, summary: &str) {
        let integration =
            Arc::clone(self.directory.integration_named(&format!("mon-{service}")).unwrap());
        let change = ChangeEvent {
            summary: summary.to_owned(),
            source: Some("ci".to_owned()),
            custom_details: Some("{\"b\": 1, \"a\":2}".into()),
            links: Vec::new(),
            sent_time: SentTime::default(),
            sent_id: None,
        };
        let received_at = self.now;
        let input = ChangeInput { integration, received_at, change };
        self.carry_out(vec![Input::Change(Arc::new(input))]).await;
    }

    async fn index(&self) {
        while self.store.maintain(Maintenance::IndexTexts).await.unwrap().more {}
    }

    async fn alerts(&self, filter: &AlertFilter) -> Listed<AlertView> {
        self.store.alerts(filter, page()).await.unwrap()
    }

    /// The dedup keys of the alerts that fit, newest first; the count has to agree.
    async fn alert_keys(&self, filter: AlertFilter) -> Vec<String> {
        let listed = self.alerts(&filter).await;
        assert_eq!(listed.total, Some(listed.items.len() as u64), "{filter:?}");
        listed.items.into_iter().map(|alert| alert.dedup_key).collect()
    }

    async fn incidents(&self, filter: IncidentFilter) -> Vec<IncidentView> {
        let listed = self.store.incidents(&filter, page()).await.unwrap();
        assert_eq!(listed.total, Some(listed.items.len() as u64), "{filter:?}");
        listed.items
    }

    async fn events(&self, filter: EventFilter) -> Vec<EventView> {
        let listed = self.store.events(&filter, page()).await.unwrap();
        assert_eq!(listed.total, Some(listed.items.len() as u64), "{filter:?}");
        listed.items
    }
}

fn page() -> Page {
    Page { limit: 500, before: None, count: true }
}

fn q(text: &str) -> AlertFilter {
    AlertFilter { q: vec![Query::parse(text)], ..AlertFilter::default() }
}

fn text(field: TextField, values: &[&str]) -> AlertFilter {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    AlertFilter { texts: vec![(field, values)], ..AlertFilter::default() }
}
