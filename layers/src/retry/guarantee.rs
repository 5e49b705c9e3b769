/// How often a record may be in the log. Limits the retries of a [`RetryPolicy`](super::RetryPolicy).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeliveryGuarantee {
    /// Once or not at all: retries only records that were certainly not written.
    AtMostOnce,
    /// Retries records that were certainly not written, and possibly written ones if you [allow
    /// duplicates](super::RetryPolicy::allow_duplicates). Otherwise a possibly written record fails with
    /// `PossiblyPersisted`. The default.
    #[default]
    AtLeastOnce,
    /// Never retries a record: abort and replay its transaction.
    ExactlyOnce,
}
