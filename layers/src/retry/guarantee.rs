/// How often a record may be in the log: what a [`RetryPolicy`](super::RetryPolicy) may do for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeliveryGuarantee {
    /// Once or not at all: sends again only what was surely not written.
    AtMostOnce,
    /// Sends again what was surely not written; what may have been written too, if the caller
    /// [allowed duplicates](super::RetryPolicy::allow_duplicates). Else the caller is told that nobody knows.
    #[default]
    AtLeastOnce,
    /// Never sends a record again: the transaction that it belongs to is aborted and replayed.
    ExactlyOnce,
}
