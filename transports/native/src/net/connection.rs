//! A connection to one broker: requests go out in order, many at a time, and answers come back in the same order.
//!
//! There is no task in it: its owner calls [`Connection::poll`] from its own, so that one task can also fill requests, keep time
//! and settle records. All of its state is in the connection and none in a future, so nothing is lost or torn when an owner stops
//! polling: the next poll goes on in the middle of a request or an answer.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::error::{Cause, ConnectionError};
use super::frames::{FrameReader, WriteQueue};
use super::in_flight::{InFlight, RequestId, Written};

/// Chunks that one write takes.
const SLICES: usize = 16;

/// A connection whose requests each have a `T`, which [`poll`](Self::poll) or [`close`](Self::close) gives back.
pub struct Connection<S, T> {
    stream: S,
    peer: Arc<str>,
    frames: FrameReader,
    queue: WriteQueue,
    in_flight: InFlight<T>,
    answers: u64,
    /// Wakes the owner when a request expires.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Writing failed; what can still be read is read.
    broken: Option<Cause>,
    ended: Option<Cause>,
}

/// A request that is to be sent.
#[derive(Debug)]
pub struct Request<T> {
    /// Kind, version and number; the number is from [`Connection::next_id`].
    pub id: RequestId,
    /// Its bytes.
    pub chunks: Vec<Bytes>,
    /// Whether the broker answers it. It does not answer `Produce` with `acks=0`.
    pub expects_answer: bool,
    /// How long an answer may take. The connection ends after it.
    pub timeout: Duration,
    /// What comes back with the answer.
    pub what: T,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The request.
    pub id: RequestId,
    /// The answer without its length.
    pub frame: Bytes,
}

/// What happened on a connection.
#[derive(Debug)]
pub enum Event<T> {
    /// A request was answered.
    Answered(T, Answer),
    /// A request that is not answered was written.
    Written(T),
    /// The connection has ended: [`Connection::close`] says what is left.
    Ended(ConnectionError),
}

impl<S: AsyncRead + AsyncWrite + Unpin, T> Connection<S, T> {
    /// A connection over a stream. `peer` names it in errors; answers have up to `max_answer` bytes.
    pub fn new(stream: S, peer: Arc<str>, max_answer: usize) -> Self {
        Self {
            stream,
            peer,
            frames: FrameReader::new(max_answer),
            queue: WriteQueue::default(),
            in_flight: InFlight::new(),
            answers: 0,
            alarm: None,
            broken: None,
            ended: None,
        }
    }

    /// The peer, as errors name it.
    pub fn peer(&self) -> &Arc<str> {
        &self.peer
    }

    /// A correlation id for a new request.
    pub fn next_id(&mut self) -> i32 {
        self.in_flight.next_id()
    }

    /// Number of requests without an answer.
    pub fn open(&self) -> usize {
        self.in_flight.len()
    }

    /// Puts a request behind all others. It is written by [`poll`](Self::poll), which has to be called after this.
    ///
    /// # Errors
    ///
    /// The request, if the connection has ended.
    pub fn send(&mut self, request: Request<T>) -> Result<(), Request<T>> {
        if self.ended.is_some() || self.broken.is_some() {
            return Err(request);
        }
        let len = request.chunks.iter().map(Bytes::len).sum();
        let now = Instant::now().into_std();
        self.queue.push(request.chunks);
        self.in_flight.push(request.id, len, request.expects_answer, now, request.timeout, request.what);
        Ok(())
    }

    /// Reads, looks at the time and writes, until something has happened or nothing can.
    ///
    /// After [`Event::Ended`] it returns that again.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event<T>> {
        loop {
            if let Some(what) = self.in_flight.take_done() {
                return Poll::Ready(Event::Written(what));
            }
            if self.ended.is_some() {
                return self.end();
            }
            // Reading comes first, so that an answer which is there counts although its time is over, or a write has failed.
            match (self.poll_answer(cx), self.broken.take()) {
                (Poll::Ready(Ok((what, answer))), broken) => {
                    self.broken = broken;
                    return Poll::Ready(Event::Answered(what, answer));
                }
                (_, Some(cause)) | (Poll::Ready(Err(cause)), None) => return self.fail(cause),
                (Poll::Pending, None) => {}
            }
            if let Some((id, timeout)) = self.in_flight.expired(Instant::now().into_std()) {
                return self.fail(Cause::TimedOut { api: id.api, timeout });
            }
            if let Err(cause) = self.write(cx) {
                self.broken = Some(cause);
                continue;
            }
            if !self.in_flight.has_done() && self.poll_alarm(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Ends the connection because of an answer that cannot be read. For the owner, which reads them.
    pub fn undecodable(&mut self, id: RequestId, source: crate::protocol::DecodeError) -> ConnectionError {
        let cause = self.ended.get_or_insert(Cause::Undecodable { api: id.api, source });
        ConnectionError { peer: Arc::clone(&self.peer), cause: cause.clone() }
    }

    /// How much of an open request was written.
    pub fn written(&self, correlation_id: i32) -> Written {
        self.in_flight.written(correlation_id)
    }

    /// Closes the connection, and returns the requests without an answer: oldest first, each with how much of it was written.
    pub fn close(mut self) -> Vec<(T, Written)> {
        self.in_flight.close()
    }

    /// The same connection with another type of what comes back, if no request is open.
    ///
    /// # Errors
    ///
    /// The connection itself, if a request is open.
    pub fn retype<U>(self) -> Result<Connection<S, U>, Box<Self>> {
        match self.in_flight.retype() {
            Err(in_flight) => Err(Box::new(Self { in_flight, ..self })),
            Ok(in_flight) => Ok(Connection {
                stream: self.stream,
                peer: self.peer,
                frames: self.frames,
                queue: self.queue,
                in_flight,
                answers: self.answers,
                alarm: self.alarm,
                broken: self.broken,
                ended: self.ended,
            }),
        }
    }

    fn fail(&mut self, mut cause: Cause) -> Poll<Event<T>> {
        if let Cause::Io { answers, .. } = &mut cause {
            // Some may have come since it failed.
            *answers = self.answers;
        }
        self.ended.get_or_insert(cause);
        self.end()
    }

    fn end(&self) -> Poll<Event<T>> {
        match &self.ended {
            Some(cause) => {
                Poll::Ready(Event::Ended(ConnectionError { peer: Arc::clone(&self.peer), cause: cause.clone() }))
            }
            None => Poll::Pending,
        }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(T, Answer), Cause>> {
        loop {
            match self.frames.take() {
                Ok(Some(frame)) => return Poll::Ready(self.answered(frame)),
                Ok(None) => {}
                Err(wrong) => return Poll::Ready(Err(Cause::WrongLength(wrong))),
            }
            let mut room = ReadBuf::new(self.frames.room());
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room));
            let len = room.filled().len();
            match read {
                Err(error) => return Poll::Ready(Err(self.io(error))),
                Ok(()) if len == 0 => {
                    let partial = self.frames.is_partial();
                    return Poll::Ready(Err(Cause::Closed { answers: self.answers, partial }));
                }
                Ok(()) => self.frames.read(len),
            }
        }
    }

    fn answered(&mut self, frame: Bytes) -> Result<(T, Answer), Cause> {
        // A frame has four bytes at least.
        let found = frame.first_chunk().map_or(-1, |bytes| i32::from_be_bytes(*bytes));
        let (id, what) = self.in_flight.answered(found).map_err(Cause::Foreign)?;
        self.answers += 1;
        Ok((what, Answer { id, frame }))
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), Cause> {
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let used = self.queue.fill(&mut slices);
            let slices = slices.get(..used).unwrap_or_default();
            match Pin::new(&mut self.stream).poll_write_vectored(cx, slices) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(self.io(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(len)) => {
                    self.queue.wrote(len);
                    self.in_flight.wrote(len);
                }
                Poll::Ready(Err(error)) => return Err(self.io(error)),
            }
        }
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(Err(error)) => Err(self.io(error)),
            _ => Ok(()),
        }
    }

    fn io(&self, error: io::Error) -> Cause {
        Cause::Io { answers: self.answers, source: Arc::new(error) }
    }

    /// Ready if a request may have expired.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.in_flight.deadline().map(Instant::from_std) else { return Poll::Pending };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        alarm.as_mut().poll(cx)
    }
}

impl<S, T> fmt::Debug for Connection<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("open", &self.in_flight.len())
            .field("queue", &self.queue)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
