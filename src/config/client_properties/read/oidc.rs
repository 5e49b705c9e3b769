//! The client credentials in the settings that get tokens. Pure.

use super::tokens::Tokens;
#[cfg(feature = "oidc")]
use crate::config::client_credentials::{self, Credentials};
use crate::config::client_credentials::{PAIRS, pairs};
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
    /// The only authorities that the endpoint's certificate may be of. Without them: those that the system trusts.
    pub(super) roots: Option<Roots<'a>>,
}

/// Certificates of authorities, in PEM.
pub(super) enum Roots<'a> {
    Pem(Text<'a>),
    /// The path of a file.
    File(Text<'a>),
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
    Ok(Some(Oidc { endpoint, id, secret, scope, extensions: extensions(tokens)?, encoded, roots: roots(tokens)? }))
}

/// librdkafka has properties for the certificates of the token endpoint. Java takes them from the options of the login, and
/// not from the settings of the same names, which are for brokers.
fn roots(tokens: &Tokens) -> Result<Option<Roots<'_>>, Wrong<'_>> {
    // `probe` lets librdkafka look for the system's.
    let location = one(tokens, &["https.ca.location"], "")?.filter(|(_, path)| *path != "probe").map(Roots::File);
    let pem = one(tokens, &["https.ca.pem"], "ssl.truststore.certificates")?.map(Roots::Pem);
    let store = one(tokens, &[], "ssl.truststore.location")?;
    let kind = one(tokens, &[], "ssl.truststore.type")?.map_or("", |(_, kind)| kind);
    if let Some((line, _)) = store.filter(|_| !kind.eq_ignore_ascii_case("PEM")) {
        let problem = " has a Java truststore for the token endpoint, which cannot be read".to_owned();
        let cure = "convert it with `keytool -exportcert -rfc`, and set its option ssl.truststore.type to PEM";
        return Err((line, problem, cure));
    }
    let mut all = [location, pem, store.map(Roots::File)].into_iter().flatten();
    let (first, second) = (all.next(), all.next());
    if let Some(Roots::Pem((line, _)) | Roots::File((line, _))) = second {
        let problem = " names certificates for the token endpoint once more".to_owned();
        return Err((line, problem, "name them in one place"));
    }
    Ok(first)
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
        all = pairs(&line.value).map_err(|problem| (line, problem.to_owned(), PAIRS))?;
    }
    let options = tokens.login.iter().flat_map(|(_, login)| &login.options);
    all.extend(options.filter_map(|(name, value)| Some((name.strip_prefix("extension_")?, value.as_str()))));
    Ok(all)
}

#[cfg(feature = "oidc")]
impl<'a> Oidc<'a> {
    /// The same without the lines.
    pub(super) fn credentials(&self) -> Credentials<'a> {
        Credentials {
            endpoint: self.endpoint.1,
            id: self.id.1,
            secret: self.secret.1,
            scope: self.scope.map(|(_, scope)| scope),
            extensions: self.extensions.clone(),
            encoded: self.encoded,
            roots: self.roots.as_ref().map(|roots| match roots {
                Roots::Pem((_, pem)) => client_credentials::Roots::Pem(pem),
                Roots::File((_, path)) => client_credentials::Roots::File(path),
            }),
        }
    }
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

    /// As librdkafka does it, and as Java does.
    #[test]
    fn the_endpoint_may_have_authorities_of_its_own() {
        let (id, secret) = (("sasl.oauthbearer.client.id", "i"), ("sasl.oauthbearer.client.secret", "s"));
        let login = |options: &str| match options {
            "" => String::new(),
            options => format!("o.a.OAuthBearerLoginModule required {options};"),
        };
        let of = |line: (&'static str, &'static str), options: &str| {
            let tokens = tokens(&[URL, id, secret, line], &login(options));
            match read(&tokens) {
                Ok(found) => Ok(found.unwrap().roots.map(|roots| match roots {
                    Roots::Pem((line, pem)) => (line.number, "pem", pem.to_owned()),
                    Roots::File((line, path)) => (line.number, "file", path.to_owned()),
                })),
                Err((line, problem, _)) => Err((line.number, problem)),
            }
        };
        let none = ("sasl.oauthbearer.scope", "x");
        let location = ("https.ca.location", "/ca.pem");
        assert_eq!(of(none, ""), Ok(None));
        assert_eq!(of(("https.ca.location", "probe"), ""), Ok(None), "the system's");
        assert_eq!(of(location, ""), Ok(Some((4, "file", "/ca.pem".to_owned()))));
        assert_eq!(of(("https.ca.pem", "-----"), ""), Ok(Some((4, "pem", "-----".to_owned()))));
        let store = "ssl.truststore.location='/store' ssl.truststore.type=";
        assert_eq!(of(none, &format!("{store}pem")), Ok(Some((9, "file", "/store".to_owned()))));
        assert_eq!(of(none, "ssl.truststore.certificates='-----'"), Ok(Some((9, "pem", "-----".to_owned()))));
        for options in ["ssl.truststore.location='/store'".to_owned(), format!("{store}JKS")] {
            let (line, problem) = of(none, &options).unwrap_err();
            assert!(line == 9 && problem.contains("a Java truststore"), "{problem}");
        }
        let (line, problem) = of(location, &format!("{store}PEM")).unwrap_err();
        assert!(line == 9 && problem.contains("once more"), "{problem}");
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
