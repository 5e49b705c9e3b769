use std::fmt;
use std::time::Duration;

use kafka_tower_core::{Error, ErrorKind, Result};
use rdkafka::ClientConfig;

use crate::classify;
use crate::ffi::{Client, mock::Mock};
use crate::properties;

/// librdkafka's mock cluster: brokers in this process that speak the real protocol on the loopback interface. Use it
/// for demonstrations, benchmarks, and planted error codes. It is not suited for transactions: it does not fence producers
/// or hide aborted records.
///
/// ```
/// # async fn run() -> kafka_tower_core::Result<()> {
/// use kafka_tower_rdkafka::{MockCluster, RdkafkaTransport};
///
/// let cluster = MockCluster::start(1)?;
/// cluster.create_topic("orders", 3)?;
/// let transport = RdkafkaTransport::builder()
///     .property("bootstrap.servers", cluster.bootstrap())
///     .topic("orders")
///     .connect()
///     .await?;
/// # drop(transport); Ok(())
/// # }
/// ```
pub struct MockCluster {
    mock: Mock,
    bootstrap: String,
}

/// Kafka's API key of the Produce request.
const PRODUCE: i16 = 0;

pub(crate) fn not_built_in() -> Error {
    Error::new(ErrorKind::Config, "librdkafka has no mock cluster built in")
        .with_help("build librdkafka with its mock cluster, as the crate rdkafka-sys does")
}

impl MockCluster {
    /// Starts brokers 1 to `brokers`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if librdkafka could not start them.
    pub fn start(brokers: u8) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("test.mock.num.brokers", brokers.max(1).to_string());
        let client = Client::create(&config).map_err(|error| properties::creation_error(&error, &config))?;
        let mock = Mock::new(client).ok_or_else(not_built_in)?;
        let bootstrap = mock.bootstrap();
        Ok(Self { mock, bootstrap })
    }

    /// Addresses of the brokers, for `bootstrap.servers`.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Creates a topic. Other topics get 4 partitions when a client asks for them.
    ///
    /// # Errors
    ///
    /// librdkafka's error, for example if the topic exists already.
    pub fn create_topic(&self, topic: &str, partitions: u32) -> Result<()> {
        let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        self.mock.create_topic(topic, partitions).map_err(|code| refused(code, topic))
    }

    /// Answers the next Produce requests with these codes, one each; 0 lets a request succeed. Any code is allowed,
    /// also one that Kafka does not define. The records of a request that fails this way are not appended.
    pub fn fail_produce(&self, codes: &[i32]) {
        self.mock.push_errors(PRODUCE, codes);
    }

    /// Answers the next requests with this API key with these codes.
    pub fn fail_requests(&self, api_key: i16, codes: &[i32]) {
        self.mock.push_errors(api_key, codes);
    }

    /// Answers every metadata request for a topic with a code; 0 ends that.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for a name with a NUL.
    pub fn set_topic_error(&self, topic: &str, code: i32) -> Result<()> {
        self.mock.set_topic_error(topic, code).map_err(|code| refused(code, topic))
    }

    /// Takes a broker down: its connections end and new ones are refused.
    ///
    /// Do not call it while another thread starts a child process. librdkafka closes the broker's port and binds it again;
    /// until the child has executed its program, it holds a copy of the old socket, so the port is in use and librdkafka
    /// aborts the process.
    ///
    /// # Errors
    ///
    /// If the broker does not exist.
    pub fn broker_down(&self, broker: i32) -> Result<()> {
        self.mock.set_up(broker, false).map_err(|code| refused(code, &format!("broker {broker}")))
    }

    /// Brings a broker up again.
    ///
    /// # Errors
    ///
    /// If the broker does not exist.
    pub fn broker_up(&self, broker: i32) -> Result<()> {
        self.mock.set_up(broker, true).map_err(|code| refused(code, &format!("broker {broker}")))
    }

    /// Delays a broker's answers, in whole milliseconds.
    ///
    /// # Errors
    ///
    /// If the broker does not exist.
    pub fn set_round_trip(&self, broker: i32, time: Duration) -> Result<()> {
        let millis = i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        self.mock.set_round_trip(broker, millis).map_err(|code| refused(code, &format!("broker {broker}")))
    }
}

pub(crate) fn refused(code: i32, what: &str) -> Error {
    classify::client_error(code, &format!("the mock cluster refused {what}"), None).without_record()
}

impl fmt::Debug for MockCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockCluster").field("bootstrap", &self.bootstrap).finish_non_exhaustive()
    }
}
