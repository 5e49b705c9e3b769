//! What the command prints: results on the standard output; errors, progress and the log on the standard error.

pub(crate) mod facts;
pub(crate) mod log;
pub(crate) mod style;

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::LazyLock;

use indicatif::MultiProgress;
use serde::Serialize;

use crate::exit::{End, Failure};

/// The progress bars. Lines on the standard error are printed above them.
pub(crate) static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Prints a line on the standard error, without colours if it is no terminal.
pub(crate) fn say(line: &str) {
    // Nothing can be said about a standard error that is closed.
    let _ = BARS.suspend(|| writeln!(anstream::stderr().lock(), "{line}"));
}

/// Prints a result for people on the standard output, without colours if it is no terminal.
pub(crate) fn result(text: &str) -> Result<(), Failure> {
    above_bars(|| writeln!(anstream::stdout().lock(), "{text}"))
}

/// Prints a document on the standard output, in one line.
pub(crate) fn document(document: &impl Serialize) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(document).map_err(|error| Failure::of_output(&error.into()))?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    above_bars(|| stdout.write_all(&line).and_then(|()| stdout.flush()))
}

/// Writes to the standard output. The log does not wait for a program that does not read it.
fn above_bars(write: impl FnOnce() -> io::Result<()>) -> Result<(), Failure> {
    let written = if io::stdout().is_terminal() { BARS.suspend(write) } else { write() };
    written.map_err(|error| Failure::of_output(&error))
}

/// Prints why the command could not go on.
pub(crate) fn failed(failure: &Failure, json: bool) -> End {
    if matches!(failure, Failure::PipeClosed) {
        return failure.end();
    }
    if json {
        // The exit code says it, too.
        let _ = document(&facts::Failed::of(failure));
    } else {
        say(&format!("{}error:{:#} {failure}", style::BAD, style::BAD));
    }
    failure.end()
}
