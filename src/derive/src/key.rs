//! Finds the fields that are keys.

use syn::{Data, DataEnum, Error, Field, Fields, Ident, Member, Result, Type};

use crate::attributes;

/// A field that is the key.
pub(crate) struct KeyField<'a> {
    /// Of an enum.
    pub(crate) variant: Option<&'a Ident>,
    pub(crate) member: Member,
    pub(crate) kind: &'a Type,
}

/// The key of a struct, or of each variant of an enum. None without a key.
pub(crate) fn find(data: &Data) -> Result<Vec<KeyField<'_>>> {
    match data {
        Data::Struct(data) => Ok(of_fields(&data.fields, None)?.into_iter().collect()),
        Data::Enum(data) => of_variants(data),
        Data::Union(data) => Err(Error::new_spanned(data.union_token, "a union is no `KafkaMessage`")),
    }
}

fn of_variants(data: &DataEnum) -> Result<Vec<KeyField<'_>>> {
    let (mut keys, mut without) = (Vec::new(), None);
    for variant in &data.variants {
        attributes::check_variant(variant)?;
        match of_fields(&variant.fields, Some(&variant.ident))? {
            Some(key) => keys.push(key),
            None => without = without.or(Some(&variant.ident)),
        }
    }
    match without {
        Some(variant) if !keys.is_empty() => Err(Error::new_spanned(
            variant,
            "this variant has no key, and others have one: mark one of its fields with `#[kafka(key)]`, or name a function for \
             all variants with `#[kafka(key_from = path)]` on the type; it may return an `Option`",
        )),
        _ => Ok(keys),
    }
}

fn of_fields<'a>(fields: &'a Fields, variant: Option<&'a Ident>) -> Result<Option<KeyField<'a>>> {
    let mut key = None;
    for (field, member) in fields.iter().zip(fields.members()) {
        if !attributes::is_key(&field.attrs)? {
            continue;
        }
        if key.is_some() {
            return Err(second(field));
        }
        key = Some(KeyField { variant, member, kind: &field.ty });
    }
    Ok(key)
}

fn second(field: &Field) -> Error {
    Error::new_spanned(
        field,
        "a second key: make one key of several fields with a function, `#[kafka(key_from = path)]` on the type",
    )
}
