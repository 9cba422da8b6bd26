//! `POST /api/v1/policy/replay`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Gateway, KEY};

const OTHER_KEY: &str = "pppppppppppppppppppppppppppppppp";
/// Makes one incident of a class.
const CANDIDATE: &str = "services: [{name: default, grouping: [{by: [class]}]}]";

impl Gateway {
    async fn replayed(&self, more: &Value) -> Value {
        let mut body = json!({"policy": CANDIDATE, "since": "1d"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.post("/policy/replay", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }
}

#[actix_web::test]
async fn a_replay_and_the_statistics_round_alike() {
    let gateway = Gateway::start().await;
    gateway
        .call(
            actix_web::http::Method::PUT,
            "/services/default",
            &json!({"name": "default", "grouping": [{"by": ["class"]}]}),
        )
        .await;
    for key in ["a", "b", "c"] {
        gateway.trigger(KEY, key, "disk").await;
    }

    let replayed = gateway.replayed(&json!({})).await;

    let stats = gateway.get("/stats/noise").await.json();
    assert_eq!(replayed["candidate"]["noise_reduction_pct"], 66.67);
    assert_eq!(replayed["today"]["noise_reduction_pct"], stats["noise_reduction_pct"]);
}

#[actix_web::test]
async fn a_replay_may_be_of_one_service() {
    let gateway = Gateway::start().await;
    gateway.post("/services", &json!({"name": "payments"})).await;
    let integration = json!({"name": "pay", "service": "payments", "key": OTHER_KEY});
    assert_eq!(gateway.post("/integrations", &integration).await.status, 201);
    gateway.trigger(KEY, "a", "disk").await;
    gateway.trigger(OTHER_KEY, "b", "disk").await;
    gateway.trigger(OTHER_KEY, "c", "disk").await;

    let all = gateway.replayed(&json!({})).await;
    let one = gateway.replayed(&json!({"service": "payments"})).await;

    assert_eq!((&all["today"]["events"], &one["today"]["events"]), (&json!(3), &json!(2)));
    let names: Vec<_> =
        one["services"].as_array().unwrap().iter().map(|it| &it["service"]).collect();
    assert_eq!(names, ["payments"]);
    let body = json!({"policy": CANDIDATE, "since": "7x", "service": "nope"});
    assert_eq!(gateway.post("/policy/replay", &body).await.wrong(), ["since", "service"]);
}

#[actix_web::test]
async fn one_replay_runs_at_a_time() {
    let gateway = Gateway::start().await;
    let running = Arc::clone(&gateway.api.limits.replays).try_acquire_owned().unwrap();

    let refused = gateway.post("/policy/replay", &json!({"policy": CANDIDATE})).await;

    assert_eq!(refused.status, 409);
    assert!(refused.text.contains("another replay is running"), "{}", refused.text);
    drop(running);
    gateway.replayed(&json!({})).await;
}
