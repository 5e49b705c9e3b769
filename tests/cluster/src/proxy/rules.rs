//! What can be asked of the proxy, and its whole state: one value that is watched for changes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A kind of request: the number that Kafka's protocol gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiKey(pub i16);

/// Those that tests are likely to disturb.
impl ApiKey {
    /// Records to the broker.
    pub const PRODUCE: Self = Self(0);
    /// Records from the broker.
    pub const FETCH: Self = Self(1);
    /// Where a partition begins and ends.
    pub const LIST_OFFSETS: Self = Self(2);
    /// Topics, partitions, leaders.
    pub const METADATA: Self = Self(3);
    /// A group's position.
    pub const OFFSET_COMMIT: Self = Self(8);
    /// The question for it.
    pub const OFFSET_FETCH: Self = Self(9);
    /// Who coordinates a group or a transactional id.
    pub const FIND_COORDINATOR: Self = Self(10);
    /// A member joins its group.
    pub const JOIN_GROUP: Self = Self(11);
    /// A member's sign of life.
    pub const HEARTBEAT: Self = Self(12);
    /// A member leaves its group.
    pub const LEAVE_GROUP: Self = Self(13);
    /// A member's share of the partitions.
    pub const SYNC_GROUP: Self = Self(14);
    /// The first request of a connection.
    pub const API_VERSIONS: Self = Self(18);
    /// A producer id and epoch.
    pub const INIT_PRODUCER_ID: Self = Self(22);
    /// A partition joins a transaction.
    pub const ADD_PARTITIONS_TO_TXN: Self = Self(24);
    /// A group joins a transaction.
    pub const ADD_OFFSETS_TO_TXN: Self = Self(25);
    /// Commit or abort.
    pub const END_TXN: Self = Self(26);
    /// A group's position inside a transaction.
    pub const TXN_OFFSET_COMMIT: Self = Self(28);
}

/// Which way frames go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Requests.
    ToBroker,
    /// Answers.
    ToClient,
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// It waits, and all behind it on its connection, until
    /// [`Proxy::release`](super::Proxy::release).
    Hold,
    /// Its client is cut off at once; the broker gets it at
    /// [`Proxy::release`](super::Proxy::release): a late request.
    HoldAndCut,
    /// Its client is cut off, and the broker never sees it.
    CutBefore,
    /// The broker executes it; in place of the answer the client is cut off.
    DropAnswer,
    /// The broker executes it; its answer arrives, and every byte behind the correlation id is wrong.
    SpoilAnswer,
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) paused: bool,
    pub(super) delay: Duration,
    seen: BTreeMap<ApiKey, u64>,
}

impl Flow {
    pub(super) fn count(&self, key: ApiKey) -> u64 {
        self.seen.get(&key).copied().unwrap_or(0)
    }

    pub(super) fn see(&mut self, key: ApiKey) {
        *self.seen.entry(key).or_default() += 1;
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) to_broker: Flow,
    pub(super) to_client: Flow,
    pub(super) rules: VecDeque<(ApiKey, Action)>,
    /// Rules for all requests of a kind that contain a text.
    pub(super) lasting: Vec<(ApiKey, String, Action)>,
    /// How often all connections have been cut.
    pub(super) cuts: u64,
    /// How often held requests have been released.
    pub(super) releases: u64,
    pub(super) held: usize,
    pub(super) connections: usize,
    pub(super) down: bool,
    pub(super) listening: usize,
    pub(super) closed: bool,
}

impl State {
    /// Counts a request and gives the rule that meets it; a rule for the next request is used up by that.
    pub(super) fn admit(&mut self, key: ApiKey, frame: &[u8]) -> Option<Action> {
        self.to_broker.see(key);
        let contains = |text: &str| text.is_empty() || frame.windows(text.len()).any(|part| part == text.as_bytes());
        let lasting = self.lasting.iter().find(|(wanted, text, _)| *wanted == key && contains(text));
        if let Some((_, _, action)) = lasting {
            return Some(*action);
        }
        let index = self.rules.iter().position(|(wanted, _)| *wanted == key)?;
        self.rules.remove(index).map(|(_, action)| action)
    }
}
