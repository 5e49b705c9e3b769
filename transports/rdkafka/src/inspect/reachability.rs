//! Checks whether each broker can be reached from here, under its advertised name.

use std::collections::BTreeMap;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use kafka_tower_core::FoundBroker;
use kafka_tower_core::clock::later;

use crate::codes;
use crate::inner::TransportInner;

/// Maximum number of brokers that are tried.
const BROKERS: usize = 64;
/// Time that the system may need to schedule a thread whose time has passed.
const MOMENT: Duration = Duration::from_millis(1_200);

/// Connects to each broker as a record would, and asks it for its settings. In parallel, because an unreachable broker
/// uses all the time.
pub(crate) fn all(
    inner: &Arc<TransportInner>,
    mut seen: Vec<(i32, String, u16)>,
    deadline: Instant,
) -> Vec<FoundBroker> {
    seen.sort_unstable();
    let (sender, receiver) = mpsc::channel();
    for (id, host, port) in seen.iter().take(BROKERS).cloned() {
        let (sender, inner) = (sender.clone(), Arc::clone(inner));
        let attempt = move || {
            drop(sender.send((id, one(&inner, id, &host, port, deadline))));
        };
        // If a thread cannot be started there is no answer.
        drop(thread::Builder::new().name("kafka-tower-reach".to_owned()).spawn(attempt));
    }
    drop(sender);
    let mut answers = BTreeMap::new();
    let end = later(deadline, MOMENT);
    while let Ok(answer) = receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
        answers.extend([answer]);
    }
    let found = |(at, (id, host, port)): (usize, (i32, String, u16))| {
        let answer = answers.remove(&id);
        let unreachable = match &answer {
            Some(answer) => answer.as_ref().err().cloned(),
            None if at >= BROKERS => None,
            None => Some("no answer in time".to_owned()),
        };
        let mut found = FoundBroker::default();
        (found.id, found.host, found.port, found.unreachable) = (id, host, port, unreachable);
        found.settings = answer.and_then(Result::ok).unwrap_or_default();
        found
    };
    seen.into_iter().enumerate().map(found).collect()
}

/// Connects by TCP first, whose errors are immediate and clear; then through the client, for TLS, authentication and an
/// answer.
fn one(
    inner: &TransportInner,
    id: i32,
    host: &str,
    port: u16,
    deadline: Instant,
) -> Result<BTreeMap<String, String>, String> {
    let left = || deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    connect_to(host, port, left())?;
    match inner.client.broker_settings(id, left()) {
        Ok(settings) => Ok(settings),
        Err(codes::LOCAL_TIMED_OUT | codes::LOCAL_TRANSPORT) => {
            let named = format!("/{id}: ");
            let cause =
                inner.recent_errors().iter().find(|cause| cause.text.contains(&named)).map(|cause| cause.text.clone());
            Err(cause.unwrap_or_else(|| "its port is open, but no broker answered in time".to_owned()))
        }
        // The broker answered, although without settings: this principal may not see them, or the broker does not know
        // the request.
        Err(_) => Ok(BTreeMap::new()),
    }
}

pub(super) fn connect_to(host: &str, port: u16, within: Duration) -> Result<(), String> {
    let mut last = "its name has no address".to_owned();
    for address in (host, port).to_socket_addrs().map_err(|error| error.to_string())? {
        match TcpStream::connect_timeout(&address, within) {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}
