//! The requests that a producer sends, and their answers.
//!
//! Field names and versions are those of the schemas in Kafka's `clients/src/main/resources/common/message`.

use std::ops::RangeInclusive;

pub mod api_versions;
pub mod init_producer_id;
pub mod metadata;
pub mod produce;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Api {
    /// Appends record batches.
    Produce,
    /// Brokers, topics, partitions and their leaders.
    Metadata,
    /// The versions of each request that the broker speaks.
    ApiVersions,
    /// A producer id and its epoch.
    InitProducerId,
}

impl Api {
    /// Every kind of request.
    pub const ALL: [Self; 4] = [Self::Produce, Self::Metadata, Self::ApiVersions, Self::InitProducerId];

    /// Its number in a request's header.
    #[must_use]
    pub const fn key(self) -> i16 {
        match self {
            Self::Produce => 0,
            Self::Metadata => 3,
            Self::ApiVersions => 18,
            Self::InitProducerId => 22,
        }
    }

    /// Its name in Kafka's documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Produce => "Produce",
            Self::Metadata => "Metadata",
            Self::ApiVersions => "ApiVersions",
            Self::InitProducerId => "InitProducerId",
        }
    }

    /// The versions that this package speaks: those of Kafka 2.5 to 4.3.
    ///
    /// Of [`ApiVersions`](Self::ApiVersions) it does not use 1 and 2, which have nothing that 0 lacks but a throttle time, and
    /// not 5, which some brokers do not answer.
    #[must_use]
    pub const fn versions(self) -> RangeInclusive<i16> {
        match self {
            Self::Produce | Self::Metadata => 7..=13,
            Self::ApiVersions => 0..=4,
            Self::InitProducerId => 1..=5,
        }
    }

    /// Whether a version has compact types and tagged fields (KIP-482).
    #[must_use]
    pub const fn is_flexible(self, version: i16) -> bool {
        let first = match self {
            Self::Produce | Self::Metadata => 9,
            Self::ApiVersions => 3,
            Self::InitProducerId => 2,
        };
        version >= first
    }
}
