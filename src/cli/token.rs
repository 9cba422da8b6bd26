//! `dutygate token`: API tokens of a running gateway.

use std::{fmt, time::Duration};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use reqwest::{Client, Method, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    client::{NOT_REACHED, Target},
    settings_args::ConfigArg,
    ui::{self, Failure, OrNext as _},
};

const EXAMPLES: &str = "\
Examples:
  dutygate token create --name grafana --role viewer
  dutygate token list --url https://dutygate.example.com
  dutygate token revoke grafana

Better give the token in DUTYGATE_TOKEN than with --token: others on the machine see flags.";

const TIMEOUT: Duration = Duration::from_secs(30);

/// Make, list and revoke API tokens of a running gateway
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Token {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token; it is shown this once
    #[command(after_help = "Examples:\n  dutygate token create --name grafana --role viewer")]
    Create {
        /// What it is for; unique
        #[arg(long)]
        name: String,
        /// What it may do
        #[arg(long, value_enum)]
        role: Role,
        #[command(flatten)]
        gateway: Gateway,
    },
    /// List tokens, without the tokens themselves
    #[command(after_help = "Examples:\n  dutygate token list")]
    List {
        #[command(flatten)]
        gateway: Gateway,
    },
    /// Revoke a token at once
    #[command(after_help = "Examples:\n  dutygate token revoke grafana")]
    Revoke {
        /// Its name, or its id as `token list` shows it
        #[arg(value_name = "NAME|ID")]
        name_or_id: String,
        #[command(flatten)]
        gateway: Gateway,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// Reads
    Viewer,
    /// Also acts on alerts, incidents and silences
    Responder,
    /// All
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Responder => "responder",
            Self::Admin => "admin",
        })
    }
}

/// Which gateway, and who asks.
#[derive(Debug, Args)]
struct Gateway {
    /// The gateway; `unix:/path` is a socket [default: from the setting `listen`]
    #[arg(long, value_name = "URL", env = "DUTYGATE_URL", hide_env_values = true)]
    url: Option<Target>,
    /// API token with the role admin [default: the setting `admin_token`]
    #[arg(long, value_name = "TOKEN", env = "DUTYGATE_TOKEN", hide_env_values = true)]
    token: Option<SecretString>,
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Debug, Deserialize)]
struct Created {
    id: String,
    name: String,
    role: String,
    token: SecretText,
}

/// Shown once, on purpose; never by `Debug`.
#[derive(Deserialize)]
#[serde(transparent)]
struct SecretText(String);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

#[derive(Debug, Deserialize)]
struct Page {
    items: Vec<Listed>,
    next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    id: String,
    name: String,
    role: String,
    #[serde(default)]
    hint: String,
    created_at: String,
    last_used_at: Option<String>,
}

impl Token {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::Create { name, role, gateway } => create(&gateway.open()?, &name, role).await,
            Action::List { gateway } => list(&gateway.open()?).await,
            Action::Revoke { name_or_id, gateway } => revoke(&gateway.open()?, &name_or_id).await,
        }
    }
}

async fn create(api: &Api, name: &str, role: Role) -> Result<(), Failure> {
    let body = json!({"name": name, "role": role.to_string()});
    let made: Created =
        read(api.call(Method::POST, "/api/v1/tokens", &[], Some(&body)).await?).await?;
    ui::note(format_args!(
        "made {} ({}, id {}); the token is not shown again:",
        made.name, made.role, made.id
    ));
    // Alone on stdout, so that it can be captured.
    Ok(ui::out(made.token.0)?)
}

async fn list(api: &Api) -> Result<(), Failure> {
    let rows: Vec<_> = api
        .tokens()
        .await?
        .into_iter()
        .map(|it| {
            let used = it.last_used_at.unwrap_or_else(|| "not since start".to_owned());
            [it.name, it.role, format!("{}…", it.hint), it.created_at, used, it.id]
        })
        .collect();
    Ok(ui::out(ui::table(["NAME", "ROLE", "TOKEN", "CREATED", "LAST USED", "ID"], &rows))?)
}

async fn revoke(api: &Api, wanted: &str) -> Result<(), Failure> {
    let token = find_and_delete(api, wanted).await?;
    Ok(ui::out(format_args!("revoked {} (id {})", token.name, token.id))?)
}

async fn find_and_delete(api: &Api, wanted: &str) -> Result<Listed, Failure> {
    let (mut found, others): (Vec<_>, Vec<_>) =
        api.tokens().await?.into_iter().partition(|token| token.id == wanted);
    // An id is unique; a name that looks like another token's id yields to it.
    if found.is_empty() {
        found.extend(others.into_iter().filter(|token| token.name == wanted));
    }
    let Some(token) = found.pop() else {
        let problem = anyhow::anyhow!("there is no token {wanted:?}");
        return Err(Failure::new(problem, "`dutygate token list` shows all"));
    };
    if !found.is_empty() {
        let ids: Vec<_> = found.iter().chain([&token]).map(|it| it.id.as_str()).collect();
        let problem = anyhow::anyhow!("{} tokens are called {wanted:?}", ids.len());
        return Err(Failure::new(problem, format!("revoke by id: {}", ids.join(", "))));
    }
    api.call(Method::DELETE, &format!("/api/v1/tokens/{}", token.id), &[], None).await?;
    Ok(token)
}

struct Api {
    target: Target,
    client: Client,
    token: SecretString,
}

impl Gateway {
    /// Settings are read only for what was not given.
    fn open(self) -> Result<Api, Failure> {
        let (target, token) = match (self.url, self.token) {
            (Some(target), Some(token)) => (target, Some(token)),
            (url, token) => {
                let settings = self.config.load()?.settings;
                let target = url.map_or_else(|| Target::of_gateway(&settings), Ok)?;
                (target, token.or(settings.admin_token))
            }
        };
        let token = token.context("no API token was given").or_next(
            "set DUTYGATE_TOKEN to a token with the role admin; the first start of the gateway \
             printed one, and the setting admin_token makes one",
        )?;
        Ok(Api { client: target.client(TIMEOUT)?, target, token })
    }
}

impl Api {
    async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&serde_json::Value>,
    ) -> Result<Response, Failure> {
        let mut url = self.target.join(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.client.request(method, url).bearer_auth(self.token.expose_secret());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request
            .send()
            .await
            .map_err(|error| self.target.explain(error))
            .or_next(NOT_REACHED)?;
        if answer.status().is_success() { Ok(answer) } else { Err(refusal(answer).await) }
    }

    async fn tokens(&self) -> Result<Vec<Listed>, Failure> {
        let mut tokens = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![("limit", "500")];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page: Page =
                read(self.call(Method::GET, "/api/v1/tokens", &query, None).await?).await?;
            tokens.extend(page.items);
            match page.next_cursor {
                Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
                _ => return Ok(tokens),
            }
        }
    }
}

async fn read<T: DeserializeOwned>(answer: Response) -> anyhow::Result<T> {
    let text = answer.text().await.map_err(reqwest::Error::without_url)?;
    match serde_json::from_str(&text) {
        Ok(read) => Ok(read),
        Err(_) => bail!("the answer is not that of a gateway; is the URL right?"),
    }
}

/// RFC 9457, as the gateway answers errors.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
    errors: Vec<FieldError>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FieldError {
    field: String,
    message: String,
}

async fn refusal(answer: Response) -> Failure {
    let status = answer.status();
    let body = answer.text().await.unwrap_or_default();
    let problem = anyhow::anyhow!("the gateway refused ({status}){}", explained(&body));
    match status.as_u16() {
        401 => Failure::new(problem, "is DUTYGATE_TOKEN (or admin_token) a token of this gateway?"),
        403 => Failure::new(problem, "this needs a token with the role admin"),
        _ => problem.into(),
    }
}

/// The problem in words; nothing if the body is none.
fn explained(body: &str) -> String {
    let problem: Problem = serde_json::from_str(body).unwrap_or_default();
    let said = problem.detail.or(problem.title).map(|text| format!(": {text}")).unwrap_or_default();
    let fields =
        problem.errors.iter().map(|error| format!("\n  {}: {}", error.field, error.message));
    said + &fields.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::{super::test_server::Prepared, *};

    #[test]
    fn a_problem_is_told_with_its_fields() {
        let body = r#"{"type":"about:blank","title":"Invalid","status":400,"detail":"the token is not valid",
            "errors":[{"field":"name","message":"is taken"},{"field":"role","message":"is unknown"}]}"#;

        assert_eq!(
            explained(body),
            ": the token is not valid\n  name: is taken\n  role: is unknown"
        );
        assert_eq!(explained("<html>"), "");
        assert_eq!(explained(r#"{"title":"Gone"}"#), ": Gone");
    }

    fn api(server: &Prepared) -> Api {
        let target: Target = server.url.parse().unwrap();
        Api { client: target.client(TIMEOUT).unwrap(), target, token: "secret-token".into() }
    }

    #[tokio::test]
    async fn all_pages_are_listed_and_the_token_is_sent() {
        let server = Prepared::bind().await;
        let api = api(&server);
        let page = |name: &str, next: &str| {
            format!(
                r#"{{"items":[{{"id":"1","name":"{name}","role":"viewer","hint":"dg_a","created_at":"t","last_used_at":null}}],"next_cursor":{next}}}"#
            )
        };
        let (one, two) = (page("a", r#""c 1""#), page("b", "null"));
        let answers = [("200 OK", one.as_str()), ("200 OK", two.as_str())];

        let (requests, tokens) = tokio::join!(server.answer(&answers), api.tokens());

        let names: Vec<_> = tokens.unwrap().into_iter().map(|token| token.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(
            requests[1].starts_with("GET /api/v1/tokens?limit=500&cursor=c+1 "),
            "{requests:?}"
        );
        assert!(requests[0].contains("authorization: Bearer secret-token\r\n"), "{requests:?}");
    }

    #[tokio::test]
    async fn a_token_is_revoked_by_its_name() {
        let server = Prepared::bind().await;
        let api = api(&server);
        let list = r#"{"items":[{"id":"7","name":"a","role":"viewer","created_at":"t","last_used_at":null}],"next_cursor":null}"#;
        let answers = [("200 OK", list), ("204 No Content", ""), ("200 OK", list)];

        let (requests, (revoked, unknown)) = tokio::join!(server.answer(&answers), async {
            (find_and_delete(&api, "a").await, find_and_delete(&api, "b").await)
        });

        assert_eq!(revoked.unwrap().id, "7");
        assert!(requests[1].starts_with("DELETE /api/v1/tokens/7 "), "{requests:?}");
        assert!(unknown.unwrap_err().to_string().contains("there is no token \"b\""));
    }

    #[tokio::test]
    async fn a_refusal_says_what_to_do_and_not_the_token() {
        let server = Prepared::bind().await;
        let api = api(&server);
        let answers = [("401 Unauthorized", r#"{"title":"Unauthorized","status":401}"#)];

        let (_, tokens) = tokio::join!(server.answer(&answers), api.tokens());

        let told = tokens.unwrap_err().to_string();
        assert!(
            told.starts_with(
                "error: the gateway refused (401 Unauthorized): Unauthorized\n  next: "
            )
        );
        assert!(!told.contains("secret-token"), "{told}");
    }
}
