//! Which alerts matchers hold for: what a silence would silence.

use std::time::Duration;

use super::{
    super::{silences::alerts_matching, walk::Limits},
    *,
};
use crate::domain::matcher::{Match, Matcher};

fn class(class: &str) -> Match {
    Match::all_of(vec![Matcher::parse(&format!("class=\"{class}\"")).unwrap()])
}

#[tokio::test]
async fn looking_that_takes_too_long_ends_and_says_so() {
    let mut bench = Bench::new().await;
    let disk = Content { class: Some("disk".into()), ..content("full") };
    let flood = (0..600).map(|n| bench.trigger_input("default", &format!("k{n}"), disk.clone()));
    let flood: Vec<Input> = flood.collect();
    bench.carry_out(flood).await;
    let since = Timestamp::from_millis(START);
    let look = async |limits: Limits, matches: Match| {
        let mut connection = bench.store.readers().acquire().await.unwrap();
        alerts_matching(&mut connection, &matches, None, since, limits).await.unwrap()
    };

    let all = look(Limits::NONE, class("disk")).await;
    let some = look(Limits { rows: usize::MAX, time: Duration::ZERO }, class("disk")).await;
    let everything = look(Limits::NONE, Match::default()).await;
    let none = look(Limits::NONE, class("cpu")).await;

    assert_eq!((all.open, all.newest_open.len(), all.recent, all.complete), (600, 50, 600, true));
    assert_eq!(all.newest_open[0].dedup_key, "k599");
    assert!(!some.complete && some.open < 600 && some.recent < 600, "{some:?}");
    assert_eq!((everything.open, everything.recent), (600, 600));
    assert_eq!((none.open, none.recent, none.complete), (0, 0, true));
}
