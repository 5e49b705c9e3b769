//! Reads a properties file into a configuration, and collects everything that is wrong.

use std::collections::BTreeMap;

use kafka_tower_core::{Error, ErrorKind, Result};

use super::names::{Meaning, is_name, meaning, placeholder};
use super::text::{self, Line};
use crate::config::fields::Settings;
use crate::config::overlay::{Overlay, Setting};
use crate::config::properties::canonical;
use crate::config::properties::property::Client;

mod login;
mod oidc;
mod tokens;

/// Longer names are cut to this number of characters when shown.
const SHOWN: usize = 60;

pub(super) fn read<C: Settings>(text: &str) -> Result<C> {
    let (config, ignored) = apply(text)?;
    if !ignored.is_empty() {
        tracing::info!("ignored settings of the properties: {}", ignored.join("; "));
    }
    Ok(config)
}

fn apply<C: Settings>(text: &str) -> Result<(C, Vec<String>)> {
    let (lines, faults) = text::parse(text);
    let mut reader = Reader {
        lines: BTreeMap::new(),
        overlay: Overlay::over(C::default()),
        set: BTreeMap::new(),
        ignored: BTreeMap::new(),
    };
    faults.iter().for_each(|fault| reader.overlay.fault(fault));
    lines.into_iter().for_each(|line| reader.add(line));
    let mut tokens = reader.tokens();
    reader.login(tokens.as_mut());
    reader.kinit();
    if let Some(tokens) = tokens {
        reader.token_provider(&tokens);
    }
    reader.truststore();
    reader.keystore();
    reader.compression_level();
    reader.transactions();
    while let Some((_, line)) = reader.lines.pop_first() {
        match meaning(C::SIDE, &line.name, &line.value) {
            Meaning::Sets(setting, value) => reader.set(&line, setting, &value),
            Meaning::Ignored(why) => reader.ignored.entry(why).or_default().push(line.name),
            Meaning::Wrong(problem, cure) => reader.fault(&line, &problem, &cure),
            Meaning::Unknown(problem, cure) => {
                reader.overlay.fault(&format!("line {}: {problem}: {cure}", line.number));
            }
        }
    }
    let ignored = reader
        .ignored
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(why, names)| format!("{}, which {why}", names.join(", ")));
    let ignored = ignored.collect();
    let config = reader.overlay.finish().map_err(|mut faults| {
        faults.sort_by_key(|fault| line_of(fault));
        Error::new(ErrorKind::Config, format!("the properties cannot be used: {}", faults.join("; ")))
            .with_help("correct these lines, or remove what is not meant for a client")
    })?;
    Ok((config, ignored))
}

/// The number of the line that a fault names; those without come last.
fn line_of(fault: &str) -> usize {
    let number = fault.strip_prefix("line ").and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    number.and_then(|number| number.parse().ok()).unwrap_or(usize::MAX)
}

struct Reader<C> {
    /// What is not read yet, by name.
    lines: BTreeMap<String, Line>,
    overlay: Overlay<C>,
    /// What was set, with the number of its line.
    set: BTreeMap<Setting<'static>, (usize, String)>,
    /// Names by the reason why they have no effect.
    ignored: BTreeMap<&'static str, Vec<String>>,
}

impl<C: Settings> Reader<C> {
    fn add(&mut self, line: Line) {
        match self.lines.get(&line.name) {
            Some(other) if other.value != line.value => {
                let problem = format!(" has another value in line {}", other.number);
                self.fault(&line, &problem, "remove one of them");
            }
            Some(_) => {}
            None => drop(self.lines.insert(line.name.clone(), line)),
        }
    }

    fn fault(&mut self, line: &Line, problem: &str, cure: &str) {
        self.overlay.fault(&format!("{}{problem}: {cure}", shown(line)));
    }

    fn set(&mut self, line: &Line, setting: Setting<'static>, value: &str) {
        let target = match setting {
            Setting::Property(name) => Setting::Property(canonical(name)),
            field @ Setting::Field(_) => field,
        };
        match self.set.get(&target) {
            Some((number, before)) if before != value => {
                let problem = format!(" sets the same as line {number} to another value");
                return self.fault(line, &problem, "remove one of them");
            }
            _ => drop(self.set.insert(target, (line.number, value.to_owned()))),
        }
        self.overlay.set_by_variable(setting, value, &shown(line), false);
    }

    fn set_property(&mut self, line: &Line, name: &'static str, value: &str) {
        self.set(line, Setting::Property(name), value);
    }

    /// Takes a setting that is not a placeholder.
    fn take(&mut self, name: &str) -> Option<Line> {
        let line = self.lines.remove(name)?;
        if let Some(problem) = placeholder(&line.value) {
            self.fault(&line, problem, "write the value itself");
            return None;
        }
        Some(line)
    }

    /// Java knows PEM, PKCS#12 and JKS, librdkafka only PEM.
    fn truststore(&mut self) {
        let store = self.store("truststore");
        if let Some(line) = self.take("ssl.truststore.certificates") {
            self.set_property(&line, "ssl.ca.pem", &line.value);
        }
        let Some(Store { location, is_pem, .. }) = store else { return };
        if is_pem {
            return self.set_property(&location, "ssl.ca.location", &location.value);
        }
        let cure = "convert it with `keytool -exportcert -rfc`, and set ssl.truststore.type to PEM; without it, the \
                    system's certificates are trusted";
        self.fault(&location, " is a Java truststore, which librdkafka cannot read", cure);
    }

    fn keystore(&mut self) {
        let store = self.store("keystore");
        for (java, property) in
            [("ssl.keystore.certificate.chain", "ssl.certificate.pem"), ("ssl.keystore.key", "ssl.key.pem")]
        {
            if let Some(line) = self.take(java) {
                self.set_property(&line, property, &line.value);
            }
        }
        let Some(Store { location, password, is_pem, is_pkcs12 }) = store else { return };
        if is_pem {
            // The file has both.
            self.set_property(&location, "ssl.certificate.location", &location.value);
            return self.set_property(&location, "ssl.key.location", &location.value);
        }
        if !is_pkcs12 {
            let cure =
                "set it to PKCS12 or PEM; convert another one with `keytool -importkeystore -deststoretype PKCS12`";
            return self.fault(&location, " has no ssl.keystore.type that librdkafka can read", cure);
        }
        self.set_property(&location, "ssl.keystore.location", &location.value);
        if let Some(line) = password {
            self.set_property(&line, "ssl.keystore.password", &line.value);
        }
        // librdkafka reads the key of a keystore with the password of the store, and Java expects both to be the same.
        self.lines.remove("ssl.key.password");
    }

    fn store(&mut self, store: &str) -> Option<Store> {
        let mut take = |what: &str| self.take(&format!("ssl.{store}.{what}"));
        let (kind, location, password) = (take("type"), take("location"), take("password"));
        let location = location?;
        let kind = kind.map(|line| line.value.to_ascii_uppercase());
        let is_pkcs12 = match &kind {
            Some(kind) => kind == "PKCS12",
            None => [".p12", ".pfx"].iter().any(|end| location.value.to_ascii_lowercase().ends_with(end)),
        };
        Some(Store { location, password, is_pem: kind.as_deref() == Some("PEM"), is_pkcs12 })
    }

    /// Java has a level for each type of compression, and librdkafka one.
    fn compression_level(&mut self) {
        if C::SIDE.client != Client::Producer {
            return;
        }
        let used = self.lines.get("compression.type").map(|line| line.value.clone()).unwrap_or_default();
        for kind in ["gzip", "lz4", "zstd"] {
            let name = format!("compression.{kind}.level");
            match self.lines.remove(&name) {
                Some(line) if kind == used => self.set_property(&line, "compression.level", &line.value),
                Some(line) => self.ignored.entry("is for another compression").or_default().push(line.name),
                None => {}
            }
        }
    }

    /// A producer that has an id in Java uses transactions.
    fn transactions(&mut self) {
        if C::SIDE.fields.contains(&"enable_transactions") {
            if let Some(line) = self.lines.get("transactional.id").cloned() {
                self.set(&line, Setting::Field("enable_transactions"), "true");
            }
        }
    }
}

/// A file of certificates or keys.
struct Store {
    location: Line,
    password: Option<Line>,
    is_pem: bool,
    is_pkcs12: bool,
}

fn shown(line: &Line) -> String {
    let name: String = line.name.chars().take(SHOWN).collect();
    if is_name(&line.name) { format!("line {}: {name}", line.number) } else { format!("line {}", line.number) }
}

#[cfg(test)]
mod tests;
