package gateway

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/internal/ledger"
	"github.com/hongyan-push/hongyan/wechat"
)

// listTemplates is GET gettemplate. The list is what messages are checked against, so it is
// kept, and WeChat need not be asked for it again.
func (c *call) listTemplates() {
	a, ok := c.ask(nil)
	if !ok {
		return
	}
	var list struct {
		Errcode int               `json:"errcode"`
		Data    []wechat.Template `json:"data"`
	}
	if json.Unmarshal(a.Body, &list) == nil && list.Errcode == 0 && list.Data != nil {
		if err := c.g.keep(c.ctx, c.app, list.Data); err != nil {
			c.g.log.ErrorContext(c.ctx, "templates not kept", "appid", c.app, "err", err)
		}
	}
	c.reply(a)
}

func (g *Gateway) keep(ctx context.Context, app hongyan.AppID, list []wechat.Template) error {
	out := make([]ledger.SyncedTemplate, len(list))
	for i, t := range list {
		out[i] = ledger.SyncedTemplate{TemplateID: t.PriTmplID, Title: t.Title, Content: t.Content, Example: t.Example, Kind: hongyan.TemplateKindOf(t.Type), Enums: t.Enums()}
	}
	return g.l.SaveTemplates(ctx, app, out)
}

// addTemplate is POST addtemplate. Programs send JSON, or a form as an older page showed;
// WeChat gets JSON.
func (c *call) addTemplate() {
	c.body = jsonOfForm(c.body)
	c.r.Header.Set("Content-Type", "application/json")
	a, ok := c.ask(c.body)
	if !ok {
		return
	}
	var added struct {
		Errcode   int    `json:"errcode"`
		PriTmplID string `json:"priTmplId"`
	}
	if json.Unmarshal(a.Body, &added) == nil && added.PriTmplID != "" {
		c.learn(added.PriTmplID)
	}
	c.reply(a)
}

// learn keeps a template that was just added. If the list cannot be had now (its quota is
// tiny), the template is known by its id, and the next list fills it in.
func (c *call) learn(id string) {
	c.g.sync(c.ctx, c.app, 0)
	if _, err := c.g.l.Template(c.app, id); err == nil {
		return
	}
	if err := c.g.l.SaveTemplate(c.ctx, c.app, ledger.SyncedTemplate{TemplateID: id, Kind: hongyan.KindUnknown}, nil); err != nil {
		c.g.log.ErrorContext(c.ctx, "template not kept", "appid", c.app, "template_id", id, "err", err)
	}
}

// deleteTemplate is POST deltemplate.
func (c *call) deleteTemplate() {
	c.body = jsonOfForm(c.body)
	c.r.Header.Set("Content-Type", "application/json")
	a, ok := c.ask(c.body)
	if !ok {
		return
	}
	var b struct {
		PriTmplID string `json:"priTmplId"`
	}
	var said struct { // and not an error page
		Errcode *int `json:"errcode"`
	}
	done := json.Unmarshal(a.Body, &said) == nil && said.Errcode != nil && *said.Errcode == 0
	if done && json.Unmarshal(c.body, &b) == nil && b.PriTmplID != "" {
		if err := c.g.l.MarkTemplate(c.ctx, c.app, b.PriTmplID, true); err != nil && hongyan.CodeOf(err) != hongyan.CodeTemplateNotFound {
			c.g.log.ErrorContext(c.ctx, "template not marked gone", "appid", c.app, "template_id", b.PriTmplID, "err", err)
		}
	}
	c.reply(a)
}

// jsonOfForm is a body that is a form as JSON. Numbers stay text but for the list of kids.
func jsonOfForm(body []byte) []byte {
	if trimmed := bytes.TrimSpace(body); len(trimmed) == 0 || trimmed[0] == '{' {
		return body
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return body
	}
	out := make(map[string]any)
	var kids []int
	// The keywords have an order, which kidList[0], kidList[1] … say.
	names := slices.SortedFunc(maps.Keys(form), func(x, y string) int { return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)) })
	for _, name := range names {
		values := form[name]
		if head, _, _ := strings.Cut(name, "["); head == "kidList" {
			for _, v := range values {
				for part := range strings.SplitSeq(strings.Trim(v, "[] "), ",") {
					kid, err := strconv.Atoi(strings.TrimSpace(part))
					if err != nil {
						return body
					}
					kids = append(kids, kid)
				}
			}
			continue
		}
		out[name] = values[0]
	}
	if kids != nil {
		out["kidList"] = kids
	}
	return encode(out)
}

// syncRest is how long the list is not asked for again because of one unknown template.
const syncRest = 6 * time.Hour

// sync reads the app's templates from WeChat, unless that was done less than rest ago. Those
// who want it at the same time share it.
func (g *Gateway) sync(ctx context.Context, app hongyan.AppID, rest time.Duration) {
	_, _, _ = g.flight.Do(string(app), func() (any, error) {
		g.mu.Lock()
		now := g.now()
		since := now.Sub(g.synced[app])
		recent := rest > 0 && since >= 0 && since < rest
		if !recent { // or whoever goes on asking would put it off for ever
			g.synced[app] = now
		}
		g.mu.Unlock()
		if !recent {
			g.readTemplates(context.WithoutCancel(ctx), app)
		}
		return nil, nil
	})
}

func (g *Gateway) readTemplates(ctx context.Context, app hongyan.AppID) {
	token, err := g.cfg.Tokens.AccessToken(ctx, string(app))
	var list []wechat.Template
	if err == nil {
		list, err = g.cfg.WeChat.GetTemplateList(ctx, token)
	}
	if err == nil {
		err = g.keep(ctx, app, list)
	}
	if err != nil {
		g.log.WarnContext(ctx, "templates not read", "appid", app, "err", err)
	}
}
