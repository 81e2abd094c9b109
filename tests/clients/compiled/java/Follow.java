import com.launchdarkly.eventsource.ConnectStrategy;
import com.launchdarkly.eventsource.ErrorStrategy;
import com.launchdarkly.eventsource.EventSource;
import com.launchdarkly.eventsource.MessageEvent;
import java.net.URI;
import java.time.Duration;
import org.springframework.core.ParameterizedTypeReference;
import org.springframework.http.MediaType;
import org.springframework.http.codec.ServerSentEvent;
import org.springframework.web.reactive.function.client.WebClient;

/**
 * Two Java libraries, as their own documentation says: the first argument is the one to use. Each
 * event is a line, as is what a follower in another language says.
 */
public class Follow {
    /** As large as GATEWAY_EVENT_MAX_BYTES, and what the frame has beside the event. */
    private static final int LARGEST = (1 << 20) + 4096;

    private static final String TOKEN = "Bearer " + System.getenv("TOKEN");
    private static final String URL = System.getenv("STREAM_URL");

    private static String last;
    private static boolean ended;

    public static void main(String[] words) throws Exception {
        if (words[0].equals("okhttp-eventsource")) {
            followOkhttpEventsource();
        } else {
            followSpring();
        }
        System.out.println("{\"over\": \"program\"}");
        System.exit(0);
    }

    /** Says an event of the execution. */
    private static void take(String event, String data) {
        if (event.equals("step:started") || event.equals("execution:completed")) {
            System.out.println(data);
        }
        ended = event.equals("execution:completed");
    }

    /** It takes 204 for a failure and asks again and again: closed at the last event. */
    private static void followOkhttpEventsource() {
        ConnectStrategy connect = ConnectStrategy.http(URI.create(URL))
            .header("Authorization", TOKEN).header("X-Organization-ID", "acme");
        try (EventSource source = new EventSource.Builder(connect)
                .errorStrategy(ErrorStrategy.alwaysContinue()).build()) {
            for (MessageEvent event : source.messages()) {
                take(event.getEventName(), event.getData());
                if (ended) return;
            }
        }
    }

    /** It reads one stream; the loop around it comes back, with the last id that it has kept. */
    private static void followSpring() throws InterruptedException {
        WebClient client = WebClient.builder()
            .codecs(codecs -> codecs.defaultCodecs().maxInMemorySize(LARGEST)).build();
        while (true) {
            try {
                client.get().uri(URI.create(URL)).accept(MediaType.TEXT_EVENT_STREAM)
                    .headers(headers -> {
                        headers.set("Authorization", TOKEN);
                        headers.set("X-Organization-ID", "acme");
                        if (last != null) headers.set("Last-Event-ID", last);
                    })
                    .retrieve()
                    .bodyToFlux(new ParameterizedTypeReference<ServerSentEvent<String>>() {})
                    .timeout(Duration.ofSeconds(40))
                    .doOnNext(event -> {
                        if (event.id() != null) last = event.id();
                        take(event.event(), event.data());
                    })
                    .takeUntil(event -> ended)
                    .blockLast();
            } catch (RuntimeException failed) {
                // The connection was broken off, or refused.
            }
            if (ended) return;
            System.out.println("{\"again\": true}");
            Thread.sleep(1000);
        }
    }
}
