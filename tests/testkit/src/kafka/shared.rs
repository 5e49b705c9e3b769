//! The cluster that the tests of a binary share.

use tokio::sync::OnceCell;

use crate::kafka::{Cluster, Error};

/// Returns the one-node cluster that all tests of a binary share; the first call starts it. With `KAFKA_BROKERS` set,
/// it is that cluster. `None` if no Kafka is available; a line on stderr says so.
///
/// A test that kills, stops or configures brokers starts its own cluster with [`Cluster::start`].
///
/// # Panics
///
/// If the cluster does not start, or there is none and `KAFKA_TOWER_REQUIRE_KAFKA=1`.
pub async fn shared() -> Option<&'static Cluster> {
    static SHARED: OnceCell<Result<Option<Cluster>, Error>> = OnceCell::const_new();
    let cluster = SHARED.get_or_init(|| async {
        match crate::kafka::provision::external() {
            Some(bootstrap) => Ok(Some(Cluster::external(bootstrap))),
            None => Cluster::start(1).await,
        }
    });
    match cluster.await {
        Ok(cluster) => cluster.as_ref(),
        Err(error) => panic!("{error}"),
    }
}
