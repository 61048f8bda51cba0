import java.util.Map;
import org.apache.kafka.common.errors.PolicyViolationException;
import org.apache.kafka.server.policy.CreateTopicPolicy;

/** Refuses topics whose messages may be larger than 4 MiB, as providers of Kafka do. */
public class LargestMessage implements CreateTopicPolicy {
    private static final int MOST = 4 * 1024 * 1024;

    @Override
    public void configure(Map<String, ?> settings) {}

    @Override
    public void validate(RequestMetadata request) {
        String wanted = request.configs().get("max.message.bytes");
        if (wanted != null && Integer.parseInt(wanted) > MOST) {
            throw new PolicyViolationException("max.message.bytes = " + wanted + " exceeded the most of " + MOST);
        }
    }

    @Override
    public void close() {}
}
