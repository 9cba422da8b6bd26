//! What becomes of an issue: comments, its end, its return, and what people do to it meanwhile.

use serde_json::json;

use super::{
    Lane, label,
    model::{Fault, Model},
};
use crate::{
    domain::{notify::Reason, time::Span},
    notify::{Failure, Outcome, Sent},
};

const DAY: Span = Span::from_secs(86_400);

/// A lane whose incident has its issue.
async fn opened(model: &Model, settings: &serde_json::Value) -> Lane {
    let mut lane = Lane::new(model, settings).await;
    let sent = lane.tell(Reason::Opened).await;
    assert_eq!(sent.outcome, Outcome::Delivered, "{sent:?}");
    lane
}

fn assert_delivered(sent: &Sent, answer: &str) {
    assert_eq!(sent.outcome, Outcome::Delivered, "{sent:?}");
    assert!(sent.answer.contains(answer), "{sent:?}");
}

#[tokio::test]
async fn what_matters_is_commented() {
    let model = Model::new(false);
    let mut lane = opened(&model, &json!({})).await;
    let reasons = [
        (Reason::SeverityRaised, "*Severity raised to critical.*"),
        (Reason::Storm, "*Storm:* 1 alerts by now."),
        (Reason::Acknowledged, "*Acknowledged.*"),
        (Reason::AlertsAdded, "*More alerts.*"),
        (Reason::Flapping, "*Flapping:*"),
        (Reason::Repeat, "*Still open* after 7 min"),
    ];

    for (reason, said) in reasons {
        let sent = lane.tell(reason).await;

        assert_delivered(&sent, "Commented on OPS-1.");
        let comment = model.state().issues[0].comments[0].clone();
        assert!(comment.starts_with(said), "{comment}");
        assert!(comment.contains("[Incident #42|https://duty.example.com/incidents/"), "{comment}");
    }
    assert_eq!(lane.issues(), [("OPS-1".to_owned(), "To Do")]);
}

#[tokio::test]
async fn a_comment_whose_answer_was_lost_is_not_written_twice() {
    for (fault, comments) in [(Fault::DoneThenReset, 1), (Fault::DoneThen502, 1), (Fault::Reset, 1)]
    {
        let model = Model::new(false);
        let mut lane = opened(&model, &json!({})).await;
        model.state().faults.push_back(fault);

        let sent = lane.tell(Reason::Storm).await;

        assert_eq!(sent.outcome, Outcome::Delivered);
        assert_eq!(model.state().issues[0].comments.len(), comments, "{fault:?}");
    }
}

#[tokio::test]
async fn the_end_says_how_long_it_took_and_closes_the_issue() {
    let model = Model::new(false);
    let mut lane = opened(&model, &json!({})).await;

    let sent = lane.tell(Reason::Resolved).await;

    assert_delivered(&sent, "OPS-1 is closed.");
    let comment = model.state().issues[0].comments[0].clone();
    assert!(comment.starts_with("*Resolved* after 2 min."), "{comment}");
    // Not "Won't do", which its workflow names first.
    assert_eq!(lane.issues(), [("OPS-1".to_owned(), "Done")]);
    assert_eq!(lane.remote.as_ref().unwrap()["closed_by_us"], true);
}

#[tokio::test]
async fn a_transition_is_taken_by_its_name_or_by_where_it_leads() {
    for name in ["won't do", "Rejected"] {
        let model = Model::new(false);
        let mut lane = opened(&model, &json!({"transitions": {"resolve": name}})).await;

        lane.tell(Reason::Resolved).await;

        assert_eq!(lane.issues(), [("OPS-1".to_owned(), "Rejected")]);
    }
}

#[tokio::test]
async fn a_transition_that_is_missing_is_dead_and_names_those_there_are() {
    for (settings, wanted) in [
        (json!({"transitions": {"resolve": "Ship it"}}), "no transition \"Ship it\""),
        (json!({}), "no transition to a status that means done"),
    ] {
        let model = Model::new(false);
        model.state().transitions.retain(|transition| transition.category != "done");
        let mut lane = opened(&model, &settings).await;

        let sent = lane.tell(Reason::Resolved).await;

        assert_eq!(sent.outcome, Outcome::Dead { failure: Failure::Refused });
        let error = sent.error.unwrap();
        assert!(error.contains(wanted), "{error}");
        assert!(error.contains("\"Start\" (to \"In Progress\")"), "{error}");
        assert_eq!(model.state().issues[0].comments.len(), 1, "people read that it is over");
    }
}

#[tokio::test]
async fn a_resolution_is_given_where_the_transition_asks_for_one() {
    let model = Model::new(false);
    model.state().transitions[3].resolutions = vec!["Won't Fix", "Fixed"];
    let mut lane = opened(&model, &json!({})).await;

    assert_delivered(&lane.tell(Reason::Resolved).await, "OPS-1 is closed.");

    assert_eq!(model.state().resolutions, ["Fixed"]);
}

#[tokio::test]
async fn a_transition_whose_answer_was_lost_is_ours_all_the_same() {
    let model = Model::new(false);
    let mut lane = opened(&model, &json!({})).await;
    model.state().faults.extend([Fault::No, Fault::DoneThenReset]);

    lane.tell(Reason::Resolved).await;

    assert_eq!(lane.remote.as_ref().unwrap()["closed_by_us"], true);
    assert_eq!(model.state().issues[0].comments.len(), 1);
}

#[tokio::test]
async fn an_issue_that_a_person_closed_is_left_alone() {
    let model = Model::new(false);
    let mut lane = opened(&model, &json!({})).await;
    model.state().issues[0].status = "Done";

    lane.tell(Reason::AlertsAdded).await;
    let sent = lane.tell(Reason::Resolved).await;

    assert_delivered(&sent, "OPS-1 is closed already.");
    assert_eq!(model.state().issues[0].comments.len(), 1, "the update, and nothing on its end");

    // It is back: that is news, and theirs stays closed.
    lane.tell(Reason::Reopened).await;
    let both = [("OPS-1".to_owned(), "Done"), ("OPS-2".to_owned(), "To Do")];
    assert_eq!(lane.issues(), both);
    assert_eq!(model.state().links, [("OPS-2".to_owned(), "OPS-1".to_owned())]);
}

#[tokio::test]
async fn what_comes_back_soon_is_opened_again() {
    let model = Model::new(false);
    let mut lane = opened(&model, &json!({})).await;
    lane.tell(Reason::Resolved).await;
    lane.pass(DAY);

    let sent = lane.tell(Reason::Reopened).await;

    assert_delivered(&sent, "OPS-1 is open again.");
    assert_eq!(lane.issues(), [("OPS-1".to_owned(), "To Do")]);
    let comment = model.state().issues[0].comments[0].clone();
    assert!(comment.starts_with("*Triggered again:*"), "{comment}");

    lane.tell(Reason::Resolved).await;
    assert_eq!(lane.issues(), [("OPS-1".to_owned(), "Done")]);
}

#[tokio::test]
async fn what_comes_back_late_gets_another_issue_that_is_linked() {
    for settings in [json!({}), json!({"reopen_within": "0s"})] {
        let model = Model::new(false);
        let mut lane = opened(&model, &settings).await;
        lane.tell(Reason::Resolved).await;
        if settings == json!({}) {
            for _ in 0..8 {
                lane.pass(DAY);
            }
        }
        // The second issue has a label of its own, so that it is not taken for the first.
        model.state().faults.push_back(Fault::DoneThenReset);

        assert_delivered(&lane.tell(Reason::Reopened).await, "Linked OPS-2 with OPS-1.");

        let both = [("OPS-1".to_owned(), "Done"), ("OPS-2".to_owned(), "To Do")];
        assert_eq!(lane.issues(), both);
        let fields = model.state().issues[1].fields.clone();
        assert_eq!(fields["labels"], json!([label(), format!("{}-2", label())]));
        let description = fields["description"].as_str().unwrap();
        assert!(description.starts_with("Follows OPS-1.\n\n"), "{description}");

        lane.tell(Reason::Resolved).await;
        assert_eq!(lane.issues()[1].1, "Done");
    }
}

#[tokio::test]
async fn a_workflow_without_a_way_back_gets_another_issue() {
    let model = Model::new(false);
    model.state().transitions.retain(|transition| transition.category == "done");
    let mut lane = opened(&model, &json!({})).await;
    lane.tell(Reason::Resolved).await;

    lane.tell(Reason::Reopened).await;

    assert_eq!(lane.issues().len(), 2);
}

#[tokio::test]
async fn a_way_back_that_is_named_and_missing_is_dead_and_makes_no_second_issue() {
    let model = Model::new(false);
    let mut lane = opened(&model, &json!({"transitions": {"reopen": "Wake up"}})).await;
    lane.tell(Reason::Resolved).await;

    let sent = lane.tell(Reason::Reopened).await;

    assert_eq!(sent.outcome, Outcome::Dead { failure: Failure::Refused });
    let error = sent.error.unwrap();
    assert!(error.contains("OPS-1 has no transition \"Wake up\""), "{error}");
    assert!(error.contains("\"Reopen\" (to \"To Do\")"), "{error}");
    assert!(error.contains("set transitions.reopen"), "{error}");
    assert_eq!(lane.issues(), [("OPS-1".to_owned(), "Done")]);
    let comment = model.state().issues[0].comments[0].clone();
    assert!(comment.starts_with("*Triggered again:*"), "people read that it is back: {comment}");
}

#[tokio::test]
async fn an_issue_that_a_person_has_opened_again_is_commented() {
    let model = Model::new(false);
    let mut lane = opened(&model, &json!({})).await;
    lane.tell(Reason::Resolved).await;
    model.state().issues[0].status = "In Progress";

    assert_delivered(&lane.tell(Reason::Reopened).await, "OPS-1 is open.");

    assert_eq!(lane.issues(), [("OPS-1".to_owned(), "In Progress")]);
    assert_eq!(model.state().issues[0].comments.len(), 2);
}

#[tokio::test]
async fn a_deleted_issue_is_made_anew_only_for_trouble_that_grows() {
    let model = Model::new(false);
    let mut lane = opened(&model, &json!({})).await;
    model.state().issues[0].deleted = true;

    assert_delivered(&lane.tell(Reason::AlertsAdded).await, "OPS-1 is gone");
    assert_delivered(&lane.tell(Reason::Repeat).await, "OPS-1 is gone");
    assert_eq!(lane.issues().len(), 1);

    assert_delivered(&lane.tell(Reason::SeverityRaised).await, "OPS-2 is the issue");
    model.state().issues[1].deleted = true;
    assert_delivered(&lane.tell(Reason::Resolved).await, "OPS-2 is gone");
    assert_eq!(lane.issues().len(), 2);
}

#[tokio::test]
async fn an_end_without_an_issue_makes_none() {
    let model = Model::new(false);
    let mut lane = Lane::new(&model, &json!({})).await;
    assert_delivered(&lane.tell(Reason::Resolved).await, "There is no issue to close.");

    // Here the trigger may have arrived, and is given up on: the end looks for what it made.
    let mut lane = Lane::new(&model, &json!({})).await;
    lane.remote = Some(json!({
        "site": lane.server.url.trim_start_matches("http://"), "state": "intended", "by": super::message(Reason::Opened, 9).delivery, "at": super::START,
    }));
    assert_delivered(&lane.tell(Reason::Resolved).await, "No issue was ever made.");
    assert_eq!(lane.issues(), []);
}

#[tokio::test]
async fn the_end_closes_an_issue_that_a_dead_delivery_has_made() {
    let model = Model::new(false);
    let mut lane = opened(&model, &json!({})).await;
    lane.remote = Some(json!({
        "site": lane.server.url.trim_start_matches("http://"), "state": "unsure", "by": super::message(Reason::Opened, 9).delivery, "at": super::START,
    }));

    assert_delivered(&lane.tell(Reason::Resolved).await, "OPS-1 is closed.");

    assert_eq!(lane.issues(), [("OPS-1".to_owned(), "Done")]);
}

#[tokio::test]
async fn an_issue_of_another_jira_is_not_taken_for_one_of_this() {
    let mut lane = opened(&Model::new(false), &json!({})).await;
    let remote = lane.remote.take();
    let model = Model::new(false);
    lane = Lane { remote, count: 1, ..Lane::new(&model, &json!({})).await };

    assert_delivered(&lane.tell(Reason::SeverityRaised).await, "OPS-1 is the issue");

    assert_eq!(model.state().issues[0].comments, [""; 0]);
}

#[tokio::test]
async fn what_was_kept_and_cannot_be_read_is_found_by_its_label() {
    let model = Model::new(false);
    let mut lane = opened(&model, &json!({})).await;
    lane.remote = Some(json!({"state": "of a later version"}));

    assert_delivered(&lane.tell(Reason::Resolved).await, "OPS-1 is closed.");
}
