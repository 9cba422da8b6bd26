//! What a command says to the person who ran it: results on stdout, everything else on stderr.

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

/// Prints a result.
pub(super) fn out(text: impl fmt::Display) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Prints a remark. There is nobody to tell if that fails.
pub(super) fn note(text: impl fmt::Display) {
    writeln!(io::stderr().lock(), "{text}").ok();
}

/// Why a command failed, and what to do about it.
#[derive(Debug)]
pub(super) struct Failure {
    error: anyhow::Error,
    next: Option<String>,
}

impl Failure {
    pub(super) fn new(error: impl Into<anyhow::Error>, next: impl Into<String>) -> Self {
        Self { error: error.into(), next: Some(next.into()) }
    }

    /// Prints the failure as `error: …: cause: cause`, with the next step below it.
    pub(super) fn report(&self) -> ExitCode {
        if self.is_broken_pipe() {
            // `dutygate man | head`: the reader has seen enough.
            return ExitCode::SUCCESS;
        }
        note(self);
        ExitCode::FAILURE
    }

    fn is_broken_pipe(&self) -> bool {
        let root = self.error.root_cause().downcast_ref::<io::Error>();
        root.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {:#}", self.error)?;
        match &self.next {
            Some(next) => write!(f, "\n  next: {next}"),
            None => Ok(()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { error, next: None }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self { error: error.into(), next: None }
    }
}

/// Adds the next step to an error.
pub(super) trait OrNext<T> {
    fn or_next(self, next: impl Into<String>) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrNext<T> for Result<T, E> {
    fn or_next(self, next: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(error, next))
    }
}

/// Lays out rows in columns that are as wide as their widest cell.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(head)];
    lines.extend(rows.iter().map(|row| line(row.each_ref().map(String::as_str))));
    lines.join("\n")
}

/// A size as people read it: `1.5 MiB`.
pub(super) fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn a_failure_is_one_line_with_its_causes_and_the_next_step() {
        let failure: Result<(), Failure> =
            Err(anyhow!("connection refused")).context("cannot reach it").or_next("start it");

        assert_eq!(
            failure.unwrap_err().to_string(),
            "error: cannot reach it: connection refused\n  next: start it"
        );
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [["a".to_owned(), "viewer".to_owned()], ["longer".to_owned(), "x".to_owned()]];

        assert_eq!(table(["NAME", "ROLE"], &rows), "NAME    ROLE\na       viewer\nlonger  x");
    }
}
