//! Control of the processes of a cluster. Nodes are numbered from 1, as in Kafka's metadata.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::kafka::client::blocking;
use crate::kafka::{Cluster, Error};

const LIMIT: Duration = Duration::from_secs(60);

/// All methods fail for the external cluster of `KAFKA_BROKERS`, and for a node that does not exist.
impl Cluster {
    /// `kill -9`. Returns when the process has ended. Does nothing to a node that is not running.
    ///
    /// # Errors
    ///
    /// If the cluster is external or the node does not exist.
    pub fn kill(&self, node: i32) -> Result<(), Error> {
        let own = self.own("kill")?;
        own.node(node)?.kill(&own.launcher)
    }

    /// SIGSTOP: the broker keeps its connections and answers nothing. Returns when it has stopped.
    ///
    /// # Errors
    ///
    /// If the cluster is external or the node is not running.
    pub fn stop(&self, node: i32) -> Result<(), Error> {
        let own = self.own("stop")?;
        own.node(node)?.stop(&own.launcher)
    }

    /// SIGCONT: ends [`stop`](Self::stop).
    ///
    /// If another node became the leader meanwhile, this node takes itself for the leader until it has read the cluster's
    /// metadata, and a reader that gets its metadata from it misses the records written since `stop`. Read by way of the
    /// other nodes.
    ///
    /// # Errors
    ///
    /// If the cluster is external or the node is not running.
    pub fn cont(&self, node: i32) -> Result<(), Error> {
        let own = self.own("cont")?;
        own.node(node)?.signal(&own.launcher, "CONT")
    }

    /// SIGTERM: the broker hands over its leaderships and ends. Returns when the process has ended.
    ///
    /// # Errors
    ///
    /// If the cluster is external, or the node is not running or does not end within 60 s.
    pub async fn terminate(&self, node: i32) -> Result<(), Error> {
        let own = Arc::clone(self.own("terminate")?);
        blocking(move || own.node(node)?.terminate(&own.launcher, LIMIT)).await
    }

    /// Restarts a node with the same ports and data; kills it first if it is running. Returns when it answers and is in
    /// the metadata; its replicas may still be catching up.
    ///
    /// # Errors
    ///
    /// If the cluster is external or the node does not become ready.
    pub async fn restart(&self, node: i32) -> Result<(), Error> {
        let own = Arc::clone(self.own("restart")?);
        blocking(move || {
            let node = own.node(node)?;
            node.kill(&own.launcher)?;
            node.spawn(&own.launcher)?;
            node.wait_ready(&own.launcher, 1, LIMIT)
        })
        .await
    }

    /// The process id of a node. `None` if it is not running.
    ///
    /// # Errors
    ///
    /// If the cluster is external or the node does not exist.
    pub fn pid(&self, node: i32) -> Result<Option<u32>, Error> {
        Ok(self.own("pid")?.node(node)?.pid())
    }

    /// Directory of a node's log segments.
    ///
    /// # Errors
    ///
    /// If the cluster is external or the node does not exist.
    pub fn data_dir(&self, node: i32) -> Result<PathBuf, Error> {
        Ok(self.own("data_dir")?.node(node)?.data_dir())
    }

    /// Returns the output of a node.
    ///
    /// # Errors
    ///
    /// If the cluster is external or the node does not exist, or the file cannot be read.
    pub fn log(&self, node: i32) -> Result<String, Error> {
        let path = self.own("log")?.node(node)?.log_file();
        std::fs::read_to_string(&path).map_err(Error::with(path.display()))
    }
}
