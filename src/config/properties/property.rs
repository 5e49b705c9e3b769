//! What librdkafka says of one of its properties.

/// A property that a producer can have.
#[derive(Debug)]
pub(crate) struct Property {
    pub(crate) name: &'static str,
    pub(in crate::config) kind: Kind,
    /// librdkafka's own name of it, if this is another.
    pub(super) alias_of: Option<&'static str>,
    pub(super) needs: Option<Needs>,
}

/// What its value must be.
#[derive(Debug)]
pub(in crate::config) enum Kind {
    Text,
    Flag,
    Whole(i64, i64),
    Float(f64, f64),
    /// One of these, in any case.
    OneOf(&'static [&'static str]),
    /// One of these, letter by letter.
    Exactly(&'static [&'static str]),
    /// Several of these with commas, each switched off by a `-`.
    SomeOf(&'static [&'static str]),
    /// A version of Kafka.
    Version,
}

/// What librdkafka must be built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Tls,
    Curl,
    Windows,
}

pub(super) const fn of(name: &'static str, kind: Kind) -> Property {
    Property { name, kind, alias_of: None, needs: None }
}

impl Property {
    pub(super) const fn alias(mut self, of: &'static str) -> Self {
        self.alias_of = Some(of);
        self
    }

    pub(super) const fn needs(mut self, needs: Needs) -> Self {
        self.needs = Some(needs);
        self
    }

    /// The one name of all that mean this property.
    pub(in crate::config) fn canonical(&self) -> &'static str {
        self.alias_of.unwrap_or(self.name)
    }
}
