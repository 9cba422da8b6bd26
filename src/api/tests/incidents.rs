//! What is shown with an incident: the changes before it, and those that were like it.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::{Gateway, KEY};
use crate::domain::time::Span;

/// The key of an integration of the service `payments`.
const OTHER_KEY: &str = "pppppppppppppppppppppppppppppppp";

impl Gateway {
    /// With the services `default` and `payments`.
    async fn with_two_services() -> Self {
        let gateway = Self::start().await;
        assert_eq!(gateway.post("/services", &json!({"name": "payments"})).await.status, 201);
        let integration = json!({"name": "pay", "service": "payments", "key": OTHER_KEY});
        assert_eq!(gateway.post("/integrations", &integration).await.status, 201);
        gateway
    }

    async fn change(&self, key: &str, summary: &str) {
        let change = json!({"routing_key": key, "payload": {"summary": summary}});
        let sent = self.request(Method::POST, "/v2/change/enqueue", &[], change.to_string()).await;
        assert_eq!(sent.status, 202, "{}", sent.text);
    }

    async fn open(&self, key: &str, summary: &str) {
        let event = json!({
            "routing_key": key, "event_action": "trigger", "dedup_key": summary,
            "payload": {"summary": summary, "source": "x", "severity": "error"},
        });
        let sent = self.request(Method::POST, "/v2/enqueue", &[], event.to_string()).await;
        assert_eq!(sent.status, 202, "{}", sent.text);
    }

    async fn page(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }
}

/// This member of each item of a page.
fn each<'p>(page: &'p Value, member: &str) -> Vec<&'p str> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item[member].as_str().unwrap()).collect()
}

#[actix_web::test]
async fn an_incident_is_shown_with_the_changes_of_its_service_in_the_hour_before() {
    let gateway = Gateway::with_two_services().await;
    gateway.change(KEY, "an hour and a second before").await;
    gateway.clock.advance(Span::from_secs(1));
    gateway.change(KEY, "an hour before").await;
    gateway.change(OTHER_KEY, "of another service").await;
    gateway.clock.advance(Span::from_secs(3600));
    gateway.change(KEY, "at the same time").await;
    gateway.open(KEY, "down").await;
    gateway.clock.advance(Span::from_secs(1));
    gateway.change(KEY, "after it").await;

    let shown = gateway.page("/incidents/1/changes").await;

    assert_eq!(each(&shown, "summary"), ["at the same time", "an hour before"]);
    assert_eq!(shown["next_cursor"], Value::Null);
    assert_eq!(gateway.get("/incidents/2/changes").await.status, 404);
}

#[actix_web::test]
async fn the_changes_before_an_incident_come_page_by_page() {
    let gateway = Gateway::start().await;
    for n in 1..=5 {
        gateway.change(KEY, &format!("v{n}")).await;
    }
    gateway.open(KEY, "down").await;

    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/incidents/1/changes?limit=2&count=true{cursor}");
        let page = gateway.page(&path).await;
        assert_eq!(page["total"], 5);
        pages.push(each(&page, "summary").join(" "));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }

    assert_eq!(pages, ["v5 v4", "v3 v2", "v1"]);
}

#[actix_web::test]
async fn similar_incidents_are_those_of_the_same_service_on_one_page() {
    let gateway = Gateway::with_two_services().await;
    gateway.open(KEY, "disk of db-1 is full at 91%").await;
    gateway.open(OTHER_KEY, "disk of db-2 is full at 92%").await;
    gateway.open(KEY, "certificate expires").await;
    gateway.open(KEY, "disk of db-3 is full at 93%").await;
    gateway.open(KEY, "disk of db-4 is full at 94%").await;

    let shown = gateway.page("/incidents/5/similar").await;

    assert_eq!(
        each(&shown, "title"),
        ["disk of db-3 is full at 93%", "disk of db-1 is full at 91%"]
    );
    assert_eq!(shown["next_cursor"], Value::Null);
    for parameter in ["limit", "cursor", "count"] {
        let refused = gateway.get(&format!("/incidents/5/similar?{parameter}=1")).await;
        assert_eq!((refused.status.as_u16(), refused.wrong()), (400, vec![parameter.to_owned()]));
    }
}
