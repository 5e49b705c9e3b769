/// Number of a sink among those that share a transport: [`Control::open_tenant`](crate::Control::open_tenant).
///
/// A sink writes it into its messages, and it travels with the [record](crate::Record::tenant), so that the transport
/// can flush, close and report the records of that sink alone. Default: none, for a sink that has a transport of its own.
///
/// A layer that builds a new record keeps it with [`Record::with_tenant`](crate::Record::with_tenant). A record without it
/// is sent as any other, and counts for the transport only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tenant(u16);

impl Tenant {
    /// Whether there is none.
    #[must_use]
    #[inline]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn number(self) -> usize {
        self.0.into()
    }

    /// The next number, from 1 to 65,535 and round again.
    pub(crate) fn next(self) -> Self {
        Self(self.0.checked_add(1).unwrap_or(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_never_given_to_a_sink() {
        assert!(Tenant::default().is_none() && !Tenant::default().next().is_none());
        assert_eq!(Tenant(u16::MAX).next(), Tenant(1));
    }
}
