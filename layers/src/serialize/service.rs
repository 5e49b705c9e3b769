use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use kafka_tower_core::{Envelope, Error, Record, Result, SinkMessage, handover};
use tokio::sync::oneshot;
use tokio::task::unconstrained;
use tower_service::Service;

use super::buffer_pool::BufferPool;
use super::errors::serialization;
use super::future::{Encode, Encoding};
use super::{CONTENT_TYPE, MessageSerializer, SerializeFuture};

/// Service that encodes typed messages as records. Created by [`SerializeLayer`](super::SerializeLayer).
///
/// A clone writes into memory of its own.
pub struct Serialize<S, T, F: ?Sized> {
    inner: S,
    topic: Arc<str>,
    serializer: Arc<F>,
    content_type: Option<Bytes>,
    in_order: bool,
    /// Set while the serializer of the last message waits and order is to be kept. Closes when the message has been
    /// passed to the service below or was dropped.
    last: Option<oneshot::Receiver<Infallible>>,
    buffers: BufferPool,
    /// Fixes the message type: a service of every `SinkMessage<_>` would make `ready()` ambiguous for callers.
    message: PhantomData<fn(T)>,
}

impl<S, T, F: MessageSerializer<T> + ?Sized> Serialize<S, T, F> {
    pub(super) fn new(
        inner: S,
        topic: Arc<str>,
        serializer: Arc<F>,
        content_type_header: bool,
        in_order: bool,
    ) -> Self {
        let content_type = content_type_header.then(|| Bytes::copy_from_slice(serializer.content_type().as_bytes()));
        Self {
            inner,
            topic,
            serializer,
            content_type,
            in_order,
            last: None,
            buffers: BufferPool::default(),
            message: PhantomData,
        }
    }
}

impl<S, T, F: ?Sized> Serialize<S, T, F> {
    inner_service!();

    /// Adds the content type of a value, unless it is there.
    #[inline]
    fn describe(&self, envelope: &mut Envelope) {
        match &self.content_type {
            Some(content_type) if !envelope.headers.contains(CONTENT_TYPE) => {
                envelope.headers.push(CONTENT_TYPE, content_type.clone());
            }
            _ => {}
        }
    }
}

impl<S, T, F> Serialize<S, T, F>
where
    S: Service<Record> + Clone,
    T: Send + Sync + 'static,
    F: MessageSerializer<T> + ?Sized + 'static,
{
    /// Polls the serializer once. Most `async` ones do not wait, so the service below is called before `call`
    /// returns.
    #[cold] // out of the way of a serializer that is not asynchronous
    fn begin(&mut self, value: Option<T>, mut envelope: Envelope) -> SerializeFuture<S> {
        let Some(value) = value else { unreachable!("there is no serializer of tombstones") };
        self.describe(&mut envelope);
        let serializer = Arc::clone(&self.serializer);
        let mut encode: Encode = Box::pin(async move { serializer.serialize(&value).await });
        // Outside tokio's budget: otherwise a serializer that never waits would return `Pending` after 128 calls in one
        // task, and its record would lose its place in the order.
        let first = pin!(unconstrained(encode.as_mut())).poll(&mut Context::from_waker(Waker::noop()));
        match first {
            Poll::Ready(Ok(value)) => {
                SerializeFuture::called(self.inner.call(envelope.into_record(&self.topic, Some(value.into()))))
            }
            Poll::Ready(Err(error)) => self.refuse(error),
            Poll::Pending => {
                // Call the service that was polled ready; the clone has to become ready itself.
                let unready = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, unready);
                let passed_on = (self.in_order || envelope.in_order()).then(|| {
                    let (passed_on, last) = oneshot::channel();
                    self.last = Some(last);
                    passed_on
                });
                // The value is set when it is encoded.
                let record = envelope.into_record(&self.topic, Some(Bytes::new()));
                handover::kept(&record);
                SerializeFuture::encoding(Encoding::new(encode, ready, record, passed_on))
            }
        }
    }

    /// The service below is ready and is not called: a clone holds no room that is reserved or free there.
    #[cold]
    fn refuse(&mut self, error: Error) -> SerializeFuture<S> {
        self.inner = self.inner.clone();
        SerializeFuture::failed(serialization(error))
    }
}

impl<S, T, F> Service<SinkMessage<T>> for Serialize<S, T, F>
where
    S: Service<Record> + Clone,
    S::Error: Into<Error>,
    T: Send + Sync + 'static,
    F: MessageSerializer<T> + ?Sized + 'static,
{
    type Response = S::Response;
    type Error = Error;
    type Future = SerializeFuture<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Some(last) = &mut self.last {
            let _closed = ready!(Pin::new(last).poll(cx));
            self.last = None;
        }
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, message: SinkMessage<T>) -> Self::Future {
        let (value, mut envelope) = message.into_parts();
        let encoded = match value.as_ref().map(|value| self.serializer.serialize_now(value, self.buffers.begin())) {
            None => None,
            Some(Some(Ok(()))) => {
                self.describe(&mut envelope);
                Some(self.buffers.take())
            }
            Some(Some(Err(error))) => return self.refuse(error),
            Some(None) => return self.begin(value, envelope),
        };
        SerializeFuture::called(self.inner.call(envelope.into_record(&self.topic, encoded)))
    }
}

impl<S: Clone, T, F: ?Sized> Clone for Serialize<S, T, F> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            // Each record counts a reference to them: handles that threads have for themselves share no count.
            topic: Arc::from(&*self.topic),
            content_type: self.content_type.as_deref().map(Bytes::copy_from_slice),
            serializer: Arc::clone(&self.serializer),
            in_order: self.in_order,
            last: None,
            buffers: BufferPool::default(),
            message: PhantomData,
        }
    }
}

impl<S: fmt::Debug, T, F: ?Sized> fmt::Debug for Serialize<S, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serialize").field("topic", &self.topic).field("inner", &self.inner).finish_non_exhaustive()
    }
}
