//! Many events: paced, several at a time, and a summary at the end.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    Load,
    event::Template,
    post::{Posted, Poster},
};
use crate::cli::ui::{self, Failure};

pub(super) async fn run(poster: &Poster, template: &Template, load: &Load) -> Result<(), Failure> {
    // Built once before, so that a fault in the flags is told before anything is sent.
    template.body(1)?;
    let bar = ProgressBar::new(load.count).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} eta {eta}{msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let tally = RefCell::new(Tally::default());
    let next = Cell::new(0);
    let begun = Instant::now();
    let worker = || async {
        loop {
            let index = next.get();
            if index >= load.count {
                return;
            }
            next.set(index + 1);
            if let Some(due) = load.rate.and_then(|rate| due(begun, index, rate.0)) {
                tokio::time::sleep_until(due.into()).await;
            }
            let Ok(body) = template.body(index + 1) else { return };
            let posted = poster.post(body).await;
            tally.borrow_mut().add(posted);
            bar.inc(1);
        }
    };
    tokio::select! {
        _ = join_all((0..load.concurrency).map(|_| worker())) => {}
        _ = tokio::signal::ctrl_c() => ui::note("interrupted"),
    }
    bar.finish_and_clear();
    let mut tally = tally.into_inner();
    ui::out(tally.summary(begun.elapsed()))?;
    tally.verdict(load.count)
}

/// When the event of this index may go; nothing if that is further off than an `Instant` can be.
fn due(begun: Instant, index: u64, rate: f64) -> Option<Instant> {
    #[expect(clippy::cast_precision_loss, reason = "at most ten million, which f64 holds exactly")]
    let seconds = index as f64 / rate;
    Duration::try_from_secs_f64(seconds).ok().and_then(|after| begun.checked_add(after))
}

/// What became of all of them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    accepted: u64,
    rejected: u64,
    failed: u64,
    retried: u64,
    latencies: Vec<Duration>,
    /// The first answer or error that was not what one hopes for.
    first_problem: Option<String>,
}

impl Tally {
    pub(super) fn add(&mut self, posted: Posted) {
        self.retried += u64::from(posted.retried);
        match posted.outcome {
            Ok(reply) => {
                self.latencies.push(posted.latency);
                if reply.status.is_success() {
                    self.accepted += 1;
                } else {
                    self.rejected += 1;
                    self.first_problem
                        .get_or_insert_with(|| format!("{}\n{}", reply.status, reply.shown()));
                }
            }
            Err(error) => {
                self.failed += 1;
                self.first_problem.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }

    pub(super) fn summary(&mut self, elapsed: Duration) -> String {
        self.latencies.sort_unstable();
        let Self { accepted, rejected, failed, retried, .. } = self;
        let seconds = elapsed.as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
        let rate = (*accepted + *rejected) as f64 / seconds;
        let mut lines = vec![format!(
            "accepted {accepted}, rejected {rejected}, failed {failed}, retried {retried} \
             in {seconds:.1} s ({rate:.0} events/s)"
        )];
        if let (Some(p50), Some(p99)) = (self.percentile(50), self.percentile(99)) {
            let millis = |it: Duration| it.as_secs_f64() * 1000.0;
            lines.push(format!("latency p50 {:.1} ms, p99 {:.1} ms", millis(p50), millis(p99)));
        }
        if let Some(problem) = &self.first_problem {
            lines.push(format!("the first that was not accepted: {problem}"));
        }
        lines.join("\n")
    }

    /// The nearest rank of the sorted latencies.
    fn percentile(&self, percent: usize) -> Option<Duration> {
        let rank = (self.latencies.len() * percent).div_ceil(100);
        self.latencies.get(rank.saturating_sub(1)).copied()
    }

    fn verdict(&self, count: u64) -> Result<(), Failure> {
        match count - self.accepted {
            0 => Ok(()),
            missing => Err(anyhow::anyhow!("{missing} of {count} events were not accepted").into()),
        }
    }
}
