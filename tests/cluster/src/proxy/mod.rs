//! A fault proxy that knows Kafka's frames.
//!
//! It stands between clients and the broker's [`Listener::Proxy`](crate::Listener::Proxy), which
//! advertises the proxy's port: every connection of a client that came in here stays here, and only
//! [`Action::SpoilAnswer`] changes bytes. Faults come in two kinds: by direction ([`pause`](Proxy::pause),
//! [`delay`](Proxy::delay), [`cut`](Proxy::cut), [`down`](Proxy::down)) and by API key, for the
//! next requests of a kind ([`next`](Proxy::next) with an [`Action`]) or all of a topic
//! ([`always`](Proxy::always)). What has come through is
//! counted, and [`wait_for`](Proxy::wait_for) and its siblings wait for it: no test has to sleep.
//!
//! The proxy has a thread and a runtime of its own, since a shared cluster outlives the runtime of
//! each test.

mod frame;
mod link;
mod rules;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use tokio::sync::watch;

use crate::Error;
pub use rules::{Action, ApiKey, Direction};
use rules::{Flow, State};

/// How long the waiting functions wait.
const LIMIT: Duration = Duration::from_secs(30);

/// The proxy; its faults hold for all its routes. Dropped, it closes everything.
#[derive(Debug)]
pub struct Proxy {
    state: watch::Sender<State>,
    addresses: Vec<SocketAddr>,
}

impl Proxy {
    /// Listens on a free port for each target, in their order.
    ///
    /// # Errors
    ///
    /// If a port cannot be had.
    pub fn start(targets: &[SocketAddr]) -> Result<Self, Error> {
        let ports = crate::ports::free(targets.len())?;
        Self::with_routes(&ports.into_iter().zip(targets.iter().copied()).collect::<Vec<_>>())
    }

    /// Listens on the ports that have been chosen.
    pub(crate) fn with_routes(routes: &[(u16, SocketAddr)]) -> Result<Self, Error> {
        let (state, _) = watch::channel(State::default());
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for &(port, target) in routes {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let listener = TcpListener::bind(address).map_err(Error::with(format!("the proxy's port {port}")))?;
            listener.set_nonblocking(true).map_err(Error::new)?;
            addresses.push(address);
            listeners.push((listener, target));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::new)?;
        let shared = state.clone();
        std::thread::Builder::new()
            .name("kafka-proxy".into())
            .spawn(move || runtime.block_on(link::run(listeners, shared)))
            .map_err(Error::new)?;
        Ok(Self { state, addresses })
    }

    /// Where clients connect, one address for each target.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Nothing passes in this direction any more; connections stay open.
    pub fn pause(&self, direction: Direction) {
        self.state.send_modify(|state| state.flow_mut(direction).paused = true);
    }

    /// The end of [`pause`](Self::pause): what has piled up goes on.
    pub fn resume(&self, direction: Direction) {
        self.state.send_modify(|state| state.flow_mut(direction).paused = false);
    }

    /// Every frame in this direction arrives so much later; zero ends it.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.state.send_modify(|state| state.flow_mut(direction).delay = delay);
    }

    /// Closes all connections. New ones are welcome.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Closes all connections and the ports: connecting is refused. Returns when it is so.
    ///
    /// # Errors
    ///
    /// If it takes too long.
    pub async fn down(&self) -> Result<(), Error> {
        self.state.send_modify(|state| {
            state.down = true;
            state.cuts += 1;
        });
        self.wait("going down", |state| state.listening == 0).await
    }

    /// The end of [`down`](Self::down). Returns when the ports are open.
    ///
    /// # Errors
    ///
    /// If someone else has taken a port.
    pub async fn up(&self) -> Result<(), Error> {
        self.state.send_modify(|state| state.down = false);
        let all = self.addresses.len();
        self.wait("coming up", |state| state.listening == all).await
    }

    /// What happens to the next request of this kind that has no other rule yet.
    pub fn next(&self, key: ApiKey, action: Action) {
        self.state.send_modify(|state| state.rules.push_back((key, action)));
    }

    /// The same for the next `count` requests.
    pub fn next_n(&self, key: ApiKey, count: usize, action: Action) {
        self.state.send_modify(|state| state.rules.extend(std::iter::repeat_n((key, action), count)));
    }

    /// What happens to each request of this kind that contains the text, as the name of a topic.
    pub fn always(&self, key: ApiKey, text: &str, action: Action) {
        self.state.send_modify(|state| state.lasting.push((key, text.to_owned(), action)));
    }

    /// Forgets the rules of [`always`](Self::always), and of the others those that no request has met.
    pub fn clear_rules(&self) {
        self.state.send_modify(|state| {
            state.rules.clear();
            state.lasting.clear();
        });
    }

    /// Lets all held requests go to the broker. Returns when they have been written, and, for those
    /// whose client has been cut off, when the broker has answered.
    ///
    /// # Errors
    ///
    /// If the broker does not take or answer them.
    pub async fn release(&self) -> Result<(), Error> {
        self.state.send_modify(|state| state.releases += 1);
        self.wait("releasing", |state| state.held == 0).await
    }

    /// How many requests are held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.state.borrow().held
    }

    /// Waits until so many requests are held.
    ///
    /// # Errors
    ///
    /// If that does not happen in half a minute.
    pub async fn wait_for_held(&self, count: usize) -> Result<(), Error> {
        self.wait("requests being held", |state| state.held >= count).await
    }

    /// How many requests of this kind have come from clients, whatever then happened to them.
    #[must_use]
    pub fn requests(&self, key: ApiKey) -> u64 {
        self.state.borrow().to_broker.count(key)
    }

    /// How many answers of this kind have come from the broker, whatever then happened to them.
    #[must_use]
    pub fn answers(&self, key: ApiKey) -> u64 {
        self.state.borrow().to_client.count(key)
    }

    /// Waits until [`requests`](Self::requests) is at least `count`.
    ///
    /// # Errors
    ///
    /// If that does not happen in half a minute.
    pub async fn wait_for(&self, key: ApiKey, count: u64) -> Result<(), Error> {
        self.wait("requests", |state| state.to_broker.count(key) >= count).await
    }

    /// Waits until [`answers`](Self::answers) is at least `count`.
    ///
    /// # Errors
    ///
    /// If that does not happen in half a minute.
    pub async fn wait_for_answer(&self, key: ApiKey, count: u64) -> Result<(), Error> {
        self.wait("answers", |state| state.to_client.count(key) >= count).await
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.borrow().connections
    }

    async fn wait(&self, what: &str, done: impl Fn(&State) -> bool) -> Result<(), Error> {
        let mut changes = self.state.subscribe();
        let waiting = changes.wait_for(|state| done(state));
        match tokio::time::timeout(LIMIT, waiting).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                Err(Error::new(format!("the proxy waited {LIMIT:?} for {what}: {:?}", *self.state.borrow())))
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.send_modify(|state| state.closed = true);
    }
}

impl State {
    fn flow_mut(&mut self, direction: Direction) -> &mut Flow {
        match direction {
            Direction::ToBroker => &mut self.to_broker,
            Direction::ToClient => &mut self.to_client,
        }
    }
}
