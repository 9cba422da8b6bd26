//! Runs the lines of a script on a gateway.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::Value;

use super::{
    expect,
    script::{Line, Script, Step, time},
};
use crate::domain::{
    changes::{ActionInput, ActionOutcome, Input, Outcome, Target, Verb},
    event::{Api, Content, Event, Intent, SentId, SentTime, Severity},
    id::{AlertId, IncidentId},
    key::DedupKey,
    silence::When,
    tests::gateway::{Gateway, SilenceText, weekly},
    time::{Span, Timestamp},
};

/// How the lines are handed to the core. The result has to be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Each line is a batch of its own.
    LineByLine,
    /// What the script calls a batch is one.
    Batches,
    /// As line by line, and a timer runs again and again between the lines.
    ExtraTicks,
    /// All lines between two changes of the configuration are one batch. Nothing is looked at
    /// before the end.
    Joined,
}

/// A script on its way.
#[derive(Debug)]
pub(super) struct Play<'s> {
    pub(super) script: &'s Script,
    mode: Mode,
    pub(super) gateway: Gateway,
    /// What the actions of people aimed at, by the number of their line.
    pub(super) aims: HashMap<usize, Target>,
    pub(super) failures: Vec<String>,
    /// Inputs that wait for their batch.
    waiting: Vec<Input>,
    last: Timestamp,
}

/// Everything that the outcomes of a step have to say.
pub(super) type Answers = Vec<(usize, Outcome)>;

impl<'s> Play<'s> {
    /// `aims` are those of a run line by line.
    pub(super) fn run(script: &'s Script, mode: Mode, aims: &HashMap<usize, Target>) -> Self {
        Self::over(Gateway::new(), script, mode, aims)
    }

    /// The same on a gateway that something is known to already.
    pub(super) fn over(
        gateway: Gateway,
        script: &'s Script,
        mode: Mode,
        aims: &HashMap<usize, Target>,
    ) -> Self {
        let mut play = Self {
            script,
            mode,
            gateway,
            aims: aims.clone(),
            failures: Vec::new(),
            waiting: Vec::new(),
            last: script.start,
        };
        for step in &script.steps {
            if let Err(what) = play.step(step) {
                let number = step.lines.first().map_or(0, |line| line.number);
                play.failures.push(format!("{}:{number}: {what}", script.name));
                break;
            }
        }
        play.flush();
        play
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let before = expect::Before::of(&self.gateway);
        let mut answers = Answers::new();
        let last = step.lines.len().saturating_sub(1);
        for (at, line) in step.lines.iter().enumerate() {
            if self.configure(line)? {
                continue;
            }
            if line.word(0) == "end" {
                continue;
            }
            let input = self.input(line)?;
            match self.mode {
                Mode::Joined => self.waiting.push(input),
                Mode::Batches => {
                    self.waiting.push(input);
                    if at == last {
                        let outcomes = self.flush();
                        answers.extend(step.lines.iter().map(|l| l.number).zip(outcomes));
                    }
                }
                Mode::LineByLine | Mode::ExtraTicks => {
                    self.extra_ticks(line.at);
                    let outcomes = self.gateway.batch(&[input]);
                    answers.extend(outcomes.into_iter().map(|outcome| (line.number, outcome)));
                }
            }
        }
        if self.mode != Mode::Joined {
            let failures = expect::check(self, step, &before, &answers);
            self.failures.extend(failures);
        }
        Ok(())
    }

    fn flush(&mut self) -> Vec<Outcome> {
        let inputs = std::mem::take(&mut self.waiting);
        if inputs.is_empty() { Vec::new() } else { self.gateway.batch(&inputs) }
    }

    /// A timer that runs far more often than anything happens.
    fn extra_ticks(&mut self, until: Timestamp) {
        if self.mode == Mode::ExtraTicks && until > self.last {
            let (from, to) = (self.last.as_millis(), until.as_millis());
            for at in [from + 1, from + (to - from) / 3, from + (to - from) / 2, to - 1, to] {
                self.gateway.batch(&[Input::Tick(Timestamp::from_millis(at))]);
            }
        }
        self.last = until;
    }

    fn time_of(&self, line: &Line, name: &str) -> Result<Option<Timestamp>, String> {
        line.value(name)
            .map(|text| time(self.script.start, text).ok_or(format!("{name} is no time")))
            .transpose()
    }

    /// Does what changes the configuration; says whether that is what the line wants.
    fn configure(&mut self, line: &Line) -> Result<bool, String> {
        let name = line.word(1);
        let known = |found: bool| if found { Ok(()) } else { Err(format!("there is no {name}")) };
        let verbs = ["service", "integration", "route", "policy", "silence", "expire", "down"];
        if !verbs.contains(&line.word(0)) {
            return Ok(false);
        }
        self.flush();
        // Nothing runs while it is down.
        self.extra_ticks(self.time_of(line, "since")?.unwrap_or(line.at));
        self.last = line.at;
        let service = line.value("service");
        let service_id = match service.map(|name| self.gateway.service(name).ok_or(name)) {
            Some(Err(name)) => return Err(format!("there is no service {name}")),
            Some(Ok(id)) => Some(id),
            None => None,
        };
        match line.word(0) {
            "service" => self.gateway.add_service(name),
            "integration" => {
                let service = service_id.ok_or("service= is missing")?;
                self.gateway.add_integration(name, service);
            }
            "route" => {
                let service = service_id.ok_or("service= is missing")?;
                self.gateway.add_route(&matchers(line), service);
            }
            "policy" => {
                let name = if name.is_empty() { "default" } else { name };
                let service = self.gateway.service(name).ok_or("there is no such service")?;
                self.gateway.set_policy(service, &line.body, line.at)?;
            }
            "silence" => {
                let from = self.time_of(line, "from")?.unwrap_or(line.at);
                let until = self.time_of(line, "until")?;
                let when = match (until, line.value("weekly")) {
                    (Some(until), None) => When::Once { from, until },
                    (None, Some(schedule)) => {
                        let read: Value =
                            yaml_serde::from_str(schedule).map_err(|e| e.to_string())?;
                        weekly(&read)?
                    }
                    _ => return Err("a silence needs until= or weekly=".to_owned()),
                };
                let matchers = matchers(line);
                self.gateway.put_silence(SilenceText { name, matchers, service, when }, line.at);
            }
            "expire" => known(self.gateway.end_silence(name, line.at))?,
            "down" => {
                let since = self.time_of(line, "since")?.ok_or("since= is missing")?;
                self.gateway.was_down(since, line.at);
            }
            _ => {}
        }
        Ok(true)
    }

    fn input(&mut self, line: &Line) -> Result<Input, String> {
        let key = DedupKey::parse(line.word(1));
        let intent = match line.word(0) {
            "tick" => return Ok(Input::Tick(line.at)),
            "by" => return self.action(line),
            "close" => {
                let service_id = self.gateway.service(line.word(1));
                return Ok(Input::CloseService {
                    service_id: service_id.ok_or("there is no such service")?,
                    actor: "token:ann".to_owned(),
                    received_at: line.at,
                });
            }
            "trigger" | "inform" => Intent::Trigger {
                dedup_key: key.ok().filter(|key| key.as_str() != "-"),
                content: Box::new(content(line)?),
            },
            "acknowledge" => Intent::Acknowledge { dedup_key: key.map_err(|e| e.to_string())? },
            "resolve" => Intent::Resolve { dedup_key: key.map_err(|e| e.to_string())? },
            other => return Err(format!("{other:?} is nothing that can happen")),
        };
        let via = line.value("via").unwrap_or("default");
        let integration = self.gateway.integration(via).ok_or(format!("no integration {via}"))?;
        let mut event = Event::new(Api::V2, intent, SentTime::default());
        event.informs = line.word(0) == "inform";
        event.sent_id = line.value("id").map(SentId::of);
        Ok(self.gateway.world.event_input(&Arc::clone(integration), line.at, event))
    }

    /// `by ann VERB incident N …` or `by ann VERB alert KEY …`.
    fn action(&mut self, line: &Line) -> Result<Input, String> {
        let (actor, verb, kind, which) = (line.word(1), line.word(2), line.word(3), line.word(4));
        let target = match self.aims.get(&line.number) {
            // Ids are made alike in every run but for one with more ticks.
            Some(target) if self.mode != Mode::ExtraTicks => *target,
            _ => self.aim(kind, which)?,
        };
        self.aims.insert(line.number, target);
        let more = line.word(5);
        let verb = match verb {
            "acknowledge" => Verb::Acknowledge,
            "unacknowledge" => Verb::Unacknowledge,
            "resolve" => Verb::Resolve,
            "note" => Verb::Note(more.to_owned()),
            "snooze" => Verb::Snooze(Span::parse(more).map_err(|e| e.to_string())?),
            "assign" => Verb::Assign((!more.is_empty()).then(|| more.to_owned())),
            "merge" => Verb::Merge(self.merge_into(line)?),
            "fall-back" => Verb::FallBack { from: more.into(), to: line.word(6).into() },
            other => return Err(format!("nobody can {other}")),
        };
        let actor = if actor.contains(':') { actor.to_owned() } else { format!("token:{actor}") };
        Ok(Input::Action(Arc::new(ActionInput { target, verb, actor, received_at: line.at })))
    }

    /// `into N`: remembered under the line's number as well, beyond all lines.
    fn merge_into(&mut self, line: &Line) -> Result<IncidentId, String> {
        let at = line.number + 1_000_000;
        let target = match self.aims.get(&at) {
            Some(target) if self.mode != Mode::ExtraTicks => *target,
            _ => self.aim("incident", line.word(6))?,
        };
        self.aims.insert(at, target);
        match target {
            Target::Incident(id) => Ok(id),
            Target::Alert(_) => Err("incidents are merged, not alerts".to_owned()),
        }
    }

    fn aim(&self, kind: &str, which: &str) -> Result<Target, String> {
        match kind {
            "incident" => {
                let number: i64 = which.parse().map_err(|_| "which incident?")?;
                let none = IncidentId::new(Timestamp::default(), 0, 0);
                Ok(Target::Incident(self.incident(number).unwrap_or(none)))
            }
            "alert" => {
                let none = AlertId::new(Timestamp::default(), 0, 0);
                Ok(Target::Alert(self.newest(which).unwrap_or(none)))
            }
            other => Err(format!("{other:?} is neither incident nor alert")),
        }
    }

    pub(super) fn incident(&self, number: i64) -> Option<IncidentId> {
        let ids = self.gateway.world.state.incidents.keys();
        ids.copied().find(|id| id.seq() == number)
    }

    /// The newest alert of a key.
    pub(super) fn newest(&self, key: &str) -> Option<AlertId> {
        let alerts = &self.gateway.world.state.alerts;
        alerts.values().filter(|alert| alert.dedup_key.as_str() == key).map(|a| a.id).max()
    }
}

/// `match='class="disk", source="a"'`: all of them; none: everything.
fn matchers(line: &Line) -> Value {
    let mut items = vec![String::new()];
    let mut quoted = false;
    for letter in line.value("match").unwrap_or("").chars() {
        quoted ^= letter == '"';
        if letter == ',' && !quoted {
            items.push(String::new());
        } else if let Some(item) = items.last_mut() {
            item.push(letter);
        }
    }
    let items = items.iter().map(|item| item.trim()).filter(|item| !item.is_empty());
    items.map(Value::from).collect()
}

fn content(line: &Line) -> Result<Content, String> {
    let text = |name: &str| line.value(name).map(str::to_owned);
    let usual = if line.word(0) == "inform" { "info" } else { "error" };
    let severity = line.value("severity").unwrap_or(usual);
    let labels: BTreeMap<String, String> = line
        .named
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("label.")?.to_owned(), value.clone())))
        .collect();
    Ok(Content {
        summary: text("summary").unwrap_or_else(|| line.word(1).to_owned()),
        source: Some(text("source").unwrap_or_else(|| "host".to_owned())),
        severity: Severity::parse(severity).ok_or(format!("{severity} is no severity"))?,
        component: text("component"),
        group: text("group"),
        class: text("class"),
        custom_details: text("details").map(String::into_boxed_str),
        client: text("client"),
        client_url: None,
        links: Vec::new(),
        images: Vec::new(),
        labels,
    })
}

/// What an action came to, in words.
pub(super) fn refusal(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Action(ActionOutcome::Unchanged) => Some("unchanged"),
        Outcome::Action(ActionOutcome::NotFound) => Some("not found"),
        Outcome::Action(ActionOutcome::Conflict(why)) => Some(why),
        Outcome::Action(ActionOutcome::Changed)
        | Outcome::Event(_)
        | Outcome::Change(_)
        | Outcome::Test(_)
        | Outcome::Settled(_) => None,
    }
}
