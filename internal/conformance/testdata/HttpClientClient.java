import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** No SDK: what the JDK has. Driven over lines; see node/line.mjs. */
public class HttpClientClient {
    static final String BASE = System.getenv("WECHAT_BASE");
    static final String APPID = System.getenv("WECHAT_APPID");
    static final String SECRET = System.getenv("WECHAT_SECRET");
    static final String CREDENTIALS = "{\"grant_type\":\"client_credential\",\"appid\":\"" + APPID + "\",\"secret\":\"" + SECRET + "\"}";
    // A JDK's client asks for HTTP/2 over an upgrade of HTTP/1.1, and every server here takes that.
    static final HttpClient HTTP = HttpClient.newHttpClient();
    static String token = "";
    static boolean refreshed;

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line; (line = in.readLine()) != null; ) {
            String[] a = line.split("\t");
            refreshed = false;
            String result;
            try {
                result = "{\"returned\":" + call(a) + "}";
            } catch (Exception e) {
                result = "{\"thrown\":{\"name\":\"" + e.getClass().getName() + "\",\"message\":\"\"}}";
            }
            out.println("{\"client\":\"HttpClient\",\"operation\":\"" + a[0] + "\",\"result\":" + result + ",\"refreshed\":" + refreshed + "}");
        }
    }

    static String call(String[] a) throws Exception {
        switch (a[0]) {
            case "login":
                return get("/sns/jscode2session?grant_type=authorization_code&appid=" + APPID + "&secret=" + enc(SECRET) + "&js_code=" + enc(a[1]));
            case "token":
                return fetchToken();
            case "stable_token":
                return keep(post("/cgi-bin/stable_token", CREDENTIALS));
            case "gettemplate":
                return get("/wxaapi/newtmpl/gettemplate?access_token=" + enc(token));
            case "addtemplate":
                return post("/wxaapi/newtmpl/addtemplate?access_token=" + enc(token),
                        "{\"tid\":\"" + a[1] + "\",\"kidList\":[" + a[2] + "],\"sceneDesc\":\"" + a[3] + "\"}");
            case "send":
                return send("{\"touser\":\"" + a[1] + "\",\"template_id\":\"" + a[2] + "\",\"data\":" + a[3] + "}");
            default:
                throw new IllegalArgumentException(a[0]);
        }
    }

    static String send(String body) throws Exception {
        String answer = post("/cgi-bin/message/subscribe/send?access_token=" + enc(token), body);
        if (!answer.matches("(?s).*\"errcode\" *: *(40001|42001)\\b.*")) return answer;
        refreshed = true;
        fetchToken();
        return post("/cgi-bin/message/subscribe/send?access_token=" + enc(token), body);
    }

    static String fetchToken() throws Exception {
        return keep(get("/cgi-bin/token?grant_type=client_credential&appid=" + APPID + "&secret=" + enc(SECRET)));
    }

    static String keep(String answer) {
        Matcher m = Pattern.compile("\"access_token\" *: *\"([^\"]+)\"").matcher(answer);
        token = m.find() ? m.group(1) : "";
        return answer;
    }

    static String get(String path) throws Exception {
        return HTTP.send(request(path).build(), HttpResponse.BodyHandlers.ofString()).body();
    }

    static String post(String path, String body) throws Exception {
        HttpRequest r = request(path).header("Content-Type", "application/json").POST(HttpRequest.BodyPublishers.ofString(body)).build();
        return HTTP.send(r, HttpResponse.BodyHandlers.ofString()).body();
    }

    static HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(URI.create(BASE + path)).timeout(Duration.ofSeconds(30));
    }

    static String enc(String s) {
        return URLEncoder.encode(s, StandardCharsets.UTF_8);
    }
}
