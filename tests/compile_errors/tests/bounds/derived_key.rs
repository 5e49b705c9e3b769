use kafka_tower::KafkaMessage;

struct Money(f64);

#[derive(KafkaMessage)]
struct Field {
    #[kafka(key)]
    amount: Money,
}

#[derive(KafkaMessage)]
struct Absent(#[kafka(key)] Option<Money>);

#[derive(KafkaMessage)]
#[kafka(key_from = Function::amount)]
struct Function;

impl Function {
    fn amount(&self) -> Money {
        Money(1.5)
    }
}

#[derive(KafkaMessage)]
struct Generic<K>(#[kafka(key)] K);

fn of<T: KafkaMessage>(_: T) {}

fn main() {
    of(Generic(7));
    of(Generic(Money(1.5)));
}
