import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.SimpleRecord;

/**
 * `write DIR` writes the record batches beside this file. `read DIR` reads batches that others wrote, and fails if their records
 * differ: NAME-large.bin have the large ones, all others the small ones.
 */
class Golden {
    static final long TIME = 1_700_000_000_000L;

    public static void main(String[] args) throws Exception {
        Path dir = Path.of(args[1]);
        if (args[0].equals("write")) {
            write(dir);
        } else {
            try (var files = Files.list(dir)) {
                for (Path file : files.sorted().toList()) {
                    read(file);
                }
            }
        }
    }

    static void write(Path dir) throws Exception {
        SimpleRecord[] small = small(), large = large();
        put(dir, "plain.bin", MemoryRecords.withRecords(Compression.NONE, small));
        put(dir, "idempotent.bin", MemoryRecords.withIdempotentRecords(Compression.NONE, 4711, (short) 3, 17, small));
        put(dir, "transactional.bin", MemoryRecords.withTransactionalRecords(Compression.NONE, 4711, (short) 3, 17, small));
        for (CompressionType type : List.of(CompressionType.GZIP, CompressionType.SNAPPY, CompressionType.LZ4, CompressionType.ZSTD)) {
            Compression codec = Compression.of(type).build();
            put(dir, type.name + ".bin", MemoryRecords.withIdempotentRecords(codec, 4711, (short) 3, 17, small));
            put(dir, type.name + "-large.bin", MemoryRecords.withIdempotentRecords(codec, 4711, (short) 3, 17, large));
        }
        put(dir, "append_time.bin", appendTime(small));
        put(dir, "marker.bin", MemoryRecords.withEndTransactionMarker(
            42, TIME, 7, 4711, (short) 3, new EndTransactionMarker(ControlRecordType.COMMIT, 9)));
    }

    static MemoryRecords appendTime(SimpleRecord[] records) {
        MemoryRecordsBuilder builder = MemoryRecords.builder(
            ByteBuffer.allocate(1 << 16), RecordBatch.CURRENT_MAGIC_VALUE, Compression.NONE, TimestampType.LOG_APPEND_TIME, 100, TIME + 9);
        for (SimpleRecord record : records) {
            builder.append(record);
        }
        return builder.build();
    }

    static SimpleRecord[] small() {
        byte[] value = new byte[8192];
        for (int i = 0; i < value.length; i++) {
            value[i] = (byte) (i * 7);
        }
        byte[] all = new byte[256];
        for (int i = 0; i < all.length; i++) {
            all[i] = (byte) i;
        }
        byte[] key = new byte[64];
        Arrays.fill(key, (byte) 'k');
        Header[] none = {};
        Header[] one = {new RecordHeader("h", text("1"))};
        Header[] many = {
            new RecordHeader("", text("")), new RecordHeader("null", (byte[]) null), new RecordHeader("again", text("1")),
            new RecordHeader("again", text("2")), new RecordHeader("\u00fc\ud83d\ude00", all),
        };
        return new SimpleRecord[] {
            new SimpleRecord(TIME, text("key"), text("value"), one), new SimpleRecord(TIME + 5, null, (byte[]) null, none),
            new SimpleRecord(TIME - 3, text(""), text(""), many), new SimpleRecord(TIME + (1L << 40), key, value, none),
        };
    }

    static SimpleRecord[] large() {
        List<SimpleRecord> records = new ArrayList<>();
        for (int i = 0; i < 60; i++) {
            byte[] value = new byte[10_000];
            for (int j = 0; j < value.length; j++) {
                value[j] = (byte) (i + j / 100);
            }
            records.add(new SimpleRecord(TIME + i, text("" + i), value));
        }
        return records.toArray(new SimpleRecord[0]);
    }

    static byte[] text(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static void put(Path dir, String name, MemoryRecords records) throws Exception {
        ByteBuffer buffer = records.buffer();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        Files.write(dir.resolve(name), bytes);
    }

    static void read(Path file) throws Exception {
        SimpleRecord[] expected = file.toString().endsWith("-large.bin") ? large() : small();
        List<SimpleRecord> found = new ArrayList<>();
        List<String> codecs = new ArrayList<>();
        for (RecordBatch batch : MemoryRecords.readableRecords(ByteBuffer.wrap(Files.readAllBytes(file))).batches()) {
            batch.ensureValid();
            codecs.add(batch.compressionType() + " by " + batch.producerId() + "/" + batch.producerEpoch() + "/" + batch.baseSequence());
            for (Record record : batch) {
                record.ensureValid();
                found.add(new SimpleRecord(record));
            }
        }
        if (!found.equals(Arrays.asList(expected))) {
            throw new AssertionError(file + ": other records than expected");
        }
        System.out.println(file.getFileName() + ": " + found.size() + " records, " + codecs);
    }
}
