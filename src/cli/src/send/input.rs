//! Reads lines in a thread of its own, because a read of the standard input cannot be cancelled.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::exit::Failure;

/// Lines that are read ahead.
const AHEAD: usize = 256;

/// A line without its end, and its number from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) number: u64,
    pub(crate) text: Bytes,
}

/// Why no more lines can be read.
#[derive(Debug)]
pub(crate) enum Broken {
    Unreadable(io::Error),
    /// The line with this number has more than this number of bytes.
    TooLong(u64, usize),
}

impl Broken {
    pub(crate) fn failure(&self) -> Failure {
        match self {
            Self::Unreadable(error) => Failure::other(
                format!("the input cannot be read any more: {error}"),
                "lines behind the last one of the summary were not sent",
            ),
            Self::TooLong(number, most) => Failure::other(
                format!("line {number} is longer than {most} bytes"),
                "it and the lines behind it were not sent: raise --max-line-bytes, or correct the input",
            ),
        }
    }
}

/// The lines of a file or of the standard input.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) lines: mpsc::Receiver<Result<Line, Broken>>,
    /// Bytes that were read.
    pub(crate) read: Arc<AtomicU64>,
    /// Bytes of a file.
    pub(crate) size: Option<u64>,
}

impl Input {
    /// `most` is the largest number of bytes of a line.
    pub(crate) fn open(path: Option<&Path>, most: usize) -> Result<Self, Failure> {
        match path {
            None => Ok(Self::of(io::stdin(), None, most)),
            Some(path) => {
                let refused = |error: io::Error| {
                    Failure::usage(
                        format!("{} cannot be read: {error}", path.display()),
                        "correct the path of the file",
                    )
                };
                let file = File::open(path).map_err(refused)?;
                let about = file.metadata().map_err(refused)?;
                if about.is_dir() {
                    return Err(refused(io::ErrorKind::IsADirectory.into()));
                }
                Ok(Self::of(file, about.is_file().then_some(about.len()), most))
            }
        }
    }

    fn of(source: impl Read + Send + 'static, size: Option<u64>, most: usize) -> Self {
        let (send, lines) = mpsc::channel(AHEAD);
        let read = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&read);
        thread::spawn(move || {
            let mut source = BufReader::with_capacity(1 << 16, source);
            // With `\r\n`.
            let with_end = (most as u64).saturating_add(2);
            for number in 1.. {
                let mut text = Vec::new();
                let line = match source.by_ref().take(with_end).read_until(b'\n', &mut text) {
                    Ok(0) => return,
                    Ok(bytes) => {
                        counter.fetch_add(bytes as u64, Ordering::Relaxed);
                        let text = without_end(text);
                        if text.len() > most {
                            Err(Broken::TooLong(number, most))
                        } else {
                            Ok(Line { number, text: text.into() })
                        }
                    }
                    Err(error) => Err(Broken::Unreadable(error)),
                };
                let is_last = line.is_err();
                if send.blocking_send(line).is_err() || is_last {
                    return;
                }
            }
        });
        Self { lines, read, size }
    }
}

fn without_end(mut line: Vec<u8>) -> Vec<u8> {
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_lose_their_ends_only() {
        let mut input = Input::of(&b"a\r\n\n b\r \nlast"[..], None, 4);
        let mut lines = Vec::new();
        while let Some(line) = input.lines.blocking_recv() {
            lines.push(line.unwrap());
        }
        let of = |number, text: &'static str| Line { number, text: text.into() };
        assert_eq!(lines, [of(1, "a"), of(2, ""), of(3, " b\r "), of(4, "last")]);
        assert_eq!(input.read.load(Ordering::Relaxed), 13);
    }
    #[test]
    fn reading_ends_at_a_line_that_is_too_long() {
        // The longest line that is taken, and one byte more: with each end.
        for end in ["\n", "\r\n", ""] {
            let source = format!("1234\r\n12345{end}");
            let mut input = Input::of(io::Cursor::new(source.into_bytes()), None, 4);
            assert_eq!(input.lines.blocking_recv().unwrap().unwrap().text, "1234");
            assert!(matches!(input.lines.blocking_recv(), Some(Err(Broken::TooLong(2, 4)))), "{end:?}");
            assert!(input.lines.blocking_recv().is_none());
        }
        // Without an end: not all of it is read.
        let mut input = Input::of(io::repeat(b'x'), None, 1_000);
        assert!(matches!(input.lines.blocking_recv(), Some(Err(Broken::TooLong(1, 1_000)))));
    }
}
