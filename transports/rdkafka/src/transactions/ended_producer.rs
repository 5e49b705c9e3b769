//! Decides whether a producer that has ended by a fatal error may be replaced before the next transaction. Pure.
//!
//! "Fenced" has two causes that librdkafka does not tell apart: another producer took the transactional id over, or the
//! brokers aborted the transaction because it was open longer than `transaction.timeout.ms`. After the first one, this
//! producer must write no more: the other one owns the id. After the second one, nobody else is concerned.
//!
//! It was the time-out if
//!
//! 1. the transaction was open for at least that long when the producer ended: a shorter one cannot have timed out;
//! 2. it was open at the coordinator, and no request of it is without an answer, so that it was not ended before; and
//! 3. the new producer gets the epoch after the next one: the time-out uses the next epoch. If another producer took the
//!    id over, it got that epoch, and the new one gets a later one.
//!
//! The third condition is known only after the new producer has acquired the id. If it fails, another producer was fenced
//! by mistake, and this one stays ended.

use std::time::Duration;

use kafka_tower_core::text::seconds;

/// A producer that has ended by a fatal error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedProducer {
    pub(crate) is_fenced: bool,
    /// How long its last transaction had been open when it ended; `None` without a transaction.
    pub(crate) open_for: Option<Duration>,
    /// `transaction.timeout.ms`.
    pub(crate) time_out: Duration,
    /// Whether a record or offsets were sent in its last transaction: then the coordinator knew of it.
    pub(crate) any_sent: bool,
    /// Whether a request of a transaction ended without an answer.
    pub(crate) any_lost: bool,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterEnd {
    /// A new producer goes on.
    Replace,
    /// A new producer goes on if its id [follows a time-out](follows_time_out).
    ReplaceAfterTimeOut,
    /// The transactional id may belong to another producer.
    Stop,
}

impl EndedProducer {
    pub(crate) fn decide(&self) -> AfterEnd {
        match self {
            Self { is_fenced: false, .. } => AfterEnd::Replace,
            Self { any_sent: true, any_lost: false, .. } if self.may_have_timed_out() => AfterEnd::ReplaceAfterTimeOut,
            _ => AfterEnd::Stop,
        }
    }

    fn may_have_timed_out(&self) -> bool {
        self.open_for.is_some_and(|open| open >= self.time_out)
    }

    /// Text and help of the likely cause of a fence.
    pub(crate) fn likely_cause(&self) -> (String, &'static str) {
        match self.open_for.filter(|_| self.may_have_timed_out()) {
            Some(open) => (
                format!(
                    "the transaction was open for {}, longer than transaction.timeout.ms ({}), after which the brokers abort it",
                    seconds(open),
                    seconds(self.time_out)
                ),
                "make the transaction shorter, or raise transaction.timeout.ms",
            ),
            None => (
                "another producer with the same transactional id took over".to_owned(),
                "stop one of the two, or give each its own transactional id; then create a new sink",
            ),
        }
    }
}

/// Producer id and epoch, by which brokers recognize a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerId {
    id: i64,
    epoch: i16,
}

impl ProducerId {
    /// Reads librdkafka's line "Acquired PID{Id:1000,Epoch:2}", which may go on.
    pub(crate) fn read(facility: &str, line: &str) -> Option<Self> {
        if facility != "GETPID" {
            return None;
        }
        let (_, rest) = line.split_once("Acquired PID{Id:")?;
        let (id, rest) = rest.split_once(",Epoch:")?;
        Some(Self { id: id.parse().ok()?, epoch: rest.split_once('}')?.0.parse().ok()? })
    }
}

/// Whether the coordinator gave `new` to the next producer after it had aborted a transaction of `old` by its time-out, and
/// to no producer in between. `false` if one of them is not known.
pub(crate) fn follows_time_out(old: Option<ProducerId>, new: Option<ProducerId>) -> bool {
    let (Some(old), Some(new)) = (old, new) else { return false };
    // Near the largest epoch the id changes, which proves nothing.
    new.id == old.id && old.epoch.checked_add(2) == Some(new.epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FENCED: EndedProducer = EndedProducer {
        is_fenced: true,
        open_for: Some(Duration::from_secs(60)),
        time_out: Duration::from_secs(60),
        any_sent: true,
        any_lost: false,
    };

    #[test]
    fn a_fenced_producer_is_replaced_only_if_its_transaction_can_have_timed_out() {
        assert_eq!(FENCED.decide(), AfterEnd::ReplaceAfterTimeOut);
        let shorter = Some(Duration::from_millis(59_999));
        for other in [
            EndedProducer { open_for: shorter, ..FENCED },
            EndedProducer { open_for: None, ..FENCED },
            EndedProducer { any_sent: false, ..FENCED },
            EndedProducer { any_lost: true, ..FENCED },
        ] {
            assert_eq!(other.decide(), AfterEnd::Stop, "{other:?}");
            assert_eq!(EndedProducer { is_fenced: false, ..other }.decide(), AfterEnd::Replace);
        }
    }

    #[test]
    fn the_likely_cause_is_named() {
        let (text, help) = FENCED.likely_cause();
        assert!(text.contains("60 s") && help.contains("transaction.timeout.ms"), "{text}");
        let (text, _) = EndedProducer { open_for: Some(Duration::from_secs(1)), ..FENCED }.likely_cause();
        assert!(text.contains("another producer"), "{text}");
    }

    #[test]
    fn the_producer_id_is_read_from_its_line() {
        let read = |line| ProducerId::read("GETPID", line);
        let id = |id, epoch| Some(ProducerId { id, epoch });
        assert_eq!(read("[thrd:main]: Acquired PID{Id:1000,Epoch:2}"), id(1000, 2));
        assert_eq!(read("Acquired PID{Id:7,Epoch:3} (previous PID{Id:7,Epoch:2})"), id(7, 3));
        for other in
            ["Acquired invalid PID{-1,-1}: ignoring", "Acquired PID{Id:x,Epoch:2}", "Acquired PID{Id:1,Epoch:2"]
        {
            assert_eq!(read(other), None, "{other}");
        }
        assert_eq!(ProducerId::read("EOS", "Acquired PID{Id:1000,Epoch:2}"), None);
    }

    #[test]
    fn only_the_epoch_after_the_next_one_follows_a_time_out() {
        let id = |id, epoch| Some(ProducerId { id, epoch });
        assert!(follows_time_out(id(1, 4), id(1, 6)));
        for new in [id(1, 5), id(1, 7), id(2, 6), id(2, 0), None] {
            assert!(!follows_time_out(id(1, 4), new), "{new:?}");
        }
        assert!(!follows_time_out(None, id(1, 6)));
        assert!(!follows_time_out(id(1, i16::MAX), id(1, i16::MAX)));
    }
}
