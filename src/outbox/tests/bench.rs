//! A gateway with a database and a clock that stands, and the dispatcher that sends what it owes.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::receivers::Receivers;
use crate::{
    clock::{Clock as _, ManualClock},
    domain::{
        changes::{ActionInput, Input, NewNotification, Target, Verb},
        configuration::{Audit, Configuration},
        delivery::NewDelivery,
        event::Severity,
        id::{AlertId, AuditId, DeliveryId, Ids, IncidentId, Sequences},
        key::RoutingKey,
        receiver::ReceiverKind,
        routing::Directory,
        service::Service,
        tests::{
            gateway::{Gateway, Happened},
            world::What,
        },
        time::{Span, Timestamp},
    },
    outbox::{Dispatcher, Outlook, Parts},
    store::{
        Maintenance, Store as _,
        decide::{Learned, decide},
        outbox::{DeliveryFilter, DeliveryState, Outbox as _, Retried},
        query::{Page, views::DeliveryView},
        sqlite::SqliteStore,
    },
    telemetry::metrics::Metrics,
};

/// Where tests begin that begin nowhere in particular.
pub(super) const START: Timestamp = Timestamp::from_millis(1_763_600_000_000);

/// What is decided in the pure gateway is decided again over the database, and sent from there.
#[derive(Debug)]
pub(super) struct Bench {
    place: TempDir,
    pub(super) gateway: Gateway,
    store: Option<Arc<SqliteStore>>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) receivers: Receivers,
    dispatcher: Option<Dispatcher>,
    pub(super) outlook: Outlook,
    directory: Directory,
    ids: Ids,
    /// How much of the gateway's log was played.
    played: usize,
    starts: u32,
    audits: i64,
    pub(super) told: Vec<NewNotification>,
    pub(super) owed: Vec<NewDelivery>,
    /// What was leased when the process died.
    pub(super) cut_off: BTreeSet<DeliveryId>,
}

impl Bench {
    /// Of a gateway to which something has happened already, and none of that was played.
    pub(super) async fn over(gateway: Gateway) -> Self {
        let place = tempfile::tempdir().unwrap();
        let (store, is_new) = SqliteStore::open(&place.path().join("test.db")).await.unwrap();
        assert!(is_new);
        let mut bench = Self {
            place,
            directory: store.directory(1, Timestamp::default()).await.unwrap(),
            store: Some(Arc::new(store)),
            clock: Arc::new(ManualClock::new(START)),
            receivers: Receivers::default(),
            dispatcher: None,
            outlook: Outlook::default(),
            ids: Ids::new(Sequences::default(), [1; 32]),
            played: 0,
            starts: 0,
            audits: 0,
            told: Vec::new(),
            owed: Vec::new(),
            cut_off: BTreeSet::new(),
            gateway,
        };
        let fresh = Gateway::new();
        let service = fresh.world.directory.services().next().unwrap();
        let key = RoutingKey::parse("0123456789abcdef0123456789abcdef").unwrap().hash();
        let integration = (*fresh.world.integration).clone();
        bench.configure(&Configuration::CreateService(Service::clone(service)), START).await;
        bench.configure(&Configuration::CreateIntegration { integration, key }, START).await;
        bench.start().await;
        bench
    }

    /// Of a service with this policy and these receivers.
    pub(super) async fn new(policy: &Value, receivers: &[(&str, Value)]) -> Self {
        let mut gateway = Gateway::new();
        for (name, settings) in receivers {
            gateway.put_receiver(name, ReceiverKind::Webhook, &at_home(name, settings), START);
        }
        let service = gateway.service("default").unwrap();
        gateway.set_policy(service, policy, START).unwrap();
        let mut bench = Self::over(gateway).await;
        bench.play().await;
        bench
    }

    pub(super) fn store(&self) -> &Arc<SqliteStore> {
        self.store.as_ref().unwrap()
    }

    pub(super) fn dispatcher(&mut self) -> &mut Dispatcher {
        self.dispatcher.as_mut().unwrap()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Time since the start of the test.
    pub(super) fn after(&self) -> i64 {
        self.now().since(START).as_millis()
    }

    async fn configure(&mut self, change: &Configuration, at: Timestamp) {
        self.audits += 1;
        let audit = Audit {
            id: AuditId::new(at, 10_000 + self.audits, 0),
            at,
            actor: "test".to_owned(),
            address: None,
            action: "update",
            object_kind: "test",
            object_id: uuid::Uuid::nil(),
            object_name: String::new(),
            detail: serde_json::json!({}),
        };
        let mut unit = self.store().begin().await.unwrap();
        unit.configure(&[(change.clone(), audit)]).await.unwrap().unwrap();
        unit.commit().await.unwrap();
        self.read_directory().await;
    }

    async fn read_directory(&mut self) {
        // Never a version that the pure gateway had: what it prepared is prepared again.
        let version = self.directory.version.max(1_000_000) + 1;
        self.directory = self.store().directory(version, Timestamp::default()).await.unwrap();
    }

    /// What has happened to the gateway and was not played yet.
    pub(super) fn waiting(&self) -> usize {
        self.gateway.log.len() - self.played
    }

    /// When the next of that happened.
    pub(super) fn next_at(&self) -> Timestamp {
        time_of(&self.gateway.log[self.played])
    }

    /// Decides over the database what the pure gateway decided next.
    pub(super) async fn play_one(&mut self) {
        match self.gateway.log[self.played].clone() {
            Happened::Batch(inputs) => {
                let mut unit = self.store().begin().await.unwrap();
                let (directory, ids) = (&self.directory, &self.ids);
                let decided =
                    decide(&mut *unit, &inputs, directory, ids, &Learned::new()).await.unwrap();
                unit.save(&decided.changes).await.unwrap();
                unit.commit().await.unwrap();
                self.ids = decided.ids;
                self.told.extend(decided.changes.notifications);
                self.owed.extend(decided.changes.deliveries);
            }
            Happened::Configured(change, at) => self.configure(&change, at).await,
            Happened::Down(gap) => {
                self.store().maintain(Maintenance::Alive { now: gap.from }).await.unwrap();
                assert!(self.store().started(gap.to).await.unwrap().is_some());
                self.read_directory().await;
            }
        }
        self.played += 1;
    }

    /// The same of all that has happened since, whatever the time.
    pub(super) async fn play(&mut self) {
        while self.waiting() > 0 {
            self.play_one().await;
        }
    }

    /// A dispatcher that has just started.
    pub(super) async fn start(&mut self) {
        let now = self.now();
        self.store().release(now).await.unwrap();
        self.lose_dispatcher();
    }

    /// Another one takes its place, that knows nothing of it.
    pub(super) fn lose_dispatcher(&mut self) {
        self.starts += 1;
        self.outlook = Outlook::default();
        self.dispatcher = Some(Dispatcher::new(Parts {
            store: Arc::clone(self.store()) as _,
            clock: Arc::clone(&self.clock) as _,
            metrics: Arc::new(Metrics::new("test", 0.0).unwrap()),
            notifiers: Arc::new(self.receivers.clone()),
            base_url: "http://dutygate.test".to_owned(),
            worker: format!("worker {}", self.starts),
            outlook: self.outlook.clone(),
        }));
    }

    /// The process is killed, with what is on its way; `reopens`: the database is opened anew.
    pub(super) async fn crash(&mut self, reopens: bool) {
        let leased = self.in_state(DeliveryState::Leased).await;
        self.cut_off.extend(leased.iter().map(|delivery| delivery.id));
        drop(self.dispatcher.take());
        if reopens {
            let store = self.store.take().unwrap();
            store.close().await;
            while Arc::strong_count(&store) > 1 {
                tokio::task::yield_now().await;
            }
            drop(store);
            let (store, _) = SqliteStore::open(&self.place.path().join("test.db")).await.unwrap();
            self.store = Some(Arc::new(store));
        }
        self.start().await;
    }

    /// The process is stopped as it should be, and started again.
    pub(super) async fn restart(&mut self) {
        let stop = CancellationToken::new();
        stop.cancel();
        self.dispatcher.take().unwrap().run(stop).await;
        assert!(
            self.in_state(DeliveryState::Leased).await.is_empty(),
            "a lease outlives its owner"
        );
        self.start().await;
    }

    /// Lets the dispatcher take one step, and what it sends arrive; nothing of that is recorded.
    pub(super) async fn step(&mut self) {
        self.dispatcher().advance().await;
    }

    pub(super) async fn settle(&mut self) {
        self.dispatcher().settle().await;
    }

    /// Lets the time pass, stopping wherever there is something to send.
    pub(super) async fn run_until(&mut self, end: Timestamp) {
        loop {
            self.settle().await;
            let now = self.now();
            match self.dispatcher().next_time(now) {
                Some(at) if at <= end => {
                    assert!(at > now, "nothing is left to do at this time");
                    self.clock.set(at);
                }
                Some(_) | None => break,
            }
        }
        self.clock.set(end.max(self.now()));
        self.settle().await;
    }

    pub(super) async fn run_for(&mut self, span: Span) {
        self.run_until(self.now().plus(span)).await;
    }

    /// The same, until nothing waits any more.
    pub(super) async fn run_out(&mut self) {
        for _ in 0..60 {
            self.settle().await;
            if self.store().backlog().await.unwrap().is_empty() {
                return;
            }
            self.run_for(Span::from_secs(3600)).await;
        }
        panic!("still waiting after 60 hours: {:?}", self.store().backlog().await);
    }

    pub(super) async fn all(&self, filter: &DeliveryFilter) -> Vec<DeliveryView> {
        let page = Page { limit: 100_000, before: None, count: false };
        let listed = self.store().deliveries(filter, page).await.unwrap();
        assert!(listed.next.is_none());
        listed.items.into_iter().rev().collect()
    }

    pub(super) async fn in_state(&self, state: DeliveryState) -> Vec<DeliveryView> {
        self.all(&DeliveryFilter { states: vec![state], ..DeliveryFilter::default() }).await
    }

    /// `opened delivered`, `resolved dead: never told…` and so on, in the order of deciding.
    pub(super) async fn states(&self) -> Vec<String> {
        let all = self.all(&DeliveryFilter::default()).await;
        let text = |d: &DeliveryView| {
            let error = d.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            format!("{} {}{error}", d.reason, d.state)
        };
        all.iter().map(text).collect()
    }

    pub(super) async fn retry(&self, id: DeliveryId) -> Retried {
        self.store().retry(id, self.now()).await.unwrap()
    }

    /// What a source sends, now.
    pub(super) async fn trigger(&mut self, key: &str, severity: Severity) {
        self.event(key, What::Trigger { severity, class: "" }).await;
    }

    pub(super) async fn resolve(&mut self, key: &str) {
        self.event(key, What::Resolve).await;
    }

    pub(super) async fn event(&mut self, key: &str, what: What) {
        let input = self.gateway.world.event(self.now().as_millis(), Some(key), what);
        self.gateway.batch(&[input]);
        self.play().await;
    }

    /// What a source of another integration sends.
    pub(super) async fn event_from(&mut self, integration: &str, key: &str, what: What) {
        let input = self.gateway.world.event(self.now().as_millis(), Some(key), what);
        let Input::Event(sent) = input else { panic!("{input:?}") };
        let from = Arc::clone(self.gateway.integration(integration).unwrap());
        let input = self.gateway.world.event_input(&from, sent.received_at, sent.event.clone());
        self.gateway.batch(&[input]);
        self.play().await;
    }

    pub(super) async fn tick(&mut self) {
        self.gateway.batch(&[Input::Tick(self.now())]);
        self.play().await;
    }

    /// What a person does to the n-th incident.
    pub(super) async fn act(&mut self, incident: i64, verb: Verb) {
        let target = Target::Incident(self.incident(incident));
        self.act_on(target, verb).await;
    }

    pub(super) async fn act_on(&mut self, target: Target, verb: Verb) {
        let (actor, received_at) = ("token:ann".to_owned(), self.now());
        let action = ActionInput { target, verb, actor, received_at };
        self.gateway.batch(&[Input::Action(Arc::new(action))]);
        self.play().await;
    }

    pub(super) fn incident(&self, number: i64) -> IncidentId {
        let ids = self.gateway.world.state.incidents.keys();
        ids.copied().find(|id| id.seq() == number).unwrap()
    }

    pub(super) fn open_alerts(&self) -> Vec<AlertId> {
        let alerts = self.gateway.world.state.alerts.values();
        alerts.filter(|alert| alert.is_open()).map(|alert| alert.id).collect()
    }

    pub(super) async fn put_receiver(&mut self, name: &str, settings: &Value) {
        let now = self.now();
        self.gateway.put_receiver(name, ReceiverKind::Webhook, &at_home(name, settings), now);
        self.play().await;
    }

    pub(super) async fn delete_receiver(&mut self, name: &str) {
        let now = self.now();
        assert!(self.gateway.delete_receiver(name, now));
        self.play().await;
    }
}

/// Settings with an address that begins with the receiver's name.
fn at_home(name: &str, settings: &Value) -> Value {
    let mut settings = settings.clone();
    if settings.get("url").is_none() {
        settings["url"] = format!("{name}/0").into();
    }
    settings
}

pub(super) fn time_of(happened: &Happened) -> Timestamp {
    match happened {
        Happened::Batch(inputs) => inputs.iter().map(Input::received_at).max().unwrap(),
        Happened::Configured(_, at) => *at,
        Happened::Down(gap) => gap.to,
    }
}
