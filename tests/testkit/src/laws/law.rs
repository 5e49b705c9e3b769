use std::fmt;
use std::io::Write as _;

use super::Applied;
use crate::{Fixture, Verdict};

macro_rules! define {
    ([] $(($variant:ident $law:ident $demand:literal))*) => {
        /// A law, by name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Law {
            $(
                #[doc = concat!("Demands: ", $demand, ". See [`", stringify!($law), "`](super::", stringify!($law), ").")]
                $variant,
            )*
        }

        impl Law {
            /// All laws, in the order in which [`all`](super::all) runs them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name of the law's function and test.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($law),)*
                }
            }

            /// What the law demands, in one clause.
            #[must_use]
            pub const fn demand(self) -> &'static str {
                match self {
                    $(Self::$variant => $demand,)*
                }
            }

            /// Runs the law. It panics if the transport breaks it.
            ///
            /// # Errors
            ///
            /// [`NotApplicable`](crate::NotApplicable), if it cannot run for this transport.
            pub async fn run<F: Fixture>(self, fixture: &F) -> Applied {
                match self {
                    $(Self::$variant => super::$law(fixture).await,)*
                }
            }
        }
    };
}

crate::__with_laws!(define []);

impl Law {
    /// The laws that need a broker which can be [paused](crate::Broker::pause).
    pub const OF_A_PAUSED_BROKER: &[Self] = &[
        Self::FlushWaitsForEarlierRecords,
        Self::TheLimitsAreExactInRecordsAndBytes,
        Self::BackPressureIsAPendingThatWakes,
        Self::ADeadlineEndsTheWaitingTruthfully,
        Self::CloseReportsWhatItCouldNotDeliver,
    ];

    /// The laws that need a [transactional transport](crate::Fixture::open_transactional).
    pub const OF_TRANSACTIONS: &[Self] =
        &[Self::ACloseAbortsAnOpenTransaction, Self::DroppingTheLastHandleAbortsAnOpenTransaction];

    /// Runs the law as a test. [`law_tests!`](crate::law_tests) calls it.
    ///
    /// # Panics
    ///
    /// If the law is broken, if it cannot run and the fixture does not [list](Fixture::not_applicable) it, or if it is
    /// listed and can run.
    pub async fn assert<F: Fixture>(self, fixture: &F) {
        match self.verdict(self.run(fixture).await, fixture) {
            Verdict::Kept => {}
            Verdict::NotApplicable(why) => {
                // Past the test harness's capture, because a test that passes shows nothing.
                let _ = writeln!(std::io::stderr(), "*** NOT APPLICABLE: {self}: {why}");
            }
            Verdict::Broken(text) => panic!("{text}"),
        }
    }
}

/// Prints the [name](Law::name).
impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
