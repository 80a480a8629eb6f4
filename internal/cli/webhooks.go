package cli

import (
	"context"
	"strconv"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/client"
)

type webhooksCmd struct {
	List       webhooksListCmd       `cmd:"" help:"List the webhooks."`
	Create     webhooksCreateCmd     `cmd:"" help:"Add a webhook and print its secret, this once."`
	Update     webhooksUpdateCmd     `cmd:"" help:"Change a webhook, or enable it again."`
	Delete     webhooksDeleteCmd     `cmd:"" help:"Delete a webhook and what waits for it."`
	Rotate     webhooksRotateCmd     `cmd:"" help:"Make a new secret and print it, this once."`
	Deliveries webhooksDeliveriesCmd `cmd:"" help:"List what was delivered to a webhook, newest first."`
	Resend     webhooksResendCmd     `cmd:"" help:"Make a delivery again."`
	Test       webhooksTestCmd       `cmd:"" help:"Send a test event and wait for what becomes of it."`
	Listen     webhooksListenCmd     `cmd:"" help:"Forward events to a program on this machine, as a webhook would get them."`
}

func (p *program) webhookColumns() []column[hongyan.Webhook] {
	return []column[hongyan.Webhook]{
		{"ID", func(w hongyan.Webhook) string { return string(w.ID) }},
		{"URL", func(w hongyan.Webhook) string { return clipped(w.URL, 60) }},
		{"EVENTS", func(w hongyan.Webhook) string { return joined(w.Events) }},
		{"APPS", func(w hongyan.Webhook) string {
			if len(w.Apps) == 0 {
				return p.say("all")
			}
			return joined(w.Apps)
		}},
		{"ENABLED", func(w hongyan.Webhook) string {
			switch {
			case !w.Enabled:
				return p.say("no") + " (" + string(w.DisabledReason) + ")"
			case !w.FailingSince.IsZero():
				return p.say("yes, failing since %s", p.when(w.FailingSince))
			}
			return p.say("yes")
		}},
		{"DESCRIPTION", func(w hongyan.Webhook) string { return w.Description }},
		{"CREATED", func(w hongyan.Webhook) string { return p.when(w.CreatedAt) }},
	}
}

// printSecret is the one place where a webhook's secret is printed.
func (p *program) printSecret(o outputFlags, w hongyan.Webhook) error {
	p.tell("Keep the secret now: it cannot be shown again.")
	return printOne(p, o, w, append(p.webhookColumns(), column[hongyan.Webhook]{"SECRET", func(w hongyan.Webhook) string { return w.Secret }}))
}

type webhooksListCmd struct{ apiFlags }

// Run implements the command.
func (c *webhooksListCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	hooks, err := api.Webhooks(ctx)
	if err != nil {
		return err
	}
	return printList(p, c.outputFlags, hooks, p.webhookColumns())
}

type webhooksCreateCmd struct {
	URL         string                 `arg:"" name:"url" help:"Where events are posted."`
	Types       []hongyan.EventPattern `name:"types" own:"" required:"" placeholder:"TYPE,..." help:"Event types such as message.failed, kinds such as message.*, or * for all."`
	Apps        []hongyan.AppID        `name:"apps" own:"" placeholder:"APPID,..." help:"Only events of these apps; by default of all."`
	Description string                 `name:"description" own:"" help:"What it is for."`
	apiFlags
}

// Run implements the command.
func (c *webhooksCreateCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	w, err := api.CreateWebhook(ctx, client.WebhookCreate{URL: c.URL, Events: c.Types, Apps: c.Apps, Description: c.Description}, client.Options{})
	if err != nil {
		return err
	}
	return p.printSecret(c.outputFlags, w)
}

// webhookArg names the webhook of a command.
type webhookArg struct {
	ID hongyan.WebhookID `arg:"" name:"id" help:"The webhook's id."`
}

type webhooksUpdateCmd struct {
	webhookArg
	URL         *string                `name:"url" own:"" help:"Where events are posted."`
	Types       []hongyan.EventPattern `name:"types" own:"" placeholder:"TYPE,..." help:"Event types such as message.failed, kinds such as message.*, or * for all."`
	Apps        []hongyan.AppID        `name:"apps" own:"" placeholder:"APPID,..." help:"Only events of these apps; by default of all."`
	Description *string                `name:"description" own:"" help:"What it is for."`
	Enable      bool                   `name:"enable" own:"" xor:"enable" help:"Post to it again; what waited goes out now."`
	Disable     bool                   `name:"disable" own:"" xor:"enable" help:"Post nothing to it; what happens meanwhile it does not get."`
	apiFlags
}

// Run implements the command.
func (c *webhooksUpdateCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	u := client.WebhookUpdate{URL: c.URL, Description: c.Description}
	if c.Types != nil {
		u.Events = &c.Types
	}
	if c.Apps != nil {
		u.Apps = &c.Apps
	}
	if c.Enable || c.Disable {
		u.Enabled = &c.Enable
	}
	w, err := api.UpdateWebhook(ctx, c.ID, u)
	if err != nil {
		return err
	}
	return printOne(p, c.outputFlags, w, p.webhookColumns())
}

type webhooksDeleteCmd struct {
	webhookArg
	apiFlags
}

// Run implements the command.
func (c *webhooksDeleteCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	if err := api.DeleteWebhook(ctx, c.ID); err != nil {
		return err
	}
	p.tell("Webhook %s is deleted.", c.ID)
	return nil
}

type webhooksRotateCmd struct {
	webhookArg
	apiFlags
}

// Run implements the command.
func (c *webhooksRotateCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	w, err := api.RotateWebhookSecret(ctx, c.ID)
	if err != nil {
		return err
	}
	p.tell("For 24 hours deliveries are signed with the secret before, too.")
	return p.printSecret(c.outputFlags, w)
}

func (p *program) deliveryColumns() []column[hongyan.Delivery] {
	return []column[hongyan.Delivery]{
		{"ID", func(d hongyan.Delivery) string { return string(d.ID) }},
		{"EVENT", func(d hongyan.Delivery) string { return string(d.Event) }},
		{"TYPE", func(d hongyan.Delivery) string { return string(d.Type) }},
		{"STATUS", func(d hongyan.Delivery) string { return string(d.Status) }},
		{"ATTEMPTS", func(d hongyan.Delivery) string { return strconv.Itoa(d.Attempts) }},
		{"HTTP", func(d hongyan.Delivery) string {
			if d.HTTPStatus == 0 {
				return ""
			}
			return strconv.Itoa(d.HTTPStatus)
		}},
		{"ERROR", func(d hongyan.Delivery) string { return clipped(d.Error, 60) }},
		{"NEXT", func(d hongyan.Delivery) string { return p.when(d.NextAt) }},
		{"CREATED", func(d hongyan.Delivery) string { return p.when(d.CreatedAt) }},
	}
}

type webhooksDeliveriesCmd struct {
	webhookArg
	Status hongyan.DeliveryState `name:"status" own:"" enum:",pending,delivered,failed" default:"" placeholder:"WORD" help:"Only in this state."`
	Event  hongyan.EventID       `name:"event" own:"" help:"Only of this event."`
	Type   hongyan.EventType     `name:"type" own:"" help:"Only of this event type."`
	limitFlag
	apiFlags
}

// Run implements the command.
func (c *webhooksDeliveriesCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	list, err := take(p, c.Limit, api.Deliveries(ctx, c.ID, client.DeliveryFilter{Status: c.Status, Event: c.Event, Type: c.Type}))
	if err != nil {
		return err
	}
	return printList(p, c.outputFlags, list, p.deliveryColumns())
}

type webhooksResendCmd struct {
	webhookArg
	Delivery hongyan.DeliveryID `arg:"" name:"delivery" help:"The delivery's id, from webhooks deliveries."`
	apiFlags
}

// Run implements the command.
func (c *webhooksResendCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	d, err := api.ResendDelivery(ctx, c.ID, c.Delivery)
	if err != nil {
		return err
	}
	return printOne(p, c.outputFlags, d, p.deliveryColumns())
}

type webhooksTestCmd struct {
	webhookArg
	apiFlags
}

const (
	// testWait is a little longer than one try may take.
	testWait  = 20 * time.Second
	testEvery = 100 * time.Millisecond
)

// Run implements the command. A test that is not delivered at the first try fails.
func (c *webhooksTestCmd) Run(ctx context.Context, p *program) error {
	api, err := c.connect(p)
	if err != nil {
		return err
	}
	d, err := api.TestWebhook(ctx, c.ID)
	if err != nil {
		return err
	}
	tick := time.NewTicker(testEvery)
	defer tick.Stop()
	for end := time.Now().Add(testWait); d.Status == hongyan.DeliveryPending && d.Error == "" && time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		list, err := take(p, 1, api.Deliveries(ctx, c.ID, client.DeliveryFilter{Event: d.Event, PageSize: 1}))
		if err != nil {
			return err
		}
		if len(list) == 1 {
			d = list[0]
		}
	}
	if err := printOne(p, c.outputFlags, d, p.deliveryColumns()); err != nil {
		return err
	}
	if d.Status != hongyan.DeliveryDelivered {
		return &fault{exit: exitFailure, text: p.say("the test was not delivered"), hint: p.say("ERROR says why. An address that is not public must be allowed with --outbound-allow of the server.")}
	}
	return nil
}
