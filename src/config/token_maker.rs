//! Makes a provider of tokens of client credentials: reads the file of certificates, if they name one.

use std::fs;
use std::sync::Arc;

use kafka_tower_tokens::{ClientAuthentication, OidcProvider};

use super::TokenSource;
use super::client_credentials::{Credentials, Roots};

/// Which part of the credentials cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Endpoint,
    Roots,
}

/// What is wrong with a part: a phrase that follows the name of its setting, and what to do. It shows no value.
pub(super) struct Unusable {
    pub(super) part: Part,
    pub(super) problem: String,
    pub(super) cure: &'static str,
}

pub(super) fn make(credentials: &Credentials<'_>) -> Result<TokenSource, Unusable> {
    let Credentials { endpoint, id, secret, .. } = *credentials;
    let mut provider = OidcProvider::new(endpoint, id, secret).map_err(|error| Unusable {
        part: Part::Endpoint,
        problem: format!(": {}", error.message()),
        cure: "write the URL of a token endpoint, https://…",
    })?;
    if let Some(scope) = credentials.scope {
        provider = provider.with_scope(scope);
    }
    if !credentials.encoded {
        provider = provider.with_authentication(ClientAuthentication::BasicUnencoded);
    }
    for (name, value) in &credentials.extensions {
        provider = provider.with_extension(*name, *value);
    }
    if let Some(roots) = credentials.roots {
        let unusable =
            |problem| Unusable { part: Part::Roots, problem, cure: "name certificates of authorities, in PEM" };
        provider = trusting(provider, roots).map_err(unusable)?;
    }
    Ok(TokenSource::new(Arc::new(provider)))
}

/// The provider, with these authorities in place of the system's. The error shows no path, which may be a text that was
/// meant to be something else.
fn trusting(provider: OidcProvider, roots: Roots<'_>) -> Result<OidcProvider, String> {
    let pem = match roots {
        Roots::Pem(pem) => pem.as_bytes().to_vec(),
        Roots::File(path) => fs::read(path)
            .map_err(|error| format!(": the file of the token endpoint's certificates cannot be read ({error})"))?,
    };
    provider.with_only_root_certificates(pem).map_err(|error| format!(": {}", error.message()))
}
