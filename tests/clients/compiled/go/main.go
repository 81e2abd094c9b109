// Three Go libraries, as their own documentation says: the first argument is the one to use. Each
// event is a line, as is what a follower in another language says.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	launchdarkly "github.com/launchdarkly/eventsource"
	r3labs "github.com/r3labs/sse/v2"
	tmaxmax "github.com/tmaxmax/go-sse"
	"gopkg.in/cenkalti/backoff.v1"
)

// As large as GATEWAY_EVENT_MAX_BYTES, and what the frame has beside the event.
const largest = 1<<20 + 4096

func main() {
	map[string]func(){
		"launchdarkly/eventsource": followLaunchDarkly,
		"r3labs/sse":               followR3labs,
		"tmaxmax/go-sse":           followTmaxmax,
	}[os.Args[1]]()
}

// take says an event of the execution; true if it is the last one.
func take(event, data string) bool {
	if event == "step:started" || event == "execution:completed" {
		fmt.Println(data)
	}
	return event == "execution:completed"
}

func over(who string) {
	fmt.Printf("{\"over\": %q}\n", who)
	os.Exit(0)
}

func request() *http.Request {
	request, err := http.NewRequest(http.MethodGet, os.Getenv("STREAM_URL"), nil)
	if err != nil {
		panic(err)
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("TOKEN"))
	request.Header.Set("X-Organization-ID", "acme")
	return request
}

// It takes 204 for a failure and asks again and again: closed at the last event.
func followLaunchDarkly() {
	retry := func(error) launchdarkly.StreamErrorHandlerResult {
		return launchdarkly.StreamErrorHandlerResult{CloseNow: false}
	}
	stream, err := launchdarkly.SubscribeWithRequestAndOptions(request(),
		launchdarkly.StreamOptionInitialRetry(time.Second),
		launchdarkly.StreamOptionErrorHandler(retry))
	if err != nil {
		panic(err)
	}
	for event := range stream.Events {
		if take(event.Event(), event.Data()) {
			stream.Close()
			over("program")
		}
	}
}

// untilEnd waits a second after each failure: the library's own strategy gives up after 15 minutes.
type untilEnd struct{ ended *bool }

func (b untilEnd) Reset() {}

func (b untilEnd) NextBackOff() time.Duration {
	if *b.ended {
		return backoff.Stop
	}
	return time.Second
}

// It returns when a stream has ended in good order, and comes back when one was broken off.
func followR3labs() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := false
	client := r3labs.NewClient(os.Getenv("STREAM_URL"), r3labs.ClientMaxBufferSize(largest))
	client.Headers = map[string]string{
		"Authorization": "Bearer " + os.Getenv("TOKEN"), "X-Organization-ID": "acme",
	}
	client.ReconnectStrategy = untilEnd{&ended}
	for !ended {
		_ = client.SubscribeRawWithContext(ctx, func(event *r3labs.Event) {
			if take(string(event.Event), string(event.Data)) {
				ended = true
				cancel()
			}
		})
		if !ended {
			fmt.Println(`{"again": true}`)
			time.Sleep(time.Second)
		}
	}
	over("program")
}

// It takes 204 for a permanent failure.
func followTmaxmax() {
	connection := tmaxmax.DefaultClient.NewConnection(request())
	connection.Buffer(nil, largest)
	connection.SubscribeToAll(func(event tmaxmax.Event) { take(event.Type, event.Data) })
	_ = connection.Connect()
	over("error")
}
