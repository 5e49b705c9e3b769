//! `ApiVersions`.

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsRequest as TheirRequest, ApiVersionsResponse as TheirAnswer};
use kafka_tower_native::protocol::api::Api;
use kafka_tower_native::protocol::api::api_versions::{ApiVersionsRequest, ApiVersionsResponse, UNSUPPORTED_VERSION};
use proptest::prelude::*;

use crate::answers;
use crate::support::{CLIENT, ID, answer, oracle_reads, request, since, text, versions};

fn all() -> impl Strategy<Value = i16> {
    versions(Api::ApiVersions.versions())
}

proptest! {
    #[test]
    fn requests(version in all(), name in text(), software in text()) {
        let ours = ApiVersionsRequest { client_software_name: &name, client_software_version: &software };
        let theirs: TheirRequest = request(&ours.encode(version, ID, Some(CLIENT)).unwrap(), version, &[]);
        prop_assert_eq!(theirs.client_software_name, since(version, 3, name));
        prop_assert_eq!(theirs.client_software_version, since(version, 3, software));
        prop_assert!(theirs.unknown_tagged_fields.is_empty());
    }

    #[test]
    fn answers((version, theirs) in all().prop_flat_map(|version| (Just(version), answers::api_versions(version)))) {
        let frame = answer(&theirs, version);
        prop_assert!(oracle_reads::<TheirAnswer>(&frame, version));
        let ours = ApiVersionsResponse::decode(version, ID, &frame)?;
        prop_assert_eq!(ours.error_code, theirs.error_code);
        prop_assert_eq!(ours.throttle_time_ms, theirs.throttle_time_ms);
        prop_assert_eq!(ours.finalized_features_epoch, theirs.finalized_features_epoch);
        let apis: Vec<_> = ours.apis.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
        let expected = theirs.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version));
        prop_assert_eq!(apis, expected.collect::<Vec<_>>());
        let of = &ours.finalized_features;
        let features: Vec<_> = of.iter().map(|of| (of.name, of.min_version_level, of.max_version_level)).collect();
        let of = &theirs.finalized_features;
        let expected = of.iter().map(|of| (&*of.name, of.min_version_level, of.max_version_level));
        prop_assert_eq!(features, expected.collect::<Vec<_>>());
        for feature in &theirs.finalized_features {
            let first = theirs.finalized_features.iter().find(|first| first.name == feature.name).unwrap();
            prop_assert_eq!(ours.feature(&feature.name), first.max_version_level);
        }
        prop_assert_eq!((ours.feature("no such feature"), ours.next_version(version)), (0, None));
    }

    /// A broker that does not speak the version answers in version 0 (KIP-511).
    #[test]
    fn the_answer_to_an_unknown_version_has_version_0(asked in all(), max in 0..9_i16) {
        let own = ApiVersion::default().with_api_key(18).with_max_version(max);
        let theirs = TheirAnswer::default().with_error_code(UNSUPPORTED_VERSION).with_api_keys(vec![own]);
        let ours = answer(&theirs, 0);
        let ours = ApiVersionsResponse::decode(asked, ID, &ours)?;
        prop_assert_eq!((ours.error_code, ours.apis.len()), (UNSUPPORTED_VERSION, 1));
        let expected = [3, 0].into_iter().find(|version| *version < asked && *version <= max);
        prop_assert_eq!(ours.next_version(asked), expected);
    }
}

/// Brokers before 2.4 say nothing about their versions.
#[test]
fn a_broker_that_says_nothing_is_asked_with_version_0() {
    let frame = answer(&TheirAnswer::default().with_error_code(UNSUPPORTED_VERSION), 0);
    let ours = ApiVersionsResponse::decode(4, ID, &frame).unwrap();
    assert_eq!((ours.next_version(4), ours.next_version(0)), (Some(0), None));
}
