//! A configuration from environment variables.

mod names;
mod sink;
mod source;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::Path;
use std::{fs, io};

use kafka_tower_core::{Error, ErrorKind, Result};

use super::fields::Settings;
use super::overlay::Overlay;
use super::properties::canonical;
use super::side::Side;
use names::{Meaning, Target, meaning};

/// Prefix of a sink's variables, and of Kafka's own.
const PREFIX: &str = "KAFKA_";

/// Longer names are cut to this number of characters when shown.
const SHOWN: usize = 80;

/// A value and its source.
struct Given {
    target: Target,
    variable: String,
    value: String,
    from_file: bool,
}

/// What to do with unknown variables.
enum Unknown<'a> {
    Refuse,
    Ignore(&'a mut dyn FnMut(&str)),
}

/// Applies the variables of the process, or others, to a configuration.
fn with_vars<C: Settings, N: Into<OsString>, V: Into<OsString>>(
    config: C,
    prefix: &str,
    vars: impl IntoIterator<Item = (N, V)>,
    unknown: Unknown<'_>,
) -> Result<C> {
    let vars = vars.into_iter().map(|(name, value)| (name.into(), value.into()));
    overlay(config, prefix, vars, |path| fs::read_to_string(path), unknown)
}

fn warn(text: &str) {
    tracing::warn!("ignored: {text}");
}

fn overlay<C: Settings>(
    config: C,
    prefix: &str,
    vars: impl Iterator<Item = (OsString, OsString)>,
    read: impl Fn(&Path) -> io::Result<String>,
    mut unknown: Unknown<'_>,
) -> Result<C> {
    if prefix.is_empty() {
        return Err(Error::new(ErrorKind::Config, "the prefix of the variables is empty").with_help("use \"KAFKA_\""));
    }
    let mut ours: Vec<(String, OsString)> = vars
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(prefix))
        .collect();
    ours.sort_unstable();
    let mut overlay = Overlay::by_variables(config, prefix);
    let mut given: Vec<Given> = Vec::new();
    for (variable, value) in ours {
        match look_at(C::SIDE, &variable, prefix, value, &read) {
            Found::Sets(one) => match given.iter().find(|other| one.is_same(other)) {
                Some(other) if other.value != one.value => {
                    overlay
                        .fault(&format!("{} and {variable} set the same setting: remove one of them", other.variable));
                }
                Some(_) => {}
                None => given.push(one),
            },
            Found::Foreign => {}
            Found::Fault(text) => overlay.fault(&text),
            Found::Unknown(text) => match &mut unknown {
                Unknown::Refuse => overlay.fault(&text),
                Unknown::Ignore(say) => say(&overlay.show(&text)),
            },
        }
    }
    for one in given {
        overlay.set_by_variable(one.target, &one.value, &one.variable, one.from_file);
    }
    overlay.finish().map_err(|mut faults| {
        // Sorted by the names of the variables, which the texts begin with.
        faults.sort_unstable();
        let Side { name, config, .. } = C::SIDE;
        Error::new(ErrorKind::Config, format!("the environment cannot be used: {}", faults.join("; "))).with_help(
            format!(
                "correct the variables; if some are not meant for the {name}, use another prefix \
             ({config}::from_env_with_prefix) or ignore them ({config}::with_vars_lenient)"
            ),
        )
    })
}

/// What a variable means.
enum Found {
    Sets(Given),
    /// A variable of another program.
    Foreign,
    Fault(String),
    Unknown(String),
}

fn look_at(
    side: &Side,
    variable: &str,
    prefix: &str,
    value: OsString,
    read: &impl Fn(&Path) -> io::Result<String>,
) -> Found {
    let (target, from_file) = match meaning(side, &variable[prefix.len()..], &value, prefix == PREFIX) {
        Meaning::Sets(target) => (target, false),
        Meaning::FromFile(target) => (target, true),
        Meaning::Foreign => return Found::Foreign,
        Meaning::Unknown(problem, cure) => {
            let shown: String = variable.chars().take(SHOWN).collect();
            return Found::Unknown(format!("{shown} {}", format!("{problem}: {cure}").replace('$', prefix)));
        }
    };
    let value = if from_file {
        // The path is not shown: if the `_FILE` suffix is there by mistake, it is the secret itself.
        match read(Path::new(&value)) {
            Ok(text) => {
                let text = text.strip_suffix('\n').unwrap_or(&text);
                text.strip_suffix('\r').unwrap_or(text).to_owned()
            }
            Err(error) => {
                let problem = format!("its file cannot be read ({error})");
                return Found::Fault(format!("{variable}: {problem}: correct the path, or the file's permissions"));
            }
        }
    } else {
        match value.into_string() {
            Ok(value) => value,
            Err(_) => return Found::Fault(format!("{variable}: its value is not UTF-8: write it in UTF-8")),
        }
    };
    Found::Sets(Given { target, variable: variable.to_owned(), value, from_file })
}

impl Given {
    /// Returns whether both set the same setting, also by two names of one property.
    fn is_same(&self, other: &Self) -> bool {
        match (self.target, other.target) {
            (Target::Property(one), Target::Property(two)) => canonical(one) == canonical(two),
            (one, two) => one == two,
        }
    }
}
