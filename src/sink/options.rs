//! Options of a sink that are not in its configuration, and a check that the configuration supports them.

use std::fmt;
use std::sync::{Arc, RwLock};

use kafka_tower_core::sync::{read, write};
use kafka_tower_core::{Error, ErrorKind};
use kafka_tower_layers::partition::{PartitionStrategy, Partitioner};
use kafka_tower_layers::retry::{DeliveryGuarantee, RetryEvent};

use crate::KafkaSinkConfig;

/// Options of the sinks that were derived from a sink whose builder was given layers. They send through the same layers, and
/// their messages carry the number of their options, from 1 on.
#[derive(Debug, Default)]
pub(super) struct Profiles(RwLock<Vec<StackOptions>>);

impl Profiles {
    /// The number of these options. `None` if 255 others have one.
    pub(super) fn number(&self, options: &StackOptions) -> Option<u8> {
        let mut all = write(&self.0);
        let place = all.iter().position(|known| known.is_same(options)).unwrap_or(all.len());
        let number = u8::try_from(place + 1).ok()?;
        if place == all.len() {
            all.push(options.clone());
        }
        Some(number)
    }

    /// What `get` reads of the options with this number.
    pub(super) fn get<R>(&self, number: u8, get: impl FnOnce(&StackOptions) -> R) -> Option<R> {
        read(&self.0).get(usize::from(number).checked_sub(1)?).map(get)
    }
}

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

    /// Whether the options that a connected sink can change are equal.
    fn is_same(&self, other: &Self) -> bool {
        let partitioner = match (&self.partitioner, &other.partitioner) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        partitioner
            && self.strategy == other.strategy
            && self.guarantee == other.guarantee
            && self.allow_duplicates == other.allow_duplicates
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
    fn equal_options_have_one_number_and_numbers_end() {
        let (profiles, options) = (Profiles::default(), StackOptions::default());
        let single = |partition| StackOptions { strategy: PartitionStrategy::Single(partition), ..options.clone() };
        assert_eq!([0, 1, 0].map(|partition| profiles.number(&single(partition))), [Some(1), Some(2), Some(1)]);
        assert_eq!(profiles.get(2, |found| found.strategy), Some(PartitionStrategy::Single(1)));
        assert!(profiles.get(0, |_| ()).is_none() && profiles.get(3, |_| ()).is_none());
        assert_eq!(profiles.number(&StackOptions { allow_duplicates: true, ..single(0) }), Some(3));
        let last = (2..).map_while(|partition| profiles.number(&single(partition))).last();
        assert_eq!((last, profiles.number(&single(1))), (Some(255), Some(2)));
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
