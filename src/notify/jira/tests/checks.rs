//! The test of a receiver: what Jira would say, without an issue being made.

use serde_json::{Value, json};

use super::{Lane, START, jira, message, model::Model};
use crate::{
    domain::notify::Reason,
    notify::{
        Attempt, Failure, Notifier as _, Outcome, Sent,
        tests::server::{Reply, Server},
    },
};

async fn test(model: &Model, settings: &Value) -> Sent {
    let mut lane = Lane::new(model, settings).await;
    let sent = lane.tell(Reason::Test).await;
    assert_eq!(lane.issues(), []);
    assert_eq!(sent.remote, None);
    sent
}

/// What is wrong, which nothing but other settings can mend.
async fn wrong(model: &Model, settings: Value) -> String {
    let sent = test(model, &settings).await;
    assert_eq!(sent.outcome, Outcome::Dead { failure: Failure::Refused }, "{sent:?}");
    sent.error.unwrap()
}

#[tokio::test]
async fn settings_that_jira_would_take_are_said_to_be_right() {
    let settings = json!({
        "priority": {"critical": "Highest"}, "assignee": "pacher", "components": ["core"],
    });
    for (cloud, old) in [(true, false), (false, false), (false, true)] {
        let model = Model::new(cloud);
        model.state().old = old;

        let sent = test(&model, &settings).await;

        assert_eq!(sent.outcome, Outcome::Delivered, "{sent:?}");
        let name = if cloud { "Jira Cloud" } else { "Jira Data Center" };
        let said = format!("{name} would take a \"故障\" in OPS from Pacher: all that its create");
        assert!(sent.answer.starts_with(&said), "{}", sent.answer);
    }
}

#[tokio::test]
async fn a_project_that_is_not_there_is_named() {
    for old in [false, true] {
        let model = Model::new(false);
        model.state().old = old;

        let error = wrong(&model, json!({"project": "OOPS"})).await;

        assert!(error.contains("no project with the key \"OOPS\""), "{error}");
    }
}

#[tokio::test]
async fn a_type_that_is_not_there_is_named_beside_those_that_are() {
    let error = wrong(&Model::new(true), json!({"issue_type": "Fault"})).await;

    assert!(error.contains("no issue type \"Fault\"") && error.contains("Task, 故障"), "{error}");
}

#[tokio::test]
async fn all_that_jira_would_refuse_is_said_at_once() {
    for old in [false, true] {
        let model = Model::new(false);
        model.state().old = old;
        model.state().screen.retain(|(name, ..)| *name != "labels");
        for at in 0..20 {
            // More than one page.
            let name: &'static str = Box::leak(format!("customfield_{at}").into_boxed_str());
            model.state().screen.push((name, at == 19, None));
        }

        let error = wrong(
            &model,
            json!({
                "priority": {"critical": "Urgent"}, "components": ["core", "db"],
                "fields": {"customfield_77": "x"},
            }),
        )
        .await;

        for said in [
            "customfield_19 (CUSTOMFIELD_19) is required: set it under fields",
            "labels is not on the create screen",
            "customfield_77 is not on the create screen",
            "no priority \"Urgent\", but Highest, High, Low",
            "no components \"db\", but core, web",
        ] {
            assert!(error.contains(said), "{said}: {error}");
        }
    }
}

#[tokio::test]
async fn who_is_not_let_in_is_told_so() {
    let model = Model::new(false);
    model.state().authorization = "Bearer another".to_owned();

    let sent = test(&model, &json!({})).await;

    assert!(matches!(sent.outcome, Outcome::Retry { failure: Failure::Refused, .. }));
    assert!(sent.error.unwrap().contains("check auth"));
}

#[tokio::test]
async fn fields_are_filled_in_as_for_a_real_issue() {
    let model = Model::new(false);
    let settings = json!({"fields": {"description": "{{ 1 // 0 }}"}});
    let lane = Lane::new(&model, &settings).await;

    let error = crate::notify::Notifier::compose(&lane.jira, &super::message(Reason::Test, 1));

    assert!(error.unwrap_err().starts_with("fields.description: the template is wrong"));
}

#[tokio::test]
async fn what_jira_repeats_of_the_credentials_is_masked() {
    let server = Server::start(|seen| {
        let given = seen.header("authorization").unwrap_or_default();
        let (_, credential) = given.split_once(' ').unwrap();
        let said = format!("{credential} is not pass-secret");
        Reply::json(400, &json!({"errorMessages": [said]}))
    })
    .await;
    let auth = json!({"user": "ops", "password_env": "JIRA_PASSWORD"});
    let jira = jira(&server.url, &json!({"api": "datacenter", "auth": auth}));
    let message = message(Reason::Test, 1);
    let payload = jira.compose(&message).unwrap();
    let (delivery, reason) = (message.delivery, message.reason);
    let (remote, continues, now) = (None, false, START);

    let attempt = Attempt { delivery, reason, payload: &payload, remote, continues, now };
    let sent = jira.send(&attempt).await;

    assert_eq!(sent.error.as_deref(), Some("Jira says (status 400): … is not …"));
    assert!(sent.answer.contains("… is not …"), "{}", sent.answer);
}
