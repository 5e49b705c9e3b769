use super::{ConsumerFixture, laws};
use crate::verdict::define_laws;

crate::__with_consumer_laws!(define_laws [
    /// A law of a consumer, by name. [`consumer_law_tests!`](crate::consumer_law_tests) makes a test of each.
    ConsumerLaw ConsumerFixture in laws
]);

impl ConsumerLaw {
    /// The laws that need aborted transactions.
    pub const OF_TRANSACTIONS: &[Self] = &[Self::PositionsAreTrue, Self::ASeekContinuesAtItsTarget];

    /// The laws that need a consumer that looks up offsets.
    pub const OF_LOOK_UPS: &[Self] = &[Self::LookUpsAreTrue];

    /// The laws that need records to be deleted on command.
    pub const OF_DELETIONS: &[Self] = &[Self::AnOffsetOutOfRangeIsAnEvent];

    /// The laws that need rebalances on command.
    pub const OF_REBALANCES: &[Self] = &[Self::NothingOfAReleasedPartitionPasses, Self::AReleaseIsAnAnswer];
}
