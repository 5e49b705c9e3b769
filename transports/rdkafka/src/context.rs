use std::sync::Arc;

use rdkafka::ClientContext;

use crate::broker_activity::BrokerActivities;

/// Context of the binding's client, which is the opaque pointer of librdkafka's callbacks. The binding never polls the
/// client, so that its own callbacks do not run.
pub(crate) struct Context(Arc<BrokerActivities>);

impl Context {
    pub(crate) fn new(peers: Arc<BrokerActivities>) -> Self {
        Self(peers)
    }

    pub(crate) fn peers(&self) -> &BrokerActivities {
        &self.0
    }
}

impl ClientContext for Context {}
