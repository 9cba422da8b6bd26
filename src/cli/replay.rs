//! `dutygate replay`: what stored events would have become under another policy.

use std::{io::IsTerminal as _, path::PathBuf, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::{
    apply,
    gateway::{FieldError, Gateway, Problem, refused},
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
            return Err(refused_flags(status, &body)
                .or_else(|| apply::refused_policy(status, &self.policy, &body))
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

/// What a gateway has against the flags, if it is that. A member of the file may be called so too,
/// but has a line.
fn refused_flags(status: StatusCode, body: &str) -> Option<Failure> {
    let problem: Problem = serde_json::from_str(body).unwrap_or_default();
    let of_a_flag = |error: &&FieldError| {
        error.line.is_none() && matches!(error.field.as_str(), "since" | "service")
    };
    let flags = problem.errors.iter().filter(of_a_flag);
    let lines: Vec<String> = flags.map(|e| format!("\n--{} {}", e.field, e.message)).collect();
    if status != StatusCode::BAD_REQUEST || lines.is_empty() {
        return None;
    }
    let told = anyhow::anyhow!("the gateway refused:{}", lines.concat());
    Some(Failure::new(told, "correct the flags; `dutygate replay --help` shows examples"))
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Cli, Command, test_server::Prepared};

    /// What is said when the gateway refuses with these errors.
    async fn refused_with(errors: &str) -> String {
        let server = Prepared::bind().await;
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("p.yaml");
        std::fs::write(&path, "services: []\n").unwrap();
        let file = path.to_str().unwrap();
        let given = ["dutygate", "replay", "--policy", file, "--url", &server.url];
        let given = given.into_iter().chain(["--token", "secret-token", "--since", "7x"]);
        let Some(Command::Replay(replay)) = Cli::try_parse_from(given).unwrap().command else {
            panic!("it is a replay");
        };
        let problem = format!(r#"{{"title":"Bad Request","status":400,"errors":{errors}}}"#);
        let answers = [("400 Bad Request", problem.as_str())];

        let (_, refused) = tokio::join!(server.answer(&answers), replay.run());

        refused.unwrap_err().to_string().replace(file, "p.yaml")
    }

    #[tokio::test]
    async fn a_flag_that_is_wrong_is_not_blamed_on_the_file() {
        let told = refused_with(
            r#"[{"field":"since","message":"must be a duration"},
                {"field":"service","message":"is no service"}]"#,
        );

        assert_eq!(
            told.await,
            "error: the gateway refused:\n--since must be a duration\n--service is no service\n  \
             next: correct the flags; `dutygate replay --help` shows examples"
        );
    }

    #[tokio::test]
    async fn a_file_that_is_wrong_is_told_with_its_lines() {
        let told =
            refused_with(r#"[{"field":"service","line":1,"message":"did you mean services?"}]"#);

        assert_eq!(
            told.await,
            "error: p.yaml has a mistake:\np.yaml:1: service did you mean services?\n  \
             next: correct the file; nothing was changed"
        );
    }
}
