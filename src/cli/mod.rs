//! The command line: one subcommand a file.
//!
//! `serve` is the gateway; the others are clients of a running one, or work on files. No rule of
//! the gateway lives here: a command parses flags, calls, and prints.

mod apply;
mod backup;
mod check_config;
mod client;
mod completions;
mod gateway;
mod healthcheck;
mod man;
mod openapi;
mod replay;
mod send;
mod serve;
mod settings_args;
mod token;
mod ui;
mod version;

use std::{future::Future, process::ExitCode};

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand};

use ui::Failure;

const EXAMPLES: &str = "\
Examples:
  dutygate                                  run the gateway with defaults
  dutygate --listen 0.0.0.0:8080            the same as `dutygate serve --listen …`
  dutygate send trigger --routing-key KEY --summary 'disk full' --source db1 --severity critical
  dutygate help send                        all about one command

Exit status: 0 if it worked, 1 if not, 2 for a mistake on the command line.";

/// Self-hosted, PagerDuty-compatible event gateway
///
/// Keeps what it accepts, deduplicates, groups and explains. Without a command it runs the gateway;
/// with no settings at all it listens on 127.0.0.1:8080 and keeps everything in
/// ./data/dutygate.db.
#[derive(Debug, Parser)]
#[command(name = "dutygate", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    CheckConfig(check_config::CheckConfig),
    Apply(apply::Apply),
    Replay(replay::Replay),
    Send(Box<send::Send>),
    Token(token::Token),
    Backup(backup::Backup),
    Healthcheck(healthcheck::Healthcheck),
    Openapi(openapi::Openapi),
    Completions(completions::Completions),
    Man(man::Man),
    Version(version::Version),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    client::install_crypto_provider();
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// The whole tree of commands, for what is generated from it.
fn command() -> clap::Command {
    Cli::command()
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => block_on_threads(args.run()),
        Command::CheckConfig(args) => args.run(),
        Command::Apply(args) => block_on(args.run()),
        Command::Replay(args) => block_on(args.run()),
        Command::Send(args) => block_on(args.run()),
        Command::Token(args) => block_on(args.run()),
        Command::Backup(args) => block_on(args.run()),
        Command::Healthcheck(args) => block_on(args.run()),
        Command::Openapi(args) => args.run(),
        Command::Completions(args) => args.run(),
        Command::Man(args) => args.run(),
        Command::Version(args) => block_on(args.run()),
    }
}

fn block_on(future: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    run_on(tokio::runtime::Builder::new_current_thread(), future)
}

fn block_on_threads(future: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    run_on(tokio::runtime::Builder::new_multi_thread(), future)
}

fn run_on(
    mut runtime: tokio::runtime::Builder,
    future: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    runtime.enable_all().build().context("cannot start the runtime")?.block_on(future)
}

#[cfg(test)]
mod test_server;
#[cfg(test)]
mod tests;
