use crate::verdict::define_laws;
use crate::{Fixture, laws};

crate::__with_laws!(define_laws [
    /// A law, by name. [`law_tests!`](crate::law_tests) makes a test of each.
    Law Fixture in laws
]);

impl Law {
    /// The laws that need a broker which can be [paused](crate::Broker::pause).
    pub const OF_A_PAUSED_BROKER: &[Self] = &[
        Self::FlushWaitsForEarlierRecords,
        Self::TheLimitsAreExactInRecordsAndBytes,
        Self::BackPressureIsAPendingThatWakes,
        Self::ADeadlineEndsTheWaitingTruthfully,
        Self::CloseReportsWhatItCouldNotDeliver,
    ];

    /// The laws that need a [transactional transport](crate::Fixture::open_transactional).
    pub const OF_TRANSACTIONS: &[Self] =
        &[Self::ACloseAbortsAnOpenTransaction, Self::DroppingTheLastHandleAbortsAnOpenTransaction];
}
