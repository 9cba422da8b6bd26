//! The timelines of `tests/scenarios`, each run on the pure core: line by line, in its batches,
//! with more ticks than it has, and in one go. What comes out must be the same.

mod expect;
mod play;
mod script;

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::Path,
    sync::Arc,
};

use serde_json::Value;

use self::{
    play::{Mode, Play},
    script::Script,
};
use super::gateway::{Gateway, Happened};
use crate::domain::{receiver::ReceiverKind, time::Timestamp};

/// All scripts, by name.
fn scripts() -> Vec<Script> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut scripts = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            scripts.push(Script::parse(&name, &text).unwrap_or_else(|what| panic!("{what}")));
        }
    }
    scripts.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!scripts.is_empty());
    scripts
}

/// What every timeline did to a gateway, for other stores to go through: name, log, result.
pub(crate) fn histories() -> Vec<(String, Vec<Happened>, Gateway)> {
    let run = |script: &Script| {
        let mut play = Play::run(script, Mode::Batches, &aims(script));
        let log = std::mem::take(&mut play.gateway.log);
        (script.name.clone(), log, play.gateway)
    };
    scripts().iter().map(run).collect()
}

/// What every timeline did to a gateway that has all the receivers it speaks of, which take turns in
/// having these settings: name and gateway.
pub(crate) fn histories_with_receivers(settings: &[Value]) -> Vec<(String, Gateway)> {
    let run = |(number, script): (usize, &Script)| {
        let mode = Mode::LineByLine;
        let first = Play::run(script, mode, &HashMap::new());
        let told = first.gateway.world.state.notifications.iter();
        let names: BTreeSet<_> = told.map(|told| Arc::clone(&told.receiver)).collect();
        let mut gateway = Gateway::new();
        for (at, name) in names.into_iter().enumerate() {
            let mut settings = settings[(number + at) % settings.len()].clone();
            settings["url"] = format!("{name}/0").into();
            gateway.put_receiver(&name, ReceiverKind::Webhook, &settings, Timestamp::default());
        }
        (script.name.clone(), Play::over(gateway, script, mode, &HashMap::new()).gateway)
    };
    scripts().iter().enumerate().map(run).collect()
}

fn aims(script: &Script) -> HashMap<usize, crate::domain::changes::Target> {
    Play::run(script, Mode::LineByLine, &HashMap::new()).aims
}

fn assert_none(mode: Mode, failures: &[String]) {
    assert!(failures.is_empty(), "{mode:?}\n{}\n", failures.join("\n"));
}

#[test]
fn every_timeline_is_as_it_is_written() {
    let mode = Mode::LineByLine;
    let run = |script: &Script| Play::run(script, mode, &HashMap::new()).failures;
    assert_none(mode, &scripts().iter().flat_map(run).collect::<Vec<_>>());
}

#[test]
fn it_is_the_same_in_batches() {
    let mut failures = Vec::new();
    for script in scripts() {
        let one_by_one = Play::run(&script, Mode::LineByLine, &HashMap::new());
        for mode in [Mode::Batches, Mode::Joined] {
            let mut batched = Play::run(&script, mode, &one_by_one.aims);
            failures.append(&mut batched.failures);
            let states = (&batched.gateway.world.state, &one_by_one.gateway.world.state);
            if let Some(difference) = states.0.first_difference(states.1) {
                failures.push(format!("{} {mode:?}\n{difference}", script.name));
            }
        }
    }
    assert_none(Mode::Batches, &failures);
}

#[test]
fn it_is_the_same_with_more_ticks() {
    let mode = Mode::ExtraTicks;
    let run = |script: &Script| Play::run(script, mode, &HashMap::new()).failures;
    assert_none(mode, &scripts().iter().flat_map(run).collect::<Vec<_>>());
}
