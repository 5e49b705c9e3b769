//! One Kafka behind a proxy for the tests of a binary.

use kafka_tower_testkit::kafka::{Cluster, Listener};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// Returns the cluster, for one test at a time because the rules of its proxy are shared. `None`: no Kafka here.
///
/// # Panics
///
/// If the cluster does not start.
pub async fn alone() -> Option<(&'static Cluster, MutexGuard<'static, ()>)> {
    static KAFKA: OnceCell<Option<Cluster>> = OnceCell::const_new();
    static ALONE: Mutex<()> = Mutex::const_new(());
    let alone = ALONE.lock().await;
    let start = || async { Cluster::builder().listener(Listener::Proxy).start().await.expect("a cluster starts") };
    Some((KAFKA.get_or_init(start).await.as_ref()?, alone))
}
