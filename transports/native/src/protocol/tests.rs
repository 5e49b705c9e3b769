//! What is written is read back, and nothing else is accepted.

use proptest::prelude::*;

use super::api::Api;
use super::reader::{Element, MAX_GROWTH, Reader};
use super::uuid::Uuid;
use super::writer::{Frame, Piece, Writer};
use super::{DecodeError, varint};

/// The bytes of a body that `write` writes. Metadata 8 has the classic types, 9 the compact ones.
fn written(flexible: bool, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let version = if flexible { 9 } else { 8 };
    let empty = own(&Writer::request(Api::Metadata, version, 0, None).finish().unwrap());
    let mut writer = Writer::request(Api::Metadata, version, 0, None);
    write(&mut writer);
    own(&writer.finish().unwrap())[empty.len()..].to_vec()
}

fn own(frame: &Frame) -> Vec<u8> {
    let parts = frame.pieces().map(|piece| match piece {
        Piece::Own(bytes) => bytes,
        Piece::Gap(..) => &[],
    });
    parts.collect::<Vec<_>>().concat()
}

fn reader(bytes: &[u8], flexible: bool) -> Reader<'_> {
    Reader::new(bytes, 0, flexible)
}

/// An element of one byte.
#[derive(Debug, PartialEq)]
struct Byte(i8);

impl<'a> Element<'a> for Byte {
    const MIN_LEN: usize = 1;

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.i8().map(Self)
    }
}

/// An element that is as large in memory as its one byte allows.
#[derive(Debug, PartialEq)]
struct Wide(i64);

impl<'a> Element<'a> for Wide {
    const MIN_LEN: usize = 1;

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self(reader.i8()?.into()))
    }
}

/// An array in an array.
#[derive(Debug, PartialEq)]
struct Row(Vec<Wide>);

impl<'a> Element<'a> for Row {
    const MIN_LEN: usize = 3;

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.array().map(Self)
    }
}

proptest! {
    #[test]
    fn numbers_are_read_as_they_were_written(a: i8, b: i16, c: i32, d: i64, e: bool, id: [u8; 16], u: u32) {
        let bytes = written(true, |writer| {
            writer.i8(a);
            writer.i16(b);
            writer.i32(c);
            writer.i64(d);
            writer.bool(e);
            writer.uuid(Uuid(id));
            writer.uvarint(u);
            writer.varint(c);
            writer.varlong(d);
        });
        let mut reader = reader(&bytes, true);
        prop_assert_eq!((reader.i8()?, reader.i16()?, reader.i32()?, reader.i64()?), (a, b, c, d));
        prop_assert_eq!((reader.bool()?, reader.uuid()?, reader.uvarint()?), (e, Uuid(id), u));
        prop_assert_eq!((reader.varint()?, reader.varlong()?, reader.end()), (c, d, Ok(())));
    }

    #[test]
    fn strings_bytes_and_arrays_are_read_as_they_were_written(
        text in prop::option::of(".{0,9}"),
        bytes in prop::option::of(prop::collection::vec(any::<u8>(), 0..300)),
        array in prop::collection::vec(any::<i8>(), 0..300),
        numbers in prop::collection::vec(any::<i32>(), 0..9),
        flexible: bool,
    ) {
        let written = written(flexible, |writer| {
            writer.nullable_string(text.as_deref());
            writer.nullable_bytes(bytes.as_deref());
            writer.array(&array, |writer, one| writer.i8(*one));
            writer.array(&numbers, |writer, one| writer.i32(*one));
            writer.no_tagged_fields();
        });
        let mut reader = reader(&written, flexible);
        prop_assert_eq!((reader.nullable_string()?, reader.nullable_bytes()?), (text.as_deref(), bytes.as_deref()));
        prop_assert_eq!(reader.array::<Byte>()?, array.into_iter().map(Byte).collect::<Vec<_>>());
        prop_assert_eq!(reader.i32_array()?.iter().collect::<Vec<_>>(), numbers);
        reader.skip_tagged_fields()?;
        prop_assert_eq!(reader.end(), Ok(()));
    }

    /// Any bytes are read or refused, and the vectors' memory is what the budget has paid.
    #[test]
    fn arrays_of_arrays_stay_within_the_budget(bytes in prop::collection::vec(0..9_u8, 0..80), flexible: bool) {
        let mut reader = reader(&bytes, flexible);
        let allowed = reader.budget();
        if let Ok(rows) = reader.array::<Row>() {
            let inner: usize = rows.iter().map(|row| row.0.capacity() * size_of::<Wide>()).sum();
            let used = rows.capacity() * size_of::<Row>() + inner;
            prop_assert_eq!(used, allowed - reader.budget());
            prop_assert!(used <= bytes.len() * MAX_GROWTH);
        }
    }
}

#[test]
fn the_forms_are_those_of_the_protocol() {
    let null = |writer: &mut Writer| {
        writer.nullable_string(None);
        writer.nullable_bytes(None);
        writer.nullable_array::<u8>(None, |_, _| {});
    };
    assert_eq!(written(false, null), [[0xff; 4], [0xff; 4], [0xff; 4]].concat()[2..]);
    assert_eq!(written(true, null), [0, 0, 0]);
    assert_eq!(written(false, |writer| writer.string("ab")), [0, 2, b'a', b'b']);
    assert_eq!(written(true, |writer| writer.string("ab")), [3, b'a', b'b']);
    assert_eq!(written(true, |writer| writer.varint(-300)), [0xd7, 0x04]);
}

#[test]
fn a_claimed_length_is_compared_with_what_is_left() {
    let billion = 1_000_000_000_i32.to_be_bytes();
    let mut bytes = billion.to_vec();
    bytes.extend([1; 16]);
    let read = || reader(&bytes, false);
    assert_eq!(read().array::<Byte>(), Err(DecodeError::Truncated));
    assert_eq!(read().nullable_bytes(), Err(DecodeError::Truncated));
    assert_eq!(read().i32_array(), Err(DecodeError::Truncated));
    let compact = [0x80, 0x94, 0xeb, 0xdc, 0x03, 1, 1, 1];
    assert_eq!(reader(&compact, true).array::<Byte>(), Err(DecodeError::Truncated));
    assert_eq!(reader(&compact, true).nullable_string(), Err(DecodeError::Truncated));
    assert_eq!(reader(&[0xff, 0xff, 0xff, 0xfe], false).array::<Byte>(), Err(DecodeError::NegativeLength));
    assert_eq!(reader(&[0xff, 0xfe], false).nullable_string(), Err(DecodeError::NegativeLength));
}

/// The outer array claims all that the budget has, and the first of the inner ones would claim it once more.
#[test]
fn nested_arrays_share_one_budget() {
    let claims = [0xad, 0x02, 0xa1, 0x06];
    let bytes = [&claims[..], &[1; 898]].concat();
    assert_eq!(reader(&bytes, true).array::<Row>(), Err(DecodeError::TooLarge));
    assert_eq!(reader(&bytes[2..], true).array::<Wide>().map(|wide| wide.capacity()), Ok(800));
}

#[test]
fn what_the_protocol_excludes_is_refused() {
    assert_eq!(reader(&[0xff; 5], true).uvarint(), Err(DecodeError::VarintTooLong));
    assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x1f], true).uvarint(), Err(DecodeError::VarintTooLong));
    assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f], true).uvarint(), Ok(u32::MAX));
    assert_eq!(reader(&[0xff; varint::MAX_U64], true).varlong(), Err(DecodeError::VarintTooLong));
    let nine = [0xff; varint::MAX_U64 - 1];
    assert_eq!(reader(&[&nine[..], &[2]].concat(), true).varlong(), Err(DecodeError::VarintTooLong));
    assert_eq!(reader(&[&nine[..], &[1]].concat(), true).varlong(), Ok(i64::MIN));
    assert_eq!(reader(&[0xff], true).uvarint(), Err(DecodeError::Truncated));
    assert_eq!(reader(&[2, 0xff], true).string(), Err(DecodeError::NotUtf8));
    assert_eq!(reader(&[0], true).string(), Err(DecodeError::UnexpectedNull));
    assert_eq!(reader(&[0], true).array::<Byte>(), Err(DecodeError::UnexpectedNull));
    assert_eq!(reader(&[0], true).end(), Err(DecodeError::TrailingBytes));
}

#[test]
fn unknown_tagged_fields_are_skipped() {
    let mut seen = Vec::new();
    let bytes = [3, 0, 1, 7, 1, 2, 8, 8, 5, 0, 9];
    let mut tagged = reader(&bytes, true);
    let read = |tag, reader: &mut Reader<'_>| {
        seen.push(tag);
        if tag == 0 { reader.i8().map(|_| true) } else { Ok(false) }
    };
    assert_eq!(tagged.tagged_fields(read), Ok(()));
    assert_eq!((seen, tagged.i8()), (vec![0, 1, 5], Ok(9)));
    assert_eq!(reader(&[2, 1, 0, 1, 0], true).skip_tagged_fields(), Err(DecodeError::TagsNotAscending));
    assert_eq!(reader(&[1, 0, 9], true).skip_tagged_fields(), Err(DecodeError::Truncated));
    let known = |_, reader: &mut Reader<'_>| reader.i8().map(|_| true);
    assert_eq!(reader(&[1, 0, 2, 1, 1], true).tagged_fields(known), Err(DecodeError::TrailingBytes));
    assert_eq!(reader(&[1, 0, 0, 1, 1], true).tagged_fields(known), Err(DecodeError::Truncated));
}

#[test]
fn a_field_that_is_too_long_fails_the_request() {
    let long = "x".repeat(32_768);
    let finish = |version, name: &str| {
        let mut writer = Writer::request(Api::Metadata, version, 0, None);
        writer.string(name);
        writer.finish().map(|frame| frame.len())
    };
    assert!(finish(8, &long).is_err());
    assert!(finish(8, &long[1..]).is_ok() && finish(9, &long).is_ok());
    let mut writer = Writer::request(Api::Produce, 8, 0, None);
    writer.gap(i32::MAX as usize);
    assert!(writer.finish().is_err());
}

#[test]
fn gaps_count_for_the_length_and_have_their_place() {
    let mut writer = Writer::request(Api::Produce, 8, 7, Some("me"));
    writer.gap(1000);
    writer.gap(2000);
    writer.i8(9);
    let frame = writer.finish().unwrap();
    let bytes = own(&frame);
    assert_eq!(frame.len(), bytes.len() + 3000);
    assert_eq!(bytes[..4], i32::try_from(frame.len() - 4).unwrap().to_be_bytes());
    let lens = frame.pieces().map(|piece| match piece {
        Piece::Own(bytes) => bytes.len(),
        Piece::Gap(_, len) => len,
    });
    assert_eq!(lens.collect::<Vec<_>>(), [20, 1000, 4, 2000, 1]);
}

#[test]
fn chunks_are_the_pieces_with_the_gaps_filled() {
    let frame = || {
        let mut writer = Writer::request(Api::Produce, 9, 7, Some("tests"));
        for len in [3, 2, 0, 1] {
            writer.gap(len);
            writer.i32(9);
        }
        writer.finish().unwrap()
    };
    let gaps = [&b"one"[..], b"22", b"", b"4"].map(bytes::Bytes::from_static);
    let mut joined = Vec::new();
    for piece in frame().pieces() {
        match piece {
            Piece::Own(bytes) => joined.extend_from_slice(bytes),
            Piece::Gap(number, _) => joined.extend_from_slice(&gaps[number]),
        }
    }
    assert_eq!(frame().into_chunks(&gaps).unwrap().concat(), joined);
    assert_eq!(frame().into_chunks(&gaps[..3]), None, "a gap is missing");
    assert_eq!(frame().into_chunks(&[&gaps[..3], &gaps[..1]].concat()), None, "a gap has another length");
}
