//! The bootstrap servers of a client, and the state of its connections through librdkafka's interceptors.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use kafka_tower_core::sync::lock;
use rdkafka::ClientConfig;
use rdkafka_sys as sys;

use super::raw;
use crate::connections::Connections;
use crate::lost_brokers::LostBrokers;
use crate::properties;

const NAME: &CStr = c"kafka-tower";

/// The bootstrap servers of a client.
pub(super) struct Bootstrap {
    servers: CString,
    lost: Mutex<LostBrokers>,
}

impl Bootstrap {
    pub(super) fn new(config: &ClientConfig) -> Self {
        let servers = properties::bootstrap_servers(config).and_then(|servers| CString::new(servers).ok());
        Self { servers: servers.unwrap_or_default(), lost: Mutex::default() }
    }

    /// Adds the servers again if the client has been without a connection for long.
    ///
    /// # Safety
    ///
    /// The client lives.
    pub(super) unsafe fn add_if_lost(&self, rk: *mut sys::rd_kafka_t, connections: &Connections, now: Instant) {
        if self.servers.is_empty() || !lock(&self.lost).is_due(connections.none_since(), now) {
            return;
        }
        tracing::debug!("no broker is connected: the bootstrap servers are added again");
        // SAFETY: the client lives, as the caller promises; the list is terminated and copied.
        unsafe { sys::rd_kafka_brokers_add(rk, self.servers.as_ptr()) };
    }
}

/// Makes the consumer that will be created from `conf` report its connections.
///
/// # Safety
///
/// `conf` is valid, and `connections` lives longer than the client.
pub(super) unsafe fn observe_connections(conf: *mut sys::rd_kafka_conf_t, connections: &Arc<Connections>) {
    let connections = Arc::as_ptr(connections).cast_mut().cast::<c_void>();
    // SAFETY: `conf` is valid, as the caller promises; the name is copied. The first interceptor of a configuration is always
    // accepted.
    unsafe { raw::rd_kafka_conf_interceptor_add_on_new(conf, NAME.as_ptr(), on_new, connections) };
}

unsafe extern "C" fn on_new(
    rk: *mut sys::rd_kafka_t,
    _conf: *const sys::rd_kafka_conf_t,
    connections: *mut c_void,
    _text: *mut c_char,
    _size: usize,
) -> c_int {
    // SAFETY: librdkafka calls this while it creates the client; interceptors may be added then.
    unsafe { raw::rd_kafka_interceptor_add_on_broker_state_change(rk, NAME.as_ptr(), on_state, connections) };
    0
}

/// librdkafka holds the broker's lock.
unsafe extern "C" fn on_state(
    _rk: *mut sys::rd_kafka_t,
    _id: i32,
    _protocol: *const c_char,
    _host: *const c_char,
    port: c_int,
    state: *const c_char,
    connections: *mut c_void,
) -> c_int {
    // SAFETY: `observe_connections` passed this pointer, and its target outlives the client. The state is a terminated string
    // of librdkafka's.
    let (connections, state) = unsafe { (&*connections.cast_const().cast::<Connections>(), CStr::from_ptr(state)) };
    count(connections, port, state.to_bytes());
    0
}

thread_local! {
    /// The connection of this thread's broker.
    static CONNECTION: Cell<Connection> = const { Cell::new(Connection::None) };
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Connection {
    None,
    /// Being made: until the login is over.
    Begun,
    Ready,
}

/// Counts a change of a broker's state. librdkafka calls this on the broker's thread, which no other broker has. The name does not
/// tell brokers apart: a bootstrap server and a broker that was learned may have the same.
pub(super) fn count(connections: &Connections, port: c_int, state: &[u8]) {
    // Coordinators, which answer no question about metadata, and librdkafka's internal broker have no port.
    if port == 0 {
        return;
    }
    let next = match state {
        b"CONNECT" => Connection::Begun,
        // A login that is renewed ends in this state, too.
        b"UP" => Connection::Ready,
        b"DOWN" => Connection::None,
        _ => return,
    };
    let before = CONNECTION.replace(next);
    if before == next {
        return;
    }
    match before {
        Connection::Begun => connections.attempt_ended(Instant::now()),
        Connection::Ready => connections.lost(Instant::now()),
        Connection::None => {}
    }
    match next {
        Connection::Begun => connections.attempt_begun(),
        Connection::Ready => connections.made(),
        Connection::None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::Attempt;

    #[test]
    fn each_thread_counts_for_one_broker() {
        let connections = Connections::default();
        let on_a_thread = |states: &[&[u8]]| {
            std::thread::scope(|scope| {
                scope.spawn(|| states.iter().for_each(|state| count(&connections, 9092, state)));
            });
        };
        let start = connections.state();
        on_a_thread(&[b"CONNECT", b"DOWN"]);
        assert_eq!(start, connections.state());
        assert!(matches!(connections.attempt(), Attempt::Ended(_)));
        on_a_thread(&[b"CONNECT", b"SSL_HANDSHAKE"]);
        assert_eq!(connections.attempt(), Attempt::UnderWay);
        connections.attempt_ended(Instant::now());
        on_a_thread(&[b"CONNECT", b"APIVERSION_QUERY", b"UP"]);
        let one = connections.state();
        assert!(!start.any && one.any);
        on_a_thread(&[b"CONNECT", b"DOWN"]);
        assert_eq!(connections.state(), one, "it could not be made");
        on_a_thread(&[b"CONNECT", b"UP", b"REAUTH", b"UP", b"DOWN"]);
        assert!(connections.state().any, "only one of two is lost");
        assert_eq!(connections.none_since(), None);
        on_a_thread(&[b"UP", b"DOWN", b"UP", b"DOWN"]);
        assert!(connections.state().any);
        assert!(matches!(connections.attempt(), Attempt::Ended(_)), "none is being made");
    }

    #[test]
    fn brokers_without_a_port_do_not_count() {
        let connections = Connections::default();
        count(&connections, 0, b"UP");
        assert!(!connections.state().any);
    }
}
