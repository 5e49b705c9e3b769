use kafka_tower::KafkaMessage;

#[derive(KafkaMessage)]
#[kafka(topic = "events")]
enum Event {
    Created {
        #[kafka(key)]
        id: u64,
    },
    Cleared,
}

fn main() {}
