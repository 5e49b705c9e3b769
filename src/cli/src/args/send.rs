use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};

use super::Pair;

/// Sends lines.
///
/// Each line that is not written is named on the standard error, with its number and the reason. A line that may have been
/// written is named as such: sent again, it may be there twice.
#[derive(Clone, Debug, Args)]
pub(crate) struct SendArgs {
    /// The file to send. Default: the standard input.
    pub(crate) file: Option<PathBuf>,
    /// The topic [env: KAFKA_TOPIC].
    #[arg(long, short)]
    pub(crate) topic: Option<String>,
    /// What a line is. Default: lines, or json with --key-field.
    #[arg(long, short, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// The key of all messages.
    #[arg(long, short, group = "key_source")]
    pub(crate) key: Option<String>,
    /// The field of each document whose value is the key: a text, a whole number or a flag. With dots for nested ones: order.id.
    #[arg(long, value_name = "FIELD", group = "key_source")]
    pub(crate) key_field: Option<String>,
    /// What separates the key from the value of a line (\t for a tab). A line without it has no key.
    #[arg(long, short = 'K', value_name = "TEXT", group = "key_source")]
    pub(crate) key_separator: Option<String>,
    /// A line with an empty value (with --format json: null) is a tombstone: it deletes its key in a compacted topic.
    #[arg(long)]
    pub(crate) tombstones: bool,
    /// Sending ends at a line that is longer: a file without line breaks would otherwise fill the memory.
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 20)]
    pub(crate) max_line_bytes: usize,
    /// A header of all messages. Repeatable.
    #[arg(long, short = 'H', value_name = "NAME=VALUE", action = ArgAction::Append)]
    pub(crate) header: Vec<Pair>,
    /// Sends all lines in one transaction of this id: all of them are written, or none. It must end within
    /// transaction.timeout.ms (60 s).
    #[arg(long, value_name = "ID", conflicts_with_all = ["not_written", "possibly_written"])]
    pub(crate) transactional_id: Option<String>,
    /// Writes failed lines that are certainly not in the log to this new file, as they were read: send it again.
    #[arg(long, value_name = "FILE")]
    pub(crate) not_written: Option<PathBuf>,
    /// Writes failed lines that may be in the log to this new file, as they were read.
    #[arg(long, value_name = "FILE")]
    pub(crate) possibly_written: Option<PathBuf>,
    /// Stops reading after this number of failed lines.
    #[arg(long, value_name = "N")]
    pub(crate) max_failed: Option<u64>,
    /// How long Ctrl-C waits for lines under way.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) drain: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Any bytes. An empty line is an empty message, or with --tombstones a tombstone.
    Lines,
    /// A JSON document, which is checked and sent as it is. Blank lines are ignored.
    Json,
}
