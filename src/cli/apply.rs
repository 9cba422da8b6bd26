//! `dutygate apply`: makes the policy of a running gateway equal to a file.

use std::path::{Path, PathBuf};

use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::{
    gateway::{Api, Body, Gateway, Problem, read, refused},
    ui::{self, Failure},
};

const EXAMPLES: &str = "\
Examples:
  dutygate apply --policy policy.yaml --dry-run
  dutygate apply --policy policy.yaml
  dutygate apply --policy policy.yaml --prune --url https://dutygate.example.com

Lines that begin with + make, with ~ change, with - delete; the lines below each say what of it.
Better give the token in DUTYGATE_TOKEN than with --token: others on the machine see flags.";

/// Make the policy of a running gateway equal to a file
///
/// Prints the plan and carries it out, all of it or nothing. What the file does not name stays as
/// it is. Applied again it changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Apply {
    /// The policy file (YAML)
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Print the plan and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Also delete what an earlier policy file made and this one does not name
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    gateway: Gateway,
}

/// What the gateway planned, and whether it did it.
#[derive(Debug, Deserialize)]
struct Answer {
    plan: Vec<serde::de::IgnoredAny>,
    text: String,
    applied: bool,
    #[serde(default)]
    keys: Vec<NewKey>,
}

/// The key of an integration that was made: shown once, on purpose; never by `Debug`.
#[derive(Deserialize)]
struct NewKey {
    integration: String,
    key: String,
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewKey({}, …)", self.integration)
    }
}

impl Apply {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let text = std::fs::read_to_string(&self.policy)
            .map_err(|error| anyhow::anyhow!("cannot read {}: {error}", self.policy.display()))?;
        let api = self.gateway.open()?;
        let answer = send(&api, &self.policy, &text, self.dry_run, self.prune).await?;
        if !answer.text.is_empty() {
            ui::out(answer.text.trim_end())?;
        }
        for NewKey { integration, key } in &answer.keys {
            ui::note(format_args!("key of {integration}, not shown again: {key}"));
        }
        Ok(ui::out(last_line(&answer, &self.policy, self.prune))?)
    }
}

async fn send(
    api: &Api,
    path: &Path,
    text: &str,
    dry_run: bool,
    prune: bool,
) -> Result<Answer, Failure> {
    let flag = |on| if on { "true" } else { "false" };
    let query = [("dry_run", flag(dry_run)), ("prune", flag(prune))];
    let answer = api.send(Method::PUT, "/api/v1/policy", &query, Body::Yaml(text)).await?;
    let status = answer.status();
    if status.is_success() {
        return Ok(read(answer).await?);
    }
    let body = answer.text().await.unwrap_or_default();
    Err(refused_policy(status, path, &body).unwrap_or_else(|| refused(status, &body)))
}

/// What a gateway has against a policy file, if it is that.
pub(super) fn refused_policy(status: StatusCode, path: &Path, body: &str) -> Option<Failure> {
    let mistakes = mistakes(path, body);
    if status != StatusCode::BAD_REQUEST || mistakes.is_empty() {
        return None;
    }
    let many = if mistakes.len() == 1 { "a mistake" } else { "mistakes" };
    let told = anyhow::anyhow!("{} has {many}:\n{}", path.display(), mistakes.join("\n"));
    Some(Failure::new(told, "correct the file; nothing was changed"))
}

/// The mistakes that a problem tells of, each with its line.
fn mistakes(path: &Path, body: &str) -> Vec<String> {
    let problem: Problem = serde_json::from_str(body).unwrap_or_default();
    let path = path.display();
    let line = |line: Option<u64>| line.map(|line| format!(":{line}")).unwrap_or_default();
    problem
        .errors
        .iter()
        .map(|error| format!("{path}{}: {} {}", line(error.line), error.field, error.message))
        .collect()
}

/// How it ended, and what to do next.
fn last_line(answer: &Answer, path: &Path, prune: bool) -> String {
    let path = path.display();
    let number = answer.plan.len();
    let changes = if number == 1 { "1 change".to_owned() } else { format!("{number} changes") };
    if number == 0 {
        format!("nothing to do: the gateway has the policy of {path} already")
    } else if answer.applied {
        format!("applied {changes}")
    } else {
        let prune = if prune { " --prune" } else { "" };
        format!("{changes} to make; next: `dutygate apply --policy {path}{prune}` makes them")
    }
}

#[cfg(test)]
mod tests {
    use super::{super::test_server::Prepared, *};

    fn api(server: &Prepared) -> Api {
        Api::new(server.url.parse().unwrap(), "secret-token".into()).unwrap()
    }

    #[tokio::test]
    async fn the_file_is_sent_as_it_is_and_the_plan_comes_back() {
        let server = Prepared::bind().await;
        let api = api(&server);
        let plan = r#"{"plan":[{"sign":"+","object":"service","name":"a","details":[]}],"text":"+ service a\n","applied":false}"#;
        let answers = [("200 OK", plan)];
        let path = Path::new("p.yaml");

        let (requests, applied) =
            tokio::join!(server.answer(&answers), send(&api, path, "services: []\n", true, true));

        assert!(
            requests[0].starts_with("PUT /api/v1/policy?dry_run=true&prune=true "),
            "{requests:?}"
        );
        assert!(requests[0].ends_with("\r\n\r\nservices: []\n"), "{requests:?}");
        let mut applied = applied.unwrap();
        assert_eq!(
            last_line(&applied, path, true),
            "1 change to make; next: `dutygate apply --policy p.yaml --prune` makes them"
        );
        applied.applied = true;
        assert_eq!(last_line(&applied, path, false), "applied 1 change");
        applied.plan.clear();
        assert_eq!(
            last_line(&applied, path, false),
            "nothing to do: the gateway has the policy of p.yaml already"
        );
    }

    #[tokio::test]
    async fn every_mistake_is_told_with_its_line() {
        let server = Prepared::bind().await;
        let api = api(&server);
        let problem = r#"{"title":"Bad Request","status":400,"errors":[
            {"field":"services[0].storm","line":7,"message":"must be a list"},
            {"field":"services[0].notify[0].receivers[0]","line":null,"message":"names no receiver"}]}"#;
        let answers = [("400 Bad Request", problem)];
        let path = Path::new("p.yaml");

        let (_, refused) =
            tokio::join!(server.answer(&answers), send(&api, path, "", false, false));

        let told = refused.unwrap_err().to_string();
        assert_eq!(
            told,
            "error: p.yaml has mistakes:\np.yaml:7: services[0].storm must be a list\n\
             p.yaml: services[0].notify[0].receivers[0] names no receiver\n  \
             next: correct the file; nothing was changed"
        );
    }
}
