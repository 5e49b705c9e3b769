//! Free ports below the range that the kernel gives to outgoing connections.
//!
//! A broker keeps its ports over a restart. In the ephemeral range, an outgoing connection could take the port of a
//! killed broker, or a client that keeps reconnecting could even connect to itself.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::kafka::Error;

const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// Returns `count` ports, different from all ports returned before by this process.
pub(crate) fn free(count: usize) -> Result<Vec<u16>, Error> {
    static NEXT: OnceLock<AtomicU32> = OnceLock::new();
    // Test binaries run in parallel, so each begins at another port.
    let next = NEXT.get_or_init(|| {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
        AtomicU32::new(std::process::id().wrapping_mul(7919).wrapping_add(nanos >> 10))
    });
    let mut ports = Vec::with_capacity(count);
    for _ in 0..COUNT {
        if ports.len() == count {
            return Ok(ports);
        }
        let candidate = FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT;
        let Ok(port) = u16::try_from(candidate) else {
            continue;
        };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            ports.push(port);
        }
    }
    Err(Error::new("no free port on 127.0.0.1"))
}
