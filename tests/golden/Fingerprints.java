// Prints, for every schema of a folder, what Java says: the file, the CRC-64-AVRO as a long, the eight bytes as they
// stand in the single-object header (hex), and the SHA-256 of the Parsing Canonical Form.
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.*;
import java.util.HexFormat;
import org.apache.avro.*;

class Fingerprints {
    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]);
        try (var files = Files.walk(folder)) {
            for (Path file : files.filter(path -> path.toString().endsWith(".avsc")).sorted().toList()) {
                Schema schema = new Schema.Parser().parse(Files.readString(file));
                long crc = SchemaNormalization.parsingFingerprint64(schema);
                byte[] header = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(crc).array();
                byte[] sha = SchemaNormalization.parsingFingerprint("SHA-256", schema);
                String name = folder.relativize(file).toString().replace(".avsc", "");
                HexFormat hex = HexFormat.of();
                System.out.println(name + " " + crc + " " + hex.formatHex(header) + " " + hex.formatHex(sha));
            }
        }
    }
}
