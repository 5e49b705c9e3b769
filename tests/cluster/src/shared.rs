//! The one cluster of a test binary.

use tokio::sync::OnceCell;

use crate::{Cluster, Error};

/// The one-node cluster that all tests of a binary share, started by the first that asks; with
/// `KAFKA_BROKERS` that cluster. `None`: there is no Kafka here, and a line has said so.
///
/// Whoever kills, stops or configures takes a cluster of its own: [`Cluster::start`].
///
/// # Panics
///
/// If the cluster does not start, or there is none and `KAFKA_TOWER_REQUIRE_KAFKA=1`.
pub async fn shared() -> Option<&'static Cluster> {
    static SHARED: OnceCell<Result<Option<Cluster>, Error>> = OnceCell::const_new();
    let cluster = SHARED.get_or_init(|| async {
        match crate::provision::external() {
            Some(bootstrap) => Ok(Some(Cluster::external(bootstrap))),
            None => Cluster::start(1).await,
        }
    });
    match cluster.await {
        Ok(cluster) => cluster.as_ref(),
        Err(error) => panic!("{error}"),
    }
}
