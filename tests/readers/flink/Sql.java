// Flink in one process: runs the statements of a file, each ending in a semicolon and a line's end, and prints the rows that they give, one a line.
// Run as a single source file, with the jars of pom.xml as its class path.

import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.ResultKind;
import org.apache.flink.table.api.TableEnvironment;

public class Sql {
    public static void main(String[] arguments) throws Exception {
        var flink = TableEnvironment.create(EnvironmentSettings.inStreamingMode());
        for (String statement : Files.readString(Path.of(arguments[0])).split(";\\s*\n")) {
            if (statement.isBlank()) {
                continue;
            }
            var result = flink.executeSql(statement);
            if (result.getResultKind() == ResultKind.SUCCESS_WITH_CONTENT) {
                result.collect().forEachRemaining(System.out::println);
            }
        }
        System.exit(0);
    }
}
