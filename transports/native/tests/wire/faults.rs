//! Which faults happen: a hash of the seed, the kind of fault, the connection and the number of the frame decides, so a seed is
//! enough to see them again.

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A connection is refused although the broker is there.
    Refused,
    /// The connection is cut before the request is read.
    CutBefore,
    /// The connection is cut at a random byte of the request, which is not executed.
    CutInside,
    /// The request is executed, and the connection cut before the answer.
    CutAfter,
    /// The connection is cut at a random byte of the answer.
    CutInAnswer,
    /// The connection is cut, and the request, which had arrived, is executed later.
    Hold,
    /// The request is read slowly.
    SlowRead,
    /// The answer takes up to a minute: the request is executed before or after that.
    SlowAnswer,
    /// Code 6, before or after the append.
    NotLeader,
    /// Code 3 or 100, before or after the append.
    UnknownTopic,
    /// Code 7, after the append.
    TimedOut,
    /// Code 19, without an append.
    NotEnoughReplicas,
    /// Code 20, after the append.
    NotEnoughReplicasAfterAppend,
    /// Code 56, before or after the append.
    StorageError,
    /// Code -1, before or after the append.
    UnknownError,
    /// The leader of a partition moves to another broker.
    LeaderMoves,
    /// A broker ends and comes back later.
    Restart,
    /// A broker does nothing for some time, as after SIGSTOP.
    Stop,
    /// A topic is deleted and made anew, with another id.
    MadeAnew,
    /// A topic gets another partition.
    PartitionAdded,
    /// An answer asks the client to wait.
    Throttle,
    /// `InitProducerId` is answered 14 or 15.
    NoProducerId,
    /// Metadata without leaders, or without the topics.
    NoLeaders,
    /// Metadata of some time ago: the leaders and epochs before the last move.
    OldMetadata,
}

const KINDS: usize = Kind::ALL.len();

impl Kind {
    /// All kinds, in the order of the declaration.
    pub(crate) const ALL: [Self; 24] = [
        Self::Refused,
        Self::CutBefore,
        Self::CutInside,
        Self::CutAfter,
        Self::CutInAnswer,
        Self::Hold,
        Self::SlowRead,
        Self::SlowAnswer,
        Self::NotLeader,
        Self::UnknownTopic,
        Self::TimedOut,
        Self::NotEnoughReplicas,
        Self::NotEnoughReplicasAfterAppend,
        Self::StorageError,
        Self::UnknownError,
        Self::LeaderMoves,
        Self::Restart,
        Self::Stop,
        Self::MadeAnew,
        Self::PartitionAdded,
        Self::Throttle,
        Self::NoProducerId,
        Self::NoLeaders,
        Self::OldMetadata,
    ];
}

/// Rates are parts of this.
pub(crate) const WHOLE: u64 = 10_000;

/// A place where a fault can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of the connection.
    pub(crate) connection: u64,
    /// Number of the frame on it.
    pub(crate) frame: u64,
}

/// The faults of a cluster: how often each kind happens, and how often it has.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    seed: u64,
    rates: [u64; KINDS],
    seen: [u64; KINDS],
    /// No kind happens more often than this.
    most: [u64; KINDS],
}

impl Faults {
    /// No faults.
    pub(crate) fn none(seed: u64) -> Self {
        let mut most = [u64::MAX; KINDS];
        most[Kind::MadeAnew as usize] = 2;
        most[Kind::PartitionAdded as usize] = 3;
        Self { seed, rates: [0; KINDS], seen: [0; KINDS], most }
    }

    /// Sets how often a kind happens, in parts of [`WHOLE`].
    pub(crate) fn with(mut self, kind: Kind, rate: u64) -> Self {
        self.rates[kind as usize] = rate;
        self
    }

    /// Sets how often a kind happens at most.
    pub(crate) fn at_most(mut self, kind: Kind, times: u64) -> Self {
        self.most[kind as usize] = times;
        self
    }

    /// Ends all faults.
    pub(crate) fn end(&mut self) {
        self.rates = [0; KINDS];
    }

    /// Whether a fault happens here. If it does, it is counted.
    pub(crate) fn happens(&mut self, kind: Kind, at: Place) -> bool {
        let index = kind as usize;
        let happens = self.seen[index] < self.most[index] && self.choose(kind, at, 0, WHOLE) < self.rates[index];
        self.seen[index] += u64::from(happens);
        happens
    }

    /// A number below `below` for the `nth` detail of a fault.
    pub(crate) fn choose(&self, kind: Kind, at: Place, nth: u64, below: u64) -> u64 {
        number(&[self.seed, kind as u64, at.connection, at.frame, nth]) % below.max(1)
    }

    /// How often a kind has happened.
    pub(crate) fn seen(&self, kind: Kind) -> u64 {
        self.seen[kind as usize]
    }

    /// The seed.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }
}

/// A hash of some numbers, by the finalizer of `SplitMix64`.
pub(crate) fn number(of: &[u64]) -> u64 {
    of.iter().fold(0x9e37_79b9_7f4a_7c15, |hash: u64, number| {
        let mut hash = (hash ^ number).wrapping_add(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 31)
    })
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "c{}.{}", self.connection, self.frame)
    }
}
