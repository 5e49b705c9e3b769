//! Frames in the oracle's types, and strategies.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, Request, StrBytes, decode_request_header_from_buffer,
};
use kafka_tower_native::protocol::writer::{Frame, Piece};
use proptest::prelude::*;

/// The correlation id of all requests here.
pub(crate) const ID: i32 = 0x0102_0304;
/// The client id of all requests here.
pub(crate) const CLIENT: &str = "client ü";

/// The bytes of a frame, with the gaps filled in.
pub(crate) fn bytes_of(frame: &Frame, gaps: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in frame.pieces() {
        match piece {
            Piece::Own(own) => bytes.extend(own),
            Piece::Gap(number, len) => {
                assert_eq!(gaps[number].len(), len);
                bytes.extend(&gaps[number]);
            }
        }
    }
    assert_eq!(bytes.len(), frame.len());
    bytes
}

/// What the oracle reads from a frame. Panics if it is not exactly one request of this kind and version.
pub(crate) fn request<R: Request>(frame: &Frame, version: i16, gaps: &[Vec<u8>]) -> R {
    let mut bytes = Bytes::from(bytes_of(frame, gaps));
    let len = bytes.split_to(4);
    assert_eq!(len, (bytes.len() as u32).to_be_bytes()[..]);
    let header: RequestHeader = decode_request_header_from_buffer(&mut bytes).expect("a header");
    assert_eq!((header.request_api_key, header.request_api_version), (R::KEY, version));
    assert_eq!((header.correlation_id, header.client_id.as_deref()), (ID, Some(CLIENT)));
    let request = R::decode(&mut bytes, version).expect("a request");
    assert!(bytes.is_empty(), "{} bytes too many", bytes.len());
    request
}

/// An answer as the oracle writes it, without its length. Its header has an unknown tagged field, where it can have one.
pub(crate) fn answer<R: Encodable + HeaderVersion>(response: &R, version: i16) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    let tags = BTreeMap::from([(3, Bytes::from_static(b"unknown"))]);
    let header = ResponseHeader::default().with_correlation_id(ID).with_unknown_tagged_fields(tags);
    header.encode(&mut bytes, R::header_version(version)).expect("a valid header");
    response.encode(&mut bytes, version).expect("a valid answer");
    bytes.to_vec()
}

/// The oracle's own reading of what it wrote: whether the oracle takes these bytes.
pub(crate) fn oracle_reads<R: Decodable + HeaderVersion>(frame: &[u8], version: i16) -> bool {
    let mut bytes = Bytes::copy_from_slice(frame);
    ResponseHeader::decode(&mut bytes, R::header_version(version)).is_ok()
        && R::decode(&mut bytes, version).is_ok()
        && bytes.is_empty()
}

/// Tagged fields that nobody knows.
pub(crate) fn tags() -> impl Strategy<Value = BTreeMap<i32, Bytes>> {
    prop::collection::btree_map(20..300, prop::collection::vec(any::<u8>(), 0..4).prop_map(Bytes::from), 0..3)
}

pub(crate) fn text() -> impl Strategy<Value = StrBytes> {
    ".{0,6}".prop_map(StrBytes::from)
}

/// A string that is not empty.
pub(crate) fn name() -> impl Strategy<Value = StrBytes> {
    ".{1,6}".prop_map(StrBytes::from)
}

/// All versions of a request that the package speaks.
pub(crate) fn versions(range: RangeInclusive<i16>) -> impl Strategy<Value = i16> {
    prop::sample::select(range.collect::<Vec<_>>())
}

/// The value in versions from `first` on, and the default in older ones.
pub(crate) fn since<T: Default>(version: i16, first: i16, value: T) -> T {
    if version >= first { value } else { T::default() }
}
