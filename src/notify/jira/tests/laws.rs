//! Laws over random histories: lost answers, refusals, dying processes, a lagging search.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::{
    Lane,
    model::{Fault, Model},
};
use crate::{
    domain::notify::Reason,
    notify::{Outcome, http::Http},
};

/// What a history is: the reasons between the opening and the end, what happens to each write, the
/// tries after which the process dies, and how many seconds the search lags.
#[derive(Clone, Debug)]
struct History {
    cloud: bool,
    reasons: Vec<Reason>,
    faults: Vec<Fault>,
    crashes: Vec<usize>,
    lag: i64,
}

fn histories(crashes: usize) -> impl Strategy<Value = History> {
    let reasons = vec(
        select(vec![
            Reason::SeverityRaised,
            Reason::Acknowledged,
            Reason::Resolved,
            Reason::Reopened,
        ]),
        0..5,
    );
    let faults = vec(
        prop_oneof![
            2 => Just(Fault::No),
            1 => select(vec![
                Fault::DoneThenReset, Fault::Reset, Fault::DoneThen502, Fault::Only502,
                Fault::Throttled,
            ]),
        ],
        0..12,
    );
    (any::<bool>(), reasons, faults, vec(1..30_usize, 0..=crashes), 0..120_i64).prop_map(
        |(cloud, reasons, faults, crashes, lag)| History { cloud, reasons, faults, crashes, lag },
    )
}

thread_local! {
    /// One for all histories: a client takes longer to make than a history to live through.
    static WORLD: (Runtime, Http) =
        (Builder::new_current_thread().enable_all().build().unwrap(), super::http());
}

/// Lives through it. Returns the lane and the model as they are then.
fn live(history: &History) -> (Lane, Model) {
    WORLD.with(|(runtime, http)| {
        runtime.block_on(async {
            let model = Model::new(history.cloud);
            let mut lane = Lane::by(&model, &json!({}), http).await;
            model.state().faults.extend(&history.faults);
            model.state().lag_ms = history.lag * 1000;
            lane.crashes.clone_from(&history.crashes);
            let between = history.reasons.iter().copied();
            for reason in [Reason::Opened].into_iter().chain(between).chain([Reason::Resolved]) {
                let sent = lane.tell(reason).await;
                assert_eq!(sent.outcome, Outcome::Delivered, "{reason}: {sent:?}");
            }
            (lane, model)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn one_incident_never_gets_two_issues_and_its_end_closes_it(history in histories(3)) {
        let (lane, _) = live(&history);

        prop_assert_eq!(lane.issues(), [("OPS-1".to_owned(), "Done")]);
    }

    #[test]
    fn nothing_is_said_twice_unless_the_process_dies(history in histories(0)) {
        let (_, model) = live(&history);

        let comments = model.state().issues[0].comments.clone();
        let mut different = comments.clone();
        different.sort();
        different.dedup();
        prop_assert_eq!(different.len(), comments.len());
    }
}
