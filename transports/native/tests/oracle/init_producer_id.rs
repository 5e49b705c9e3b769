//! `InitProducerId`.

use kafka_protocol::messages::{InitProducerIdRequest as TheirRequest, InitProducerIdResponse as TheirAnswer};
use kafka_tower_native::protocol::api::Api;
use kafka_tower_native::protocol::api::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use proptest::option;
use proptest::prelude::*;

use crate::answers;
use crate::support::{CLIENT, ID, answer, oracle_reads, request, text, versions};

proptest! {
    #[test]
    fn requests(
        version in versions(Api::InitProducerId.versions()),
        transactional_id in option::of(text()),
        transaction_timeout_ms: i32,
        producer_id: i64,
        producer_epoch: i16,
    ) {
        let transactional_id = transactional_id.as_deref();
        let ours = InitProducerIdRequest { transactional_id, transaction_timeout_ms, producer_id, producer_epoch };
        let theirs: TheirRequest = request(&ours.encode(version, ID, Some(CLIENT)).unwrap(), version, &[]);
        prop_assert_eq!(theirs.transactional_id.as_ref().map(|id| &*id.0), transactional_id);
        prop_assert_eq!(theirs.transaction_timeout_ms, transaction_timeout_ms);
        let expected = if version >= 3 { (producer_id, producer_epoch) } else { (-1, -1) };
        prop_assert_eq!((theirs.producer_id.0, theirs.producer_epoch), expected);
    }

    #[test]
    fn answers(version in versions(Api::InitProducerId.versions()), theirs in answers::init_producer_id()) {
        let frame = answer(&theirs, version);
        prop_assert!(oracle_reads::<TheirAnswer>(&frame, version));
        let ours = InitProducerIdResponse::decode(version, ID, &frame)?;
        prop_assert_eq!((ours.throttle_time_ms, ours.error_code), (theirs.throttle_time_ms, theirs.error_code));
        prop_assert_eq!((ours.producer_id, ours.producer_epoch), (theirs.producer_id.0, theirs.producer_epoch));
    }
}
