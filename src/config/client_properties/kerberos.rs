//! What a Kerberos login of Java means for librdkafka, which gets its tickets by a command.

use std::collections::BTreeMap;

/// Options of `Krb5LoginModule` with a property of the same meaning.
pub(super) const SETS: [(&str, &str); 3] = [
    ("principal", "sasl.kerberos.principal"),
    ("keyTab", "sasl.kerberos.keytab"),
    ("serviceName", "sasl.kerberos.service.name"),
];

/// Options that change nothing here: librdkafka asks for no password, and keeps no key.
const WITHOUT_EFFECT: [&str; 6] = ["clearPass", "debug", "doNotPrompt", "refreshKrb5Config", "storeKey", "storePass"];

/// What an option beside [`SETS`] means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It is a part of how the [command](command) is chosen, or what happens anyway.
    Applied,
    Ignored,
    /// What is wrong, a phrase that follows the name of the setting, and what to do.
    Wrong(String, &'static str),
}

fn is_set(options: &BTreeMap<String, String>, option: &str) -> bool {
    options.get(option).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// What an option means beside the others.
pub(super) fn meaning(options: &BTreeMap<String, String>, option: &str) -> Meaning {
    let (is_set, has_keytab) = (|option| is_set(options, option), options.contains_key("keyTab"));
    let wrong = |problem: &str, cure| Meaning::Wrong(format!(" has {problem}"), cure);
    match option {
        "useKeyTab" if is_set(option) && !has_keytab => wrong("useKeyTab without a keyTab", "add the keyTab"),
        "useKeyTab" if !is_set(option) && has_keytab => {
            wrong("a keyTab that it does not use", "remove keyTab, or set useKeyTab to true")
        }
        "renewTGT" if is_set(option) && !is_set("useTicketCache") => {
            wrong("renewTGT without useTicketCache", "remove it, or set useTicketCache to true")
        }
        "useKeyTab" | "useTicketCache" | "renewTGT" => Meaning::Applied,
        "ticketCache" => wrong(
            "ticketCache, which librdkafka cannot set",
            "remove it, and name the cache by the environment variable KRB5CCNAME",
        ),
        "isInitiator" if !is_set(option) => wrong("an isInitiator that is not true, as servers have it", "remove it"),
        "useFirstPass" | "tryFirstPass" if is_set(option) => Meaning::Wrong(
            format!(" has {option}, which takes a password from another login module"),
            "remove it, and use a keyTab",
        ),
        "isInitiator" | "useFirstPass" | "tryFirstPass" => Meaning::Ignored,
        known if WITHOUT_EFFECT.contains(&known) => Meaning::Ignored,
        // The module has no option with a secret.
        other => Meaning::Wrong(format!(" has {other:?}, an option that is not known"), "remove it"),
    }
}

/// Whether the value of `sasl.kerberos.kinit.cmd` is what Java expects: the path of the program `kinit`. librdkafka expects a
/// command with its arguments, and without any, kinit would ask for a password.
pub(super) fn is_of_java(kinit: &str) -> bool {
    !kinit.contains(char::is_whitespace) && kinit.rsplit('/').next() == Some("kinit")
}

/// The command for librdkafka. `kinit` is Java's value, and `options` those of the login module. `None`: librdkafka's default,
/// which renews a ticket or gets one by the keytab.
pub(super) fn command(kinit: Option<&str>, options: &BTreeMap<String, String>, has_keytab: bool) -> Option<String> {
    let program = kinit.unwrap_or("kinit");
    if is_set(options, "useTicketCache") && !has_keytab {
        return Some(format!("{program} -R"));
    }
    const LOGIN: &str = "-t \"%{sasl.kerberos.keytab}\" -k %{sasl.kerberos.principal}";
    kinit.map(|program| format!("{program} -R {LOGIN} || {program} {LOGIN}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(options: &[(&str, &str)]) -> BTreeMap<String, String> {
        options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn each_option_is_applied_ignored_or_refused() {
        let keytab = [("keyTab", "/k"), ("useKeyTab", "True"), ("storeKey", "true"), ("isInitiator", "true")];
        let keytab = options(&keytab);
        assert_eq!(
            ["useKeyTab", "storeKey", "isInitiator"].map(|option| meaning(&keytab, option)),
            [Meaning::Applied, Meaning::Ignored, Meaning::Ignored,]
        );
        for (given, problem) in [
            (&[("useKeyTab", "true")][..], " has useKeyTab without a keyTab"),
            (&[("useKeyTab", "false"), ("keyTab", "/k")], " has a keyTab that it does not use"),
            (&[("renewTGT", "true")], " has renewTGT without useTicketCache"),
            (&[("ticketCache", "/c"), ("useTicketCache", "true")], " has ticketCache, which librdkafka cannot set"),
            (&[("isInitiator", "false")], " has an isInitiator that is not true, as servers have it"),
            (&[("tryFirstPass", "true")], " has tryFirstPass, which takes a password from another login module"),
            (&[("credsType", "both")], " has \"credsType\", an option that is not known"),
        ] {
            let Meaning::Wrong(found, _) = meaning(&options(given), given[0].0) else { panic!("{given:?}") };
            assert_eq!(found, problem);
        }
    }

    /// <https://github.com/confluentinc/librdkafka/blob/v2.12.1/CONFIGURATION.md>: its default, with the name of the program.
    #[test]
    fn the_command_follows_the_program_and_the_options() {
        let (none, cache) = (options(&[]), options(&[("useTicketCache", "true"), ("renewTGT", "true")]));
        assert_eq!(command(None, &none, true), None);
        assert_eq!(command(None, &cache, true), None, "it renews the ticket first");
        assert_eq!(command(None, &cache, false).as_deref(), Some("kinit -R"));
        assert_eq!(command(Some("/opt/kinit"), &cache, false).as_deref(), Some("/opt/kinit -R"));
        let by_keytab = "/opt/kinit -R -t \"%{sasl.kerberos.keytab}\" -k %{sasl.kerberos.principal} || \
                         /opt/kinit -t \"%{sasl.kerberos.keytab}\" -k %{sasl.kerberos.principal}";
        assert_eq!(command(Some("/opt/kinit"), &none, true).as_deref(), Some(by_keytab));
        assert!(is_of_java("/usr/bin/kinit") && is_of_java("kinit"));
        assert!(!is_of_java("kinit -R") && !is_of_java("/opt/renew.sh") && !is_of_java(""));
    }
}
