//! A broker that leads partitions, and the connection on which they are sent.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use crate::net::address::Address;
use crate::net::connection::Connection;
use crate::net::connector::BoxStream;
use crate::net::handshake::{BrokerFacts, ConnectError, Connected, shake_hands};
use crate::partition::Key;
use crate::settings::Settings;

/// A broker.
pub(crate) struct Broker {
    pub(crate) address: Address,
    pub(crate) link: Link,
    /// Partitions that may have something to send, each once.
    pub(crate) listed: VecDeque<usize>,
    /// Connections in a row that failed.
    pub(crate) failures: u32,
    /// A connection was made or has failed.
    pub(crate) was_tried: bool,
    /// It leads partitions, so it is connected to before the first record comes.
    pub(crate) leads: bool,
}

/// The state of the connection.
pub(crate) enum Link {
    /// There is none, and none is needed.
    None,
    /// The last attempt failed: the next one is not before this time.
    Waits(Instant),
    /// It is being opened.
    Opens(Opening),
    /// It can be used.
    Up(Box<Up>),
}

pub(crate) type Opening = Pin<Box<dyn Future<Output = Result<Connected<BoxStream>, ConnectError>> + Send>>;

/// A connection.
pub(crate) struct Up {
    pub(crate) connection: Connection<BoxStream, Sent>,
    pub(crate) facts: BrokerFacts,
    /// The broker asked to send nothing before.
    pub(crate) throttled_until: Option<Instant>,
    /// When the requests without an answer were sent.
    pub(crate) sent_at: VecDeque<Instant>,
    /// Requests that are not answered were written: the end of the connection is how a broker refuses them.
    pub(crate) wrote_unanswered: bool,
}

/// The batches of a request, in its order.
pub(crate) type Sent = Vec<(usize, Key)>;

impl Broker {
    pub(crate) fn new(address: Address) -> Self {
        Self { address, link: Link::None, listed: VecDeque::new(), failures: 0, was_tried: false, leads: false }
    }

    pub(crate) fn up(&mut self) -> Option<&mut Up> {
        match &mut self.link {
            Link::Up(up) => Some(up),
            _ => None,
        }
    }

    /// Begins to connect if something is to be sent, or will be.
    pub(crate) fn connect(&mut self, settings: &Arc<Settings>, now: Instant) -> bool {
        let may = match &self.link {
            Link::None => true,
            Link::Waits(until) => *until <= now,
            Link::Opens(_) | Link::Up(_) => false,
        };
        if !may || (self.listed.is_empty() && (self.was_tried || !self.leads)) {
            return false;
        }
        self.link = Link::Opens(open(self.address.clone(), Arc::clone(settings)));
        true
    }
}

impl Up {
    pub(crate) fn new(connected: Connected<BoxStream>, now: Instant) -> Option<Self> {
        let throttle = connected.broker.throttle;
        // Nothing is open after the handshake.
        let connection = connected.calls.into_connection().retype().ok()?;
        let throttled_until = (!throttle.is_zero()).then(|| now + throttle);
        Some(Self {
            connection,
            facts: connected.broker,
            throttled_until,
            sent_at: VecDeque::new(),
            wrote_unanswered: false,
        })
    }
}

/// Opens a connection and shakes hands.
pub(crate) fn open(address: Address, settings: Arc<Settings>) -> Opening {
    Box::pin(async move {
        let deadline = tokio::time::Instant::now() + settings.setup_timeout();
        let stream = settings.connector.connect(&address, deadline).await;
        let stream = stream.map_err(|error| ConnectError::Dial(address.clone(), error))?;
        shake_hands(stream, address.to_string().into(), &settings.introduction, deadline).await
    })
}
