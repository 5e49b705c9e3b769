/// Returns the address of the broker, if exactly one is configured. With several, the one in use is unknown.
pub(crate) fn only_broker(brokers: &str) -> Option<(&str, u16)> {
    let mut brokers = brokers.split(',').map(str::trim).filter(|broker| !broker.is_empty());
    let broker = brokers.next()?;
    if brokers.next().is_some() {
        return None;
    }
    let (host, port) = match broker.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (broker, 9092),
    };
    Some((host.trim_start_matches('[').trim_end_matches(']'), port))
}

#[cfg(test)]
mod tests {
    use super::only_broker;

    #[test]
    fn one_broker_is_the_server() {
        assert_eq!(only_broker("kafka:19092"), Some(("kafka", 19092)));
        assert_eq!(only_broker(" kafka ,"), Some(("kafka", 9092)));
        assert_eq!(only_broker("[::1]:9094"), Some(("::1", 9094)));
        assert_eq!(only_broker("[::1]"), Some(("::1", 9092)));
        assert_eq!(only_broker("a:9092,b:9092"), None);
        assert_eq!(only_broker(""), None);
    }
}
