use std::fmt;

/// What a source does with a record that cannot be decoded: [`SourceBuilder::on_decode_error`](super::SourceBuilder).
///
/// ```
/// use kafka_tower::source::DecodePolicy;
/// use kafka_tower::{KafkaSource, KafkaSourceConfig};
///
/// # let config = KafkaSourceConfig::default();
/// let builder = KafkaSource::<u32>::builder(config).on_decode_error(DecodePolicy::skip());
/// # let _ = builder;
/// ```
#[derive(Clone, Default)]
pub struct DecodePolicy(pub(super) OnDecodeError);

#[derive(Clone, Default)]
pub(super) enum OnDecodeError {
    #[default]
    Fail,
    Skip,
}

impl DecodePolicy {
    /// [`recv`](crate::KafkaSource::recv) returns an error with the original record, and the partition waits until the error
    /// is settled or dropped. The default.
    #[must_use]
    pub fn fail() -> Self {
        Self(OnDecodeError::Fail)
    }

    /// The record is settled as if it had been handled, and is lost. A warning names its place, and the close report counts
    /// it.
    #[must_use]
    pub fn skip() -> Self {
        Self(OnDecodeError::Skip)
    }
}

impl fmt::Debug for DecodePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            OnDecodeError::Fail => "DecodePolicy::fail()",
            OnDecodeError::Skip => "DecodePolicy::skip()",
        })
    }
}
