//! Tokens for Amazon MSK, with the AWS credentials of the environment.

use std::ffi::OsString;

use kafka_tower::TokenSource;
use kafka_tower::tokens::MskIamProvider;
use kafka_tower::tokens::aws_credential_types::Credentials;

use crate::exit::Failure;

const ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION: &str = "AWS_SESSION_TOKEN";

/// The provider of tokens for these brokers. `None` if they are not of Amazon MSK.
pub(super) fn provider(brokers: &str, vars: &[(OsString, OsString)]) -> Result<Option<TokenSource>, Failure> {
    let text = |name: &str| {
        let value = vars.iter().find(|(variable, _)| variable == name).and_then(|(_, value)| value.to_str());
        value.filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let (id, secret) = (text(ID), text(SECRET));
    let has_credentials = id.is_some() && secret.is_some();
    let credentials =
        Credentials::new(id.unwrap_or_default(), secret.unwrap_or_default(), text(SESSION), None, "environment");
    let Ok(provider) = MskIamProvider::for_brokers(brokers, credentials) else { return Ok(None) };
    if !has_credentials {
        return Err(Failure::usage(
            "the brokers are of Amazon MSK, and the environment has no AWS credentials",
            format!(
                "set {ID} and {SECRET}, and {SESSION} for temporary ones: `aws configure export-credentials --format env` \
                 prints them"
            ),
        ));
    }
    Ok(Some(TokenSource::new(std::sync::Arc::new(provider))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSK: &str = "b-1.orders.abc123.c2.kafka.us-east-1.amazonaws.com:9098";

    fn of(brokers: &str, vars: &[(&str, &str)]) -> Result<Option<TokenSource>, Failure> {
        let vars: Vec<_> = vars.iter().map(|(name, value)| (name.into(), value.into())).collect();
        provider(brokers, &vars)
    }

    #[tokio::test]
    async fn the_credentials_of_the_environment_sign_tokens() {
        let vars = [(ID, "AKIDEXAMPLE"), (SECRET, "hunter2"), (SESSION, "session")];
        let source = of(MSK, &vars).unwrap().unwrap();
        let token = source.get().unwrap().token().await.unwrap();
        assert!(!token.value().is_empty());
        assert!(of("localhost:9092", &vars).unwrap().is_none());
    }

    #[test]
    fn missing_credentials_are_named_for_brokers_of_msk_only() {
        assert!(of("localhost:9092", &[]).unwrap().is_none());
        for vars in [&[][..], &[(ID, "AKIDEXAMPLE")], &[(ID, "AKIDEXAMPLE"), (SECRET, "")]] {
            let Err(Failure::Usage { message, help }) = of(MSK, vars) else { panic!("{vars:?}") };
            assert!(message.contains("no AWS credentials") && help.contains(SECRET), "{message} {help}");
        }
    }
}
