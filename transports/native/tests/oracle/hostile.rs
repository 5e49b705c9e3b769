//! Broken answers: cut at each byte, with changed bytes, with huge lengths, or of random bytes. They are refused or read, never a
//! panic, and what is read needs at most 8 times the memory of its bytes.

use kafka_tower_native::protocol::DecodeError;
use kafka_tower_native::protocol::api::Api;
use kafka_tower_native::protocol::api::api_versions::ApiVersionsResponse;
use kafka_tower_native::protocol::api::init_producer_id::InitProducerIdResponse;
use kafka_tower_native::protocol::api::metadata::MetadataResponse;
use kafka_tower_native::protocol::api::produce::ProduceResponse;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::answers;
use crate::support::{ID, answer, versions};

/// A valid answer of any kind and version.
fn valid() -> impl Strategy<Value = (Api, i16, Vec<u8>)> {
    prop::sample::select(Api::ALL.to_vec()).prop_flat_map(|api| (Just(api), versions(api.versions()))).prop_flat_map(
        |(api, version)| {
            let frames = match api {
                Api::Produce => answers::produce(version).prop_map(move |of| answer(&of, version)).boxed(),
                Api::Metadata => answers::metadata(version).prop_map(move |of| answer(&of, version)).boxed(),
                Api::ApiVersions => answers::api_versions(version).prop_map(move |of| answer(&of, version)).boxed(),
                _ => answers::init_producer_id().prop_map(move |of| answer(&of, version)).boxed(),
            };
            frames.prop_map(move |frame| (api, version, frame))
        },
    )
}

fn memory<T>(elements: &Vec<T>) -> usize {
    elements.capacity() * size_of::<T>()
}

/// Reads an answer, and returns the memory of its arrays.
fn read(api: Api, version: i16, frame: &[u8]) -> Result<usize, DecodeError> {
    Ok(match api {
        Api::Produce => {
            let answer = ProduceResponse::decode(version, ID, frame)?;
            let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
            let inner: usize = answer.topics.iter().map(|topic| memory(&topic.partitions)).sum();
            let errors: usize = partitions.map(|partition| memory(&partition.record_errors)).sum();
            memory(&answer.topics) + memory(&answer.node_endpoints) + inner + errors
        }
        Api::Metadata => {
            let answer = MetadataResponse::decode(version, ID, frame)?;
            let inner: usize = answer.topics.iter().map(|topic| memory(&topic.partitions)).sum();
            memory(&answer.topics) + memory(&answer.brokers) + inner
        }
        Api::ApiVersions => {
            let answer = ApiVersionsResponse::decode(version, ID, frame)?;
            memory(&answer.apis) + memory(&answer.finalized_features)
        }
        _ => InitProducerIdResponse::decode(version, ID, frame).map(|_| 0)?,
    })
}

fn check(api: Api, version: i16, frame: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(memory) = read(api, version, frame) {
        prop_assert!(memory <= 8 * frame.len(), "{memory} bytes of memory for {} bytes", frame.len());
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_cut_is_refused((api, version, frame) in valid(), more: u8) {
        check(api, version, &frame)?;
        prop_assert!(read(api, version, &frame).is_ok());
        for len in 0..frame.len() {
            prop_assert!(read(api, version, &frame[..len]).is_err(), "{len} of {} bytes", frame.len());
        }
        // Brokers that only speak like Kafka write more than they should.
        let longer = [&frame[..], &[more]].concat();
        prop_assert_eq!(read(api, version, &longer), read(api, version, &frame));
    }

    #[test]
    fn every_flipped_bit_is_survived((api, version, mut frame) in valid()) {
        for bit in 0..frame.len() * 8 {
            frame[bit / 8] ^= 1 << (bit % 8);
            check(api, version, &frame)?;
            if bit < 32 {
                let id = frame[..4].iter().fold(0, |id, byte| id << 8 | i32::from(*byte));
                prop_assert_eq!(read(api, version, &frame), Err(DecodeError::WrongCorrelationId(id)));
            }
            frame[bit / 8] ^= 1 << (bit % 8);
        }
    }

    /// Lengths of a billion, of 2^31 - 1 and of -2, written over each place in both encodings.
    #[test]
    fn every_huge_length_is_survived((api, version, frame) in valid()) {
        let huge: [&[u8]; 6] = [
            &[0x3b, 0x9a, 0xca, 0x00], &[0x7f, 0xff, 0xff, 0xff], &[0xff, 0xff, 0xff, 0xfe],
            &[0x81, 0x94, 0xeb, 0xdc, 0x03], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0xff; 12],
        ];
        for at in 4..frame.len() {
            for length in huge {
                let mut over = frame.clone();
                let end = frame.len().min(at + length.len());
                over[at..end].copy_from_slice(&length[..end - at]);
                check(api, version, &over)?;
                let instead = [&frame[..at], length, &frame[at + 1..]].concat();
                check(api, version, &instead)?;
            }
        }
    }

    #[test]
    fn changed_bytes_are_survived((api, version, mut frame) in valid(), changes in vec((any::<Index>(), any::<u8>()), 1..9)) {
        for (at, byte) in changes {
            let at = 4 + at.index(frame.len() - 4);
            frame[at] = byte;
        }
        check(api, version, &frame)?;
    }

    /// Small numbers make arrays of arrays.
    #[test]
    fn any_bytes_are_survived(bytes in vec(0..6_u8, 0..200), more in vec(any::<u8>(), 0..50)) {
        for api in Api::ALL {
            for version in api.versions() {
                let frame = [&ID.to_be_bytes()[..], &bytes, &more].concat();
                check(api, version, &frame)?;
            }
        }
    }

    #[test]
    fn an_unknown_version_is_refused(version: i16) {
        for api in Api::ALL {
            if !api.versions().contains(&version) {
                prop_assert_eq!(read(api, version, &[0; 40]), Err(DecodeError::UnknownVersion(version)));
            }
        }
    }
}

/// A billion elements in twenty bytes.
#[test]
fn a_claimed_billion_is_refused_at_once() {
    for (api, version) in [(Api::ApiVersions, 0), (Api::Metadata, 7), (Api::Produce, 7)] {
        let mut frame = ID.to_be_bytes().to_vec();
        frame.extend(
            &[0; 4][..match api {
                Api::ApiVersions => 2,
                Api::Metadata => 4,
                _ => 0,
            }],
        );
        frame.extend(1_000_000_000_i32.to_be_bytes());
        frame.resize(20, 0);
        assert_eq!(read(api, version, &frame), Err(DecodeError::Truncated), "{api:?}");
    }
}
