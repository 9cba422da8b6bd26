//! What holds of the outbox whatever happens, read off what receivers took in.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    bench::Bench,
    receivers::{Try, Weather},
};
use crate::{
    domain::{
        delivery::{Each, Lane, NewDelivery, Revision},
        id::DeliveryId,
        notify::{HoldingState, Reason},
        tests::gateway::Gateway,
    },
    notify::Outcome,
    store::{
        outbox::{DeliveryFilter, DeliveryState, Outbox as _},
        query::views::DeliveryView,
    },
};

/// What a receiver is to know of at the time, once everything is through.
#[derive(Debug)]
pub(super) struct Known {
    revision: Revision,
    key: String,
    lane: i64,
}

/// Of whom it was decided that they know of something that is not resolved for them.
pub(super) fn known(gateway: &Gateway) -> Vec<Known> {
    let state = &gateway.world.state;
    let mut all = Vec::new();
    for incident in state.incidents.values() {
        let told = incident.notices.holdings.iter();
        let told = told.filter(|h| h.state == HoldingState::Told && !h.pending.reopened);
        let whole = |r: &Revision| r.each == Each::Incident;
        for revision in told.filter_map(|holding| holding.revision).filter(whole) {
            let lane = Lane::Incident(incident.id).number(revision.receiver);
            all.push(Known { revision, key: incident.id.to_string(), lane });
        }
    }
    for alert in state.alerts.values() {
        for told in &alert.standing.told {
            let revision = told.revision;
            let (key, lane) = match revision.each {
                Each::Key => (alert.dedup_key.as_str().to_owned(), Lane::Key(&alert.dedup_key)),
                Each::Alert | Each::Incident => (alert.id.to_string(), Lane::Alert(alert.id)),
            };
            all.push(Known { revision, key, lane: lane.number(revision.receiver) });
        }
    }
    all
}

/// Everything that can be said once nothing waits any more.
#[derive(Debug)]
pub(super) struct Laws<'b> {
    bench: &'b Bench,
    shown: BTreeMap<DeliveryId, DeliveryView>,
    lanes: BTreeMap<i64, Vec<NewDelivery>>,
    tries: BTreeMap<i64, Vec<Try>>,
    /// In which somebody retried by hand.
    retried: &'b BTreeSet<DeliveryId>,
}

impl Try {
    fn is_doubtful(&self) -> bool {
        match self.outcome {
            Outcome::Retry { failure, .. } | Outcome::Dead { failure } => {
                failure.may_have_arrived()
            }
            Outcome::Continue { .. } => true,
            Outcome::Delivered => false,
        }
    }
}

fn error(of: &DeliveryView) -> &str {
    of.error.as_deref().unwrap_or_default()
}

impl<'b> Laws<'b> {
    pub(super) async fn of(bench: &'b Bench, retried: &'b BTreeSet<DeliveryId>) -> Self {
        let shown = bench.all(&DeliveryFilter::default()).await;
        let shown: BTreeMap<_, _> = shown.into_iter().map(|d| (d.id, d)).collect();
        let mut lanes: BTreeMap<i64, Vec<NewDelivery>> = BTreeMap::new();
        let mut lane_of = BTreeMap::new();
        for owed in &bench.owed {
            lane_of.insert(owed.id, owed.lane);
            lanes.entry(owed.lane).or_default().push(owed.clone());
        }
        let mut tries: BTreeMap<i64, Vec<Try>> = BTreeMap::new();
        for tried in bench.receivers.tries() {
            tries.entry(lane_of[&tried.delivery]).or_default().push(tried);
        }
        assert_eq!(shown.len(), bench.owed.len(), "every delivery is kept");
        Self { bench, shown, lanes, tries, retried }
    }

    fn is_retried(&self, lane: i64) -> bool {
        self.lanes[&lane].iter().any(|owed| self.retried.contains(&owed.id))
    }

    /// Whether something of a lane died that was to be sent.
    fn has_dead(&self, lane: i64, resolves_only: bool) -> bool {
        let Some(owed) = self.lanes.get(&lane) else { return false };
        let wanted = |owed: &&NewDelivery| !resolves_only || owed.reason == Reason::Resolved;
        owed.iter().filter(wanted).any(|owed| {
            let shown = &self.shown[&owed.id];
            shown.state == DeliveryState::Dead && !error(shown).contains("never told")
        })
    }

    pub(super) fn assert(&self) {
        self.everything_comes_to_its_end();
        for (lane, owed) in &self.lanes {
            let none = Vec::new();
            let tries = self.tries.get(lane).unwrap_or(&none);
            self.folding_spares_what_matters(owed);
            self.bodies_stay(owed, tries);
            if !self.is_retried(*lane) {
                self.order_is_kept(owed, tries);
                self.nothing_is_sent_twice(owed, tries);
                self.never_told_is_true(owed, tries);
            }
        }
        assert_eq!(self.bench.told, self.bench.gateway.world.state.notifications);
        assert_eq!(self.bench.owed, self.bench.gateway.world.state.deliveries);
    }

    /// At least once: delivered or dead, and what is delivered was taken in or folded.
    fn everything_comes_to_its_end(&self) {
        let arrived: BTreeSet<DeliveryId> = self
            .tries
            .values()
            .flatten()
            .filter(|a| a.outcome == Outcome::Delivered)
            .map(|a| a.delivery)
            .collect();
        for shown in self.shown.values() {
            match shown.state {
                DeliveryState::Delivered if error(shown).starts_with("folded into ") => {}
                DeliveryState::Delivered => assert!(arrived.contains(&shown.id), "{shown:?}"),
                DeliveryState::Dead => assert!(shown.error.is_some(), "{shown:?}"),
                DeliveryState::Pending | DeliveryState::Leased => panic!("it waits: {shown:?}"),
            }
            assert_eq!(shown.next_attempt_at, None, "{shown:?}");
        }
    }

    fn folding_spares_what_matters(&self, owed: &[NewDelivery]) {
        for (at, folded) in owed.iter().enumerate() {
            let Some(into) = error(&self.shown[&folded.id]).strip_prefix("folded into ") else {
                continue;
            };
            let later = owed[at + 1..].iter().position(|o| o.id.to_string() == into);
            let between = &owed[at..=at + 1 + later.expect("into a later one of its lane")];
            // What was at an end already when one before it was retried is between, and not skipped.
            let waited = |o: &&NewDelivery| !self.is_retried(o.lane) || o.id == folded.id;
            let last = between.last().map(|owed| owed.id);
            for owed in between.iter().filter(waited) {
                let update = matches!(
                    owed.reason,
                    Reason::AlertsAdded | Reason::SeverityRaised | Reason::Repeat
                );
                let end = owed.reason == Reason::Resolved && Some(owed.id) == last;
                assert!(update || end, "{} was folded, or skipped by it", owed.reason);
            }
        }
    }

    /// What may have arrived is sent as it was.
    fn bodies_stay(&self, owed: &[NewDelivery], tries: &[Try]) {
        for owed in owed.iter().filter(|o| !self.bench.cut_off.contains(&o.id)) {
            let mut frozen = None;
            for tried in tries.iter().filter(|a| a.delivery == owed.id) {
                if let Some(frozen) = frozen {
                    assert_eq!(&tried.payload, frozen, "same id, same body");
                }
                let failed = matches!(tried.outcome, Outcome::Retry { .. });
                if failed && tried.is_doubtful() {
                    frozen = Some(&tried.payload);
                }
            }
        }
    }

    fn order_is_kept(&self, owed: &[NewDelivery], tries: &[Try]) {
        let arrived = tries.iter().filter(|a| a.arrived).map(|a| (a.delivery.seq(), a.reason));
        let arrived: Vec<_> = arrived.collect();
        assert!(arrived.is_sorted_by_key(|(seq, _)| *seq), "{arrived:?}");
        let mut may_know = false;
        for tried in tries {
            if tried.reason == Reason::Resolved && tried.arrived {
                // What was leased when the process died may have been sent.
                let mut before = owed.iter().filter(|o| o.id.seq() < tried.delivery.seq());
                let is_cut_off = before.any(|o| self.bench.cut_off.contains(&o.id));
                assert!(may_know || is_cut_off, "a resolve of what it was not told of: {tries:?}");
            }
            may_know |= tried.arrived || tried.is_doubtful();
        }
    }

    /// Never two for one, but after no answer, a 5xx or a crash.
    fn nothing_is_sent_twice(&self, owed: &[NewDelivery], tries: &[Try]) {
        for owed in owed.iter().filter(|o| !self.bench.cut_off.contains(&o.id)) {
            let of_it: Vec<&Try> = tries.iter().filter(|a| a.delivery == owed.id).collect();
            let done = of_it.iter().position(|a| a.outcome == Outcome::Delivered);
            assert!(done.is_none_or(|at| at + 1 == of_it.len()), "sent again: {of_it:?}");
            let attempts = usize::try_from(self.shown[&owed.id].attempts).unwrap();
            assert!(attempts >= of_it.len(), "a try is not written down: {of_it:?}");
        }
    }

    /// A resolve is only kept back if everything before it was refused for certain.
    fn never_told_is_true(&self, owed: &[NewDelivery], tries: &[Try]) {
        for resolve in owed.iter().filter(|o| error(&self.shown[&o.id]).contains("never told")) {
            assert_eq!(resolve.reason, Reason::Resolved);
            let mut may_know = false;
            for tried in tries.iter().filter(|a| a.delivery.seq() < resolve.id.seq()) {
                let resolved = tried.reason == Reason::Resolved;
                may_know |= !resolved && (tried.arrived || tried.is_doubtful());
                may_know &= !(resolved && tried.outcome == Outcome::Delivered);
            }
            assert!(!may_know, "it was told: {tries:?}");
        }
    }

    /// Whoever took a trigger in, and whose resolve was not refused for good, holds it no more.
    pub(super) fn assert_nothing_is_open(&self) {
        for end in &self.bench.receivers.world().open {
            assert!(self.is_excused(end, true), "{end:?} is open for ever: {:#?}", self.story(end));
        }
    }

    /// Receivers hold open what they were told of and what is not resolved for them: no more, no
    /// less.
    pub(super) async fn assert_known(&self, known: &[Known]) {
        let open = self.bench.receivers.world().open.clone();
        let mut expected = BTreeSet::new();
        for known in known {
            let (receiver, version) = (known.revision.receiver.seq(), known.revision.version);
            let found = self.bench.store().revision(receiver, version).await.unwrap().unwrap();
            let url = found.settings["url"].as_str().unwrap().to_owned();
            let end = (url, known.key.clone());
            if !self.has_dead(known.lane, false) {
                assert!(open.contains(&end), "{end:?} is not known: {:#?}", self.story(&end));
            }
            expected.insert(end);
        }
        for end in open.difference(&expected) {
            assert!(self.is_excused(end, true), "{end:?} is open: {:#?}", self.story(end));
        }
    }

    /// What came about, for a tally.
    pub(super) fn words(&self) -> Vec<&'static str> {
        let word = |shown: &DeliveryView| match (shown.state, error(shown)) {
            (_, error) if error.starts_with("folded") => "folded",
            (_, error) if error.starts_with("never told") => "never told",
            (DeliveryState::Dead, _) => "dead",
            _ if shown.attempts > 1 => "tried again",
            _ => "delivered",
        };
        self.shown.values().map(word).collect()
    }

    fn is_excused(&self, end: &(String, String), resolves_only: bool) -> bool {
        let of_end = |tries: &Vec<Try>| tries.iter().any(|a| a.end == *end);
        let mut lanes = self.tries.iter().filter(|(_, tries)| of_end(tries));
        lanes.any(|(lane, _)| self.has_dead(*lane, resolves_only))
    }

    /// All that was tried there, to be read when something is wrong.
    fn story(&self, end: &(String, String)) -> Vec<String> {
        let tries = self.tries.values().flatten().filter(|a| a.end == *end);
        let text = |a: &Try| format!("{} {} {:?} {}", a.delivery.seq(), a.reason, a.outcome, a.at);
        let mut story: Vec<String> = tries.map(text).collect();
        story.extend(self.shown.values().map(|d| {
            format!("{} {} {} {} {}", d.id.seq(), d.receiver, d.reason, d.state, error(d))
        }));
        story
    }
}

/// Every kind of weather but those that are made for one test.
pub(super) fn usual_weather() -> Vec<Weather> {
    use crate::domain::time::Span;
    vec![
        Weather::Fine,
        Weather::Erratic,
        Weather::Erratic,
        Weather::Erratic,
        Weather::Unreachable,
        Weather::Unreachable,
        Weather::Unanswered { arrives: true },
        Weather::Unanswered { arrives: false },
        Weather::Broken { arrives: true },
        Weather::Broken { arrives: false },
        Weather::Throttles(None),
        Weather::Throttles(Some(Span::from_secs(90))),
        Weather::Busy(Span::from_secs(45)),
        Weather::Slow(2, Span::ZERO),
        Weather::Slow(1, Span::from_secs(60)),
        Weather::Refuses,
        Weather::RefusesNews,
    ]
}
