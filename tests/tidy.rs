//! Rules of the code base that no compiler holds: layers, sizes, names, what must not be left over.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

const MAX_LINES: usize = 500;
const MAX_LINES_OF_MAIN: usize = 30;

/// What a module may import of ours; ARCHITECTURE.md explains why. A module that is not here may
/// not exist: whoever adds one decides where it stands.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("telemetry", &[]),
    ("clock", &["domain"]),
    ("wire", &["domain"]),
    ("store", &["domain"]),
    ("notify", &["domain", "store"]),
    ("outbox", &["domain", "store", "clock", "telemetry", "notify"]),
    ("config", &["domain", "telemetry"]),
    ("shutdown", &[]),
    ("policy", &["domain", "notify"]),
    ("ingest", &["domain", "policy", "store", "clock", "telemetry"]),
    (
        "api",
        &["domain", "wire", "policy", "store", "notify", "outbox", "ingest", "clock", "telemetry"],
    ),
    ("app", EVERYTHING),
    ("cli", EVERYTHING),
    ("lib", EVERYTHING),
    ("main", EVERYTHING),
];

const EVERYTHING: &[&str] = &[
    "domain",
    "telemetry",
    "clock",
    "wire",
    "notify",
    "outbox",
    "store",
    "config",
    "policy",
    "shutdown",
    "ingest",
    "api",
    "app",
    "cli",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files below a directory, their paths relative to the root.
fn files(directory: &str, extension: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root().join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(!found.is_empty(), "no .{extension} in {directory}");
    found
}

fn sources() -> BTreeMap<String, String> {
    let mut all = files("src", "rs");
    all.extend(files("tests", "rs"));
    all.extend(files("fuzz", "rs"));
    all
}

/// Whether a file is only built for tests, which may use everything: they put parts together.
fn is_test(name: &str) -> bool {
    name.contains("/tests/") || name.ends_with("tests.rs") || name.ends_with("test_server.rs")
}

/// The text without comments and without what is built for tests only.
fn production(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The top-level modules that a text names, by `crate::x` or in a list `crate::{x, …}`.
fn imports(text: &str) -> BTreeSet<String> {
    let single = Regex::new(r"\bcrate::([a-z_]+)").unwrap();
    let list = Regex::new(r"\bcrate::\{").unwrap();
    let mut found: BTreeSet<String> =
        single.captures_iter(text).map(|captures| captures[1].to_owned()).collect();
    for start in list.find_iter(text) {
        // What is at the first level of the braces.
        let mut depth = 1;
        let mut first_level = String::new();
        for letter in text[start.end()..].chars() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                letter if depth == 1 => first_level.push(letter),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        let names = first_level.split(',').filter_map(|item| item.trim().split("::").next());
        found.extend(names.filter(|name| !name.is_empty()).map(str::to_owned));
    }
    found
}

#[test]
fn modules_import_only_what_their_layer_may() {
    let layers: BTreeMap<&str, BTreeSet<&str>> =
        LAYERS.iter().map(|(name, may)| (*name, may.iter().copied().collect())).collect();
    let mut wrong = Vec::new();
    for (name, text) in files("src", "rs") {
        if is_test(&name) {
            continue;
        }
        let module = name.trim_start_matches("src/").split(['/', '.']).next().unwrap();
        let may = layers.get(module).unwrap_or_else(|| panic!("{name} has no layer in tidy.rs"));
        for import in imports(&production(&text)) {
            if import != module && EVERYTHING.contains(&&*import) && !may.contains(&*import) {
                wrong.push(format!("{name} imports {import}"));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn the_layers_have_no_cycle() {
    let may: BTreeMap<&str, &[&str]> = LAYERS.iter().copied().collect();
    let mut settled: BTreeSet<&str> = BTreeSet::new();
    let below = [
        "domain",
        "telemetry",
        "clock",
        "wire",
        "store",
        "notify",
        "config",
        "shutdown",
        "policy",
        "ingest",
        "notify",
        "outbox",
        "api",
    ];
    for name in below {
        assert!(may[name].iter().all(|import| settled.contains(import)), "{name} is too low");
        settled.insert(name);
    }
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::domain::id;\nlet a = crate::store::Store;\nuse crate::{\n    api::{self, Api},\n    wire,\n    clock::Clock};";
    let found: Vec<_> = imports(text).into_iter().collect();
    assert_eq!(found, ["api", "clock", "domain", "store", "wire"]);
}

#[test]
fn files_are_short() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|(name, text)| (text.lines().count(), name))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .collect();
    assert_eq!(long, [], "split them by what they are for");
    let main = fs::read_to_string(root().join("src/main.rs")).unwrap();
    assert!(main.lines().count() <= MAX_LINES_OF_MAIN, "main.rs only starts the command line");
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(n, _)| n)
        .collect();
    assert_eq!(silent, [""; 0]);
}

#[test]
fn nothing_is_left_over() {
    // In parts, so that this file does not hold them.
    let words: Vec<String> = [
        ("TO", "DO"),
        ("FIX", "ME"),
        ("XX", "X"),
        ("#[ign", "ore"),
        ("todo", "!("),
        ("unimplemented", "!("),
        ("dbg", "!("),
    ]
    .into_iter()
    .map(|(a, b)| format!("{a}{b}"))
    .collect();
    let mut found = Vec::new();
    for (name, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            for word in &words {
                if line.contains(word.as_str()) {
                    found.push(format!("{name}:{}: {word}", number + 1));
                }
            }
        }
    }
    assert_eq!(found, [""; 0]);
}

#[test]
fn migrations_are_numbered_without_gaps_and_all_are_run() {
    let migrations = files("migrations/sqlite", "sql");
    let sources = files("src/store", "rs").into_values().collect::<String>();
    for (at, (path, sql)) in migrations.iter().enumerate() {
        let name = Path::new(path).file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(&format!("{:04}_", at + 1)), "{name} has a gap before it");
        assert!(sql.starts_with("-- "), "{name} does not say why");
        assert!(sources.contains(name), "{name} is not run");
    }
}

#[test]
fn every_table_is_strict() {
    let create = Regex::new(r"(?s)CREATE TABLE (\w+) \(.*?\n\)(.*?);").unwrap();
    for (path, sql) in files("migrations/sqlite", "sql") {
        let tables = create.captures_iter(&sql).count();
        assert_eq!(
            tables,
            sql.matches("CREATE TABLE").count(),
            "{path}: a table is not understood"
        );
        for table in create.captures_iter(&sql) {
            assert!(table[2].contains("STRICT"), "{path}: {} is not STRICT", &table[1]);
        }
    }
}

/// How a fixture is replayed says its `needs`; whoever adds a new kind adds it there.
#[test]
fn every_fixture_of_the_wire_is_a_row_that_is_replayed() {
    let kinds = ["throttle", "unavailable", "unknown_key", "http"];
    for (name, text) in files("tests/fixtures/wire", "json") {
        let row: serde_json::Value = serde_json::from_str(&text).unwrap();
        let needs = &row["needs"];
        assert!(needs.is_null() || kinds.iter().any(|kind| needs == kind), "{name}: {needs}");
        assert!(row["why"].as_str().is_some_and(|why| !why.is_empty()), "{name} says not why");
        assert_ne!(row["answer"].is_null(), row["answer_pattern"].is_null(), "{name}");
    }
    let replayed = fs::read_to_string(root().join("tests/it/wire.rs")).unwrap();
    for kind in kinds {
        assert!(replayed.contains(&format!("\"{kind}")), "nobody replays what needs {kind}");
    }
}

#[test]
fn every_dependency_is_from_the_registry() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let sources: Vec<_> = lock.lines().filter(|line| line.starts_with("source = ")).collect();
    // One registry for all, no Git and no path: the first line says which one cargo uses.
    let registry = sources.iter().find(|line| line.contains("\"registry+")).unwrap();
    let elsewhere: Vec<_> = sources.iter().filter(|line| *line != registry).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}
