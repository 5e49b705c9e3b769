//! Lines that were given to the sink and have no outcome yet, in their order: that of the outcomes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use kafka_tower::{Error, SinkMessage};
use tokio::sync::mpsc;

use super::input::{Broken, Line};
use super::line::Parser;

/// A line under way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) line: Line,
    /// Bytes of key, value and headers.
    pub(super) bytes: u64,
}

/// What the stream of messages leaves for the task that polls it.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) sent: VecDeque<Sent>,
    /// Lines that are no message, with the reason.
    pub(super) refused: Vec<(Line, Error)>,
    pub(super) lines: u64,
    pub(super) blank: u64,
    /// Why the input ended too early.
    pub(super) failed: Option<Broken>,
}

/// The messages of lines. Each message that it yields is in the journal.
pub(super) fn messages<'a>(
    lines: &'a mut mpsc::Receiver<Result<Line, Broken>>,
    parser: &'a Parser,
    journal: Rc<RefCell<Journal>>,
) -> impl Stream<Item = SinkMessage<Bytes>> + 'a {
    let lines = stream::poll_fn(|cx| lines.poll_recv(cx));
    lines.filter_map(move |line| std::future::ready(journal.borrow_mut().enter(line, parser)))
}

impl Journal {
    fn enter(&mut self, line: Result<Line, Broken>, parser: &Parser) -> Option<SinkMessage<Bytes>> {
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                self.failed = Some(error);
                return None;
            }
        };
        self.lines += 1;
        match parser.parse(&line.text) {
            Ok(Some(message)) => {
                let envelope = message.envelope();
                let sizes = [message.value().map_or(0, Bytes::len), envelope.key.as_ref().map_or(0, Bytes::len)];
                let bytes = sizes.iter().sum::<usize>() + envelope.headers.size();
                self.sent.push_back(Sent { line, bytes: bytes as u64 });
                Some(message)
            }
            Ok(None) => {
                self.blank += 1;
                None
            }
            Err(reason) => {
                let error = Error::refused(reason).with_help("correct the line and send it again");
                self.refused.push((line, error));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use kafka_tower::Persistence;

    use super::*;
    use crate::args::{Args, Command};

    #[test]
    fn a_line_that_is_no_message_is_refused_and_not_sent() {
        let args = ["kafka-tower", "send", "--topic", "t", "--key-field", "id"];
        let Command::Send(args) = Args::parse_from(args).command else { unreachable!() };
        let (parser, mut journal) = (Parser::new(&args).unwrap(), Journal::default());
        let line = Line { number: 1, text: Bytes::from_static(b"no JSON") };
        assert!(journal.enter(Ok(line), &parser).is_none());
        let (_, error) = &journal.refused[0];
        assert_eq!(error.persistence(), Persistence::NotPersisted);
        kafka_tower_test_texts::assert_consistent(error);
    }
}
