//! Addresses of brokers: reads `bootstrap.servers`.

use std::error::Error;
use std::fmt;
use std::net::Ipv6Addr;

/// The port of an address that has none.
pub const DEFAULT_PORT: u16 = 9092;

const CURE: &str = "write host:port, separated by commas";
const IPV6_CURE: &str = "write an IPv6 address as [address]:port";

/// Host and port of a broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Name, IPv4 address, or IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// The reason why a list of addresses cannot be used, and what to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressError {
    /// The address that is wrong, without the part that may be a password; `None`: the list is empty.
    address: Option<String>,
    fault: String,
    cure: &'static str,
}

/// Reads a list such as `a:9092, [::1]:9093`. Addresses that come twice are taken once, in the order of the list.
///
/// # Errors
///
/// If an address cannot be used, or there is none.
pub fn parse(list: &str) -> Result<Vec<Address>, AddressError> {
    let mut addresses: Vec<Address> = Vec::new();
    for (at, piece) in list.split(',').enumerate() {
        let piece = piece.trim();
        if piece.is_empty() {
            continue;
        }
        let address = Address::parse(piece).map_err(|(fault, cure)| {
            let address = Some(shown(list, at, piece));
            AddressError { address, fault, cure }
        })?;
        let known = |other: &Address| other.port == address.port && other.host.eq_ignore_ascii_case(&address.host);
        if !addresses.iter().any(known) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(AddressError { address: None, fault: "is empty".to_owned(), cure: CURE });
    }
    Ok(addresses)
}

impl Address {
    /// The address of a broker that metadata name. `None` if the port cannot be one.
    #[must_use]
    pub fn advertised(host: &str, port: i32) -> Option<Self> {
        let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port })
    }

    fn parse(text: &str) -> Result<Self, (String, &'static str)> {
        let fault = |text: &str| Err((text.to_owned(), CURE));
        if text.contains("://") {
            return fault("is a URL");
        }
        if text.contains(char::is_whitespace) {
            return fault("has a space");
        }
        let (host, port) = match text.rsplit_once(':') {
            Some(_) if text.starts_with('[') && text.ends_with(']') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        if host.is_empty() {
            return fault("has no host");
        }
        let host = if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            let (address, zone) = inner.split_once('%').unwrap_or((inner, "0"));
            if address.parse::<Ipv6Addr>().is_err() || zone.is_empty() || !zone.chars().all(is_of_a_host) {
                return fault("has no IPv6 address in its brackets");
            }
            inner
        } else if host.contains(':') {
            return Err(("has several colons".to_owned(), IPV6_CURE));
        } else if let Some(c) = host.chars().find(|c| !is_of_a_host(*c)) {
            return fault(&format!("has the character {c:?}"));
        } else {
            host
        };
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => match port.parse() {
                Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => number,
                _ => return fault("needs a port from 1 to 65535 after its colon"),
            },
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

fn is_of_a_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// Shows an address without what may be a password: the part before an `@`, which may contain a comma.
fn shown(list: &str, at: usize, piece: &str) -> String {
    let last = list.split(',').enumerate().filter(|(_, piece)| piece.contains('@')).last();
    let text = match piece.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None if last.is_some_and(|(last, _)| at < last) => "…".to_owned(),
        None => piece.to_owned(),
    };
    text.chars().take(100).collect()
}

/// As in `bootstrap.servers`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            None => write!(f, "`bootstrap.servers` {}: {}", self.fault, self.cure),
            Some(address) => write!(f, "`bootstrap.servers` has {address:?}, which {}: {}", self.fault, self.cure),
        }
    }
}

impl Error for AddressError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(list: &str) -> Vec<String> {
        parse(list).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lists_that_work() {
        assert_eq!(read("a"), ["a:9092"]);
        assert_eq!(read("a:1, b:65535 ,"), ["a:1", "b:65535"]);
        assert_eq!(read("[::1]:9093,[::1],10.0.0.1"), ["[::1]:9093", "[::1]:9092", "10.0.0.1:9092"]);
        assert_eq!(read("[fe80::1%eth0]:1"), ["[fe80::1%eth0]:1"]);
        assert_eq!(read("b:1,a:1,B:1,a:2,a:1"), ["b:1", "a:1", "a:2"]);
        assert_eq!(parse("[::1]:1").unwrap(), [Address { host: "::1".to_owned(), port: 1 }]);
    }

    #[test]
    fn faults_say_what_to_write() {
        for (list, fault) in [
            ("", "`bootstrap.servers` is empty"),
            (" , ", "`bootstrap.servers` is empty"),
            ("kafka://a:9092", "`bootstrap.servers` has \"kafka://a:9092\", which is a URL"),
            ("a:9092,b:x", "`bootstrap.servers` has \"b:x\", which needs a port from 1 to 65535 after its colon"),
            ("a:0", "`bootstrap.servers` has \"a:0\", which needs a port from 1 to 65535 after its colon"),
            ("a:+1", "`bootstrap.servers` has \"a:+1\", which needs a port from 1 to 65535 after its colon"),
            ("a:65536", "`bootstrap.servers` has \"a:65536\", which needs a port from 1 to 65535 after its colon"),
            ("a:", "`bootstrap.servers` has \"a:\", which needs a port from 1 to 65535 after its colon"),
            (":9092", "`bootstrap.servers` has \":9092\", which has no host"),
            ("a:1 b:1", "`bootstrap.servers` has \"a:1 b:1\", which has a space"),
            ("a\0", "`bootstrap.servers` has \"a\\0\", which has the character '\\0'"),
            ("[::g]:1", "`bootstrap.servers` has \"[::g]:1\", which has no IPv6 address in its brackets"),
            ("[::1", "`bootstrap.servers` has \"[::1\", which has several colons"),
        ] {
            let text = parse(list).unwrap_err().to_string();
            let cure = if fault.ends_with("colons") { IPV6_CURE } else { CURE };
            assert_eq!(text, format!("{fault}: {cure}"));
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        for list in ["user:secret@a:1", "user:se,cret@a:1", "sasl://user:secret@a:1"] {
            let text = parse(list).unwrap_err().to_string();
            assert!(!text.contains("secret") && !text.contains("se\"") && !text.contains("user"), "{text}");
        }
    }

    #[test]
    fn addresses_that_brokers_advertise() {
        assert_eq!(Address::advertised("a", 1), Some(Address { host: "a".to_owned(), port: 1 }));
        assert_eq!((Address::advertised("", 1), Address::advertised("a", 0)), (None, None));
        assert_eq!((Address::advertised("a", 65_536), Address::advertised("a", -1)), (None, None));
    }

    proptest! {
        /// What is shown can be read again, and nothing panics.
        #[test]
        fn an_address_is_read_as_it_is_shown(list in "[a-c:\\[\\]%0-9., @-]{0,30}") {
            if let Ok(addresses) = parse(&list) {
                let again: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                prop_assert_eq!(parse(&again.join(",")).unwrap(), addresses);
            }
        }
    }
}
