use kafka_tower::{KafkaClient, SinkMessage};

#[derive(serde::Serialize)]
struct Order {
    id: u64,
}

fn sinks(client: KafkaClient) {
    let _ = client.sink_of::<Order>();
    let _ = client.sink::<Order>("orders").of_type();
}

fn main() {
    let _ = SinkMessage::of(Order { id: 7 });
}
