//! What `#[kafka(…)]` says of a type, of a field and of a variant.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::meta::ParseNestedMeta;
use syn::{Attribute, DeriveInput, Error, LitStr, Path, Result, Variant, parse_quote};

/// Maximum length of a topic name in Kafka, in bytes.
const MAX_TOPIC_NAME: usize = 249;

/// Attributes of the type.
pub(crate) struct OfType {
    /// An expression of the type `&'static str`.
    pub(crate) topic: Option<TokenStream>,
    /// A function that returns the key of a reference to the value.
    pub(crate) key_from: Option<Path>,
    /// Path of the package `kafka-tower`.
    pub(crate) root: Path,
}

impl OfType {
    pub(crate) fn parse(input: &DeriveInput) -> Result<Self> {
        let (mut topic, mut key_from, mut root) = (None, None, None);
        for attribute in of_kafka(&input.attrs) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("topic") {
                    set(&mut topic, &meta, parse_topic(&meta)?)
                } else if meta.path.is_ident("key_from") {
                    set(&mut key_from, &meta, meta.value()?.parse()?)
                } else if meta.path.is_ident("crate") {
                    set(&mut root, &meta, meta.value()?.call(Path::parse_mod_style)?)
                } else if meta.path.is_ident("key") {
                    Err(meta.error("`key` belongs to a field; the type takes `key_from = path`, a function of `&Self`"))
                } else {
                    Err(meta.error("unknown attribute: the type takes `topic`, `key_from` and `crate`"))
                }
            })?;
        }
        Ok(Self { topic, key_from, root: root.unwrap_or_else(|| parse_quote!(::kafka_tower)) })
    }
}

/// Whether a field is marked as the key.
pub(crate) fn is_key(attributes: &[Attribute]) -> Result<bool> {
    let mut key = None;
    for attribute in of_kafka(attributes) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("key") {
                set(&mut key, &meta, ())
            } else if ["topic", "key_from", "crate"].iter().any(|name| meta.path.is_ident(name)) {
                Err(meta.error("this attribute belongs to the type; a field takes `key`"))
            } else {
                Err(meta.error("unknown attribute: a field takes `key`"))
            }
        })?;
    }
    Ok(key.is_some())
}

/// A variant has no attributes of its own.
pub(crate) fn check_variant(variant: &Variant) -> Result<()> {
    let text = "a variant takes no attribute: mark one of its fields with `#[kafka(key)]`";
    of_kafka(&variant.attrs).next().map_or(Ok(()), |attribute| Err(Error::new_spanned(attribute, text)))
}

fn of_kafka(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes.iter().filter(|attribute| attribute.path().is_ident("kafka"))
}

fn set<V>(place: &mut Option<V>, meta: &ParseNestedMeta<'_>, value: V) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::new_spanned(&meta.path, "this attribute is here twice")),
    }
}

/// A string that is a topic's name, or the path of a constant.
fn parse_topic(meta: &ParseNestedMeta<'_>) -> Result<TokenStream> {
    let value = meta.value()?;
    if value.peek(LitStr) {
        let name: LitStr = value.parse()?;
        return match fault(&name.value()) {
            Some(fault) => Err(Error::new_spanned(name, format!("not a topic name: {fault}"))),
            None => Ok(name.into_token_stream()),
        };
    }
    let constant = value.parse::<Path>();
    constant.map(Path::into_token_stream).map_err(|_| value.error("expected a string, or the path of a constant"))
}

/// What is wrong with a topic's name by Kafka's rule, which the sink checks too.
fn fault(name: &str) -> Option<String> {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() {
        Some("it is empty".to_owned())
    } else if name.len() > MAX_TOPIC_NAME {
        Some(format!("it has {} characters, and Kafka allows {MAX_TOPIC_NAME}", name.chars().count()))
    } else if matches!(name, "." | "..") {
        Some("Kafka reserves it".to_owned())
    } else {
        let odd = name.chars().find(|c| !allowed(c))?;
        Some(format!("it contains the character {odd:?}; Kafka allows letters, digits, '.', '_' and '-'"))
    }
}
