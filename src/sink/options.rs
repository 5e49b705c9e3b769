//! Options of a sink that are not in its configuration, and a check that the configuration supports them.

use std::fmt;
use std::sync::Arc;

use kafka_tower_core::{Error, ErrorKind};
use kafka_tower_layers::partition::{PartitionStrategy, Partitioner};
use kafka_tower_layers::retry::{DeliveryGuarantee, RetryEvent};

use crate::KafkaSinkConfig;

#[derive(Clone)]
pub(super) struct StackOptions {
    pub(super) strategy: PartitionStrategy,
    pub(super) partitioner: Option<Arc<dyn Partitioner>>,
    pub(super) guarantee: DeliveryGuarantee,
    pub(super) allow_duplicates: bool,
    pub(super) content_type_header: bool,
    /// Seed of the retries' jitter. None: each stack has a random one.
    pub(super) jitter_seed: Option<u64>,
    pub(super) retry_hooks: Vec<RetryHook>,
    /// The builder was given lanes whose sends share transactions.
    pub(super) is_batched: bool,
}

pub(super) type RetryHook = Arc<dyn Fn(&RetryEvent<'_>) + Send + Sync>;

impl Default for StackOptions {
    fn default() -> Self {
        Self::of(&KafkaSinkConfig::default())
    }
}

impl StackOptions {
    /// Default options. With transactions the guarantee is `ExactlyOnce`, the only one that a transactional sink
    /// supports.
    pub(super) fn of(config: &KafkaSinkConfig) -> Self {
        let guarantee =
            if config.enable_transactions { DeliveryGuarantee::ExactlyOnce } else { DeliveryGuarantee::AtLeastOnce };
        Self {
            strategy: PartitionStrategy::KeyHash,
            partitioner: None,
            guarantee,
            allow_duplicates: false,
            content_type_header: false,
            jitter_seed: None,
            retry_hooks: Vec::new(),
            is_batched: false,
        }
    }

    /// Returns an error if the configuration cannot support these options.
    pub(super) fn fault(&self, config: &KafkaSinkConfig) -> Option<Error> {
        let client_retries = !["retries", "message.send.max.retries"]
            .iter()
            .any(|name| config.properties.get(*name).is_some_and(|retries| retries == "0"));
        let (text, help) = match self.guarantee {
            DeliveryGuarantee::ExactlyOnce if !config.enable_transactions => (
                "the guarantee ExactlyOnce needs transactions",
                "set `enable_transactions` and a `transactional_id`, or use AtLeastOnce",
            ),
            DeliveryGuarantee::ExactlyOnce => return None,
            _ if config.enable_transactions => (
                "a transactional sink guarantees ExactlyOnce and nothing else",
                "leave the guarantee out, or set `enable_transactions` to false",
            ),
            DeliveryGuarantee::AtMostOnce if !config.enable_idempotence && client_retries => (
                "the guarantee AtMostOnce is broken by the client's own retries, which can write twice without idempotence",
                "set `enable_idempotence`, or the property `retries` to 0",
            ),
            _ => return None,
        };
        Some(Error::new(ErrorKind::Config, text).with_help(help))
    }
}

impl fmt::Debug for StackOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackOptions")
            .field("strategy", &self.strategy)
            .field("partitioner", &self.partitioner.is_some())
            .field("guarantee", &self.guarantee)
            .field("allow_duplicates", &self.allow_duplicates)
            .field("content_type_header", &self.content_type_header)
            .field("jitter_seed", &self.jitter_seed)
            .field("retry_hooks", &self.retry_hooks.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use kafka_tower_test_texts::assert_consistent;

    use super::*;

    fn fault(transactions: bool, idempotence: bool, guarantee: DeliveryGuarantee) -> Option<String> {
        let config = KafkaSinkConfig {
            enable_transactions: transactions,
            enable_idempotence: idempotence,
            ..KafkaSinkConfig::default()
        };
        let options = StackOptions { guarantee, ..StackOptions::of(&config) };
        let fault = options.fault(&config);
        fault.iter().for_each(assert_consistent);
        fault.map(|error| error.message().to_owned())
    }

    #[test]
    fn the_default_guarantee_is_supported() {
        for transactions in [false, true] {
            let config = KafkaSinkConfig { enable_transactions: transactions, ..KafkaSinkConfig::default() };
            assert!(StackOptions::of(&config).fault(&config).is_none());
        }
        assert_eq!(fault(false, true, DeliveryGuarantee::AtMostOnce), None);
        assert_eq!(fault(true, true, DeliveryGuarantee::ExactlyOnce), None);
    }

    #[test]
    fn unsupported_guarantees_are_rejected() {
        assert!(fault(false, true, DeliveryGuarantee::ExactlyOnce).unwrap().contains("needs transactions"));
        assert!(fault(true, true, DeliveryGuarantee::AtLeastOnce).unwrap().contains("nothing else"));
        assert!(fault(false, false, DeliveryGuarantee::AtMostOnce).unwrap().contains("write twice"));
        let config = KafkaSinkConfig { enable_idempotence: false, ..KafkaSinkConfig::default() };
        let config = config.with_property("message.send.max.retries", "0");
        let options = StackOptions { guarantee: DeliveryGuarantee::AtMostOnce, ..StackOptions::of(&config) };
        assert!(options.fault(&config).is_none());
    }
}
