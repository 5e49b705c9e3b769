use std::fmt;
use std::sync::Arc;

use kafka_tower_core::TokenProvider;

/// The [`TokenProvider`] of a configuration, if it has one. All values of this type compare equal, and `Debug` only shows
/// whether there is a provider.
///
/// ```
/// use std::time::Duration;
///
/// use kafka_tower::{BoxError, KafkaSinkConfig, OauthToken};
///
/// let config = KafkaSinkConfig::default().with_token_provider(|| async {
///     // In a program: a request to the identity server.
///     Ok::<_, BoxError>(OauthToken::new("eyJhbGciOi…", Duration::from_secs(300)))
/// });
/// assert!(config.token_provider.get().is_some());
/// ```
#[derive(Clone, Default)]
pub struct TokenSource(Option<Arc<dyn TokenProvider>>);

impl TokenSource {
    /// Has this provider. Configurations may share one.
    #[must_use]
    pub fn new(provider: Arc<dyn TokenProvider>) -> Self {
        Self(Some(provider))
    }

    /// The provider.
    #[must_use]
    pub fn get(&self) -> Option<&Arc<dyn TokenProvider>> {
        self.0.as_ref()
    }
}

impl PartialEq for TokenSource {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for TokenSource {}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Some(..)" } else { "None" })
    }
}
