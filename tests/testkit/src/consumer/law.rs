use std::fmt;
use std::io::Write as _;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use super::ConsumerFixture;
use crate::laws::{Applied, text_of};
use crate::{NotApplicable, Verdict};

macro_rules! define {
    ([] $(($variant:ident $law:ident $demand:literal))*) => {
        /// A law of a consumer, by name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum ConsumerLaw {
            $(
                #[doc = concat!("Demands: ", $demand, ".")]
                $variant,
            )*
        }

        impl ConsumerLaw {
            /// All laws.
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

            /// Runs the law. It panics if the consumer breaks it.
            ///
            /// # Errors
            ///
            /// [`NotApplicable`], if it cannot run for this transport.
            pub async fn run<F: ConsumerFixture>(self, fixture: &F) -> Applied {
                match self {
                    $(Self::$variant => super::laws::$law(fixture).await,)*
                }
            }
        }
    };
}

crate::__with_consumer_laws!(define []);

impl ConsumerLaw {
    /// The laws that need aborted transactions.
    pub const OF_TRANSACTIONS: &[Self] = &[Self::PositionsAreTrue, Self::ASeekContinuesAtItsTarget];

    /// The laws that need rebalances on command.
    pub const OF_REBALANCES: &[Self] = &[Self::NothingOfAReleasedPartitionPasses, Self::AReleaseIsAnAnswer];

    /// Runs the law and returns the verdict, also where it is broken. The panic hook runs.
    pub async fn judge<F: ConsumerFixture>(self, fixture: &F) -> Verdict {
        let run = AssertUnwindSafe(self.run(fixture)).catch_unwind().await;
        match run {
            Err(panic) => Verdict::Broken(text_of(&*panic)),
            Ok(applied) => self.verdict(applied, fixture),
        }
    }

    fn verdict<F: ConsumerFixture>(self, applied: Result<(), NotApplicable>, fixture: &F) -> Verdict {
        match (applied, fixture.not_applicable().contains(&self)) {
            (Ok(()), false) => Verdict::Kept,
            (Err(why), true) => Verdict::NotApplicable(why),
            (Err(why), false) => Verdict::Broken(format!(
                "the law `{self}` cannot run: {why}. If that is right, list the law in `ConsumerFixture::not_applicable`"
            )),
            (Ok(()), true) => Verdict::Broken(format!(
                "the law `{self}` is kept, but the fixture lists it as not applicable: remove it from \
                 `ConsumerFixture::not_applicable`"
            )),
        }
    }

    /// Runs the law as a test. [`consumer_law_tests!`](crate::consumer_law_tests) calls it.
    ///
    /// # Panics
    ///
    /// If the law is broken, if it cannot run and the fixture does not [list](ConsumerFixture::not_applicable) it, or if
    /// it is listed and can run.
    pub async fn assert<F: ConsumerFixture>(self, fixture: &F) {
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

/// Prints the [name](ConsumerLaw::name).
impl fmt::Display for ConsumerLaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
