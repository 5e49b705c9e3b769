//! What follows from each code.

use super::super::{Answer, Effect, Key, Mode, Next, ProducerId, Rework, Row, Why};
use crate::settings::Acks;

const ID: ProducerId = ProducerId { id: 7, epoch: 0 };

/// A row whose broker knows the producer, with these batches of ten records on their way.
fn sent<const N: usize>(batches: [&'static str; N]) -> (Row<&'static str>, [Key; N]) {
    let mut row = Row::new(Mode::Idempotent, 5);
    row.renew(ID);
    let (first, _) = row.push("first", 10);
    assert_eq!(answer(&mut row, first, 0), [delivered("first", Some(3))]);
    let keys = batches.map(|batch| {
        assert_eq!(row.next(), Next::New);
        row.push(batch, 10).0
    });
    (row, keys)
}

fn delivered(batch: &'static str, offset: Option<i64>) -> Effect<&'static str> {
    Effect::Delivered { batch, offset }
}

fn failed(batch: &'static str, code: i16, in_doubt: bool) -> Effect<&'static str> {
    Effect::Failed { batch, why: Why::Code(code), in_doubt }
}

fn effects(row: &mut Row<&'static str>, key: Key, answer: &Answer<'_>) -> Vec<Effect<&'static str>> {
    let mut effects = Vec::new();
    row.answered(key, answer, &mut effects);
    effects
}

fn answer(row: &mut Row<&'static str>, key: Key, code: i16) -> Vec<Effect<&'static str>> {
    let offset = if code == 0 { 3 } else { -1 };
    effects(row, key, &Answer::Code { code, offset, refused: &[], new_leader_known: false })
}

fn cut(row: &mut Row<&'static str>, key: Key, wholly: bool) -> Vec<Effect<&'static str>> {
    effects(row, key, &Answer::None { wholly })
}

fn sequence(row: &mut Row<&'static str>, key: Key) -> i32 {
    row.again(key).base_sequence
}

const AGAIN: [Effect<&str>; 2] = [Effect::Metadata, Effect::Backoff { again_at_once: false }];

#[test]
fn success_settles_in_order() {
    let (mut row, [a, b]) = sent(["a", "b"]);
    assert_eq!(answer(&mut row, a, 0), [delivered("a", Some(3))]);
    assert_eq!(answer(&mut row, b, 46), [delivered("b", None)]);
    assert!(row.is_empty());
}

#[test]
fn what_had_no_answer_is_sent_again_with_the_same_stamp() {
    let (mut row, [a, b]) = sent(["a", "b"]);
    assert_eq!(cut(&mut row, a, true), AGAIN);
    assert_eq!(row.next(), Next::Nothing, "b has no answer yet");
    assert_eq!(cut(&mut row, b, true), AGAIN);
    assert_eq!((row.next(), sequence(&mut row, a)), (Next::Again(a), 10));
    assert_eq!(row.next(), Next::Nothing, "one at a time after a failure");
    answer(&mut row, a, 0);
    assert_eq!((row.next(), sequence(&mut row, b)), (Next::Again(b), 20));
}

#[test]
fn a_request_that_was_cut_short_is_not_in_doubt() {
    for (wholly, in_doubt) in [(false, false), (true, true)] {
        let (mut row, [a]) = sent(["a"]);
        cut(&mut row, a, wholly);
        let mut effects = Vec::new();
        row.give_up(|_| true, &mut effects);
        let given_up = Effect::Failed { batch: "a", why: Why::GivenUp, in_doubt };
        assert!(effects.contains(&given_up), "{effects:?}");
        assert_eq!(row.next(), if in_doubt { Next::NeedsProducerId } else { Next::New });
    }
}

#[test]
fn codes_that_come_after_an_append_begin_doubt_and_others_do_not() {
    for (codes, in_doubt) in
        [(&[-1, 3, 6, 7, 8, 9, 13, 20, 56][..], true), (&[5, 19, 72, 74, 75, 77, 78, 83, 89, 100, 103], false)]
    {
        for code in codes {
            let (mut row, [a]) = sent(["a"]);
            let found = answer(&mut row, a, *code);
            assert!(found.contains(&Effect::Backoff { again_at_once: false }), "{code}: {found:?}");
            assert_eq!(row.next(), Next::Again(a), "{code}");
            let mut effects = Vec::new();
            row.give_up(|_| true, &mut effects);
            let given_up = Effect::Failed { batch: "a", why: Why::GivenUp, in_doubt };
            assert!(effects.contains(&given_up), "{code}: {effects:?}");
        }
    }
}

#[test]
fn a_leader_that_is_known_is_asked_at_once() {
    let (mut row, [a]) = sent(["a"]);
    let moved = Answer::Code { code: 6, offset: -1, refused: &[], new_leader_known: true };
    assert_eq!(effects(&mut row, a, &moved), [Effect::Metadata, Effect::Backoff { again_at_once: true }]);
}

#[test]
fn a_batch_behind_one_without_success_waits_for_it() {
    let (mut row, [a, b]) = sent(["a", "b"]);
    answer(&mut row, a, 19);
    assert_eq!(answer(&mut row, b, 45), []);
    assert_eq!((row.next(), sequence(&mut row, a)), (Next::Again(a), 10));
    answer(&mut row, a, 0);
    assert_eq!((row.next(), sequence(&mut row, b)), (Next::Again(b), 20));
}

#[test]
fn a_lone_45_is_no_proof_and_a_later_success_settles_the_row() {
    let (mut row, [a, b, c]) = sent(["a", "b", "c"]);
    [a, b, c].into_iter().for_each(|key| drop(cut(&mut row, key, true)));
    for key in [a, b] {
        assert_eq!(row.next(), Next::Again(key));
        row.again(key);
        assert_eq!(answer(&mut row, key, 45), []);
    }
    assert_eq!((row.next(), sequence(&mut row, c)), (Next::Again(c), 30));
    assert_eq!(answer(&mut row, c, 0), [delivered("a", None), delivered("b", None), delivered("c", Some(3))]);
}

#[test]
fn a_whole_row_of_45_goes_again_under_a_new_epoch() {
    let (mut row, [a, b]) = sent(["a", "b"]);
    [a, b].into_iter().for_each(|key| drop(cut(&mut row, key, true)));
    row.again(a);
    answer(&mut row, a, 45);
    row.again(b);
    assert_eq!(answer(&mut row, b, 45), [Effect::LostAcknowledged, Effect::NewEpoch]);
    assert_eq!(row.next(), Next::NeedsProducerId);
    row.renew(ProducerId { epoch: 1, ..ID });
    assert_eq!(row.next(), Next::Again(a));
    let stamp = row.again(a);
    assert_eq!((stamp.producer_epoch, stamp.base_sequence), (1, 0));
}

#[test]
fn a_broker_that_was_replaced_is_asked_from_the_head() {
    let (mut row, [a, b]) = sent(["a", "b"]);
    [a, b].into_iter().for_each(|key| drop(cut(&mut row, key, true)));
    row.again(a);
    answer(&mut row, a, 45);
    row.moved();
    assert_eq!(row.next(), Next::Again(a));
}

#[test]
fn an_unknown_producer_gets_a_new_epoch() {
    let (mut row, [a]) = sent(["a"]);
    assert_eq!(answer(&mut row, a, 59), [Effect::NewEpoch, Effect::Backoff { again_at_once: false }]);
    assert_eq!(row.next(), Next::NeedsProducerId);
    let (mut row, [a]) = sent(["a"]);
    cut(&mut row, a, true);
    row.again(a);
    assert!(answer(&mut row, a, 59).contains(&failed("a", 59, true)));
}

#[test]
fn an_unknown_producer_ends_what_is_in_doubt_behind() {
    let (mut row, [a, b]) = sent(["a", "b"]);
    cut(&mut row, b, true);
    assert!(answer(&mut row, a, 59).contains(&failed("b", 59, true)));
    assert_eq!(row.next(), Next::NeedsProducerId);
    row.renew(ProducerId { epoch: 1, ..ID });
    let stamp = row.again(a);
    assert_eq!((stamp.producer_epoch, stamp.base_sequence), (1, 0));
}

#[test]
fn another_owner_of_the_id_makes_a_new_one_and_the_second_time_fails() {
    let (mut row, [a]) = sent(["a"]);
    assert_eq!(answer(&mut row, a, 47), [Effect::NewProducerId, Effect::Backoff { again_at_once: false }]);
    row.renew(ProducerId { id: 8, epoch: 0 });
    let stamp = row.again(a);
    assert_eq!((stamp.producer_id, stamp.base_sequence), (8, 0));
    assert!(answer(&mut row, a, 47).contains(&failed("a", 47, false)));
}

#[test]
fn the_last_epoch_is_followed_by_a_new_id() {
    let mut row = Row::new(Mode::Idempotent, 5);
    row.renew(ProducerId { epoch: i16::MAX - 1, ..ID });
    let (a, _) = row.push("a", 1);
    cut(&mut row, a, true);
    let mut effects = Vec::new();
    row.give_up(|_| true, &mut effects);
    assert!(effects.contains(&Effect::NewProducerId), "{effects:?}");
}

#[test]
fn a_spoiled_batch_is_sent_three_times() {
    let (mut row, [mut a]) = sent(["a"]);
    for _ in 0..2 {
        assert_eq!(answer(&mut row, a, 2), [Effect::Backoff { again_at_once: false }]);
        let Next::Again(key) = row.next() else { panic!() };
        (a, _) = (key, row.again(key));
    }
    assert_eq!(answer(&mut row, a, 2), [failed("a", 2, false)]);
}

#[test]
fn a_large_batch_is_split_in_its_place() {
    for code in [10, 18] {
        let (mut row, [a, b]) = sent(["a", "b"]);
        assert_eq!(answer(&mut row, a, code), [Effect::Rework { key: a, code, why: Rework::TooLarge }]);
        row.replace(a, vec![("a1", 4), ("a2", 6)]);
        answer(&mut row, b, 45);
        let mut order = Vec::new();
        while let Next::Again(key) = row.next() {
            order.push((*row.get_mut(key).unwrap(), sequence(&mut row, key)));
            answer(&mut row, key, 0);
        }
        assert_eq!(order, [("a1", 10), ("a2", 14), ("b", 20)]);
    }
}

#[test]
fn what_was_refused_gives_its_numbers_to_those_behind() {
    let (mut row, [a, b]) = sent(["a", "b"]);
    let refused = Answer::Code { code: 87, offset: -1, refused: &[2, 5], new_leader_known: false };
    let rework = Effect::Rework { key: a, code: 87, why: Rework::Refused(vec![2, 5]) };
    assert_eq!(effects(&mut row, a, &refused), [rework]);
    row.replace(a, vec![("rest", 8)]);
    answer(&mut row, b, 45);
    let Next::Again(rest) = row.next() else { panic!() };
    assert_eq!(sequence(&mut row, rest), 10);
    answer(&mut row, rest, 0);
    assert_eq!((row.next(), sequence(&mut row, b)), (Next::Again(b), 18));
}

#[test]
fn a_refusal_without_indexes_is_looked_into() {
    let (mut row, [a]) = sent(["a"]);
    assert_eq!(answer(&mut row, a, 32), [Effect::Rework { key: a, code: 32, why: Rework::RefusedWhole }]);
    row.replace(a, Vec::new());
    assert_eq!(row.next(), Next::New);
    assert_eq!(row.push("next", 1).1.base_sequence, 10);
}

#[test]
fn a_refusal_of_what_is_in_doubt_proves_nothing() {
    for code in [10, 18, 32, 87, 2] {
        let (mut row, [a]) = sent(["a"]);
        cut(&mut row, a, true);
        for _ in 0..3 {
            row.again(a);
            let found = answer(&mut row, a, code);
            if code != 2 || row.is_empty() {
                assert!(found.contains(&failed("a", code, true)), "{code}: {found:?}");
                break;
            }
        }
        assert!(row.is_empty(), "{code}");
    }
}

#[test]
fn codes_without_a_cure_fail_the_batch_and_unknown_ones_in_doubt() {
    for (codes, in_doubt) in [(&[29, 31, 17, 21, 35, 42, 43, 44, 76][..], false), (&[4_711, -7][..], true)] {
        for code in codes {
            let (mut row, [a, b]) = sent(["a", "b"]);
            let found = answer(&mut row, a, *code);
            assert!(found.contains(&failed("a", *code, in_doubt)), "{code}: {found:?}");
            answer(&mut row, b, 45);
            if !in_doubt {
                assert_eq!(sequence(&mut row, b), 10, "{code}");
            }
        }
    }
}

#[test]
fn without_idempotence_nothing_in_doubt_is_sent_again() {
    let plain = |acks| {
        let mut row = Row::new(Mode::Plain { acks }, 5);
        let (key, stamp) = row.push("a", 1);
        assert_eq!(stamp, crate::record_batch::header::Stamp::NONE);
        (row, key)
    };
    let (mut row, a) = plain(Acks::All);
    assert!(cut(&mut row, a, true).contains(&Effect::Failed { batch: "a", why: Why::Lost, in_doubt: true }));
    let (mut row, a) = plain(Acks::All);
    assert_eq!((cut(&mut row, a, false), row.next()), (AGAIN.to_vec(), Next::Again(a)));
    let (mut row, a) = plain(Acks::All);
    assert!(answer(&mut row, a, 6).contains(&failed("a", 6, true)));
    let (mut row, a) = plain(Acks::Leader);
    assert_eq!((answer(&mut row, a, 6), row.next()), (AGAIN.to_vec(), Next::Again(a)));
    let (mut row, a) = plain(Acks::None);
    assert_eq!(effects(&mut row, a, &Answer::Written), [delivered("a", None)]);
}

#[test]
fn one_batch_at_a_time_until_a_broker_knows_the_producer_and_five_then() {
    let mut row = Row::new(Mode::Idempotent, 9);
    assert_eq!(row.next(), Next::NeedsProducerId);
    row.renew(ID);
    let (first, stamp) = row.push("first", 10);
    assert_eq!((row.next(), stamp.base_sequence), (Next::Nothing, 0));
    answer(&mut row, first, 0);
    for _ in 0..5 {
        assert_eq!(row.next(), Next::New);
        row.push("more", 1);
    }
    assert_eq!(row.next(), Next::Nothing);
}

#[test]
fn an_epoch_ends_only_when_nothing_of_it_is_in_doubt() {
    let (mut row, [a, b]) = sent(["a", "b"]);
    [a, b].into_iter().for_each(|key| drop(cut(&mut row, key, true)));
    let mut effects = Vec::new();
    row.give_up(|batch| *batch == "a", &mut effects);
    row.renew(ProducerId { epoch: 1, ..ID });
    assert_eq!(row.next(), Next::Again(b));
    let stamp = row.again(b);
    assert_eq!((stamp.producer_epoch, stamp.base_sequence), (0, 20));
    answer(&mut row, b, 0);
    assert_eq!(row.next(), Next::New);
    assert_eq!(row.push("c", 1).1.producer_epoch, 1);
}

#[test]
fn numbers_begin_again_behind_the_largest() {
    let mut row = Row::new(Mode::Idempotent, 5);
    row.renew(ID);
    let (first, _) = row.push("first", i32::MAX as u32);
    answer(&mut row, first, 0);
    assert_eq!(row.push("a", 2).1.base_sequence, i32::MAX);
    assert_eq!(row.push("b", 1).1.base_sequence, 1);
}
