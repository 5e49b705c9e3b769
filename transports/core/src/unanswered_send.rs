use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// A send that had no outcome when the time of a close was over.
///
/// Like [`Record`](crate::Record), its `Debug` prints the size of the key and not the key.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct UnansweredSend {
    /// The topic, if the message named one or a layer of this project holds its record.
    pub topic: Option<Arc<str>>,
    /// The key, if the same is true.
    pub key: Option<Bytes>,
}

impl UnansweredSend {
    /// Creates a description from the topic and the key, as far as they are known.
    #[must_use]
    #[doc(hidden)] // only a sink calls it
    pub fn new(topic: Option<Arc<str>>, key: Option<Bytes>) -> Self {
        Self { topic, key }
    }
}

impl fmt::Debug for UnansweredSend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key_bytes = self.key.as_ref().map(Bytes::len);
        f.debug_struct("UnansweredSend").field("topic", &self.topic).field("key_bytes", &key_bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_an_unanswered_send_has_no_key() {
        let send = UnansweredSend::new(Some("orders".into()), Some("secret".into()));
        assert_eq!(format!("{send:?}"), "UnansweredSend { topic: Some(\"orders\"), key_bytes: Some(6) }");
    }
}
