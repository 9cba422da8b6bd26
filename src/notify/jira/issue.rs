//! The issue of an incident: made, found again, commented on, linked.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{
    Act, Jira, Payload,
    lane::{Api, Done, Issue, Lane, Open, State, Step, is_absent, next_search},
    talk::{End, Talk, Written, complaints, json as parsed, words},
};
use crate::{
    domain::{notify::Reason, time::Span},
    notify::{Attempt, Failure, http::Answer},
};

/// Between two writes of a delivery: none, but what was done is stored.
const AT_ONCE: Span = Span::ZERO;

/// One try of a delivery.
pub(super) struct Work<'a> {
    pub(super) jira: &'a Jira,
    pub(super) attempt: &'a Attempt<'a>,
    pub(super) payload: &'a Payload,
    pub(super) talk: Talk<'a>,
    /// What is stored when the try has ended.
    pub(super) lane: Lane,
}

impl Work<'_> {
    /// Does what is next, one write at most.
    pub(super) async fn step(&mut self) -> End {
        let done = self.next().await;
        done.unwrap_or_else(|end| end)
    }

    async fn next(&mut self) -> Result<End, End> {
        let by = self.attempt.delivery;
        let resolves = self.payload.act == Act::Resolve;
        match self.lane.state.clone() {
            State::None if resolves => Ok(End::delivered("There is no issue to close.")),
            State::None => self.intend().await,
            State::Intended { by: intender, .. } if self.attempt.continues && intender == by => {
                Ok(self.create().await)
            }
            State::Intended { by, at } => {
                self.lane.state = State::Unsure { by, at, searches: Vec::new() };
                self.search().await
            }
            State::Unsure { .. } => self.search().await,
            State::Gone { issue } if !self.is_worth_an_issue() => {
                Ok(End::delivered(is_gone(&issue)))
            }
            State::Gone { .. } => {
                self.lane.another(None);
                self.intend().await
            }
            State::Open(open) => self.on(open).await,
        }
    }

    /// With the issue there, what is to be done with it?
    async fn on(&mut self, open: Open) -> Result<End, End> {
        match (self.payload.act, open.done_by(self.attempt.delivery)) {
            (_, Some(Done::Created)) => Ok(self.link(open).await),
            (Act::Resolve, done) => self.close(open, done).await,
            (Act::Introduce, done) => self.bring_back(open, done).await,
            (Act::Comment | Act::Test, done) => {
                self.comment(&open, done).await?;
                self.reached(&open, None);
                Ok(End::delivered(format!("Commented on {}.", open.issue.key)))
            }
        }
    }

    /// Says that the issue is about to be made: stored before it is.
    pub(super) async fn intend(&mut self) -> Result<End, End> {
        self.api().await?;
        self.lane.state = State::Intended { by: self.attempt.delivery, at: self.attempt.now };
        Ok(End::go_on(AT_ONCE, "An issue is about to be made."))
    }

    /// Which API it is, asked at most once a lane.
    async fn api(&mut self) -> Result<Api, End> {
        let api = match self.jira.api().or(self.lane.api) {
            Some(api) => api,
            None => self.talk.api().await?,
        };
        self.lane.api = Some(api);
        Ok(api)
    }

    async fn create(&mut self) -> End {
        let (by, now) = (self.attempt.delivery, self.attempt.now);
        let body = json!({"fields": self.fields()});
        let created = self.talk.write(&["2", "issue"], &body).await;
        // As long as it is not known better.
        self.lane.state = State::None;
        match created {
            Written::Taken(answer) => match made(&answer) {
                Some(issue) => self.made(issue),
                None => {
                    let after = self.lane.unsure(by, now);
                    let error = "Jira did not say which issue it has made; it will be searched for";
                    End::retry(Failure::Unavailable, Some(after), error)
                }
            },
            Written::Refused(answer) => self.talk.refused(&answer, refusal(&answer)),
            Written::NotNow(end) => end,
            Written::Unsure { after, error } => {
                let wait = self.lane.unsure(by, now).max(after.unwrap_or(Span::ZERO));
                let error =
                    format!("{error}; the issue will be searched for before it is made anew");
                End::retry(self.talk.doubt(), Some(wait), error)
            }
        }
    }

    /// Whose issue it is depends on the API, and which one it is on what was there before.
    fn fields(&self) -> Value {
        let mut fields = self.payload.fields.clone();
        let label = self.lane.label(&self.payload.label);
        let labels = fields.entry("labels").or_insert_with(|| json!([]));
        if let Some(labels) = labels.as_array_mut() {
            labels.push(self.payload.label.clone().into());
            if label != self.payload.label {
                labels.push(label.into());
            }
        }
        if let Some(assignee) = &self.jira.settings.assignee {
            let by = if self.lane.api == Some(Api::Cloud) { "accountId" } else { "name" };
            fields.entry("assignee").or_insert_with(|| json!({by: assignee}));
        }
        if let (Some(follows), Some(Value::String(text))) =
            (&self.lane.follows, fields.get_mut("description"))
        {
            let whole = format!("Follows {}.\n\n{text}", follows.key);
            *text = super::wiki::cut(&whole, super::text::TEXT_MAX);
        }
        Value::Object(fields)
    }

    /// The issue of this delivery is there.
    fn made(&mut self, issue: Issue) -> End {
        let note = format!("{} is the issue of this incident.", issue.key);
        let mut open = Open::new(issue);
        if self.lane.follows.is_none() {
            self.lane.state = State::Open(open);
            return End::delivered(note);
        }
        open.step = Some(Step { by: self.attempt.delivery, done: Done::Created });
        self.lane.state = State::Open(open);
        End::go_on(AT_ONCE, note)
    }

    /// Looks for an issue that may have been made, when Jira's index has had time to learn of it.
    async fn search(&mut self) -> Result<End, End> {
        let State::Unsure { by, at, mut searches } = self.lane.state.clone() else {
            return self.intend().await;
        };
        let now = self.attempt.now;
        let due = next_search(at, &searches);
        if now < due {
            let note = "The issue may have been made. Jira's search is given time to find it.";
            return Ok(End::go_on(due.since(now), note));
        }
        let label = self.lane.label(&self.payload.label);
        let api = self.api().await?;
        let found = self.talk.search(api, &self.jira.settings.project, &label).await?;
        if let Some(issue) = found.into_iter().next() {
            let resolves = self.payload.act == Act::Resolve;
            if by == self.attempt.delivery && !resolves {
                return Ok(self.made(issue));
            }
            let note = format!("{} was made by an earlier try.", issue.key);
            self.lane.state = State::Open(Open::new(issue));
            return Ok(End::go_on(AT_ONCE, note));
        }
        searches.push(now);
        if !is_absent(&searches) {
            let wait = next_search(at, &searches).since(now);
            self.lane.state = State::Unsure { by, at, searches };
            return Ok(End::go_on(wait, "No issue has the label yet. It is searched for again."));
        }
        self.lane.state = State::None;
        if self.payload.act == Act::Resolve {
            return Ok(End::delivered("No issue was ever made."));
        }
        self.intend().await
    }

    /// Writes the comment. `Err`: it is not there, or it does not matter any more.
    pub(super) async fn comment(&mut self, open: &Open, done: Option<Done>) -> Result<(), End> {
        let id = open.issue.id.as_str();
        if done == Some(Done::MaybeCommented) && self.is_commented(id).await? {
            return Ok(());
        }
        let body = json!({"body": self.payload.comment});
        match self.talk.write(&["2", "issue", id, "comment"], &body).await {
            Written::Taken(_) => Ok(()),
            Written::Refused(answer) if answer.status == StatusCode::NOT_FOUND => {
                Err(self.gone(open).await)
            }
            // Where it is to be moved, that is what matters.
            Written::Refused(_) if self.payload.act != Act::Comment => Ok(()),
            Written::NotNow(_) if self.payload.act != Act::Comment && self.talk.is_forbidden() => {
                Ok(())
            }
            Written::Refused(answer) => Err(self.talk.refused(&answer, words(&answer))),
            Written::NotNow(end) => Err(end),
            Written::Unsure { after, error } => {
                self.reached(open, Some(Done::MaybeCommented));
                Err(End::retry(self.talk.doubt(), after, error))
            }
        }
    }

    /// Whether the newest comments hold the one that is to be written.
    async fn is_commented(&mut self, id: &str) -> Result<bool, End> {
        let query = [("orderBy", "-created"), ("maxResults", "5")];
        let answer = self.talk.read(&["2", "issue", id, "comment"], &query).await?;
        // Looked for in the bare text, which may break off: Cloud writes markup in its own way.
        let bare =
            |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
        Ok(bare(&answer.body).contains(&bare(&self.payload.mark)))
    }

    /// Links it with the one before it. That is for convenience, the description names it too: it
    /// is not worth a second issue, nor a dead letter.
    async fn link(&mut self, open: Open) -> End {
        let Some(follows) = self.lane.follows.clone() else {
            self.reached(&open, None);
            return End::delivered("");
        };
        let (new, old) = (&open.issue.key, &follows.key);
        let body = json!({
            "type": {"name": "Relates"}, "inwardIssue": {"key": new}, "outwardIssue": {"key": old},
        });
        let note = match self.talk.write(&["2", "issueLink"], &body).await {
            Written::Taken(_) => format!("Linked {new} with {old}."),
            Written::NotNow(end) => return end,
            Written::Refused(answer) => {
                format!("{new} could not be linked with {old}: {}", words(&answer))
            }
            Written::Unsure { error, .. } => {
                format!("{new} could perhaps not be linked with {old}: {error}")
            }
        };
        self.lane.follows = None;
        self.reached(&open, None);
        End::delivered(note)
    }

    /// Whether an issue that somebody has deleted is to be made anew: not to say that it is over,
    /// nor for a word on the way, but for trouble that comes up or grows.
    fn is_worth_an_issue(&self) -> bool {
        let grows = matches!(self.attempt.reason, Reason::SeverityRaised | Reason::Storm);
        self.payload.act == Act::Introduce || grows
    }

    /// Somebody has deleted the issue.
    pub(super) async fn gone(&mut self, open: &Open) -> End {
        self.lane.state = State::Gone { issue: open.issue.clone() };
        if !self.is_worth_an_issue() {
            return End::delivered(is_gone(&open.issue));
        }
        self.lane.another(None);
        self.intend().await.unwrap_or_else(|end| end)
    }

    /// How far this delivery has got with the issue.
    pub(super) fn reached(&mut self, open: &Open, done: Option<Done>) {
        let step = done.map(|done| Step { by: self.attempt.delivery, done });
        self.lane.state = State::Open(Open { step, ..open.clone() });
    }

    /// This much is done, and the next thing follows when that is stored.
    pub(super) fn go_on(&mut self, open: &Open, done: Done, note: &str) -> End {
        self.reached(open, Some(done));
        End::go_on(AT_ONCE, note)
    }
}

fn is_gone(issue: &Issue) -> String {
    format!("{} is gone: deleted, or hidden from the gateway's user.", issue.key)
}

/// The issue that an answer says was made.
fn made(answer: &Answer) -> Option<Issue> {
    let body: Value = serde_json::from_str(&answer.body).ok()?;
    issue(&body)
}

/// An issue by its `id` and `key`.
pub(super) fn issue(value: &Value) -> Option<Issue> {
    let text = |name: &str| value.get(name)?.as_str().filter(|text| !text.is_empty());
    Some(Issue { id: text("id")?.to_owned(), key: text("key")?.to_owned() })
}

/// Why Jira takes no such issue, and what would help.
fn refusal(answer: &Answer) -> String {
    let Some(said) = complaints(answer) else { return words(answer) };
    let help = if said.contains("cannot be set") {
        "; put that field on the project's create screen, or take it out of the receiver's settings"
    } else if said.contains("required") {
        "; give what is required under the receiver's fields"
    } else {
        ""
    };
    format!(
        "Jira refuses the issue (status {}): {said}{help}; the receiver's test says what it takes",
        answer.status
    )
}

impl Talk<'_> {
    /// Asks which API it speaks. A Jira that does not say is an old one, and none of the Cloud.
    pub(super) async fn api(&mut self) -> Result<Api, End> {
        let answer = self.read(&["2", "serverInfo"], &[]).await?;
        if !(200..300).contains(&answer.status) {
            return Err(End::retry(Failure::Refused, None, words(&answer)));
        }
        let info = parsed(&answer)?;
        let is_cloud = info.get("deploymentType").and_then(Value::as_str) == Some("Cloud");
        Ok(if is_cloud { Api::Cloud } else { Api::DataCenter })
    }

    /// The issues of a project that have a label, the first that was made first.
    async fn search(&mut self, api: Api, project: &str, label: &str) -> Result<Vec<Issue>, End> {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let jql = format!("project = \"{}\" AND labels = \"{}\"", quoted(project), quoted(label));
        let path: &[&str] = match api {
            Api::Cloud => &["3", "search", "jql"],
            Api::DataCenter => &["2", "search"],
        };
        let query = [("jql", jql.as_str()), ("fields", "status"), ("maxResults", "10")];
        let answer = self.read(path, &query).await?;
        if answer.status != StatusCode::OK {
            return Err(End::retry(Failure::Refused, None, words(&answer)));
        }
        let body = parsed(&answer)?;
        let Some(issues) = body.get("issues").and_then(Value::as_array) else {
            let error = "Jira's search answered without issues";
            return Err(End::retry(Failure::Refused, None, error));
        };
        let mut issues: Vec<Issue> = issues.iter().filter_map(issue).collect();
        issues.sort_by_key(|issue| issue.id.parse::<u64>().unwrap_or(u64::MAX));
        Ok(issues)
    }
}
