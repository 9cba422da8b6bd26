//! A receiver's test: would Jira take an issue as the settings have it? Nothing is made.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{
    Jira, Payload,
    lane::Api,
    talk::{End, Talk, json as parsed, words},
};
use crate::notify::{Failure, http::Answer};

/// Fields a page: what may be chosen in each comes along, and an answer is read to 64 KB.
const PAGE: usize = 15;
const PAGES_MAX: usize = 10;
/// Most names that are listed.
const NAMES_MAX: usize = 30;

/// A type of issue in a project, or a field of one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(alias = "fieldId")]
    id: Option<String>,
    key: Option<String>,
    #[serde(default)]
    name: String,
    untranslated_name: Option<String>,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    has_default_value: bool,
    allowed_values: Option<Vec<Value>>,
}

/// What the create screen has, by the name that the API has for each field.
struct Screen {
    fields: BTreeMap<String, Meta>,
    /// All of them are known.
    whole: bool,
}

pub(super) async fn check(jira: &Jira, talk: &mut Talk<'_>, payload: &Payload) -> End {
    let checked = run(jira, talk, payload).await;
    checked.unwrap_or_else(|end| end)
}

async fn run(jira: &Jira, talk: &mut Talk<'_>, payload: &Payload) -> Result<End, End> {
    let api = match jira.api() {
        Some(api) => api,
        None => talk.api().await?,
    };
    let user = talk.read(&["2", "myself"], &[]).await?;
    let user = match user.status {
        200 => parsed(&user)?,
        _ => return Err(End::retry(Failure::Refused, None, words(&user))),
    };
    let user = ["displayName", "name", "emailAddress"]
        .iter()
        .find_map(|name| user.get(name)?.as_str())
        .unwrap_or("somebody");
    let (project, wanted) = (&jira.settings.project, &jira.settings.issue_type);
    let (types, old) = talk.types(project).await?;
    let is = |meta: &&Meta| {
        meta.name == *wanted || meta.untranslated_name.as_ref().is_some_and(|name| name == wanted)
    };
    let Some(kind) = types.iter().find(is) else {
        let names: Vec<&str> = types.iter().map(|meta| meta.name.as_str()).collect();
        return Err(End::dead(format!(
            "{project} has no issue type {wanted:?} that {user} may create; it has: {}; set \
             issue_type",
            listed(&names)
        )));
    };
    let screen = if old {
        talk.old_screen(project, kind).await?
    } else {
        talk.screen(project, kind.id.as_deref().unwrap_or_default()).await?
    };
    let wrong = mistakes(jira, payload, api, &screen);
    if !wrong.is_empty() {
        return Err(End::dead(format!("Jira would refuse the issue: {}", wrong.join("; "))));
    }
    let api = match api {
        Api::Cloud => "Jira Cloud",
        Api::DataCenter => "Jira Data Center",
    };
    let rest = if screen.whole {
        "all that its create screen requires is set"
    } else {
        "not all fields of its create screen could be looked at"
    };
    Ok(End::delivered(format!(
        "{api} would take a {wanted:?} in {project} from {user}: {rest}. Nothing was created; \
         transitions can only be looked at on a real issue."
    )))
}

/// What Jira would say against an issue as the settings have it.
fn mistakes(jira: &Jira, payload: &Payload, api: Api, screen: &Screen) -> Vec<String> {
    let settings = &jira.settings;
    let mut wrong = Vec::new();
    let mut set: Vec<&str> = payload.fields.keys().map(String::as_str).collect();
    if settings.assignee.is_some() {
        set.push("assignee");
    }
    if !settings.priority.is_empty() {
        set.push("priority");
    }
    set.sort_unstable();
    set.dedup();
    for (name, meta) in &screen.fields {
        if meta.required && !meta.has_default_value && !set.contains(&name.as_str()) {
            wrong.push(format!("{name} ({}) is required: set it under fields", meta.name));
        }
    }
    for name in set.iter().filter(|name| screen.whole && !screen.fields.contains_key(**name)) {
        let why = match *name {
            "project" | "issuetype" | "summary" => continue,
            "labels" => "; by it an issue is found again, so it has to be there",
            _ => ", or take it out of the settings",
        };
        wrong.push(format!("{name} is not on the create screen: put it there{why}"));
    }
    let mut chosen = |field: &str, names: &mut dyn Iterator<Item = &String>| {
        let allowed = screen.fields.get(field).and_then(|meta| meta.allowed_values.as_ref());
        let Some(allowed) = allowed else { return };
        let allowed: Vec<&str> =
            allowed.iter().filter_map(|value| value.get("name")?.as_str()).collect();
        for name in names.filter(|name| !allowed.contains(&name.as_str())) {
            wrong.push(format!("there is no {field} {name:?}, but {}", listed(&allowed)));
        }
    };
    chosen("priority", &mut settings.priority.values());
    chosen("components", &mut settings.components.iter());
    if api == Api::Cloud && settings.assignee.as_ref().is_some_and(|name| name.contains('@')) {
        wrong.push("Cloud knows an assignee by accountId, not by address".to_owned());
    }
    wrong
}

fn listed(names: &[&str]) -> String {
    let mut names = names.to_vec();
    let all = names.len();
    names.truncate(NAMES_MAX);
    match (all, all - names.len()) {
        (0, _) => "none".to_owned(),
        (_, 0) => names.join(", "),
        (_, left) => format!("{} and {left} more", names.join(", ")),
    }
}

impl Talk<'_> {
    /// The types of issues that may be created in a project, and whether it is an old Jira, which
    /// knows another way to ask.
    async fn types(&mut self, project: &str) -> Result<(Vec<Meta>, bool), End> {
        let path = ["2", "issue", "createmeta", project, "issuetypes"];
        let answer = self.read(&path, &[("maxResults", "100")]).await?;
        if answer.status == 200 {
            return Ok((page(&answer)?.0, false));
        }
        // Jira before 8.4, or there is no such project.
        let query = [("projectKeys", project)];
        let answer = self.read(&["2", "issue", "createmeta"], &query).await?;
        let types = match answer.status {
            200 => parsed(&answer)?.pointer_mut("/projects/0/issuetypes").map(Value::take),
            _ => None,
        };
        let types = types.and_then(|types| Vec::<Meta>::deserialize(types).ok());
        types.map(|types| (types, true)).ok_or_else(|| {
            End::dead(format!(
                "there is no project with the key {project:?} in which the gateway's user may \
                 create issues: set project to its key, which its issues begin with, and give the \
                 user the permissions to browse it and to create issues"
            ))
        })
    }

    /// The fields of an issue's create screen.
    async fn screen(&mut self, project: &str, kind: &str) -> Result<Screen, End> {
        let mut screen = Screen { fields: BTreeMap::new(), whole: false };
        let size = PAGE.to_string();
        for number in 0..PAGES_MAX {
            let start = (number * PAGE).to_string();
            let query = [("startAt", start.as_str()), ("maxResults", size.as_str())];
            let path = ["2", "issue", "createmeta", project, "issuetypes", kind];
            let answer = self.read(&path, &query).await?;
            // One that is longer than is read.
            let Ok((fields, is_last)) = page(&answer) else { break };
            screen.whole = is_last || fields.len() < PAGE;
            for field in fields {
                if let Some(name) = field.id.as_ref().or(field.key.as_ref()) {
                    screen.fields.insert(name.clone(), field);
                }
            }
            if screen.whole {
                break;
            }
        }
        Ok(screen)
    }

    /// The same of a Jira before 8.4.
    async fn old_screen(&mut self, project: &str, kind: &Meta) -> Result<Screen, End> {
        let query = [
            ("projectKeys", project),
            ("issuetypeNames", kind.name.as_str()),
            ("expand", "projects.issuetypes.fields"),
        ];
        let answer = self.read(&["2", "issue", "createmeta"], &query).await?;
        let fields = serde_json::from_str::<Value>(&answer.body).ok().and_then(|mut body| {
            body.pointer_mut("/projects/0/issuetypes/0/fields").map(Value::take)
        });
        let fields = fields.and_then(|fields| BTreeMap::deserialize(fields).ok());
        Ok(Screen { whole: fields.is_some(), fields: fields.unwrap_or_default() })
    }
}

/// What a page holds, and whether it is the last. Data Center calls it `values`, Cloud by its kind.
fn page(answer: &Answer) -> Result<(Vec<Meta>, bool), End> {
    let mut body = parsed(answer)?;
    let name = ["values", "issueTypes", "fields"].into_iter().find(|name| body[name].is_array());
    let items = name.map(|name| body[name].take()).unwrap_or_default();
    let items = Vec::<Meta>::deserialize(items).unwrap_or_default();
    let number = |name: &str| body[name].as_u64();
    let seen = number("startAt").unwrap_or(0) + items.len() as u64;
    let is_last = body["isLast"].as_bool() == Some(true)
        || number("total").is_some_and(|total| seen >= total);
    Ok((items, is_last))
}
