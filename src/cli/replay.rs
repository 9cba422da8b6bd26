//! `dutygate replay`: what stored events would have become under another policy.

use std::{io::IsTerminal as _, path::PathBuf, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::{
    apply,
    gateway::{Gateway, refused},
    ui::{self, Failure, OrNext as _},
};

const EXAMPLES: &str = "\
Examples:
  dutygate replay --policy policy.yaml
  dutygate replay --policy policy.yaml --since 30d --service payments

Both policies start cold, a day before the time that counts. Nothing is written.";

/// A million events take a gateway with one core some ten seconds for each policy.
const PATIENCE: Duration = Duration::from_hours(1);

/// Run stored events through a candidate policy, beside today's
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Replay {
    /// The candidate policy file (YAML)
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// How far back
    #[arg(long, value_name = "DURATION", default_value = "7d")]
    since: String,
    /// Only the events of this service
    #[arg(long, value_name = "NAME|ID")]
    service: Option<String>,
    #[command(flatten)]
    gateway: Gateway,
}

/// One line of the answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Progress { done: u64, of: u64 },
    Result(Box<Outcome>),
    Error(String),
}

#[derive(Debug, Deserialize)]
struct Outcome {
    since: String,
    until: String,
    skipped: u64,
    today: Totals,
    candidate: Totals,
    services: Vec<OfService>,
}

#[derive(Debug, Deserialize)]
struct OfService {
    service: String,
    today: Totals,
    candidate: Totals,
}

#[derive(Debug, Deserialize)]
struct Totals {
    events: u64,
    alerts: u64,
    incidents: u64,
    notifications: u64,
    noise_reduction_pct: Option<f64>,
}

impl Replay {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let policy = std::fs::read_to_string(&self.policy)
            .map_err(|error| anyhow::anyhow!("cannot read {}: {error}", self.policy.display()))?;
        let api = self.gateway.open_for(PATIENCE)?;
        let body = json!({"policy": policy, "since": self.since, "service": self.service});
        let mut answer = api.stream(Method::POST, "/api/v1/policy/replay", &body).await?;
        let status = answer.status();
        if status != StatusCode::OK {
            let body = answer.text().await.unwrap_or_default();
            return Err(apply::refused_policy(status, &self.policy, &body)
                .unwrap_or_else(|| refused(status, &body)));
        }
        let bar = progress_bar();
        let mut buffer = Vec::new();
        let mut outcome = None;
        let broken = || "the gateway ended the answer early; its log says why";
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|error| anyhow::Error::new(error.without_url()))
            .or_next(broken())?
        {
            buffer.extend_from_slice(&chunk);
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                match serde_json::from_slice(&line) {
                    Ok(Line::Progress { done, of }) => {
                        bar.set_length(of);
                        bar.set_position(done);
                    }
                    Ok(Line::Result(result)) => outcome = Some(result),
                    Ok(Line::Error(what)) => return Err(anyhow::anyhow!("{what}").into()),
                    Err(_) => {
                        let what = "the answer is not that of a gateway; is the URL right?";
                        return Err(anyhow::anyhow!(what).into());
                    }
                }
            }
        }
        bar.finish_and_clear();
        let outcome =
            outcome.ok_or_else(|| Failure::new(anyhow::anyhow!("no result"), broken()))?;
        ui::out(shown(&outcome))?;
        ui::note(format_args!(
            "next: `dutygate apply --policy {} --dry-run` shows what it changes",
            self.policy.display()
        ));
        Ok(())
    }
}

fn progress_bar() -> ProgressBar {
    // Nobody looks at a bar in a file.
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} events, {eta} left");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn shown(outcome: &Outcome) -> String {
    let mut rows = Vec::new();
    let mut add = |name: &str, today: &Totals, candidate: &Totals| {
        for (policy, totals) in [("today", today), ("candidate", candidate)] {
            let percent = totals.noise_reduction_pct;
            rows.push([
                name.to_owned(),
                policy.to_owned(),
                totals.events.to_string(),
                totals.alerts.to_string(),
                totals.incidents.to_string(),
                totals.notifications.to_string(),
                percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent:.2} %")),
            ]);
        }
    };
    for of in &outcome.services {
        add(&of.service, &of.today, &of.candidate);
    }
    if outcome.services.len() != 1 {
        add("all", &outcome.today, &outcome.candidate);
    }
    let head =
        ["SERVICE", "POLICY", "EVENTS", "ALERTS", "INCIDENTS", "NOTIFICATIONS", "NOISE REDUCTION"];
    let text = format!("{} to {}\n\n{}", outcome.since, outcome.until, ui::table(head, &rows));
    if outcome.skipped > 0 {
        let why = "events were left out: their integration is gone, or they cannot be read again";
        return format!("{text}\n\n{} {why}", outcome.skipped);
    }
    text
}
