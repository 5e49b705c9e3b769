//! Client quotas, set through Kafka's Java client, as [rights](crate::kafka::Resource) are.

use crate::kafka::{Cluster, Error, java};

impl Cluster {
    /// Limits what producers with a client id may write, in bytes per second. A broker learns of the limit shortly
    /// after this returns.
    ///
    /// # Errors
    ///
    /// If there is no Java (a cluster in Docker), or the cluster refuses the quota.
    pub async fn limit_producers(&self, client_id: &str, bytes_per_second: u32) -> Result<(), Error> {
        let arguments = vec![self.bootstrap().to_owned(), client_id.to_owned(), bytes_per_second.to_string()];
        match java::run("Quota.java", arguments, String::new()).await? {
            Some(_) => Ok(()),
            None => Err(Error::new("quotas need a Java with its compiler")),
        }
    }
}
