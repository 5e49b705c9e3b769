use std::time::Duration;

use clap::Args;

/// Sends numbered records and reads them back.
///
/// Other records of the topic are ignored. The topic has to exist; the records stay in it.
#[derive(Clone, Debug, Args)]
pub(crate) struct SoakArgs {
    /// The topic [env: KAFKA_TOPIC].
    #[arg(long, short)]
    pub(crate) topic: Option<String>,
    /// How long records are sent. Default: 60s, unless --count is given.
    #[arg(long, short, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// How many records are sent.
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Records per second. 0: as many as possible.
    #[arg(long, short, value_name = "N", default_value_t = 1_000)]
    pub(crate) rate: u32,
    /// Number of keys.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keys: u32,
    /// Bytes of a value, at least.
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub(crate) size: usize,
    /// How long the last sends, and afterwards the reader, may take to end.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub(crate) settle: Duration,
}
