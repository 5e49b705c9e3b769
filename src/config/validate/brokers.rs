use std::net::Ipv6Addr;

use crate::config::Conflict;

const CURE: &str = "write host:port, separated by commas";

pub(in crate::config) fn check(brokers: &str, found: &mut Vec<Conflict>) {
    let mut named = false;
    for broker in brokers.split(',').map(str::trim).filter(|broker| !broker.is_empty()) {
        named = true;
        if let Err((fault, cure)) = look_at(broker) {
            let problem = format!("`brokers` has {:?}, which {fault}", shown(broker));
            found.push(Conflict::new("brokers", problem, cure));
        }
    }
    if !named {
        found.push(Conflict::new("brokers", "`brokers` is empty", CURE));
    }
}

fn look_at(broker: &str) -> Result<(), (String, &'static str)> {
    let fault = |text: &str| Err((text.to_owned(), CURE));
    if broker.contains("://") {
        return fault("is a URL");
    }
    if broker.contains(char::is_whitespace) {
        return fault("has a space");
    }
    let (host, port) = match broker.rsplit_once(':') {
        Some(_) if broker.starts_with('[') && broker.ends_with(']') => (broker, None),
        Some((host, port)) => (host, Some(port)),
        None => (broker, None),
    };
    if host.is_empty() {
        return fault("has no host");
    }
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let (address, zone) = address.split_once('%').unwrap_or((address, "0"));
        if address.parse::<Ipv6Addr>().is_err() || zone.is_empty() || !zone.chars().all(is_of_a_host) {
            return fault("has no IPv6 address in its brackets");
        }
    } else if host.contains(':') {
        return Err(("has several colons".to_owned(), "write an IPv6 address as [address]:port"));
    } else if let Some(c) = host.chars().find(|c| !is_of_a_host(*c)) {
        return fault(&format!("has the character {c:?}"));
    }
    match port {
        Some(port) if !is_port(port) => fault("needs a port from 1 to 65535 after its colon"),
        _ => Ok(()),
    }
}

fn is_of_a_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Shows a broker without the part that may be a password.
fn shown(broker: &str) -> String {
    masked(broker).chars().take(100).collect()
}

/// A list of brokers without the part before an `@`.
pub(in crate::config) fn masked(brokers: &str) -> String {
    let pieces: Vec<_> = brokers.split(',').collect();
    let last = pieces.iter().rposition(|piece| piece.contains('@'));
    let mask = |(index, piece): (usize, &&str)| match piece.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        // A password may contain a comma.
        None if last.is_some_and(|last| index < last) => "…".to_owned(),
        None => (*piece).to_owned(),
    };
    pieces.iter().enumerate().map(mask).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(brokers: &str) -> Vec<String> {
        let mut found = Vec::new();
        check(brokers, &mut found);
        found.iter().map(Conflict::to_string).collect()
    }

    #[test]
    fn brokers_that_work() {
        for brokers in [
            "a",
            "a:9092",
            "a:1, b:65535 ,",
            "[::1]:9092",
            "[::1]",
            "[fe80::1%eth0]:1",
            "10.0.0.1",
            "my_kafka-1.local:9092",
        ] {
            assert_eq!(faults(brokers), [""; 0], "{brokers}");
        }
    }

    #[test]
    fn brokers_that_do_not() {
        for (brokers, fault) in [
            ("", "`brokers` is empty"),
            (" , ", "`brokers` is empty"),
            ("kafka://a:9092", "`brokers` has \"kafka://a:9092\", which is a URL"),
            ("a:9092,b:x", "`brokers` has \"b:x\", which needs a port from 1 to 65535 after its colon"),
            ("a:0", "`brokers` has \"a:0\", which needs a port from 1 to 65535 after its colon"),
            ("a:+1", "`brokers` has \"a:+1\", which needs a port from 1 to 65535 after its colon"),
            ("a:", "`brokers` has \"a:\", which needs a port from 1 to 65535 after its colon"),
            ("zoo:2181/kafka", "`brokers` has \"zoo:2181/kafka\", which needs a port from 1 to 65535 after its colon"),
            (":9092", "`brokers` has \":9092\", which has no host"),
            ("a:9092 b:9092", "`brokers` has \"a:9092 b:9092\", which has a space"),
            ("\"a:9092\"", "`brokers` has \"\\\"a:9092\\\"\", which has the character '\"'"),
            ("a\0", "`brokers` has \"a\\0\", which has the character '\\0'"),
            ("[::g]:1", "`brokers` has \"[::g]:1\", which has no IPv6 address in its brackets"),
        ] {
            assert_eq!(faults(brokers), [format!("{fault}: {CURE}")]);
        }
        assert_eq!(
            faults("::1:9092"),
            ["`brokers` has \"::1:9092\", which has several colons: write an IPv6 address as [address]:port"]
        );
    }

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        let shown = faults("kafka://user:hunter2@a:9092,user:hunter2@b:9092,user:hunter2@c@d").concat();
        assert!(shown.contains("…@a:9092") && !shown.contains("hunter2"), "{shown}");
        assert_eq!(masked("kafka://user:hunter2,x@a:9092,b:9092"), "…,…@a:9092,b:9092");
    }
}
