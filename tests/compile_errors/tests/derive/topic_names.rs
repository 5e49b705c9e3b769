use kafka_tower::KafkaMessage;

#[derive(KafkaMessage)]
#[kafka(topic = "orders of today")]
struct Character;

#[derive(KafkaMessage)]
#[kafka(topic = "")]
struct Empty;

#[derive(KafkaMessage)]
#[kafka(topic = "..")]
struct Reserved;

#[derive(KafkaMessage)]
#[kafka(topic = 7)]
struct Number;

#[derive(KafkaMessage)]
#[kafka(topic = "orders", topic = "payments")]
struct Two;

fn main() {}
