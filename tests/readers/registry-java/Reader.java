// What a Java consumer has: Kafka's own client, and Apicurio's AvroKafkaDeserializer or, with `--client confluent`, Confluent's
// registry client. The arguments and the lines that go out are those of ../registry.py; run as a single source file, with
// the jars of pom.xml as its class path.

import io.apicurio.registry.serde.avro.AvroKafkaDeserializer;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;
// As Flink's connector carries it.
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.client.CachedSchemaRegistryClient;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.client.rest.exceptions.RestClientException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

public class Reader {
    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (int i = 0; i + 1 < arguments.length; i += 2) {
            options.put(arguments[i], arguments[i + 1]);
        }
        int count = Integer.parseInt(options.get("--until-count"));
        long deadline = System.currentTimeMillis() + 60_000;
        Map<String, Object> config = Map.of(
            "bootstrap.servers", options.get("--brokers"),
            "enable.auto.commit", "false",
            "auto.offset.reset", "earliest",
            "isolation.level", "read_committed",
            // The registry's own API stands beside Confluent's; its content ids are the latter's schema ids.
            "apicurio.registry.url", options.get("--registry").replace("ccompat/v7", "registry/v3"),
            "apicurio.registry.use-id", "contentId");
        try (var consumer = new KafkaConsumer<String, GenericRecord>(
                config, new StringDeserializer(),
                "confluent".equals(options.get("--client")) ? confluent(options.get("--registry")) : apicurio(config))) {
            List<TopicPartition> places = new ArrayList<>();
            consumer.listTopics().forEach((topic, partitions) -> {
                if (topic.startsWith(options.get("--topic-prefix") + ".")) {
                    partitions.forEach(partition -> places.add(new TopicPartition(topic, partition.partition())));
                }
            });
            consumer.assign(places);
            consumer.seekToBeginning(places);
            int seen = 0;
            while (seen < count) {
                if (System.currentTimeMillis() > deadline) {
                    System.err.println("Reader.java: the time is over after " + seen + " messages");
                    System.exit(4);
                }
                for (ConsumerRecord<String, GenericRecord> message : consumer.poll(Duration.ofMillis(100))) {
                    System.out.println("{\"topic\":" + quote(message.topic()) + ",\"partition\":" + message.partition()
                        + ",\"key\":" + quote(message.key()) + ",\"value\":" + json(message.value()) + "}");
                    seen++;
                }
            }
        }
        System.exit(0);
    }

    // What Confluent's KafkaAvroDeserializer does and Kafka Connect's converter asks beyond it, by the same client: the two
    // themselves are not in Maven Central.
    private static Deserializer<GenericRecord> confluent(String url) {
        var client = new CachedSchemaRegistryClient(url, 1000);
        return (topic, value) -> {
            var bytes = ByteBuffer.wrap(value);
            if (bytes.get() != 0) {
                throw new SerializationException("Unknown magic byte!");
            }
            String subject = topic + "-value";
            try {
                var parsed = client.getSchemaBySubjectAndId(subject, bytes.getInt());
                if (client.getVersion(subject, parsed) != client.getLatestSchemaMetadata(subject).getVersion()) {
                    throw new SerializationException("not the version that is written: " + subject);
                }
                Schema schema = new Schema.Parser().parse(parsed.canonicalString());
                var decoder = DecoderFactory.get().binaryDecoder(value, bytes.position(), bytes.remaining(), null);
                return new GenericDatumReader<GenericRecord>(schema).read(null, decoder);
            } catch (IOException | RestClientException problem) {
                throw new SerializationException(problem);
            }
        };
    }

    private static AvroKafkaDeserializer<GenericRecord> apicurio(Map<String, Object> config) {
        var deserializer = new AvroKafkaDeserializer<GenericRecord>();
        deserializer.configure(config, false);
        return deserializer;
    }

    private static String json(Object value) {
        List<String> parts = new ArrayList<>();
        if (value instanceof GenericRecord record) {
            record.getSchema().getFields().forEach(
                field -> parts.add(quote(field.name()) + ":" + json(record.get(field.pos()))));
            return "{" + String.join(",", parts) + "}";
        }
        if (value instanceof Map<?, ?> map) {
            map.forEach((name, entry) -> parts.add(quote(name.toString()) + ":" + json(entry)));
            return "{" + String.join(",", parts) + "}";
        }
        if (value instanceof Iterable<?> list) {
            list.forEach(item -> parts.add(json(item)));
            return "[" + String.join(",", parts) + "]";
        }
        if (value instanceof java.time.Instant instant) {
            return Long.toString(instant.toEpochMilli());
        }
        return value == null || value instanceof Number || value instanceof Boolean
            ? String.valueOf(value) : quote(value.toString());
    }

    private static String quote(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        text.chars().forEach(c -> {
            if (c < ' ' || c == '"' || c == '\\') {
                quoted.append(String.format("\\u%04x", c));
            } else {
                quoted.append((char) c);
            }
        });
        return quoted.append('"').toString();
    }
}
