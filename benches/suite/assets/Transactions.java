import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Sends transactions of records without a key, once before it prints "ready", and again after a line of input. */
class Transactions {
    public static void main(String[] args) throws Exception {
        String topic = args[1];
        int size = Integer.parseInt(args[3]);
        int records = Integer.parseInt(args[4]);
        int transaction = Integer.parseInt(args[5]);
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        properties.put("transactional.id", args[2]);
        properties.put("linger.ms", "0");
        properties.put("batch.size", "262144");
        byte[][] values = new byte[1024][size];
        for (int i = 0; i < values.length; i++) {
            for (int k = 0; k < size; k++) {
                values[i][k] = (byte) (k < size / 2 ? "0123456789abcdef".charAt((i * 31 + k * k * 7) & 15) : 'a' + k % 26);
            }
        }
        var serializer = new ByteArraySerializer();
        try (var producer = new KafkaProducer<byte[], byte[]>(properties, serializer, serializer)) {
            producer.initTransactions();
            send(producer, topic, values, Math.max(records, 20_000), transaction);
            System.out.println("ready");
            System.in.read();
            send(producer, topic, values, records, transaction);
            System.out.println("done");
        }
    }

    static void send(KafkaProducer<byte[], byte[]> producer, String topic, byte[][] values, int records, int transaction)
            throws Exception {
        List<Future<RecordMetadata>> open = new ArrayList<>(transaction);
        for (int i = 0; i < records; ) {
            producer.beginTransaction();
            for (int k = 0; k < transaction && i < records; k++, i++) {
                open.add(producer.send(new ProducerRecord<>(topic, values[i % values.length])));
            }
            producer.commitTransaction();
            for (Future<RecordMetadata> future : open) {
                future.get();
            }
            open.clear();
        }
    }
}
