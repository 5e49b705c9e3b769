//! The client credentials in the settings that get tokens. Pure.

use super::tokens::Tokens;
use crate::config::client_properties::names::placeholder;
use crate::config::client_properties::text::Line;

/// A text and the line that has it.
pub(super) type Text<'a> = (&'a Line, &'a str);

/// Everything that a request for a token needs.
#[cfg_attr(not(feature = "oidc"), allow(dead_code, reason = "only its presence matters"))]
pub(super) struct Oidc<'a> {
    pub(super) endpoint: Text<'a>,
    pub(super) id: Text<'a>,
    pub(super) secret: Text<'a>,
    pub(super) scope: Option<Text<'a>>,
    pub(super) extensions: Vec<(&'a str, &'a str)>,
    /// Whether id and secret are percent-encoded, as RFC 6749 demands. Neither Java nor librdkafka does so by default.
    pub(super) encoded: bool,
}

/// A line that cannot be used, what is wrong with it, and what to do.
pub(super) type Wrong<'a> = (&'a Line, String, &'static str);

/// `None` if something is missing, which the program then has to know, or if it is another grant.
pub(super) fn read(tokens: &Tokens) -> Result<Option<Oidc<'_>>, Wrong<'_>> {
    let value = |name: &str| tokens.lines.get(name).map(|line| line.value.as_str());
    let other_grant = value("sasl.oauthbearer.grant.type").is_some_and(|grant| grant != "client_credentials")
        || value("sasl.oauthbearer.metadata.authentication.type").is_some_and(|kind| kind != "none");
    let endpoint = one(tokens, &["sasl.oauthbearer.token.endpoint.url"], "")?;
    let id = one(tokens, &["sasl.oauthbearer.client.credentials.client.id", "sasl.oauthbearer.client.id"], "clientId")?;
    let of_secret = ["sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.client.secret"];
    let secret = one(tokens, &of_secret, "clientSecret")?;
    let scope = one(tokens, &["sasl.oauthbearer.scope"], "scope")?;
    let (Some(endpoint), Some(id), Some(secret), false) = (endpoint, id, secret, other_grant) else { return Ok(None) };
    let encoded = value("sasl.oauthbearer.header.urlencode").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    Ok(Some(Oidc { endpoint, id, secret, scope, extensions: extensions(tokens)?, encoded }))
}

/// The value of a setting that has several names, also as an option of the login.
fn one<'a>(tokens: &'a Tokens, names: &[&str], option: &str) -> Result<Option<Text<'a>>, Wrong<'a>> {
    let named = names.iter().filter_map(|name| tokens.lines.get(*name)).map(|line| (line, line.value.as_str()));
    let of_login = tokens.login.iter().filter_map(|(line, login)| Some((line, login.options.get(option)?.as_str())));
    let mut all = named.chain(of_login).filter(|(_, value)| !value.is_empty());
    let Some(first) = all.next() else { return Ok(None) };
    if let Some((line, _)) = all.find(|(_, value)| *value != first.1) {
        let problem = format!(" sets the same as line {} to another value", first.0.number);
        return Err((line, problem, "remove one of them"));
    }
    match placeholder(first.1) {
        Some(problem) => Err((first.0, problem.to_owned(), "write the value itself")),
        None => Ok(Some(first)),
    }
}

/// `a=1,b=2` in librdkafka, `extension_a="1"` in Java.
fn extensions(tokens: &Tokens) -> Result<Vec<(&str, &str)>, Wrong<'_>> {
    let mut all = Vec::new();
    if let Some(line) = tokens.lines.get("sasl.oauthbearer.extensions") {
        for pair in line.value.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let wrong =
                || (line, " has an extension without `=`".to_owned(), "write `name=value`, with commas between them");
            all.push(pair.split_once('=').ok_or_else(wrong)?);
        }
    }
    let options = tokens.login.iter().flat_map(|(_, login)| &login.options);
    all.extend(options.filter_map(|(name, value)| Some((name.strip_prefix("extension_")?, value.as_str()))));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::client_properties::jaas::Login;

    fn tokens(lines: &[(&str, &str)], login: &str) -> Tokens {
        let line = |(number, (name, value)): (usize, &(&str, &str))| {
            let line = Line { number: number + 1, name: (*name).to_owned(), value: (*value).to_owned() };
            ((*name).to_owned(), line)
        };
        let jaas = Line { number: 9, name: "sasl.jaas.config".to_owned(), value: String::new() };
        let login = (!login.is_empty()).then(|| (jaas, Login::parse(login).unwrap()));
        Tokens { lines: lines.iter().enumerate().map(line).collect(), login }
    }

    fn shown<'a>(oidc: &Oidc<'a>) -> (&'a str, &'a str, &'a str, Option<&'a str>) {
        (oidc.endpoint.1, oidc.id.1, oidc.secret.1, oidc.scope.map(|scope| scope.1))
    }

    const URL: (&str, &str) = ("sasl.oauthbearer.token.endpoint.url", "https://a/t");

    #[test]
    fn java_and_librdkafka_have_their_own_names() {
        let jaas = "o.a.OAuthBearerLoginModule required clientId='i' clientSecret='s' scope='x' extension_pool='p';";
        let java = tokens(&[URL, ("sasl.oauthbearer.header.urlencode", "true")], jaas);
        let oidc = read(&java).ok().flatten().unwrap();
        assert_eq!(shown(&oidc), ("https://a/t", "i", "s", Some("x")));
        assert!(oidc.encoded && oidc.extensions == [("pool", "p")]);
        let java = tokens(
            &[
                URL,
                ("sasl.oauthbearer.client.credentials.client.id", "i"),
                ("sasl.oauthbearer.client.credentials.client.secret", "s"),
            ],
            "o.a.OAuthBearerLoginModule required;",
        );
        let oidc = read(&java).ok().flatten().unwrap();
        assert_eq!(shown(&oidc), ("https://a/t", "i", "s", None));
        let librdkafka = tokens(
            &[
                URL,
                ("sasl.oauthbearer.method", "oidc"),
                ("sasl.oauthbearer.client.id", "i"),
                ("sasl.oauthbearer.client.secret", "s"),
                ("sasl.oauthbearer.scope", "x y"),
                ("sasl.oauthbearer.extensions", "logicalCluster=lkc-1, pool=p=1"),
            ],
            "",
        );
        let oidc = read(&librdkafka).ok().flatten().unwrap();
        assert_eq!(shown(&oidc), ("https://a/t", "i", "s", Some("x y")));
        assert!(!oidc.encoded && oidc.extensions == [("logicalCluster", "lkc-1"), ("pool", "p=1")]);
    }

    #[test]
    fn what_is_missing_is_left_to_the_program() {
        let (id, secret) = (("sasl.oauthbearer.client.id", "i"), ("sasl.oauthbearer.client.secret", "s"));
        for lines in [
            &[URL, id][..],
            &[URL, secret],
            &[id, secret],
            &[URL, id, ("sasl.oauthbearer.client.secret", "")],
            &[URL, id, secret, ("sasl.oauthbearer.grant.type", "urn:ietf:params:oauth:grant-type:jwt-bearer")],
            &[URL, id, secret, ("sasl.oauthbearer.metadata.authentication.type", "azure_imds")],
        ] {
            assert!(read(&tokens(lines, "")).is_ok_and(|oidc| oidc.is_none()), "{lines:?}");
        }
        assert!(
            read(&tokens(&[URL, id, secret, ("sasl.oauthbearer.grant.type", "client_credentials")], ""))
                .is_ok_and(|o| o.is_some())
        );
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let (id, secret) = (("sasl.oauthbearer.client.id", "i"), ("sasl.oauthbearer.client.secret", "s"));
        let wrong = |lines: &[(&str, &str)], login: &str| {
            let tokens = tokens(lines, login);
            let (line, problem, _) = read(&tokens).err().unwrap();
            (line.number, problem)
        };
        assert_eq!(
            wrong(&[URL, id, secret], "a.OAuthBearerLoginModule required clientId='j';"),
            (9, " sets the same as line 2 to another value".to_owned())
        );
        let (line, problem) = wrong(&[URL, id, ("sasl.oauthbearer.client.secret", "<secret>")], "");
        assert!(line == 3 && problem.contains("placeholder"), "{problem}");
        let (line, problem) = wrong(&[URL, id, secret, ("sasl.oauthbearer.extensions", "a")], "");
        assert!(line == 4 && problem.contains("without `=`"), "{problem}");
    }
}
