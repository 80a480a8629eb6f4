// A shop's back end in Java, the JDK alone: an order comes in, its buyer logs in, a subscription
// message goes out, and a webhook tells what became of it. See ../README.md. java Shop.java

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.Base64;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public class Shop {
    static final String API = env("HONGYAN_API", "http://127.0.0.1:8420");
    static final String KEY = env("HONGYAN_API_KEY", "");
    static final String APP = env("HONGYAN_APP", "");
    static final String TEMPLATE = env("HONGYAN_TEMPLATE", "order_paid");
    static final String SECRET = env("HONGYAN_WEBHOOK_SECRET", "");
    static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    static final HttpClient HTTP = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();
    /** Ids of events; a real shop keeps them in its database. */
    static final Set<String> SEEN = ConcurrentHashMap.newKeySet();

    public static void main(String[] args) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(env("PORT", "8500"))), 0);
        server.createContext("/orders", exchange -> handle(exchange, 1 << 16, Shop::orders));
        server.createContext("/hook", exchange -> handle(exchange, 1 << 20, Shop::hook));
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.start();
        OUT.println("http://127.0.0.1:" + server.getAddress().getPort());
    }

    static String orders(HttpExchange exchange, byte[] body) throws Exception {
        try {
            return order(new String(body, StandardCharsets.UTF_8));
        } catch (Refused e) {
            throw new Answer(502, object("error", e.getMessage(), "code", e.code));
        }
    }

    static String order(String o) throws Exception {
        String login = hongyan("/v1/apps/" + APP + "/login", object("code", field(o, "code")), null);
        String number = field(o, "number");
        // All of it is the order's own. The time of the call would make a repeat another message.
        String data = object("character_string1", number, "thing2", field(o, "item"), "amount3", field(o, "amount"),
                "date4", field(o, "paid_at"), "thing11", "我们会尽快为您发货");
        String message = "{\"app\":" + quote(APP) + ",\"to\":" + quote(field(login, "openid")) + ",\"template\":" + quote(TEMPLATE)
                + ",\"data\":" + data + ",\"metadata\":" + object("order", number) + "}"; // metadata comes back with the webhook
        for (int attempt = 1; ; attempt++) {
            try {
                String sent = hongyan("/v1/messages", message, "paid-" + number);
                return object("message", field(sent, "id"), "status", field(sent, "status"));
            } catch (Refused e) {
                // The order stands all the same; the next tap on 订阅 brings a grant.
                if (e.code.equals("no_grant")) return object("status", "not_told", "reason", "no_grant");
                if (!e.retry || attempt == 3) throw e;
                Thread.sleep(1000);
            }
        }
    }

    /** Calls Hongyan. A refusal is thrown with its code. */
    static String hongyan(String path, String body, String idempotencyKey) throws Exception {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(API + path)).timeout(Duration.ofSeconds(30))
                .header("Authorization", "Bearer " + KEY).header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(body));
        if (idempotencyKey != null) request.header("Idempotency-Key", idempotencyKey);
        HttpResponse<String> answer;
        try {
            answer = HTTP.send(request.build(), HttpResponse.BodyHandlers.ofString());
        } catch (IOException e) {
            throw new Refused("unreachable", "Hongyan did not answer: " + e.getMessage(), true);
        }
        int status = answer.statusCode();
        if (status < 300) return answer.body();
        throw new Refused(field(answer.body(), "code"), field(answer.body(), "detail"), status >= 500 || status == 429);
    }

    static class Refused extends Exception {
        final String code;
        final boolean retry; // a repeat may cure it

        Refused(String code, String detail, boolean retry) {
            super(detail);
            this.code = code;
            this.retry = retry;
        }
    }

    static String hook(HttpExchange exchange, byte[] body) throws Exception {
        String id = header(exchange, "webhook-id");
        verify(SECRET, id, header(exchange, "webhook-timestamp"), header(exchange, "webhook-signature"), body);
        if (!SEEN.add(id)) return null; // at least once means that it may come twice
        String event = new String(body, StandardCharsets.UTF_8);
        String data = event.substring(Math.max(0, event.indexOf("\"data\"")));
        String metadata = data.substring(Math.max(0, data.indexOf("\"metadata\"")));
        OUT.println(field(event, "type") + " " + field(data, "id") + " order " + field(metadata, "order"));
        return null;
    }

    /** Checks a webhook over its body as it came. */
    static void verify(String secret, String id, String time, String signatures, byte[] body) throws Exception {
        if (!time.matches("\\d{1,12}") || Math.abs(System.currentTimeMillis() / 1000 - Long.parseLong(time)) > 300) {
            throw new Answer(401, object("error", "too old"));
        }
        byte[] key = Base64.getDecoder().decode(secret.replaceFirst("^whsec_", ""));
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        mac.update((id + "." + time + ".").getBytes(StandardCharsets.UTF_8));
        byte[] want = ("v1," + Base64.getEncoder().encodeToString(mac.doFinal(body))).getBytes(StandardCharsets.UTF_8);
        for (String s : signatures.split(" ")) {
            if (MessageDigest.isEqual(want, s.getBytes(StandardCharsets.UTF_8))) return;
        }
        throw new Answer(401, object("error", "wrong signature"));
    }

    interface Route {
        String answer(HttpExchange exchange, byte[] body) throws Exception;
    }

    static class Answer extends Exception {
        final int status;

        Answer(int status, String body) {
            super(body);
            this.status = status;
        }
    }

    static void handle(HttpExchange exchange, int most, Route route) throws IOException {
        int status = 200;
        String body;
        try {
            body = route.answer(exchange, exchange.getRequestBody().readNBytes(most));
        } catch (Answer e) {
            status = e.status;
            body = e.getMessage();
        } catch (Exception e) {
            status = 500;
            body = object("error", String.valueOf(e.getMessage()));
        }
        byte[] out = body == null ? new byte[0] : body.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(body == null ? 204 : status, body == null ? -1 : out.length);
        exchange.getResponseBody().write(out);
        exchange.close();
    }

    static String header(HttpExchange exchange, String name) {
        String value = exchange.getRequestHeaders().getFirst(name);
        return value == null ? "" : value;
    }

    static String env(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }

    // The JDK has no JSON. These three do for this example; a real shop uses its JSON library.

    static String object(String... pairs) {
        StringBuilder b = new StringBuilder("{");
        for (int i = 0; i < pairs.length; i += 2) {
            b.append(i == 0 ? "" : ",").append(quote(pairs[i])).append(':').append(quote(pairs[i + 1]));
        }
        return b.append('}').toString();
    }

    static String quote(String s) {
        StringBuilder b = new StringBuilder("\"");
        for (char c : s.toCharArray()) {
            if (c == '"' || c == '\\') b.append('\\').append(c);
            else if (c < ' ') b.append(String.format("\\u%04x", (int) c));
            else b.append(c);
        }
        return b.append('"').toString();
    }

    /** The first string of this name, or "". */
    static String field(String json, String name) {
        Matcher m = Pattern.compile("\"" + name + "\"\\s*:\\s*\"((?:[^\"\\\\]|\\\\.)*)\"").matcher(json);
        if (!m.find()) return "";
        return Pattern.compile("\\\\(u([0-9a-fA-F]{4})|.)").matcher(m.group(1)).replaceAll(r -> {
            String escaped = r.group(2) != null ? String.valueOf((char) Integer.parseInt(r.group(2), 16))
                    : r.group(1).equals("n") ? "\n" : r.group(1).equals("t") ? "\t" : r.group(1);
            return Matcher.quoteReplacement(escaped);
        });
    }
}
