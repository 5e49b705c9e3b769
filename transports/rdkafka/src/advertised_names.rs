//! Tells whether a name that did not resolve is of `bootstrap.servers` or advertised by a broker.

/// Returns the broker in an error of librdkafka if it has an id, because its name then came with the metadata and not
/// from `bootstrap.servers`. "kafka:9092/1: Failed to resolve …" is broker 1 at kafka:9092.
fn advertised(text: &str) -> Option<(&str, i32)> {
    let (before, _) = text.split_once(": Failed to resolve ")?;
    let name = before.rsplit(' ').next()?;
    let (address, id) = name.rsplit_once('/')?;
    Some((address.rsplit('/').next()?, id.parse().ok()?))
}

/// Returns help for an error of name resolution, if a broker advertises the name.
pub(crate) fn advertised_help(text: &str) -> Option<String> {
    let (address, id) = advertised(text)?;
    Some(format!(
        "broker {id} advertises {address}, which does not resolve here: correct advertised.listeners of the broker, or the DNS here"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_is_known_by_its_id() {
        let resolve =
            |name: &str| format!("last broker error 0.4 s ago: {name}: Failed to resolve 'x': Name not known");
        for (name, broker) in [
            ("kafka:9092/1", Some(("kafka:9092", 1))),
            ("sasl_ssl://kafka:9093/12", Some(("kafka:9093", 12))),
            ("kafka:9092/bootstrap", None),
            ("ssl://kafka:9092/bootstrap", None),
            ("GroupCoordinator", None),
        ] {
            assert_eq!(advertised(&resolve(name)), broker, "{name}");
            assert_eq!(advertised_help(&resolve(name)).is_some(), broker.is_some());
        }
        assert_eq!(advertised("kafka:9092/1: Connect to ipv4#10.0.0.7:9092 failed: Connection refused"), None);
    }
}
