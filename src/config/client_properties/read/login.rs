//! Reads how a client logs in.

use std::collections::BTreeMap;

use super::tokens::Tokens;
use super::{Line, Reader};
use crate::config::client_properties::jaas::Login;
use crate::config::client_properties::kerberos;
use crate::config::client_properties::names::placeholder;
use crate::config::fields::Settings;

/// Options of the other login modules.
const USED: [&str; 3] = ["password", "tokenauth", "username"];
/// Why options of Kerberos' login module have no effect.
const KERBEROS: &str = "librdkafka does not need";
const KINIT: &str = "sasl.kerberos.kinit.cmd";

impl<C: Settings> Reader<C> {
    pub(super) fn login(&mut self, tokens: Option<&mut Tokens>) {
        let Some(line) = self.take("sasl.jaas.config") else { return };
        let login = match Login::parse(&line.value) {
            Ok(login) => login,
            Err(problem) => {
                return self.fault(&line, &format!(" {problem}"), "write `<class> required <name>=\"<value>\";`");
            }
        };
        let settings: &[(&str, &'static str)] = match &*login.module {
            "PlainLoginModule" | "ScramLoginModule" => &[("username", "sasl.username"), ("password", "sasl.password")],
            "Krb5LoginModule" => {
                self.kerberos(&line, &login.options);
                &kerberos::SETS
            }
            "OAuthBearerLoginModule" | "IAMLoginModule" => {
                if let Some(tokens) = tokens {
                    return tokens.login = Some((line, login));
                }
                return self.fault(
                    &line,
                    " gets tokens, which only the mechanism OAUTHBEARER uses",
                    "remove it, or set sasl.mechanism to OAUTHBEARER",
                );
            }
            _ => {
                let problem = " has a login module that is not known";
                return self.fault(&line, problem, "use the module Plain, Scram or Krb5, or remove it");
            }
        };
        if login.options.get("tokenauth").is_some_and(|value| value == "true") {
            self.fault(
                &line,
                " logs in with a delegation token, which librdkafka cannot",
                "use the password of a user",
            );
        }
        if settings != kerberos::SETS && login.options.keys().any(|option| !USED.contains(&&**option)) {
            self.ignored
                .entry("its login module does not use for a client")
                .or_default()
                .push(format!("further options of {}", line.name));
        }
        for (option, property) in settings {
            match login.options.get(*option) {
                Some(value) if placeholder(value).is_none() => self.set_property(&line, property, value),
                Some(_) => self.fault(&line, &format!(" has a placeholder as its {option}"), "write the value itself"),
                None if login.module == "Krb5LoginModule" => {}
                None => self.fault(&line, &format!(" has no {option}"), "add it"),
            }
        }
    }

    fn kerberos(&mut self, line: &Line, options: &BTreeMap<String, String>) {
        for option in options.keys().filter(|option| kerberos::SETS.iter().all(|(known, _)| known != option)) {
            match kerberos::meaning(options, option) {
                kerberos::Meaning::Applied => {}
                kerberos::Meaning::Ignored => {
                    self.ignored.entry(KERBEROS).or_default().push(format!("{option} of {}", line.name));
                }
                kerberos::Meaning::Wrong(problem, cure) => self.fault(line, &problem, cure),
            }
        }
        let has_keytab = options.contains_key("keyTab") || self.lines.contains_key("sasl.kerberos.keytab");
        // A command of librdkafka's is left as it is.
        if self.lines.get(KINIT).is_none_or(|kinit| kerberos::is_of_java(&kinit.value)) {
            let kinit = self.lines.remove(KINIT);
            let command = kerberos::command(kinit.as_ref().map(|line| &*line.value), options, has_keytab);
            command.iter().for_each(|command| self.set_property(kinit.as_ref().unwrap_or(line), KINIT, command));
        }
    }

    /// Java's name of the program, without a login module in the file.
    pub(super) fn kinit(&mut self) {
        if self.lines.get(KINIT).is_some_and(|kinit| kerberos::is_of_java(&kinit.value)) {
            let Some(line) = self.take(KINIT) else { return };
            let command = kerberos::command(Some(&line.value), &BTreeMap::new(), true);
            command.iter().for_each(|command| self.set_property(&line, KINIT, command));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::KafkaSinkConfig;
    use crate::config::client_properties::read::apply;

    const LOGIN: &str = "sasl.jaas.config=com.sun.security.auth.module.Krb5LoginModule required ";

    fn kinit(text: &str) -> Option<String> {
        let (config, _) = apply::<KafkaSinkConfig>(text).unwrap_or_else(|error| panic!("{error:#}"));
        config.properties.get("sasl.kerberos.kinit.cmd").cloned()
    }

    #[test]
    fn the_command_of_kerberos_is_that_of_the_client_that_it_was_written_for() {
        let keytab = "useKeyTab=true keyTab=\"/k\" principal=\"me\";";
        let with_keytab = |program: &str| {
            let login = "-t \"%{sasl.kerberos.keytab}\" -k %{sasl.kerberos.principal}";
            Some(format!("{program} -R {login} || {program} {login}"))
        };
        assert_eq!(kinit(&format!("{LOGIN}{keytab}")), None, "librdkafka's default");
        let java = "\nsasl.kerberos.kinit.cmd=/usr/bin/kinit";
        assert_eq!(kinit(&format!("{LOGIN}{keytab}{java}")), with_keytab("/usr/bin/kinit"));
        assert_eq!(kinit(java), with_keytab("/usr/bin/kinit"), "the login is in a file of Java's");
        assert_eq!(kinit(&format!("{LOGIN}useTicketCache=true;{java}")).as_deref(), Some("/usr/bin/kinit -R"));
        assert_eq!(kinit(&format!("{LOGIN}useTicketCache=true;")).as_deref(), Some("kinit -R"));
        let own = "\nsasl.kerberos.kinit.cmd=kinit -k -t /k me";
        assert_eq!(kinit(&format!("{LOGIN}useTicketCache=true;{own}")).as_deref(), Some("kinit -k -t /k me"));
    }

    #[test]
    fn no_option_of_a_login_is_dropped_in_silence() {
        let (_, ignored) =
            apply::<KafkaSinkConfig>(&format!("{LOGIN}keyTab=\"/k\" debug=true storeKey=true;")).unwrap();
        assert_eq!(
            ignored,
            ["debug of sasl.jaas.config, storeKey of sasl.jaas.config, which librdkafka does not need"]
        );
        let wrong = apply::<KafkaSinkConfig>(&format!("{LOGIN}ticketCache=\"/c\" colour=red;")).unwrap_err();
        assert_eq!(
            wrong.message(),
            "the properties cannot be used: \
             line 1: sasl.jaas.config has \"colour\", an option that is not known: remove it; \
             line 1: sasl.jaas.config has ticketCache, which librdkafka cannot set: remove it, and name the cache by the \
             environment variable KRB5CCNAME"
        );
        let plain = "sasl.jaas.config=a.PlainLoginModule required username=a password=b user_alice=hunter2;";
        let (_, ignored) = apply::<KafkaSinkConfig>(plain).unwrap();
        assert_eq!(ignored, ["further options of sasl.jaas.config, which its login module does not use for a client"]);
    }
}
