//! The requests of one connection that have no answer yet.
//!
//! A broker answers the requests of a connection in their order. It carries out a request only when it has all of its bytes: a
//! request is in doubt from the moment when the socket took its last byte, and not before.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use crate::protocol::api::Api;

/// What the answer of a request is read with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    /// Kind of the request.
    pub api: Api,
    /// Its version.
    pub version: i16,
    /// Its number on the connection.
    pub correlation_id: i32,
}

/// How much of a request the socket took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Nothing: it was not sent.
    Not,
    /// Not all of it: the broker does not carry it out.
    Partly,
    /// All of it: in doubt until there is an answer.
    Wholly,
}

/// An answer that does not belong to the oldest request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignAnswer {
    /// Its correlation id.
    pub found: i32,
    /// That of the oldest request that was written; `None` if there is none.
    pub expected: Option<i32>,
}

/// The requests that wait for an answer, oldest first. Each has a `T`, which its owner gets back.
#[derive(Debug)]
pub struct InFlight<T> {
    /// Not wholly written.
    writing: VecDeque<Open<T>>,
    /// Wholly written, without an answer.
    waiting: VecDeque<Open<T>>,
    /// Wholly written, and none is expected.
    done: VecDeque<T>,
    next_id: i32,
}

#[derive(Debug)]
struct Open<T> {
    id: RequestId,
    len: usize,
    /// Bytes that are not written.
    left: usize,
    timeout: Duration,
    deadline: Option<Instant>,
    expects_answer: bool,
    what: T,
}

impl<T> InFlight<T> {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self { writing: VecDeque::new(), waiting: VecDeque::new(), done: VecDeque::new(), next_id: 0 }
    }

    /// None, and this as the next correlation id.
    #[cfg(test)]
    pub(super) fn starting_at(next_id: i32) -> Self {
        Self { next_id, ..Self::new() }
    }

    /// A correlation id for a new request.
    pub fn next_id(&mut self) -> i32 {
        let id = self.next_id;
        self.next_id = id.checked_add(1).unwrap_or_default();
        id
    }

    /// Number of requests without an answer, written or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writing.len() + self.waiting.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a request that is written behind all others. `len`: its bytes, with the length. Without `expects_answer`
    /// (`Produce` with `acks=0`) it is [done](Self::take_done) once it is written.
    pub fn push(&mut self, id: RequestId, len: usize, expects_answer: bool, now: Instant, timeout: Duration, what: T) {
        let deadline = now.checked_add(timeout);
        self.writing.push_back(Open { id, len, left: len, timeout, deadline, expects_answer, what });
    }

    /// Tells that the socket took this number of bytes more.
    pub fn wrote(&mut self, mut len: usize) {
        while let Some(first) = self.writing.front_mut() {
            if first.left > len {
                first.left -= len;
                return;
            }
            len -= first.left;
            first.left = 0;
            if let Some(written) = self.writing.pop_front() {
                if written.expects_answer {
                    self.waiting.push_back(written);
                } else {
                    self.done.push_back(written.what);
                }
            }
        }
    }

    /// Takes a request that was written and has no answer to wait for.
    pub fn take_done(&mut self) -> Option<T> {
        self.done.pop_front()
    }

    /// Whether [`take_done`](Self::take_done) has one.
    #[must_use]
    pub fn has_done(&self) -> bool {
        !self.done.is_empty()
    }

    /// The same with another type, if there is no request.
    ///
    /// # Errors
    ///
    /// Itself, if there is one.
    pub fn retype<U>(self) -> Result<InFlight<U>, Self> {
        if !self.is_empty() || self.has_done() {
            return Err(self);
        }
        Ok(InFlight { next_id: self.next_id, ..InFlight::new() })
    }

    /// Takes the request that an answer with this correlation id belongs to.
    ///
    /// # Errors
    ///
    /// If it is not that of the oldest request that was written: nothing more that the peer says can be believed.
    pub fn answered(&mut self, correlation_id: i32) -> Result<(RequestId, T), ForeignAnswer> {
        let expected = self.waiting.front().map(|oldest| oldest.id.correlation_id);
        let oldest = if expected == Some(correlation_id) { self.waiting.pop_front() } else { None };
        oldest.map(|oldest| (oldest.id, oldest.what)).ok_or(ForeignAnswer { found: correlation_id, expected })
    }

    /// The time at which the first of them expires.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.all().filter_map(|open| open.deadline).min()
    }

    /// A request that has expired, and the time that it had. The oldest, if there are several.
    #[must_use]
    pub fn expired(&self, now: Instant) -> Option<(RequestId, Duration)> {
        let expired = |open: &&Open<T>| open.deadline.is_some_and(|deadline| deadline <= now);
        self.all().find(expired).map(|open| (open.id, open.timeout))
    }

    /// How much of a request was written. [`Written::Not`] if it is not one of these.
    #[must_use]
    pub fn written(&self, correlation_id: i32) -> Written {
        let found = self.all().find(|open| open.id.correlation_id == correlation_id);
        found.map_or(Written::Not, Open::written)
    }

    /// What is left when the connection has ended, in the order of sending; but first those that were [done](Self::take_done).
    pub fn close(&mut self) -> Vec<(T, Written)> {
        let done = std::mem::take(&mut self.done).into_iter().map(|what| (what, Written::Wholly));
        let left = std::mem::take(&mut self.waiting).into_iter().chain(std::mem::take(&mut self.writing));
        done.chain(left.map(|open| {
            let written = open.written();
            (open.what, written)
        }))
        .collect()
    }

    fn all(&self) -> impl Iterator<Item = &Open<T>> {
        self.waiting.iter().chain(&self.writing)
    }
}

impl<T> Open<T> {
    fn written(&self) -> Written {
        match self.left {
            0 => Written::Wholly,
            left if left < self.len => Written::Partly,
            _ => Written::Not,
        }
    }
}

impl<T> Default for InFlight<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for ForeignAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.expected {
            None => write!(f, "it answered request {}, and no request was open", self.found),
            Some(expected) => write!(f, "it answered request {}, and {expected} was the next one", self.found),
        }
    }
}

impl Error for ForeignAnswer {}
