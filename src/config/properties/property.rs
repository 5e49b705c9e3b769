//! Description of one property of librdkafka.

/// A property of a client.
#[derive(Debug)]
pub(crate) struct Property {
    pub(crate) name: &'static str,
    pub(in crate::config) kind: Kind,
    /// librdkafka's main name, if this is another name for it.
    pub(super) alias_of: Option<&'static str>,
    pub(super) needs: Option<Needs>,
    /// The client that has it, if only one does.
    pub(super) only: Option<Client>,
}

/// A kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Client {
    Producer,
    Consumer,
}

/// Valid values of a property.
#[derive(Debug)]
pub(in crate::config) enum Kind {
    Text,
    Flag,
    Whole(i64, i64),
    Float(f64, f64),
    /// One of these, in any case.
    OneOf(&'static [&'static str]),
    /// One of these, in exactly this case.
    Exactly(&'static [&'static str]),
    /// Several of these, separated by commas; a `-` in front switches one off.
    SomeOf(&'static [&'static str]),
    /// A Kafka version.
    Version,
}

/// Build option of librdkafka that a property needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Tls,
    Curl,
    Windows,
}

pub(super) const fn of(name: &'static str, kind: Kind) -> Property {
    Property { name, kind, alias_of: None, needs: None, only: None }
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

    pub(super) const fn producer(mut self) -> Self {
        self.only = Some(Client::Producer);
        self
    }

    pub(super) const fn consumer(mut self) -> Self {
        self.only = Some(Client::Consumer);
        self
    }

    /// Returns whether such a client has the property.
    pub(in crate::config) fn is_of(&self, client: Client) -> bool {
        self.only.is_none_or(|only| only == client)
    }

    /// The main name of the property.
    pub(in crate::config) fn canonical(&self) -> &'static str {
        self.alias_of.unwrap_or(self.name)
    }
}
