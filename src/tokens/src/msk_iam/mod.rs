//! Amazon MSK with IAM.

mod region;
mod token;

use std::fmt;
use std::time::SystemTime;

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use kafka_tower_core::{Error, ErrorKind, Result, TokenFuture, TokenProvider};

/// Provider of tokens for Amazon MSK with IAM access control. It signs each token with the AWS credentials of that moment, as
/// Amazon's own signers do, and makes no request itself.
///
/// Credentials are what the AWS SDK resolves, or [`Credentials`](aws_credential_types::Credentials) of your own. They are asked for
/// at each call, so that short-lived ones are renewed. A token is valid for 15 minutes, or until its credentials expire. `Debug`
/// shows the region only.
///
/// ```
/// use kafka_tower_tokens::MskIamProvider;
/// use kafka_tower_tokens::aws_credential_types::Credentials;
///
/// // With the AWS SDK: `aws_config::load_defaults(..).await.credentials_provider()` in place of these.
/// let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "example");
///
/// let provider = MskIamProvider::new("us-east-1", credentials.clone())?;
/// assert_eq!(format!("{provider:?}"), "MskIamProvider { region: \"us-east-1\", .. }");
///
/// // The names of the brokers contain the region.
/// let brokers = "b-1.orders.abc123.c2.kafka.eu-west-1.amazonaws.com:9098";
/// assert_eq!(MskIamProvider::for_brokers(brokers, credentials)?.region(), "eu-west-1");
/// # Ok::<(), kafka_tower_core::Error>(())
/// ```
#[derive(Clone)]
pub struct MskIamProvider {
    region: String,
    credentials: SharedCredentialsProvider,
}

impl MskIamProvider {
    /// For a cluster in this region, for example `us-east-1`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if this is not the name of a region.
    pub fn new(region: impl AsRef<str>, credentials: impl ProvideCredentials + 'static) -> Result<Self> {
        let region = region.as_ref();
        if !region::is_region(region) {
            return Err(not_a_region(region));
        }
        Ok(Self { region: region.to_owned(), credentials: SharedCredentialsProvider::new(credentials) })
    }

    /// For the region in the names of these brokers: `host:port`, several with commas, as `brokers` of a configuration.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if the names are not those of MSK, or of several regions: use [`new`](Self::new) then, for example
    /// behind a DNS name of your own.
    pub fn for_brokers(brokers: &str, credentials: impl ProvideCredentials + 'static) -> Result<Self> {
        Self::new(region::of_brokers(brokers).map_err(no_region)?, credentials)
    }

    /// The region of the cluster.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }
}

impl TokenProvider for MskIamProvider {
    fn token(&self) -> TokenFuture<'_> {
        Box::pin(async move {
            let credentials = self.credentials.provide_credentials().await?;
            token::token(&credentials, &self.region, SystemTime::now())
        })
    }
}

/// Shows nothing of the credentials.
impl fmt::Debug for MskIamProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MskIamProvider").field("region", &self.region).finish_non_exhaustive()
    }
}

fn not_a_region(region: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{region:?} is not an AWS region"))
        .with_help("use a name like `us-east-1`")
        .without_record()
}

fn no_region(why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("the AWS region is not known: the brokers {why}"))
        .with_help("name the region: `MskIamProvider::new`")
        .without_record()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_credential_types::Credentials;
    use aws_credential_types::provider::error::CredentialsError;
    use aws_credential_types::provider::future;

    use super::*;

    #[derive(Debug)]
    struct Down;

    impl ProvideCredentials for Down {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::ready(Err(CredentialsError::provider_error("the metadata service is down")))
        }
    }

    #[tokio::test]
    async fn a_token_is_signed_with_the_credentials_of_the_moment() {
        let credentials = Credentials::new("AKIDEXAMPLE", "hunter2", Some("hunter2".into()), None, "test");
        let provider = MskIamProvider::new("us-east-1", credentials).unwrap();
        let before = SystemTime::now();
        let token = provider.token().await.unwrap();
        let lifetime = token.expires_at().duration_since(before).unwrap();
        assert!(lifetime > Duration::from_secs(898) && lifetime <= Duration::from_secs(901), "{lifetime:?}");
        assert!(!format!("{provider:?} {token:?}").contains("hunter2"));
    }

    #[tokio::test]
    async fn a_failure_of_the_credentials_has_its_cause() {
        let provider = MskIamProvider::new("us-east-1", Down).unwrap();
        let error = provider.token().await.unwrap_err();
        assert_eq!(error.to_string(), "an error occurred while loading credentials");
        assert_eq!(error.source().unwrap().to_string(), "the metadata service is down");
    }

    #[test]
    fn a_region_that_is_none_is_refused() {
        let credentials = Credentials::new("AKIDEXAMPLE", "hunter2", None, None, "test");
        for error in [
            MskIamProvider::new("us-east-1.evil.example.com/", credentials.clone()).unwrap_err(),
            MskIamProvider::for_brokers("kafka.example.com:9098", credentials).unwrap_err(),
        ] {
            kafka_tower_test_texts::assert_consistent(&error);
            assert_eq!(error.kind(), ErrorKind::Config);
        }
    }
}
