//! What a script expects after a step, held against what came of it.

use serde_json::Value;

use super::{
    play::{Answers, Play, refusal},
    script::{Line, Step, shown, time},
};
use crate::domain::{
    alert::Alert,
    changes::{NewNotification, Outcome},
    event::Disposition,
    incident::Incident,
    tests::gateway::Gateway,
    time::Timestamp,
};

/// How much there was before a step.
#[derive(Debug)]
pub(super) struct Before {
    notifications: usize,
    events: usize,
    timeline: usize,
}

impl Before {
    pub(super) fn of(gateway: &Gateway) -> Self {
        let state = &gateway.world.state;
        Self {
            notifications: state.notifications.len(),
            events: state.events.len(),
            timeline: state.timeline.len(),
        }
    }
}

/// All that is not as expected, one line each.
pub(super) fn check(
    play: &Play<'_>,
    step: &Step,
    before: &Before,
    answers: &Answers,
) -> Vec<String> {
    let check = Check { play, step, before, answers };
    let mut failures = Vec::new();
    let name = &play.script.name;
    let first = step.lines.first().map_or(0, |line| line.number);
    if let Err(what) = check.notifications() {
        failures.push(format!("{name}:{first}: {what}"));
    }
    if let Err(what) = check.refusals() {
        failures.push(format!("{name}:{first}: {what}"));
    }
    for line in &step.expected {
        if let Err(what) = check.line(line) {
            failures.push(format!("{name}:{}: {what}", line.number));
        }
    }
    failures
}

struct Check<'c> {
    play: &'c Play<'c>,
    step: &'c Step,
    before: &'c Before,
    answers: &'c Answers,
}

type Checked = Result<(), String>;

fn equal(what: &str, expected: &str, actual: &str) -> Checked {
    if expected == actual { Ok(()) } else { Err(format!("{what} is {actual}, not {expected}")) }
}

impl Check<'_> {
    fn shown(&self, at: Timestamp) -> String {
        shown(self.play.script.start, at)
    }

    fn new_notifications(&self) -> &[NewNotification] {
        &self.play.gateway.world.state.notifications[self.before.notifications..]
    }

    /// Exactly the listed notifications were decided. Those to one receiver of one incident in
    /// this order.
    fn notifications(&self) -> Checked {
        let mut expected: Vec<(String, Option<&str>)> = Vec::new();
        for line in self.step.expected.iter().filter(|line| line.word(0) == "tell") {
            let mut words: Vec<&str> = line.words[1..].iter().map(String::as_str).collect();
            let at = words.iter().position(|word| word.starts_with('@')).map(|at| words.remove(at));
            let at = match at {
                Some(at) => time(self.play.script.start, &at[1..]).ok_or("@ wants a time")?,
                None => self.step.at(),
            };
            let number = words.iter().position(|word| word.parse::<i64>().is_ok());
            let number = number.map_or("1", |at| words.remove(at));
            let [receiver, reason, severity @ ..] = &words[..] else {
                return Err("say: tell RECEIVER REASON".to_owned());
            };
            let text = format!("{} {receiver} {reason} {number}", self.shown(at));
            expected.push((text, severity.first().copied()));
        }
        let mut actual: Vec<(String, &str)> = self
            .new_notifications()
            .iter()
            .map(|told| {
                let (at, number) = (self.shown(told.at), told.incident_id.seq());
                let text = format!("{at} {} {} {number}", told.receiver, told.reason);
                (text, told.severity.as_str())
            })
            .collect();
        let who = |text: &String| {
            let parts: Vec<&str> = text.split(' ').collect();
            (parts[0].to_owned(), parts[3].to_owned(), parts[1].to_owned())
        };
        expected.sort_by_key(|(text, _)| who(text));
        actual.sort_by_key(|(text, _)| who(text));
        let same = expected.len() == actual.len()
            && expected.iter().zip(&actual).all(|(expected, actual)| {
                expected.0 == actual.0 && expected.1.is_none_or(|severity| severity == actual.1)
            });
        if same {
            return Ok(());
        }
        let expected: Vec<_> = expected
            .iter()
            .map(|(text, severity)| format!("{text} {}", severity.unwrap_or("*")))
            .collect();
        let actual: Vec<_> =
            actual.iter().map(|(text, severity)| format!("{text} {severity}")).collect();
        Err(format!("told {actual:?}, expected {expected:?}"))
    }

    /// Actions of people succeed unless the script says otherwise.
    fn refusals(&self) -> Checked {
        let refused: Vec<&str> = self.answers.iter().filter_map(|(_, o)| refusal(o)).collect();
        let expected: Vec<&str> = self
            .step
            .expected
            .iter()
            .filter(|line| line.word(0) == "refused")
            .map(|line| line.word(1))
            .collect();
        let same = refused.len() == expected.len()
            && refused.iter().zip(&expected).all(|(refused, part)| refused.contains(part));
        if same { Ok(()) } else { Err(format!("refused {refused:?}, expected {expected:?}")) }
    }

    fn line(&self, line: &Line) -> Checked {
        match line.word(0) {
            "tell" | "refused" => Ok(()),
            "opened" | "merged" | "ignored" | "acknowledged" | "resolved" | "dropped"
            | "duplicate" => self.disposition(line),
            "suppressed" => self.suppressed(line),
            "alert" => self.alert(line),
            "incident" => self.incident(line),
            "holding" => self.holding(line),
            "trace" => self.trace(line),
            "timeline" => self.timeline(line),
            "alerts" => {
                let actual = self.play.gateway.world.state.alerts.len().to_string();
                equal("number of alerts", line.word(1), &actual)
            }
            "incidents" => {
                let actual = self.play.gateway.world.state.incidents.len().to_string();
                equal("number of incidents", line.word(1), &actual)
            }
            other => Err(format!("{other:?} is nothing that can be expected")),
        }
    }

    /// `opened [incident N]`: the last event of the step, and where its alert is.
    fn disposition(&self, line: &Line) -> Checked {
        let receipt = self.answers.iter().rev().find_map(|(_, outcome)| match outcome {
            Outcome::Event(receipt) => Some(receipt),
            Outcome::Change(_) | Outcome::Action(_) | Outcome::Test(_) | Outcome::Settled(_) => {
                None
            }
        });
        let receipt = receipt.ok_or("no event in this step")?;
        equal("what became of it", line.word(0), Disposition::as_str(receipt.disposition))?;
        if line.word(1) == "incident" {
            let alerts = &self.play.gateway.world.state.alerts;
            let alert = receipt.alert_id.and_then(|id| alerts.get(&id));
            let incident = alert.and_then(|alert| alert.incident_id);
            let number = incident.map_or("none".to_owned(), |id| id.seq().to_string());
            equal("its incident", line.word(2), &number)?;
        }
        Ok(())
    }

    fn find_alert(&self, key: &str) -> Result<&Alert, String> {
        let id = self.play.newest(key).ok_or(format!("there is no alert {key}"))?;
        Ok(&self.play.gateway.world.state.alerts[&id])
    }

    fn find_incident(&self, number: &str) -> Result<&Incident, String> {
        let id = number.parse().ok().and_then(|number| self.play.incident(number));
        let id = id.ok_or(format!("there is no incident {number}"))?;
        Ok(&self.play.gateway.world.state.incidents[&id])
    }

    /// What suppresses an alert: names of silences, keys of sources (`?`: none was open when it came).
    fn suppressors(&self, alert: &Alert) -> String {
        let gateway = &self.play.gateway;
        let quiet = &alert.standing.quiet;
        let mut names: Vec<String> = Vec::new();
        for on in &quiet.silenced {
            names.push(gateway.silence_name(on.silence).unwrap_or("a deleted silence").to_owned());
        }
        for by in &quiet.inhibited {
            let source = by.source.and_then(|id| gateway.world.state.alerts.get(&id));
            names.push(source.map_or("?".to_owned(), |alert| alert.dedup_key.as_str().to_owned()));
        }
        names.sort();
        if names.is_empty() { "none".to_owned() } else { names.join(",") }
    }

    /// `suppressed KEY by S1,S2` or `by none`.
    fn suppressed(&self, line: &Line) -> Checked {
        let alert = self.find_alert(line.word(1))?;
        equal("what suppresses it", line.word(3), &self.suppressors(alert))
    }

    fn alert(&self, line: &Line) -> Checked {
        let alert = self.find_alert(line.word(1))?;
        let until = |at: Option<Timestamp>| at.map_or("no".to_owned(), |at| self.shown(at));
        for (name, expected) in &line.named {
            let actual = match name.as_str() {
                "status" => alert.status.to_string(),
                "severity" => alert.severity.to_string(),
                "max_severity" => alert.max_severity.to_string(),
                "events" => alert.event_count.to_string(),
                "flapping" => alert.flapping.to_string(),
                "loud" => alert.is_loud().to_string(),
                "suppressed_by" => self.suppressors(alert),
                "muted_until" => until(alert.standing.quiet.muted_until),
                "paused_until" => until(alert.standing.quiet.paused_until),
                "resolved_at" => until(alert.resolved_at),
                "incident" => {
                    alert.incident_id.map_or("none".to_owned(), |id| id.seq().to_string())
                }
                "service" => {
                    let services = self.play.gateway.services().iter();
                    let found = services.filter(|s| s.id == alert.service_id).map(|s| &s.name);
                    found.cloned().collect()
                }
                other => return Err(format!("an alert has no {other}")),
            };
            equal(&format!("{name} of {}", line.word(1)), expected, &actual)?;
        }
        Ok(())
    }

    fn incident(&self, line: &Line) -> Checked {
        let incident = self.find_incident(line.word(1))?;
        let until = |at: Option<Timestamp>| at.map_or("no".to_owned(), |at| self.shown(at));
        for (name, expected) in &line.named {
            let actual = match name.as_str() {
                "status" => incident.status.to_string(),
                "severity" => incident.severity.to_string(),
                "max_severity" => incident.max_severity.to_string(),
                "alerts" => incident.alert_count.to_string(),
                "open" => incident.open.total().to_string(),
                "quiet" => incident.notices.quiet.total().to_string(),
                "title" => incident.title.clone(),
                "storm" => incident.storm.map_or("no".to_owned(), |storm| storm.to_string()),
                "snoozed" => until(incident.snoozed_until),
                "resolved_at" => until(incident.resolved_at),
                "acknowledged_at" => until(incident.acknowledged_at),
                "assignee" => incident.assignee.clone().unwrap_or_else(|| "nobody".to_owned()),
                other => return Err(format!("an incident has no {other}")),
            };
            equal(&format!("{name} of incident {}", line.word(1)), expected, &actual)?;
        }
        Ok(())
    }

    /// `holding N RECEIVER STATE [due=TIME] [why=TEXT]`; the state `none`: there is none.
    fn holding(&self, line: &Line) -> Checked {
        let incident = self.find_incident(line.word(1))?;
        let receiver = line.word(2);
        let mut holdings = incident.notices.holdings.iter();
        let holding = holdings.find(|holding| &*holding.receiver == receiver);
        let state = holding.map_or("none", |holding| holding.state.as_str());
        equal(&format!("the holding of {receiver}"), line.word(3), state)?;
        let Some(holding) = holding else { return Ok(()) };
        for (name, expected) in &line.named {
            match name.as_str() {
                "due" => {
                    let due = holding.due.map_or("no".to_owned(), |due| self.shown(due));
                    equal("due", expected, &due)?;
                }
                "why" if holding.why.contains(expected.as_str()) => {}
                "why" => return Err(format!("why is {:?}, not {expected:?}", holding.why)),
                other => return Err(format!("a holding has no {other}")),
            }
        }
        Ok(())
    }

    /// `trace STAGE DECISION [member=part …]` of the last event; the decision `none` alone: the
    /// stage says nothing.
    fn trace(&self, line: &Line) -> Checked {
        let events = &self.play.gateway.world.state.events[self.before.events..];
        let (.., trace) = events.last().ok_or("no event in this step")?;
        let entries: Vec<Value> = serde_json::from_str(trace).map_err(|e| e.to_string())?;
        let (stage, decision) = (line.word(1), line.word(2));
        let mut of_stage = entries.iter().filter(|entry| entry["stage"] == stage);
        if decision == "silent" {
            return if of_stage.next().is_none() { Ok(()) } else { Err(trace.clone()) };
        }
        let fits = |entry: &Value| {
            entry["decision"] == decision
                && line.named.iter().all(|(name, part)| {
                    let value = entry[name].as_str().unwrap_or("");
                    let at = time(self.play.script.start, part).map(|at| at.to_string());
                    value.contains(part.as_str()) || at.is_some_and(|at| value == at)
                })
        };
        if of_stage.any(fits) { Ok(()) } else { Err(format!("the trace is {trace}")) }
    }

    /// `timeline KIND [N] [reason=PART] [at=TIME]`: a row of this step.
    fn timeline(&self, line: &Line) -> Checked {
        let rows = &self.play.gateway.world.state.timeline[self.before.timeline..];
        let reason = line.value("reason").unwrap_or("");
        let at = line.value("at").map(|at| time(self.play.script.start, at));
        let found = rows.iter().any(|row| {
            let number = row.incident_id.map_or(String::new(), |id| id.seq().to_string());
            row.kind.as_str() == line.word(1)
                && row.reason.contains(reason)
                && (line.word(2).is_empty() || line.word(2) == number)
                && at.is_none_or(|at| at == Some(row.at))
        });
        let shown = || {
            let rows = rows
                .iter()
                .map(|row| format!("{} {}: {}", self.shown(row.at), row.kind.as_str(), row.reason));
            rows.collect::<Vec<_>>()
        };
        if found { Ok(()) } else { Err(format!("the timeline has {:?}", shown())) }
    }
}
