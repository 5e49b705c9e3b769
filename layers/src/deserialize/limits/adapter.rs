//! A serde deserializer around that of a format, which counts levels and elements.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::budget::Budget;
use super::elements::Elements;

/// A deserializer, seed, visitor, enum or variant of serde, around that of a format or a type.
pub(super) struct Limited<'b, X> {
    inner: X,
    budget: &'b Budget,
    /// Number of levels around it.
    depth: usize,
    /// Whether elements are counted: those of a list or map, not those of a tuple or struct, whose number is the type's.
    counts: bool,
}

impl<'b, X> Limited<'b, X> {
    pub(super) fn new(inner: X, budget: &'b Budget) -> Self {
        Self { inner, budget, depth: 0, counts: false }
    }

    pub(super) fn inside(inner: X, budget: &'b Budget, depth: usize) -> Self {
        Self { inner, budget, depth, counts: false }
    }

    fn around<Y>(&self, inner: Y, counts: bool) -> Limited<'b, Y> {
        Limited { inner, budget: self.budget, depth: self.depth, counts }
    }
}

/// Scalars are passed on. What may contain other values gets a visitor that counts.
macro_rules! pass_on {
    ($($method:ident)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
                self.inner.$method(visitor)
            }
        )*
    };
}

macro_rules! watch {
    ($counts:literal: $($method:ident($($name:ident: $type:ty),*))*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self $(, $name: $type)*, visitor: V) -> Result<V::Value, D::Error> {
                let visitor = self.around(visitor, $counts);
                self.inner.$method($($name,)* visitor)
            }
        )*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Limited<'_, D> {
    type Error = D::Error;

    pass_on! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_string deserialize_unit deserialize_identifier
    }

    watch! {
        // Some formats also read a list of bytes as bytes.
        true: deserialize_any() deserialize_seq() deserialize_map() deserialize_bytes() deserialize_byte_buf()
            deserialize_ignored_any()
    }

    watch! {
        false: deserialize_option() deserialize_unit_struct(name: &'static str)
            deserialize_newtype_struct(name: &'static str) deserialize_tuple(len: usize)
            deserialize_tuple_struct(name: &'static str, len: usize)
            deserialize_struct(name: &'static str, fields: &'static [&'static str])
            deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Limited<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let deserializer = self.around(deserializer, false);
        self.inner.deserialize(deserializer)
    }
}

macro_rules! pass_values_on {
    ($($method:ident: $type:ty,)*) => {
        $(
            #[inline]
            fn $method<E: serde::de::Error>(self, value: $type) -> Result<V::Value, E> {
                self.inner.$method(value)
            }
        )*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Limited<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    pass_values_on! {
        visit_bool: bool,
        visit_i8: i8,
        visit_i16: i16,
        visit_i32: i32,
        visit_i64: i64,
        visit_i128: i128,
        visit_u8: u8,
        visit_u16: u16,
        visit_u32: u32,
        visit_u64: u64,
        visit_u128: u128,
        visit_f32: f32,
        visit_f64: f64,
        visit_char: char,
        visit_str: &str,
        visit_borrowed_str: &'de str,
        visit_string: String,
        visit_bytes: &[u8],
        visit_borrowed_bytes: &'de [u8],
        visit_byte_buf: Vec<u8>,
    }

    #[inline]
    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    #[inline]
    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    /// A present option is a level, because a type can contain itself through options alone.
    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let depth = self.budget.enter(self.depth).map_err(D::Error::custom)?;
        self.inner.visit_some(Limited::inside(deserializer, self.budget, depth))
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let deserializer = self.around(deserializer, false);
        self.inner.visit_newtype_struct(deserializer)
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
        let depth = self.budget.enter(self.depth).map_err(A::Error::custom)?;
        let claimed = if self.counts { list.size_hint() } else { None };
        let list = Elements::new(list, claimed, self.budget, depth, self.counts).map_err(A::Error::custom)?;
        self.inner.visit_seq(list)
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let depth = self.budget.enter(self.depth).map_err(A::Error::custom)?;
        let claimed = if self.counts { map.size_hint() } else { None };
        let map = Elements::new(map, claimed, self.budget, depth, self.counts).map_err(A::Error::custom)?;
        self.inner.visit_map(map)
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        let depth = self.budget.enter(self.depth).map_err(A::Error::custom)?;
        self.inner.visit_enum(Limited::inside(variant, self.budget, depth))
    }
}

impl<'de, 'b, A: EnumAccess<'de>> EnumAccess<'de> for Limited<'b, A> {
    type Error = A::Error;
    type Variant = Limited<'b, A::Variant>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let Self { inner, budget, depth, .. } = self;
        let (value, variant) = inner.variant_seed(Limited::inside(seed, budget, depth))?;
        Ok((value, Limited::inside(variant, budget, depth)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Limited<'_, A> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.around(seed, false);
        self.inner.newtype_variant_seed(seed)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.around(visitor, false);
        self.inner.tuple_variant(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.around(visitor, false);
        self.inner.struct_variant(fields, visitor)
    }
}
