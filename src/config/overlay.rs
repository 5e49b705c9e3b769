//! Applies settings one by one over a configuration, and collects everything that is wrong.

use super::built::Built;
#[cfg(feature = "oidc")]
use super::client_credentials;
use super::fields::{self, Settings};
use super::properties::canonical;
#[cfg(feature = "oidc")]
use super::token_maker::{self, Part, Unusable};
use super::{Conflict, properties};

/// The target of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Setting<'a> {
    Field(&'static str),
    /// By its name in librdkafka.
    Property(&'a str),
}

/// A configuration with the settings applied so far, and their faults.
pub(super) struct Overlay<C> {
    config: C,
    faults: Vec<String>,
    /// Settings whose values were rejected, as the texts name them.
    refused: Vec<String>,
    /// Conflicts that existed before.
    before: Vec<Conflict>,
}

impl<C: Settings> Overlay<C> {
    pub(super) fn over(config: C) -> Self {
        let before = config.all_conflicts(Built::HERE);
        Self { config, faults: Vec::new(), refused: Vec::new(), before }
    }

    /// Begins with a configuration to which variables with a prefix are applied.
    pub(super) fn by_variables(mut config: C, prefix: &str) -> Self {
        config.variables_mut().read_with(prefix);
        Self::over(config)
    }

    /// Adds a fault that belongs to no setting. Settings that the text names are not checked again.
    pub(super) fn fault(&mut self, text: &str) {
        self.faults.push(self.show(text));
    }

    /// Replaces names of settings in a text by the names they were written with.
    pub(super) fn show(&self, text: &str) -> String {
        self.config.variables().show(&self.config, text)
    }

    /// Sets where tokens come from.
    #[cfg(feature = "oidc")]
    pub(super) fn set_token_provider(&mut self, source: super::TokenSource) {
        *self.config.token_provider_mut() = source;
    }

    /// Makes a provider of tokens of client credentials, if all that it needs is there.
    #[cfg(feature = "oidc")]
    fn client_credentials(&mut self) {
        let made = match client_credentials::read(self.config.properties()) {
            Ok(None) => return,
            Ok(Some(credentials)) => token_maker::make(&credentials).map_err(|Unusable { part, problem, cure }| {
                let has_file = matches!(credentials.roots, Some(client_credentials::Roots::File(_)));
                let name = match part {
                    Part::Endpoint => client_credentials::ENDPOINT,
                    Part::Roots if has_file => client_credentials::CA_FILE,
                    Part::Roots => client_credentials::CA_PEM,
                };
                (name, problem, cure)
            }),
            Err(wrong) => Err(wrong),
        };
        match made {
            Ok(source) => self.set_token_provider(source),
            Err((name, problem, cure)) => self.fault(&format!("`properties` has {name:?}{problem}: {cure}")),
        }
        self.config.properties_mut().retain(|name, _| !client_credentials::is_replaced(name));
    }

    /// Sets a value, unless it cannot work with any other settings.
    #[cfg(feature = "serde")]
    pub(super) fn set(&mut self, setting: Setting<'_>, value: &str) {
        for conflict in self.try_set(setting, value) {
            self.faults.push(conflict.to_string());
        }
    }

    /// Sets a variable's value, which also replaces values under other names of the setting. A value from a file is not
    /// shown.
    pub(super) fn set_by_variable(&mut self, setting: Setting<'static>, value: &str, variable: &str, from_file: bool) {
        let before = self.config.properties().clone();
        if let Setting::Property(name) = setting {
            self.config.properties_mut().retain(|other, _| canonical(other) != canonical(name));
        }
        let conflicts = self.try_set(setting, value);
        if conflicts.is_empty() {
            let (Setting::Field(name) | Setting::Property(name)) = setting;
            self.config.variables_mut().note(name, variable, value);
            return;
        }
        *self.config.properties_mut() = before;
        for Conflict { problem, cure, .. } in conflicts {
            let rest = problem.strip_prefix(&setting.shown());
            let problem = match rest.or_else(|| problem.strip_prefix(&format!("`properties` has {}", setting.shown())))
            {
                _ if from_file => ": the content of its file is not a valid value".to_owned(),
                Some(rest) => rest.to_owned(),
                None => format!(": {problem}"),
            };
            self.fault(&format!("{}{problem}: {cure}", variable));
        }
    }

    fn try_set(&mut self, setting: Setting<'_>, value: &str) -> Vec<Conflict> {
        let conflicts = match setting {
            Setting::Field(field) => fields::set(&mut self.config, field, value),
            Setting::Property(name) => properties::set(C::SIDE, self.config.properties_mut(), name, value),
        };
        if !conflicts.is_empty() {
            self.refused.push(setting.shown());
        }
        conflicts
    }

    /// Returns the configuration, or everything that is wrong. That includes missing settings and settings that do not
    /// fit together, except settings that a fault names, because their intended value is unknown.
    pub(super) fn finish(#[cfg_attr(not(feature = "oidc"), allow(unused_mut))] mut self) -> Result<C, Vec<String>> {
        #[cfg(feature = "oidc")]
        self.client_credentials();
        let Self { config, mut faults, mut refused, before } = self;
        if faults.is_empty() {
            return Ok(config);
        }
        refused.extend(faults.iter().cloned());
        for conflict in config.all_conflicts(Built::HERE) {
            // A provider of tokens comes from the program.
            if conflict.field != "token_provider"
                && !before.contains(&conflict)
                && !config.variables().share_a_setting(&config, &conflict.to_string(), &refused)
            {
                faults.push(config.variables().show(&config, &conflict.to_string()));
            }
        }
        Err(faults)
    }
}

impl Setting<'_> {
    /// The notation of this crate's texts.
    fn shown(self) -> String {
        match self {
            Self::Field(field) => format!("`{field}`"),
            Self::Property(name) => format!("{name:?}"),
        }
    }
}
