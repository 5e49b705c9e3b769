//! The region in the names of MSK's brokers. Pure.

/// What follows the region.
const SUFFIXES: [&str; 3] = [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"];

/// Whether this may be a region. A longer name is no label of a host.
pub(super) fn is_region(text: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.len() < 64 && text.contains('-') && text.split('-').all(is_part)
}

/// The region of these brokers, `host:port` with commas between them. The error is a phrase that follows "the brokers".
pub(super) fn of_brokers(brokers: &str) -> Result<String, &'static str> {
    let mut regions = brokers.split(',').map(str::trim).filter(|broker| !broker.is_empty()).map(of_broker);
    let first = regions.next().flatten().ok_or("do not have names of Amazon MSK, which contain the region")?;
    match regions.all(|region| region.as_ref() == Some(&first)) {
        true => Ok(first),
        false => Err("are not all of one region"),
    }
}

/// `b-1.orders.abc123.c2.kafka.us-east-1.amazonaws.com:9098`, also of `kafka-serverless`.
fn of_broker(broker: &str) -> Option<String> {
    let host = broker.rsplit_once("://").map_or(broker, |(_, host)| host);
    let host = host.split_once(':').map_or(host, |(host, _)| host).trim_end_matches('.').to_ascii_lowercase();
    let before = SUFFIXES.iter().find_map(|suffix| host.strip_suffix(suffix))?;
    let (before, region) = before.rsplit_once('.')?;
    let service = before.rsplit('.').next()?;
    (service.starts_with("kafka") && is_region(region)).then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_stands_before_the_suffix() {
        for (brokers, region) in [
            ("b-1.orders.abc123.c2.kafka.us-east-1.amazonaws.com:9098", "us-east-1"),
            ("b-1.demo-us-west-1-app.abc123.c2.kafka.us-west-2.amazonaws.com", "us-west-2"),
            ("b-1.qa.abcdef.c3.kafka.us-gov-west-1.amazonaws.com:9098", "us-gov-west-1"),
            ("b-1.qa.abcdef.c2.kafka.cn-north-1.amazonaws.com.cn:9098", "cn-north-1"),
            ("b-1.app.abc123.c2.kafka.eu-west-1.api.aws:9098", "eu-west-1"),
            ("boot-us-west-1abc.c1.kafka-serverless.ap-southeast-9.amazonaws.com:9098", "ap-southeast-9"),
            ("SASL_SSL://B-1.X.Y.C2.KAFKA.US-EAST-1.AMAZONAWS.COM.:9098", "us-east-1"),
            (
                "b-1.a.b.c2.kafka.us-east-1.amazonaws.com:9098, b-2.a.b.c2.kafka.us-east-1.amazonaws.com:9098,",
                "us-east-1",
            ),
        ] {
            assert_eq!(of_brokers(brokers).as_deref(), Ok(region), "{brokers}");
        }
    }

    #[test]
    fn other_names_have_none() {
        for brokers in [
            "",
            "localhost:9092",
            "kafka.example.com:9098",
            "amazonaws.com",
            "b-1.foo.kafka..amazonaws.com:9098",
            "b-1.foo.kafka.notaregion.amazonaws.com:9098",
            "ec2-1-2-3-4.compute.us-east-1.amazonaws.com:9098",
        ] {
            assert!(of_brokers(brokers).unwrap_err().starts_with("do not"), "{brokers}");
        }
        let of = |region| format!("b-1.a.b.c2.kafka.{region}.amazonaws.com:9098");
        assert_eq!(of_brokers(&[of("us-east-1"), of("us-east-2")].join(",")), Err("are not all of one region"));
        assert_eq!(of_brokers(&[of("us-east-1"), "10.0.0.1:9098".into()].join(",")), Err("are not all of one region"));
        assert!(!is_region(&format!("us-{}-1", "a".repeat(60))));
    }
}
