// The program of the classic tutorials: code → openid, appid and secret → access_token, message.
// It knows nothing of Hongyan. Between WeChat, the sandbox and the gateway only the host and the
// secret change:
//
//   WECHAT_HOST    https://api.weixin.qq.com, or http://127.0.0.1:8422 (sandbox), or http://127.0.0.1:8421 (gateway)
//   WECHAT_SECRET  the AppSecret, or at the gateway a gateway key
//
//   WECHAT_APPID=… WECHAT_CODE=… WECHAT_TEMPLATE=… java Tutorial.java [--minutes-for-months]
//
// The template has the keys thing1, time2 and thing3, in the sandbox that of title 5033 with the
// keywords 1, 2 and 3. WECHAT_CODE comes from wx.login in the mini program.

import java.io.PrintStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

public class Tutorial {
    static final String HOST = System.getenv().getOrDefault("WECHAT_HOST", "https://api.weixin.qq.com");
    static final String APPID = System.getenv("WECHAT_APPID");
    static final String SECRET = System.getenv("WECHAT_SECRET");
    static final HttpClient HTTP = HttpClient.newHttpClient();

    public static void main(String[] args) throws Exception {
        // mm are the minutes and MM is the month: "yyyy-mm-dd HH:mm" makes 2022-56-23 of this day.
        boolean mistake = Arrays.asList(args).contains("--minutes-for-months");
        DateTimeFormatter format = DateTimeFormatter.ofPattern(mistake ? "yyyy-mm-dd HH:mm" : "yyyy-MM-dd HH:mm");
        String time = LocalDateTime.of(2022, 3, 23, 19, 56).format(format);

        String session = get("/sns/jscode2session?appid=" + APPID + "&secret=" + SECRET
                + "&js_code=" + System.getenv("WECHAT_CODE") + "&grant_type=authorization_code");
        String token = get("/cgi-bin/token?grant_type=client_credential&appid=" + APPID + "&secret=" + SECRET);
        String answer = post("/cgi-bin/message/subscribe/send?access_token=" + field(token, "access_token"),
                "{\"touser\":\"" + field(session, "openid") + "\",\"template_id\":\"" + System.getenv("WECHAT_TEMPLATE") + "\","
                + "\"data\":{\"thing1\":{\"value\":\"春日音乐会\"},\"time2\":{\"value\":\"" + time + "\"},\"thing3\":{\"value\":\"北门检票口\"}}}");
        new PrintStream(System.out, true, StandardCharsets.UTF_8).println(answer);
        if (!answer.contains("\"errcode\":0")) System.exit(1);
    }

    static String get(String path) throws Exception {
        return send(HttpRequest.newBuilder(URI.create(HOST + path)).GET());
    }

    static String post(String path, String body) throws Exception {
        return send(HttpRequest.newBuilder(URI.create(HOST + path)).header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(body)));
    }

    static String send(HttpRequest.Builder request) throws Exception {
        return HTTP.send(request.timeout(Duration.ofSeconds(30)).build(), HttpResponse.BodyHandlers.ofString()).body();
    }

    /** The string of this name in an answer, or the end of the program with what came instead. */
    static String field(String json, String name) {
        Matcher m = Pattern.compile("\"" + name + "\"\\s*:\\s*\"([^\"]*)\"").matcher(json);
        if (m.find()) return m.group(1);
        throw new IllegalStateException("No " + name + " in " + json);
    }
}
