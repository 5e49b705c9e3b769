//! Framing.

use std::io::IoSlice;

use bytes::Bytes;
use proptest::prelude::*;

use super::peer::answer;
use crate::net::frames::{FrameReader, MAX_ANSWER, WriteQueue, WrongLength};

/// Lets a reader read these bytes, as much at a time as it has room for.
fn feed(reader: &mut FrameReader, mut bytes: &[u8], most: usize) -> Result<Vec<Bytes>, WrongLength> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let room = reader.room();
        let len = room.len().min(bytes.len()).min(most);
        room[..len].copy_from_slice(&bytes[..len]);
        reader.read(len);
        bytes = &bytes[len..];
        while let Some(answer) = reader.take()? {
            answers.push(answer);
        }
    }
    Ok(answers)
}

#[test]
fn answers_may_be_cut_at_each_byte() {
    let bodies = [&b"one"[..], b"", b"three"];
    let stream: Vec<u8> = bodies.iter().flat_map(|body| answer(7, body)).collect();
    for cut in 0..=stream.len() {
        let mut reader = FrameReader::new(100);
        let mut answers = feed(&mut reader, &stream[..cut], usize::MAX).unwrap();
        answers.extend(feed(&mut reader, &stream[cut..], usize::MAX).unwrap());
        let expected: Vec<_> = bodies.iter().map(|body| [&[0, 0, 0, 7], *body].concat()).collect();
        assert_eq!(answers, expected, "cut at {cut}");
        assert!(!reader.is_partial());
    }
}

#[test]
fn a_length_is_looked_at_before_anything_is_allocated() {
    for (length, limit, fine) in
        [(100, 100, true), (101, 100, false), (3, 100, false), (-1, 100, false), (4, 100, true)]
    {
        let mut reader = FrameReader::new(limit);
        let found = feed(&mut reader, &i32::to_be_bytes(length), usize::MAX);
        assert_eq!(found, if fine { Ok(Vec::new()) } else { Err(WrongLength { length, limit }) });
    }
    let mut reader = FrameReader::new(MAX_ANSWER);
    let mut sent = i32::try_from(MAX_ANSWER).unwrap().to_be_bytes().to_vec();
    feed(&mut reader, &sent, usize::MAX).unwrap();
    assert!(reader.room().len() <= 8 << 10, "{}", reader.room().len());
    sent = vec![1; 100_000];
    feed(&mut reader, &sent, usize::MAX).unwrap();
    assert!(reader.room().len() <= 100_004, "no more than was sent: {}", reader.room().len());
}

#[test]
fn answers_are_not_copied() {
    let mut reader = FrameReader::new(100);
    let bytes = [answer(1, b"first"), answer(2, b"second")].concat();
    let room = reader.room();
    room[..bytes.len()].copy_from_slice(&bytes);
    let place = room.as_ptr();
    reader.read(bytes.len());
    let first = reader.take().unwrap().unwrap();
    let second = reader.take().unwrap().unwrap();
    assert_eq!((first.as_ptr(), second.as_ptr()), (place.wrapping_add(4), place.wrapping_add(4 + 9 + 4)));
}

#[test]
fn the_text_names_the_peer_or_the_limit() {
    let text = |bytes: [u8; 4]| WrongLength { length: i32::from_be_bytes(bytes), limit: 100 }.to_string();
    assert_eq!(text(*b"HTTP"), "the peer does not speak Kafka: it answers as an HTTP server");
    assert_eq!(text([0, 0, 0, 101]), "its answer has 101 bytes, and 100 are allowed");
}

proptest! {
    /// Whatever the sizes of reads and answers are, the answers are the same.
    #[test]
    fn answers_come_out_as_they_went_in(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20_000), 0..8),
        most in prop::sample::select(vec![1, 3, 1000, 8192, usize::MAX]),
    ) {
        let stream: Vec<u8> = bodies.iter().flat_map(|body| answer(-1, body)).collect();
        let answers = feed(&mut FrameReader::new(MAX_ANSWER), &stream, most).unwrap();
        let found: Vec<_> = answers.iter().map(|answer| answer.slice(4..).to_vec()).collect();
        prop_assert_eq!(found, bodies);
    }

    /// Whatever a socket takes at a time, it gets the bytes in their order, each once.
    #[test]
    fn chunks_are_written_in_order(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..20),
        takes in prop::collection::vec(1..60_usize, 1..20),
    ) {
        let mut queue = WriteQueue::default();
        queue.push(chunks.iter().cloned().map(Bytes::from));
        let (mut written, mut takes) = (Vec::<u8>::new(), takes.into_iter().cycle());
        while !queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); 4];
            let used = queue.fill(&mut slices);
            let offered: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.iter().copied()).collect();
            let taken = offered.len().min(takes.next().unwrap());
            written.extend(&offered[..taken]);
            queue.wrote(taken);
        }
        prop_assert_eq!(written, chunks.concat());
    }
}
