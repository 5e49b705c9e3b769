//! What Azure Event Hubs lacks in every tier, as far as a configuration shows that its brokers are Event Hubs.

use super::super::KafkaSinkConfig;

const SUFFIX: &str = ".servicebus.windows.net";

/// Microsoft documents gzip as its only compression ("Apache Kafka client configurations for Azure Event Hubs").
pub(super) fn warnings(config: &KafkaSinkConfig, found: &mut Vec<String>) {
    let compression = config.compression_type.as_str();
    if !matches!(compression, "none" | "gzip") && config.brokers.split(',').any(is_event_hubs) {
        found.push(format!(
            "`compression_type` is {compression:?}, and the brokers are Azure Event Hubs, which knows gzip only, in the tiers \
             Premium and Dedicated: set it to none, or to gzip there"
        ));
    }
}

fn is_event_hubs(broker: &str) -> bool {
    let broker = broker.trim();
    let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host);
    host.trim_end_matches('.').to_ascii_lowercase().ends_with(SUFFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_compression_than_gzip_is_named() {
        let of = |brokers: &str, compression: &str| {
            let (brokers, compression_type) = (brokers.to_owned(), compression.to_owned());
            let mut found = Vec::new();
            warnings(&KafkaSinkConfig { brokers, compression_type, ..Default::default() }, &mut found);
            found
        };
        for brokers in ["orders.servicebus.windows.net:9093", "Orders.ServiceBus.Windows.Net.:9093"] {
            for compression in ["snappy", "lz4", "zstd"] {
                let found = of(brokers, compression);
                assert!(found.len() == 1 && found[0].contains("gzip only"), "{found:?}");
            }
            assert_eq!(of(brokers, "none").len() + of(brokers, "gzip").len(), 0);
        }
        for brokers in ["localhost:9092", "servicebus.windows.net.example.com:9093"] {
            assert_eq!(of(brokers, "snappy"), [""; 0]);
        }
    }
}
