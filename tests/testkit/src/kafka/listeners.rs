//! The listeners of a cluster and the `server.properties` that open them.

use std::fmt::Write as _;

use crate::kafka::certs::Certs;
use crate::kafka::node::Node;

/// A listener for clients. The plaintext one is always open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Listener {
    /// No encryption and no authentication: every client is the super user.
    Plaintext,
    /// Plaintext behind the fault proxy: see [`Cluster::proxy`](crate::kafka::Cluster::proxy).
    Proxy,
    /// TLS, clients without a certificate.
    Tls,
    /// TLS with a client certificate; the principal is `User:CN=client`.
    Mtls,
    /// PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 for `alice` (password `alice-secret`) and `bob`
    /// (`bob-secret`).
    SaslPlaintext,
    /// The same over TLS.
    SaslSsl,
    /// OAUTHBEARER without TLS, with unsigned tokens ([`unsigned_token`](crate::kafka::unsigned_token)). A connection ends with
    /// its token, unless its client logs in again.
    Oauth,
}

impl Listener {
    fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Proxy => "PROXY",
            Self::Tls => "TLS",
            Self::Mtls => "MTLS",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
            Self::Oauth => "OAUTH",
        }
    }

    fn protocol(self) -> &'static str {
        match self {
            Self::Plaintext | Self::Proxy => "PLAINTEXT",
            Self::Tls | Self::Mtls => "SSL",
            Self::SaslPlaintext | Self::Oauth => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    pub(crate) fn needs_certs(self) -> bool {
        matches!(self, Self::Tls | Self::Mtls | Self::SaslSsl)
    }

    pub(crate) fn needs_users(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// Configuration of a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) brokers: usize,
    /// Listeners other than plaintext.
    pub(crate) listeners: Vec<Listener>,
    pub(crate) acl: bool,
    pub(crate) properties: Vec<(String, String)>,
}

impl Default for Spec {
    fn default() -> Self {
        Self { brokers: 1, listeners: Vec::new(), acl: false, properties: Vec::new() }
    }
}

impl Spec {
    pub(crate) fn replication(&self) -> usize {
        self.brokers.min(3)
    }
}

/// Ports of one listener: the one that the broker binds, and the one that it advertises (different with the proxy).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Port {
    pub(crate) listener: Listener,
    pub(crate) bind: u16,
    pub(crate) advertised: u16,
}

/// The text of `server.properties` for one node.
pub(crate) fn server_properties(
    spec: &Spec,
    node: &Node,
    all: &[Node],
    bind_host: &str,
    certs: Option<&Certs>,
) -> String {
    let replication = spec.replication();
    let in_sync = replication.saturating_sub(1).max(1);
    let voters: Vec<_> = all.iter().map(|node| format!("{}@127.0.0.1:{}", node.id, node.controller)).collect();
    let mut listeners = format!("CONTROLLER://{bind_host}:{}", node.controller);
    let mut advertised = Vec::new();
    let mut protocols = "CONTROLLER:PLAINTEXT".to_owned();
    for port in &node.ports {
        let name = port.listener.name();
        let _ = write!(listeners, ",{name}://{bind_host}:{}", port.bind);
        advertised.push(format!("{name}://127.0.0.1:{}", port.advertised));
        let _ = write!(protocols, ",{name}:{}", port.listener.protocol());
    }
    let mut text = format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners={listeners}
advertised.listeners={advertised}
listener.security.protocol.map={protocols}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
default.replication.factor={replication}
min.insync.replicas={in_sync}
offsets.topic.num.partitions=1
offsets.topic.replication.factor={replication}
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor={replication}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor={replication}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
",
        id = node.id,
        voters = voters.join(","),
        advertised = advertised.join(","),
        data = node.data_dir().display(),
    );
    // A killed leader is replaced after this time, and a killed broker can restart after it; the default is 9 s.
    let session = if spec.brokers > 1 { 3000 } else { 2000 };
    let _ = writeln!(text, "broker.session.timeout.ms={session}\nbroker.heartbeat.interval.ms=500");
    text.push_str("replica.lag.time.max.ms=5000\n");
    if let Some(certs) = certs {
        let _ = write!(
            text,
            "ssl.keystore.type=PEM\nssl.keystore.location={}\nssl.truststore.type=PEM\nssl.truststore.location={}\n",
            certs.broker_pem().display(),
            certs.ca().display(),
        );
        text.push_str("listener.name.mtls.ssl.client.auth=required\n");
    }
    for listener in spec.listeners.iter().filter(|listener| listener.needs_users()) {
        let prefix = format!("listener.name.{}", listener.name().to_lowercase());
        let _ = write!(
            text,
            "{prefix}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
{prefix}.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_alice=\"alice-secret\" user_bob=\"bob-secret\";
{prefix}.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
{prefix}.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"
        );
    }
    if spec.listeners.contains(&Listener::Oauth) {
        text.push_str(
            "listener.name.oauth.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.oauth.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
unsecuredLoginStringClaim_sub=\"broker\";
listener.name.oauth.oauthbearer.connections.max.reauth.ms=3600000
",
        );
    }
    if spec.acl {
        text.push_str("authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n");
        text.push_str("super.users=User:ANONYMOUS;User:alice\n");
    }
    // The last value wins.
    for (key, value) in &spec.properties {
        let _ = writeln!(text, "{key}={value}");
    }
    text
}
