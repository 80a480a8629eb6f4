package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

// Send a message and wait for what becomes of it.
func Example() {
	server, err := startWorld() // yours is `hongyan serve`, or `hongyan demo` to try it
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.close()

	c, err := client.New(client.Config{BaseURL: server.url, APIKey: server.key})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	m, err := c.SubmitAndWait(ctx, hongyan.Submission{
		App:      server.app,
		To:       hongyan.Recipient{OpenID: server.openids[0]},
		Template: "order_paid",
		Data:     map[string]string{"thing2": "红楼梦", "amount3": "¥59.80"},
	}, client.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Status)
	// Output: accepted
}

// Codes are errors: ask for one with errors.Is. A *hongyan.Error has the faults of each field,
// a *client.Problem the request's id besides.
func Example_errors() {
	server, err := startWorld()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.close()
	c, _ := client.New(client.Config{BaseURL: server.url, APIKey: server.key})
	ctx := context.Background()

	sub := server.submission(server.openids[0]) // who has accepted twice
	for range 3 {
		_, err = c.Submit(ctx, sub, client.Options{})
	}
	if errors.Is(err, hongyan.CodeNoGrant) {
		fmt.Println("ask the user in a tap first")
	}

	sub.Data = map[string]string{"thing2": "", "amount3": "¥12345678901"}
	_, err = c.Submit(ctx, sub, client.Options{})
	var e *hongyan.Error
	if errors.As(err, &e) {
		for _, f := range e.Fields {
			fmt.Println(f.Pointer, f.Code)
		}
	}
	var p *client.Problem
	if errors.As(err, &p) {
		fmt.Println(p.Status, p.RequestID != "")
	}
	// Output:
	// ask the user in a tap first
	// /data/thing2 empty
	// /data/amount3 too_long
	// 422 true
}

// Lists are iterators. They fetch page after page, and stop when you do.
func ExampleClient_Messages() {
	server, err := startWorld()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.close()
	c, _ := client.New(client.Config{BaseURL: server.url, APIKey: server.key})
	ctx := context.Background()
	for range 2 {
		if _, err := c.SubmitAndWait(ctx, server.submission(server.openids[0]), client.Options{}); err != nil {
			fmt.Println(err)
		}
	}

	for m, err := range c.Messages(ctx, client.MessageFilter{App: server.app, PageSize: 1}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(m.Status)
	}

	newest, err := client.Collect(c.Messages(ctx, client.MessageFilter{App: server.app}), 1)
	fmt.Println(len(newest), err)
	// Output:
	// accepted
	// accepted
	// 1 <nil>
}

// Hear what becomes of messages. The data of each event has the type of its kind.
func ExampleWebhookHandler() {
	server, err := startWorld()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.close()
	c, _ := client.New(client.Config{BaseURL: server.url, APIKey: server.key})
	ctx := context.Background()

	heard := make(chan string, 1)
	mux := http.NewServeMux()
	back := httptest.NewServer(mux) // yours is a server that Hongyan can reach
	defer back.Close()
	w, err := c.CreateWebhook(ctx, client.WebhookCreate{URL: back.URL + "/hongyan", Events: []hongyan.EventPattern{"message.*"}}, client.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	handler, err := client.WebhookHandler(w.Secret, func(_ context.Context, e hongyan.Event) error {
		data, err := e.Payload()
		if err != nil {
			return err
		}
		switch v := data.(type) {
		case *hongyan.Message:
			heard <- fmt.Sprint(e.Type, " ", v.Tags)
		case *hongyan.Pause:
			heard <- fmt.Sprint(e.Type, " ", v.Remedy)
		}
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux.Handle("/hongyan", handler)

	sub := server.submission(server.openids[0])
	sub.Tags = []string{"order-17"}
	if _, err := c.Submit(ctx, sub, client.Options{}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(<-heard)

	resp, err := http.Post(back.URL+"/hongyan", "application/json", nil) // somebody else
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		fmt.Println(resp.Status)
	}
	// Output:
	// message.accepted [order-17]
	// 401 Unauthorized
}
