//! Probes which protocol a port speaks, because no error of librdkafka shows that a client without TLS connects to a
//! TLS listener, or the reverse. Only used when connecting takes long or failed.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// Maximum time of a probe: two connections, two answers. An open port answers at once, or is busy.
const TIME: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerProtocol {
    Tls,
    Plaintext,
}

/// A TLS 1.2 `ClientHello` like a browser's, so that a TLS listener answers it with a record; Java 17.0.19 closes the
/// connection without an alert if there are no extensions. A plaintext Kafka listener takes it for a request of 369 MB
/// and closes too.
const CLIENT_HELLO: &[u8] = &[
    0x16, 0x03, 0x01, 0x00, 0x64, // handshake record of 100 bytes
    0x01, 0x00, 0x00, 0x60, // ClientHello of 96 bytes
    0x03, 0x03, // TLS 1.2
    0x6b, 0x61, 0x66, 0x6b, 0x61, 0x2d, 0x74, 0x6f, 0x77, 0x65, 0x72, 0x2d, 0x70, 0x72, 0x6f,
    0x62, // random: 32 bytes
    0x65, 0x2d, 0x70, 0x72, 0x6f, 0x62, 0x65, 0x2d, 0x70, 0x72, 0x6f, 0x62, 0x65, 0x2d, 0x30, 0x31, //
    0x00, // no session
    0x00, 0x08, 0xc0, 0x2f, 0xc0, 0x2b, 0xc0, 0x30, 0xc0, 0x2c, // ECDHE with AES-GCM, RSA and ECDSA
    0x01, 0x00, // no compression
    0x00, 0x2f, // 47 bytes of extensions
    0x00, 0x0a, 0x00, 0x06, 0x00, 0x04, 0x00, 0x1d, 0x00, 0x17, // groups: x25519, secp256r1
    0x00, 0x0b, 0x00, 0x02, 0x01, 0x00, // points: uncompressed
    0x00, 0x0d, 0x00, 0x12, 0x00, 0x10, // signatures: ECDSA, RSA-PSS and RSA with SHA-256 to 512
    0x04, 0x03, 0x08, 0x04, 0x04, 0x01, 0x05, 0x03, 0x08, 0x05, 0x05, 0x01, 0x08, 0x06, 0x06, 0x01, //
    0x00, 0x17, 0x00, 0x00, // extended master secret
    0xff, 0x01, 0x00, 0x01, 0x00, // secure renegotiation
];

/// `ApiVersions`, version 0, correlation id 1, no client id: 10 bytes that every Kafka listener without TLS answers,
/// even before SASL.
const API_VERSIONS: &[u8] = &[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];

/// A probe running on its own thread.
pub(crate) struct Probing(Receiver<Option<PeerProtocol>>);

impl Probing {
    pub(crate) fn start(brokers: &str, within: Duration) -> Self {
        let (sender, receiver) = mpsc::channel();
        let brokers = brokers.to_owned();
        let asks = move || {
            let answer = probe(&brokers, within);
            let _nobody_waits_any_more = sender.send(answer);
        };
        // If the thread cannot be started there is no answer.
        drop(thread::Builder::new().name("kafka-tower-probe".to_owned()).spawn(asks));
        Self(receiver)
    }

    /// A probe with a given answer.
    #[cfg(test)]
    pub(crate) fn answered(answer: Option<PeerProtocol>) -> Self {
        let (sender, receiver) = mpsc::channel();
        let _there_is_room = sender.send(answer);
        Self(receiver)
    }

    /// Waits for the answer, until the probe's time has passed plus [`MOMENT`].
    pub(crate) fn answer(&self) -> Option<PeerProtocol> {
        self.0.recv_timeout(MOMENT).ok().flatten()
    }
}

/// Time that the system may need to schedule a thread whose time has passed.
const MOMENT: Duration = Duration::from_millis(200);

/// Returns how long before the end of the connect time-out the probe starts.
pub(crate) fn share_of(timeout: Duration) -> Duration {
    TIME.min(timeout / 4)
}

/// Returns what the first broker's port speaks, if it shows within this time.
fn probe(brokers: &str, within: Duration) -> Option<PeerProtocol> {
    let first = brokers.split(',').next()?.trim();
    // librdkafka allows "PROTOCOL://host:port", and a host without a port.
    let first = first.split_once("://").map_or(first, |(_, address)| address);
    let address = if first.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok()) {
        first.to_socket_addrs()
    } else {
        (first, 9092).to_socket_addrs()
    };
    let address = address.ok()?.next()?;
    let ask = |question: &[u8]| -> Option<Vec<u8>> {
        let until = Instant::now() + within / 2;
        let left = || Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero());
        let mut stream = TcpStream::connect_timeout(&address, left()?).ok()?;
        stream.set_write_timeout(Some(left()?)).ok()?;
        stream.write_all(question).ok()?;
        // `None` would mean no time-out.
        stream.set_read_timeout(Some(left()?)).ok()?;
        let mut answer = vec![0; 8];
        stream.read_exact(&mut answer[..5]).ok()?;
        // The rest may be shorter than 8 bytes: an alert has 7.
        let more = stream.read(&mut answer[5..]).unwrap_or(0);
        answer.truncate(5 + more);
        Some(answer)
    };
    if ask(CLIENT_HELLO).is_some_and(|answer| is_tls(&answer)) {
        return Some(PeerProtocol::Tls);
    }
    ask(API_VERSIONS).filter(|answer| is_api_versions(answer)).map(|_| PeerProtocol::Plaintext)
}

/// Returns whether the answer is a TLS handshake or alert record.
fn is_tls(answer: &[u8]) -> bool {
    matches!(answer, [0x15 | 0x16, 0x03, ..])
}

/// Returns whether the answer has a plausible length and the probe's correlation id.
fn is_api_versions(answer: &[u8]) -> bool {
    matches!(answer, [0, 0, _, _, 0, 0, 0, 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_lengths_in_the_hello_are_right() {
        assert_eq!(CLIENT_HELLO.len(), 5 + 0x64);
        assert_eq!(0x64, 4 + 0x60);
        assert_eq!(CLIENT_HELLO.len(), 5 + 4 + 2 + 32 + 1 + 10 + 2 + 2 + 0x2f);
        assert_eq!(API_VERSIONS.len(), 4 + 10);
    }

    #[test]
    fn a_silent_port_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert_eq!(probe(&address, Duration::from_millis(20)), None);
    }

    #[test]
    fn a_port_that_hangs_up_or_is_closed_explains_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let closer = std::thread::spawn(move || {
            for _ in 0..2 {
                drop(listener.accept());
            }
        });
        assert_eq!(probe(&address, TIME), None);
        closer.join().unwrap();
        assert_eq!(probe(&address, TIME), None, "closed");
        assert_eq!(probe("", TIME), None);
    }
}
