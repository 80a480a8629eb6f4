package client

import (
	"context"
	"iter"
	"strconv"
	"strings"

	"github.com/hongyan-push/hongyan"
)

// SyncTemplates reads the app's template list from WeChat, whose daily quota for it is tiny.
func (c *Client) SyncTemplates(ctx context.Context, app hongyan.AppID) ([]hongyan.Template, error) {
	p, err := send[page[hongyan.Template]](ctx, c, "POST", join("apps", string(app), "templates", "sync"), nil, Options{})
	return p.Items, err
}

// Templates lists the app's templates as the last sync found them.
func (c *Client) Templates(ctx context.Context, app hongyan.AppID) ([]hongyan.Template, error) {
	return whole[hongyan.Template](ctx, c, join("apps", string(app), "templates"), nil)
}

// Template reads a template by its id or alias.
func (c *Client) Template(ctx context.Context, app hongyan.AppID, ref string) (hongyan.Template, error) {
	return get[hongyan.Template](ctx, c, join("apps", string(app), "templates", ref), nil)
}

// TemplateAdd chooses a template from the library.
type TemplateAdd struct {
	TID string `json:"tid"`
	// KIDs are 2 to 5 keyword ids in display order.
	KIDs []int `json:"kids"`
	// SceneDesc says what it is for, in at most 15 characters.
	SceneDesc string `json:"scene_desc,omitempty"`
}

// AddTemplate adds a template from the library to the app.
func (c *Client) AddTemplate(ctx context.Context, app hongyan.AppID, in TemplateAdd, opt Options) (hongyan.Template, error) {
	return create[hongyan.Template](ctx, c, join("apps", string(app), "templates"), in, opt)
}

// DeleteTemplate deletes a template at WeChat. It stays in the list, marked gone.
func (c *Client) DeleteTemplate(ctx context.Context, app hongyan.AppID, ref string) error {
	return c.do(ctx, call{method: "DELETE", path: join("apps", string(app), "templates", ref)}, nil)
}

// SetAlias names a template; an empty alias takes the name away.
func (c *Client) SetAlias(ctx context.Context, app hongyan.AppID, ref, alias string) (hongyan.Template, error) {
	return send[hongyan.Template](ctx, c, "PUT", join("apps", string(app), "templates", ref, "alias"), map[string]string{"alias": alias}, Options{})
}

// DataCheck is data to hold against a template.
type DataCheck struct {
	Data       map[string]string  `json:"data"`
	Fit        hongyan.Fit        `json:"fit,omitempty"`
	Validation hongyan.Validation `json:"validation,omitempty"`
	// OpenID asks, too, what this user's grants would allow a message with OnNoGrant.
	OpenID    hongyan.OpenID    `json:"openid,omitempty"`
	OnNoGrant hongyan.OnNoGrant `json:"on_no_grant,omitempty"`
}

// DataVerdict says what a server makes of data.
type DataVerdict struct {
	Valid  bool                `json:"valid"`
	Faults []hongyan.DataFault `json:"faults"`
	// Fitted is the data as fit changed it; nil if it changed nothing.
	Fitted map[string]string `json:"fitted,omitempty"`
	// Title and Lines are the card as it would look.
	Title string              `json:"title"`
	Lines []hongyan.CardLine  `json:"lines"`
	Grant *hongyan.GrantBadge `json:"grant,omitempty"` // where OpenID was given
}

// Validate checks data against a template, without sending anything.
func (c *Client) Validate(ctx context.Context, app hongyan.AppID, ref string, in DataCheck) (DataVerdict, error) {
	return send[DataVerdict](ctx, c, "POST", join("apps", string(app), "templates", ref, "validate"), in, Options{})
}

// Reach counts the users whom a template can be sent to now.
func (c *Client) Reach(ctx context.Context, app hongyan.AppID, ref string) (hongyan.Reach, error) {
	return get[hongyan.Reach](ctx, c, join("apps", string(app), "templates", ref, "reach"), nil)
}

// Category is a category (类目) of a mini program.
type Category struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

// LibraryTitle is a title of WeChat's public template library.
type LibraryTitle struct {
	TID        string               `json:"tid"`
	Title      string               `json:"title"`
	Kind       hongyan.TemplateKind `json:"kind"`
	CategoryID string               `json:"category_id"`
}

// LibraryKeyword is a keyword that a title offers.
type LibraryKeyword struct {
	KID     int    `json:"kid"`
	Name    string `json:"name"`
	Example string `json:"example"`
	Type    string `json:"type"`
}

// Categories lists the app's categories. The server keeps the answer for a day.
func (c *Client) Categories(ctx context.Context, app hongyan.AppID) ([]Category, error) {
	return whole[Category](ctx, c, join("apps", string(app), "library", "categories"), nil)
}

// Titles lists up to limit (at most 30) titles of categories from start on, and how many there are.
func (c *Client) Titles(ctx context.Context, app hongyan.AppID, categories []int, start, limit int) ([]LibraryTitle, int, error) {
	ids := make([]string, len(categories))
	for i, id := range categories {
		ids[i] = strconv.Itoa(id)
	}
	out, err := get[struct {
		Items []LibraryTitle `json:"items"`
		Total int            `json:"total"`
	}](ctx, c, join("apps", string(app), "library", "titles"), values("category_ids", strings.Join(ids, ","), "start", strconv.Itoa(start), "limit", strconv.Itoa(limit)))
	return out.Items, out.Total, err
}

// AllTitles goes through all titles of categories.
func (c *Client) AllTitles(ctx context.Context, app hongyan.AppID, categories ...int) iter.Seq2[LibraryTitle, error] {
	return func(yield func(LibraryTitle, error) bool) {
		for start := 0; ; {
			titles, total, err := c.Titles(ctx, app, categories, start, maxTitles)
			if err != nil {
				yield(LibraryTitle{}, err)
				return
			}
			for _, t := range titles {
				if !yield(t, nil) {
					return
				}
			}
			if start += len(titles); len(titles) == 0 || start >= total {
				return
			}
		}
	}
}

// maxTitles is WeChat's largest page.
const maxTitles = 30

// Keywords lists what a title offers.
func (c *Client) Keywords(ctx context.Context, app hongyan.AppID, tid string) ([]LibraryKeyword, error) {
	return whole[LibraryKeyword](ctx, c, join("apps", string(app), "library", "keywords"), values("tid", tid))
}
