package api

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/sync/singleflight"

	"github.com/hongyan-push/hongyan"
	"github.com/hongyan-push/hongyan/wechat"
)

// libraryKept is how long an answer of the template library is good for: WeChat lets an app
// ask only a few times a day, and its library hardly changes.
const libraryKept = 24 * time.Hour

// library remembers what the template library answered each app.
type library struct {
	now    func() time.Time
	flight singleflight.Group
	mu     sync.Mutex
	pages  map[string]libraryPage
	titles map[string]wechat.PubTemplateTitle // by app and tid
}

type libraryPage struct {
	value any
	until time.Time
}

// browse answers from memory, or asks WeChat once for all who want the same.
func browse[T any](ctx context.Context, s *server, app hongyan.AppID, what string, ask func(token string) (T, error)) (T, error) {
	l := &s.library
	key := string(app) + " " + what
	if v, ok := l.page(key); ok {
		return v.(T), nil
	}
	v, err, _ := l.flight.Do(key, func() (any, error) {
		var v T
		err := s.withToken(ctx, app, func(token string) (err error) {
			v, err = ask(token)
			return err
		})
		if err == nil {
			l.keep(key, v)
		}
		return v, err
	})
	return v.(T), err
}

func (l *library) page(key string) (any, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.pages[key]
	return p.value, ok && l.now().Before(p.until)
}

// keep stores a page, and drops those whose day is over.
func (l *library) keep(key string, v any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for k, p := range l.pages {
		if !now.Before(p.until) {
			delete(l.pages, k)
		}
	}
	if l.pages == nil {
		l.pages = make(map[string]libraryPage)
	}
	l.pages[key] = libraryPage{value: v, until: now.Add(libraryKept)}
}

// learn remembers titles by tid, for templates that are added while the list cannot be had.
func (l *library) learn(app hongyan.AppID, titles []wechat.PubTemplateTitle) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.titles == nil {
		l.titles = make(map[string]wechat.PubTemplateTitle)
	}
	for _, t := range titles {
		l.titles[string(app)+" "+strconv.Itoa(t.TID)] = t
	}
}

func (l *library) title(app hongyan.AppID, tid string) (wechat.PubTemplateTitle, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, ok := l.titles[string(app)+" "+tid]
	return t, ok
}

type category struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

func (s *server) listCategories(ctx context.Context, in *InApp) (list[category], error) {
	return browse(ctx, s, in.App, "categories", func(token string) (list[category], error) {
		found, err := s.WeChat.GetCategory(ctx, token)
		out := list[category]{Items: []category{}}
		for _, c := range found {
			out.Items = append(out.Items, category(c))
		}
		return out, err
	})
}

type inTitles struct {
	InApp
	CategoryIDs string `query:"category_ids" required:"true" maxLength:"200" doc:"Category ids, joined by commas."`
	Start       int    `query:"start" minimum:"0" maximum:"100000" default:"0" doc:"How many titles to leave out at the beginning."`
	Limit       int    `query:"limit" minimum:"1" maximum:"30" default:"30"`
}

type libraryTitle struct {
	TID        string               `json:"tid"`
	Title      string               `json:"title"`
	Kind       hongyan.TemplateKind `json:"kind" enum:"one_time,long_term,unknown"`
	CategoryID string               `json:"category_id"`
}

type libraryTitles struct {
	Items []libraryTitle `json:"items"`
	Total int            `json:"total" doc:"How many titles these categories have; go on with start."`
}

func (s *server) listTitles(ctx context.Context, in *inTitles) (libraryTitles, error) {
	var ids []int
	for part := range strings.SplitSeq(in.CategoryIDs, ",") {
		id, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			return libraryTitles{}, hongyan.Invalid("/category_ids", "parameter", "category_ids are the ids of GET …/library/categories, joined by commas, such as 616,617.")
		}
		ids = append(ids, id)
	}
	what := fmt.Sprint("titles ", ids, in.Start, in.Limit)
	return browse(ctx, s, in.App, what, func(token string) (libraryTitles, error) {
		found, total, err := s.WeChat.GetPubTemplateTitles(ctx, token, ids, in.Start, in.Limit)
		s.library.learn(in.App, found)
		out := libraryTitles{Items: []libraryTitle{}, Total: total}
		for _, t := range found {
			out.Items = append(out.Items, libraryTitle{TID: strconv.Itoa(t.TID), Title: t.Title, Kind: hongyan.TemplateKindOf(t.Type), CategoryID: string(t.CategoryID)})
		}
		return out, err
	})
}

type inKeywords struct {
	InApp
	TID string `query:"tid" required:"true" maxLength:"20" doc:"The title's id."`
}

type libraryKeyword struct {
	KID     int    `json:"kid"`
	Name    string `json:"name"`
	Example string `json:"example"`
	Type    string `json:"type" doc:"The type of its values, such as thing."`
}

func (s *server) listKeywords(ctx context.Context, in *inKeywords) (list[libraryKeyword], error) {
	return browse(ctx, s, in.App, "keywords "+in.TID, func(token string) (list[libraryKeyword], error) {
		found, err := s.WeChat.GetPubTemplateKeywords(ctx, token, in.TID)
		out := list[libraryKeyword]{Items: []libraryKeyword{}}
		for _, k := range found {
			out.Items = append(out.Items, libraryKeyword{KID: k.KID, Name: k.Name, Example: k.Example, Type: k.Rule})
		}
		return out, err
	})
}

// templateID is a tid of the library: WeChat writes it as a number in one place and as text
// in another, so both are taken.
type templateID string

func readTemplateID(d *decoder, v reflect.Value) {
	switch c := d.peek(); {
	case '0' <= c && c <= '9':
		s, _ := d.number()
		v.SetString(s)
	case c == '"':
		readString(d, v)
	default:
		d.wrong(`a tid, such as "1128"`)
	}
}

// Schema is for the API's description.
func (templateID) Schema(huma.Registry) *huma.Schema { return &huma.Schema{Type: huma.TypeString} }
