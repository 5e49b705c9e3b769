//! Configuring, starting and addressing a cluster.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use crate::kafka::certs::Certs;
use crate::kafka::client::blocking;
use crate::kafka::listeners::{Listener, Spec};
use crate::kafka::own::Own;
use crate::kafka::provision::{self, Source};
use crate::kafka::proxy::Proxy;
use crate::kafka::topics::Clients;
use crate::kafka::{Error, jars};

/// An Apache Kafka cluster. Dropping it kills its processes and removes its data.
pub struct Cluster {
    pub(crate) bootstrap: String,
    pub(crate) own: Option<Arc<Own>>,
    pub(crate) clients: Clients,
    pub(crate) names: AtomicU32,
}

/// Builder of a cluster: see [`Cluster::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `start`"]
pub struct Builder {
    spec: Spec,
}

impl Builder {
    /// Sets the number of nodes, each of them broker and controller. Default: 1. Three nodes use a replication factor
    /// of three, with two in sync.
    pub fn brokers(mut self, brokers: usize) -> Self {
        self.spec.brokers = brokers.max(1);
        self
    }

    /// Adds a listener.
    pub fn listener(mut self, listener: Listener) -> Self {
        if listener != Listener::Plaintext && !self.spec.listeners.contains(&listener) {
            self.spec.listeners.push(listener);
        }
        self
    }

    /// Enables authorization. `User:ANONYMOUS` (unauthenticated clients) and `User:alice` may do everything, other
    /// users nothing.
    pub fn acl(mut self) -> Self {
        self.spec.acl = true;
        self
    }

    /// Adds a line of `server.properties`, which overrides the defaults of this crate.
    pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.spec.properties.push((key.into(), value.into()));
        self
    }

    /// Starts the cluster and waits until all its brokers know each other. `None` if no Kafka is available, or if
    /// `KAFKA_BROKERS` names an external one; a line has been printed.
    ///
    /// # Errors
    ///
    /// If a broker does not become ready. The text contains its command and the end of its log.
    ///
    /// # Panics
    ///
    /// If no Kafka is available and `KAFKA_TOWER_REQUIRE_KAFKA=1`.
    pub async fn start(self) -> Result<Option<Cluster>, Error> {
        if provision::external().is_some() {
            provision::skip_own();
            return Ok(None);
        }
        let own = blocking(move || match Source::find() {
            Ok(source) => Own::start(&source, &self.spec).map(Ok),
            Err(missing) => Ok(Err(missing)),
        });
        match own.await? {
            Ok(own) => Ok(Some(Cluster::new(own.bootstrap(Listener::Plaintext), Some(Arc::new(own))))),
            Err(missing) => {
                provision::skip(&missing);
                Ok(None)
            }
        }
    }
}

impl Cluster {
    pub(crate) fn new(bootstrap: String, own: Option<Arc<Own>>) -> Self {
        Self { clients: Clients::new(&bootstrap), bootstrap, own, names: AtomicU32::new(0) }
    }

    /// A cluster that is run elsewhere, such as librdkafka's mock cluster: topics and the reader work, process control
    /// does not.
    #[must_use]
    pub fn external(bootstrap: impl Into<String>) -> Self {
        Self::new(bootstrap.into(), None)
    }

    /// Returns a builder, for listeners other than plaintext.
    pub fn builder() -> Builder {
        Builder { spec: Spec::default() }
    }

    /// Starts a plaintext cluster: `Cluster::builder().brokers(brokers).start()`.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`].
    ///
    /// # Panics
    ///
    /// As [`Builder::start`].
    pub async fn start(brokers: usize) -> Result<Option<Self>, Error> {
        Self::builder().brokers(brokers).start().await
    }

    /// `bootstrap.servers` of the plaintext listener.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// `bootstrap.servers` of a listener.
    ///
    /// # Errors
    ///
    /// If the cluster was started without this listener.
    pub fn bootstrap_of(&self, listener: Listener) -> Result<String, Error> {
        let bootstrap = self.own("bootstrap_of")?.bootstrap(listener);
        if bootstrap.is_empty() {
            return Err(Error::new(format!("the cluster has no {listener:?} listener: ask for it in the builder")));
        }
        Ok(bootstrap)
    }

    /// Returns the librdkafka properties of a client that this listener accepts (`alice` with SCRAM-SHA-512, the client
    /// certificate), including `bootstrap.servers`.
    ///
    /// # Errors
    ///
    /// If the cluster was started without this listener.
    pub fn properties(&self, listener: Listener) -> Result<Vec<(&'static str, String)>, Error> {
        let mut properties = vec![("bootstrap.servers", self.bootstrap_of(listener)?)];
        let protocol = match listener {
            Listener::Plaintext | Listener::Proxy => "plaintext",
            Listener::Tls | Listener::Mtls => "ssl",
            Listener::SaslPlaintext | Listener::Oauth => "sasl_plaintext",
            Listener::SaslSsl => "sasl_ssl",
        };
        properties.push(("security.protocol", protocol.into()));
        if let (true, Some(certs)) = (listener.needs_certs(), self.certs()) {
            properties.push(("ssl.ca.location", certs.ca().display().to_string()));
            if listener == Listener::Mtls {
                properties.push(("ssl.certificate.location", certs.client_cert().display().to_string()));
                properties.push(("ssl.key.location", certs.client_key().display().to_string()));
            }
        }
        if listener.needs_users() {
            properties.push(("sasl.mechanism", "SCRAM-SHA-512".into()));
            properties.push(("sasl.username", "alice".into()));
            properties.push(("sasl.password", "alice-secret".into()));
        }
        if listener == Listener::Oauth {
            properties.push(("sasl.mechanism", "OAUTHBEARER".into()));
        }
        Ok(properties)
    }

    /// The certificates, if a listener uses TLS.
    #[must_use]
    pub fn certs(&self) -> Option<&Certs> {
        self.own.as_ref()?.certs.as_ref()
    }

    /// The fault proxy in front of [`Listener::Proxy`]; one for all nodes.
    #[must_use]
    pub fn proxy(&self) -> Option<&Proxy> {
        self.own.as_ref()?.proxy.as_ref()
    }

    /// The number of brokers. For an external cluster 1 is assumed.
    #[must_use]
    pub fn brokers(&self) -> usize {
        self.own.as_ref().map_or(1, |own| own.spec.brokers)
    }

    pub(crate) fn own(&self, operation: &'static str) -> Result<&Arc<Own>, Error> {
        self.own.as_ref().ok_or(Error::External(operation))
    }

    /// Directory in which all clusters keep the jars. Continuous integration may cache it.
    #[must_use]
    pub fn cache_dir() -> PathBuf {
        jars::cache_dir()
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("bootstrap", &self.bootstrap).field("own", &self.own).finish_non_exhaustive()
    }
}
