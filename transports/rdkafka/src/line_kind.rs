//! Tells which lines of librdkafka are repeats of each other. Pure.

use kafka_tower_core::log_dedup::LineKind;

/// Creates the kind of a line. `origin` separates lines with the same text. Texts are of one kind even if thread,
/// times, counters, partitions, or the address of a host with several addresses differ. Names of brokers distinguish
/// them.
pub(crate) fn kind(severity: u8, origin: &str, text: &str) -> LineKind {
    let mut kind = origin.to_owned();
    for word in essence(text).split_whitespace().filter(|word| !word.starts_with("[thrd:")) {
        kind.push(' ');
        if word.starts_with("ipv4#") || word.starts_with("ipv6#") {
            kind.push_str("address");
        } else if is_address(word) {
            kind.push_str(word);
        } else {
            kind.extend(word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }));
            fold(&mut kind);
        }
    }
    LineKind::new(severity, kind)
}

/// Cuts the part that differs from event to event: " (after 12ms in state CONNECT, 3 identical error(s) suppressed)".
pub(crate) fn essence(text: &str) -> &str {
    let text = text.trim();
    text.split(" (after ").next().unwrap_or(text)
}

/// Returns whether the word contains an address, such as "host:9092/1".
fn is_address(word: &str) -> bool {
    word.split(':').skip(1).any(|port| port.starts_with(|c: char| c.is_ascii_digit()))
}

/// Folds each run of zeros into one.
fn fold(text: &mut String) {
    let mut last = ' ';
    text.retain(|c| std::mem::replace(&mut last, c) != '0' || c != '0');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> LineKind {
        super::kind(3, "FAIL", text)
    }

    #[test]
    fn lines_with_other_times_and_counters_are_one_kind_but_brokers_are_not() {
        let first = kind("[thrd:b1:9092/1]: b1:9092/1: Timed out 3 in-flight, 12 retry-queued requests");
        assert_eq!(first, kind("[thrd:main]: b1:9092/1: Timed out 1203 in-flight, 0 retry-queued requests"));
        assert_ne!(first, kind("[thrd:b1:9093/1]: b1:9093/1: Timed out 3 in-flight, 12 retry-queued requests"));
        assert_ne!(first, super::kind(4, "FAIL", "b1:9092/1: Timed out 3 in-flight, 12 retry-queued requests"));
        let refused =
            kind("b:1/1: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 3ms in state CONNECT)");
        assert_eq!(refused, kind("b:1/1: Connect to ipv6#[::1]:1 failed: Connection refused"));
        assert_ne!(refused, kind("b:1/1: Connect to ipv6#[::1]:1 failed: Host is down"));
        assert_eq!(
            kind("[thrd:b:1/1]: b:1/1: Connect to ipv4#127.0.0.1:1 failed: refused (after 3ms in state X)"),
            kind("[thrd:b:1/1]: b:1/1: Connect to ipv6#[::1]:1 failed: refused (after 899ms in state X)")
        );
        assert_eq!(kind("orders [7] is unknown"), kind("orders [12] is unknown"));
    }
}
