//! One issue an incident, whatever happens to the requests that make it.

use std::time::Duration;

use serde_json::json;

use super::{
    Lane, jira, label, message,
    model::{Fault, Model},
};
use crate::{
    domain::{notify::Reason, time::Span},
    notify::{
        Attempt, Failure, Notifier as _, Outcome,
        tests::server::{Reply, Server},
    },
};

#[tokio::test]
async fn an_incident_becomes_an_issue_with_the_fields_of_the_settings() {
    let model = Model::new(false);
    let settings = json!({
        "priority": {"critical": "Highest"}, "assignee": "pacher", "labels": ["alert"],
        "components": ["core"],
    });
    let mut lane = Lane::new(&model, &settings).await;

    let sent = lane.tell(Reason::Opened).await;

    assert_eq!((sent.outcome, sent.status), (Outcome::Delivered, Some(201)));
    assert_eq!(lane.remote.as_ref().unwrap()["state"], "open");
    assert_eq!(lane.remote.as_ref().unwrap()["issue"], json!({"id": "10001", "key": "OPS-1"}));
    let state = model.state();
    let fields = &state.issues[0].fields;
    let description = fields["description"].as_str().unwrap();
    assert!(description.contains("||Source|db-1|"), "{description}");
    let mut rest = fields.clone();
    rest.as_object_mut().unwrap().remove("description");
    assert_eq!(
        rest,
        json!({
            "project": {"key": "OPS"}, "issuetype": {"name": "故障"}, "summary": "disk 97 % full",
            "priority": {"name": "Highest"}, "assignee": {"name": "pacher"},
            "components": [{"name": "core"}], "labels": ["alert", label()],
        })
    );
}

#[tokio::test]
async fn the_intent_is_stored_before_the_issue_is_made() {
    let model = Model::new(false);
    let lane = Lane::new(&model, &json!({})).await;
    let opened = message(Reason::Opened, 1);
    let payload = lane.jira.compose(&opened).unwrap();

    let sent = lane.attempt(&opened, &payload, false).await;

    assert_eq!(sent.outcome, Outcome::Continue { after: Span::ZERO });
    assert_eq!(sent.remote.unwrap()["state"], "intended");
    assert_eq!(lane.issues(), []);
}

#[tokio::test]
async fn cloud_is_told_by_its_own_names() {
    let model = Model::new(true);
    model.state().authorization = "Basic YUBleGFtcGxlLmNvbTpwYXNzLXNlY3JldA==".to_owned();
    let auth = json!({"user": "a@example.com", "password_env": "JIRA_PASSWORD"});
    let mut lane = Lane::new(&model, &json!({"auth": auth, "assignee": "5b10"})).await;
    model.state().faults.push_back(Fault::DoneThenReset);

    let sent = lane.tell(Reason::Opened).await;

    // Found by `/rest/api/3/search/jql`, the only search that it has.
    assert_eq!(sent.outcome, Outcome::Delivered);
    let fields = model.state().issues[0].fields.clone();
    assert_eq!(fields["assignee"], json!({"accountId": "5b10"}));
    assert_eq!(lane.remote.as_ref().unwrap()["api"], "cloud");
}

#[tokio::test]
async fn no_secret_is_in_what_is_shown() {
    let model = Model::new(true);
    model.state().authorization = "Basic YUBleGFtcGxlLmNvbTpwYXNzLXNlY3JldA==".to_owned();
    let auth = json!({"user": "a@example.com", "password_env": "JIRA_PASSWORD"});
    let mut lane = Lane::new(&model, &json!({"auth": auth})).await;

    let sent = lane.tell(Reason::Opened).await;

    let shown = format!("{sent:?} {:?}", lane.jira);
    assert!(shown.contains("POST"), "{shown}");
    assert!(!shown.contains("pass-secret") && !shown.contains("YUBleG"), "{shown}");
}

#[tokio::test]
async fn an_issue_whose_answer_was_lost_is_found_again() {
    for fault in [Fault::DoneThenReset, Fault::DoneThen502] {
        for lag in [0, 60, 119] {
            let model = Model::new(true);
            let mut lane = Lane::new(&model, &json!({})).await;
            model.state().faults.push_back(fault);
            model.state().lag_ms = lag * 1000;

            let sent = lane.tell(Reason::Opened).await;

            assert_eq!(sent.outcome, Outcome::Delivered, "{sent:?}");
            assert_eq!(lane.issues().len(), 1, "{fault:?} {lag}");
            lane.tell(Reason::Acknowledged).await;
            assert_eq!(model.state().issues[0].comments.len(), 1);
        }
    }
}

#[tokio::test]
async fn an_issue_that_was_never_made_is_made_after_two_searches_in_vain() {
    for fault in [Fault::Reset, Fault::Only502] {
        let model = Model::new(false);
        let mut lane = Lane::new(&model, &json!({})).await;
        model.state().faults.push_back(fault);
        let begun = lane.now();

        let sent = lane.tell(Reason::Opened).await;

        assert_eq!(sent.outcome, Outcome::Delivered);
        assert_eq!(lane.issues().len(), 1);
        assert_eq!(lane.now().since(begun), Span::from_secs(15 + 60 + 60));
    }
}

#[tokio::test]
async fn an_ambiguous_create_asks_for_time_and_says_so() {
    for (fault, failure) in
        [(Fault::Reset, Failure::Unanswered), (Fault::Only502, Failure::Unavailable)]
    {
        let model = Model::new(false);
        let mut lane = Lane::new(&model, &json!({})).await;
        let opened = message(Reason::Opened, 1);
        let payload = lane.jira.compose(&opened).unwrap();
        lane.remote = lane.attempt(&opened, &payload, false).await.remote;
        model.state().faults.push_back(fault);

        let sent = lane.attempt(&opened, &payload, true).await;

        let after = Some(Span::from_secs(75));
        assert_eq!(sent.outcome, Outcome::Retry { failure, after });
        assert!(sent.error.unwrap().contains("searched for before it is made anew"));
        let remote = sent.remote.unwrap();
        assert_eq!((&remote["state"], &remote["searches"]), (&json!("unsure"), &json!([])));
    }
}

#[tokio::test]
async fn an_intent_that_a_dead_process_left_is_not_acted_on_blindly() {
    for made in [true, false] {
        let model = Model::new(false);
        let mut lane = Lane::new(&model, &json!({})).await;
        // The second try makes the issue; either it dies behind it, or before it.
        lane.crashes = vec![if made { 2 } else { 1 }];

        lane.tell(Reason::Opened).await;

        assert_eq!(lane.issues().len(), 1, "{made}");
    }
}

#[tokio::test]
async fn what_was_certainly_not_taken_is_tried_again_at_once() {
    let model = Model::new(false);
    let mut lane = Lane::new(&model, &json!({})).await;
    model.state().faults.extend([Fault::Throttled, Fault::Throttled]);
    let begun = lane.now();

    let sent = lane.tell(Reason::Opened).await;

    assert_eq!(sent.outcome, Outcome::Delivered);
    assert_eq!(lane.now().since(begun), Span::from_secs(14), "Retry-After, and no search");
    assert_eq!(lane.issues().len(), 1);
}

#[tokio::test]
async fn nobody_there_is_no_doubt() {
    let mut lane = Lane::new(&Model::new(false), &json!({"api": "datacenter"})).await;
    let opened = message(Reason::Opened, 1);
    let payload = lane.jira.compose(&opened).unwrap();
    lane.remote = lane.attempt(&opened, &payload, false).await.remote;
    lane.jira = jira("http://127.0.0.1:1", &json!({"api": "datacenter"}));

    let sent = lane.attempt(&opened, &payload, true).await;

    let failure = Failure::Unreachable;
    assert_eq!(sent.outcome, Outcome::Retry { failure, after: None });
    assert_eq!(sent.remote.unwrap()["state"], "none");
}

#[tokio::test]
async fn a_refused_issue_is_dead_with_jiras_words() {
    let model = Model::new(false);
    model.state().screen.push(("customfield_10010", true, None));
    let mut lane = Lane::new(&model, &json!({})).await;

    let sent = lane.tell(Reason::Opened).await;

    assert_eq!(sent.outcome, Outcome::Dead { failure: Failure::Refused });
    let error = sent.error.unwrap();
    assert!(error.contains("customfield_10010 is required."), "{error}");
    assert!(error.contains("under the receiver's fields"), "{error}");

    // When that is mended, the next word on the incident makes its issue.
    lane.jira = jira(&lane.server.url, &json!({"fields": {"customfield_10010": "core"}}));
    let sent = lane.tell(Reason::Acknowledged).await;
    assert_eq!(sent.outcome, Outcome::Delivered);
    assert_eq!(model.state().issues[0].fields["customfield_10010"], "core");
}

#[tokio::test]
async fn a_field_that_is_not_on_the_screen_is_named() {
    let model = Model::new(false);
    model.state().screen.retain(|(name, ..)| *name != "assignee");
    let mut lane = Lane::new(&model, &json!({"assignee": "pacher"})).await;

    let error = lane.tell(Reason::Opened).await.error.unwrap();

    assert!(error.contains("assignee: Field 'assignee' cannot be set."), "{error}");
    assert!(error.contains("create screen"), "{error}");
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why() {
    let model = Model::new(false);
    model.state().authorization = "Bearer another".to_owned();
    let lane = Lane::new(&model, &json!({"api": "datacenter"})).await;
    let opened = message(Reason::Opened, 1);
    let payload = lane.jira.compose(&opened).unwrap();
    let intended = lane.attempt(&opened, &payload, false).await.remote;
    let attempt = async |continues| {
        let attempt = Attempt {
            delivery: opened.delivery,
            reason: opened.reason,
            payload: &payload,
            remote: intended.as_ref(),
            continues,
            now: lane.now().plus(Span::from_secs(100)),
        };
        let sent = lane.jira.send(&attempt).await;
        assert!(matches!(sent.outcome, Outcome::Retry { failure: Failure::Refused, .. }));
        sent.error.unwrap()
    };

    let unknown = attempt(true).await;
    model.state().captcha = true;
    let captcha = attempt(true).await;
    model.state().lets_nobody_look = true;
    let nobody = attempt(false).await;

    assert!(unknown.contains("does not know this user or token (status 401)"), "{unknown}");
    assert!(captcha.contains("CAPTCHA") && captcha.contains("login.jsp"), "{captcha}");
    assert!(nobody.contains("takes the gateway for nobody"), "{nobody}");
}

#[tokio::test]
async fn what_is_not_jira_is_said_to_be_not_jira() {
    let page = Reply::status(200).with_header("content-type", "text/html");
    let server = Server::start(move |_| page.clone()).await;
    let opened = message(Reason::Opened, 1);
    let jira = jira(&server.url, &json!({}));
    let payload = jira.compose(&opened).unwrap();
    let attempt = Attempt {
        delivery: opened.delivery,
        reason: opened.reason,
        payload: &payload,
        remote: None,
        continues: false,
        now: opened.at,
    };

    let sent = jira.send(&attempt).await;

    assert!(matches!(sent.outcome, Outcome::Retry { failure: Failure::Refused, .. }));
    assert!(sent.error.unwrap().contains("url is the address of Jira itself"));
}

#[tokio::test]
async fn a_jira_that_never_answers_takes_a_bounded_time() {
    let server = Server::start(|_| Reply::Hang).await;
    let opened = message(Reason::Opened, 1);
    let mut jira = jira(&server.url, &json!({"api": "cloud"}));
    let short = Duration::from_millis(50);
    jira.site.patience = super::super::talk::Patience { reads: short, whole: short };
    let payload = jira.compose(&opened).unwrap();
    let mut attempt = Attempt {
        delivery: opened.delivery,
        reason: opened.reason,
        payload: &payload,
        remote: None,
        continues: false,
        now: opened.at,
    };

    let intended = jira.send(&attempt).await.remote;
    attempt.remote = intended.as_ref();
    attempt.continues = true;
    let written = jira.send(&attempt).await;
    attempt.continues = false;
    attempt.now = opened.at.plus(Span::from_secs(75));
    let read = jira.send(&attempt).await;

    let after = Some(Span::from_secs(75));
    let unanswered = Outcome::Retry { failure: Failure::Unanswered, after };
    assert_eq!(written.outcome, unanswered);
    // Nothing can have arrived by a read.
    let unreachable = Outcome::Retry { failure: Failure::Unreachable, after: None };
    assert_eq!(read.outcome, unreachable);
    assert!(!read.error.unwrap().contains("arrived"));
}
