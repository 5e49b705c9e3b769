//! Which version of each request to use with a broker.

use std::error::Error;
use std::fmt;
use std::ops::RangeInclusive;

use super::api::Api;
use super::api::api_versions::ApiRange;

/// The versions that one broker speaks, from its answer to `ApiVersions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerVersions([Option<ApiRange>; Api::ALL.len()]);

/// A request for which the broker and this package have no version in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoCommonVersion {
    /// The request.
    pub api: Api,
    /// The oldest and newest version that would do.
    pub wanted: (i16, i16),
    /// What the broker speaks; `None` if it does not know the request.
    pub broker: Option<(i16, i16)>,
}

impl BrokerVersions {
    /// Keeps the ranges of the requests that this package sends.
    #[must_use]
    pub fn new(ranges: &[ApiRange]) -> Self {
        Self(Api::ALL.map(|api| ranges.iter().find(|range| range.api_key == api.key()).copied()))
    }

    /// The newest version of a request that both sides speak.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn newest(&self, api: Api) -> Result<i16, NoCommonVersion> {
        self.newest_of(api, api.versions())
    }

    /// As [`newest`](Self::newest), of those up to `max`. For a request that a newer version would change: `Produce` without
    /// topic ids needs one up to 12, and up to 11 in a transaction without KIP-890.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn newest_up_to(&self, api: Api, max: i16) -> Result<i16, NoCommonVersion> {
        self.newest_of(api, *api.versions().start()..=max.min(*api.versions().end()))
    }

    fn newest_of(&self, api: Api, wanted: RangeInclusive<i16>) -> Result<i16, NoCommonVersion> {
        let range = Api::ALL.iter().zip(&self.0).find(|(known, _)| **known == api).and_then(|(_, range)| *range);
        let newest = range.map(|range| range.max_version.min(*wanted.end()));
        newest.filter(|version| wanted.contains(version) && range.is_some_and(|range| range.contains(*version))).ok_or(
            NoCommonVersion {
                api,
                wanted: wanted.into_inner(),
                broker: range.map(|range| (range.min_version, range.max_version)),
            },
        )
    }
}

impl fmt::Display for NoCommonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, (least, most)) = (self.api.name(), self.wanted);
        match self.broker {
            None => write!(f, "the broker does not know the request {name}; Kafka 2.5 or newer does"),
            Some((min, max)) if max < least => write!(
                f,
                "the broker is too old: it speaks {name} {min} to {max}, and {least} or newer is needed (Kafka 2.5 or newer)"
            ),
            Some((min, max)) => {
                write!(f, "the broker is too new: it speaks {name} {min} to {max}, and this client only up to {most}")
            }
        }
    }
}

impl Error for NoCommonVersion {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn broker(api: Api, min_version: i16, max_version: i16) -> BrokerVersions {
        BrokerVersions::new(&[ApiRange { api_key: api.key(), min_version, max_version }])
    }

    /// The ranges that Kafka 4.3.1, 2.5 and 2.4 answer.
    #[test]
    fn the_newest_common_version_is_taken() {
        let kafka_4_3 = broker(Api::Produce, 0, 13);
        assert_eq!(kafka_4_3.newest(Api::Produce), Ok(13));
        assert_eq!(kafka_4_3.newest_up_to(Api::Produce, 12), Ok(12));
        assert_eq!(broker(Api::Produce, 0, 8).newest_up_to(Api::Produce, 12), Ok(8));
        assert_eq!(broker(Api::InitProducerId, 0, 3).newest(Api::InitProducerId), Ok(3));
        assert_eq!(broker(Api::Produce, 3, 99).newest_up_to(Api::Produce, 99), Ok(13));
    }

    #[test]
    fn the_error_says_what_is_missing() {
        let text = |versions: BrokerVersions, max| versions.newest_up_to(Api::Produce, max).unwrap_err().to_string();
        assert_eq!(
            text(broker(Api::Produce, 0, 6), 13),
            "the broker is too old: it speaks Produce 0 to 6, and 7 or newer is needed (Kafka 2.5 or newer)"
        );
        assert_eq!(
            text(broker(Api::Produce, 13, 15), 12),
            "the broker is too new: it speaks Produce 13 to 15, and this client only up to 12"
        );
        assert_eq!(
            text(broker(Api::Metadata, 0, 6), 13),
            "the broker does not know the request Produce; Kafka 2.5 or newer does"
        );
    }

    proptest! {
        /// It is the largest number that is in both ranges.
        #[test]
        fn it_is_the_largest_number_in_both_ranges(min in -1..16_i16, max in -1..16_i16, most in -1..16_i16, api in 0..4_usize) {
            let api = Api::ALL[api];
            let model = (0..=most).rev().find(|version| api.versions().contains(version) && (min..=max).contains(version));
            let found = broker(api, min, max).newest_up_to(api, most);
            prop_assert_eq!(found.ok(), model);
            prop_assert!(model.is_some() || !found.unwrap_err().to_string().is_empty());
        }
    }
}
