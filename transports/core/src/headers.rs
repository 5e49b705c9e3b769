use std::borrow::Cow;
use std::fmt;
use std::slice;
use std::sync::Arc;

use bytes::Bytes;

use crate::ticket::Ticket;

/// A header: a name and a value, which may be null in Kafka.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    /// The name.
    pub key: Cow<'static, str>,
    /// The value; `None` is null.
    pub value: Option<Bytes>,
}

/// Prints names and sizes only: values may be secret.
impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}: {} bytes", self.key, value.len()),
            None => write!(f, "{}: null", self.key),
        }
    }
}

/// Headers of a record, in order. Names may repeat, as in Kafka. Cloning increments one reference count.
///
/// ```
/// use kafka_tower_core::Headers;
///
/// let mut headers = Headers::new();
/// headers.push("region", "us-east-1");
/// headers.push("region", "eu-west-1");
/// assert_eq!(headers.get("region").map(|v| v.as_ref()), Some(&b"eu-west-1"[..]), "the last one counts");
/// ```
#[derive(Clone, Default)]
pub struct Headers(Option<Arc<List>>);

/// Storage for a non-empty list. Most records have at most one header, which needs no `Vec`.
#[derive(Clone)]
enum List {
    One(Header),
    Many(Vec<Header>),
    /// The ticket of a send in a transaction, and the headers.
    Ticketed(Ticket, Headers),
}

impl List {
    fn push(&mut self, header: Header) {
        match std::mem::replace(self, Self::Many(Vec::new())) {
            Self::One(first) => {
                let mut all = Vec::with_capacity(4);
                all.extend([first, header]);
                *self = Self::Many(all);
            }
            Self::Many(mut all) => {
                all.push(header);
                *self = Self::Many(all);
            }
            Self::Ticketed(ticket, mut headers) => {
                headers.push_header(header);
                *self = Self::Ticketed(ticket, headers);
            }
        }
    }

    fn as_slice(&self) -> &[Header] {
        match self {
            Self::One(header) => slice::from_ref(header),
            Self::Many(all) => all,
            Self::Ticketed(_, headers) => headers.as_slice(),
        }
    }

    #[inline(never)] // most records have no headers
    fn size(&self) -> usize {
        self.as_slice().iter().map(|header| header.key.len() + header.value.as_ref().map_or(0, Bytes::len)).sum()
    }
}

impl Headers {
    /// Creates an empty list without allocating.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    /// Appends a header.
    pub fn push(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) {
        self.push_header(Header { key: key.into(), value: Some(value.into()) });
    }

    /// Appends a header whose value is null.
    pub fn push_null(&mut self, key: impl Into<Cow<'static, str>>) {
        self.push_header(Header { key: key.into(), value: None });
    }

    fn push_header(&mut self, header: Header) {
        match &mut self.0 {
            None => self.0 = Some(Arc::new(List::One(header))),
            Some(headers) => Arc::make_mut(headers).push(header),
        }
    }

    /// Sets a header, and removes all headers of the same name.
    pub fn insert(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) {
        let key = key.into();
        if self.0.is_some() {
            self.remove(&key);
        }
        self.push(key, value);
    }

    /// Removes all headers of a name, and returns whether there were any.
    pub fn remove(&mut self, key: &str) -> bool {
        if !self.contains(key) {
            return false;
        }
        match self.0.as_mut().map(Arc::make_mut) {
            Some(List::Ticketed(_, headers)) => return headers.remove(key),
            Some(List::Many(all)) if all.iter().any(|h| h.key != key) => all.retain(|h| h.key != key),
            // No other header is left.
            _ => self.0 = None,
        }
        true
    }

    pub(crate) fn set_ticket(&mut self, ticket: Ticket) {
        drop(self.take_ticket());
        self.0 = Some(Arc::new(List::Ticketed(ticket, std::mem::take(self))));
    }

    #[inline]
    pub(crate) fn take_ticket(&mut self) -> Option<Ticket> {
        if self.0.is_some() { self.take_ticket_of_list() } else { None }
    }

    fn take_ticket_of_list(&mut self) -> Option<Ticket> {
        let list = self.0.take_if(|list| matches!(**list, List::Ticketed(..)))?;
        let List::Ticketed(ticket, headers) = Arc::unwrap_or_clone(list) else { return None };
        *self = headers;
        Some(ticket)
    }

    /// Whether a header of this name exists.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.iter().any(|h| h.key == key)
    }

    /// The value of the last header of this name: Kafka's rule for repeated names. `None` also if the value is null.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Bytes> {
        self.as_slice().iter().rev().find(|h| h.key == key)?.value.as_ref()
    }

    /// All headers in order.
    pub fn iter(&self) -> slice::Iter<'_, Header> {
        self.as_slice().iter()
    }

    /// All headers in order.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &[Header] {
        match &self.0 {
            Some(headers) => headers.as_slice(),
            None => &[],
        }
    }

    /// Number of headers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are no headers.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|headers| headers.as_slice().is_empty())
    }

    /// Total bytes of all names and values.
    #[must_use]
    #[inline]
    pub fn size(&self) -> usize {
        self.0.as_ref().map_or(0, |headers| headers.size())
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = &'a Header;
    type IntoIter = slice::Iter<'a, Header>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Header> for Headers {
    fn from_iter<I: IntoIterator<Item = Header>>(iter: I) -> Self {
        let mut headers = Self::new();
        iter.into_iter().for_each(|header| headers.push_header(header));
        headers
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Behaves as a list of pairs, and no change affects a clone.
        #[test]
        fn headers_behave_as_a_list_of_pairs(steps in prop::collection::vec((0..4u8, 0..3usize, 0..9u8), 0..12)) {
            let (mut headers, mut model) = (Headers::new(), Vec::<(&str, u8)>::new());
            let mut clones = Vec::new();
            for (step, key, value) in steps {
                let key = ["a", "b", "c"][key];
                match step {
                    0 | 1 => headers.push(key, vec![value]),
                    2 => headers.insert(key, vec![value]),
                    _ => prop_assert_eq!(headers.remove(key), model.iter().any(|(known, _)| *known == key)),
                }
                if step > 1 {
                    model.retain(|(known, _)| *known != key);
                }
                if step < 3 {
                    model.push((key, value));
                }
                clones.push((headers.clone(), model.clone()));
            }
            clones.push((headers, model));
            for (headers, model) in clones {
                let list: Vec<_> =
                    headers.iter().map(|header| (&*header.key, header.value.as_ref().unwrap()[0])).collect();
                prop_assert_eq!(&list, &model);
                prop_assert_eq!(headers.len(), model.len());
                prop_assert_eq!(&headers.iter().cloned().collect::<Headers>(), &headers);
                prop_assert_eq!(headers == Headers::new(), model.is_empty());
            }
        }
    }

    #[test]
    fn a_clone_does_not_see_later_headers() {
        let mut first = Headers::new();
        first.push("a", "1");
        let second = first.clone();
        first.push("b", "2");
        assert_eq!((first.len(), second.len()), (2, 1));
    }

    #[test]
    fn insert_replaces_every_header_of_the_name() {
        let mut headers = Headers::new();
        headers.push("a", "1");
        headers.push("a", "2");
        headers.insert("a", "3");
        assert_eq!(headers.len(), 1);
        assert_eq!(headers.get("a"), Some(&Bytes::from("3")));
    }

    #[test]
    fn values_are_not_shown() {
        let mut headers = Headers::new();
        headers.push("token", "secret");
        assert_eq!(format!("{headers:?}"), "[token: 6 bytes]");
    }
}
