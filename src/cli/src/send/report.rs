//! Names each line that failed, and keeps it.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use kafka_tower::{Error, Persistence};
use serde::Serialize;

use super::summary::Outcome;
use crate::args::SendArgs;
use crate::exit::Failure;
use crate::output::facts::ErrorFacts;
use crate::output::style::{BAD, DOUBT};
use crate::output::{document, say};

/// Where failed lines are reported.
#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    not_written: Option<Kept>,
    possibly_written: Option<Kept>,
    /// Why not all can be reported: nothing more is to be sent.
    broken: Option<Failure>,
}

/// A file of lines, which is made for the first one.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

/// The document of a line that failed.
#[derive(Debug, Serialize)]
struct FailedLine {
    r#type: &'static str,
    line: u64,
    outcome: &'static str,
    error: ErrorFacts,
}

impl Report {
    /// Refuses files that are there already.
    pub(crate) fn new(args: &SendArgs, json: bool) -> Result<Self, Failure> {
        let kept = |path: Option<&Path>| path.map(Kept::new).transpose();
        Ok(Self {
            json,
            not_written: kept(args.not_written.as_deref())?,
            possibly_written: kept(args.possibly_written.as_deref())?,
            broken: None,
        })
    }

    /// Reports a line that failed, and keeps it in the file for its outcome.
    pub(crate) fn failed(&mut self, number: u64, line: &Bytes, error: &Error) -> Outcome {
        let (outcome, style) = match error.persistence() {
            Persistence::NotPersisted => (Outcome::NotPersisted, BAD),
            _ => (Outcome::PossiblyPersisted, DOUBT),
        };
        if self.json {
            let outcome = error.persistence().as_str();
            let printed = document(&FailedLine { r#type: "failed", line: number, outcome, error: error.into() });
            self.note(printed);
        } else {
            say(&format!("{style}line {number}:{style:#} {error:#}"));
        }
        self.keep(outcome, line);
        outcome
    }

    /// Keeps a line in the file for its outcome.
    fn keep(&mut self, outcome: Outcome, line: &Bytes) {
        let kept = match outcome {
            Outcome::NotPersisted => &mut self.not_written,
            Outcome::PossiblyPersisted => &mut self.possibly_written,
            Outcome::Delivered | Outcome::Unacknowledged => return,
        };
        let kept = kept.as_mut().map_or(Ok(()), |kept| kept.write(line));
        self.note(kept);
    }

    fn note(&mut self, reported: Result<(), Failure>) {
        if let Err(failure) = reported {
            self.broken.get_or_insert(failure);
        }
    }

    /// Whether failed lines cannot be reported any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Completes the files.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let kept = self.not_written.into_iter().chain(self.possibly_written).try_for_each(Kept::finish);
        self.broken.map_or(kept, Err)
    }
}

impl Kept {
    /// An old file may have lines that are nowhere else; it may be the input.
    fn new(path: &Path) -> Result<Self, Failure> {
        if path.exists() {
            return Err(Failure::usage(
                format!("{} exists already", path.display()),
                "name another file, or remove it",
            ));
        }
        Ok(Self { path: path.to_owned(), file: None })
    }

    fn write(&mut self, line: &Bytes) -> Result<(), Failure> {
        let written = self.append(line);
        written.map_err(|error| self.not_kept(&error))
    }

    fn append(&mut self, line: &Bytes) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(BufWriter::new(File::create_new(&self.path)?)),
        };
        file.write_all(line)?;
        file.write_all(b"\n")
    }

    fn finish(mut self) -> Result<(), Failure> {
        let flushed = self.file.as_mut().map_or(Ok(()), BufWriter::flush);
        flushed.map_err(|error| self.not_kept(&error))
    }

    fn not_kept(&self, error: &io::Error) -> Failure {
        let message = format!("{} cannot be written: {error}", self.path.display());
        Failure::other(message, "it does not have all lines that failed: see those that were named")
    }
}
