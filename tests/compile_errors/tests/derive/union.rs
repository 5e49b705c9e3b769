use kafka_tower::KafkaMessage;

#[derive(KafkaMessage)]
#[kafka(topic = "bits")]
union Bits {
    int: u32,
    float: f32,
}

fn main() {}
