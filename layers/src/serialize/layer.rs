use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use tower_layer::Layer;

use super::{MessageSerializer, Serialize};

/// Layer that creates [`Serialize`] services. See the [module](super).
///
/// `F` is a [`MessageSerializer<T>`](MessageSerializer), also a `dyn` one.
pub struct SerializeLayer<T, F: ?Sized> {
    topic: Arc<str>,
    serializer: Arc<F>,
    content_type_header: bool,
    in_order: bool,
    message: PhantomData<fn(T)>,
}

impl<T, F: MessageSerializer<T> + ?Sized> SerializeLayer<T, F> {
    /// Creates a layer for messages to `topic`, unless a message names its own topic.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, serializer: Arc<F>) -> Self {
        Self { topic: topic.into(), serializer, content_type_header: false, in_order: false, message: PhantomData }
    }
}

#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(feature = "json")))]
impl<T: serde::Serialize + Send + Sync> SerializeLayer<T, super::JsonSerializer> {
    /// Creates a layer that encodes with [`JsonSerializer`](super::JsonSerializer).
    #[must_use]
    pub fn json(topic: impl Into<Arc<str>>) -> Self {
        Self::new(topic, Arc::new(super::JsonSerializer))
    }
}

impl<T, F: ?Sized> SerializeLayer<T, F> {
    /// Adds the serializer's content type as the header `content-type` to messages that do not have that header.
    /// Default: false, because a header doubles the cost of a small record.
    #[must_use]
    pub fn content_type_header(mut self, add: bool) -> Self {
        self.content_type_header = add;
        self
    }

    /// Keeps the call order of a handle even if the serializer waits: the handle is not ready before the value of its
    /// last call is encoded, so one value is encoded at a time. Default: false.
    ///
    /// The response future does the encoding: poll it while you wait for readiness.
    #[must_use]
    pub fn in_order(mut self, keep: bool) -> Self {
        self.in_order = keep;
        self
    }
}

impl<S, T, F: MessageSerializer<T> + ?Sized> Layer<S> for SerializeLayer<T, F> {
    type Service = Serialize<S, T, F>;

    fn layer(&self, inner: S) -> Self::Service {
        let (topic, serializer) = (Arc::clone(&self.topic), Arc::clone(&self.serializer));
        Serialize::new(inner, topic, serializer, self.content_type_header, self.in_order)
    }
}

impl<T, F: ?Sized> Clone for SerializeLayer<T, F> {
    fn clone(&self) -> Self {
        Self { topic: Arc::clone(&self.topic), serializer: Arc::clone(&self.serializer), ..*self }
    }
}

impl<T, F: ?Sized> fmt::Debug for SerializeLayer<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SerializeLayer")
            .field("topic", &self.topic)
            .field("content_type_header", &self.content_type_header)
            .field("in_order", &self.in_order)
            .finish_non_exhaustive()
    }
}
