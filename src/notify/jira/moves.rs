//! Closing an issue and opening it again: which transition leads there.

use serde_json::{Value, json};

use super::{
    issue::Work,
    lane::{Done, Open},
    talk::{End, Written, json as parsed, words},
};
use crate::{
    domain::time::Span,
    notify::{Failure, http::Answer},
};

/// Of several transitions to a status that means done, these are taken first: there are others,
/// such as "Won't do", that say something else. Lower case; English and Chinese, as Jira ships them.
const RESOLVING: [&str; 14] = [
    "resolve issue",
    "resolve",
    "resolved",
    "done",
    "fixed",
    "close issue",
    "close",
    "closed",
    "complete",
    "解决",
    "已解决",
    "完成",
    "已完成",
    "关闭",
];
const REOPENING: [&str; 6] = ["reopen issue", "reopen", "reopened", "to do", "重新打开", "待办"];
/// What is written into a resolution that a transition asks for.
const RESOLUTIONS: [&str; 5] = ["done", "fixed", "resolved", "完成", "已解决"];

/// Where an issue is to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    Done,
    Open,
}

/// A step that a workflow offers.
#[derive(Clone, Debug)]
struct Transition {
    id: String,
    name: String,
    to: String,
    /// The category of the status that it leads to: `new`, `indeterminate`, `done` or `undefined`.
    category: String,
}

impl Work<'_> {
    /// The incident is over: says so, then moves the issue, unless somebody was faster.
    pub(super) async fn close(&mut self, open: Open, done: Option<Done>) -> Result<End, End> {
        let commented = done == Some(Done::Commented);
        let Some(is_done) = self.is_done(&open).await? else {
            return Ok(self.gone(&open).await);
        };
        if is_done && commented {
            // Our own last try, the answer to which was lost.
            return Ok(self.closed(open));
        }
        if is_done {
            self.reached(&open, None);
            return Ok(End::delivered(format!("{} is closed already.", open.issue.key)));
        }
        if !commented {
            self.comment(&open, done).await?;
            return Ok(self.go_on(&open, Done::Commented, "Commented; to be closed next."));
        }
        let (offered, chosen) = self.choose(&open, Goal::Done).await?;
        let Some(transition) = chosen else {
            return Err(End::dead(self.missing(&open, Goal::Done, &offered)));
        };
        if self.go(&open, &transition).await? {
            return Ok(self.closed(open));
        }
        Ok(self.gone(&open).await)
    }

    /// The incident is back, or was told of as if it were new: there is to be an open issue.
    pub(super) async fn bring_back(&mut self, open: Open, done: Option<Done>) -> Result<End, End> {
        let commented = done == Some(Done::Commented);
        let key = open.issue.key.clone();
        let Some(is_done) = self.is_done(&open).await? else {
            return Ok(self.gone(&open).await);
        };
        if !is_done {
            let open = Open { closed_by_us: false, closed_at: None, ..open };
            if !commented {
                self.comment(&open, done).await?;
            }
            self.reached(&open, None);
            return Ok(End::delivered(format!("{key} is open.")));
        }
        if !self.may_reopen(&open) {
            return self.follow(open).await;
        }
        let (offered, chosen) = self.choose(&open, Goal::Open).await?;
        // A name that is wrong is somebody's to mend; another issue each time would hide it.
        if chosen.is_none() && self.wanted(Goal::Open).is_none() {
            return self.follow(open).await;
        }
        if !commented {
            self.comment(&open, done).await?;
            return Ok(self.go_on(&open, Done::Commented, "Commented; to be opened again next."));
        }
        let Some(transition) = chosen else {
            return Err(End::dead(self.missing(&open, Goal::Open, &offered)));
        };
        if !self.go(&open, &transition).await? {
            return Ok(self.gone(&open).await);
        }
        let open = Open { closed_by_us: false, closed_at: None, ..open };
        self.reached(&open, None);
        Ok(End::delivered(format!("{key} is open again.")))
    }

    fn closed(&mut self, open: Open) -> End {
        let note = format!("{} is closed.", open.issue.key);
        let open = Open { closed_by_us: true, closed_at: Some(self.attempt.now), ..open };
        self.reached(&open, None);
        End::delivered(note)
    }

    /// A person who closed it is respected, and so is `reopen_within`.
    fn may_reopen(&self, open: &Open) -> bool {
        let within = self.jira.settings.reopen_within;
        let since = open.closed_at.map(|at| self.attempt.now.since(at));
        open.closed_by_us && within > Span::ZERO && since.is_some_and(|since| since <= within)
    }

    /// A closed issue that stays closed is followed by another one.
    async fn follow(&mut self, open: Open) -> Result<End, End> {
        self.lane.another(Some(open.issue));
        self.intend().await
    }

    /// Whether the issue has a status that means done; `None`: it is gone.
    async fn is_done(&mut self, open: &Open) -> Result<Option<bool>, End> {
        let path = ["2", "issue", open.issue.id.as_str()];
        let answer = self.talk.read(&path, &[("fields", "status")]).await?;
        let Some(body) = there(&answer)? else { return Ok(None) };
        let category = body.pointer("/fields/status/statusCategory/key").and_then(Value::as_str);
        Ok(Some(category == Some("done")))
    }

    /// The names of what the workflow offers now, and the one that leads to the goal.
    async fn choose(
        &mut self,
        open: &Open,
        goal: Goal,
    ) -> Result<(Vec<String>, Option<Transition>), End> {
        let path = ["2", "issue", open.issue.id.as_str(), "transitions"];
        let answer = self.talk.read(&path, &[]).await?;
        let body = there(&answer)?.unwrap_or_default();
        let transitions = body.get("transitions").and_then(Value::as_array);
        let transitions: Vec<Transition> =
            transitions.into_iter().flatten().filter_map(Transition::read).collect();
        let names = transitions.iter().map(Transition::shown).collect();
        Ok((names, choose(&transitions, goal, self.wanted(goal)).cloned()))
    }

    fn wanted(&self, goal: Goal) -> Option<&str> {
        let transitions = &self.jira.settings.transitions;
        match goal {
            Goal::Done => transitions.resolve.as_deref(),
            Goal::Open => transitions.reopen.as_deref(),
        }
    }

    /// Takes the transition. False: the issue is gone.
    async fn go(&mut self, open: &Open, transition: &Transition) -> Result<bool, End> {
        let path = ["2", "issue", open.issue.id.as_str(), "transitions"];
        let mut body = json!({"transition": {"id": transition.id}});
        if let Some(resolution) = self.resolution(&path, transition).await? {
            body["fields"] = json!({"resolution": {"name": resolution}});
        }
        match self.talk.write(&path, &body).await {
            Written::Taken(_) => Ok(true),
            Written::Refused(answer) if answer.status == 404 => Ok(false),
            // Somebody else is moving it just now.
            Written::Refused(answer) if answer.status == 409 => {
                Err(End::retry(Failure::Refused, None, words(&answer)))
            }
            Written::Refused(answer) => Err(End::dead(format!(
                "{} could not be moved by {}: {}; name another transition in the receiver's \
                 transitions, or move it by hand",
                open.issue.key,
                transition.shown(),
                words(&answer)
            ))),
            Written::NotNow(end) => Err(end),
            Written::Unsure { after, error } => Err(End::retry(self.talk.doubt(), after, error)),
        }
    }

    /// The resolution that a transition asks for on its way to done: without one, Jira counts an
    /// issue as unresolved whatever its status is.
    async fn resolution(
        &mut self,
        path: &[&str],
        transition: &Transition,
    ) -> Result<Option<String>, End> {
        if transition.category != "done" {
            return Ok(None);
        }
        let query = [("transitionId", transition.id.as_str()), ("expand", "transitions.fields")];
        let answer = self.talk.read(path, &query).await?;
        // One that is too long to be read has other fields than most; Jira says what is missing.
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let offered = body.get("transitions").and_then(Value::as_array);
        let this = |t: &&Value| t.get("id").and_then(Value::as_str) == Some(&transition.id);
        let allowed = offered
            .and_then(|offered| offered.iter().find(this))
            .and_then(|this| this.pointer("/fields/resolution/allowedValues")?.as_array());
        let names = allowed.into_iter().flatten().filter_map(|value| value.get("name")?.as_str());
        let names: Vec<&str> = names.collect();
        let known = RESOLUTIONS
            .iter()
            .find_map(|known| names.iter().find(|name| name.to_lowercase() == *known));
        Ok(known.or(names.first()).map(|name| (*name).to_owned()))
    }

    /// That no transition leads to the goal.
    fn missing(&self, open: &Open, goal: Goal, offered: &[String]) -> String {
        let key = &open.issue.key;
        let (setting, status) = match goal {
            Goal::Done => ("resolve", "done"),
            Goal::Open => ("reopen", "open"),
        };
        let wanted = match self.wanted(goal) {
            Some(wanted) => format!("{wanted:?}"),
            None => format!("to a status that means {status}"),
        };
        let offered = match offered {
            [] => "none at all: the gateway's user may not move it".to_owned(),
            offered => offered.join(", "),
        };
        format!(
            "the workflow of {key} has no transition {wanted} from where it is; it has: {offered}; \
             set transitions.{setting} to the one to take"
        )
    }
}

impl Transition {
    fn read(value: &Value) -> Option<Self> {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
        Some(Self {
            id: text("/id")?.to_owned(),
            name: text("/name").unwrap_or_default().to_owned(),
            to: text("/to/name").unwrap_or_default().to_owned(),
            category: text("/to/statusCategory/key").unwrap_or_default().to_owned(),
        })
    }

    fn shown(&self) -> String {
        format!("{:?} (to {:?})", self.name, self.to)
    }
}

/// The transition of that name, or to a status of that name; without a name, the one that leads to
/// the goal and is most likely meant.
fn choose<'t>(
    transitions: &'t [Transition],
    goal: Goal,
    wanted: Option<&str>,
) -> Option<&'t Transition> {
    let is = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
    if let Some(wanted) = wanted {
        let by_name = transitions.iter().find(|transition| is(&transition.name, wanted));
        return by_name
            .or_else(|| transitions.iter().find(|transition| is(&transition.to, wanted)));
    }
    let (categories, names): (&[&str], &[&str]) = match goal {
        Goal::Done => (&["done"], &RESOLVING),
        Goal::Open => (&["new", "indeterminate"], &REOPENING),
    };
    let rank = |transition: &&Transition| {
        let category = categories.iter().position(|known| *known == transition.category)?;
        let name =
            names.iter().position(|known| is(&transition.name, known) || is(&transition.to, known));
        Some((name.unwrap_or(names.len()), category))
    };
    transitions.iter().filter(|t| rank(t).is_some()).min_by_key(rank)
}

/// What was read of an issue; `None`: there is no such issue.
fn there(answer: &Answer) -> Result<Option<Value>, End> {
    match answer.status {
        200..=299 => parsed(answer).map(Some),
        404 if super::talk::complaints(answer).is_some() => Ok(None),
        _ => Err(End::retry(Failure::Refused, None, words(answer))),
    }
}
