//! How well, and how fast, texts are grouped by similarity: `make bench-grouping DATA=dir`.
//!
//! Reads the CSV files of a folder that have the columns `Content` and `EventId`, as the samples of
//! `LogHub` do, and learns each file's texts in order, as a grouping rule does with its default
//! threshold. *Grouping accuracy* is the share of texts whose group holds exactly the texts of
//! their true one.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its output is what it is for")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use dutygate::domain::similarity::{Masked, THRESHOLD_DEFAULT, Templates};

/// How long one file is learned again and again to know the speed.
const TIMED: Duration = Duration::from_millis(300);

/// Under these it has become worse, and the run fails. They are for samples as those of `LogHub`.
const AVERAGE_FLOOR: f64 = 0.82;
const LEAST_FLOOR: f64 = 0.40;

struct Line {
    text: String,
    group: String,
}

struct Outcome {
    lines: usize,
    true_groups: usize,
    found_groups: usize,
    /// Lines in a group that is exactly right.
    right: usize,
    per_second: f64,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    // Cargo adds `--bench`.
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let folder =
        folder.context("which folder? make bench-grouping DATA=<folder with CSV files>")?;
    let mut sets = Vec::new();
    for file in csv_files(Path::new(&folder))? {
        if let Some(lines) = read(&file)? {
            sets.push((file.file_stem().unwrap_or_default().to_string_lossy().into_owned(), lines));
        }
    }
    if sets.is_empty() {
        bail!("{folder} has no CSV file with lines and the columns Content and EventId");
    }

    println!("threshold {THRESHOLD_DEFAULT}");
    println!();
    println!("| set | lines | true groups | found groups | grouping accuracy | texts/s |");
    println!("|---|---:|---:|---:|---:|---:|");
    let mut accuracies = Vec::new();
    for (name, lines) in sets {
        let outcome = measure(&lines);
        let accuracy = share(outcome.right, outcome.lines);
        println!(
            "| {name} | {} | {} | {} | {accuracy:.3} | {:.0} |",
            outcome.lines, outcome.true_groups, outcome.found_groups, outcome.per_second,
        );
        accuracies.push(accuracy);
    }

    let average = accuracies.iter().sum::<f64>() / as_f64(accuracies.len());
    let least = accuracies.iter().copied().fold(1.0, f64::min);
    println!();
    println!("average {average:.4}, minimum {least:.3}, of {} sets", accuracies.len());
    if average < AVERAGE_FLOOR || least < LEAST_FLOOR {
        bail!("worse than it may become: average {AVERAGE_FLOOR}, no set below {LEAST_FLOOR}");
    }
    Ok(())
}

/// The CSV files of a folder and of the folders in it, by name.
fn csv_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let cannot = || format!("cannot read the folder {}", folder.display());
        for entry in std::fs::read_dir(&folder).with_context(cannot)? {
            let path = entry.with_context(cannot)?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "csv") {
                files.push(path);
            }
        }
    }
    files.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    Ok(files)
}

/// The lines of a file, or `None` if it has no lines or not the columns.
fn read(file: &Path) -> anyhow::Result<Option<Vec<Line>>> {
    let cannot = || format!("cannot read {}", file.display());
    let mut reader = csv::Reader::from_path(file).with_context(cannot)?;
    let header = reader.headers().with_context(cannot)?;
    let column = |name| header.iter().position(|column| column == name);
    let (Some(text), Some(group)) = (column("Content"), column("EventId")) else {
        return Ok(None);
    };
    let mut lines = Vec::new();
    for row in reader.records() {
        let row = row.with_context(cannot)?;
        lines.push(Line { text: row[text].to_owned(), group: row[group].to_owned() });
    }
    Ok((!lines.is_empty()).then_some(lines))
}

fn measure(lines: &[Line]) -> Outcome {
    let learned = learn(lines);
    let began = Instant::now();
    let mut rounds = 0;
    while began.elapsed() < TIMED {
        assert_eq!(learn(lines), learned, "the same texts came to other groups");
        rounds += 1;
    }
    let per_second = as_f64(rounds * lines.len()) / began.elapsed().as_secs_f64();

    let mut true_groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut found_groups: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (at, (line, found)) in lines.iter().zip(&learned).enumerate() {
        true_groups.entry(&line.group).or_default().push(at);
        found_groups.entry(*found).or_default().push(at);
    }
    let is_right = |group: &&Vec<usize>| found_groups[&learned[group[0]]] == **group;
    Outcome {
        lines: lines.len(),
        true_groups: true_groups.len(),
        found_groups: found_groups.len(),
        right: true_groups.values().filter(is_right).map(Vec::len).sum(),
        per_second,
    }
}

/// The template of each line, decided when it is seen.
fn learn(lines: &[Line]) -> Vec<i64> {
    let mut templates = Templates::default();
    let one = |line: &Line| templates.learn(&Masked::of(&line.text), THRESHOLD_DEFAULT).template;
    lines.iter().map(one).collect()
}

fn share(part: usize, of: usize) -> f64 {
    as_f64(part) / as_f64(of)
}

#[expect(clippy::cast_precision_loss, reason = "counts of lines are far below 2^52")]
fn as_f64(count: usize) -> f64 {
    count as f64
}
