use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// One header: a name and a value, which Kafka allows to be null.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    /// The name.
    pub key: Cow<'static, str>,
    /// The value; `None` is Kafka's null.
    pub value: Option<Bytes>,
}

/// Names and sizes only: values may be secret.
impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}: {} bytes", self.key, value.len()),
            None => write!(f, "{}: null", self.key),
        }
    }
}

/// The headers of a record, in order; names may repeat, as in Kafka. A clone costs one count.
///
/// ```
/// use kafka_tower_core::Headers;
///
/// let mut headers = Headers::new();
/// headers.push("region", "us-east-1");
/// headers.push("region", "eu-west-1");
/// assert_eq!(headers.get("region").map(|v| v.as_ref()), Some(&b"eu-west-1"[..]), "the last one counts");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Option<Arc<Vec<Header>>>);

impl Headers {
    /// No headers; allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    /// Adds a header behind the others.
    pub fn push(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) {
        self.push_header(Header { key: key.into(), value: Some(value.into()) });
    }

    /// Adds a header whose value is Kafka's null.
    pub fn push_null(&mut self, key: impl Into<Cow<'static, str>>) {
        self.push_header(Header { key: key.into(), value: None });
    }

    fn push_header(&mut self, header: Header) {
        Arc::make_mut(self.0.get_or_insert_default()).push(header);
    }

    /// Sets a header: what stood under the name before is gone.
    pub fn insert(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) {
        let key = key.into();
        self.remove(&key);
        self.push(key, value);
    }

    /// Takes out all headers of the name; says whether there were any.
    pub fn remove(&mut self, key: &str) -> bool {
        if !self.contains(key) {
            return false;
        }
        if let Some(headers) = &mut self.0 {
            Arc::make_mut(headers).retain(|h| h.key != key);
        }
        true
    }

    /// Whether there is a header of the name.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.iter().any(|h| h.key == key)
    }

    /// The value of the last header of the name, Kafka's rule for names that repeat. A null value is `None`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Bytes> {
        self.as_slice().iter().rev().find(|h| h.key == key)?.value.as_ref()
    }

    /// All headers in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Header> {
        self.as_slice().iter()
    }

    /// All headers in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Header] {
        self.0.as_ref().map_or(&[], |headers| headers.as_slice())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Bytes of all names and values.
    #[must_use]
    pub fn size(&self) -> usize {
        self.iter().map(|h| h.key.len() + h.value.as_ref().map_or(0, Bytes::len)).sum()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = &'a Header;
    type IntoIter = std::slice::Iter<'a, Header>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Header> for Headers {
    fn from_iter<I: IntoIterator<Item = Header>>(iter: I) -> Self {
        let headers: Vec<_> = iter.into_iter().collect();
        if headers.is_empty() { Self::new() } else { Self(Some(Arc::new(headers))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_is_not_touched_by_later_headers() {
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
