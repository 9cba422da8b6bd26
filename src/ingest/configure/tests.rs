//! What is planned is what is stored and read back.

use serde_json::json;

use super::*;
use crate::{
    domain::{schedule::Schedule, silence::When},
    store::{Store as _, sqlite::SqliteStore},
};

const NOW: Timestamp = Timestamp::from_millis(1_763_632_272_345);
/// When no key works any more that another took the place of.
const LATER: Timestamp = Timestamp::from_millis(1_763_642_272_345);

fn key(letter: &str) -> RoutingKey {
    RoutingKey::parse(&letter.repeat(32)).unwrap()
}

/// Everything in a directory that can be compared.
fn shown(directory: &Directory) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    all.extend(directory.services().map(|it| format!("{it:?}")));
    all.extend(directory.integrations().map(|it| format!("{it:?}")));
    all.extend(directory.tokens().map(|it| format!("{it:?}")));
    all.extend(directory.receivers().map(|it| format!("{it:?}")));
    all.extend(
        directory.silences().iter().filter(|it| !it.is_over(NOW)).map(|it| format!("{it:?}")),
    );
    all.sort();
    all.extend(directory.routes().iter().map(|it| format!("{it:?}")));
    for (letter, at) in [("a", NOW), ("b", NOW), ("a", LATER), ("b", LATER)] {
        let owner = directory.integration_of_key(&key(letter).hash(), at);
        all.push(format!("{letter} at {at}: {:?}", owner.map(|owner| &owner.name)));
    }
    all
}

/// Plans requests one after the other and writes each down.
struct Desk {
    store: SqliteStore,
    ids: Ids,
    directory: Directory,
    _place: tempfile::TempDir,
}

impl Desk {
    async fn open() -> Self {
        let place = tempfile::tempdir().unwrap();
        let (store, _) = SqliteStore::open(&place.path().join("test.db")).await.unwrap();
        let ids = Ids::new(store.sequences().await.unwrap(), [7; 32]);
        let directory = store.directory(1, NOW).await.unwrap();
        Self { store, ids, directory, _place: place }
    }

    async fn ask(&mut self, request: ConfigRequest) -> ConfigAnswer {
        let by = RequestedBy { actor: "token:admin".to_owned(), address: None };
        let said = format!("{request:?}");
        let planned = plan(request, by, &self.directory, &mut self.ids, NOW).unwrap();
        let mut unit = self.store.begin().await.unwrap();
        unit.configure(&planned.changes).await.unwrap().unwrap();
        for (change, _) in &planned.changes {
            self.directory.apply(change, NOW);
        }
        unit.commit().await.unwrap();
        let stored = self.store.directory(1, NOW).await.unwrap();
        assert_eq!(shown(&self.directory), shown(&stored), "after {said}");
        planned.answer
    }

    fn refuse(&mut self, request: ConfigRequest) -> ConfigureError {
        let by = RequestedBy { actor: "token:admin".to_owned(), address: None };
        plan(request, by, &self.directory, &mut self.ids, NOW).unwrap_err()
    }
}

fn matches(class: &str) -> Match {
    Match::from_json(&json!([format!("class=\"{class}\"")])).unwrap()
}

fn service(name: &str) -> ConfigRequest {
    let (name, description) = (name.to_owned(), String::new());
    ConfigRequest::CreateService { name, description, policy: ServicePolicy::default() }
}

fn silence(name: &str, service_id: Option<ServiceId>, when: When) -> SilenceDraft {
    let (name, comment) = (Some(name.to_owned()), "why".to_owned());
    SilenceDraft { name, matches: matches("a"), service_id, when, comment }
}

#[tokio::test]
async fn what_is_planned_is_what_is_stored() {
    let mut desk = Desk::open().await;
    let made = desk.ask(service("payments")).await.service().unwrap();
    let (id, kind) = (made.id, IntegrationType::PagerDuty);
    let policy = ServicePolicy::default();
    let (name, description) = ("billing".to_owned(), "money".to_owned());
    desk.ask(ConfigRequest::UpdateService { id, version: Some(1), name, description, policy })
        .await;
    let create = ConfigRequest::CreateIntegration {
        name: "mon".to_owned(),
        service_id: id,
        kind,
        shared: false,
        key: Some(key("a")),
    };
    let (integration, _) = desk.ask(create).await.integration().unwrap();
    let rotate = ConfigRequest::RotateKey {
        id: integration.id,
        overlap: Span::from_secs(60),
        key: Some(key("b")),
    };
    desk.ask(rotate).await;
    let update = ConfigRequest::UpdateIntegration {
        id: integration.id,
        version: Some(2),
        name: "monitor".to_owned(),
        service_id: id,
        kind,
        shared: true,
    };
    desk.ask(update).await;
    let (name, role) = ("a".to_owned(), Role::Admin);
    desk.ask(ConfigRequest::CreateToken { name, role, secret: None }).await;
    let (name, role) = ("b".to_owned(), Role::Viewer);
    let (token, _) =
        desk.ask(ConfigRequest::CreateToken { name, role, secret: None }).await.token().unwrap();
    desk.ask(ConfigRequest::RevokeToken { id: token.id }).await;

    let until = NOW.plus(Span::from_secs(3600));
    let once = silence("once", None, When::Once { from: NOW, until });
    let once = desk.ask(ConfigRequest::CreateSilence(once)).await.silence().unwrap();
    let schedule = json!({"days": ["sun"], "from": "23:00", "to": "02:00", "timezone": "UTC"});
    let schedule = Schedule::from_json(&schedule, "", &mut Vec::new()).unwrap();
    let weekly = silence("weekly", Some(id), When::Weekly(schedule));
    desk.ask(ConfigRequest::CreateSilence(weekly.clone())).await;
    let draft = SilenceDraft { name: None, service_id: Some(id), ..weekly };
    desk.ask(ConfigRequest::UpdateSilence { id: once.id, version: Some(1), draft }).await;

    let mut routes = Vec::new();
    for (class, position) in [("a", None), ("b", Some(0)), ("c", Some(1)), ("d", Some(99))] {
        let matches = matches(class);
        let create = ConfigRequest::CreateRoute { matches, service_id: id, position };
        let (route, _) = desk.ask(create).await.route().unwrap();
        routes.push(route.id);
    }
    for (route, position) in [(routes[0], Some(0)), (routes[1], Some(99)), (routes[2], None)] {
        let matches = matches("e");
        let update = ConfigRequest::UpdateRoute {
            id: route,
            version: None,
            matches,
            service_id: id,
            position,
        };
        desk.ask(update).await;
    }
    for route in routes {
        desk.ask(ConfigRequest::DeleteRoute { id: route, version: None }).await;
    }

    let settings = json!({"url": "https://example.com", "secret_env": "S"});
    let settings = settings.as_object().unwrap().clone();
    let (name, kind) = ("hook".to_owned(), ReceiverKind::Webhook);
    let create = ConfigRequest::CreateReceiver { name, kind, settings: settings.clone() };
    let receiver = desk.ask(create).await.receiver().unwrap();
    let (id_of_receiver, name) = (receiver.id, "hook 2".to_owned());
    let update = ConfigRequest::UpdateReceiver {
        id: id_of_receiver,
        version: Some(1),
        name,
        kind,
        settings,
    };
    desk.ask(update).await;
    desk.ask(ConfigRequest::DeleteReceiver { id: id_of_receiver, version: Some(2) }).await;
    desk.ask(ConfigRequest::DeleteIntegration { id: integration.id, version: None }).await;
    desk.ask(ConfigRequest::DeleteService { id, version: Some(2) }).await;

    assert_eq!(desk.directory.services().count(), 0);
    let over = desk.directory.silences().iter().all(|silence| silence.is_over(NOW));
    assert!(over, "the silences of the service ended with it");
}

#[tokio::test]
async fn what_is_stale_or_taken_is_refused() {
    let mut desk = Desk::open().await;
    let made = desk.ask(service("payments")).await.service().unwrap();
    let until = NOW.plus(Span::from_secs(1));
    let once = silence("once", None, When::Once { from: NOW, until });
    let kept = desk.ask(ConfigRequest::CreateSilence(once.clone())).await.silence().unwrap();

    let stale = ConfigRequest::DeleteService { id: made.id, version: Some(7) };
    assert!(matches!(desk.refuse(stale), ConfigureError::Refused(Refused::Stale)));
    let stale = ConfigRequest::ExpireSilence { id: kept.id, version: Some(7) };
    assert!(matches!(desk.refuse(stale), ConfigureError::Refused(Refused::Stale)));
    for taken in [service("payments"), ConfigRequest::CreateSilence(once)] {
        let refused = desk.refuse(taken);
        assert!(matches!(refused, ConfigureError::Refused(Refused::NameTaken { .. })), "{refused}");
    }
}

#[tokio::test]
async fn a_key_that_works_on_beside_its_successor_can_take_its_place_back() {
    let mut desk = Desk::open().await;
    let service_id = desk.ask(service("payments")).await.service().unwrap().id;
    let create = |name: &str, letter: &str| ConfigRequest::CreateIntegration {
        name: name.to_owned(),
        service_id,
        kind: IntegrationType::PagerDuty,
        shared: false,
        key: Some(key(letter)),
    };
    let (integration, _) = desk.ask(create("mon", "a")).await.integration().unwrap();
    desk.ask(create("other", "c")).await;
    let rotate = |letter: &str| ConfigRequest::RotateKey {
        id: integration.id,
        overlap: Span::from_secs(60),
        key: Some(key(letter)),
    };
    desk.ask(rotate("b")).await;

    desk.ask(rotate("a")).await;

    let works = |letter: &str, seconds| {
        let at = NOW.plus(Span::from_secs(seconds));
        desk.directory.integration_of_key(&key(letter).hash(), at).is_some()
    };
    assert!(works("b", 59) && !works("b", 60));
    assert!(works("a", 3600));
    for taken in ["a", "c"] {
        let refused = desk.refuse(rotate(taken));
        assert!(
            matches!(refused, ConfigureError::Refused(Refused::KeyTaken)),
            "{taken}: {refused}"
        );
    }
}
