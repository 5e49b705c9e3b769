//! What a test does to the processes of its cluster. Nodes are numbered from 1, as in Kafka's
//! metadata.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::client::blocking;
use crate::{Cluster, Error};

const LIMIT: Duration = Duration::from_secs(60);

/// Each fails for the foreign cluster of `KAFKA_BROKERS`, and for a node that is not there.
impl Cluster {
    /// `kill -9`; returns when the process is gone. A node that does not run stays so.
    ///
    /// # Errors
    ///
    /// If the cluster or the node is not ours.
    pub fn kill(&self, node: i32) -> Result<(), Error> {
        let own = self.own("kill")?;
        own.node(node)?.kill(&own.launcher)
    }

    /// SIGSTOP: the broker keeps its connections and answers nothing. Returns when it stands still.
    ///
    /// # Errors
    ///
    /// If the cluster is not ours or the node does not run.
    pub fn stop(&self, node: i32) -> Result<(), Error> {
        let own = self.own("stop")?;
        own.node(node)?.stop(&own.launcher)
    }

    /// SIGCONT: the end of [`stop`](Self::stop).
    ///
    /// # Errors
    ///
    /// If the cluster is not ours or the node does not run.
    pub fn cont(&self, node: i32) -> Result<(), Error> {
        let own = self.own("cont")?;
        own.node(node)?.signal(&own.launcher, "CONT")
    }

    /// SIGTERM: the broker hands over its leaderships and ends; returns when the process is gone.
    ///
    /// # Errors
    ///
    /// If the cluster is not ours, the node does not run or does not end in a minute.
    pub async fn terminate(&self, node: i32) -> Result<(), Error> {
        let own = Arc::clone(self.own("terminate")?);
        blocking(move || own.node(node)?.terminate(&own.launcher, LIMIT)).await
    }

    /// Starts a node again, killing it first if it runs: same ports, same data. Returns when it
    /// answers and is in the metadata; the replicas may still be catching up.
    ///
    /// # Errors
    ///
    /// If the cluster is not ours or the node does not become ready.
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

    /// The process id of a node; `None` if it does not run.
    ///
    /// # Errors
    ///
    /// If the cluster or the node is not ours.
    pub fn pid(&self, node: i32) -> Result<Option<u32>, Error> {
        Ok(self.own("pid")?.node(node)?.pid())
    }

    /// Where a node keeps its log segments.
    ///
    /// # Errors
    ///
    /// If the cluster or the node is not ours.
    pub fn data_dir(&self, node: i32) -> Result<PathBuf, Error> {
        Ok(self.own("data_dir")?.node(node)?.data_dir())
    }

    /// What a node has printed.
    ///
    /// # Errors
    ///
    /// If the cluster or the node is not ours, or the file cannot be read.
    pub fn log(&self, node: i32) -> Result<String, Error> {
        let path = self.own("log")?.node(node)?.log_file();
        std::fs::read_to_string(&path).map_err(Error::with(path.display()))
    }
}
