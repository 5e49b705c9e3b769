//! Parts of a report for people.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use kafka_tower_core::{Error, FoundBroker};

/// Maximum number of partitions or brokers listed.
pub(super) const LISTED: usize = 16;

pub(super) fn properties(f: &mut Formatter<'_>, properties: &BTreeMap<String, String>) -> fmt::Result {
    writeln!(f, "\nlibrdkafka's properties (all others have their defaults)")?;
    let width = properties.keys().map(String::len).max().unwrap_or_default();
    properties.iter().try_for_each(|(name, value)| writeln!(f, "  {name:width$}  {value}"))
}

pub(super) fn list<T: Display>(f: &mut Formatter<'_>, title: &str, all: &[T]) -> fmt::Result {
    if all.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title}")?;
    all.iter().try_for_each(|one| writeln!(f, "  - {one}"))
}

pub(super) fn not_connected(f: &mut Formatter<'_>, error: &Error, elapsed: Duration) -> fmt::Result {
    writeln!(f, "\nnot connected, {} ms", elapsed.as_millis())?;
    writeln!(f, "  {}", error.message_with_causes())?;
    if error.help().is_empty() { Ok(()) } else { writeln!(f, "  help: {}", error.help()) }
}

pub(super) fn brokers(f: &mut Formatter<'_>, brokers: &[FoundBroker]) -> fmt::Result {
    for broker in brokers.iter().take(LISTED) {
        let reached = broker.unreachable.as_deref().map_or_else(String::new, |why| format!("  NOT REACHED: {why}"));
        writeln!(f, "  broker {:<4} {}:{}{reached}", broker.id, broker.host, broker.port)?;
    }
    more(f, brokers.len())
}

pub(super) fn more(f: &mut Formatter<'_>, count: usize) -> fmt::Result {
    if count > LISTED { writeln!(f, "  and {} more", count - LISTED) } else { Ok(()) }
}
