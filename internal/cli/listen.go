package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

type webhooksListenCmd struct {
	Forward string                 `name:"forward" own:"" required:"" placeholder:"URL" help:"Where to post events, such as http://127.0.0.1:3000/hook."`
	Types   []hongyan.EventPattern `name:"types" own:"" placeholder:"TYPE,..." help:"Event types such as message.failed, kinds such as message.*; by default all."`
	App     hongyan.AppID          `name:"app" placeholder:"APPID" help:"Only of this app."`
	apiFlags
}

const (
	listenAgain = time.Second
	listenMost  = 15 * time.Second
	forwardTime = 15 * time.Second
)

// forwarded is what became of one event, a line each.
type forwarded struct {
	Event      hongyan.EventID   `json:"event"`
	Type       hongyan.EventType `json:"type"`
	At         time.Time         `json:"timestamp"`
	HTTPStatus int               `json:"http_status,omitempty"`
	Error      string            `json:"error,omitempty"`
}

// Run implements the command. It reads the stream, so it needs no address that the server
// could reach, and goes on where it was when the connection is lost.
func (c *webhooksListenCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	if u, err := url.Parse(c.Forward); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return p.usage(p.say("--forward: %q is not an http or https URL", c.Forward), "")
	}
	var key [32]byte
	_, _ = rand.Read(key[:])
	secret := hongyan.NewWebhookKey(key[:])
	p.tell("Events are signed with this secret, for as long as this runs: %s", secret.Reveal())
	filter := client.EventFilter{Types: c.Types, App: c.App}
	var after hongyan.EventID
	for wait, first := listenAgain, true; ; first = false {
		s, err := api.StreamEvents(ctx, filter, after)
		if err == nil {
			if first {
				p.tell("Listening; every event goes to %s.", c.Forward)
			}
			wait = listenAgain
			err = c.forwardAll(ctx, p, s, secret)
			after = s.LastID()
			_ = s.Close()
		}
		if ctx.Err() != nil {
			return nil // asked to stop
		}
		var refused *hongyan.Error
		if errors.As(err, &refused) && refused.RetryAfter == 0 && refused.Code != hongyan.CodeShuttingDown && refused.Code != hongyan.CodeStorageUnavailable || first && isUnreachable(err) {
			return err
		}
		p.tell("The connection ended; connecting again.")
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, listenMost)
	}
}

func (c *webhooksListenCmd) forwardAll(ctx context.Context, p *program, s *client.EventStream, secret hongyan.WebhookSecret) error {
	for {
		e, err := s.Next()
		if err != nil {
			return err
		}
		f := forwarded{Event: e.ID, Type: e.Type, At: e.At}
		if f.HTTPStatus, err = c.forward(ctx, e, secret); err != nil {
			f.Error = err.Error()
		}
		if err := c.printForwarded(p, f); err != nil {
			return err
		}
	}
}

// forward posts one event as a webhook delivery.
func (c *webhooksListenCmd) forward(ctx context.Context, e hongyan.Event, secret hongyan.WebhookSecret) (status int, err error) {
	body, err := json.Marshal(e)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, forwardTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Forward, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	now := time.Now()
	signature, err := secret.Sign(e.ID, now, body)
	if err != nil {
		return 0, err
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "User-Agent": "hongyan/" + version(), "Webhook-Id": string(e.ID),
		"Webhook-Timestamp": strconv.FormatInt(now.Unix(), 10), "Webhook-Signature": signature} {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, hongyan.MaxWebhookResponse))
	return resp.StatusCode, nil
}

func (c *webhooksListenCmd) printForwarded(p *program, f forwarded) error {
	if c.format() != "table" {
		return printJSON(p.stdout, f, "")
	}
	came := f.Error
	if came == "" {
		came = strconv.Itoa(f.HTTPStatus)
	}
	_, err := fmt.Fprintln(p.stdout, oneLine(f.At.Local().Format(time.TimeOnly)+"  "+string(f.Type)+"  "+string(f.Event)+"  → "+came))
	return err
}
