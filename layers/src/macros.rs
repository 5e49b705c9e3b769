/// Accessor methods for the inner service of a layer's service (field `inner: S`). The argument is an additional sentence for the
/// documentation of `get_mut`.
macro_rules! inner_service {
    ($($note:literal)?) => {
        /// The service below.
        pub fn get_ref(&self) -> &S {
            &self.inner
        }

        /// The service below, mutable.
        $(#[doc = $note])?
        pub fn get_mut(&mut self) -> &mut S {
            &mut self.inner
        }

        /// Returns the service below.
        pub fn into_inner(self) -> S {
            self.inner
        }
    };
}
