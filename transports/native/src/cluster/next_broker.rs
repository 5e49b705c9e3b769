//! Which broker to ask, and when to try again.

use std::time::Instant;

use super::backoff::Backoff;
use crate::net::address::Address;

/// A broker that could be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Its address.
    pub address: &'a Address,
    /// Number of its requests without an answer, if there is a connection.
    pub open: Option<usize>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next<'a> {
    /// Ask this broker, with which there is a connection.
    Ask(&'a Address),
    /// Connect to this broker.
    Connect(&'a Address),
    /// Wait until then: attempts have failed everywhere.
    Wait(Instant),
    /// There is no broker.
    Nobody,
}

/// The failures in a row of each address.
#[derive(Debug, Clone, Default)]
pub struct Failures {
    /// Few: brokers and bootstrap servers.
    failed: Vec<(Address, u32, Instant)>,
}

impl Failures {
    /// Notes that an attempt failed. `random` spreads the attempts of many clients.
    pub fn failed(&mut self, address: &Address, backoff: Backoff, now: Instant, random: u32) {
        let at = self.failed.iter().position(|(known, ..)| known == address);
        let failures = at.map_or(0, |at| self.failed.swap_remove(at).1).saturating_add(1);
        let until = now.checked_add(backoff.wait(failures, random)).unwrap_or(now);
        self.failed.push((address.clone(), failures, until));
    }

    /// Notes that a broker has answered.
    pub fn answered(&mut self, address: &Address) {
        self.failed.retain(|(known, ..)| known != address);
    }

    /// The broker to ask: of those with a connection the one with the fewest open requests; else one to connect to, of those that
    /// need not wait the one that failed least. Of equal ones the first.
    #[must_use]
    pub fn next<'a>(&self, candidates: &[Candidate<'a>], now: Instant) -> Next<'a> {
        let connected = candidates.iter().filter_map(|candidate| Some((candidate.open?, candidate.address)));
        if let Some((_, address)) = connected.min_by_key(|(open, _)| *open) {
            return Next::Ask(address);
        }
        let known = |address| self.failed.iter().find(|(known, ..)| known == address);
        let state = |address| known(address).map_or((0, now), |(_, failures, until)| (*failures, *until));
        let states = || candidates.iter().map(|candidate| (state(candidate.address), candidate.address));
        let ready = states().filter(|((_, until), _)| *until <= now).min_by_key(|((failures, _), _)| *failures);
        match (ready, states().map(|((_, until), _)| until).min()) {
            (Some((_, address)), _) => Next::Connect(address),
            (None, Some(until)) => Next::Wait(until),
            (None, None) => Next::Nobody,
        }
    }
}
