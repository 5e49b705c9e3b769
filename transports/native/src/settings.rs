//! The checked settings of a transport.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_tower_core::clock;

use crate::compress::Codec;
use crate::net::address::Address;
use crate::net::connector::Connector;
use crate::net::handshake::Introduction;

const SETUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Which replicas have a record when a broker acknowledges it: `acks`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Acks {
    /// None: the broker does not answer, so nothing is known of the record.
    None,
    /// The partition's leader.
    Leader,
    /// All that are in sync.
    #[default]
    All,
}

impl Acks {
    /// As requests have it.
    pub(crate) fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// The settings of a client.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) bootstrap: Vec<Address>,
    pub(crate) introduction: Introduction,
    pub(crate) acks: Acks,
    pub(crate) idempotent: bool,
    pub(crate) max_in_flight: usize,
    pub(crate) codec: Codec,
    /// The most records of a batch.
    pub(crate) batch_records: usize,
    /// The most bytes of a batch, before compression.
    pub(crate) batch_bytes: usize,
    pub(crate) linger: Duration,
    /// The most bytes of a request, and of a record.
    pub(crate) max_request_bytes: usize,
    pub(crate) request_timeout: Duration,
    pub(crate) delivery_bound: Duration,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) clock: Clock,
}

impl Settings {
    /// The beginning of the client's random numbers: a fixed one with the runtime's clock, so that tests repeat.
    pub(crate) fn seed(&self) -> u32 {
        match self.clock {
            Clock::Runtime => 1,
            Clock::System => (RandomState::new().build_hasher().finish() as u32).max(1),
        }
    }

    /// The time for a connection to be made, and for an answer about the cluster: another broker may answer sooner.
    pub(crate) fn setup_timeout(&self) -> Duration {
        self.request_timeout.min(SETUP_TIMEOUT)
    }

    /// The time that a broker may wait for its replicas: less than the client waits for the broker, so that the answer comes.
    pub(crate) fn replica_timeout_ms(&self) -> i32 {
        i32::try_from(self.request_timeout.as_millis() / 10 * 9).unwrap_or(i32::MAX)
    }
}

/// The clock that calls read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The system's.
    System,
    /// The runtime's, which tests may pause.
    Runtime,
}

impl Clock {
    /// A cheap reading, up to a tick old.
    #[inline]
    pub(crate) fn coarse_now(self) -> Instant {
        match self {
            Self::System => clock::coarse_now(),
            Self::Runtime => tokio::time::Instant::now().into_std(),
        }
    }

    /// An exact reading.
    #[inline]
    pub(crate) fn now(self) -> Instant {
        match self {
            Self::System => Instant::now(),
            Self::Runtime => tokio::time::Instant::now().into_std(),
        }
    }
}
