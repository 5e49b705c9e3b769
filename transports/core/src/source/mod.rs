//! Decisions of a source: what may be committed, when, and what happens to a partition that the group takes back. No
//! clock, no lock, no async: time is an argument.
//!
//! | value | decides |
//! |---|---|
//! | `Watermark` | up to which offset a partition may be committed, while its records are settled in any order |
//! | `Committer` | when a commit is sent, repeated or given up |
//! | `Member` | which partitions are read, drained, committed and given back |
//! | `Stall` | whether the user is told that a partition does not get on |
//! | [`Engine`] | puts these together: turns the events of a [`Consumer`](crate::Consumer) into [`Action`]s |
//!
//! Users of kafka-tower do not call it: `kafka_tower::KafkaSource` does.

mod commit;
mod engine;
mod member;
mod partition_map;
mod stall;
mod watermark;

use commit::Committer;
pub use commit::{CommitSettings, CommitStrategy};
pub use engine::{
    Action, Change, Closed, CommitWait, Engine, EngineSettings, Notice, OutOfRangePolicy, Span, Standing, Unsettled,
};
use member::{Facts, Member, MemberAction};
use partition_map::PartitionMap;
use stall::{Noticed, Stall};
use watermark::Watermark;
pub use watermark::{DeliveryId, Settled};
