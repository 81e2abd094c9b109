//! Two Rust libraries, as their own documentation says: the first argument is the one to use. Each
//! event is a line, as is what a follower in another language says.
use eventsource_client::{Client, ClientBuilder, ReconnectOptions, SSE};
use futures::StreamExt;
use launchdarkly_sdk_transport::HyperTransport;
use reqwest_eventsource::{Event, EventSource};
use std::{env, process, time::Duration};

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let url = env::var("STREAM_URL")?;
    let token = format!("Bearer {}", env::var("TOKEN")?);
    match env::args().nth(1).as_deref() {
        Some("eventsource-client") => follow_eventsource_client(&url, &token).await,
        _ => follow_reqwest_eventsource(&url, &token).await,
    }
}

/// Says an event of the execution; true if it is the last one.
fn take(event: &str, data: &str) -> bool {
    if event == "step:started" || event == "execution:completed" {
        println!("{data}");
    }
    event == "execution:completed"
}

fn over(who: &str) -> ! {
    println!("{{\"over\": \"{who}\"}}");
    process::exit(0)
}

/// It takes 204 for a stream without events, and asks again and again: closed at the last event.
async fn follow_eventsource_client(url: &str, token: &str) -> Result<(), Failure> {
    let reconnect = ReconnectOptions::reconnect(true).delay(Duration::from_secs(1)).build();
    let client = ClientBuilder::for_url(url)?
        .header("Authorization", token)?
        .header("X-Organization-ID", "acme")?
        .reconnect(reconnect)
        .build_with_transport(HyperTransport::builder().build_http()?);
    let mut stream = client.stream();
    // An error is followed by another try.
    while let Some(next) = stream.next().await {
        if let Ok(SSE::Event(event)) = next {
            if take(&event.event_type, &event.data) {
                over("program");
            }
        }
    }
    over("error")
}

/// It takes 204 for an error, after which nothing follows.
async fn follow_reqwest_eventsource(url: &str, token: &str) -> Result<(), Failure> {
    let request = reqwest::Client::new()
        .get(url)
        .header("Authorization", token)
        .header("X-Organization-ID", "acme");
    let mut source = EventSource::new(request)?;
    // An error of the connection is followed by another try, one of the answer by nothing.
    while let Some(next) = source.next().await {
        if let Ok(Event::Message(message)) = next {
            take(&message.event, &message.data);
        }
    }
    over("error")
}
