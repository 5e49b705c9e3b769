//! The cluster: how it is asked for, started and addressed.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use crate::certs::Certs;
use crate::client::blocking;
use crate::listeners::{Listener, Spec};
use crate::own::Own;
use crate::provision::{self, Source};
use crate::proxy::Proxy;
use crate::topics::Clients;
use crate::{Error, jars};

/// An Apache Kafka. Dropped, its processes are killed and its data is removed.
pub struct Cluster {
    pub(crate) bootstrap: String,
    pub(crate) own: Option<Arc<Own>>,
    pub(crate) clients: Clients,
    pub(crate) names: AtomicU32,
}

/// What a cluster shall be: see [`Cluster::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `start`"]
pub struct Builder {
    spec: Spec,
}

impl Builder {
    /// The number of nodes, each of them broker and controller; 1 if not set. Three replicate
    /// three-fold with two in sync.
    pub fn brokers(mut self, brokers: usize) -> Self {
        self.spec.brokers = brokers.max(1);
        self
    }

    /// Opens one more listener.
    pub fn listener(mut self, listener: Listener) -> Self {
        if listener != Listener::Plaintext && !self.spec.listeners.contains(&listener) {
            self.spec.listeners.push(listener);
        }
        self
    }

    /// Switches authorization on. `User:ANONYMOUS` (whoever comes without a name) and `User:alice`
    /// may do everything, everyone else nothing.
    pub fn acl(mut self) -> Self {
        self.spec.acl = true;
        self
    }

    /// A line of `server.properties`; it wins over ours.
    pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.spec.properties.push((key.into(), value.into()));
        self
    }

    /// Starts the cluster and waits until all its brokers know each other. `None`: there is no
    /// Kafka here, or it is the foreign one of `KAFKA_BROKERS`; a line has said so.
    ///
    /// # Errors
    ///
    /// If a broker does not become ready; the text has its command and the end of its log.
    ///
    /// # Panics
    ///
    /// If there is no Kafka and `KAFKA_TOWER_REQUIRE_KAFKA=1`.
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

    /// A cluster that somebody else runs, as librdkafka's mock cluster: topics and the reader work, control does not.
    #[must_use]
    pub fn external(bootstrap: impl Into<String>) -> Self {
        Self::new(bootstrap.into(), None)
    }

    /// A cluster with more than plaintext.
    pub fn builder() -> Builder {
        Builder { spec: Spec::default() }
    }

    /// A plaintext cluster of its own: `Cluster::builder().brokers(brokers).start()`.
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
    /// If the cluster was started without it.
    pub fn bootstrap_of(&self, listener: Listener) -> Result<String, Error> {
        let bootstrap = self.own("bootstrap_of")?.bootstrap(listener);
        if bootstrap.is_empty() {
            return Err(Error::new(format!("the cluster has no {listener:?} listener: ask for it in the builder")));
        }
        Ok(bootstrap)
    }

    /// The librdkafka properties of a client that this listener lets in (`alice` with
    /// SCRAM-SHA-512, the client certificate), `bootstrap.servers` included.
    ///
    /// # Errors
    ///
    /// If the cluster was started without it.
    pub fn properties(&self, listener: Listener) -> Result<Vec<(&'static str, String)>, Error> {
        let mut properties = vec![("bootstrap.servers", self.bootstrap_of(listener)?)];
        let protocol = match listener {
            Listener::Plaintext | Listener::Proxy => "plaintext",
            Listener::Tls | Listener::Mtls => "ssl",
            Listener::SaslPlaintext => "sasl_plaintext",
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
        Ok(properties)
    }

    /// The certificates, if a listener needs them.
    #[must_use]
    pub fn certs(&self) -> Option<&Certs> {
        self.own.as_ref()?.certs.as_ref()
    }

    /// The fault proxy in front of [`Listener::Proxy`]; one for all nodes.
    #[must_use]
    pub fn proxy(&self) -> Option<&Proxy> {
        self.own.as_ref()?.proxy.as_ref()
    }

    /// The number of brokers; 1 is assumed of a foreign cluster.
    #[must_use]
    pub fn brokers(&self) -> usize {
        self.own.as_ref().map_or(1, |own| own.spec.brokers)
    }

    pub(crate) fn own(&self, operation: &'static str) -> Result<&Arc<Own>, Error> {
        self.own.as_ref().ok_or(Error::External(operation))
    }

    /// Where all clusters keep the jars: of interest to continuous integration, which may cache it.
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
