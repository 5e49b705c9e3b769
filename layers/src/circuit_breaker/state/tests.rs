use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn config() -> CircuitBreakerConfig {
    CircuitBreakerConfig::new().failure_threshold(3).open_for(10 * SECOND).probe_lease(20 * SECOND)
}

fn fail(machine: &mut Machine, times: u32, now: Instant) {
    for _ in 0..times {
        let ticket = machine.admit(now).unwrap();
        assert!(machine.settle(&ticket, Outcome::Failure, now));
    }
}

#[test]
fn opens_at_the_threshold_and_closes_after_a_probe() {
    let (mut machine, t0) = (Machine::new(config()), Instant::now());
    fail(&mut machine, 2, t0);
    assert_eq!(machine.state(), CircuitState::Closed);
    fail(&mut machine, 1, t0);
    assert_eq!((machine.state(), machine.trips()), (CircuitState::Open, 1));
    let early = t0 + 9 * SECOND;
    assert_eq!(machine.admit(early).unwrap_err(), Refusal::Open { failures: 3, half_open_in: Some(SECOND) });
    let probe = machine.admit(t0 + 10 * SECOND).unwrap();
    assert_eq!(machine.state(), CircuitState::HalfOpen);
    assert_eq!(machine.admit(t0 + 10 * SECOND).unwrap_err(), Refusal::Probing);
    machine.settle(&probe, Outcome::Success, t0 + 11 * SECOND);
    assert_eq!((machine.state(), machine.trips()), (CircuitState::Closed, 1));
}

#[test]
fn only_consecutive_failures_count() {
    let (mut machine, t0) = (Machine::new(config()), Instant::now());
    for _ in 0..10 {
        fail(&mut machine, 2, t0);
        let ticket = machine.admit(t0).unwrap();
        machine.settle(&ticket, Outcome::Success, t0);
    }
    assert_eq!(machine.state(), CircuitState::Closed);
}

#[test]
fn a_late_result_of_an_older_period_changes_nothing() {
    let (mut machine, t0) = (Machine::new(config()), Instant::now());
    let old: Vec<_> = (0..4).map(|_| machine.admit(t0).unwrap()).collect();
    fail(&mut machine, 3, t0);
    let late = t0 + 10 * SECOND;
    let probe = machine.admit(late).unwrap();
    for (ticket, outcome) in old.iter().zip([Outcome::Success, Outcome::Failure, Outcome::Neutral]) {
        assert!(!machine.settle(ticket, outcome, late));
        assert_eq!(machine.state(), CircuitState::HalfOpen);
        assert_eq!(machine.admit(late).unwrap_err(), Refusal::Probing, "{outcome:?} frees no probe's place");
    }
    machine.settle(&probe, Outcome::Success, late);
    fail(&mut machine, 2, late);
    machine.settle(&old[3], Outcome::Failure, late);
    assert_eq!(machine.state(), CircuitState::Closed);
}

#[test]
fn a_late_delivery_brings_the_probe_forward() {
    for of_a_told_caller in [false, true] {
        let (mut machine, t0) = (Machine::new(config()), Instant::now());
        let old = machine.admit(t0).unwrap();
        fail(&mut machine, 3, t0);
        let early = t0 + 2 * SECOND;
        assert!(machine.admit(early).is_err());
        if of_a_told_caller {
            machine.delivered_late(early);
        } else {
            assert!(!machine.settle(&old, Outcome::Success, early), "of an older period");
        }
        assert_eq!((machine.state(), machine.trips()), (CircuitState::Open, 1), "until a call comes");
        let probe = machine.admit(early).unwrap();
        assert_eq!(machine.admit(early).unwrap_err(), Refusal::Probing, "one call probes");
        machine.delivered_late(early);
        assert_eq!(machine.state(), CircuitState::HalfOpen, "the probe decides");
        machine.settle(&probe, Outcome::Failure, early);
        assert_eq!(
            machine.admit(early + 9 * SECOND).unwrap_err(),
            Refusal::Open { failures: 0, half_open_in: Some(SECOND) }
        );
    }
}

#[test]
fn a_late_failure_of_an_older_period_leaves_it_open() {
    let (mut machine, t0) = (Machine::new(config()), Instant::now());
    let old = machine.admit(t0).unwrap();
    fail(&mut machine, 3, t0);
    machine.settle(&old, Outcome::Failure, t0 + 2 * SECOND);
    assert!(machine.admit(t0 + 9 * SECOND).is_err());
    assert!(machine.admit(t0 + 10 * SECOND).is_ok());
}

#[test]
fn a_late_delivery_ends_a_row_of_failures() {
    let (mut machine, t0) = (Machine::new(config()), Instant::now());
    for _ in 0..10 {
        fail(&mut machine, 2, t0);
        machine.delivered_late(t0);
    }
    assert_eq!(machine.state(), CircuitState::Closed);
}

#[test]
fn stuck_probes_are_given_up_after_their_lease() {
    let (mut machine, t0) = (Machine::new(config().probes(2).probe_successes(2)), Instant::now());
    fail(&mut machine, 3, t0);
    let stuck = machine.admit(t0 + 10 * SECOND).unwrap();
    let well = machine.admit(t0 + 12 * SECOND).unwrap();
    machine.settle(&well, Outcome::Success, t0 + 12 * SECOND);
    assert_eq!(machine.admit(t0 + 31 * SECOND).unwrap_err(), Refusal::Probing);
    let first = machine.admit(t0 + 32 * SECOND).unwrap();
    assert!(!machine.settle(&stuck, Outcome::Failure, t0 + 32 * SECOND));
    let second = machine.admit(t0 + 32 * SECOND).unwrap();
    machine.settle(&first, Outcome::Success, t0 + 32 * SECOND);
    assert_eq!(machine.state(), CircuitState::HalfOpen);
    machine.settle(&second, Outcome::Success, t0 + 32 * SECOND);
    assert_eq!(machine.state(), CircuitState::Closed);
}

#[test]
fn settings_out_of_range_are_clamped() {
    let odd = CircuitBreakerConfig::new().failure_threshold(0).probes(0).probe_successes(9).open_for(Duration::MAX);
    let (mut machine, t0) = (Machine::new(odd), Instant::now());
    fail(&mut machine, 1, t0);
    assert_eq!(machine.admit(t0).unwrap_err(), Refusal::Open { failures: 1, half_open_in: None });
    machine.reset();
    assert_eq!(machine.state(), CircuitState::Closed);
}

#[derive(Clone, Debug)]
enum Op {
    /// In milliseconds; the clock may go backwards.
    Clock(i64),
    Admit,
    Settle(usize, Outcome),
    /// A record was delivered whose caller got no outcome.
    Late,
    ForceOpen,
    ForceClosed,
    Reset,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let outcome = prop_oneof![2 => Just(Outcome::Success), 4 => Just(Outcome::Failure), 2 => Just(Outcome::Neutral)];
    let op = prop_oneof![
        4 => prop_oneof![0..3_000_i64, -5_000..0_i64, 9_000..25_000_i64].prop_map(Op::Clock),
        10 => Just(Op::Admit),
        10 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Op::Settle(which, outcome)),
        2 => Just(Op::Late),
        1 => prop_oneof![Just(Op::ForceOpen), Just(Op::ForceClosed), Just(Op::Reset)],
    ];
    prop::collection::vec(op, 1..200)
}

proptest! {
    /// Invariants 1, 2, 3, 6, 8 and 9, with up to 16 calls in flight.
    #[test]
    fn keeps_its_invariants(ops in ops(), threshold in 1..4_u32, probes in 1..4_u32, successes in 1..4_u32) {
        let config = config().failure_threshold(threshold).probes(probes).probe_successes(successes);
        let needed = successes.min(probes);
        let start = Instant::now() + Duration::from_secs(3_600);
        // The twin's clock never goes backwards.
        let (mut machine, mut twin) = (Machine::new(config.clone()), Machine::new(config));
        let (mut clock, mut latest) = (0_i64, i64::MIN);
        let at = |ms: i64| if ms < 0 { start - Duration::from_millis(ms.unsigned_abs()) } else { start + Duration::from_millis(ms.unsigned_abs()) };
        let mut out: Vec<(Ticket, CircuitState)> = Vec::new();
        let (mut in_a_row, mut won, mut edges) = (0, 0, 0);
        for op in ops {
            let (state, generation) = (machine.state(), machine.generation());
            let now = at(clock);
            let mut late = false;
            match op {
                Op::Clock(by) => clock += by,
                Op::Admit if out.len() < 16 => {
                    let expected = machine.would_admit(now);
                    let ticket = machine.admit(now);
                    prop_assert_eq!(ticket.is_ok(), expected);
                    latest = latest.max(clock);
                    prop_assert_eq!(twin.admit(at(latest)).is_ok(), ticket.is_ok(), "a clock that goes back changes nothing");
                    if let Ok(ticket) = ticket {
                        prop_assert_eq!(ticket.generation, machine.generation());
                        out.push((ticket, machine.state()));
                    }
                }
                Op::Admit => {}
                Op::Settle(..) if out.is_empty() => {}
                Op::Settle(which, outcome) => {
                    let (ticket, admitted_in) = out.swap_remove(which % out.len());
                    let before = format!("{machine:?}");
                    let counts = machine.settle(&ticket, outcome, now);
                    prop_assert_eq!(counts, ticket.generation == generation);
                    if counts {
                        latest = latest.max(clock);
                        prop_assert_eq!(admitted_in, state);
                    } else if outcome == Outcome::Success {
                        latest = latest.max(clock);
                        late = true;
                    } else {
                        prop_assert_eq!(before, format!("{machine:?}"), "a stale result changed something");
                    }
                    twin.settle(&ticket, outcome, at(latest));
                    if counts && state == CircuitState::Closed {
                        in_a_row = match outcome { Outcome::Success => 0, Outcome::Failure => in_a_row + 1, _ => in_a_row };
                        prop_assert_eq!(machine.state() == CircuitState::Open, in_a_row >= threshold);
                    }
                    if counts && state == CircuitState::HalfOpen {
                        won += u32::from(outcome == Outcome::Success);
                        let expected = match outcome {
                            Outcome::Failure => CircuitState::Open,
                            Outcome::Success if won >= needed => CircuitState::Closed,
                            _ => CircuitState::HalfOpen,
                        };
                        prop_assert_eq!(machine.state(), expected);
                    }
                }
                Op::Late => {
                    latest = latest.max(clock);
                    machine.delivered_late(now);
                    twin.delivered_late(at(latest));
                    late = true;
                }
                Op::ForceOpen => { machine.force_open(); twin.force_open(); }
                Op::ForceClosed => { machine.force_closed(); twin.force_closed(); }
                Op::Reset => { machine.reset(); twin.reset(); }
            }
            if late {
                prop_assert_eq!((machine.state(), machine.generation()), (state, generation), "a late delivery enters no state");
                in_a_row = 0;
                prop_assert!(state != CircuitState::Open || machine.would_admit(at(latest)), "the next call probes");
            }
            if machine.generation() != generation {
                (in_a_row, won) = (0, 0);
            }
            edges += u64::from(machine.state() != state && machine.state() == CircuitState::Open);
            prop_assert_eq!(machine.trips(), edges);
            prop_assert_eq!(machine.state(), twin.state());
            if machine.state() == CircuitState::HalfOpen {
                let probing = out.iter().filter(|(ticket, _)| ticket.generation == machine.generation()).count() as u32;
                prop_assert!(probing + won <= probes);
            }
        }
        // Even if calls never return, a service that works again is used again.
        if !matches!(machine.state(), CircuitState::ForcedOpen) {
            let healthy = at(latest.max(clock)) + 30 * SECOND;
            for _ in 0..needed {
                let ticket = machine.admit(healthy);
                prop_assert!(ticket.is_ok(), "rejects for ever: {machine:?}");
                machine.settle(&ticket.unwrap(), Outcome::Success, healthy);
            }
            prop_assert!(matches!(machine.state(), CircuitState::Closed | CircuitState::ForcedClosed), "{machine:?}");
        }
    }

    /// Invariant 7, and the state machine's part of 4: a place that was freed can be taken again.
    #[test]
    fn neutral_results_neither_trip_nor_close(steps in prop::collection::vec(0..4_u32, 1..50), probes in 1..4_u32) {
        let (mut machine, t0) = (Machine::new(config().probes(probes)), Instant::now());
        for half_open in [false, true] {
            let now = if half_open { t0 + 10 * SECOND } else { t0 };
            let state = if half_open { CircuitState::HalfOpen } else { CircuitState::Closed };
            for step in &steps {
                let tickets: Vec<_> = (0..(step % probes) + 1).map(|_| machine.admit(now).unwrap()).collect();
                for ticket in tickets {
                    machine.settle(&ticket, Outcome::Neutral, now);
                }
                prop_assert_eq!(machine.state(), state);
            }
            if !half_open {
                fail(&mut machine, 3, t0);
            }
        }
    }

    /// One that waits since an earlier operation has been woken, or its time has come, as soon as a call is admitted; and it is
    /// woken as soon as a wait for room below becomes useless.
    #[test]
    fn no_wait_outlives_its_reason(ops in ops(), probes in 1..4_u32, successes in 1..4_u32) {
        let mut machine = Machine::new(config().probes(probes).probe_successes(successes).open_for(5 * SECOND));
        let mut now = Instant::now();
        let mut out = Vec::new();
        // Of those that wait, when a call is admitted, as they know.
        let mut waiting: Vec<Admits> = Vec::new();
        for op in ops {
            let before = machine.admits(now);
            match op {
                Op::Clock(by) => now += Duration::from_millis(by.unsigned_abs()),
                Op::Admit => out.extend(machine.admit(now).ok()),
                Op::Settle(..) if out.is_empty() => {}
                Op::Settle(which, outcome) => {
                    let ticket = out.swap_remove(which % out.len());
                    machine.settle(&ticket, outcome, now);
                }
                Op::Late => machine.delivered_late(now),
                Op::ForceOpen => machine.force_open(),
                Op::ForceClosed => machine.force_closed(),
                Op::Reset => machine.reset(),
            }
            let admits = machine.admits(now);
            if !matches!(op, Op::Clock(_)) && admits != before {
                waiting.clear();
            }
            prop_assert_eq!(admits == Admits::Now, machine.would_admit(now));
            for known in &waiting {
                match known {
                    Admits::Now => prop_assert_eq!(admits, Admits::Now, "it waits for room"),
                    Admits::At(at) if *at <= now => {}
                    Admits::At(_) | Admits::AfterChange => prop_assert!(admits != Admits::Now, "it waits for an admission"),
                }
            }
            if let Admits::At(at) = admits {
                prop_assert!(!machine.would_admit(at - Duration::from_millis(1)) && machine.would_admit(at));
            }
            waiting.push(admits);
        }
    }
}
