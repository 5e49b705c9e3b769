//! Clients for this crate's own use, configured to notice a restarted broker at once.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::kafka::Error;

pub(crate) fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "100")
        .set("socket.timeout.ms", "5000")
        .set("broker.address.family", "v4");
    config
}

pub(crate) fn consumer(bootstrap: &str) -> Result<BaseConsumer, Error> {
    config(bootstrap).create().map_err(Error::with("cannot create a consumer"))
}

/// Returns the ids of the brokers in the metadata.
pub(crate) fn brokers(bootstrap: &str, limit: Duration) -> Result<Vec<i32>, Error> {
    let metadata = consumer(bootstrap)?.fetch_metadata(None, limit).map_err(Error::with("metadata"))?;
    Ok(metadata.brokers().iter().map(rdkafka::metadata::MetadataBroker::id).collect())
}

/// Runs blocking work outside the test's runtime.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(Error::with("blocking work"))?
}
