// In the place of Confluent's AvroConverter, which Maven Central does not have: a record as Connect has it, by the schema that a registry
// has for its id. Types become what they become there.

import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URI;
import java.nio.ByteBuffer;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.data.SchemaBuilder;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.data.Timestamp;
import org.apache.kafka.connect.storage.Converter;

public class ByRegistry implements Converter {
    private final Map<Integer, org.apache.avro.Schema> written = new HashMap<>();
    private final Map<Integer, Schema> schemas = new HashMap<>();
    private String registry;

    @Override
    public void configure(Map<String, ?> settings, boolean isKey) {
        registry = (String) settings.get("schema.registry.url");
    }

    @Override
    public byte[] fromConnectData(String topic, Schema schema, Object value) {
        throw new UnsupportedOperationException("this one reads");
    }

    @Override
    public SchemaAndValue toConnectData(String topic, byte[] value) {
        int id = ByteBuffer.wrap(value).getInt(1);
        try {
            if (!schemas.containsKey(id)) {
                var answer = new ObjectMapper().readTree(URI.create(registry + "/schemas/ids/" + id).toURL().openStream());
                written.put(id, new org.apache.avro.Schema.Parser().parse(answer.get("schema").asText()));
                schemas.put(id, schema(written.get(id)).build());
            }
            var decoder = DecoderFactory.get().binaryDecoder(value, 5, value.length - 5, null);
            var record = new GenericDatumReader<GenericRecord>(written.get(id)).read(null, decoder);
            return new SchemaAndValue(schemas.get(id), data(schemas.get(id), record));
        } catch (java.io.IOException cause) {
            throw new java.io.UncheckedIOException(cause);
        }
    }

    private static SchemaBuilder schema(org.apache.avro.Schema avro) {
        if (avro.getLogicalType() != null) {
            return Timestamp.builder();
        }
        switch (avro.getType()) {
            case UNION:
                return schema(avro.getTypes().get(1)).optional();
            case RECORD:
                var record = SchemaBuilder.struct().name(avro.getFullName());
                avro.getFields().forEach(field -> record.field(field.name(), schema(field.schema()).build()));
                return record;
            case ARRAY:
                return SchemaBuilder.array(schema(avro.getElementType()).build());
            case MAP:
                return SchemaBuilder.map(Schema.STRING_SCHEMA, schema(avro.getValueType()).build());
            case LONG:
                return SchemaBuilder.int64();
            case INT:
                return SchemaBuilder.int32();
            case DOUBLE:
                return SchemaBuilder.float64();
            case BOOLEAN:
                return SchemaBuilder.bool();
            default:
                return SchemaBuilder.string();
        }
    }

    private static Object data(Schema schema, Object value) {
        if (value == null) {
            return null;
        }
        if (Timestamp.LOGICAL_NAME.equals(schema.name())) {
            return new Date((Long) value);
        }
        switch (schema.type()) {
            case STRUCT:
                var struct = new Struct(schema);
                schema.fields().forEach(field -> struct.put(field, data(field.schema(), ((GenericRecord) value).get(field.name()))));
                return struct;
            case ARRAY:
                return ((List<?>) value).stream().map(item -> data(schema.valueSchema(), item)).toList();
            case MAP:
                var map = new HashMap<String, Object>();
                ((Map<?, ?>) value).forEach((name, item) -> map.put(name.toString(), data(schema.valueSchema(), item)));
                return map;
            case STRING:
                return value.toString();
            default:
                return value;
        }
    }
}
