//! The command line.
#![allow(clippy::doc_markdown)] // the texts are printed, with backticks if there are any

mod pair;
mod send;
mod soak;
mod tail;

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand};

pub(crate) use pair::Pair;
pub(crate) use send::{Format, SendArgs};
pub(crate) use soak::SoakArgs;
pub(crate) use tail::TailArgs;

const AFTER: &str = "\
Settings, each over the ones before: the file of --config; the environment (KAFKA_… for sending, and for reading what
connects; KAFKA_SOURCE_… for reading); the options.

Exit codes: 0 everything went right; 1 something was refused, failed or lost; 2 the command line or the settings cannot be
used; 130 stopped by Ctrl-C (143 by SIGTERM).";

/// Checks settings for Kafka, sends lines, reads topics, and proves that nothing is lost.
#[derive(Debug, Parser)]
#[command(name = "kafka-tower", version, after_help = AFTER)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What all commands have in common.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Common {
    /// Addresses of brokers: host:port, several with commas [env: KAFKA_BROKERS].
    #[arg(long, short, global = true, value_name = "HOSTS")]
    pub(crate) brokers: Option<String>,
    /// A file with settings: client.properties (of Java's clients or librdkafka), or .toml or .json with the library's fields.
    #[arg(long, short = 'C', global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A setting: a property of librdkafka (with dots), or a field of the library (linger_ms). Repeatable. Other users of this
    /// machine can see it: pass secrets in a file or the environment.
    #[arg(long, short = 'X', global = true, value_name = "NAME=VALUE", action = ArgAction::Append)]
    pub(crate) property: Vec<Pair>,
    /// Prints JSON for programs, one document per line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Shows the library's log, on the standard error: -v also information, -vv also debugging.
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tries the settings against the cluster and reports what is wrong. Sends nothing, and joins no group.
    Check(CheckArgs),
    /// Sends lines of the standard input or a file, and says of each whether it was written.
    Send(SendArgs),
    /// Reads topics and prints their messages.
    Tail(TailArgs),
    /// Sends numbered records, reads them back, and says whether any is lost, doubled or out of order.
    Soak(SoakArgs),
}

#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct CheckArgs {
    /// The topic [env: KAFKA_TOPIC].
    #[arg(long, short)]
    pub(crate) topic: Option<String>,
    /// Checks also whether this group can read the topic. Default: the group of the settings, if there is one.
    #[arg(long, short)]
    pub(crate) group: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn common_options_may_follow_the_command() {
        let args =
            Args::parse_from(["kafka-tower", "check", "--json", "-b", "a:1", "-X", "linger_ms=5", "-X", "a=b=c"]);
        assert!(args.common.json && args.common.brokers.as_deref() == Some("a:1"));
        let pairs: Vec<_> = args.common.property.iter().map(|pair| (&*pair.name, &*pair.value)).collect();
        assert_eq!(pairs, [("linger_ms", "5"), ("a", "b=c")]);
    }
}
