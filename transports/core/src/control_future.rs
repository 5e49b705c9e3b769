use std::future::Future;
use std::pin::Pin;

use crate::Result;

/// Future returned by the methods of [`Control`](crate::Control) and
/// [`TransactionControl`](crate::TransactionControl). It is boxed: control calls are rare, so the allocation does not
/// matter.
pub type ControlFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;
