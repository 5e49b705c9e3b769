//! Whom to ask, and how long to wait.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::cluster::backoff::Backoff;
use crate::cluster::next_broker::{Candidate, Failures, Next};
use crate::cluster::problem::Problem;
use crate::net::address::{Address, parse};

fn addresses() -> Vec<Address> {
    parse("a,b,c").unwrap()
}

fn unconnected(addresses: &[Address]) -> Vec<Candidate<'_>> {
    addresses.iter().map(|address| Candidate { address, open: None }).collect()
}

#[test]
fn the_least_loaded_connection_is_asked() {
    let addresses = addresses();
    let mut candidates = unconnected(&addresses);
    let now = Instant::now();
    candidates[1].open = Some(2);
    assert_eq!(Failures::default().next(&candidates, now), Next::Ask(&addresses[1]));
    candidates[2].open = Some(1);
    assert_eq!(Failures::default().next(&candidates, now), Next::Ask(&addresses[2]));
    assert_eq!(Failures::default().next(&[], now), Next::Nobody);
}

#[test]
fn brokers_that_failed_come_later() {
    let addresses = addresses();
    let (candidates, now) = (unconnected(&addresses), Instant::now());
    let (mut failures, backoff) = (Failures::default(), Backoff::RECONNECT);
    for (failed, then) in [(0, Next::Connect(&addresses[1])), (1, Next::Connect(&addresses[2]))] {
        failures.failed(&addresses[failed], backoff, now, u32::MAX);
        assert_eq!(failures.next(&candidates, now), then);
    }
    failures.failed(&addresses[2], backoff, now, u32::MAX);
    assert_eq!(failures.next(&candidates, now), Next::Wait(now + backoff.first));
    let later = now + backoff.longest;
    assert_eq!(failures.next(&candidates, later), Next::Connect(&addresses[0]));
    failures.failed(&addresses[0], backoff, now, 0);
    assert_eq!(failures.next(&candidates, later), Next::Connect(&addresses[1]), "it failed once");
    failures.answered(&addresses[0]);
    assert_eq!(failures.next(&candidates, later), Next::Connect(&addresses[0]), "it has not failed since its answer");
}

#[test]
fn waits_double_up_to_the_longest() {
    let waits = |random| [0, 1, 2, 3, 9, 200].map(|failures| Backoff::RECONNECT.wait(failures, random).as_millis());
    assert_eq!(waits(u32::MAX), [0, 50, 100, 200, 1000, 1000]);
    assert_eq!(waits(0), [0, 25, 50, 100, 500, 500]);
    let endless = Backoff { first: Duration::MAX, longest: Duration::MAX };
    assert!(endless.wait(u32::MAX, u32::MAX) >= Duration::MAX / 2);
}

#[test]
fn codes_of_topics() {
    assert_eq!(Problem::of(0), None);
    assert_eq!([3, 100].map(Problem::of), [Some(Problem::Missing); 2]);
    for code in [5, 6, 7, 14, 15, 72, 999, -1] {
        assert_eq!(Problem::of(code), Some(Problem::Again(code)), "{code}");
    }
    for code in [17, 29, 31] {
        assert_eq!(Problem::of(code), Some(Problem::Fails(code)), "{code}");
    }
}

proptest! {
    /// Between half of the wait and all of it.
    #[test]
    fn jitter_takes_half_at_most(failures in 1..40_u32, random in any::<u32>()) {
        let backoff = Backoff::RECONNECT;
        let (least, wait, most) = (backoff.wait(failures, 0), backoff.wait(failures, random), backoff.wait(failures, u32::MAX));
        prop_assert!(least <= wait && wait <= most && most <= backoff.longest && most == least * 2);
    }
}
