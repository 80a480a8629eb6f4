package wechat

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
)

// Types of a template.
const (
	TemplateOneTime  = 2 // 一次性订阅: one send for each accept
	TemplateLongTerm = 3 // 长期订阅: sends until the user rejects
)

// Category is a category (类目) of the mini program.
type Category struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

// PubTemplateTitle is a title (模板标题) of the public template library.
type PubTemplateTitle struct {
	TID   int    `json:"tid"`
	Title string `json:"title"`
	// Type is [TemplateOneTime] or [TemplateLongTerm].
	Type int `json:"type"`
	// CategoryID is documented as a number and sampled as a string.
	CategoryID FlexString `json:"categoryId"`
}

// PubTemplateKeyword is a keyword (关键词) that a public title offers.
type PubTemplateKeyword struct {
	KID     int    `json:"kid"`
	Name    string `json:"name"`
	Example string `json:"example"`
	// Rule is the data type, such as "thing".
	Rule string `json:"rule"`
}

// Template is a private template of the mini program: one it may send with.
type Template struct {
	// PriTmplID is the template_id of a send. It works in this app alone.
	PriTmplID string `json:"priTmplId"`
	Title     string `json:"title"`
	// Content has a line "label:{{KEY.DATA}}" for each keyword, in display
	// order. The keys of a send's data come from here.
	Content string `json:"content"`
	// Example has the same lines with sample values.
	Example string `json:"example"`
	// KeywordEnumValueList tells what enum_string keys may hold; nil without any.
	KeywordEnumValueList []KeywordEnum `json:"keywordEnumValueList,omitempty"`
	// Type is [TemplateOneTime] or [TemplateLongTerm].
	Type int `json:"type"`
}

// Enums is what each enum_string key may hold, by key as WeChat writes it; nil without any.
func (t Template) Enums() map[string][]string {
	var enums map[string][]string
	for _, e := range t.KeywordEnumValueList {
		if enums == nil {
			enums = make(map[string][]string)
		}
		enums[e.KeywordCode] = e.EnumValueList
	}
	return enums
}

// KeywordEnum lists the values that one enum_string key may hold.
type KeywordEnum struct {
	// KeywordCode is the key with ".DATA" at its end.
	KeywordCode   string   `json:"keywordCode"`
	EnumValueList []string `json:"enumValueList"`
}

// UnmarshalJSON takes numbers as numbers or strings.
func (c *Category) UnmarshalJSON(b []byte) error {
	type plain Category
	v := struct {
		*plain
		ID *flexInt `json:"id"`
	}{plain: (*plain)(c)}
	err := json.Unmarshal(b, &v)
	c.ID = v.ID.int()
	return err
}

// UnmarshalJSON takes numbers as numbers or strings.
func (t *PubTemplateTitle) UnmarshalJSON(b []byte) error {
	type plain PubTemplateTitle
	v := struct {
		*plain
		TID  *flexInt `json:"tid"`
		Type *flexInt `json:"type"`
	}{plain: (*plain)(t)}
	err := json.Unmarshal(b, &v)
	t.TID, t.Type = v.TID.int(), v.Type.int()
	return err
}

// UnmarshalJSON takes numbers as numbers or strings.
func (k *PubTemplateKeyword) UnmarshalJSON(b []byte) error {
	type plain PubTemplateKeyword
	v := struct {
		*plain
		KID *flexInt `json:"kid"`
	}{plain: (*plain)(k)}
	err := json.Unmarshal(b, &v)
	k.KID = v.KID.int()
	return err
}

// UnmarshalJSON takes numbers as numbers or strings.
func (t *Template) UnmarshalJSON(b []byte) error {
	type plain Template
	v := struct {
		*plain
		Type *flexInt `json:"type"`
	}{plain: (*plain)(t)}
	err := json.Unmarshal(b, &v)
	t.Type = v.Type.int()
	return err
}

const (
	pathGetCategory     = "/wxaapi/newtmpl/getcategory"
	pathGetPubTitles    = "/wxaapi/newtmpl/getpubtemplatetitles"
	pathGetPubKeywords  = "/wxaapi/newtmpl/getpubtemplatekeywords"
	pathGetTemplateList = "/wxaapi/newtmpl/gettemplate"
	pathAddTemplate     = "/wxaapi/newtmpl/addtemplate"
	pathDeleteTemplate  = "/wxaapi/newtmpl/deltemplate"
)

// GetCategory lists the mini program's categories, by GET
// /wxaapi/newtmpl/getcategory. The daily quota of all template calls is tiny
// (45009 after two calls was seen): keep the results.
//
// Errcodes: 20001, 40001, 45009, 200100.
//
// 获取类目:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/mp-message-management/subscribe-message/api_getcategory.html
func (c *Client) GetCategory(ctx context.Context, accessToken string) ([]Category, error) {
	list, _, err := getList[Category](ctx, c, pathGetCategory, accessToken, "")
	return list, err
}

// GetPubTemplateTitles lists the public titles of categories, by GET
// /wxaapi/newtmpl/getpubtemplatetitles. start counts from 0, limit is at most 30;
// count is how many there are in all.
//
// Errcodes: 200001, 200016 (start), 200017 (limit), 200018 and 200019 (ids).
//
// 获取类目下的公共模板:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/mp-message-management/subscribe-message/api_getpubnewtemplatetitles.html
func (c *Client) GetPubTemplateTitles(ctx context.Context, accessToken string, categoryIDs []int, start, limit int) (titles []PubTemplateTitle, count int, err error) {
	// The commas stay as they are, as in WeChat's sample.
	query := []byte("ids=")
	for i, id := range categoryIDs {
		if i > 0 {
			query = append(query, ',')
		}
		query = appendInt(query, id)
	}
	query = append(query, "&start="+strconv.Itoa(start)+"&limit="+strconv.Itoa(limit)...)
	return getList[PubTemplateTitle](ctx, c, pathGetPubTitles, accessToken, string(query))
}

// GetPubTemplateKeywords lists the keywords a public title offers, by GET
// /wxaapi/newtmpl/getpubtemplatekeywords.
//
// Errcodes: 20001, 200002, 200014 (tid).
//
// 获取模板中的关键词:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/mp-message-management/subscribe-message/api_getpubnewtemplatekeywords.html
func (c *Client) GetPubTemplateKeywords(ctx context.Context, accessToken string, tid string) ([]PubTemplateKeyword, error) {
	list, _, err := getList[PubTemplateKeyword](ctx, c, pathGetPubKeywords, accessToken, "tid="+url.QueryEscape(tid))
	return list, err
}

// GetTemplateList lists the mini program's private templates, all at once, by GET
// /wxaapi/newtmpl/gettemplate. A banned template looks like any other.
//
// Errcodes: -1, 40001, 45009, 200100.
//
// 获取已有模板列表:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/mp-message-management/subscribe-message/api_getwxapubnewtemplate.html
func (c *Client) GetTemplateList(ctx context.Context, accessToken string) ([]Template, error) {
	list, _, err := getList[Template](ctx, c, pathGetTemplateList, accessToken, "")
	return list, err
}

// AddTemplate makes a private template of a public title, by POST
// /wxaapi/newtmpl/addtemplate, and returns its id. kids are 2 to 5 keyword ids in
// display order (none for service cards); sceneDesc, at most 15 characters, tells
// reviewers and users what it is for. If the app has the same template already
// (200022), its id is returned without an error.
//
// Errcodes: -1, 200001, 40400, 43106, 200011, 200012 (too many: 25), 200013,
// 200014 (tid), 200020 (kids), 200021 (sceneDesc), 200100.
//
// 选用模板:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/mp-message-management/subscribe-message/api_addwxanewtemplate.html
func (c *Client) AddTemplate(ctx context.Context, accessToken, tid string, kids []int, sceneDesc string) (priTmplID string, err error) {
	if kids == nil {
		kids = []int{} // null is not an empty list to WeChat
	}
	q := tokenCall(pathAddTemplate, accessToken)
	if err := q.setBody(struct {
		TID       string `json:"tid"`
		KidList   []int  `json:"kidList"`
		SceneDesc string `json:"sceneDesc"`
	}{tid, kids, sceneDesc}); err != nil {
		return "", err
	}
	err = c.do(ctx, c.others, q, func(body []byte) error {
		a, err := parseAnswer(body)
		if err != nil {
			return err
		}
		priTmplID = a.text("priTmplId")
		switch {
		case a.errcode == ErrcodeTemplateExists && priTmplID != "":
			return nil
		case a.errcode != ErrcodeOK:
			return a.refusal(q)
		case priTmplID == "":
			return errors.New("answer has no priTmplId")
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return priTmplID, nil
}

// DeleteTemplate deletes a private template, by POST
// /wxaapi/newtmpl/deltemplate. Sends with its id answer 40037 from then on.
//
// Errcodes: 20001, 20002, 40001, 200001, 200002, 200014.
//
// 删除模板:
// https://developers.weixin.qq.com/miniprogram/dev/server/API/mp-message-management/subscribe-message/api_delwxanewtemplate.html
func (c *Client) DeleteTemplate(ctx context.Context, accessToken, priTmplID string) error {
	q := tokenCall(pathDeleteTemplate, accessToken)
	if err := q.setBody(map[string]string{"priTmplId": priTmplID}); err != nil {
		return err
	}
	return c.confirm(ctx, q)
}

// getList performs a GET whose answer is a list in "data", with its full length
// in "count" where there are pages.
func getList[T any](ctx context.Context, c *Client, path, accessToken, query string) ([]T, int, error) {
	q := getCall(path, accessToken, query)
	var list []T
	var v struct {
		Data  json.RawMessage `json:"data"`
		Count flexInt         `json:"count"`
	}
	err := c.fetch(ctx, q, &v, func() error {
		// null is an empty list; a missing one is not an answer to this call.
		if v.Data == nil {
			return errors.New("answer has no data")
		}
		if json.Unmarshal(v.Data, &list) != nil {
			return errShape
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return list, int(v.Count), nil
}
