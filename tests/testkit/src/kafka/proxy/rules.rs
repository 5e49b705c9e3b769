//! The proxy's rules, and its whole state: one value that its connections watch for changes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A kind of request: Kafka's API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiKey(pub i16);

/// The kinds that tests are likely to disturb.
impl ApiKey {
    /// Writes records.
    pub const PRODUCE: Self = Self(0);
    /// Reads records.
    pub const FETCH: Self = Self(1);
    /// Asks for the first and last offsets of partitions.
    pub const LIST_OFFSETS: Self = Self(2);
    /// Asks for topics, partitions and leaders.
    pub const METADATA: Self = Self(3);
    /// Stores a group's offsets.
    pub const OFFSET_COMMIT: Self = Self(8);
    /// Asks for a group's offsets.
    pub const OFFSET_FETCH: Self = Self(9);
    /// Asks for the coordinator of a group or a transactional id.
    pub const FIND_COORDINATOR: Self = Self(10);
    /// A member joins a group.
    pub const JOIN_GROUP: Self = Self(11);
    /// A member reports that it is alive.
    pub const HEARTBEAT: Self = Self(12);
    /// A member leaves a group.
    pub const LEAVE_GROUP: Self = Self(13);
    /// A member gets its share of the partitions.
    pub const SYNC_GROUP: Self = Self(14);
    /// The first request of a connection: asks for the supported API versions.
    pub const API_VERSIONS: Self = Self(18);
    /// Asks for a producer id and epoch.
    pub const INIT_PRODUCER_ID: Self = Self(22);
    /// Adds a partition to a transaction.
    pub const ADD_PARTITIONS_TO_TXN: Self = Self(24);
    /// Adds a group's offsets to a transaction.
    pub const ADD_OFFSETS_TO_TXN: Self = Self(25);
    /// Commits or aborts a transaction.
    pub const END_TXN: Self = Self(26);
    /// Stores a group's offsets inside a transaction.
    pub const TXN_OFFSET_COMMIT: Self = Self(28);
}

/// The direction of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Requests.
    ToBroker,
    /// Answers.
    ToClient,
}

/// What the proxy does with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Holds the request, and everything behind it on its connection, until [`Proxy::release`](super::Proxy::release).
    Hold,
    /// Closes the client's connection at once and passes the request to the broker at
    /// [`Proxy::release`](super::Proxy::release): a late request.
    HoldAndCut,
    /// Closes the client's connection and drops the request: the broker never receives it.
    CutBefore,
    /// Lets the broker execute the request, then drops the answer and closes the client's connection.
    DropAnswer,
    /// Lets the broker execute the request, then corrupts every byte of the answer behind the correlation id.
    SpoilAnswer,
    /// Lets the broker execute a produce request (version 9 or later), then puts this error code in the answer, for each of
    /// its partitions.
    FailProduce(i16),
}

/// The state of one direction.
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
    pub(super) rules: VecDeque<Rule>,
    /// Rules for all requests of a kind that contain a text.
    pub(super) lasting: Vec<(ApiKey, String, Action)>,
    /// How often all connections have been closed.
    pub(super) cuts: u64,
    /// How often held requests have been released: all, and those of the rules for a text.
    pub(super) releases: u64,
    pub(super) releases_of: BTreeMap<String, u64>,
    /// The texts of the rules for the requests that are held.
    pub(super) held: Vec<String>,
    pub(super) connections: usize,
    pub(super) down: bool,
    pub(super) listening: usize,
    pub(super) closed: bool,
}

/// A rule for one request that contains the text.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) key: ApiKey,
    pub(super) text: String,
    pub(super) action: Action,
}

impl State {
    /// Counts a request and returns the rule for it. A rule for the next request applies only once.
    pub(super) fn admit(&mut self, key: ApiKey, frame: &[u8]) -> Option<(Action, String)> {
        self.to_broker.see(key);
        let contains = |text: &str| text.is_empty() || frame.windows(text.len()).any(|part| part == text.as_bytes());
        let lasting = self.lasting.iter().find(|(wanted, text, _)| *wanted == key && contains(text));
        if let Some((_, text, action)) = lasting {
            return Some((*action, text.clone()));
        }
        let index = self.rules.iter().position(|rule| rule.key == key && contains(&rule.text))?;
        self.rules.remove(index).map(|rule| (rule.action, rule.text))
    }

    /// Changes when a request that is held by a rule for the text is released.
    pub(super) fn releases_of(&self, text: &str) -> (u64, u64) {
        (self.releases, self.releases_of.get(text).copied().unwrap_or(0))
    }

    /// Number of requests held by rules for the text, or by all rules.
    pub(super) fn held_by(&self, text: Option<&str>) -> usize {
        self.held.iter().filter(|held| text.is_none_or(|text| *text == **held)).count()
    }
}
