//! Token providers of [kafka-tower](https://docs.rs/kafka-tower) for the SASL mechanism OAUTHBEARER.
//!
//! | feature | provider | gets tokens |
//! |---|---|---|
//! | `aws-msk-iam` | `MskIamProvider` | for Amazon MSK with IAM: signs them with AWS credentials, without a request |
//! | `oidc` | `OidcProvider` | from an identity server, by the OAuth 2 grant for client credentials |
//!
//! A provider is a [`TokenProvider`](kafka_tower_core::TokenProvider), which a configuration's `with_token_provider` takes.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "aws-msk-iam", feature = "oidc"))]
mod encoding;
#[cfg(feature = "aws-msk-iam")]
mod msk_iam;
#[cfg(feature = "oidc")]
mod oidc;

/// AWS credentials, and the trait of what provides them.
#[cfg(feature = "aws-msk-iam")]
#[cfg_attr(docsrs, doc(cfg(feature = "aws-msk-iam")))]
pub use aws_credential_types;
#[cfg(feature = "aws-msk-iam")]
#[cfg_attr(docsrs, doc(cfg(feature = "aws-msk-iam")))]
pub use msk_iam::MskIamProvider;
#[cfg(feature = "oidc")]
#[cfg_attr(docsrs, doc(cfg(feature = "oidc")))]
pub use oidc::{ClientAuthentication, OidcProvider};
