//! Makes the implementation.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Error, Generics, Path, Result, parse_quote};

use crate::attributes::OfType;
use crate::key::{self, KeyField};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let OfType { topic, key_from, root } = OfType::parse(input)?;
    let fields = key::find(&input.data)?;
    let key = match (&key_from, fields.first()) {
        (Some(path), Some(_)) => {
            return Err(Error::new_spanned(path, "a field is marked with `#[kafka(key)]`: only one can make the key"));
        }
        // The errors about the key's type are shown at the function's path.
        (Some(path), None) => {
            Some(quote_spanned!(path.span()=> #root::__derive::OptionalKey::optional_key(#path(self))))
        }
        (None, Some(_)) => Some(of_fields(&fields, &root)),
        (None, None) if topic.is_none() => return Err(says_nothing(input)),
        (None, None) => None,
    };
    let topic = topic.map(|topic| quote!(const TOPIC: &'static str = #topic;));
    let key = key.map(|key| {
        quote! {
            fn message_key(&self) -> ::core::option::Option<#root::__derive::KeyBytes> {
                #key
            }
        }
    });
    let (name, generics) = (&input.ident, bounded(&input.generics, &fields, &root));
    let (parameters, arguments, bounds) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #parameters #root::KafkaMessage for #name #arguments #bounds {
            #topic
            #key
        }
    })
}

/// Reads the key from the field that is one.
fn of_fields(fields: &[KeyField<'_>], root: &Path) -> TokenStream {
    let arms = fields.iter().map(|KeyField { variant, member, kind }| {
        let variant = variant.map(|variant| quote!(::#variant));
        // An error about a type that is no key is shown at the type.
        let key = quote_spanned!(kind.span()=> #root::__derive::OptionalKey::optional_key(key));
        quote!(Self #variant { #member: key, .. } => #key,)
    });
    quote!(match self { #(#arms)* })
}

/// The generics of the type. A key whose type has a parameter must be a key for each argument.
fn bounded(generics: &Generics, fields: &[KeyField<'_>], root: &Path) -> Generics {
    let mut bounded = generics.clone();
    let parameters: Vec<_> = generics.type_params().map(|parameter| parameter.ident.to_string()).collect();
    let generic = fields.iter().filter(|field| mentions(field.kind.to_token_stream(), &parameters));
    for KeyField { kind, .. } in generic {
        let bound = parse_quote!(for<'__key> &'__key #kind: #root::__derive::OptionalKey);
        bounded.make_where_clause().predicates.push(bound);
    }
    bounded
}

fn mentions(tokens: TokenStream, names: &[String]) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => names.contains(&ident.to_string()),
        TokenTree::Group(group) => mentions(group.stream(), names),
        _ => false,
    })
}

fn says_nothing(input: &DeriveInput) -> Error {
    Error::new_spanned(
        &input.ident,
        "neither a topic nor a key: add `#[kafka(topic = \"name\")]` to the type, or `#[kafka(key)]` to a field",
    )
}
