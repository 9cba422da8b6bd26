//! One gateway hands on to another one, by the notifier for PagerDuty and over HTTP.

use actix_web::{App, HttpServer};
use serde_json::{Value, json};

use super::{Gateway, KEY};
use crate::{
    domain::{id::DeliveryId, notify::Reason},
    notify::{Attempt, Guard, Message, Notifier, Outcome, http::Http, notifier, secret::Secrets},
    store::query::{AlertFilter, IncidentRef, Page},
};

/// Serves a gateway on a free port; says where.
fn serve(gateway: &Gateway) -> String {
    let api = gateway.api.clone();
    let server = HttpServer::new(move || {
        App::new().app_data(api.clone()).configure(|config| super::super::routes(config, true))
    });
    let server = server.workers(1).bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v2/enqueue", server.addrs()[0]);
    actix_web::rt::spawn(server.run());
    url
}

fn handing_on(url: &str) -> Box<dyn Notifier> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let settings = json!({"url": url, "routing_key_env": "PD_KEY"});
    let secrets = Secrets::new(|name| (name == "PD_KEY").then(|| KEY.to_owned()));
    let http = Http::new(Guard::new(true)).unwrap();
    let kind = crate::domain::receiver::ReceiverKind::PagerDuty;
    notifier(kind, settings.as_object().unwrap(), &secrets, &http).unwrap()
}

/// What is told of the first incident of a gateway.
async fn message(gateway: &Gateway, reason: Reason) -> Message {
    let incident = gateway.api.store.incident(IncidentRef::Number(1)).await.unwrap().unwrap();
    let page = Page { limit: 50, before: None, count: false };
    let alerts = gateway.api.store.alerts(&AlertFilter::default(), page).await.unwrap().items;
    let at = gateway.api.ingest.now();
    Message {
        delivery: DeliveryId::new(at, 1, 7),
        reason,
        at,
        late: None,
        first: false,
        wakes: false,
        receiver: "next".to_owned(),
        incident,
        alerts,
        about: None,
        base_url: gateway.api.base_url.clone(),
    }
}

#[actix_web::test]
async fn another_gateway_takes_what_pagerduty_is_told() {
    let (here, next) = (Gateway::start().await, Gateway::start().await);
    let handing_on = handing_on(&serve(&next));
    here.trigger(KEY, "srv01/mysql", "disk").await;
    let newest = async || next.get("/alerts").await.json()["items"][0].clone();
    for (reason, status) in [
        (Reason::Opened, "triggered"),
        (Reason::Repeat, "triggered"),
        (Reason::Acknowledged, "acknowledged"),
        (Reason::Resolved, "resolved"),
        (Reason::Reopened, "triggered"),
    ] {
        let message = message(&here, reason).await;
        let payload = handing_on.compose(&message).unwrap();
        let (delivery, now) = (message.delivery, message.at);
        let attempt =
            Attempt { delivery, reason, payload: &payload, remote: None, continues: false, now };

        let sent = handing_on.send(&attempt).await;

        assert_eq!((sent.outcome, sent.status), (Outcome::Delivered, Some(202)), "{sent:?}");
        assert!(!format!("{}{}", sent.request, sent.answer).contains(KEY), "{sent:?}");
        let alert = newest().await;
        assert_eq!(alert["status"], status, "{reason}");
        assert_eq!(alert["dedup_key"], *format!("dutygate:{}", message.incident.id));
        assert_eq!(alert["class"], "disk");
        assert_eq!(alert["client_url"], *message.incident_url());
    }
    assert_eq!(next.get("/alerts?count=true").await.json()["total"], 2);
    let details: Value = newest().await["custom_details"]["dutygate"].clone();
    assert_eq!((&details["reason"], &details["incident"]), (&json!("reopened"), &json!(1)));

    // A test leaves nothing open.
    let message = message(&here, Reason::Test).await;
    let payload = handing_on.compose(&message).unwrap();
    let (delivery, now) = (message.delivery, message.at);
    let attempt = Attempt {
        delivery,
        reason: Reason::Test,
        payload: &payload,
        remote: None,
        continues: false,
        now,
    };
    assert_eq!(handing_on.send(&attempt).await.outcome, Outcome::Delivered);
    assert_eq!(newest().await["status"], "resolved");
    assert_eq!(newest().await["severity"], "info");
}
