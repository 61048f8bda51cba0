// Posts three callbacks with the JDK's own client, which requests an upgrade to HTTP/2 in clear text each time.
import java.net.URI;
import java.net.http.*;

public class Posts {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int index = 0; index < 3; index++) {
            String body = "{\"GroupId\":\"g\",\"Name\":\"" + "n".repeat(100000) + "\"}";
            HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0]))
                .POST(HttpRequest.BodyPublishers.ofString(body)).build();
            HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.version() + " " + answer.body());
        }
    }
}
