//! A fault proxy that parses Kafka's frames.
//!
//! It stands between clients and the broker's [`Listener::Proxy`](crate::kafka::Listener::Proxy), which advertises the proxy's
//! port: clients that connect to the proxy stay on it, and only [`Action::SpoilAnswer`] and
//! [`Action::FailProduce`] change bytes. There are two
//! kinds of faults: by direction ([`pause`](Proxy::pause), [`delay`](Proxy::delay), [`cut`](Proxy::cut),
//! [`down`](Proxy::down)), and by API key, for the next requests of a kind ([`next`](Proxy::next) with an [`Action`])
//! or for all of a topic ([`always`](Proxy::always)). The proxy counts the frames, and [`wait_for`](Proxy::wait_for)
//! and similar functions wait for them, so that no test has to sleep.
//!
//! The proxy has its own thread and runtime, because a shared cluster outlives the runtime of each test.

mod frame;
mod link;
mod rules;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use tokio::sync::watch;

use crate::kafka::Error;
pub use rules::{Action, ApiKey, Direction};
use rules::{Flow, Rule, State};

/// Time limit of the waiting functions.
const LIMIT: Duration = Duration::from_secs(30);

/// The proxy. Its faults apply to all its routes. Dropping it closes everything.
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
    /// If no port is free.
    pub fn start(targets: &[SocketAddr]) -> Result<Self, Error> {
        let ports = crate::kafka::ports::free(targets.len())?;
        Self::with_routes(&ports.into_iter().zip(targets.iter().copied()).collect::<Vec<_>>())
    }

    /// Listens on the given ports.
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

    /// Addresses for clients, one per target.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Lets nothing pass in this direction any more; connections stay open.
    pub fn pause(&self, direction: Direction) {
        self.state.send_modify(|state| state.flow_mut(direction).paused = true);
    }

    /// Ends [`pause`](Self::pause): the waiting frames pass.
    pub fn resume(&self, direction: Direction) {
        self.state.send_modify(|state| state.flow_mut(direction).paused = false);
    }

    /// Delays every frame in this direction; zero ends it.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.state.send_modify(|state| state.flow_mut(direction).delay = delay);
    }

    /// Closes all connections. New ones are accepted.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Closes all connections and the ports, so that connecting is refused. Returns when it is done.
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

    /// Ends [`down`](Self::down). Returns when the ports are open.
    ///
    /// # Errors
    ///
    /// If another process has taken a port.
    pub async fn up(&self) -> Result<(), Error> {
        self.state.send_modify(|state| state.down = false);
        let all = self.addresses.len();
        self.wait("coming up", |state| state.listening == all).await
    }

    /// Sets the action for the next request of this kind that has no other rule yet.
    pub fn next(&self, key: ApiKey, action: Action) {
        self.next_of(key, "", action);
    }

    /// The same for the next request that contains the text, such as a transactional id: for several clients side by side.
    pub fn next_of(&self, key: ApiKey, text: &str, action: Action) {
        let rule = Rule { key, text: text.to_owned(), action };
        self.state.send_modify(|state| state.rules.push_back(rule));
    }

    /// The same for the next `count` requests.
    pub fn next_n(&self, key: ApiKey, count: usize, action: Action) {
        (0..count).for_each(|_| self.next(key, action));
    }

    /// Sets the action for every request of this kind that contains the text, such as the name of a topic.
    pub fn always(&self, key: ApiKey, text: &str, action: Action) {
        self.state.send_modify(|state| state.lasting.push((key, text.to_owned(), action)));
    }

    /// Removes the rules of [`always`](Self::always), and other rules that no request has met yet.
    pub fn clear_rules(&self) {
        self.state.send_modify(|state| {
            state.rules.clear();
            state.lasting.clear();
        });
    }

    /// Lets all held requests pass to the broker. Returns when they have been written, and, for those whose client was
    /// cut off, when the broker has answered.
    ///
    /// # Errors
    ///
    /// If the broker does not accept or answer them.
    pub async fn release(&self) -> Result<(), Error> {
        self.state.send_modify(|state| state.releases += 1);
        self.wait("releasing", |state| state.held.is_empty()).await
    }

    /// The same for the requests held by rules for this text.
    ///
    /// # Errors
    ///
    /// As for [`release`](Self::release).
    pub async fn release_of(&self, text: &str) -> Result<(), Error> {
        self.state.send_modify(|state| *state.releases_of.entry(text.to_owned()).or_default() += 1);
        self.wait("releasing", |state| state.held_by(Some(text)) == 0).await
    }

    /// Number of requests held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.state.borrow().held_by(None)
    }

    /// Waits until `count` requests are held.
    ///
    /// # Errors
    ///
    /// If that does not happen within 30 s.
    pub async fn wait_for_held(&self, count: usize) -> Result<(), Error> {
        self.wait("requests being held", |state| state.held_by(None) >= count).await
    }

    /// Waits until `count` requests are held by rules for this text.
    ///
    /// # Errors
    ///
    /// If that does not happen within 30 s.
    pub async fn wait_for_held_of(&self, text: &str, count: usize) -> Result<(), Error> {
        self.wait("requests being held", |state| state.held_by(Some(text)) >= count).await
    }

    /// Number of requests of this kind from clients, whatever happened to them then.
    #[must_use]
    pub fn requests(&self, key: ApiKey) -> u64 {
        self.state.borrow().to_broker.count(key)
    }

    /// Number of answers of this kind from the broker, whatever happened to them then.
    #[must_use]
    pub fn answers(&self, key: ApiKey) -> u64 {
        self.state.borrow().to_client.count(key)
    }

    /// Waits until [`requests`](Self::requests) is at least `count`.
    ///
    /// # Errors
    ///
    /// If that does not happen within 30 s.
    pub async fn wait_for(&self, key: ApiKey, count: u64) -> Result<(), Error> {
        self.wait("requests", |state| state.to_broker.count(key) >= count).await
    }

    /// Waits until [`answers`](Self::answers) is at least `count`.
    ///
    /// # Errors
    ///
    /// If that does not happen within 30 s.
    pub async fn wait_for_answer(&self, key: ApiKey, count: u64) -> Result<(), Error> {
        self.wait("answers", |state| state.to_client.count(key) >= count).await
    }

    /// Number of open connections.
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
