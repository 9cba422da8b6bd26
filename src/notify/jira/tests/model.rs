//! A Jira in memory, with hand-moved time: what it does to two issues, a lagging index, workflows.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::{Value, json};

use crate::notify::tests::server::{Reply, Seen, Server};

/// What happens to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    No,
    /// It is done, and the connection breaks before the answer.
    DoneThenReset,
    /// The connection breaks, and nothing was done.
    Reset,
    DoneThen502,
    Only502,
    Throttled,
}

#[derive(Clone, Debug)]
pub(super) struct Issue {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) fields: Value,
    pub(super) status: &'static str,
    pub(super) comments: Vec<String>,
    pub(super) deleted: bool,
    created_ms: i64,
}

/// A step of the workflow: from anywhere to a status of a category.
#[derive(Clone, Debug)]
pub(super) struct Transition {
    pub(super) name: &'static str,
    pub(super) to: &'static str,
    pub(super) category: &'static str,
    /// What its screen asks for.
    pub(super) resolutions: Vec<&'static str>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) cloud: bool,
    /// Before 8.4.
    pub(super) old: bool,
    pub(super) now_ms: i64,
    /// Until the search knows of an issue.
    pub(super) lag_ms: i64,
    pub(super) issues: Vec<Issue>,
    pub(super) links: Vec<(String, String)>,
    pub(super) transitions: Vec<Transition>,
    pub(super) resolutions: Vec<String>,
    /// Of the create screen: name, whether it is required, and what may be chosen.
    pub(super) screen: Vec<(&'static str, bool, Option<Vec<&'static str>>)>,
    pub(super) faults: VecDeque<Fault>,
    /// What every request has to have.
    pub(super) authorization: String,
    pub(super) captcha: bool,
    /// It answers who is not let in as it answers anybody.
    pub(super) lets_nobody_look: bool,
}

#[derive(Clone)]
pub(super) struct Model {
    state: Arc<Mutex<State>>,
}

fn transition(name: &'static str, to: &'static str, category: &'static str) -> Transition {
    Transition { name, to, category, resolutions: Vec::new() }
}

impl Model {
    pub(super) fn new(cloud: bool) -> Self {
        let screen = vec![
            ("summary", true, None),
            ("project", true, None),
            ("issuetype", true, None),
            ("description", false, None),
            ("labels", false, None),
            ("assignee", false, None),
            ("components", false, Some(vec!["core", "web"])),
            ("priority", false, Some(vec!["Highest", "High", "Low"])),
        ];
        let state = State {
            cloud,
            old: false,
            now_ms: 1_763_632_272_000,
            lag_ms: 0,
            issues: Vec::new(),
            links: Vec::new(),
            transitions: vec![
                transition("Won't do", "Rejected", "done"),
                transition("Start", "In Progress", "indeterminate"),
                transition("Reopen", "To Do", "new"),
                transition("Finish", "Done", "done"),
            ],
            resolutions: Vec::new(),
            screen,
            faults: VecDeque::new(),
            authorization: "Bearer pat-secret".to_owned(),
            captcha: false,
            lets_nobody_look: false,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    pub(super) async fn serve(&self) -> Server {
        let model = self.clone();
        Server::start(move |seen| model.state().answer(seen)).await
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panicked")
    }
}

fn missing() -> Reply {
    let said = "Issue does not exist or you do not have permission to see it.";
    Reply::json(404, &json!({"errorMessages": [said], "errors": {}}))
}

/// The values of a query, decoded.
fn query(path: &str, name: &str) -> String {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let found = form_urlencoded::parse(query.as_bytes()).find(|(known, _)| known == name);
    found.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

impl State {
    fn answer(&mut self, seen: &Seen) -> Reply {
        let path = seen.path.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.trim_start_matches("/rest/api/").split('/').collect();
        if parts == ["2", "serverInfo"] {
            let kind = if self.cloud { "Cloud" } else { "Server" };
            return Reply::json(200, &json!({"version": "9.12.1", "deploymentType": kind}));
        }
        if seen.header("authorization") != Some(self.authorization.as_str()) {
            return self.shut_out(&parts);
        }
        if seen.method == "POST" {
            let fault = self.faults.pop_front().unwrap_or(Fault::No);
            return match fault {
                Fault::No => self.write(&parts, &seen.json()),
                Fault::Reset => Reply::Reset,
                Fault::Only502 => Reply::status(502),
                Fault::Throttled => Reply::status(429).with_header("retry-after", "7"),
                Fault::DoneThenReset => {
                    self.write(&parts, &seen.json());
                    Reply::Reset
                }
                Fault::DoneThen502 => {
                    self.write(&parts, &seen.json());
                    Reply::status(502)
                }
            };
        }
        self.read(&parts, &seen.path)
    }

    fn shut_out(&self, parts: &[&str]) -> Reply {
        if self.lets_nobody_look && parts.contains(&"search") {
            let nothing = json!({"issues": [], "isLast": true});
            return Reply::json(200, &nothing)
                .with_header("x-seraph-loginreason", "AUTHENTICATED_FAILED");
        }
        if self.captcha {
            let reason = "CAPTCHA_CHALLENGE; login-url=https://jira.example.com/login.jsp";
            return Reply::status(403).with_header("x-authentication-denied-reason", reason);
        }
        Reply::status(401)
    }

    fn issue(&mut self, id: &str) -> Option<&mut Issue> {
        self.issues.iter_mut().find(|issue| issue.id == id && !issue.deleted)
    }

    fn write(&mut self, parts: &[&str], body: &Value) -> Reply {
        match parts {
            ["2", "issue"] => self.create(&body["fields"]),
            ["2", "issue", id, "comment"] => match self.issue(id) {
                None => missing(),
                Some(issue) => {
                    let text = body["body"].as_str().unwrap_or_default();
                    issue.comments.insert(0, text.to_owned());
                    Reply::json(201, &json!({"id": "1"}))
                }
            },
            ["2", "issue", id, "transitions"] => {
                let at: usize = body["transition"]["id"].as_str().unwrap().parse().unwrap();
                let transition = self.transitions[at].clone();
                let resolution = body["fields"]["resolution"]["name"].as_str();
                let has_screen = !transition.resolutions.is_empty();
                if has_screen != resolution.is_some() {
                    let said = json!({"errors": {"resolution": "Resolution is required."}});
                    return Reply::json(400, &said);
                }
                self.resolutions.extend(resolution.map(str::to_owned));
                let Some(issue) = self.issue(id) else { return missing() };
                issue.status = transition.to;
                Reply::status(204)
            }
            ["2", "issueLink"] => {
                let key = |name: &str| body[name]["key"].as_str().unwrap_or_default().to_owned();
                self.links.push((key("inwardIssue"), key("outwardIssue")));
                Reply::status(201)
            }
            _ => Reply::status(404),
        }
    }

    fn create(&mut self, fields: &Value) -> Reply {
        let mut errors = serde_json::Map::new();
        for (name, required, _) in &self.screen {
            if *required && fields[name].is_null() {
                errors.insert((*name).to_owned(), format!("{name} is required.").into());
            }
        }
        for name in fields.as_object().unwrap().keys() {
            if !self.screen.iter().any(|(known, ..)| known == name) {
                let said = format!(
                    "Field '{name}' cannot be set. It is not on the appropriate screen, or unknown."
                );
                errors.insert(name.clone(), said.into());
            }
        }
        if !errors.is_empty() {
            return Reply::json(400, &json!({"errorMessages": [], "errors": errors}));
        }
        let number = self.issues.len() + 1;
        let (id, key) = ((10_000 + number).to_string(), format!("OPS-{number}"));
        let answer = json!({"id": id, "key": key, "self": "…"});
        self.issues.push(Issue {
            id,
            key,
            fields: fields.clone(),
            status: "To Do",
            comments: Vec::new(),
            deleted: false,
            created_ms: self.now_ms,
        });
        Reply::json(201, &answer)
    }

    fn category(&self, status: &str) -> &'static str {
        let to = self.transitions.iter().find(|transition| transition.to == status);
        to.map_or("new", |transition| transition.category)
    }

    fn read(&mut self, parts: &[&str], path: &str) -> Reply {
        match parts {
            ["2", "search"] if !self.cloud => self.search(&query(path, "jql")),
            ["3", "search", "jql"] if self.cloud => self.search(&query(path, "jql")),
            ["2", "myself"] => Reply::json(200, &json!({"displayName": "Pacher"})),
            ["2", "issue", "createmeta", rest @ ..] => self.create_meta(rest, path),
            ["2", "issue", id] => {
                let Some(status) = self.issue(id).map(|issue| issue.status) else {
                    return missing();
                };
                let category = json!({"key": self.category(status)});
                let status = json!({"name": status, "statusCategory": category});
                Reply::json(200, &json!({"id": id, "fields": {"status": status}}))
            }
            ["2", "issue", id, "comment"] => {
                let Some(issue) = self.issue(id) else { return missing() };
                let comments: Vec<_> = issue.comments.iter().map(|c| json!({"body": c})).collect();
                Reply::json(200, &json!({"comments": comments}))
            }
            ["2", "issue", _, "transitions"] => {
                let fields = query(path, "expand") == "transitions.fields";
                let offered = self.transitions.iter().enumerate().map(|(id, transition)| {
                    let allowed: Vec<_> =
                        transition.resolutions.iter().map(|name| json!({"name": name})).collect();
                    let resolution = json!({"resolution": {"allowedValues": allowed}});
                    let has_screen = fields && !transition.resolutions.is_empty();
                    json!({
                        "id": id.to_string(), "name": transition.name,
                        "to": {
                            "name": transition.to, "statusCategory": {"key": transition.category}
                        },
                        "fields": if has_screen { resolution } else { json!({}) },
                    })
                });
                Reply::json(200, &json!({"transitions": offered.collect::<Vec<_>>()}))
            }
            _ => Reply::status(404),
        }
    }

    fn search(&self, jql: &str) -> Reply {
        let label = jql.split("labels = \"").nth(1).unwrap_or_default().trim_end_matches('"');
        assert!(jql.starts_with("project = \"OPS\" AND "), "{jql}");
        let found = self.issues.iter().filter(|issue| {
            let labels = issue.fields["labels"].as_array().unwrap();
            let is_known = issue.created_ms + self.lag_ms <= self.now_ms && !issue.deleted;
            is_known && labels.iter().any(|known| known == label)
        });
        let found: Vec<_> = found.map(|i| json!({"id": i.id, "key": i.key})).collect();
        Reply::json(200, &json!({"issues": found, "isLast": true}))
    }

    fn create_meta(&self, rest: &[&str], path: &str) -> Reply {
        let types = json!([{"id": "1", "name": "Task"}, {"id": "2", "name": "故障"}]);
        let fields = self.screen.iter().map(|(name, required, allowed)| {
            let allowed = allowed.as_ref();
            let allowed =
                allowed.map(|names| names.iter().map(|n| json!({"name": n})).collect::<Vec<_>>());
            json!({
                "fieldId": name, "key": name, "name": name.to_uppercase(), "required": required,
                "hasDefaultValue": false, "allowedValues": allowed,
            })
        });
        let fields: Vec<Value> = fields.collect();
        let name = |cloud: &'static str| if self.cloud { cloud } else { "values" };
        match rest {
            ["OPS", "issuetypes"] if !self.old => {
                Reply::json(200, &json!({name("issueTypes"): types, "total": 2, "startAt": 0}))
            }
            ["OPS", "issuetypes", "2"] if !self.old => {
                let start: usize = query(path, "startAt").parse().unwrap();
                let size: usize = query(path, "maxResults").parse().unwrap();
                let page: Vec<_> = fields.iter().skip(start).take(size).collect();
                let body = json!({
                    name("fields"): page, "startAt": start, "total": fields.len(),
                });
                Reply::json(200, &body)
            }
            [] if self.old && query(path, "projectKeys") == "OPS" => {
                let fields: serde_json::Map<String, Value> = fields
                    .into_iter()
                    .map(|field| (field["fieldId"].as_str().unwrap().to_owned(), field))
                    .collect();
                let types = if query(path, "expand").is_empty() {
                    types
                } else {
                    json!([{"id": "2", "name": "故障", "fields": fields}])
                };
                Reply::json(200, &json!({"projects": [{"key": "OPS", "issuetypes": types}]}))
            }
            [] if self.old => Reply::json(200, &json!({"projects": []})),
            _ => Reply::status(404),
        }
    }
}
