//! `#[derive(KafkaMessage)]` of `kafka-tower`, which exports it with its feature `derive`: depend on that package.
#![forbid(unsafe_code)]

mod attributes;
mod expand;
mod key;

use proc_macro::TokenStream;
use syn::{DeriveInput, Error, parse_macro_input};

/// Implements `KafkaMessage`: the topic and the key of a type's messages.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kafka_tower::Result<()> {
/// use kafka_tower::memory::MemoryKafka;
/// use kafka_tower::{KafkaClient, KafkaMessage, KafkaSinkConfig, SinkMessage};
///
/// #[derive(serde::Serialize, KafkaMessage)]
/// #[kafka(topic = "orders")]
/// struct Order {
///     #[kafka(key)]
///     customer: String,
///     cents: u64,
/// }
///
/// let kafka = MemoryKafka::new().with_topic("orders", 3);
/// let client = KafkaClient::builder(KafkaSinkConfig::default()).transport(kafka.transport()).build().await?;
/// let orders = client.sink_of::<Order>().build().await?;
/// orders.send(Order { customer: "ada".into(), cents: 1_290 }).await?;
/// assert_eq!(kafka.records("orders")[0].record.key.as_deref(), Some(&b"ada"[..]));
/// # Ok(())
/// # }
/// ```
///
/// | attribute | of | effect |
/// |---|---|---|
/// | `#[kafka(topic = "orders")]` | the type | the topic: a string, whose name is checked, or the path of a constant. Without it the configuration of the sink names the topic |
/// | `#[kafka(key)]` | a field | the key: any `IntoKey` that is `Clone`, or an `Option` of one, whose `None` is a null key |
/// | `#[kafka(key_from = path)]` | the type | the key is what a function returns of `&Self`: for a key of several fields |
/// | `#[kafka(crate = path)]` | the type | the path of `kafka_tower`, if it has another name |
///
/// In an enum each variant marks a field, or none does. Generic types work: a type parameter in the key's type gets the bound
/// that it needs.
///
/// ```
/// use kafka_tower::{KafkaMessage, SinkMessage};
///
/// #[derive(KafkaMessage)]
/// #[kafka(topic = "order-events")]
/// enum OrderEvent {
///     Created { #[kafka(key)] order: u64, item: String },
///     Cancelled(#[kafka(key)] u64),
/// }
///
/// #[derive(KafkaMessage)]
/// #[kafka(topic = "stock", key_from = Self::place)]
/// struct Stock { shop: u32, shelf: u32 }
///
/// impl Stock {
///     fn place(&self) -> String {
///         format!("{}/{}", self.shop, self.shelf)
///     }
/// }
///
/// assert_eq!(SinkMessage::of(OrderEvent::Cancelled(7)).key().unwrap(), &7_u64.to_be_bytes()[..]);
/// assert_eq!(SinkMessage::of(Stock { shop: 1, shelf: 12 }).key().unwrap(), "1/12");
/// ```
#[proc_macro_derive(KafkaMessage, attributes(kafka))]
pub fn kafka_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::expand(&input).unwrap_or_else(Error::into_compile_error).into()
}
