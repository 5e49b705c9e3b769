use std::time::Duration;

use clap::{ArgAction, Args};

use crate::tail::From;

/// Reads topics.
///
/// Without --group, it reads all partitions, joins no group and commits nothing. With --group, it is a member of the group,
/// and commits what it has printed.
#[derive(Clone, Debug, Args)]
pub(crate) struct TailArgs {
    /// A topic [env: KAFKA_SOURCE_TOPICS, KAFKA_TOPIC]. Repeatable.
    #[arg(long, short, action = ArgAction::Append)]
    pub(crate) topic: Vec<String>,
    /// Reads as a member of this group.
    #[arg(long, short)]
    pub(crate) group: Option<String>,
    /// Where to begin: earliest, latest, an offset (-10: the last 10 of each partition), a time (2026-11-30T04:00:00Z), or a
    /// duration before now (15m). With --group only where the group has committed nothing. Default: latest.
    #[arg(long, short, value_name = "PLACE", allow_hyphen_values = true)]
    pub(crate) from: Option<From>,
    /// Ends after this number of messages.
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Ends at the end that the partitions had at the beginning.
    #[arg(long, short = 'e')]
    pub(crate) until_end: bool,
    /// How long the end waits for the last commit.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) drain: Duration,
}
