//! ACLs of users, for clusters with [`Builder::acl`](crate::kafka::Builder::acl). Uses Kafka's Java client, because the Rust
//! client has no call for it. Each call runs a JVM, about 1 s.

use crate::kafka::{Cluster, Error, java};

/// Resource of an ACL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A topic.
    Topic(&'a str),
    /// A consumer group.
    Group(&'a str),
    /// A transactional id.
    TransactionalId(&'a str),
    /// The cluster itself.
    Cluster,
}

impl Cluster {
    /// Allows a user (`User:bob`) operations by Kafka's names: `WRITE`, `READ`, `DESCRIBE`, … Returns when one broker
    /// knows the ACL; others may take a moment longer.
    ///
    /// # Errors
    ///
    /// If the cluster has no authorizer, or there is no Java (a cluster in Docker).
    pub async fn allow(&self, principal: &str, resource: Resource<'_>, operations: &[&str]) -> Result<(), Error> {
        self.change_acl("allow", principal, resource, operations).await
    }

    /// Revokes operations.
    ///
    /// # Errors
    ///
    /// As [`allow`](Self::allow).
    pub async fn revoke(&self, principal: &str, resource: Resource<'_>, operations: &[&str]) -> Result<(), Error> {
        self.change_acl("revoke", principal, resource, operations).await
    }

    async fn change_acl(
        &self,
        verb: &str,
        principal: &str,
        resource: Resource<'_>,
        operations: &[&str],
    ) -> Result<(), Error> {
        let (kind, name) = match resource {
            Resource::Topic(name) => ("TOPIC", name),
            Resource::Group(name) => ("GROUP", name),
            Resource::TransactionalId(name) => ("TRANSACTIONAL_ID", name),
            Resource::Cluster => ("CLUSTER", "kafka-cluster"),
        };
        let mut arguments = vec![self.bootstrap(), verb, principal, kind, name];
        arguments.extend(operations);
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        match java::run("Acl.java", arguments, String::new()).await? {
            Some(_) => Ok(()),
            None => Err(Error::new("rights need a Java with its compiler")),
        }
    }
}
