//! The command line as a whole: help, examples, what is generated from it.

use clap::{Parser as _, error::ErrorKind};

use super::*;

/// Every command with its path, the root first.
fn all(command: &clap::Command, path: &str) -> Vec<(String, clap::Command)> {
    let mut found = vec![(path.to_owned(), command.clone())];
    for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
        found.extend(all(child, &format!("{path} {}", child.get_name())));
    }
    found
}

#[test]
fn the_tree_of_commands_is_sound() {
    command().debug_assert();
}

#[test]
fn every_command_says_what_it_does_with_an_example() {
    let mut root = command();
    root.build();
    let commands = all(&root, "dutygate");
    assert!(commands.len() > 12, "{}", commands.len());
    for (path, mut command) in commands {
        let help = command.render_long_help().to_string();
        assert!(help.contains("Examples:\n  "), "{path} has no example");
        assert!(help.contains(&path), "{path}: its example does not show it");
        assert!(command.get_about().is_some(), "{path} says nothing");
    }
}

#[test]
fn help_shows_no_value_of_the_environment() {
    for (path, command) in all(&command(), "dutygate") {
        for arg in command.get_arguments().filter(|arg| arg.get_env().is_some()) {
            assert!(arg.is_hide_env_values_set(), "{path} {}", arg.get_id());
        }
    }
}

#[test]
fn no_command_means_serve_with_its_flags() {
    let cli = Cli::try_parse_from(["dutygate", "--listen", "127.0.0.1:1", "--log-level", "warn"]);

    let cli = cli.unwrap();

    assert!(cli.command.is_none());
    let shown = format!("{:?}", cli.serve);
    assert!(shown.contains(r#"("listen", "127.0.0.1:1"), ("log.level", "warn")"#), "{shown}");
}

#[test]
fn secrets_have_no_flag() {
    for flag in ["--admin-token", "--default-integration-key", "--heartbeat-url"] {
        let error = Cli::try_parse_from(["dutygate", "serve", flag, "x"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownArgument, "{flag}");
    }
}

#[test]
fn mistakes_on_the_command_line_are_refused() {
    for (line, kind) in [
        ("dutygate sevre", ErrorKind::InvalidSubcommand),
        ("dutygate send trigger --event-action resolve", ErrorKind::ArgumentConflict),
        ("dutygate send trigger --change", ErrorKind::ArgumentConflict),
        ("dutygate send --custom-details {", ErrorKind::ValueValidation),
        ("dutygate send --custom-details 1 --detail a=b", ErrorKind::ArgumentConflict),
        ("dutygate send --count 0", ErrorKind::ValueValidation),
        ("dutygate send --rate fast", ErrorKind::ValueValidation),
        ("dutygate send --url localhost:8080", ErrorKind::ValueValidation),
        ("dutygate send --timeout 5", ErrorKind::ValueValidation),
        ("dutygate token", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("dutygate token create --name a --role king", ErrorKind::InvalidValue),
        ("dutygate backup", ErrorKind::MissingRequiredArgument),
        ("dutygate apply --dry-run", ErrorKind::MissingRequiredArgument),
        ("dutygate completions tcsh", ErrorKind::InvalidValue),
    ] {
        let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
        assert_eq!(error.kind(), kind, "{line}");
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}
