use std::sync::Arc;

use rdkafka::ClientContext;

use crate::peers::Peers;

/// Context of the binding's client, which is the opaque pointer of librdkafka's callbacks. The binding never polls the
/// client, so that its own callbacks do not run.
pub(crate) struct Context(Arc<Peers>);

impl Context {
    pub(crate) fn new(peers: Arc<Peers>) -> Self {
        Self(peers)
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.0
    }
}

impl ClientContext for Context {}
