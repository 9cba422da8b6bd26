//! `dutygate token`: API tokens of a running gateway.

use std::fmt;

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::{
    gateway::{Api, Body, Gateway, read},
    ui::{self, Failure},
};

const EXAMPLES: &str = "\
Examples:
  dutygate token create --name grafana --role viewer
  dutygate token list --url https://dutygate.example.com
  dutygate token revoke grafana

Better give the token in DUTYGATE_TOKEN than with --token: others on the machine see flags.";

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
        read(api.call(Method::POST, "/api/v1/tokens", &[], Body::Json(&body)).await?).await?;
    ui::note(format_args!(
        "made {} ({}, id {}); the token is not shown again:",
        made.name, made.role, made.id
    ));
    // Alone on stdout, so that it can be captured.
    Ok(ui::out(made.token.0)?)
}

async fn list(api: &Api) -> Result<(), Failure> {
    let rows: Vec<_> = tokens(api)
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
        tokens(api).await?.into_iter().partition(|token| token.id == wanted);
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
    api.call(Method::DELETE, &format!("/api/v1/tokens/{}", token.id), &[], Body::None).await?;
    Ok(token)
}

async fn tokens(api: &Api) -> Result<Vec<Listed>, Failure> {
    let mut tokens = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = vec![("limit", "500")];
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page: Page =
            read(api.call(Method::GET, "/api/v1/tokens", &query, Body::None).await?).await?;
        tokens.extend(page.items);
        match page.next_cursor {
            Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => return Ok(tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::test_server::Prepared, *};

    fn api(server: &Prepared) -> Api {
        Api::new(server.url.parse().unwrap(), "secret-token".into()).unwrap()
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

        let (requests, tokens) = tokio::join!(server.answer(&answers), tokens(&api));

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

        let (_, tokens) = tokio::join!(server.answer(&answers), tokens(&api));

        let told = tokens.unwrap_err().to_string();
        assert!(
            told.starts_with(
                "error: the gateway refused (401 Unauthorized): Unauthorized\n  next: "
            )
        );
        assert!(!told.contains("secret-token"), "{told}");
    }
}
